//! `/api/v1/storage`: what a tenant has in memory and in files, for the page at `/`.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::api::Shared;
use crate::api::error::{ApiError, ErrorKind};
use crate::api::tenant::ReadingOne;

/// Sums over files.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    count: u64,
    rows: u64,
    bytes: u64,
}

/// `GET /api/v1/storage`: for those who see every stream of the tenant, because sums tell of all of them.
pub async fn storage(
    State(shared): State<Shared>,
    ReadingOne(scope, tenant): ReadingOne,
) -> Result<Response, ApiError> {
    if !scope.views().iter().all(|view| view.shows_all_streams()) {
        let text = "what is stored in all is for roles that see every stream of the tenant";
        return Err(ApiError::new(ErrorKind::Forbidden, text));
    }
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
    let body = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": up_ns as f64 / 1e9,
        "memory": { "rows": rows, "bytes": bytes },
        "files": { "count": all.count, "rows": all.rows, "bytes": all.bytes },
        "days": days.collect::<Vec<_>>(),
    });
    Ok(axum::Json(body).into_response())
}
