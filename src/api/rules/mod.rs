//! Rules over HTTP: their files as YAML on both of Loki's prefixes, their states as Prometheus shows them.
//!
//! ```text
//! GET|POST|DELETE /loki/api/v1/rules[/{namespace}[/{group}]]     and under /api/prom: YAML
//! POST /api/v1/rules/backfill                                    ours: recording rules over history
//! GET /prometheus/api/v1/rules, /prometheus/api/v1/alerts        JSON, with what is ours beside Prometheus' fields
//! ```

mod backfill;
mod files;
mod seeing;
mod states;

use axum::Router;
use axum::routing::{get, post};

use crate::api::Shared;

/// Routes of a tenant.
pub fn of_a_tenant() -> Router<Shared> {
    let mut router = Router::new()
        .route("/api/v1/rules/backfill", post(backfill::start))
        .route("/prometheus/api/v1/rules", get(states::rules))
        .route("/prometheus/api/v1/alerts", get(states::alerts))
        .route("/loki/prometheus/api/v1/rules", get(states::rules))
        .route("/loki/prometheus/api/v1/alerts", get(states::alerts));
    for prefix in ["/loki/api/v1/rules", "/api/prom/rules"] {
        router = router
            .route(prefix, get(files::list))
            .route(&format!("{prefix}/{{namespace}}"), get(files::list_one).post(files::set).delete(files::delete_all))
            .route(&format!("{prefix}/{{namespace}}/{{group}}"), get(files::group).delete(files::delete));
    }
    router
}
