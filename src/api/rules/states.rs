//! Groups, rules and alerts as Prometheus shows them, with what is ours beside.
//!
//! Ours: `evaluation` is `incremental` or `query`, `evaluationReason` says why it is asked; `lateRows` came too late for
//! a window; `completeness` is the part of rows that did not, and `incompleteWindows` says it of the newest windows that lack some.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::seeing::Seeing;
use crate::api::Shared;
use crate::api::params::Params;
use crate::rules::alerts::Alert;
use crate::rules::render::{format_value, rfc3339};
use crate::rules::view::{Mode, RuleView};
use crate::rules::{Rule, RuleKind, ShownGroup};
use crate::types::labels::Labels;
use crate::types::time::UnixNanos;

pub(super) async fn rules(State(shared): State<Shared>, seeing: Seeing, params: Params) -> Response {
    let kind = params.get("type").to_lowercase();
    if !["", "alert", "record"].contains(&kind.as_str()) {
        return failed(StatusCode::BAD_REQUEST, "bad_data", &format!("not supported value {:?}", params.get("type")));
    }
    let one_of = |name: &str| {
        let values: Vec<&str> = params.all(name).chain(params.all(&format!("{name}[]"))).collect();
        move |text: &str| values.is_empty() || values.contains(&text)
    };
    let (file, group_name, rule_name) = (one_of("file"), one_of("rule_group"), one_of("rule_name"));
    let shown = shared.state.rules.as_ref().map(|ruler| ruler.shown(&seeing.tenant)).unwrap_or_default();
    let mut groups = Vec::new();
    for group in shown.iter().filter(|group| file(&group.key.namespace) && group_name(&group.key.group)) {
        let rules: Vec<Value> = group
            .group
            .rules
            .iter()
            .enumerate()
            .filter(|(_, rule)| kind.is_empty() || rule.is_alert() == (kind == "alert"))
            .filter(|(_, rule)| rule_name(rule.name()) && seeing.shows(rule))
            .map(|(number, rule)| rule_json(group, number, rule))
            .collect();
        if rules.is_empty() && !(kind.is_empty() && params.get("rule_name").is_empty()) {
            continue;
        }
        groups.push(json!({
            "name": group.key.group,
            "file": group.key.namespace,
            "rules": rules,
            "interval": group.interval_ns as f64 / 1e9,
            "limit": group.group.limit,
            "lastEvaluation": time(group.view.last_evaluation),
            "evaluationTime": group.view.evaluation_seconds,
            "watermark": group.flow.as_ref().and_then(|flow| flow.evaluated).map(rfc3339),
        }));
    }
    succeeded(json!({"groups": groups}))
}

pub(super) async fn alerts(State(shared): State<Shared>, seeing: Seeing) -> Response {
    let shown = shared.state.rules.as_ref().map(|ruler| ruler.shown(&seeing.tenant)).unwrap_or_default();
    let rules = shown.iter().flat_map(|group| group.group.rules.iter().zip(&group.view.rules));
    let alerts = rules.filter(|(rule, _)| seeing.shows(rule)).flat_map(|(_, view)| &view.alerts);
    succeeded(json!({"alerts": alerts.map(alert_json).collect::<Vec<_>>()}))
}

fn rule_json(group: &ShownGroup, number: usize, rule: &Rule) -> Value {
    let view: &RuleView = &group.view.rules[number];
    let labels = rule.all_labels(&group.group);
    let mut shown = Map::new();
    if let RuleKind::Alerting { hold, keep_firing, annotations, .. } = &rule.kind {
        shown.insert("state".to_owned(), json!(view.state.as_str()));
        shown.insert("duration".to_owned(), json!(hold.0 as f64 / 1e9));
        shown.insert("keepFiringFor".to_owned(), json!(keep_firing.0 as f64 / 1e9));
        shown.insert("annotations".to_owned(), json!(annotations));
        shown.insert("alerts".to_owned(), view.alerts.iter().map(alert_json).collect());
    }
    let (evaluation, reason) = match &view.mode {
        Mode::Incremental { .. } => ("incremental", None),
        Mode::Asked(reason) => ("query", Some(reason)),
    };
    for (name, value) in [
        ("name", json!(rule.name())),
        ("query", json!(rule.text)),
        ("labels", json!(labels)),
        ("health", json!(view.health.as_str())),
        ("lastError", json!(view.last_error)),
        ("type", json!(if rule.is_alert() { "alerting" } else { "recording" })),
        ("lastEvaluation", time(view.last_evaluation)),
        ("evaluationTime", json!(view.evaluation_seconds)),
        ("evaluation", json!(evaluation)),
    ] {
        shown.insert(name.to_owned(), value);
    }
    if let Some(reason) = reason {
        shown.insert("evaluationReason".to_owned(), json!(reason));
    }
    if let Mode::Incremental { step_ns } = &view.mode {
        shown.insert("evaluationStep".to_owned(), json!(*step_ns as f64 / 1e9));
        if let Some(status) = group.flow.as_ref().and_then(|flow| flow.rules.get(number)) {
            shown.insert("stateBytes".to_owned(), json!(status.bytes));
            shown.insert("stateSeries".to_owned(), json!(status.series));
            shown.insert("rows".to_owned(), json!(status.rows));
            shown.insert("lateRows".to_owned(), json!(status.missed));
            let completeness = if status.rows == 0 { 1.0 } else { 1.0 - status.missed as f64 / status.rows as f64 };
            shown.insert("completeness".to_owned(), json!(completeness));
            let windows = status.incomplete.iter().map(|(at, rows, missed)| {
                let completeness = 1.0 - *missed as f64 / (*rows).max(1) as f64;
                json!({"at": rfc3339(*at), "rows": rows, "lateRows": missed, "completeness": completeness})
            });
            shown.insert("incompleteWindows".to_owned(), windows.collect());
        }
    }
    Value::Object(shown)
}

fn alert_json(alert: &Alert) -> Value {
    json!({
        "labels": object(&alert.labels),
        "annotations": object(&alert.annotations),
        "state": alert.state.as_str(),
        "activeAt": rfc3339(alert.active_at),
        "value": format_value(alert.value),
    })
}

fn object(labels: &Labels) -> Value {
    Value::Object(labels.iter().map(|(name, value)| (name.to_owned(), json!(value))).collect())
}

/// Go's zero time stands for never.
fn time(at: Option<UnixNanos>) -> Value {
    json!(at.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), rfc3339))
}

fn succeeded(data: Value) -> Response {
    answer(StatusCode::OK, json!({"status": "success", "data": data, "errorType": "", "error": ""}))
}

fn failed(status: StatusCode, kind: &str, words: &str) -> Response {
    answer(status, json!({"status": "error", "data": null, "errorType": kind, "error": words}))
}

fn answer(status: StatusCode, body: Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}
