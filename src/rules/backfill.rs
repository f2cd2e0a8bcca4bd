//! A recording rule over history: the same samples as if it had been there, at the times of its group.
//!
//! ```text
//! from ─▶ chunk of steps ─▶ one range query (LogQL) or one question a step (PromQL) ─▶ recorded ─▶ … ─▶ to
//! ```
//!
//! Rules run in the order of their group, each over the whole stretch, so that one may read what an earlier one recorded.
//! What was recorded already is replaced by the same.

use std::sync::Arc;

use serde::Serialize;
use tokio::sync::mpsc;

use crate::flow::Samples;
use crate::logql::ast::Expr;
use crate::logql::print;
use crate::query::matrix::{Series, Steps};
use crate::query::{Direction, QueryAnswer, QueryKind, QueryRequest};
use crate::rules::expr::RuleExpr;
use crate::rules::group::append;
use crate::rules::manager::{Ruler, ShownGroup};
use crate::rules::model::{Rule, RuleKind};
use crate::rules::record::recorded;
use crate::types::ids::TenantId;
use crate::types::time::UnixNanos;

/// Steps of one range query.
const CHUNK_STEPS: i64 = 500;
/// Steps of one backfill.
const STEPS_MAX: i64 = 10_000_000;

/// What is to be computed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backfill {
    pub tenant: TenantId,
    pub namespace: String,
    pub group: String,
    /// None: every recording rule of the group.
    pub rule: Option<String>,
    /// Inside, both.
    pub from: UnixNanos,
    pub to: UnixNanos,
}

/// How far one rule has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Progress {
    pub rule: String,
    pub done: i64,
    pub steps: i64,
    pub samples: u64,
    /// Set once, at the end of a rule that could not go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Why nothing was begun.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackfillError {
    #[error("there is no group {group:?} in namespace {namespace:?}")]
    NoGroup { namespace: String, group: String },
    #[error("the group has no recording rule{}", name.as_ref().map(|name| format!(" {name:?}")).unwrap_or_default())]
    NoRule { name: Option<String> },
    #[error("`from` is behind `to`, or there are more than {STEPS_MAX} evaluations between them")]
    Times,
}

/// Computes, and tells how far it is, until the listener goes away.
pub async fn backfill(
    ruler: Arc<Ruler>,
    wanted: Backfill,
    progress: mpsc::Sender<Progress>,
) -> Result<(), BackfillError> {
    let shown = ruler.shown(&wanted.tenant);
    let group = shown
        .into_iter()
        .find(|group| group.key.namespace == wanted.namespace && group.key.group == wanted.group)
        .ok_or_else(|| BackfillError::NoGroup { namespace: wanted.namespace.clone(), group: wanted.group.clone() })?;
    let is_wanted = |rule: &&Rule| !rule.is_alert() && wanted.rule.as_ref().is_none_or(|name| name == rule.name());
    let rules: Vec<Rule> = group.group.rules.iter().filter(is_wanted).cloned().collect();
    if rules.is_empty() {
        return Err(BackfillError::NoRule { name: wanted.rule });
    }
    let interval = group.interval_ns;
    let first = wanted.from.0.div_euclid(interval) + i64::from(wanted.from.0.rem_euclid(interval) != 0);
    let steps = wanted.to.0.div_euclid(interval) - first + 1;
    if steps <= 0 || steps > STEPS_MAX {
        return Err(BackfillError::Times);
    }
    tokio::spawn(async move {
        for rule in rules {
            let one = OneRule { ruler: &ruler, group: &group, tenant: &wanted.tenant, rule: &rule };
            if !one.run(first * interval, steps, &progress).await {
                return;
            }
        }
    });
    Ok(())
}

struct OneRule<'a> {
    ruler: &'a Ruler,
    group: &'a ShownGroup,
    tenant: &'a TenantId,
    rule: &'a Rule,
}

impl OneRule<'_> {
    /// Answers whether somebody still listens.
    async fn run(&self, start_ns: i64, steps: i64, progress: &mpsc::Sender<Progress>) -> bool {
        let interval = self.group.interval_ns;
        let (mut done, mut samples) = (0, 0);
        while done < steps {
            let chunk = CHUNK_STEPS.min(steps - done);
            let from = start_ns + done * interval;
            let outcome = self.chunk(from, chunk).await;
            let error = match outcome {
                Ok(recorded) => {
                    samples += recorded;
                    done += chunk;
                    None
                }
                Err(error) => Some(error),
            };
            let is_over = error.is_some();
            let told = Progress { rule: self.rule.name().to_owned(), done, steps, samples, error };
            if progress.send(told).await.is_err() {
                return false;
            }
            if is_over {
                return true;
            }
        }
        true
    }

    /// Answers how many samples were recorded.
    async fn chunk(&self, from_ns: i64, count: i64) -> Result<u64, String> {
        let interval = self.group.interval_ns;
        let offset = self.group.group.query_offset.unwrap_or_default().0;
        let surroundings = self.ruler.surroundings();
        let RuleKind::Recording { metric } = &self.rule.kind else { return Ok(0) };
        let labels = self.rule.all_labels(&self.group.group);
        let mut all = 0;
        let by_time: Vec<(UnixNanos, Samples)> = match &self.rule.expr {
            RuleExpr::LogQl(expr) => {
                let request = QueryRequest {
                    scope: crate::access::Scope::of_server(self.tenant.clone()),
                    text: print(&Expr::Metric(expr.clone())),
                    kind: QueryKind::Range {
                        start: UnixNanos(from_ns - offset),
                        end: UnixNanos(from_ns - offset + (count - 1) * interval),
                        step_ns: interval,
                        interval_ns: 0,
                    },
                    limit: 1,
                    direction: Direction::Forward,
                    categorize: false,
                    splitting: None,
                    series_max: 0,
                    timeout: surroundings.asker.timeout,
                };
                let (answer, _) = surroundings.asker.engine.query(request).await.map_err(|error| error.to_string())?;
                match answer {
                    QueryAnswer::Matrix { steps, series } => transposed(&steps, &series),
                    _ => return Err("the answer is no matrix".to_owned()),
                }
            }
            RuleExpr::PromQl(_) => {
                let mut by_time = Vec::new();
                for step in 0..count {
                    let at = UnixNanos(from_ns - offset + step * interval);
                    by_time.push((at, surroundings.asker.ask(self.tenant, &self.rule.expr, at).await?));
                }
                by_time
            }
        };
        for (at, samples) in by_time {
            let samples = recorded(metric, &labels, self.group.group.limit, at, samples)?;
            all += samples.len() as u64;
            append(&surroundings.sink, self.tenant, samples).await?;
        }
        Ok(all)
    }
}

/// Series over steps as samples by step.
fn transposed(steps: &Steps, series: &[Series]) -> Vec<(UnixNanos, Samples)> {
    let at_step = |step: usize| {
        let samples = series.iter().filter_map(|one| one.get(step).map(|value| (one.labels.clone(), value)));
        (UnixNanos(steps.at(step)), samples.collect())
    };
    (0..steps.count).map(at_step).collect()
}
