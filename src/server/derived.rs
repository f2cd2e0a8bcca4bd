//! Derived metrics of the process: their store, PromQL over it, and what `/metrics` shows of both.

use std::sync::Arc;

use tokio::task::JoinHandle;

use super::AnyError;
use crate::api::prometheus::DerivedMetrics;
use crate::config::{Config, Fsync};
use crate::derived::{DerivedPlace, FlushReport, Store};
use crate::promql::{Engine, EngineLimits};
use crate::query;
use crate::remote_write::RemoteWrite;
use crate::telemetry::metrics::Metrics;
use crate::types::time::Clock;
use crate::wal::FsyncPolicy;

/// An open store of derived metrics, kept going.
pub(super) struct Derived {
    face: DerivedMetrics,
    remote: RemoteWrite,
    running: JoinHandle<()>,
}

/// Opens the store and starts what syncs, flushes and expires it.
pub(super) async fn open(
    config: &Config,
    engine: &query::Engine,
    clock: &Clock,
    metrics: &Arc<Metrics>,
) -> Result<Derived, AnyError> {
    let own = &config.millrace;
    let fsync = match own.wal.fsync {
        Fsync::Always => FsyncPolicy::Always,
        Fsync::Interval => FsyncPolicy::Interval(own.wal.fsync_interval.to_std()),
        Fsync::Never => FsyncPolicy::Never,
    };
    let sealing = config.sealing()?;
    let place = DerivedPlace { data_dir: config.data_dir(), fsync, sealing: sealing.clone() };
    let settings = own.metrics.clone();
    let limits = EngineLimits {
        lookback: settings.lookback_delta.to_std(),
        samples_max: settings.query_max_samples,
        timeout: settings.query_timeout.to_std(),
    };
    let opened = Store::open(settings, place, clock.clone()).await;
    let store = opened.map_err(|error| format!("cannot open the store of derived metrics: {error}"))?;
    show_in_metrics(metrics, &store);
    engine.add_sql_views(Arc::new(store.clone()));
    let engine = Engine::new(Arc::new(store.clone()), limits);
    let queues = config.data_dir().join("remote-write");
    let receivers = &config.ruler.remote_write;
    let remote = RemoteWrite::start(receivers, &queues, (fsync, sealing), clock.clone(), metrics.clone()).await?;
    if let Some(forward) = remote.forward() {
        store.forward_to(forward);
    }
    metrics.on_gather(remote.show());
    let running = tokio::spawn(store.clone().run(report_flushes(metrics.clone())));
    Ok(Derived { face: DerivedMetrics { store, engine }, remote, running })
}

impl Derived {
    /// For the API and for rules.
    pub(super) fn face(&self) -> DerivedMetrics {
        self.face.clone()
    }

    /// A last flush, the end of the log, and of what sends; what waits is sent after the next start.
    pub(super) async fn close(self) {
        self.face.store.close().await;
        if let Err(error) = self.running.await {
            tracing::error!(%error, "the keeper of derived metrics stopped");
        }
        self.remote.close().await;
    }
}

fn report_flushes(metrics: Arc<Metrics>) -> impl Fn(&Result<FlushReport, String>) + Send {
    move |result| match result {
        Ok(report) => {
            tracing::info!(
                samples = report.samples,
                files = report.files,
                replaced = report.replaced,
                expired = report.expired,
                "flushed metrics"
            );
            metrics.derived.flushes.with_label_values(&["flushed"]).inc();
            metrics.derived.expired_files.inc_by(report.expired as u64);
        }
        Err(error) => {
            tracing::warn!(error, "metrics could not be flushed; they stay in memory and are tried again");
            metrics.derived.flushes.with_label_values(&["failed"]).inc();
        }
    }
}

/// Gauges are read when they are asked for.
fn show_in_metrics(metrics: &Metrics, store: &Store) {
    let store = store.clone();
    metrics.on_gather(move |metrics| {
        let (stats, shown) = (store.stats(), &metrics.derived);
        shown.memory_bytes.set(stats.memory_bytes as i64);
        shown.memory_series.set(stats.memory_series as i64);
        shown.memory_samples.set(stats.memory_samples as i64);
        shown.pending_bytes.set(stats.pending_bytes as i64);
        shown.files.set(stats.files as i64);
        shown.file_bytes.set(stats.file_bytes as f64);
        shown.index_cache_bytes.set(stats.index_bytes as f64);
        shown.appended.set(stats.appended as f64);
        shown.refused.set(stats.refused as f64);
    });
}
