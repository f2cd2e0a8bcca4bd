//! `/loki/api/v1/tail`: log lines as they arrive, over a websocket.
//!
//! ```text
//! writer ─▶ Inbox (bytes) ─▶ Feed: pipeline ─▶ Held (entries, by time) ─ delay_for ─▶ frames (10) ─▶ socket
//!              full: rows lost        full: oldest entries dropped ─▶ told in `dropped_entries`
//! ```
//!
//! Invariants: a tail sees rows of its tenant alone; a slow reader never holds up the writer nor another tail, its own
//! memory is bounded by `INBOX_BYTES_MAX`, `HELD_ENTRIES_MAX` and ten frames, and it is told what it missed.
//! Errors: 400 before the upgrade for a bad query; afterwards close code 1011 with the reason.

mod feed;
mod frame;
mod held;
mod inbox;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::access::Scope;
use crate::api::Shared;
use crate::api::audit::Note;
use crate::api::error::ApiError;
use crate::api::loki::query::categorizes;
use crate::api::loki::range_limits::{allowed_range, check_entries};
use crate::api::params::{Params, bounds, go_parse_int, positive_u32};
use crate::api::tenant::ReadingOne;
use crate::audit::Kind;
use crate::query::{Direction, QueryKind, QueryRequest, tail};
use crate::types::ids::TenantId;
use crate::types::time::NANOS_PER_SECOND;

use feed::Feed;
use frame::Frame;

/// How often the socket is asked whether anyone is there.
const PING_PERIOD: Duration = Duration::from_secs(1);
/// How long a frame may wait for a reader that takes nothing.
const WRITE_WAIT_MAX: Duration = Duration::from_secs(60);
/// Frames ready for the socket.
const FRAMES_MAX: usize = 10;
const DELAY_SECONDS_MAX: i64 = 5;
const HISTORY_ENTRIES_DEFAULT: usize = 100;
/// A close frame carries at most so much reason, bytes.
const REASON_BYTES_MAX: usize = 123;

/// Tails that are open, by tenant. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct OpenTails(Arc<Mutex<HashMap<TenantId, usize>>>);

/// A place among them; dropped means given back.
#[derive(Debug)]
struct OpenTail {
    tails: OpenTails,
    tenant: TenantId,
}

impl OpenTails {
    fn enter(&self, tenant: &TenantId, tails_max: usize) -> Result<OpenTail, String> {
        let mut open = self.0.lock();
        let count = open.entry(tenant.clone()).or_default();
        if tails_max > 0 && *count >= tails_max {
            return Err(format!(
                "max concurrent tail requests limit exceeded, count > limit ({} > {tails_max})",
                *count + 1
            ));
        }
        *count += 1;
        Ok(OpenTail { tails: self.clone(), tenant: tenant.clone() })
    }
}

impl Drop for OpenTail {
    fn drop(&mut self) {
        let mut open = self.tails.0.lock();
        if let Some(count) = open.get_mut(&self.tenant) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.tenant);
            }
        }
    }
}

/// What a client asked for.
#[derive(Debug)]
struct TailRequest {
    scope: Scope,
    tenant: TenantId,
    delay_ns: i64,
    categorize: bool,
    /// Entries from before; none when the lookback forbids all of them.
    history: Option<QueryRequest>,
    text: String,
}

/// `GET /loki/api/v1/tail`.
pub async fn tail(
    State(shared): State<Shared>,
    ReadingOne(scope, tenant): ReadingOne,
    socket: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    note: Note,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, ApiError> {
    note.question(Kind::Tail, "logql", params.get("query"));
    let request = parse(&shared, scope, tenant, &headers, &params)?;
    let socket = match socket {
        Ok(socket) => socket,
        Err(refused) => return Ok(refused.into_response()),
    };
    Ok(socket.on_upgrade(move |socket| async move { serve(shared, request, socket).await }))
}

fn parse(
    shared: &Shared,
    scope: Scope,
    tenant: TenantId,
    headers: &HeaderMap,
    params: &Params,
) -> Result<TailRequest, ApiError> {
    let text = params.get("query").to_owned();
    let log = tail::parse(&text)?;
    let kind = if log.stages.is_empty() { "limited" } else { "filter" };
    shared.state.engine.check_tail(&scope, log, &text, kind)?;
    let limit = positive_u32(params, "limit", HISTORY_ENTRIES_DEFAULT)?;
    let now = shared.state.clock.now();
    let (start, _) = bounds(params, now)?;
    let delay = match params.get("delay_for") {
        "" => 0,
        delay => go_parse_int(delay, "Atoi").map_err(ApiError::bad_input)?,
    };
    if delay > DELAY_SECONDS_MAX {
        return Err(ApiError::bad_input(format!("delay_for can't be greater than {DELAY_SECONDS_MAX}")));
    }
    let limits = shared.state.limits.of(&tenant);
    check_entries(&limits, limit)?;
    let categorize = categorizes(headers);
    let history = allowed_range(&limits, start, now, now)?.map(|(start, end)| QueryRequest {
        scope: scope.clone(),
        text: text.clone(),
        kind: QueryKind::Range { start, end: end.saturating_add(1), step_ns: 1, interval_ns: 0 },
        limit,
        direction: Direction::Backward,
        categorize,
        splitting: None,
        series_max: 0,
        timeout: shared.state.config.query_timeout(&limits).to_std(),
    });
    Ok(TailRequest { scope, tenant, delay_ns: delay.max(0) * NANOS_PER_SECOND, categorize, history, text })
}

async fn serve(shared: Shared, request: TailRequest, mut socket: WebSocket) {
    let limits = shared.state.limits.of(&request.tenant);
    let metrics = shared.state.metrics.clone();
    let _open = match shared.open_tails.enter(&request.tenant, limits.max_concurrent_tail_requests) {
        Ok(open) => open,
        Err(reason) => return close(&mut socket, &reason).await,
    };
    metrics.tail.active.inc();
    let reason = serve_open(&shared, request, &mut socket).await;
    metrics.tail.active.dec();
    if let Some(reason) = reason {
        close(&mut socket, &reason).await;
    }
}

/// Until either side ends it; answers why, if it was ours.
async fn serve_open(shared: &Shared, request: TailRequest, socket: &mut WebSocket) -> Option<String> {
    let (frames, mut ready) = mpsc::channel::<Frame>(FRAMES_MAX);
    let tenant = request.tenant.clone();
    let feed = match Feed::start(shared, request, frames) {
        Ok(feed) => feed,
        Err(error) => return Some(error.to_string()),
    };
    let metrics = &shared.state.metrics.tail;
    let mut ping = tokio::time::interval(PING_PERIOD);
    let longest = shared.state.config.querier.tail_max_duration.to_std();
    let mut end = Box::pin(tokio::time::sleep(longest));
    loop {
        let message = tokio::select! {
            frame = ready.recv() => match frame {
                Some(frame) => {
                    metrics.entries.with_label_values(&[tenant.as_str()]).inc_by(frame.entries as u64);
                    metrics.bytes.inc_by(frame.line_bytes as u64);
                    Message::Text(frame.text.into())
                }
                None => return Some(feed.why_it_ended().await),
            },
            _ = ping.tick() => Message::Ping(bytes::Bytes::new()),
            said = socket.recv() => match said {
                None | Some(Err(_) | Ok(Message::Close(_))) => return None,
                Some(Ok(_)) => continue,
            },
            () = &mut end => return Some("reached tail max duration limit".to_owned()),
            () = shared.state.stopping.cancelled() => return Some("the server is stopping".to_owned()),
        };
        match tokio::time::timeout(WRITE_WAIT_MAX, socket.send(message)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return None,
        }
    }
}

/// Says goodbye with a reason; a client that does not listen any more is left alone.
async fn close(socket: &mut WebSocket, reason: &str) {
    let mut end = reason.len().min(REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let frame = CloseFrame { code: close_code::ERROR, reason: reason[..end].into() };
    let _ = tokio::time::timeout(PING_PERIOD, socket.send(Message::Close(Some(frame)))).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_of_a_tenant_are_counted() {
        let tails = OpenTails::default();
        let tenant = TenantId::single();
        let first = tails.enter(&tenant, 1).expect("room");
        assert_eq!(
            tails.enter(&tenant, 1).expect_err("full"),
            "max concurrent tail requests limit exceeded, count > limit (2 > 1)"
        );
        drop(first);
        let _again = tails.enter(&tenant, 1).expect("room again");
        let _unlimited = tails.enter(&tenant, 0).expect("0 is no limit");
    }
}
