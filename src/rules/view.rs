//! What is shown of groups and rules: a copy, made after each evaluation.

use crate::rules::alerts::{Alert, AlertState};
use crate::types::time::UnixNanos;

/// Why a rule is as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// Computed as rows arrive.
    Incremental {
        /// Between two evaluations of an alert, nanoseconds.
        step_ns: i64,
    },
    /// Asked at its interval, and why.
    Asked(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    Unknown,
    Good,
    Bad,
}

impl Health {
    /// Prometheus' words.
    pub fn as_str(self) -> &'static str {
        match self {
            Health::Unknown => "unknown",
            Health::Good => "ok",
            Health::Bad => "err",
        }
    }
}

#[derive(Debug, Clone)]
pub struct RuleView {
    pub mode: Mode,
    pub health: Health,
    pub last_error: String,
    /// By the wall.
    pub last_evaluation: Option<UnixNanos>,
    pub evaluation_seconds: f64,
    pub state: AlertState,
    pub alerts: Vec<Alert>,
}

#[derive(Debug, Clone, Default)]
pub struct GroupView {
    /// By the wall.
    pub last_evaluation: Option<UnixNanos>,
    pub evaluation_seconds: f64,
    pub rules: Vec<RuleView>,
}

impl RuleView {
    /// Of a rule that was never evaluated.
    pub fn new(mode: Mode) -> Self {
        RuleView {
            mode,
            health: Health::Unknown,
            last_error: String::new(),
            last_evaluation: None,
            evaluation_seconds: 0.0,
            state: AlertState::Inactive,
            alerts: Vec::new(),
        }
    }
}
