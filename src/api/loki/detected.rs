//! `/loki/api/v1/detected_fields`, `/detected_field/{name}/values` and `/detected_labels`: what Logs Drilldown shows.

use axum::extract::{Path, State};
use axum::response::Response;

use crate::access::Scope;
use crate::api::Shared;
use crate::api::error::ApiError;
use crate::api::loki::json_answer;
use crate::api::loki::range_limits::{allowed_range, check_entries, metadata_range};
use crate::api::params::{Params, RangeParams, positive_u32};
use crate::api::tenant::Reading;
use crate::logql;
use crate::logql::ast::Expr;
use crate::query::{Direction, QueryAnswer, QueryKind, QueryRequest, StreamEntries, fields};
use crate::types::labels::push_json_string;

const LINES_DEFAULT: usize = 100;
const FIELDS_DEFAULT: usize = 1000;
/// Labels that are shown whatever their values look like.
const ALWAYS_SHOWN: [&str; 4] = ["cluster", "namespace", "instance", "pod"];

/// `GET|POST /loki/api/v1/detected_fields`: a bare object.
pub async fn detected_fields(
    State(shared): State<Shared>,
    Reading(scope): Reading,
    params: Params,
) -> Result<Response, ApiError> {
    let limit = fields_limit(&params)?;
    let streams = newest_lines(&shared, scope, &params).await?;
    let found = fields::detect(&streams, limit)?;
    let mut out = String::from("{");
    for (at, field) in found.iter().enumerate() {
        out.push_str(if at == 0 { "\"fields\":[" } else { "," });
        out.push_str("{\"label\":");
        push_json_string(&mut out, &field.name);
        let (kind, cardinality) = (field.kind.as_str(), field.cardinality);
        out.push_str(&format!(",\"type\":\"{kind}\",\"cardinality\":{cardinality},\"parsers\":"));
        match field.parsers.is_empty() {
            true => out.push_str("null"),
            false => push_list(&mut out, field.parsers.iter().copied()),
        }
        if !field.json_path.is_empty() {
            out.push_str(",\"jsonPath\":");
            push_list(&mut out, field.json_path.iter().map(String::as_str));
        }
        out.push('}');
    }
    if !found.is_empty() {
        out.push_str(&format!("],\"limit\":{limit}"));
    }
    out.push('}');
    Ok(json_answer(out))
}

/// `GET|POST /loki/api/v1/detected_field/{name}/values`: a bare object.
pub async fn detected_values(
    State(shared): State<Shared>,
    Reading(scope): Reading,
    Path(name): Path<String>,
    params: Params,
) -> Result<Response, ApiError> {
    let limit = fields_limit(&params)?;
    let streams = newest_lines(&shared, scope, &params).await?;
    let values = fields::values(&streams, &name, limit)?;
    if values.is_empty() {
        return Ok(json_answer("{}"));
    }
    let mut out = format!("{{\"limit\":{limit},\"values\":");
    push_list(&mut out, values.iter().map(String::as_str));
    out.push('}');
    Ok(json_answer(out))
}

/// `GET|POST /loki/api/v1/detected_labels`: a bare object.
pub async fn detected_labels(
    State(shared): State<Shared>,
    Reading(scope): Reading,
    params: Params,
) -> Result<Response, ApiError> {
    let matchers = match params.get("query") {
        "" => Vec::new(),
        text => logql::parse_matchers(text, true).map_err(|error| ApiError::bad_input(error.to_string()))?,
    };
    let mut out = String::from("{\"detectedLabels\":[");
    if let Some(range) = metadata_range(&shared, &scope, &params)? {
        let mut first = true;
        for (name, values) in shared.state.engine.labels_with_values(&scope, range, &matchers).await? {
            if !ALWAYS_SHOWN.contains(&name.as_str()) && are_ids(values.iter().map(String::as_str)) {
                continue;
            }
            out.push_str(if first { "{\"label\":" } else { ",{\"label\":" });
            first = false;
            push_json_string(&mut out, &name);
            out.push_str(&format!(",\"cardinality\":{}}}", values.len()));
        }
    }
    out.push_str("]}");
    Ok(json_answer(out))
}

/// Whether all values are numbers or UUIDs; 0 and 1 alone are a flag.
fn are_ids<'a>(values: impl Iterator<Item = &'a str> + Clone) -> bool {
    let is_flag = values.clone().count() <= 2 && values.clone().all(|value| value == "0" || value == "1");
    let is_id = |value: &str| value.parse::<f64>().is_ok() || uuid::Uuid::try_parse(value).is_ok();
    !is_flag && values.into_iter().all(is_id)
}

/// The newest `line_limit` lines of the query, labels told apart.
async fn newest_lines(shared: &Shared, scope: Scope, params: &Params) -> Result<Vec<StreamEntries>, ApiError> {
    let now = shared.state.clock.now();
    let range = RangeParams::parse(params, now)?;
    let lines = positive_u32(params, "line_limit", LINES_DEFAULT)?;
    let text = params.get("query").to_owned();
    match logql::parse(&text) {
        Ok(Expr::Log(_)) => {}
        Ok(Expr::Metric(_)) => return Err(ApiError::bad_input("only log selector is supported")),
        Err(error) => return Err(ApiError::bad_input(error.to_string())),
    }
    let limits = shared.limits_of(&scope);
    check_entries(&limits, lines)?;
    let Some((start, end)) = allowed_range(&limits, range.start, range.end, now)? else { return Ok(Vec::new()) };
    let request = QueryRequest {
        scope,
        text,
        kind: QueryKind::Range { start, end, step_ns: range.step_ns, interval_ns: 0 },
        limit: lines,
        direction: Direction::Backward,
        categorize: true,
        splitting: None,
        series_max: limits.max_query_series,
        timeout: shared.state.config.query_timeout(&limits).to_std(),
    };
    let _running = shared.turn(&request.scope).await?;
    match shared.state.engine.query(request).await?.0 {
        QueryAnswer::Streams(streams) => Ok(streams),
        _ => Ok(Vec::new()),
    }
}

fn fields_limit(params: &Params) -> Result<usize, ApiError> {
    let name = if params.get("limit").is_empty() { "field_limit" } else { "limit" };
    positive_u32(params, name, FIELDS_DEFAULT)
}

fn push_list<'a>(out: &mut String, texts: impl Iterator<Item = &'a str>) {
    out.push('[');
    for (at, text) in texts.enumerate() {
        if at > 0 {
            out.push(',');
        }
        push_json_string(out, text);
    }
    out.push(']');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_ids_are_not_shown() {
        let check = |values: &[&str], expected| assert_eq!(are_ids(values.iter().copied()), expected, "{values:?}");
        check(&["1", "2", "3"], true);
        check(&["0", "1"], false);
        check(&["0"], false);
        check(&["7"], true);
        check(&["6f1b2c1e-9d3a-4c55-8a7e-2f1f3b6c9d00"], true);
        check(&["7", "x"], false);
    }
}
