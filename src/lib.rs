//! Millrace: a log store that speaks Loki, SQL and streaming rules over open Parquet files.
//!
//! ```text
//! push ─▶ receive (decode) ─▶ ingest (limits) ─▶ wal ─▶ head ─▶ ack
//!                                                        └─ flush ─▶ files (Parquet in a Delta table)
//! Grafana ─▶ api ─▶ query ─▶ logql (parse) ─▶ plan ─▶ DataFusion ◀─ head ∪ files
//! SQL ─────▶ api ─▶ query ─▶ DataFusion ◀─────────────────┘
//! ```
//!
//! Invariants: a row is in the head or in one file, never in both; what is acknowledged is durable;
//! a module imports only from lower layers (`tests/tidy.rs` holds it).

// L0 values
pub mod types;
// L1 floor: syntax and templates are pure text, which the engines build on
pub mod failpoint;
pub mod http_client;
pub mod logql;
pub mod patterns;
pub mod seal;
pub mod store;
pub mod streams;
pub mod tasks;
pub mod telemetry;
pub mod template;
pub mod tls;
// L2 islands
pub mod access;
pub mod files;
pub mod head;
pub mod pipeline;
pub mod promql;
pub mod wal;
// L3 engines, and what says where rows are
pub mod catalog;
pub mod derived;
pub mod flow;
pub mod ingest;
pub mod lease;
pub mod query;
pub mod upkeep;
// L4 edges
pub mod agent;
pub mod audit;
pub mod backup;
pub mod cluster;
pub mod doctor;
pub mod receive;
pub mod remote_write;
pub mod rules;
pub mod sql;
// L5 face
pub mod api;
pub mod cli;
pub mod config;
pub mod demo;
pub mod server;
