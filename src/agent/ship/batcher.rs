//! Fills batches, one a tenant, until they are large or old enough.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::Surroundings;
use super::batch::{Building, size_of};
use super::outbox::Outbox;
use crate::agent::config::{ClientConfig, LimitsConfig};
use crate::agent::metrics::AgentMetrics;
use crate::pipeline::{Entry, TENANT_LABEL};

/// See the module.
pub(super) struct Batcher {
    host: String,
    tenant: String,
    external: Vec<(String, String)>,
    batch_bytes: usize,
    batch_wait: Duration,
    limits: LimitsConfig,
    metrics: AgentMetrics,
    outbox: Arc<Outbox>,
    building: BTreeMap<String, (Building, Instant)>,
}

impl Batcher {
    pub(super) fn new(config: &ClientConfig, host: &str, around: &Surroundings, outbox: Arc<Outbox>) -> Self {
        Batcher {
            host: host.to_owned(),
            tenant: config.tenant_id.clone(),
            external: config.external_labels.clone().into_iter().collect(),
            batch_bytes: config.batchsize,
            batch_wait: config.batchwait.to_std(),
            limits: around.limits.clone(),
            metrics: around.metrics.clone(),
            outbox,
            building: BTreeMap::new(),
        }
    }

    /// Until the last source is gone.
    pub(super) async fn run(&mut self, mut received: mpsc::Receiver<Arc<Vec<Entry>>>) {
        loop {
            let oldest = self.building.values().map(|(_, begun)| *begun).min();
            let due = oldest.map(|begun| tokio::time::Instant::from_std(begun + self.batch_wait));
            let batch = match due {
                None => received.recv().await,
                Some(due) => match tokio::time::timeout_at(due, received.recv()).await {
                    Ok(batch) => batch,
                    Err(_) => {
                        self.send_old().await;
                        continue;
                    }
                },
            };
            let Some(batch) = batch else { break };
            for entry in batch.iter() {
                self.add(entry).await;
            }
        }
        for tenant in self.building.keys().cloned().collect::<Vec<_>>() {
            self.send(&tenant).await;
        }
        self.outbox.close();
    }

    async fn send_old(&mut self) {
        let now = Instant::now();
        let old = self.building.iter().filter(|(_, (_, begun))| *begun + self.batch_wait <= now);
        for tenant in old.map(|(tenant, _)| tenant.clone()).collect::<Vec<_>>() {
            self.send(&tenant).await;
        }
    }

    async fn add(&mut self, entry: &Entry) {
        let tenant = entry.labels.get(TENANT_LABEL).map_or(self.tenant.as_str(), |tenant| tenant);
        let Some(line) = self.fitting_line(entry, tenant) else { return };
        let stream = entry.labels.fingerprint();
        let tenant = tenant.to_owned();
        let is_full = self
            .building
            .get(&tenant)
            .is_some_and(|(building, _)| !building.is_empty() && building.bytes + size_of(entry) > self.batch_bytes);
        if is_full {
            self.send(&tenant).await;
        }
        let (building, _) =
            self.building.entry(tenant.clone()).or_insert_with(|| (Building::default(), Instant::now()));
        let most = self.limits.max_streams;
        if most > 0 && building.streams() >= most && !building.has_stream(stream) {
            let labels = [self.host.as_str(), tenant.as_str(), "stream_limited"];
            self.metrics.dropped_entries.with_label_values(&labels).inc();
            self.metrics.dropped_bytes.with_label_values(&labels).inc_by(line.len() as u64);
            return;
        }
        building.add(stream, entry, &line, &self.external);
    }

    /// The line, cut if need be; nothing when it is too long to be taken.
    fn fitting_line<'e>(&self, entry: &'e Entry, tenant: &str) -> Option<Cow<'e, str>> {
        let most = self.limits.max_line_size.0 as usize;
        if most == 0 || entry.line.len() <= most {
            return Some(Cow::Borrowed(&entry.line));
        }
        let labels = [self.host.as_str(), tenant, "line_too_long"];
        if !self.limits.max_line_size_truncate {
            self.metrics.dropped_entries.with_label_values(&labels).inc();
            self.metrics.dropped_bytes.with_label_values(&labels).inc_by(entry.line.len() as u64);
            return None;
        }
        let cut = &entry.line[..entry.line.floor_char_boundary(most)];
        self.metrics.mutated_entries.with_label_values(&labels).inc();
        self.metrics.mutated_bytes.with_label_values(&labels).inc_by((entry.line.len() - cut.len()) as u64);
        Some(Cow::Borrowed(cut))
    }

    async fn send(&mut self, tenant: &str) {
        let Some((building, _)) = self.building.remove(tenant) else { return };
        if building.is_empty() {
            return;
        }
        match building.finish(tenant) {
            Ok(batch) => {
                self.metrics.encoded_bytes.with_label_values(&[&self.host]).inc_by(batch.body.len() as u64);
                self.outbox.push(batch).await;
            }
            Err(error) => tracing::error!(%error, "a batch cannot be packed; make clients.batchsize smaller"),
        }
    }
}
