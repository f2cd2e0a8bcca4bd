//! The audit trail: who did what, in chains that show when a record was removed, changed or moved.
//!
//! ```text
//! doors ─ Audit::note, seal ─▶ queue (bounded) ─▶ Writer: one chain a tenant ─▶ Shard ─▶ rows of {service="millrace",
//!            └ full: see below                      │ each minute                         logger="audit"}
//!                                                   └▶ heads: signed, beside the table ─▶ `millrace audit verify`
//! ```
//!
//! A record is a line of JSON that ends in the hash of itself and of the record before ([`chain`]). It lies in the tenant
//! that was acted on; what belongs to no tenant that is there (failed logins, the server's own settings) lies in the
//! server's tenant.
//!
//! When the queue is full or the store takes nothing: what changes or takes out (deletes, rules, exports) is refused,
//! denials wait, and questions are answered after a short wait, their records lost and counted in the trail itself.
//!
//! Invariants: there is one writer of a chain; records of a chain have rising numbers and times; secrets are never in one.
//! Errors: [`AuditError`].

pub mod chain;
pub mod event;
pub mod heads;
mod queue;
pub mod settings;
pub mod verify;
pub mod walk;
mod writer;

pub use event::{Event, Kind, Phase, ReadAmount};
pub use queue::Audit;
pub use settings::AuditConfig;
pub use writer::{Keeper, WriterParts};

/// Why a record is not in the trail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    #[error("the audit trail takes no records now, so nothing was done; retry later")]
    Unavailable,
}
