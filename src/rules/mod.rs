//! Recording rules and alerts.
//!
//! ```text
//! rule files ─ read (strict) ─▶ RuleGroup ─▶ flow: operators │ query engine │ PromQL
//!                                                └▶ samples ─▶ recorded (SampleSink) │ alerts ─▶ Alertmanager
//! ```
//!
//! Groups evaluate at multiples of their interval in event time: when the watermark has passed it, every row of the
//! window had its chance to come. What is recorded has the time of the evaluation less `query_offset`.
//! Errors: a rule that fails has the health `err` and says why; the others of its group go on.

pub mod alerts;
pub mod ask;
pub mod backfill;
pub mod directory;
pub mod dispatch;
mod durable;
pub mod expr;
pub mod group;
mod hydrate;
pub mod journal;
pub mod manager;
pub mod model;
pub mod notify;
pub mod read;
pub mod record;
pub mod render;
pub mod settings;
pub mod sql_view;
pub mod states;
pub mod unit;
pub mod view;
pub mod views;
pub mod write;

pub use directory::RuleDirectories;
pub use expr::RuleExpr;
pub use manager::{Ruler, RulerParts, ShownGroup};
pub use model::{Rule, RuleFile, RuleGroup, RuleKind};
