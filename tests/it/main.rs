//! Everything that needs the real binary, in one test program.
//!
//! Invariant: a test starts its own server on a free port and a directory of its own, and ends it.

#![expect(clippy::disallowed_methods, reason = "real programs are driven by the wall clock")]

mod access;
mod agent;
mod apart;
mod audit;
mod authority;
mod back_pressure;
mod backup;
mod bad_input;
mod broker;
mod cancel;
mod clients;
mod cluster;
mod compaction;
mod crash;
mod damage;
mod dataset;
mod deletes;
mod demo;
mod docs;
mod doctor;
mod elastic;
mod encryption;
mod errors;
mod exercise;
mod fairness;
#[cfg(all(feature = "flight", feature = "postgres"))]
mod flight;
mod full_disk;
mod golden;
mod grafana;
mod harness;
#[cfg(all(feature = "flight", feature = "postgres"))]
mod jdbc;
mod kafka;
#[cfg(feature = "kafka")]
mod kafka_mock;
#[cfg(feature = "kafka")]
mod kafka_security;
mod kill;
mod layouts;
mod lifecycle;
mod naive;
mod object_storage;
mod otlp;
mod page;
#[cfg(feature = "postgres")]
mod postgres;
mod promql;
mod pushes;
mod queries;
mod remote_write;
mod retention;
mod rules;
mod rules_commands;
mod rules_kafka;
mod s3;
mod sql;
mod stack;
mod stages;
mod syslog;
mod tail;
mod terminal;
mod tidy;
mod tiers;
#[cfg(all(feature = "flight", feature = "otlp", feature = "postgres"))]
mod tls;
