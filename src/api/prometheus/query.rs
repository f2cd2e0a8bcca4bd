//! `/query`, `/query_range` and what belongs to them.

use std::time::Instant;

use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use crate::access::Scope;
use crate::api::Shared;
use crate::api::audit::Note;
use crate::api::error::ApiError;
use crate::api::params::Params;
use crate::api::prometheus::answer::{Refusal, query_answer, success};
use crate::api::prometheus::params::{limit, optional_duration, steps, time_or};
use crate::api::prometheus::{derived, seen};
use crate::api::tenant::ReadingOne;
use crate::audit::Kind;
use crate::promql::{self, Answer, Asked, Notes, Outcome};
use crate::types::ids::TenantId;
use crate::types::time::NANOS_PER_MILLI;

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
