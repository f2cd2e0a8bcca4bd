//! Answers and refusals in Prometheus' JSON.
//!
//! ```text
//! {"status":"success","data":…,"warnings":[…],"infos":[…]}
//! {"status":"error","errorType":"bad_data","error":"…"}
//! ```

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::api::audit::Refused;
use crate::api::error::{ApiError, ErrorKind};
use crate::promql::{Answer, Notes, Points, PromqlError};
use crate::types::labels::{Labels, push_json_string};
use crate::types::sample::SampleError;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Numbers smaller or larger than these are written with an exponent.
const PLAIN_MIN: f64 = 1e-6;
const PLAIN_MAX: f64 = 1e21;

/// Why a request was not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub status: StatusCode,
    /// Prometheus' name of the kind.
    pub kind: &'static str,
    pub text: String,
}

impl Refusal {
    pub fn bad_data(text: impl Into<String>) -> Self {
        Refusal { status: StatusCode::BAD_REQUEST, kind: "bad_data", text: text.into() }
    }

    /// A parameter that cannot be read.
    pub fn parameter(name: &str, why: impl std::fmt::Display) -> Self {
        Self::bad_data(format!("invalid parameter {name:?}: {why}"))
    }
}

impl From<PromqlError> for Refusal {
    fn from(error: PromqlError) -> Self {
        let (status, kind) = match &error {
            PromqlError::BadQuery(_) => return Refusal::parameter("query", error),
            PromqlError::Execution(_) | PromqlError::TooManySamples { .. } => {
                (StatusCode::UNPROCESSABLE_ENTITY, "execution")
            }
            PromqlError::Timeout => (StatusCode::SERVICE_UNAVAILABLE, "timeout"),
            PromqlError::Canceled => (ErrorKind::ClientGone.status(), "canceled"),
            PromqlError::Storage(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        };
        Refusal { status, kind, text: error.to_string() }
    }
}

impl From<SampleError> for Refusal {
    fn from(error: SampleError) -> Self {
        Refusal { status: StatusCode::INTERNAL_SERVER_ERROR, kind: "internal", text: error.to_string() }
    }
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        let kind = match error.status {
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => "bad_data",
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => "unavailable",
            StatusCode::NOT_FOUND => "not_found",
            _ => "internal",
        };
        Refusal { status: error.status, kind, text: error.text }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        if self.status.is_server_error() {
            tracing::warn!(status = self.status.as_u16(), error = self.text, "PromQL request failed");
        }
        let body = json!({ "status": "error", "errorType": self.kind, "error": self.text });
        let mut response = (self.status, [(header::CONTENT_TYPE, JSON)], body.to_string()).into_response();
        response.extensions_mut().insert(Refused(self.text));
        response
    }
}

/// A 200 with data.
pub fn success(data: &Value, notes: &Notes) -> Response {
    succeed(&data.to_string(), notes)
}

/// A 200 with the answer of a query; `stats` stands beside the result.
pub fn query_answer(answer: &Answer, notes: &Notes, stats: Option<&Value>) -> Response {
    let mut data = String::from("{\"resultType\":");
    match answer {
        Answer::Scalar { at_ms, value } => {
            data.push_str("\"scalar\",\"result\":");
            push_point(&mut data, *at_ms, &sample_value(*value));
        }
        Answer::Text { at_ms, text } => {
            data.push_str("\"string\",\"result\":");
            push_point(&mut data, *at_ms, text);
        }
        Answer::Vector(series) => {
            data.push_str("\"vector\",\"result\":[");
            push_series(&mut data, series, true);
        }
        Answer::Matrix(series) => {
            data.push_str("\"matrix\",\"result\":[");
            push_series(&mut data, series, false);
        }
    }
    if let Some(stats) = stats {
        data.push_str(",\"stats\":");
        data.push_str(&stats.to_string());
    }
    data.push('}');
    succeed(&data, notes)
}

/// Labels as a JSON object.
pub fn labels_json(labels: &Labels) -> Value {
    labels.iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect()
}

fn succeed(data: &str, notes: &Notes) -> Response {
    let mut body = String::with_capacity(data.len() + 64);
    body.push_str("{\"status\":\"success\",\"data\":");
    body.push_str(data);
    for (name, texts) in [("warnings", &notes.warnings), ("infos", &notes.infos)] {
        if !texts.is_empty() {
            body.push_str(&format!(",\"{name}\":{}", Value::from_iter(texts.iter().cloned())));
        }
    }
    body.push('}');
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

fn push_series(out: &mut String, series: &[Points], is_vector: bool) {
    for (at, one) in series.iter().enumerate() {
        out.push_str(if at == 0 { "{\"metric\":" } else { ",{\"metric\":" });
        out.push_str(&one.labels.to_json());
        out.push_str(if is_vector { ",\"value\":" } else { ",\"values\":[" });
        for (at, (time, value)) in one.points.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            push_point(out, *time, &sample_value(*value));
        }
        out.push_str(if is_vector { "}" } else { "]}" });
    }
    out.push(']');
}

/// `[1435781430.781,"1"]`.
fn push_point(out: &mut String, at_ms: i64, value: &str) {
    let sign = if at_ms < 0 { "-" } else { "" };
    let millis = at_ms.unsigned_abs();
    out.push_str(&format!("[{sign}{}", millis / 1000));
    if !millis.is_multiple_of(1000) {
        out.push_str(&format!(".{:03}", millis % 1000));
    }
    out.push(',');
    push_json_string(out, value);
    out.push(']');
}

/// A value as Prometheus' JSON has it: `1`, `0.5`, `1e+21`, `NaN`, `+Inf`.
pub fn sample_value(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() || size == 0.0 || (PLAIN_MIN..PLAIN_MAX).contains(&size) {
        return crate::promql::format_value(value);
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(("+", exponent), |exponent| ("-", exponent));
    format!("{digits}e{sign}{exponent:0>2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_written_as_prometheus_writes_them() {
        let check = |at_ms: i64, value: f64, expected: &str| {
            let mut out = String::new();
            push_point(&mut out, at_ms, &sample_value(value));
            assert_eq!(out, expected);
        };
        check(1_435_781_430_781, 1.0, r#"[1435781430.781,"1"]"#);
        check(1_435_781_430_000, 0.5, r#"[1435781430,"0.5"]"#);
        check(1_001, 1e21, r#"[1.001,"1e+21"]"#);
        check(-1_500, 1.5e-7, r#"[-1.500,"1.5e-07"]"#);
        check(0, f64::INFINITY, r#"[0,"+Inf"]"#);
        check(0, f64::NAN, r#"[0,"NaN"]"#);
        check(0, -0.0, r#"[0,"-0"]"#);
        check(0, 1e20, r#"[0,"100000000000000000000"]"#);
    }
}
