//! Which expressions run as operators, and how finely; the others are asked of the query engine.
//!
//! | expression | why it is asked instead |
//! |---|---|
//! | `rate_counter` | it needs every sample in order: its state would grow with the lines |
//! | `now` in a template | it is another now for every query |
//! | a negative `offset` | its window lies in the future of its evaluation |
//! | a window of more than [`PANES_MAX`] panes a series | its state would be larger than the rows are worth |

use std::sync::Arc;

use crate::flow::FlowError;
use crate::flow::grid::PaneGrid;
use crate::flow::operator::{Grid, RuleOperator};
use crate::logql::ast::{FormatSource, MetricExpr, RangeAggregation, RangeOp, Stage};
use crate::query::plan::leaves;
use crate::streams::TenantStreams;
use crate::types::time::UnixNanos;

/// Panes of one series of one aggregation, at most.
pub const PANES_MAX: i64 = 8_192;
/// Steps of alerts, tried from the finest: the first that divides the interval and keeps panes in bounds, nanoseconds.
const ALERT_STEPS: &[i64] =
    &[1_000_000_000, 2_000_000_000, 5_000_000_000, 10_000_000_000, 15_000_000_000, 30_000_000_000];

/// When a rule is to be evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Whole milliseconds, positive.
    pub interval_ns: i64,
    pub query_offset_ns: i64,
    pub lateness_ns: i64,
    /// Whether it is also evaluated between its intervals: alerts are.
    pub between: bool,
}

/// Makes the operator of an expression.
///
/// # Errors
/// `NotIncremental` with the reason, `Compile` when the pipeline is wrong.
pub fn compile(
    expr: &Arc<MetricExpr>,
    streams: &Arc<TenantStreams>,
    timing: Timing,
    now: UnixNanos,
) -> Result<RuleOperator, FlowError> {
    let ranges: Vec<&RangeAggregation> = leaves(expr).iter().map(|leaf| leaf.range).collect();
    for range in &ranges {
        if let Some(reason) = obstacle(range) {
            return Err(FlowError::NotIncremental(reason.to_owned()));
        }
    }
    let step_ns = step_of(&ranges, timing).ok_or_else(|| {
        FlowError::NotIncremental(format!(
            "its windows have more than {PANES_MAX} panes a series: shorten the range or lengthen the interval"
        ))
    })?;
    let phase_ns = (-timing.query_offset_ns).rem_euclid(step_ns);
    RuleOperator::new(expr.clone(), streams, Grid { step_ns, phase_ns }, now)
}

fn obstacle(range: &RangeAggregation) -> Option<&'static str> {
    if range.op == RangeOp::RateCounter {
        return Some("rate_counter needs every sample in order");
    }
    if range.offset_ns < 0 {
        return Some("a negative offset looks into the future");
    }
    range.log.stages.iter().any(reads_now).then_some("a template reads now")
}

fn reads_now(stage: &Stage) -> bool {
    let names_now = |text: &String| text.contains("now");
    match stage {
        Stage::LineFormat { template } => names_now(template),
        Stage::LabelFormat { formats } => {
            formats.iter().any(|format| matches!(&format.source, FormatSource::Template(text) if names_now(text)))
        }
        _ => false,
    }
}

fn step_of(ranges: &[&RangeAggregation], timing: Timing) -> Option<i64> {
    let interval = timing.interval_ns;
    let finer = ALERT_STEPS.iter().copied().filter(|step| timing.between && *step < interval && interval % step == 0);
    finer.chain([interval]).find(|step| {
        // Windows stay for corrections at the interval's own evaluations alone.
        let panes = |range: &&RangeAggregation| {
            PaneGrid::new(*step, 0, range.range_ns, range.offset_ns).panes_max(timing.lateness_ns)
        };
        timing.query_offset_ns % step == 0 && ranges.iter().all(|range| panes(range) <= PANES_MAX)
            || (*step == interval && ranges.iter().all(|range| panes(range) <= PANES_MAX))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logql::ast::Expr;

    fn compiled(text: &str, interval_s: i64, between: bool) -> Result<i64, String> {
        let Ok(Expr::Metric(expr)) = crate::logql::parse(text) else { panic!("{text} is a metric query") };
        let timing = Timing {
            interval_ns: interval_s * 1_000_000_000,
            query_offset_ns: 0,
            lateness_ns: 300_000_000_000,
            between,
        };
        let operator = compile(&Arc::new(expr), &Arc::default(), timing, UnixNanos(0)).map_err(|e| e.to_string())?;
        Ok(operator.grid().step_ns / 1_000_000_000)
    }

    #[test]
    fn what_is_incremental_and_how_finely() {
        let check = |text: &str, interval, between, expected: Result<i64, &str>| match (
            compiled(text, interval, between),
            expected,
        ) {
            (Ok(step), Ok(expected)) => assert_eq!(step, expected, "{text}"),
            (Err(got), Err(expected)) => assert!(got.contains(expected), "{text}: {got}"),
            (got, expected) => panic!("{text}: {got:?}, not {expected:?}"),
        };
        check("sum(rate({a=\"b\"}[5m]))", 60, false, Ok(60));
        check("sum(rate({a=\"b\"}[5m])) > 1", 60, true, Ok(1));
        check("sum(rate({a=\"b\"}[5m])) / sum(rate({a=\"b\"}[5m] offset 1h)) > 5", 60, true, Ok(1));
        check("sum(rate({a=\"b\"}[5h])) > 1", 60, true, Ok(5));
        check("sum(rate({a=\"b\"}[5m])) > 1", 1, true, Ok(1));
        check("sum(rate({a=\"b\"}[30d]))", 60, false, Err("panes"));
        check("sum(rate({a=\"b\"}[30d]))", 3600, false, Ok(3600));
        check("rate_counter({a=\"b\"} | unwrap x [5m])", 60, false, Err("rate_counter"));
        check("sum(rate({a=\"b\"}[5m] offset -1h))", 60, false, Err("future"));
        check("sum(rate({a=\"b\"} | line_format \"{{now}}\"[5m]))", 60, false, Err("now"));
        check("vector(1)", 60, false, Ok(60));
    }
}
