//! The write path after decoding: a batch becomes durable, queryable and in time a file.
//!
//! ```text
//! LogBatch ─▶ WAL (group commit) ─▶ head ─▶ ack          flush by size or age: head ─▶ Parquet ─▶ Delta commit
//! ```

pub mod flush;
pub mod flush_plan;
pub mod level;
pub mod limits;
pub mod rate;
pub mod service_name;
pub mod shard;
pub mod validate;
