//! What stages at ingest count: shown on `/metrics`, and written to the derived metrics of their tenants in time.

use std::sync::Arc;
use std::time::Duration;

use crate::derived::Store;
use crate::ingest::gate::IngestGates;
use crate::ingest::stages::merged;
use crate::tasks::Tasks;
use crate::telemetry::metrics::Metrics;
use crate::types::sample::SampleSink;
use crate::types::time::{Clock, NANOS_PER_MILLI, UnixNanos};

/// How often samples of `metrics` stages are written, as Prometheus would ask for them.
const SAMPLE_EVERY: Duration = Duration::from_secs(15);

/// Shows what the stages of `gates` count, and writes it to `store` until the tasks end.
pub(super) fn start(gates: &IngestGates, store: Store, metrics: &Arc<Metrics>, clock: Clock, tasks: &Tasks) {
    let shown = gates.clone();
    metrics.also(move || merged(shown.stages().iter().flat_map(|stages| stages.families())));
    let gates = gates.clone();
    tasks.spawn("metrics of stages", move |stop| async move {
        loop {
            let is_last = tokio::select! {
                () = stop.cancelled() => true,
                () = tokio::time::sleep(SAMPLE_EVERY) => false,
            };
            write(&gates, &store, &clock);
            if is_last {
                return;
            }
        }
    });
}

fn write(gates: &IngestGates, store: &Store, clock: &Clock) {
    let now = clock.now();
    let now = UnixNanos(now.0 - now.0.rem_euclid(NANOS_PER_MILLI));
    for stages in gates.stages() {
        if let Err(error) = store.append(stages.tenant(), stages.samples(now)) {
            tracing::warn!(%error, tenant = %stages.tenant(), "samples of metrics stages were not taken");
        }
    }
}
