//! `loki_push_api`: a listener for what other agents push, and for plain lines.
//!
//! `/loki/api/v1/push` takes what Loki takes, `/promtail/api/v1/raw` a line a line. A push is answered when its lines
//! are sent on or on disk: who pushes keeps them until then.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int64Type, UInt32Type};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::sync::oneshot;

use super::{Around, Labelling, SourceError};
use crate::agent::config::PushConfig;
use crate::ingest::gate::TenantGate;
use crate::ingest::limits::Limits;
use crate::pipeline::{Entry, Origin, Receipt, TENANT_LABEL};
use crate::receive::decode::{BodyLimits, PushRequest, decode_push};
use crate::tasks::Tasks;
use crate::types::batch::LogBatch;
use crate::types::labels::Labels;
use crate::types::time::UnixNanos;

/// How long a push waits for its lines to be safe.
const ANSWER_WAIT: Duration = Duration::from_secs(30);
const BODY_BYTES_MAX: usize = 100 << 20;

struct Receiver {
    config: PushConfig,
    labelling: Labelling,
    around: Around,
    limits: Limits,
}

/// Rings when its last clone is gone.
struct Bell(Option<oneshot::Sender<()>>);

impl Drop for Bell {
    fn drop(&mut self) {
        if let Some(bell) = self.0.take() {
            let _ = bell.send(());
        }
    }
}

/// Listens until the sources are stopped.
pub(super) async fn start(
    config: &PushConfig,
    labelling: Labelling,
    around: &Around,
    tasks: &Tasks,
) -> Result<(), SourceError> {
    let job = around.feed.job().to_owned();
    let address = format!("{}:{}", config.server.http_listen_address, config.server.http_listen_port);
    let wrong = |source| SourceError::Listen { job: job.clone(), address: address.clone(), source };
    let listener = tokio::net::TcpListener::bind(&address).await.map_err(wrong)?;
    let bound = listener.local_addr().map_err(wrong)?;
    tracing::info!(address = %bound, "push receiver listening on address");
    around.targets.single(&job, "Push", &bound.to_string(), String::new(), "");
    // What is taken is for the server at the end to say.
    let limits = Limits {
        discover_service_name: Vec::new(),
        discover_log_levels: false,
        reject_old_samples: false,
        max_line_size: crate::types::units::ByteSize(0),
        ..Limits::default()
    };
    let receiver = Arc::new(Receiver { config: config.clone(), labelling, around: around.clone(), limits });
    let router = Router::new()
        .route("/loki/api/v1/push", post(push))
        .route("/promtail/api/v1/push", post(push))
        .route("/promtail/api/v1/raw", post(raw))
        .route("/ready", get(|| async { "Ready" }))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(receiver);
    let stop = around.stop.clone();
    tasks.spawn("push receiver", |_| async move {
        if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await {
            tracing::error!(%error, "the push receiver ended");
        }
    });
    Ok(())
}

async fn push(State(receiver): State<Arc<Receiver>>, headers: HeaderMap, body: Bytes) -> Response {
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let request = PushRequest {
        content_type: text(header::CONTENT_TYPE),
        content_encoding: text(header::CONTENT_ENCODING),
        body,
        legacy: false,
    };
    let now = receiver.around.feed.clock().now();
    let gate = TenantGate::alone(receiver.limits.clone(), now);
    let outcome = decode_push(&request, &gate, &BodyLimits::default());
    let tenant = headers.get("X-Scope-OrgID").and_then(|value| value.to_str().ok());
    let entries = outcome.batch.map(|batch| receiver.entries(&batch, tenant, now)).unwrap_or_default();
    let answer = receiver.deliver(entries).await;
    match outcome.answer {
        Ok(()) => answer,
        Err(error) => {
            (StatusCode::from_u16(error.status).unwrap_or(StatusCode::BAD_REQUEST), error.text).into_response()
        }
    }
}

async fn raw(State(receiver): State<Arc<Receiver>>, body: Bytes) -> Response {
    let now_ns = receiver.around.feed.clock().now().0;
    let Some(labels) = receiver.labelling.of([]) else { return StatusCode::NO_CONTENT.into_response() };
    let text = String::from_utf8_lossy(&body);
    let entries = text.lines().map(|line| Entry::new(labels.clone(), now_ns, line)).collect();
    receiver.deliver(entries).await
}

impl Receiver {
    fn entries(&self, batch: &LogBatch, tenant: Option<&str>, now: UnixNanos) -> Vec<Entry> {
        let rows = batch.record_batch();
        let ts = rows.column(0).as_primitive::<Int64Type>().values();
        let streams = rows.column(1).as_dictionary::<UInt32Type>();
        let texts = streams.values().as_string::<i32>();
        let lines = rows.column(3).as_string_view();
        let metadata = rows.column(4).as_map();
        let (names, values) = (metadata.keys().as_string::<i32>(), metadata.values().as_string::<i32>());
        let offsets = metadata.value_offsets();
        let labels: Vec<_> = (0..texts.len())
            .map(|at| {
                let pushed = Labels::from_json(texts.value(at)).unwrap_or_default();
                let mut set =
                    self.labelling.of(pushed.iter().map(|(name, value)| (name.to_owned(), value.to_owned())))?;
                for (name, _) in pushed.iter() {
                    if let Some(value) = set.get(name).cloned() {
                        set.set(name.into(), value, Origin::Data);
                    }
                }
                if let Some(tenant) = tenant {
                    set.set(TENANT_LABEL.into(), tenant.into(), Origin::Operator);
                }
                Some(set)
            })
            .collect();
        let mut entries = Vec::with_capacity(ts.len());
        for row in 0..ts.len() {
            let Some(Some(labels)) = labels.get(streams.keys().value(row) as usize) else { continue };
            let time = if self.config.use_incoming_timestamp { ts[row] } else { now.0 };
            let mut entry = Entry::new(labels.clone(), time, lines.value(row));
            if !metadata.is_null(row) {
                let range = offsets[row] as usize..offsets[row + 1] as usize;
                entry.metadata = range.map(|at| (names.value(at).into(), values.value(at).into())).collect();
            }
            entries.push(entry);
        }
        entries
    }

    /// Sends on, and answers when the lines are safe.
    async fn deliver(&self, mut entries: Vec<Entry>) -> Response {
        if entries.is_empty() {
            return StatusCode::NO_CONTENT.into_response();
        }
        let (bell, rung) = oneshot::channel();
        let held: Arc<Bell> = Arc::new(Bell(Some(bell)));
        for entry in &mut entries {
            entry.receipt = Receipt::of(held.clone());
        }
        drop(held);
        self.around.feed.push(entries).await;
        match tokio::time::timeout(ANSWER_WAIT, rung).await {
            Ok(_) => StatusCode::NO_CONTENT.into_response(),
            Err(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, "the lines were not taken in time; push them again").into_response()
            }
        }
    }
}
