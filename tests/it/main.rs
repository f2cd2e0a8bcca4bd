//! Everything that needs the real binary, in one test program.
//!
//! Invariant: a test starts its own server on a free port and a directory of its own, and ends it.

mod clients;
mod golden;
mod harness;
mod kill;
mod lifecycle;
mod pushes;
mod sql;
mod tidy;
