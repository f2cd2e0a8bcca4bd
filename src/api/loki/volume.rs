//! `/loki/api/v1/index/volume`, `/index/volume_range` and `/index/shards`: sizes from the stream index.
//!
//! Source: Loki answers a vector unless a series has several points, then a matrix.

use axum::extract::State;
use axum::response::Response;

use crate::access::Scope;
use crate::api::Shared;
use crate::api::error::{ApiError, ErrorKind};
use crate::api::loki::encode::{push_labels, push_point, tail};
use crate::api::loki::json_answer;
use crate::api::params::{Params, RangeParams, bounds, end_before_start, go_parse_int};
use crate::api::tenant::Reading;
use crate::logql;
use crate::logql::ast::Matcher;
use crate::query::QueryStats;
use crate::query::volumes::{Volume, VolumeBy, VolumeRequest};
use crate::types::time::{TimeRange, UnixNanos};
use crate::types::units::ByteSize;

const SERIES_DEFAULT: usize = 100;

/// `GET|POST /loki/api/v1/index/volume`: bytes over the whole range, stamped at its end.
pub async fn volume(
    State(shared): State<Shared>,
    Reading(scope): Reading,
    params: Params,
) -> Result<Response, ApiError> {
    let limit = series_limit(&params)?;
    let by = aggregate_by(&params)?;
    let (start, end) = bounds(&params, shared.state.clock.now())?;
    if end < start {
        return Err(end_before_start());
    }
    answer(&shared, scope, &params, limit, by, (start, end, 0)).await
}

/// `GET|POST /loki/api/v1/index/volume_range`: the same by steps.
pub async fn volume_range(
    State(shared): State<Shared>,
    Reading(scope): Reading,
    params: Params,
) -> Result<Response, ApiError> {
    let limit = series_limit(&params)?;
    let range = RangeParams::with_limit(&params, shared.state.clock.now(), limit)?;
    let by = aggregate_by(&params)?;
    answer(&shared, scope, &params, limit, by, (range.start, range.end, range.step_ns)).await
}

/// `GET|POST /loki/api/v1/index/shards`: one shard, because one process answers a query as a whole.
pub async fn shards(
    State(shared): State<Shared>,
    Reading(scope): Reading,
    params: Params,
) -> Result<Response, ApiError> {
    let range = RangeParams::parse(&params, shared.state.clock.now())?;
    let has_target = params.get("targetBytesPerShard").parse().is_ok_and(|bytes: ByteSize| bytes.0 > 0);
    if !has_target {
        return Err(ApiError::bad_input("targetBytesPerShard must be a positive value"));
    }
    let matchers = matchers(&params)?;
    let range = TimeRange::new(range.start, range.end.saturating_add(1));
    let stats = shared.state.engine.index_stats(&scope, range, &matchers).await?;
    let (streams, chunks, bytes, entries) = (stats.streams, stats.chunks, stats.bytes, stats.entries);
    Ok(json_answer(format!(
        "{{\"shards\":[{{\"bounds\":{{\"min\":0,\"max\":{}}},\"stats\":{{\"streams\":{streams},\"chunks\":{chunks},\
         \"bytes\":{bytes},\"entries\":{entries}}}}}],\"statistics\":{{}},\"chunkGroups\":null}}\n",
        u64::MAX
    )))
}

async fn answer(
    shared: &Shared,
    scope: Scope,
    params: &Params,
    limit: usize,
    by: VolumeBy,
    (start, end, step_ns): (UnixNanos, UnixNanos, i64),
) -> Result<Response, ApiError> {
    let limits = shared.limits_of(&scope);
    if !limits.volume_enabled {
        return Err(ApiError::new(ErrorKind::NotFound, "not found"));
    }
    let targets = params.get("targetLabels").split(',').filter(|label| !label.is_empty()).map(str::to_owned);
    let request = VolumeRequest {
        matchers: matchers(params)?,
        start,
        end,
        step_ns,
        targets: targets.collect(),
        by,
        limit,
        series_max: limits.volume_max_series,
        scope,
    };
    let timeout = shared.state.config.query_timeout(&limits).to_std();
    let _running = shared.turn(&request.scope).await?;
    Ok(json_answer(encode(&shared.state.engine.volumes(request, timeout).await?)))
}

fn encode(volumes: &[Volume]) -> String {
    let is_matrix = volumes.iter().any(|volume| volume.points.len() > 1);
    let kind = if is_matrix { "matrix" } else { "vector" };
    let mut out = format!("{{\"status\":\"success\",\"data\":{{\"resultType\":\"{kind}\",\"result\":[");
    for (at, volume) in volumes.iter().enumerate() {
        out.push_str(if at == 0 { "{\"metric\":" } else { ",{\"metric\":" });
        push_labels(&mut out, &volume.labels);
        out.push_str(if is_matrix { ",\"values\":[" } else { ",\"value\":" });
        for (at, (time, bytes)) in volume.points.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            push_point(&mut out, time.0, *bytes as f64);
        }
        out.push_str(if is_matrix { "]}" } else { "}" });
    }
    out.push(']');
    out.push_str(&tail(&QueryStats::default()));
    out
}

/// `{}` means every stream; elsewhere a selector needs a matcher.
fn matchers(params: &Params) -> Result<Vec<Matcher>, ApiError> {
    match params.get("query") {
        "{}" => Ok(Vec::new()),
        text => logql::parse_matchers(text, true).map_err(|error| ApiError::bad_input(error.to_string())),
    }
}

/// 0 means the default here, unlike elsewhere.
fn series_limit(params: &Params) -> Result<usize, ApiError> {
    match params.get("limit") {
        "" => Ok(SERIES_DEFAULT),
        text => match go_parse_int(text, "Atoi").map_err(ApiError::bad_input)? {
            0 => Ok(SERIES_DEFAULT),
            limit => usize::try_from(limit).map_err(|_| ApiError::bad_input("limit must be a positive value")),
        },
    }
}

fn aggregate_by(params: &Params) -> Result<VolumeBy, ApiError> {
    match params.get("aggregateBy") {
        "" | "series" => Ok(VolumeBy::Series),
        "labels" => Ok(VolumeBy::Labels),
        _ => Err(ApiError::bad_input("invalid aggregation option")),
    }
}
