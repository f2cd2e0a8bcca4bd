//! One group on the flow thread: where it is in its life, what it evaluated last, and its operators.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use crate::flow::leaf::{Horizon, LeafOperator};
use crate::flow::operator::{RuleOperator, Samples, differences};
use crate::flow::runner::{FlowGroup, FlowRule, GroupId, Output, Round};
use crate::flow::{FlowError, Timing};
use crate::types::ids::TenantId;
use crate::types::labels::Labels;
use crate::types::rows::Rows;
use crate::types::time::{Clock, NANOS_PER_SECOND, UnixNanos};

/// Between two evaluations of alerts between their intervals, and between two rounds of corrections, nanoseconds.
const PAUSE_NS: i64 = NANOS_PER_SECOND;
/// How long after a start what a former life recorded is evaluated once more: a kill may have come between a late row and
/// its correction. Rows of Kafka that were in memory only must have come again by then.
const FORMER_PAUSE_NS: i64 = 30 * NANOS_PER_SECOND;
/// Rounds evaluated at once: the thread looks at its feed in between.
const ROUNDS_AT_ONCE_MAX: usize = 64;

/// Where a group is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// For the mark of its snapshot.
    Waiting,
    /// Rows of the past are being read; new ones are taken already.
    Reading,
    Running,
}

/// What the watermark brought about.
#[derive(Debug, Default)]
pub(super) struct Due {
    pub(super) rounds: Vec<Round>,
    /// Groups without a former life, and the interval after which they begin.
    pub(super) began: Vec<(GroupId, UnixNanos)>,
}

/// What is told of a group.
#[derive(Debug, Clone)]
pub struct GroupStatus {
    pub phase: Phase,
    /// The last evaluation.
    pub evaluated: Option<UnixNanos>,
    pub rules: Vec<RuleStatus>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleStatus {
    pub bytes: usize,
    pub series: usize,
    /// Rows that were in its aggregations, and those that came too late for some window.
    pub rows: u64,
    pub missed: u64,
    /// See [`RuleOperator::incomplete`].
    pub incomplete: Vec<(UnixNanos, u64, u64)>,
    /// Times its state was dropped because it grew too large.
    pub overflows: u64,
}

/// A group and its state.
#[derive(Debug)]
pub(super) struct GroupRun {
    id: GroupId,
    tenant: TenantId,
    timing: Timing,
    phase: Phase,
    evaluated: Option<UnixNanos>,
    /// The last evaluation between intervals, and when it and the last corrections were, by the wall.
    between: UnixNanos,
    between_made: UnixNanos,
    corrected_made: UnixNanos,
    /// When what a former life recorded is looked at again.
    look_again: Option<UnixNanos>,
    rules: Vec<RuleRun>,
}

#[derive(Debug)]
struct RuleRun {
    rule: FlowRule,
    /// What was answered at evaluations that can still be corrected, by their number.
    answered: BTreeMap<i64, BTreeMap<Labels, f64>>,
    changed: BTreeSet<i64>,
    /// Evaluations of a former life that could still be corrected when this one began.
    former: Option<RangeInclusive<i64>>,
    /// Set while the state is not whole because it grew too large: its bound, bytes.
    overflowed: Option<usize>,
    overflows: u64,
}

impl GroupRun {
    pub(super) fn new(group: FlowGroup) -> Self {
        let rules = group.rules.into_iter().map(|rule| RuleRun {
            rule,
            answered: BTreeMap::new(),
            changed: BTreeSet::new(),
            former: None,
            overflowed: None,
            overflows: 0,
        });
        GroupRun {
            id: group.id,
            tenant: group.tenant,
            timing: group.timing,
            phase: Phase::Waiting,
            evaluated: group.evaluated,
            between: UnixNanos::MIN,
            between_made: UnixNanos::MIN,
            corrected_made: UnixNanos::MIN,
            look_again: None,
            rules: rules.collect(),
        }
    }

    pub(super) fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    pub(super) fn on_mark(&mut self) {
        if self.phase == Phase::Waiting {
            self.phase = Phase::Reading;
        }
    }

    /// Rows are to be read again: all state goes.
    pub(super) fn wait_again(&mut self) {
        self.phase = Phase::Waiting;
        for rule in &mut self.rules {
            if let Some(operator) = &mut rule.rule.operator {
                *operator = operator.emptied();
            }
        }
    }

    /// The rows of the past are here.
    pub(super) fn on_past(&mut self, past: Result<Vec<Option<RuleOperator>>, String>, now: UnixNanos) {
        if self.phase != Phase::Reading {
            return;
        }
        self.phase = Phase::Running;
        match past {
            Ok(operators) => {
                for (rule, past) in self.rules.iter_mut().zip(operators) {
                    if let (Some(operator), Some(past)) = (&mut rule.rule.operator, past) {
                        operator.merge(past);
                        let horizon = horizon(&self.timing, self.evaluated, operator, rule.rule.is_alert);
                        rule.former = horizon.filter(|_| self.timing.lateness_ns > 0).map(|h| h.open..=h.evaluated);
                    }
                }
                let pause = FORMER_PAUSE_NS.min(self.timing.lateness_ns / 2);
                self.look_again = Some(now.saturating_add(pause));
            }
            Err(_) => {
                for operator in self.rules.iter_mut().filter_map(|rule| rule.rule.operator.as_mut()) {
                    operator.set_complete_after(now);
                }
            }
        }
    }

    /// The aggregations of its rules.
    pub(super) fn leaves(&self) -> impl Iterator<Item = &LeafOperator> {
        self.rules.iter().filter_map(|rule| rule.rule.operator.as_ref()).flat_map(RuleOperator::leaves)
    }

    pub(super) fn on_rows(&mut self, rows: &Rows<'_>, state_bytes_max: usize, now: UnixNanos) {
        if self.phase == Phase::Waiting {
            return;
        }
        for rule in &mut self.rules {
            let Some(operator) = &mut rule.rule.operator else { continue };
            let horizon = horizon(&self.timing, self.evaluated, operator, rule.rule.is_alert);
            match operator.on_rows(rows, horizon) {
                Ok(changed) => rule.changed.extend(changed),
                Err(error) => {
                    tracing::error!(%error, "a rule could not read rows; its windows are not whole");
                    operator.clear(now);
                }
            }
            if operator.bytes() > state_bytes_max {
                operator.clear(now);
                rule.overflowed = Some(state_bytes_max);
                rule.overflows += 1;
                rule.answered.clear();
            }
        }
    }

    /// Makes the evaluations that the watermark allows.
    pub(super) fn evaluate(&mut self, watermark: UnixNanos, now: UnixNanos, catch_up_ns: i64, due: &mut Due) {
        if self.phase != Phase::Running {
            return;
        }
        let interval = self.timing.interval_ns;
        let last_due = watermark.0.div_euclid(interval) * interval;
        let evaluated = self.evaluated.get_or_insert_with(|| {
            due.began.push((self.id, UnixNanos(last_due)));
            UnixNanos(last_due)
        });
        let oldest = watermark.0.saturating_sub(catch_up_ns).div_euclid(interval) * interval;
        if evaluated.0 < oldest {
            *evaluated = UnixNanos(oldest);
        }
        for _ in 0..ROUNDS_AT_ONCE_MAX {
            let next = self.evaluated.map_or(last_due, |at| at.0.saturating_add(interval));
            if next > last_due {
                break;
            }
            due.rounds.push(self.round(UnixNanos(next), true));
            self.evaluated = Some(UnixNanos(next));
            self.forget();
        }
        let caught_up = self.evaluated.is_some_and(|at| at.0 >= last_due);
        if caught_up && now.0.saturating_sub(self.between_made.0) >= PAUSE_NS {
            self.evaluate_between(watermark, now, &mut due.rounds);
        }
    }

    /// Alerts, at the newest step that the watermark allows.
    fn evaluate_between(&mut self, watermark: UnixNanos, now: UnixNanos, rounds: &mut Vec<Round>) {
        let steps = self.rules.iter().filter(|rule| rule.rule.is_alert).filter_map(|rule| rule.rule.operator.as_ref());
        let Some(step) =
            steps.map(|operator| operator.grid().step_ns).filter(|step| *step < self.timing.interval_ns).max()
        else {
            return;
        };
        let at = UnixNanos(watermark.0.div_euclid(step) * step);
        if at <= self.between.max(self.evaluated.unwrap_or(UnixNanos::MIN)) {
            return;
        }
        rounds.push(self.round(at, false));
        self.between = at;
        self.between_made = now;
    }

    fn round(&mut self, at: UnixNanos, is_aligned: bool) -> Round {
        let looked_at = at.saturating_sub(self.timing.query_offset_ns);
        let mut round = Round { group: self.id, at, is_aligned, results: Vec::new(), seconds: Vec::new() };
        let clock = Clock::system();
        for rule in &mut self.rules {
            let started = clock.now();
            let result = match &rule.rule.operator {
                Some(operator)
                    if is_aligned || (rule.rule.is_alert && operator.grid().step_ns < self.timing.interval_ns) =>
                {
                    Some(operator.evaluate(looked_at))
                }
                _ => None,
            };
            let result = result.map(|result| rule.seen(looked_at, is_aligned && self.timing.lateness_ns > 0, result));
            round.results.push(result);
            round.seconds.push((clock.now().0 - started.0) as f64 / 1e9);
        }
        round
    }

    /// Evaluates again what late rows changed.
    pub(super) fn correct(&mut self, now: UnixNanos, id: GroupId, outputs: &mut Vec<Output>) {
        if now.0.saturating_sub(self.corrected_made.0) < PAUSE_NS {
            return;
        }
        self.corrected_made = now;
        let looks_again = self.phase == Phase::Running && self.look_again.take_if(|at| now >= *at).is_some();
        for (at, rule) in self.rules.iter_mut().enumerate() {
            let Some(operator) = &rule.rule.operator else { continue };
            if looks_again
                && let Some(former) = rule.former.take()
                && let Some(horizon) = horizon(&self.timing, self.evaluated, operator, rule.rule.is_alert)
            {
                rule.changed.extend(horizon.open.max(*former.start())..=*former.end());
            }
            for number in std::mem::take(&mut rule.changed) {
                let time = operator.evaluation_at(number);
                let Ok(samples) = operator.evaluate(time) else { continue };
                let empty = BTreeMap::new();
                let (changed, gone) = differences(rule.answered.get(&number).unwrap_or(&empty), &samples);
                rule.answered.insert(number, samples.into_iter().collect());
                if !changed.is_empty() || !gone.is_empty() {
                    outputs.push(Output::Corrected { group: id, rule: at, at: time, changed, gone });
                }
            }
        }
    }

    fn forget(&mut self) {
        for rule in &mut self.rules {
            let Some(operator) = &mut rule.rule.operator else { continue };
            let Some(horizon) = horizon(&self.timing, self.evaluated, operator, rule.rule.is_alert) else { continue };
            let open = horizon.open.min(horizon.evaluated);
            operator.forget_before(open);
            rule.answered = rule.answered.split_off(&open);
            // Without their panes they would seem to have no rows.
            rule.changed = rule.changed.split_off(&open);
        }
    }

    pub(super) fn status(&self) -> GroupStatus {
        let rules = self.rules.iter().map(|rule| {
            let Some(operator) = &rule.rule.operator else { return RuleStatus::default() };
            let (rows, missed) = operator.rows_and_missed();
            RuleStatus {
                bytes: operator.bytes(),
                series: operator.series(),
                rows,
                missed,
                incomplete: operator.incomplete(),
                overflows: rule.overflows,
            }
        });
        GroupStatus { phase: self.phase, evaluated: self.evaluated, rules: rules.collect() }
    }
}

impl RuleRun {
    /// Remembers an answer for corrections, and says why a state is not whole.
    fn seen(
        &mut self,
        at: UnixNanos,
        remembers: bool,
        result: Result<Samples, FlowError>,
    ) -> Result<Samples, FlowError> {
        match (result, self.overflowed) {
            (Err(FlowError::Warming { until }), Some(bytes_max)) => Err(FlowError::StateFull { bytes_max, until }),
            (Ok(samples), _) => {
                self.overflowed = None;
                if remembers && !self.rule.is_alert {
                    let number = self.rule.operator.as_ref().map_or(0, |operator| operator.evaluation_of(at));
                    self.answered.insert(number, samples.iter().cloned().collect());
                }
                Ok(samples)
            }
            (result, _) => result,
        }
    }
}

/// Which evaluations of an operator are over. An alert's are never corrected.
fn horizon(timing: &Timing, evaluated: Option<UnixNanos>, operator: &RuleOperator, is_alert: bool) -> Option<Horizon> {
    let looked_at = evaluated?.saturating_sub(timing.query_offset_ns);
    let last = operator.evaluation_of(looked_at);
    let open = match is_alert {
        true => last + 1,
        // The first evaluation that is not further back than the lateness.
        false => {
            operator.evaluation_of(UnixNanos(looked_at.0.saturating_sub(timing.lateness_ns).saturating_sub(1))) + 1
        }
    };
    Some(Horizon { evaluated: last, open })
}
