//! `/_bulk`, `/{index}/_bulk` and, for clients that ask who is there, all of it under `/elastic`.
//!
//! `/` belongs to the page: clients that look for a product there are given `http://host:3100/elastic`.
//! Errors: a document that is refused has its own status beside the others; a body that cannot be read, a limit of the
//! tenant or a store that takes nothing is the status of the whole, in Elastic's shape, which clients try again.

use std::sync::{Arc, OnceLock};

use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::api::Shared;
use crate::api::body::{self, header_text};
use crate::api::error::retry_after;
use crate::api::tenant::Writing;
use crate::receive::decode::PushError;
use crate::receive::decode::elastic::{ElasticItem, ElasticRequest, ElasticShape, ONLY_APPENDING, decode_elastic};
use crate::types::ids::TenantId;

/// What clients compare with the versions that they speak.
const VERSION: &str = "8.17.0";

/// Doors for documents.
pub fn of_a_tenant() -> Router<Shared> {
    Router::new()
        .route("/_bulk", post(bulk).put(bulk))
        .route("/{index}/_bulk", post(bulk_into).put(bulk_into))
        .route("/elastic/_bulk", post(bulk).put(bulk))
        .route("/elastic/{index}/_bulk", post(bulk_into).put(bulk_into))
        .route("/elastic/{index}/_doc", post(document))
        .route("/elastic/{index}/_doc/{id}", post(document_with_id).put(document_with_id))
        .route("/elastic/{index}/_create/{id}", post(document_with_id).put(document_with_id))
        .route("/elastic/{index}/_update/{id}", post(only_appending))
        .route("/elastic/{index}/_update_by_query", post(only_appending))
        .route("/elastic/{index}/_delete_by_query", post(only_appending))
}

/// What clients ask before they send.
pub fn of_anyone() -> Router<Shared> {
    Router::new()
        .route("/elastic", get(product))
        .route("/elastic/", get(product))
        .route("/elastic/_license", get(license))
        .route("/elastic/_cluster/health", get(health))
        .route("/elastic/_cat/health", get(health_line))
        .route("/_cat/health", get(health_line))
}

async fn bulk(State(shared): State<Shared>, Writing(tenant): Writing, request: Request) -> Response {
    answer_bulk(take(&shared, &tenant, request, None, ElasticShape::Bulk).await)
}

async fn bulk_into(
    State(shared): State<Shared>,
    Writing(tenant): Writing,
    Path(index): Path<String>,
    request: Request,
) -> Response {
    answer_bulk(take(&shared, &tenant, request, Some(index), ElasticShape::Bulk).await)
}

async fn document(
    State(shared): State<Shared>,
    Writing(tenant): Writing,
    Path(index): Path<String>,
    request: Request,
) -> Response {
    answer_document(take(&shared, &tenant, request, Some(index), ElasticShape::Document { id: None }).await)
}

async fn document_with_id(
    State(shared): State<Shared>,
    Writing(tenant): Writing,
    Path((index, id)): Path<(String, String)>,
    request: Request,
) -> Response {
    answer_document(take(&shared, &tenant, request, Some(index), ElasticShape::Document { id: Some(id) }).await)
}

/// What changes documents, by a script or otherwise.
async fn only_appending(Writing(_): Writing) -> Response {
    refused(&PushError::new(400, ONLY_APPENDING))
}

async fn take(
    shared: &Shared,
    tenant: &TenantId,
    request: Request,
    index: Option<String>,
    shape: ElasticShape,
) -> Result<Vec<ElasticItem>, PushError> {
    let (parts, body) = request.into_parts();
    let (body, held) = body::read(shared, tenant, &parts.headers, body).await?;
    let items = Arc::new(OnceLock::new());
    let told = items.clone();
    let decode = move |gate: &_, limits: &_| {
        let content_encoding = header_text(&parts.headers, header::CONTENT_ENCODING);
        let request = ElasticRequest { content_encoding, body, index, shape };
        let (outcome, items) = decode_elastic(&request, gate, limits);
        let _ = told.set(items);
        outcome
    };
    shared.state.door.take(tenant, held, decode).await?;
    Ok(items.get().cloned().unwrap_or_default())
}

fn answer_bulk(taken: Result<Vec<ElasticItem>, PushError>) -> Response {
    let items = match taken {
        Ok(items) => items,
        Err(error) => return refused(&error),
    };
    let errors = items.iter().any(|item| item.refusal.is_some());
    let items: Vec<Value> = items.iter().map(|item| json!({ item.action.as_str(): told(item) })).collect();
    product_answer(StatusCode::OK, json!({"took": 0, "errors": errors, "items": items}))
}

fn answer_document(taken: Result<Vec<ElasticItem>, PushError>) -> Response {
    let item = match taken {
        Ok(items) => items.into_iter().next(),
        Err(error) => return refused(&error),
    };
    let Some(item) = item else {
        return refused(&PushError::new(500, "nothing came of the document"));
    };
    match &item.refusal {
        None => product_answer(StatusCode::CREATED, told(&item)),
        Some((status, kind, reason)) => failure(*status, kind, reason, None),
    }
}

fn told(item: &ElasticItem) -> Value {
    let mut told = json!({"_index": item.index, "_id": item.id});
    match &item.refusal {
        None => {
            told["_version"] = json!(1);
            told["result"] = json!("created");
            told["_shards"] = json!({"total": 1, "successful": 1, "failed": 0});
            told["status"] = json!(201);
        }
        Some((status, kind, reason)) => {
            told["status"] = json!(status);
            told["error"] = json!({"type": kind, "reason": reason});
        }
    }
    told
}

fn refused(error: &PushError) -> Response {
    let kind = match error.status {
        429 | 503 => "es_rejected_execution_exception",
        500 => "exception",
        _ => "illegal_argument_exception",
    };
    failure(error.status, kind, &error.text, error.retry_after)
}

fn failure(status: u16, kind: &str, reason: &str, wait: Option<std::time::Duration>) -> Response {
    let code = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    let body = json!({"error": {"root_cause": [], "type": kind, "reason": reason}, "status": code.as_u16()});
    let mut response = product_answer(code, body);
    response.headers_mut().extend(retry_after(code, wait));
    response
}

fn product_answer(status: StatusCode, body: Value) -> Response {
    let mut response = (status, Json(body)).into_response();
    response.headers_mut().insert("x-elastic-product", HeaderValue::from_static("Elasticsearch"));
    response
}

async fn product() -> Response {
    let version = json!({
        "number": VERSION, "build_flavor": "default", "lucene_version": "9.12.0",
        "minimum_wire_compatibility_version": "7.17.0", "minimum_index_compatibility_version": "7.0.0",
    });
    let body = json!({"name": "millrace", "cluster_name": "millrace", "cluster_uuid": "millrace", "version": version,
        "tagline": "You Know, for Search"});
    product_answer(StatusCode::OK, body)
}

async fn license() -> Response {
    let license = json!({"status": "active", "uid": "millrace", "type": "basic", "mode": "basic"});
    product_answer(StatusCode::OK, json!({"license": license}))
}

async fn health() -> Response {
    let body = json!({"cluster_name": "millrace", "status": "green", "timed_out": false, "number_of_nodes": 1,
        "number_of_data_nodes": 1});
    product_answer(StatusCode::OK, body)
}

async fn health_line() -> &'static str {
    "millrace green 1 1\n"
}
