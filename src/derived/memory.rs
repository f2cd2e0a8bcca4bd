//! Recent samples, readable at once.
//!
//! ```text
//! tenant ─▶ metric ─▶ labels ─▶ Buffer { recent: sorted by time │ dirty: not in a file yet, as they came }
//! ```
//!
//! Invariant: every dirty sample, and every one being flushed, is also among the recent ones.

use std::collections::HashMap;

use crate::promql::{Matcher, RawSeries};
use crate::types::ids::TenantId;
use crate::types::labels::Labels;
use crate::types::sample::{METRIC_NAME, Sample, SampleError, is_stale_marker};
use crate::types::time::NANOS_PER_MILLI;

/// Bytes of one sample in one list.
const SAMPLE_BYTES: usize = 16;
/// Bytes of a series beside its labels and samples: map entries, lists.
const SERIES_BYTES: usize = 300;

/// A time in milliseconds, and a value.
pub(super) type Point = (i64, f64);

/// Samples of one tenant by series, as a flush takes them.
pub(super) type Dirty = Vec<(TenantId, Vec<(Labels, Vec<Point>)>)>;

#[derive(Debug, Default)]
pub(super) struct Memory {
    tenants: HashMap<TenantId, TenantMemory>,
    bytes: usize,
    samples: usize,
}

#[derive(Debug, Default)]
struct TenantMemory {
    metrics: HashMap<Box<str>, HashMap<Labels, Buffer>>,
    series: usize,
}

#[derive(Debug, Default)]
struct Buffer {
    recent: Vec<Point>,
    dirty: Vec<Point>,
}

/// What memory may hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct MemoryLimits {
    pub(super) bytes_max: usize,
    pub(super) series_max: usize,
}

/// How much there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct MemoryStats {
    pub(super) bytes: usize,
    pub(super) series: usize,
    pub(super) samples: usize,
}

impl Memory {
    /// Takes all of `samples`, or none.
    ///
    /// # Errors
    /// `Full` when a limit would be passed.
    pub(super) fn append(
        &mut self,
        tenant: &TenantId,
        samples: &[Sample],
        limits: MemoryLimits,
    ) -> Result<(), SampleError> {
        let own = self.tenants.entry(tenant.clone()).or_default();
        let (new_series, new_bytes) = own.growth(samples);
        if self.bytes + new_bytes > limits.bytes_max {
            return Err(SampleError::Full(format!(
                "millrace.metrics.memory_bytes_max ({} bytes) is reached; raise it, or record fewer series",
                limits.bytes_max
            )));
        }
        if own.series + new_series > limits.series_max {
            return Err(SampleError::Full(format!(
                "tenant {tenant} has {} series and millrace.metrics.series_max is {}; record fewer labels, or raise it",
                own.series, limits.series_max
            )));
        }
        for sample in samples {
            let (added_bytes, added_samples) = own.put(sample);
            self.bytes += added_bytes;
            self.samples += added_samples;
        }
        Ok(())
    }

    /// Series that match, with their samples between two times, both inside.
    pub(super) fn select(&self, tenant: &TenantId, matchers: &[Matcher], start_ms: i64, end_ms: i64) -> Vec<RawSeries> {
        let mut found = Vec::new();
        self.each(tenant, matchers, |labels, buffer| {
            let points = buffer.between(start_ms, end_ms);
            if !points.is_empty() {
                let (times, values) = points.iter().copied().unzip();
                found.push(RawSeries { labels: labels.clone(), times, values });
            }
        });
        found
    }

    /// Labels of series that match and have a sample between two times, both inside.
    pub(super) fn series(&self, tenant: &TenantId, matchers: &[Matcher], start_ms: i64, end_ms: i64) -> Vec<Labels> {
        let mut found = Vec::new();
        self.each(tenant, matchers, |labels, buffer| {
            if !buffer.between(start_ms, end_ms).is_empty() {
                found.push(labels.clone());
            }
        });
        found
    }

    /// The newest sample of each series that is no older than `since_ms` and does not end the series; sorted.
    pub(super) fn latest(&self, tenant: &TenantId, since_ms: i64) -> Vec<(Labels, Point)> {
        let mut found = Vec::new();
        self.each(tenant, &[], |labels, buffer| {
            if let Some(last) = buffer.recent.last()
                && last.0 >= since_ms
                && !is_stale_marker(last.1)
            {
                found.push((labels.clone(), *last));
            }
        });
        found.sort_by(|a, b| a.0.cmp(&b.0));
        found
    }

    fn each(&self, tenant: &TenantId, matchers: &[Matcher], mut of: impl FnMut(&Labels, &Buffer)) {
        let Some(own) = self.tenants.get(tenant) else { return };
        let mut of_metric = |series: &HashMap<Labels, Buffer>| {
            for (labels, buffer) in series {
                if matchers.iter().all(|matcher| matcher.matches(labels)) {
                    of(labels, buffer);
                }
            }
        };
        match Matcher::metric(matchers) {
            Some(metric) => own.metrics.get(metric).into_iter().for_each(&mut of_metric),
            None => own.metrics.values().for_each(&mut of_metric),
        }
    }

    /// Takes what is in no file yet.
    pub(super) fn take_dirty(&mut self) -> Dirty {
        let mut taken = Dirty::new();
        let mut bytes = 0;
        for (tenant, own) in &mut self.tenants {
            let mut series = Vec::new();
            for (labels, buffer) in own.metrics.values_mut().flatten() {
                if !buffer.dirty.is_empty() {
                    bytes += buffer.dirty.len() * SAMPLE_BYTES;
                    series.push((labels.clone(), std::mem::take(&mut buffer.dirty)));
                }
            }
            if !series.is_empty() {
                taken.push((tenant.clone(), series));
            }
        }
        self.bytes -= bytes;
        taken
    }

    /// Gives back what could not be written.
    pub(super) fn return_dirty(&mut self, taken: Dirty) {
        for (tenant, series) in taken {
            let Some(own) = self.tenants.get_mut(&tenant) else { continue };
            for (labels, mut points) in series {
                let metric = labels.get(METRIC_NAME).unwrap_or("");
                let Some(buffer) = own.metrics.get_mut(metric).and_then(|series| series.get_mut(&labels)) else {
                    continue;
                };
                self.bytes += points.len() * SAMPLE_BYTES;
                points.append(&mut buffer.dirty);
                buffer.dirty = points;
            }
        }
    }

    /// Forgets clean samples before `before_ms`, and series that have none left.
    pub(super) fn evict(&mut self, before_ms: i64) {
        let (mut bytes, mut samples) = (0, 0);
        for own in self.tenants.values_mut() {
            for series in own.metrics.values_mut() {
                series.retain(|labels, buffer| {
                    let oldest_dirty = buffer.dirty.iter().map(|point| point.0).min().unwrap_or(i64::MAX);
                    let until = before_ms.min(oldest_dirty);
                    let gone = buffer.recent.partition_point(|point| point.0 < until);
                    buffer.recent.drain(..gone);
                    samples += gone;
                    bytes += gone * SAMPLE_BYTES;
                    if buffer.recent.is_empty() {
                        bytes += series_bytes(labels);
                    } else if buffer.recent.capacity() > 4 * buffer.recent.len() {
                        buffer.recent.shrink_to(2 * buffer.recent.len());
                    }
                    !buffer.recent.is_empty()
                });
            }
            own.metrics.retain(|_, series| !series.is_empty());
            own.series = own.metrics.values().map(HashMap::len).sum();
        }
        self.tenants.retain(|_, own| own.series > 0);
        self.bytes = self.bytes.saturating_sub(bytes);
        self.samples = self.samples.saturating_sub(samples);
    }

    pub(super) fn stats(&self) -> MemoryStats {
        let series = self.tenants.values().map(|own| own.series).sum();
        MemoryStats { bytes: self.bytes, series, samples: self.samples }
    }
}

impl TenantMemory {
    /// Series and bytes that `samples` would add.
    fn growth(&self, samples: &[Sample]) -> (usize, usize) {
        let is_known = |labels: &Labels| {
            let metric = labels.get(METRIC_NAME).unwrap_or("");
            self.metrics.get(metric).is_some_and(|series| series.contains_key(labels))
        };
        let mut new: Vec<&Labels> =
            samples.iter().map(|sample| &sample.labels).filter(|labels| !is_known(labels)).collect();
        new.sort_unstable();
        new.dedup();
        let bytes: usize = new.iter().map(|labels| series_bytes(labels)).sum();
        (new.len(), bytes + samples.len() * 2 * SAMPLE_BYTES)
    }

    /// Bytes and samples that this added.
    fn put(&mut self, sample: &Sample) -> (usize, usize) {
        let metric = sample.labels.get(METRIC_NAME).unwrap_or("");
        if !self.metrics.contains_key(metric) {
            self.metrics.insert(metric.into(), HashMap::new());
        }
        let series = self.metrics.get_mut(metric).expect("inserted above");
        let mut bytes = SAMPLE_BYTES;
        let buffer = series.entry(sample.labels.clone()).or_insert_with(|| {
            bytes += series_bytes(&sample.labels);
            self.series += 1;
            Buffer::default()
        });
        let point = (sample.time.0.div_euclid(NANOS_PER_MILLI), sample.value);
        buffer.dirty.push(point);
        let is_new = buffer.put(point);
        (bytes + if is_new { SAMPLE_BYTES } else { 0 }, usize::from(is_new))
    }
}

impl Buffer {
    /// Whether there was none at this time.
    fn put(&mut self, point: Point) -> bool {
        if self.recent.last().is_none_or(|last| last.0 < point.0) {
            self.recent.push(point);
            return true;
        }
        match self.recent.binary_search_by_key(&point.0, |known| known.0) {
            Ok(at) => {
                self.recent[at] = point;
                false
            }
            Err(at) => {
                self.recent.insert(at, point);
                true
            }
        }
    }

    fn between(&self, start_ms: i64, end_ms: i64) -> &[Point] {
        let from = self.recent.partition_point(|point| point.0 < start_ms);
        let to = self.recent.partition_point(|point| point.0 <= end_ms);
        self.recent.get(from..to).unwrap_or(&[])
    }
}

fn series_bytes(labels: &Labels) -> usize {
    SERIES_BYTES + labels.iter().map(|(name, value)| 2 * (name.len() + value.len()) + 64).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::time::UnixNanos;

    const LIMITS: MemoryLimits = MemoryLimits { bytes_max: 1 << 20, series_max: 3 };

    fn sample(job: &str, at_ms: i64, value: f64) -> Sample {
        let labels = Labels::from_pairs([("__name__", "m"), ("job", job)]);
        Sample { labels, time: UnixNanos(at_ms * NANOS_PER_MILLI), value }
    }

    fn shown(memory: &Memory, tenant: &TenantId) -> Vec<(Vec<i64>, Vec<f64>)> {
        let mut found = memory.select(tenant, &[Matcher::equal("__name__", "m")], i64::MIN, i64::MAX);
        found.sort_by(|a, b| a.labels.cmp(&b.labels));
        found.into_iter().map(|series| (series.times, series.values)).collect()
    }

    #[test]
    fn samples_are_sorted_and_replaced() {
        let (tenant, mut memory) = (TenantId::single(), Memory::default());
        let samples = [sample("a", 20, 2.0), sample("a", 10, 1.0), sample("a", 20, 3.0), sample("b", 5, 9.0)];
        memory.append(&tenant, &samples, LIMITS).expect("room");
        assert_eq!(shown(&memory, &tenant), [(vec![10, 20], vec![1.0, 3.0]), (vec![5], vec![9.0])]);
        assert_eq!((memory.stats().series, memory.stats().samples), (2, 3));
        assert!(memory.select(&TenantId::parse("other").expect("an id"), &[], i64::MIN, i64::MAX).is_empty());
    }

    #[test]
    fn limits_refuse_all_or_nothing() {
        let (tenant, mut memory) = (TenantId::single(), Memory::default());
        let four = ["a", "b", "c", "d"].map(|job| sample(job, 1, 1.0));
        assert!(matches!(memory.append(&tenant, &four, LIMITS), Err(SampleError::Full(_))));
        assert_eq!(memory.stats(), MemoryStats::default());
        let tight = MemoryLimits { bytes_max: 100, ..LIMITS };
        assert!(matches!(memory.append(&tenant, &four[..1], tight), Err(SampleError::Full(_))));
        memory.append(&tenant, &four[..3], LIMITS).expect("room");
    }

    #[test]
    fn what_is_dirty_stays() {
        let (tenant, mut memory) = (TenantId::single(), Memory::default());
        memory.append(&tenant, &[sample("a", 10, 1.0), sample("a", 20, 2.0)], LIMITS).expect("room");
        memory.evict(1_000);
        assert_eq!(memory.stats().samples, 2, "dirty samples are not forgotten");
        let taken = memory.take_dirty();
        memory.append(&tenant, &[sample("a", 30, 3.0)], LIMITS).expect("room");
        memory.return_dirty(taken);
        let again = memory.take_dirty();
        assert_eq!(again[0].1[0].1, [(10, 1.0), (20, 2.0), (30, 3.0)]);
        memory.evict(25);
        assert_eq!(shown(&memory, &tenant), [(vec![30], vec![3.0])]);
        memory.evict(1_000);
        assert_eq!(memory.stats(), MemoryStats::default(), "nothing is left, and counted as nothing");
    }

    #[test]
    fn the_latest_end_at_a_marker() {
        let (tenant, mut memory) = (TenantId::single(), Memory::default());
        let ended = Sample::stale(sample("b", 0, 0.0).labels, UnixNanos(20 * NANOS_PER_MILLI));
        memory
            .append(&tenant, &[sample("a", 20, 2.0), sample("b", 10, 1.0), ended, sample("c", 1, 1.0)], LIMITS)
            .expect("room");
        let latest: Vec<Point> = memory.latest(&tenant, 5).into_iter().map(|(_, point)| point).collect();
        assert_eq!(latest, [(20, 2.0)]);
    }
}
