//! `/loki/api/v1/query_range` and `/query`.
//!
//! ```text
//! parameters ─▶ parse (log or metric?) ─▶ limits ─▶ turn ─▶ engine ─▶ encode
//! ```

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;

use crate::api::Shared;
use crate::api::audit::Note;
use crate::api::error::{ApiError, ErrorKind, plain_text};
use crate::api::loki::encode;
use crate::api::loki::query_tags::tags_of;
use crate::api::loki::range_limits::{allowed_range, check_entries};
use crate::api::params::{InstantParams, Params, RangeParams};
use crate::api::tenant::Reading;
use crate::audit::Kind;
use crate::ingest::limits::Limits;
use crate::logql;
use crate::logql::ast::Expr;
use crate::query::matrix::Steps;
use crate::query::{QueryAnswer, QueryKind, QueryRequest, QueryStats, Splitting};

const ENCODING_FLAGS: &str = "x-loki-response-encoding-flags";
const CATEGORIZE: &str = "categorize-labels";
/// What an instant log query looks back; the same as a range query without a start.
const DEFAULT_SINCE_NS: i64 = 3_600_000_000_000;

/// `GET|POST /loki/api/v1/query_range`.
pub async fn range(
    State(shared): State<Shared>,
    Reading(scope): Reading,
    note: Note,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, ApiError> {
    note.question(Kind::Query, "logql", params.get("query"));
    let now = shared.state.clock.now();
    let limits = shared.limits_of(&scope);
    let range = RangeParams::parse(&params, now)?;
    note.range(range.start, range.end);
    let asked = Asked::parse(&params)?;
    if asked == Asked::Logs {
        check_entries(&limits, range.limit)?;
    }
    let categorize = has_flag(&headers, CATEGORIZE);
    let Some((start, end)) = allowed_range(&limits, range.start, range.end, now)? else {
        return Ok(encode::answer(asked.nothing(), &QueryStats::default(), categorize));
    };
    let request = QueryRequest {
        scope,
        text: params.get("query").to_owned(),
        kind: QueryKind::Range { start, end, step_ns: range.step_ns, interval_ns: range.interval_ns },
        limit: range.limit,
        direction: range.direction,
        categorize,
        splitting: splitting(&shared, &limits, &headers),
        series_max: limits.max_query_series,
        timeout: shared.state.config.query_timeout(&limits).to_std(),
    };
    run(&shared, &params, request, asked, &note, &tags_of(&headers)).await
}

/// `GET|POST /loki/api/v1/query`.
pub async fn instant(
    State(shared): State<Shared>,
    Reading(scope): Reading,
    note: Note,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, ApiError> {
    note.question(Kind::Query, "logql", params.get("query"));
    let instant = InstantParams::parse(&params, shared.state.clock.now())?;
    note.range(instant.time, instant.time);
    let asked = Asked::parse(&params)?;
    let limits = shared.limits_of(&scope);
    let mut kind = QueryKind::Instant { time: instant.time };
    if asked == Asked::Logs {
        if !shared.state.config.millrace.query.instant_log_queries {
            return Err(ApiError::bad_input(
                "log queries are not supported as an instant query type, please change your query to a range query type",
            ));
        }
        check_entries(&limits, instant.limit)?;
        // The range of a range query that names none, up to and with the time asked for.
        let (start, end) = (instant.time.saturating_add(-DEFAULT_SINCE_NS), instant.time.saturating_add(1));
        kind = QueryKind::Range { start, end, step_ns: 1, interval_ns: 0 };
    }
    let request = QueryRequest {
        scope,
        text: params.get("query").to_owned(),
        kind,
        limit: instant.limit,
        direction: instant.direction,
        categorize: has_flag(&headers, CATEGORIZE),
        splitting: None,
        series_max: limits.max_query_series,
        timeout: shared.state.config.query_timeout(&limits).to_std(),
    };
    run(&shared, &params, request, asked, &note, &tags_of(&headers)).await
}

/// What kind of answer a query has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Logs,
    Samples,
}

impl Asked {
    fn parse(params: &Params) -> Result<Self, ApiError> {
        match logql::parse(params.get("query")) {
            Ok(Expr::Log(_)) => Ok(Asked::Logs),
            Ok(Expr::Metric(_)) => Ok(Asked::Samples),
            Err(error) => Err(ApiError::bad_input(error.to_string())),
        }
    }

    fn nothing(self) -> QueryAnswer {
        match self {
            Asked::Logs => QueryAnswer::Streams(Vec::new()),
            Asked::Samples => {
                let steps = Steps { start_ns: 0, step_ns: 1, count: 0 };
                QueryAnswer::Matrix { steps, series: Vec::new() }
            }
        }
    }

    /// What rules of `blocked_queries` call it. Source: Loki's `QueryType`.
    fn blocked_kind(self, text: &str) -> &'static str {
        match (self, logql::parse(text)) {
            (Asked::Logs, Ok(Expr::Log(log))) if log.stages.is_empty() => "limited",
            (Asked::Logs, _) => "filter",
            (Asked::Samples, _) => "metric",
        }
    }

    /// Value of the `type` label in metrics.
    fn as_str(self) -> &'static str {
        match self {
            Asked::Logs => "limited",
            Asked::Samples => "metric",
        }
    }
}

async fn run(
    shared: &Shared,
    params: &Params,
    request: QueryRequest,
    asked: Asked,
    note: &Note,
    tags: &str,
) -> Result<Response, ApiError> {
    note.with(|event| tags.clone_into(&mut event.tags));
    let (engine, kind_of_query) = (&shared.state.engine, asked.blocked_kind(params.get("query")));
    engine.check_blocked(&request.scope, &request.text, kind_of_query, tags)?;
    let _running = shared.turn(&request.scope).await?;
    if params.get("explain") == "true" {
        let plan = shared.state.engine.explain(request).await?;
        return Ok(plain_text(StatusCode::OK, plan));
    }
    let (tenant, categorize, kind) = (request.scope.tenants_text(), request.categorize, request.kind);
    let text = request.text.clone();
    let started = std::time::Instant::now();
    let listed = shared.running.enter(&request.scope, asked.as_str(), &request.text);
    let outcome = tokio::select! {
        outcome = shared.state.engine.query(request) => outcome.map_err(ApiError::from),
        () = listed.stopped() => Err(ApiError::new(ErrorKind::ClientGone, "the query was stopped by an operator")),
    };
    drop(listed);
    let status = outcome.as_ref().map_or_else(|error| error.status, |_| StatusCode::OK);
    let outcome_name = if outcome.is_ok() { "success" } else { "failed" };
    shared.state.metrics.query_outcomes.with_label_values(&[outcome_name]).inc();
    let range = if matches!(kind, QueryKind::Instant { .. }) { "instant" } else { "range" };
    let lines = outcome.as_ref().map_or(0, |(_, stats)| stats.lines_processed);
    tracing::info!(
        org_id = %tenant,
        query = text,
        query_type = asked.as_str(),
        range_type = range,
        duration_ms = started.elapsed().as_millis() as u64,
        status = status.as_u16(),
        total_lines = lines,
        query_tags = tags,
        "query"
    );
    shared
        .state
        .metrics
        .query_latency
        .with_label_values(&[status.as_str(), asked.as_str(), range])
        .observe(started.elapsed().as_secs_f64());
    let (answer, stats) = outcome?;
    note.read(stats.bytes_processed, stats.lines_processed, stats.entries_returned);
    count(shared, &tenant, &stats);
    Ok(encode::answer(answer, &stats, categorize))
}

fn count(shared: &Shared, tenant: &str, stats: &QueryStats) {
    let metrics = &shared.state.metrics;
    metrics.query_bytes.with_label_values(&[tenant]).inc_by(stats.bytes_processed);
    metrics.query_lines.inc_by(stats.lines_processed);
}

/// How the answer may be cut and kept, by the settings and by what the client asks for.
fn splitting(shared: &Shared, limits: &Limits, headers: &HeaderMap) -> Option<Splitting> {
    let config = &shared.state.config;
    let interval_ns = config.split_interval(limits).nanos();
    let freshness_ns = limits.max_cache_freshness_per_query.nanos();
    let kept = config.query_range.cache_results && config.query_range.results_cache.cache.embedded_cache.enabled;
    let wanted = kept && interval_ns > 0 && !has_no_cache(headers);
    wanted.then_some(Splitting { interval_ns, freshness_ns })
}

/// Whether the client wants labels told apart by where they come from.
pub(super) fn categorizes(headers: &HeaderMap) -> bool {
    has_flag(headers, CATEGORIZE)
}

fn has_flag(headers: &HeaderMap, flag: &str) -> bool {
    let flags = headers.get(ENCODING_FLAGS).and_then(|value| value.to_str().ok()).unwrap_or("");
    flags.split(',').any(|found| found.trim() == flag)
}

fn has_no_cache(headers: &HeaderMap) -> bool {
    let directives = headers.get(header::CACHE_CONTROL).and_then(|value| value.to_str().ok()).unwrap_or("");
    directives.split(',').any(|found| found.trim().eq_ignore_ascii_case("no-cache"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_lists() {
        let headers = |name: &'static str, value: &'static str| {
            HeaderMap::from_iter([(name.parse().expect("a name"), value.parse().expect("a value"))])
        };
        assert!(has_flag(&headers(ENCODING_FLAGS, "a, categorize-labels"), CATEGORIZE));
        assert!(!has_flag(&headers(ENCODING_FLAGS, "categorize"), CATEGORIZE));
        assert!(has_no_cache(&headers("cache-control", "private, No-Cache")));
        assert!(!has_no_cache(&HeaderMap::new()));
    }
}
