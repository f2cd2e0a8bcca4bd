//! What was asked of stores, in the metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::store::{OPERATIONS, StoreStats};
use crate::telemetry::metrics::Metrics;

/// Shows a store's counts as those of `name`.
pub(super) fn show_in_metrics(metrics: &Metrics, name: &'static str, stats: Arc<StoreStats>) {
    metrics.on_gather(move |metrics| {
        let value = |count: &AtomicU64| count.load(Ordering::Relaxed) as f64;
        for (operation, counts) in OPERATIONS.iter().zip(&stats.operations) {
            let labels = [name, *operation];
            metrics.store.requests.with_label_values(&labels).set(value(&counts.requests));
            metrics.store.failures.with_label_values(&labels).set(value(&counts.failures));
            metrics.store.seconds.with_label_values(&labels).set(value(&counts.nanos) / 1e9);
        }
        metrics.store.bytes.with_label_values(&[name, "read"]).set(value(&stats.read_bytes));
        metrics.store.bytes.with_label_values(&[name, "written"]).set(value(&stats.written_bytes));
    });
}
