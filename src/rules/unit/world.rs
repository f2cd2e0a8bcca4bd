//! A world in memory: rows, the query engine, samples, and rules over them. Nothing of it is kept.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::catalog::{Arrival, Catalog};
use crate::files::FileIndexes;
use crate::head::row_hashes;
use crate::ingest::gate::TenantGate;
use crate::ingest::limits::Limits;
use crate::ingest::shard::rows_of;
use crate::promql::{self, RawSeries, Selection, SeriesSource};
use crate::query::{Engine, EngineLimits};
use crate::receive::decode::{BodyLimits, PushRequest, decode_push};
use crate::rules::ask::Asker;
use crate::streams::{StreamRef, Streams};
use crate::types::ids::{Lsn, TenantId};
use crate::types::labels::Labels;
use crate::types::sample::{Sample, SampleError, SampleSink};
use crate::types::time::{Clock, NANOS_PER_MILLI, UnixNanos};

/// Time limit of one question.
const TIMEOUT: Duration = Duration::from_secs(120);
/// Memory of all questions, bytes.
const MEMORY_BYTES_MAX: usize = 1 << 30;

/// Samples by labels and time in milliseconds.
#[derive(Debug, Default)]
pub(super) struct Samples(Mutex<BTreeMap<Labels, BTreeMap<i64, f64>>>);

#[async_trait]
impl SampleSink for Samples {
    fn append(&self, _: &TenantId, samples: Vec<Sample>) -> Result<(), SampleError> {
        let mut all = self.0.lock();
        for sample in samples {
            let at_ms = sample.time.0.div_euclid(NANOS_PER_MILLI);
            all.entry(sample.labels).or_default().insert(at_ms, sample.value);
        }
        Ok(())
    }

    async fn sync(&self) -> Result<(), SampleError> {
        Ok(())
    }
}

#[async_trait]
impl SeriesSource for Samples {
    async fn select(
        &self,
        _: &TenantId,
        selection: &Selection,
        samples_max: usize,
    ) -> Result<Vec<RawSeries>, SampleError> {
        let all = self.0.lock();
        let mut found = Vec::new();
        let mut count = 0;
        for (labels, samples) in all.iter() {
            if !selection.matchers.iter().all(|matcher| matcher.matches(labels)) {
                continue;
            }
            let inside: Vec<(i64, f64)> =
                samples.range(selection.start_ms..=selection.end_ms).map(|(at, value)| (*at, *value)).collect();
            count += inside.len();
            if count > samples_max {
                return Err(SampleError::Full(format!("more than {samples_max} samples")));
            }
            if !inside.is_empty() {
                let (times, values) = inside.into_iter().unzip();
                found.push(RawSeries { labels: labels.clone(), times, values });
            }
        }
        Ok(found)
    }
}

/// The world of one test.
pub(super) struct World {
    pub(super) samples: Arc<Samples>,
    pub(super) asker: Asker,
    pub(super) clock: Clock,
    pub(super) tenant: TenantId,
    catalog: Arc<Catalog>,
}

impl World {
    /// Must be called within a runtime of several threads.
    pub(super) fn new() -> Result<World, String> {
        let streams = Arc::new(Streams::default());
        let catalog = Arc::new(Catalog::new(streams.clone(), Vec::new(), Lsn(0)));
        let store = Arc::new(object_store::memory::InMemory::new());
        let indexes = FileIndexes::new(store, object_store::path::Path::default(), streams, 1 << 20);
        let limits = EngineLimits {
            memory_bytes_max: MEMORY_BYTES_MAX,
            tenant_memory_bytes_max: 0,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            timeout: TIMEOUT,
            results_bytes_max: 1 << 20,
            results_time_to_live: TIMEOUT,
        };
        let clock = Clock::manual(UnixNanos(0));
        let threads = tokio::runtime::Handle::current();
        let engine = Engine::new(catalog.clone(), indexes, limits, clock.clone(), threads);
        let engine = engine.map_err(|error| error.to_string())?;
        let samples: Arc<Samples> = Arc::default();
        let limits =
            promql::EngineLimits { lookback: Duration::from_secs(300), samples_max: 50_000_000, timeout: TIMEOUT };
        let metrics = promql::Engine::new(samples.clone(), limits);
        let asker = Asker { engine, metrics: Arc::new(metrics), timeout: TIMEOUT, sample_lines: 3 };
        Ok(World { samples, asker, clock, tenant: TenantId::single(), catalog })
    }

    /// Takes lines as a push brings them, with levels found and the like.
    pub(super) fn push(&self, body: &serde_json::Value) -> Result<(), String> {
        let limits = Limits { reject_old_samples: false, creation_grace_period: far(), ..Limits::default() };
        let request = PushRequest {
            content_type: Some("application/json"),
            content_encoding: None,
            body: body.to_string().into(),
            legacy: false,
        };
        let outcome = decode_push(&request, &TenantGate::alone(limits, UnixNanos(0)), &BodyLimits::default());
        outcome.answer.map_err(|error| error.to_string())?;
        let Some(batch) = outcome.batch else { return Ok(()) };
        let streams = self.catalog.streams().tenant(&self.tenant);
        let rows = rows_of(&batch, &streams).map_err(|error| error.to_string())?;
        let hashes = row_hashes(&self.tenant, &rows, |stream| streams.get(StreamRef(stream)));
        let arrival = Arrival { tenant: self.tenant.clone(), rows, hashes };
        self.catalog.append([(Lsn(1), arrival)], UnixNanos(0));
        Ok(())
    }
}

/// Later than any test.
fn far() -> crate::types::units::GoDuration {
    crate::types::units::GoDuration(i64::MAX / 2)
}
