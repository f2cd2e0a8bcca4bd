//! What the server says about itself: metrics on `/metrics`, events on standard error.

pub mod audit;
pub mod cluster;
pub mod derived;
pub mod kafka;
pub mod logging;
pub mod metrics;
mod process;
pub mod rules;
pub mod sql_doors;
pub mod store;
pub mod syslog;
pub mod tail;
pub mod tls;
pub mod upkeep;
pub mod wal;
