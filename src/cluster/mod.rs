//! Several processes over one table: each shows the recent rows of the others, which no file has yet.
//!
//! ```text
//! a receiver                                              another process
//! its rows ─▶ origin: all there are, then each that comes ─▶ peer ─▶ Replica in the catalog ─▶ queries
//! its commits ─▶ the table ─────────────────────────────────▶ follow ─▶ the files are seen, the rows go
//! ```
//!
//! Rows are told by their place in their source (the log, a partition of Kafka), and a commit says how far each source
//! has come, so a row is seen once while it goes from memory into a file. A peer that cannot be reached is asked again;
//! what it told stays visible meanwhile, since it was acknowledged.
//!
//! Errors are logged and counted: without its peers a process answers from the table and its own rows.

mod frames;
mod origin;
mod peer;
pub mod settings;

pub use origin::Origin;
pub use peer::{PeerParts, follow_peers};

/// Where a process tells its rows.
pub const PATH: &str = "/api/v1/cluster/rows";
