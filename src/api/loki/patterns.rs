//! `/loki/api/v1/patterns`: templates of lines and how often they came.

use axum::extract::State;
use axum::response::Response;

use crate::api::Shared;
use crate::api::error::ApiError;
use crate::api::loki::encode::push_html_safe_json_string;
use crate::api::loki::json_answer;
use crate::api::loki::range_limits::allowed_range;
use crate::api::params::{Params, RangeParams};
use crate::api::tenant::Reading;
use crate::logql;
use crate::query::patterns::PatternsRequest;
use crate::types::labels::push_json_string;

/// `GET|POST /loki/api/v1/patterns`: `{"status","data":[{"pattern","level","samples":[[seconds,lines]]}]}`.
pub async fn patterns(
    State(shared): State<Shared>,
    Reading(scope): Reading,
    params: Params,
) -> Result<Response, ApiError> {
    let now = shared.state.clock.now();
    let range = RangeParams::parse(&params, now)?;
    let matchers =
        logql::parse_matchers(params.get("query"), true).map_err(|error| ApiError::bad_input(error.to_string()))?;
    let limits = shared.limits_of(&scope);
    let mut out = String::from("{\"status\":\"success\",\"data\":[");
    if let Some((start, end)) = allowed_range(&limits, range.start, range.end, now)? {
        let request = PatternsRequest { scope, matchers, start, end, step_ns: range.step_ns };
        let timeout = shared.state.config.query_timeout(&limits).to_std();
        let _running = shared.turn(&request.scope).await?;
        for (at, pattern) in shared.state.engine.patterns(request, timeout).await?.iter().enumerate() {
            out.push_str(if at == 0 { "{\"pattern\":" } else { ",{\"pattern\":" });
            push_html_safe_json_string(&mut out, &pattern.text);
            out.push_str(",\"level\":");
            push_json_string(&mut out, &pattern.level);
            out.push_str(",\"samples\":");
            let samples: Vec<String> = pattern.samples.iter().map(|(at, count)| format!("[{at},{count}]")).collect();
            out.push_str(&format!("[{}]}}", samples.join(",")));
        }
    }
    out.push_str("]}\n");
    Ok(json_answer(out))
}
