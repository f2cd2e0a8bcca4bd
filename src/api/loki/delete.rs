//! `/loki/api/v1/delete`: lines asked away, listed, taken back.
//!
//! Statuses and texts are Loki's. Its `max_interval` cuts a request with filters into parts that are worked on one by
//! one; here files are, so it is checked and has no further effect.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::access::TenantView;
use crate::api::Shared;
use crate::api::audit::Note;
use crate::api::error::{ApiError, ErrorKind};
use crate::api::params::Params;
use crate::api::tenant::Deleting;
use crate::audit::Kind;
use crate::ingest::retention::DeletionMode;
use crate::query::removal::text_has_filter;
use crate::types::ids::TenantId;
use crate::types::time::{NANOS_PER_MILLI, UnixNanos};
use crate::types::units::GoDuration;
use crate::upkeep::Upkeep;
use crate::upkeep::deletes::{DeleteError, DeleteRequest, NewDelete};

const BAD_START: &str = "invalid start time: require unix seconds or RFC3339 format";
const BAD_END: &str = "invalid end time: require unix seconds or RFC3339 format";

/// `POST|PUT /loki/api/v1/delete`: 204 with `X-Delete-Request-ID`.
pub async fn add(
    State(shared): State<Shared>,
    deleting: Deleting,
    note: Note,
    params: Params,
) -> Result<Response, ApiError> {
    note.question(Kind::Delete, "logql", params.get("query"));
    let (upkeep, tenant) = door(&shared, &deleting)?;
    let now_ms = millis(shared.state.clock.now());
    let new = read(&params, now_ms, shared.state.config.compactor.delete_max_interval)?;
    let (query, start_ms, end_ms) = (new.query.clone(), new.start_ms, new.end_ms);
    let nanos = |ms: i64| UnixNanos(ms.saturating_mul(NANOS_PER_MILLI));
    note.range(nanos(start_ms), nanos(end_ms));
    note.ask().await?;
    let id = upkeep.request_delete(tenant, new).await.map_err(refused)?;
    note.with(|event| event.params = format!("{{\"request_id\":\"{id}\"}}"));
    tracing::info!(id, tenant = tenant.as_str(), query, start_ms, end_ms, "delete request added");
    shared.state.metrics.upkeep.deletes_received.with_label_values(&[tenant.as_str()]).inc();
    Ok((StatusCode::NO_CONTENT, [("X-Delete-Request-ID", id)]).into_response())
}

/// `GET /loki/api/v1/delete`: a bare array, oldest first; with `start` and `end`, those that overlap.
pub async fn list(State(shared): State<Shared>, deleting: Deleting, params: Params) -> Result<Response, ApiError> {
    let (upkeep, tenant) = door(&shared, &deleting)?;
    let now_ms = millis(shared.state.clock.now());
    let (start, end) = (params.get("start"), params.get("end"));
    let range = match start.is_empty() || end.is_empty() {
        true => None,
        false => {
            Some((time(start, now_ms).ok_or_else(|| bad(BAD_START))?, time(end, now_ms).ok_or_else(|| bad(BAD_END))?))
        }
    };
    let overlaps =
        |request: &DeleteRequest| range.is_none_or(|(start, end)| request.start_ms <= end && request.end_ms >= start);
    let requests: Vec<Value> = upkeep.delete_requests(tenant).iter().filter(|r| overlaps(r)).map(shown).collect();
    let body = format!("{}\n", Value::Array(requests));
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// `DELETE /loki/api/v1/delete?request_id=…&force=true`: 204, and the lines are seen again.
pub async fn cancel(
    State(shared): State<Shared>,
    deleting: Deleting,
    note: Note,
    params: Params,
) -> Result<Response, ApiError> {
    note.kind(Kind::DeleteCancel);
    let (upkeep, tenant) = door(&shared, &deleting)?;
    let (id, force) = (params.get("request_id"), params.get("force") == "true");
    note.ask().await?;
    upkeep.cancel_delete(tenant, id, force).await.map_err(refused)?;
    tracing::info!(id, tenant = tenant.as_str(), force, "delete request taken back");
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `GET /loki/api/v1/delete/certificate?request_id=…`: the signed certificate, or 409 with how far it is. Beyond Loki.
pub async fn certificate(
    State(shared): State<Shared>,
    deleting: Deleting,
    params: Params,
) -> Result<Response, ApiError> {
    let (upkeep, tenant) = door(&shared, &deleting)?;
    match upkeep.certificate(tenant, params.get("request_id")).await.map_err(refused)? {
        Ok(text) => Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response()),
        Err(request) => {
            let text = format!(
                "there is no certificate yet: the request is {}, and old files and the write-ahead log may still hold its lines",
                request.status()
            );
            Err(ApiError::with_status(StatusCode::CONFLICT, text).with_newline())
        }
    }
}

/// The upkeep and the tenant, for one who may delete.
fn door<'a>(shared: &'a Shared, Deleting(scope, tenant): &'a Deleting) -> Result<(&'a Upkeep, &'a TenantId), ApiError> {
    if !scope.views().iter().all(TenantView::shows_all_streams) {
        // What one does not see one could otherwise delete, or find out by deleting.
        let text = format!("{} does not see all streams of tenant {tenant}: only who does may delete", scope.who());
        return Err(ApiError::with_status(StatusCode::FORBIDDEN, text).with_newline());
    }
    if shared.state.limits.of(tenant).deletion_mode == DeletionMode::Disabled {
        let text = "deletion is not available for this tenant";
        return Err(ApiError::with_status(StatusCode::FORBIDDEN, text).with_newline());
    }
    let upkeep = shared.state.upkeep.as_ref().filter(|_| shared.state.config.compactor.retention_enabled);
    Ok((upkeep.ok_or_else(|| bad("Retention is not enabled"))?, tenant))
}

fn read(params: &Params, now_ms: i64, max_interval: GoDuration) -> Result<NewDelete, ApiError> {
    let query = params.get("query");
    if query.is_empty() {
        return Err(bad("query not set"));
    }
    let has_filter = text_has_filter(query).map_err(|_| bad("invalid query expression"))?;
    if params.get("start").is_empty() {
        return Err(bad("start time not set"));
    }
    let start_ms = time(params.get("start"), now_ms).ok_or_else(|| bad(BAD_START))?;
    let end_ms = time(params.get("end"), now_ms).ok_or_else(|| bad(BAD_END))?;
    if end_ms > now_ms {
        return Err(bad("deletes in the future are not allowed"));
    }
    if start_ms >= end_ms {
        return Err(bad("start time can't be greater than or equal to end time"));
    }
    if has_filter && !params.get("max_interval").is_empty() {
        check_interval(params.get("max_interval"), max_interval, GoDuration((end_ms - start_ms) * NANOS_PER_MILLI))?;
    }
    Ok(NewDelete { query: query.to_owned(), start_ms, end_ms })
}

fn check_interval(text: &str, max: GoDuration, whole: GoDuration) -> Result<(), ApiError> {
    // Go's durations know no days.
    let interval = text.parse::<GoDuration>().ok().filter(|_| !text.contains(['d', 'w', 'y'])).map(GoDuration::nanos);
    let interval = interval.filter(|nanos| *nanos >= 1_000_000_000);
    let interval = interval.ok_or_else(|| bad("invalid max_interval: valid time units are 's', 'm', 'h'"))?;
    if interval > max.0 && max.0 != 0 {
        return Err(bad(format!("max_interval can't be greater than {max}")));
    }
    if interval > whole.0 {
        return Err(bad(format!("max_interval can't be greater than the interval to be deleted ({whole})")));
    }
    Ok(())
}

/// Milliseconds of RFC 3339, or of ten characters of seconds; empty means now.
fn time(text: &str, now_ms: i64) -> Option<i64> {
    if text.is_empty() {
        return Some(now_ms);
    }
    if let Ok(time) = chrono::DateTime::parse_from_rfc3339(text) {
        return Some(time.timestamp_millis());
    }
    let seconds: f64 = (text.len() == 10).then(|| text.parse().ok()).flatten().filter(|s: &f64| s.is_finite())?;
    Some((seconds * 1_000.0).round() as i64)
}

/// A request as Loki shows it.
fn shown(request: &DeleteRequest) -> Value {
    json!({
        "request_id": request.id,
        "start_time": seconds(request.start_ms),
        "end_time": seconds(request.end_ms),
        "query": request.query,
        "status": request.status(),
        "created_at": seconds(request.created_ms),
        "user_id": "",
    })
}

/// Seconds, with a fraction only where there is one.
fn seconds(ms: i64) -> Value {
    if ms % 1_000 == 0 { json!(ms / 1_000) } else { json!(ms as f64 / 1_000.0) }
}

fn refused(error: DeleteError) -> ApiError {
    let kind = match &error {
        DeleteError::NotFound => ErrorKind::NotFound,
        DeleteError::Processed | DeleteError::TooLate { .. } | DeleteError::Query(_) => ErrorKind::BadInput,
        DeleteError::TooMany => ErrorKind::OverLimit,
        DeleteError::Ledger(_) | DeleteError::Flush(_) | DeleteError::Upkeep(_) => ErrorKind::Bug,
    };
    ApiError::new(kind, error.to_string()).with_newline()
}

fn bad(text: impl Into<String>) -> ApiError {
    ApiError::bad_input(text).with_newline()
}

fn millis(at: UnixNanos) -> i64 {
    at.0.div_euclid(NANOS_PER_MILLI)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_768_500_000_000;

    #[test]
    fn requests_are_read_as_loki_reads_them() {
        let check = |query: &str, expected: Result<(i64, i64), &str>| {
            let read = read(&Params::parse(b"", query), NOW_MS, GoDuration::from_secs(86_400));
            let read = read.map(|new| (new.start_ms, new.end_ms)).map_err(|error| error.text);
            assert_eq!(read.as_ref().map(|pair| *pair).map_err(String::as_str), expected, "{query}");
        };
        let selector = "query=%7Ba%3D%22b%22%7D";
        check("start=1", Err("query not set"));
        check("query=%7B", Err("invalid query expression"));
        check("query=rate(%7Ba%3D%22b%22%7D%5B1m%5D)&start=1768471200", Err("invalid query expression"));
        check(selector, Err("start time not set"));
        check(&format!("{selector}&start=yesterday"), Err(BAD_START));
        check(&format!("{selector}&start=17684712000"), Err(BAD_START));
        check(&format!("{selector}&start=1768471200&end=x"), Err(BAD_END));
        check(&format!("{selector}&start=1768471200&end=1868471200"), Err("deletes in the future are not allowed"));
        let reversed = "start time can't be greater than or equal to end time";
        check(&format!("{selector}&start=1768471200&end=1768471200"), Err(reversed));
        check(&format!("{selector}&start=1768471200"), Ok((1_768_471_200_000, NOW_MS)));
        check(
            &format!("{selector}&start=2026-01-15T10:00:00Z&end=2026-01-15T12:00:00%2B01:00"),
            Err(reversed).or(Ok((1_768_471_200_000, 1_768_474_800_000))),
        );
        let filtered = format!("{selector}%7C%3D%22x%22&start=1768471200&end=1768474800");
        check(&format!("{filtered}&max_interval=5x"), Err("invalid max_interval: valid time units are 's', 'm', 'h'"));
        check(&format!("{filtered}&max_interval=25h"), Err("max_interval can't be greater than 24h0m0s"));
        let too_wide = "max_interval can't be greater than the interval to be deleted (1h0m0s)";
        check(&format!("{filtered}&max_interval=2h"), Err(too_wide));
        check(&format!("{filtered}&max_interval=30m"), Ok((1_768_471_200_000, 1_768_474_800_000)));
        // Without filters nobody looks at it.
        check(&format!("{selector}&start=1768471200&max_interval=x"), Ok((1_768_471_200_000, NOW_MS)));
    }

    #[test]
    fn times_are_shown_as_numbers() {
        assert_eq!(seconds(1_768_471_200_000).to_string(), "1768471200");
        assert_eq!(seconds(1_768_471_200_120).to_string(), "1768471200.12");
    }
}
