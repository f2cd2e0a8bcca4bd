//! The life of alerts: pure.
//!
//! ```text
//!            true            held for `for`            false (and `keep_firing_for` over)
//! inactive ──────▶ pending ─────────────────▶ firing ──────────────────────────────────▶ resolved ─15 min─▶ forgotten
//!    ▲               │ false                                                                │ true: pending anew
//!    └───────────────┘
//! ```
//!
//! At its interval an alert is judged as Prometheus judges it. Between intervals it can only rise: become pending, or
//! fire when it has been held long enough; a condition must hold at the intervals, and a dip between them ends nothing.
//!
//! Source: Prometheus' `rules/alerting.go`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::types::labels::Labels;
use crate::types::time::UnixNanos;

/// How long a resolved alert is remembered and sent, nanoseconds.
const RESOLVED_KEPT_NS: i64 = 15 * 60 * 1_000_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    Inactive,
    Pending,
    Firing,
}

impl AlertState {
    pub fn as_str(self) -> &'static str {
        match self {
            AlertState::Inactive => "inactive",
            AlertState::Pending => "pending",
            AlertState::Firing => "firing",
        }
    }
}

/// One series of one alerting rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    pub labels: Labels,
    pub annotations: Labels,
    pub state: AlertState,
    pub value: f64,
    /// The evaluation in which it became pending.
    pub active_at: UnixNanos,
    pub fired_at: Option<UnixNanos>,
    pub resolved_at: Option<UnixNanos>,
    pub keep_since: Option<UnixNanos>,
    /// By the wall, and the state it was then in.
    pub last_sent: Option<UnixNanos>,
    pub sent_as: Option<AlertState>,
}

/// A sample of the rule's expression, its labels and annotations rendered.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    pub labels: Labels,
    pub annotations: Labels,
    pub value: f64,
}

/// How long is held and kept, nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Holds {
    pub hold_ns: i64,
    pub keep_firing_ns: i64,
}

/// All alerts of one rule.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Alerts {
    by_labels: BTreeMap<Labels, Alert>,
}

impl Alerts {
    /// With alerts of a former life.
    pub fn restored(alerts: impl IntoIterator<Item = Alert>) -> Self {
        Alerts { by_labels: alerts.into_iter().map(|alert| (alert.labels.clone(), alert)).collect() }
    }

    /// Judges an evaluation at `at`. Answers whether a state changed.
    ///
    /// # Errors
    /// When two samples have the same labels: nothing changes.
    pub fn judge(
        &mut self,
        at: UnixNanos,
        is_aligned: bool,
        samples: Vec<Rendered>,
        holds: Holds,
    ) -> Result<bool, &'static str> {
        let mut present: BTreeMap<Labels, Rendered> = BTreeMap::new();
        for sample in samples {
            if present.insert(sample.labels.clone(), sample).is_some() {
                return Err("vector contains metrics with the same labelset after applying alert labels");
            }
        }
        let mut changed = false;
        for sample in present.values() {
            match self.by_labels.get_mut(&sample.labels).filter(|known| known.state != AlertState::Inactive) {
                Some(known) => {
                    known.value = sample.value;
                    known.annotations = sample.annotations.clone();
                    known.keep_since = None;
                }
                None => {
                    changed = true;
                    self.by_labels.insert(sample.labels.clone(), pending(sample, at));
                }
            }
        }
        self.by_labels.retain(|labels, alert| {
            let is_present = present.contains_key(labels);
            if !is_present && is_aligned {
                return fall(alert, at, holds, &mut changed);
            }
            let is_held = at.0.saturating_sub(alert.active_at.0) >= holds.hold_ns;
            if is_present && alert.state == AlertState::Pending && is_held {
                alert.state = AlertState::Firing;
                alert.fired_at = Some(at);
                changed = true;
            }
            true
        });
        Ok(changed)
    }

    /// Forgets all: the rule has more than it may.
    pub fn clear(&mut self) {
        self.by_labels.clear();
    }

    pub fn iter(&self) -> impl Iterator<Item = &Alert> {
        self.by_labels.values()
    }

    /// Pending and firing ones.
    pub fn active(&self) -> impl Iterator<Item = &Alert> {
        self.iter().filter(|alert| alert.state != AlertState::Inactive)
    }

    /// The state of the rule: its most serious alert's.
    pub fn state(&self) -> AlertState {
        let states = self.iter().map(|alert| alert.state);
        states.max_by_key(|state| *state as u8).unwrap_or(AlertState::Inactive)
    }

    /// What is to be sent now, marked as sent.
    pub fn take_due(&mut self, now: UnixNanos, resend_ns: i64) -> Vec<Alert> {
        let due = self.by_labels.values_mut().filter(|alert| needs_sending(alert, now, resend_ns));
        due.map(|alert| {
            alert.last_sent = Some(now);
            alert.sent_as = Some(alert.state);
            alert.clone()
        })
        .collect()
    }
}

fn pending(sample: &Rendered, at: UnixNanos) -> Alert {
    Alert {
        labels: sample.labels.clone(),
        annotations: sample.annotations.clone(),
        state: AlertState::Pending,
        value: sample.value,
        active_at: at,
        fired_at: None,
        resolved_at: None,
        keep_since: None,
        last_sent: None,
        sent_as: None,
    }
}

/// An alert whose condition is false at its interval; answers whether it is still remembered.
fn fall(alert: &mut Alert, at: UnixNanos, holds: Holds, changed: &mut bool) -> bool {
    match alert.state {
        AlertState::Pending => {
            *changed = true;
            false
        }
        AlertState::Firing => {
            if holds.keep_firing_ns > 0 {
                let since = *alert.keep_since.get_or_insert(at);
                if at.0.saturating_sub(since.0) < holds.keep_firing_ns {
                    return true;
                }
            }
            *changed = true;
            alert.state = AlertState::Inactive;
            alert.resolved_at = Some(at);
            true
        }
        AlertState::Inactive => {
            let resolved = alert.resolved_at.unwrap_or(UnixNanos::MIN);
            let is_kept = at.0.saturating_sub(resolved.0) <= RESOLVED_KEPT_NS;
            *changed |= !is_kept;
            is_kept
        }
    }
}

fn needs_sending(alert: &Alert, now: UnixNanos, resend_ns: i64) -> bool {
    match alert.state {
        AlertState::Pending => false,
        AlertState::Inactive if alert.fired_at.is_none() => false,
        state if alert.sent_as != Some(state) => true,
        _ => alert.last_sent.is_none_or(|sent| sent.saturating_add(resend_ns) <= now),
    }
}

#[cfg(test)]
mod tests;
