//! Rule groups as YAML: read, set, deleted.
//!
//! Source: Loki's ruler API, with its statuses and texts.

use std::collections::BTreeMap;
use std::path::{Component, Path};
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path as UrlPath, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::seeing::Seeing;
use crate::api::Shared;
use crate::api::audit::Note;
use crate::api::error::{ApiError, ErrorKind};
use crate::api::params::Params;
use crate::api::tenant::Ruling;
use crate::audit::Kind;
use crate::rules::directory::StoreError;
use crate::rules::read::read_group;
use crate::rules::views::VIEWS_NAMESPACE;
use crate::rules::write::{write_group, write_namespaces};
use crate::rules::{RuleFile, RuleGroup, Ruler};
use crate::types::ids::TenantId;

/// Bytes of a group.
const GROUP_BYTES_MAX: usize = 4 << 20;

pub(super) async fn list(
    State(shared): State<Shared>,
    Seeing { tenant, .. }: Seeing,
    params: Params,
) -> Result<Response, ApiError> {
    listed(&shared, &tenant, None, &params)
}

pub(super) async fn list_one(
    State(shared): State<Shared>,
    Seeing { tenant, .. }: Seeing,
    UrlPath(namespace): UrlPath<String>,
    params: Params,
) -> Result<Response, ApiError> {
    check_local("namespace", &namespace)?;
    listed(&shared, &tenant, Some(&namespace), &params)
}

pub(super) async fn group(
    State(shared): State<Shared>,
    Seeing { tenant, .. }: Seeing,
    UrlPath((namespace, name)): UrlPath<(String, String)>,
) -> Result<Response, ApiError> {
    check_local("namespace", &namespace)?;
    check_local("groupname", &name)?;
    let group = groups(&shared, &tenant)?
        .into_iter()
        .find(|(known, group)| *known == namespace && group.name == name)
        .ok_or_else(|| refused(ErrorKind::NotFound, "group does not exist"))?;
    Ok(yaml(write_group(&group.1)))
}

pub(super) async fn set(
    State(shared): State<Shared>,
    Ruling(tenant): Ruling,
    UrlPath(namespace): UrlPath<String>,
    note: Note,
    body: Bytes,
) -> Result<Response, ApiError> {
    note.question(Kind::Rules, "yaml", &format!("{namespace}: {}", String::from_utf8_lossy(&body)));
    check_local("namespace", &namespace)?;
    let ruler = writable(&shared)?;
    if namespace == VIEWS_NAMESPACE {
        return Err(refused(ErrorKind::BadInput, "this namespace holds the views of the configuration"));
    }
    if body.len() > GROUP_BYTES_MAX {
        return Err(refused(ErrorKind::TooLarge, format!("a rule group has at most {GROUP_BYTES_MAX} bytes")));
    }
    let text = std::str::from_utf8(&body).map_err(|_| refused(ErrorKind::BadInput, "unable to decoded rule group"))?;
    let group = read_group(text).map_err(|error| {
        let problems: Vec<String> = error.problems.iter().map(ToString::to_string).collect();
        refused(ErrorKind::BadInput, problems.join(", "))
    })?;
    note.ask().await?;
    ruler.change(move |files| files.set_group(&tenant, &namespace, group)).await.map_err(store_error)?;
    Ok(accepted())
}

pub(super) async fn delete_all(
    State(shared): State<Shared>,
    Ruling(tenant): Ruling,
    UrlPath(namespace): UrlPath<String>,
    note: Note,
) -> Result<Response, ApiError> {
    check_local("namespace", &namespace)?;
    let ruler = writable(&shared)?;
    note.with(|event| event.text.clone_from(&namespace));
    note.ask().await?;
    ruler.change(move |files| files.delete_namespace(&tenant, &namespace)).await.map_err(store_error)?;
    Ok(accepted())
}

pub(super) async fn delete(
    State(shared): State<Shared>,
    Ruling(tenant): Ruling,
    UrlPath((namespace, name)): UrlPath<(String, String)>,
    note: Note,
) -> Result<Response, ApiError> {
    check_local("namespace", &namespace)?;
    check_local("groupname", &name)?;
    let ruler = writable(&shared)?;
    note.with(|event| event.text = format!("{namespace}/{name}"));
    note.ask().await?;
    ruler.change(move |files| files.delete_group(&tenant, &namespace, &name)).await.map_err(store_error)?;
    Ok(accepted())
}

fn listed(shared: &Shared, tenant: &TenantId, namespace: Option<&str>, params: &Params) -> Result<Response, ApiError> {
    let wanted: Vec<(&str, &str)> = params.get("labels").split(',').filter_map(|label| label.split_once(':')).collect();
    let mut files: BTreeMap<String, RuleFile> = BTreeMap::new();
    for (name, group) in groups(shared, tenant)? {
        if namespace.is_some_and(|namespace| namespace != name) {
            continue;
        }
        let group = if wanted.is_empty() { group } else { Arc::new(with_labels(&group, &wanted)) };
        if wanted.is_empty() || !group.rules.is_empty() {
            files.entry(name).or_default().groups.push(group);
        }
    }
    if files.is_empty() && wanted.is_empty() {
        return Err(refused(ErrorKind::NotFound, "no rule groups found"));
    }
    if files.is_empty() {
        return Ok(yaml("{}\n".to_owned()));
    }
    Ok(yaml(write_namespaces(files.iter().map(|(name, file)| (name.as_str(), file)))))
}

/// The group with the rules alone that have one of the labels.
fn with_labels(group: &RuleGroup, wanted: &[(&str, &str)]) -> RuleGroup {
    let mut group = group.clone();
    group
        .rules
        .retain(|rule| rule.labels.iter().any(|(name, value)| wanted.contains(&(name.as_str(), value.as_str()))));
    group
}

fn groups(shared: &Shared, tenant: &TenantId) -> Result<Vec<(String, Arc<RuleGroup>)>, ApiError> {
    let ruler = writable(shared)?;
    Ok(ruler.shown(tenant).into_iter().map(|shown| (shown.key.namespace, shown.group)).collect())
}

fn writable(shared: &Shared) -> Result<&Arc<Ruler>, ApiError> {
    let ruler = shared.state.rules.as_ref().filter(|ruler| ruler.config().enable_api);
    ruler.ok_or_else(|| refused(ErrorKind::NotFound, "404 page not found"))
}

fn refused(kind: ErrorKind, text: impl Into<String>) -> ApiError {
    ApiError::new(kind, text).with_newline()
}

fn store_error(error: StoreError) -> ApiError {
    let kind = match &error {
        StoreError::NoGroup | StoreError::NoNamespace => ErrorKind::NotFound,
        StoreError::OfOperator { .. } => ErrorKind::BadInput,
        StoreError::Write { .. } | StoreError::Bad(_) => ErrorKind::Bug,
    };
    refused(kind, error.to_string())
}

/// Source: Go's `filepath.IsLocal`.
fn check_local(what: &str, name: &str) -> Result<(), ApiError> {
    let mut depth = 0_i64;
    for component in Path::new(name).components() {
        depth += match component {
            Component::Normal(_) => 1,
            Component::CurDir => 0,
            Component::ParentDir => -1,
            Component::RootDir | Component::Prefix(_) => i64::MIN / 2,
        };
        if depth < 0 {
            break;
        }
    }
    if !name.is_empty() && depth >= 0 && !name.contains('\0') {
        return Ok(());
    }
    let words = format!("invalid {what}: path traversal not allowed");
    let body = serde_json::json!({"status": "error", "data": null, "errorType": "server_error", "error": words});
    Err(ApiError::with_status(StatusCode::INTERNAL_SERVER_ERROR, body.to_string()))
}

fn yaml(text: String) -> Response {
    ([(header::CONTENT_TYPE, "application/yaml")], text).into_response()
}

fn accepted() -> Response {
    let body = r#"{"status":"success","data":null,"errorType":"","error":""}"#;
    (StatusCode::ACCEPTED, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
