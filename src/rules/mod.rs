//! Recording rules and alerts.
//!
//! ```text
//! rule files ─ read (strict) ─▶ RuleGroup ─▶ flow: operators │ query engine │ PromQL
//!                                                └▶ samples ─▶ recorded (SampleSink) │ alerts ─▶ Alertmanager
//! ```

pub mod directory;
mod durable;
pub mod expr;
pub mod model;
pub mod read;
pub mod write;

pub use directory::RuleDirectories;
pub use expr::RuleExpr;
pub use model::{Rule, RuleFile, RuleGroup, RuleKind};
