//! Values every layer speaks: no I/O, no tokio, no DataFusion.

pub mod audit_stream;
pub mod batch;
pub mod bit_flip;
pub mod durations;
pub mod environment;
pub mod go_time;
pub mod ids;
pub mod json_scan;
pub mod labels;
pub mod rows;
pub mod sample;
pub mod time;
pub mod txn;
pub mod units;
