//! `/query`, `/query_range` and what belongs to them.

use std::time::Instant;

use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use crate::access::Scope;
use crate::api::Shared;
use crate::api::audit::Note;
use crate::api::error::ApiError;
use crate::api::loki::range_limits::allowed_range;
use crate::api::params::Params;
use crate::api::prometheus::answer::{Refusal, query_answer, success};
use crate::api::prometheus::params::{limit, optional_duration, steps, time_or};
use crate::api::prometheus::{derived, seen};
use crate::api::tenant::ReadingOne;
use crate::audit::Kind;
use crate::ingest::limits::Limits;
use crate::promql::{self, Answer, Asked, Notes, Outcome, Steps};
use crate::types::ids::TenantId;
use crate::types::time::{NANOS_PER_MILLI, UnixNanos};

const TRUNCATED: &str = "results truncated due to limit";

/// `GET|POST /prometheus/api/v1/query`.
pub async fn instant(
    State(shared): State<Shared>,
    ReadingOne(scope, tenant): ReadingOne,
    note: Note,
    params: Params,
) -> Result<Response, Refusal> {
    let now = shared.state.clock.now().0.div_euclid(NANOS_PER_MILLI);
    let at_ms = time_or(&params, "time", now)?;
    run(&shared, (&scope, &tenant), &params, &note, Asked::Instant { at_ms }).await
}

/// `GET|POST /prometheus/api/v1/query_range`.
pub async fn range(
    State(shared): State<Shared>,
    ReadingOne(scope, tenant): ReadingOne,
    note: Note,
    params: Params,
) -> Result<Response, Refusal> {
    let steps = steps(&params)?;
    run(&shared, (&scope, &tenant), &params, &note, Asked::Range(steps)).await
}

/// `GET|POST /prometheus/api/v1/query_exemplars`: derived metrics have none.
pub async fn exemplars(params: Params) -> Result<Response, Refusal> {
    promql::format(params.get("query")).map_err(|error| Refusal::parameter("query", error))?;
    Ok(success(&json!([]), &Notes::default()))
}

/// `GET|POST /prometheus/api/v1/format_query`.
pub async fn format(params: Params) -> Result<Response, Refusal> {
    let formatted = promql::format(params.get("query")).map_err(|error| Refusal::parameter("query", error))?;
    Ok(success(&Value::from(formatted), &Notes::default()))
}

async fn run(
    shared: &Shared,
    (scope, tenant): (&Scope, &TenantId),
    params: &Params,
    note: &Note,
    asked: Asked,
) -> Result<Response, Refusal> {
    note.question(Kind::Query, "promql", params.get("query"));
    let limit = limit(params)?;
    let timeout = optional_duration(params, "timeout")?;
    let lookback = optional_duration(params, "lookback_delta")?;
    let engine = seen::engine(derived(shared)?, scope, tenant);
    shared.state.engine.check_blocked(scope, params.get("query"), "promql", "").map_err(ApiError::from)?;
    let asked = allowed(&shared.limits_of(scope), asked, shared.state.clock.now()).map_err(Refusal::from)?;
    let _turn = shared.turn(scope).await?;
    let started = Instant::now();
    let mut outcome = engine.query(tenant, params.get("query"), asked, lookback, timeout).await?;
    note.with(|event| event.rows = Some(series(&outcome.answer)));
    if let Some(limit) = limit {
        truncate(&mut outcome, limit);
    }
    let stats = (!params.get("stats").is_empty()).then(|| stats(&outcome, started.elapsed().as_secs_f64()));
    Ok(query_answer(&outcome.answer, &outcome.notes, stats.as_ref()))
}

/// What limits leave of a question: a range is as long as one of logs may be, steps beyond the lookback are left out.
fn allowed(limits: &Limits, asked: Asked, now: UnixNanos) -> Result<Asked, ApiError> {
    let Asked::Range(steps) = asked else { return Ok(asked) };
    let nanos = |ms: i64| UnixNanos(ms.saturating_mul(NANOS_PER_MILLI));
    let range = allowed_range(limits, nanos(steps.start_ms), nanos(steps.end_ms()), now)?;
    let left_out = match range {
        Some((start, _)) => {
            let beyond_ms = (start.0.div_euclid(NANOS_PER_MILLI) - steps.start_ms).max(0);
            usize::try_from(beyond_ms.unsigned_abs().div_ceil(steps.step_ms.unsigned_abs())).unwrap_or(usize::MAX)
        }
        None => steps.count,
    };
    let count = steps.count.saturating_sub(left_out);
    Ok(Asked::Range(Steps { start_ms: steps.at(left_out), count, ..steps }))
}

fn series(answer: &Answer) -> u64 {
    match answer {
        Answer::Vector(series) | Answer::Matrix(series) => series.len() as u64,
        Answer::Scalar { .. } | Answer::Text { .. } => 1,
    }
}

fn truncate(outcome: &mut Outcome, limit: usize) {
    let (Answer::Vector(series) | Answer::Matrix(series)) = &mut outcome.answer else { return };
    if series.len() > limit {
        series.truncate(limit);
        outcome.notes.warnings.insert(TRUNCATED.to_owned());
    }
}

fn stats(outcome: &Outcome, seconds: f64) -> Value {
    json!({
        "timings": {
            "evalTotalTime": seconds,
            "resultSortTime": 0,
            "queryPreparationTime": 0,
            "innerEvalTime": seconds,
            "execQueueTime": 0,
            "execTotalTime": seconds,
        },
        "samples": { "totalQueryableSamples": outcome.samples_read, "peakSamples": outcome.samples_peak },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::units::GoDuration;

    #[test]
    fn ranges_are_as_long_and_as_old_as_those_of_logs_may_be() {
        let second = 1_000_000_000;
        let limits = Limits {
            max_query_length: GoDuration(100 * second),
            max_query_lookback: GoDuration(500 * second),
            ..Limits::default()
        };
        let check = |start_s: i64, end_s: i64, expected: Result<(i64, usize), &str>| {
            let asked = Asked::Range(Steps::range(start_s * 1000, end_s * 1000, 10_000));
            let got = allowed(&limits, asked, UnixNanos(1_005 * second)).map_err(|error| error.text);
            let got = got.map(|asked| match asked {
                Asked::Range(steps) => (steps.start_ms / 1000, steps.count),
                Asked::Instant { at_ms } => (at_ms, 1),
            });
            assert_eq!(got, expected.map_err(str::to_owned), "{start_s} to {end_s}");
        };
        check(900, 1000, Ok((900, 11)));
        check(450, 600, Ok((510, 10)));
        check(505, 505, Ok((505, 1)));
        check(300, 400, Ok((410, 0)));
        check(800, 1000, Err("the query time range exceeds the limit (query length: 3m20s, limit: 1m40s)"));
    }
}
