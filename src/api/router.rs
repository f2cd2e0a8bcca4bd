//! Paths to handlers.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{delete, get, post};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::predicate::SizeAbove;
use tower_http::compression::{CompressionLayer, CompressionLevel};

use crate::api::loki::{delete, detected, format_query, labels, patterns, push, query, series, status, tail, volume};
use crate::api::prometheus;
use crate::api::{
    Shared, admin, audit, cluster, elastic, middleware, otlp, ring, rules, running, sql, storage, tenant, ui, upkeep,
};

/// Answers smaller than this are sent as they are: they fit in one packet anyway.
const GZIP_BYTES_MIN: u64 = 1400;

/// The whole HTTP face over what `shared` has, which other doors have too.
pub fn router(shared: Shared) -> Router {
    let metrics = shared.state.metrics.clone();
    let of_a_tenant = prometheus::of_a_tenant()
        .route("/loki/api/v1/push", post(push::push))
        .route("/api/prom/push", post(push::push))
        .route("/otlp/v1/logs", post(otlp::logs))
        .merge(elastic::of_a_tenant())
        .route("/loki/api/v1/query_range", get(query::range).post(query::range))
        .route("/loki/api/v1/query", get(query::instant).post(query::instant))
        .route("/loki/api/v1/labels", get(labels::names).post(labels::names))
        .route("/loki/api/v1/label", get(labels::names).post(labels::names))
        .route("/loki/api/v1/label/{name}/values", get(labels::values).post(labels::values))
        .route("/loki/api/v1/series", get(series::series).post(series::series))
        .route("/loki/api/v1/index/stats", get(series::index_stats).post(series::index_stats))
        .route("/loki/api/v1/detected_fields", get(detected::detected_fields).post(detected::detected_fields))
        .route(
            "/loki/api/v1/detected_field/{name}/values",
            get(detected::detected_values).post(detected::detected_values),
        )
        .route("/loki/api/v1/detected_labels", get(detected::detected_labels).post(detected::detected_labels))
        .route("/loki/api/v1/index/volume", get(volume::volume).post(volume::volume))
        .route("/loki/api/v1/index/volume_range", get(volume::volume_range).post(volume::volume_range))
        .route("/loki/api/v1/index/shards", get(volume::shards).post(volume::shards))
        .route("/loki/api/v1/patterns", get(patterns::patterns).post(patterns::patterns))
        .route("/loki/api/v1/tail", get(tail::tail))
        .route("/loki/api/v1/drilldown-limits", get(status::drilldown_limits))
        .route("/config/tenant/v1/limits", get(status::tenant_limits))
        .route("/loki/api/v1/delete", post(delete::add).put(delete::add).get(delete::list).delete(delete::cancel))
        .route("/loki/api/v1/delete/certificate", get(delete::certificate))
        .route("/api/v1/sql", get(sql::sql).post(sql::sql))
        .route("/api/v1/sql/cursor/{id}", get(sql::next_page).delete(sql::close_cursor))
        .route("/api/v1/queries", get(running::list))
        .route("/api/v1/queries/{id}", delete(running::stop))
        .route("/api/v1/storage", get(storage::storage))
        .merge(rules::of_a_tenant())
        .layer(from_fn_with_state(shared.clone(), tenant::identify))
        .layer(from_fn_with_state(shared.clone(), audit::watch));
    let of_anyone = prometheus::of_anyone()
        .route("/loki/api/v1/format_query", get(format_query::format_query).post(format_query::format_query))
        .route("/loki/api/v1/status/buildinfo", get(status::buildinfo))
        .route("/ready", get(admin::ready))
        .route(crate::cluster::PATH, get(cluster::rows))
        .route("/", get(ui::page))
        .route("/ui/{file}", get(ui::file))
        .merge(elastic::of_anyone())
        .merge(ring::pages());
    let of_operators = prometheus::of_operators()
        .route("/metrics", get(admin::metrics))
        .route("/config", get(admin::config))
        .route("/services", get(admin::services))
        .route("/api/v1/table/status", get(upkeep::table_status))
        .route("/api/v1/retention/preview", get(upkeep::retention_preview))
        .route("/api/v1/table/upkeep", post(upkeep::wake))
        .route("/flush", get(admin::flush).post(admin::flush))
        .route("/log_level", get(admin::log_level).post(admin::set_log_level))
        .route("/ingester/shutdown", post(ring::shutdown))
        .route("/ingester/prepare_shutdown", get(ring::preparing).post(ring::prepare).delete(ring::go_on))
        .layer(from_fn_with_state(shared.clone(), tenant::recognise))
        .layer(from_fn_with_state(shared.clone(), audit::watch));
    let gzip = CompressionLayer::new().gzip(true).quality(CompressionLevel::Fastest);
    of_a_tenant
        .merge(of_anyone)
        .merge(of_operators)
        .method_not_allowed_fallback(middleware::method_not_allowed)
        .fallback(middleware::not_found)
        .layer(DefaultBodyLimit::disable())
        .layer(gzip.compress_when(SizeAbove::new(GZIP_BYTES_MIN)))
        .layer(CatchPanicLayer::custom(move |panic: Box<dyn std::any::Any + Send>| {
            middleware::on_panic(&metrics, &*panic)
        }))
        .layer(from_fn_with_state(shared.clone(), middleware::measure))
        .with_state(shared)
}
