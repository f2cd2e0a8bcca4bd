//! `/api/v1/storage`: what a tenant has in memory and in files, for the page at `/`.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::api::Shared;
use crate::api::tenant::Tenant;

/// Sums over files.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    count: u64,
    rows: u64,
    bytes: u64,
}

/// `GET /api/v1/storage`.
pub async fn storage(State(shared): State<Shared>, Tenant(tenant): Tenant) -> Response {
    let snapshot = shared.state.engine.storage(&tenant);
    let rows: usize = snapshot.parts.iter().map(|part| part.rows().num_rows()).sum();
    let bytes: usize = snapshot.parts.iter().map(|part| part.bytes()).sum();
    let mut all = Sum::default();
    let mut by_day: BTreeMap<i32, Sum> = BTreeMap::new();
    for file in &snapshot.files {
        for sum in [&mut all, by_day.entry(file.day).or_default()] {
            sum.count += 1;
            sum.rows += file.rows;
            sum.bytes += file.bytes;
        }
    }
    let date = |day: i32| {
        let noon = chrono::DateTime::from_timestamp(i64::from(day) * 86_400, 0).unwrap_or_default();
        noon.format("%Y-%m-%d").to_string()
    };
    let days = by_day
        .into_iter()
        .map(|(day, sum)| json!({ "date": date(day), "files": sum.count, "rows": sum.rows, "bytes": sum.bytes }));
    let up_ns = shared.state.clock.now().0.saturating_sub(shared.state.started.0);
    axum::Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": up_ns as f64 / 1e9,
        "memory": { "rows": rows, "bytes": bytes },
        "files": { "count": all.count, "rows": all.rows, "bytes": all.bytes },
        "days": days.collect::<Vec<_>>(),
    }))
    .into_response()
}
