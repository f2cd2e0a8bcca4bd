//! Deletes: asked for, hidden at once, carried out later, certified when no byte is left.
//!
//! ```text
//! request ─▶ line drawn: all rows so far are at or before `ceiling` ─▶ hidden ─▶ flushed ─▶ ledger (durable) ─▶ 204
//! received ─ cancel period ─▶ working ─ each file that has such rows: written anew without them ─▶ processed
//! processed ─ old files vacuumed, write-ahead log cut ─▶ erased: a signed certificate
//! ```
//!
//! The ledger is one object a request, `_millrace/deletes/<tenant>/<id>.json` beside the table, which other engines
//! pass over. Before a file is exchanged the ledger says by what; after a crash the table says whether it happened.
//!
//! Invariants: a row that came in after the request is never touched; a request that was answered is known after any
//! crash; hidden rows are never shown again, except by a cancellation.

mod carry_out;
mod certificate;
mod face;
mod follow;
mod ledger;
mod request;
mod search;

pub use certificate::{Certificate, CertificateError, Signature, Signed, SigningKey, Verified, verify};
pub use face::{DeleteError, NewDelete};
pub use ledger::{Changes, Ledger, LedgerError};
pub use request::{DeleteRequest, Facts, LogMark, Rewrite, Stage};
