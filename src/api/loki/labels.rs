//! `/loki/api/v1/labels` and `/label/{name}/values`: answered from the stream index.

use axum::extract::{Path, State};
use axum::response::Response;

use crate::api::Shared;
use crate::api::error::ApiError;
use crate::api::loki::json_answer;
use crate::api::loki::range_limits::metadata_range;
use crate::api::params::Params;
use crate::api::tenant::Reading;
use crate::logql;
use crate::logql::ast::Matcher;
use crate::types::labels::push_json_string;

/// Grafana splits queries by the values of this label; it has none here.
const SHARD_LABEL: &str = "__stream_shard__";

/// `GET|POST /loki/api/v1/labels`.
pub async fn names(
    State(shared): State<Shared>,
    Reading(scope): Reading,
    params: Params,
) -> Result<Response, ApiError> {
    let Some(range) = metadata_range(&shared, &scope, &params)? else { return Ok(answer(&[])) };
    let matchers = matchers(&params)?;
    Ok(answer(&shared.state.engine.label_names(&scope, range, &matchers).await?))
}

/// `GET|POST /loki/api/v1/label/{name}/values`.
pub async fn values(
    State(shared): State<Shared>,
    Reading(scope): Reading,
    Path(name): Path<String>,
    params: Params,
) -> Result<Response, ApiError> {
    let Some(range) = metadata_range(&shared, &scope, &params)? else { return Ok(answer(&[])) };
    let matchers = matchers(&params)?;
    if name == SHARD_LABEL {
        return Ok(answer(&[]));
    }
    Ok(answer(&shared.state.engine.label_values(&scope, &name, range, &matchers).await?))
}

fn matchers(params: &Params) -> Result<Vec<Matcher>, ApiError> {
    match params.get("query") {
        "" => Ok(Vec::new()),
        text => logql::parse_matchers(text, true).map_err(|error| ApiError::bad_input(error.to_string())),
    }
}

/// `data` is left out when there is none, as Loki does.
fn answer(values: &[String]) -> Response {
    let mut out = String::from("{\"status\":\"success\"");
    for (at, value) in values.iter().enumerate() {
        out.push_str(if at == 0 { ",\"data\":[" } else { "," });
        push_json_string(&mut out, value);
    }
    out.push_str(if values.is_empty() { "}" } else { "]}" });
    json_answer(out)
}
