//! `/loki/api/v1/series` and `/index/stats`: answered from the stream index.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::response::Response;

use crate::api::Shared;
use crate::api::error::ApiError;
use crate::api::loki::json_answer;
use crate::api::loki::range_limits::metadata_range;
use crate::api::params::{Params, RangeParams};
use crate::api::tenant::Reading;
use crate::logql;
use crate::logql::ast::Matcher;
use crate::types::time::TimeRange;

/// `GET|POST /loki/api/v1/series`: streams that match any of `match` and `match[]`.
pub async fn series(
    State(shared): State<Shared>,
    Reading(scope): Reading,
    params: Params,
) -> Result<Response, ApiError> {
    let range = metadata_range(&shared, &scope, &params)?;
    let any_of = selectors(&params)?;
    let streams = match range {
        Some(range) => shared.state.engine.series(&scope, range, &any_of).await?,
        None => Vec::new(),
    };
    let mut out = String::from("{\"status\":\"success\",\"data\":[");
    for (at, labels) in streams.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        out.push_str(&labels.to_json());
    }
    out.push_str("]}");
    Ok(json_answer(out))
}

/// No selector, or `{}` alone, means all streams.
fn selectors(params: &Params) -> Result<Vec<Vec<Matcher>>, ApiError> {
    let texts: BTreeSet<&str> = params.all("match").chain(params.all("match[]")).collect();
    if texts.len() == 1 && texts.iter().all(|text| text.replace(' ', "") == "{}") {
        return Ok(Vec::new());
    }
    texts.into_iter().map(selector).collect()
}

/// Unlike a query's selector, it may match streams without its labels; but it must have a matcher.
fn selector(text: &str) -> Result<Vec<Matcher>, ApiError> {
    let matchers = logql::parse_matchers(text, false).map_err(|error| ApiError::bad_input(error.to_string()))?;
    if matchers.is_empty() {
        return Err(ApiError::bad_input(format!("0 matchers in group: {text}")));
    }
    Ok(matchers)
}

/// `GET|POST /loki/api/v1/index/stats`: a bare object.
pub async fn index_stats(
    State(shared): State<Shared>,
    Reading(scope): Reading,
    params: Params,
) -> Result<Response, ApiError> {
    let range = RangeParams::parse(&params, shared.state.clock.now())?;
    let matchers =
        logql::parse_matchers(params.get("query"), true).map_err(|error| ApiError::bad_input(error.to_string()))?;
    let range = TimeRange::new(range.start, range.end.saturating_add(1));
    let stats = shared.state.engine.index_stats(&scope, range, &matchers).await?;
    Ok(json_answer(format!(
        "{{\"streams\":{},\"chunks\":{},\"bytes\":{},\"entries\":{}}}",
        stats.streams, stats.chunks, stats.bytes, stats.entries
    )))
}
