use std::path::Path;

use super::*;
use crate::promql::{Matcher, RawSeries, Selection, SeriesSource};
use crate::types::ids::TenantId;
use crate::types::labels::Labels;
use crate::types::sample::{Sample, SampleSink};
use crate::types::time::{Clock, NANOS_PER_MILLI, UnixNanos};
use crate::types::units::GoDuration;
use crate::wal::FsyncPolicy;

/// 2026-01-15T10:00:00Z, milliseconds.
const START_MS: i64 = 1_768_471_200_000;
const HOUR_MS: i64 = 3_600_000;

async fn open(dir: &Path, settings: DerivedSettings, now_ms: i64) -> Store {
    let clock = Clock::manual(UnixNanos(now_ms * NANOS_PER_MILLI));
    let place = DerivedPlace { data_dir: dir.to_owned(), fsync: FsyncPolicy::Never, sealing: None };
    Store::open(settings, place, clock).await.expect("opens")
}

fn sample(job: &str, at_ms: i64, value: f64) -> Sample {
    let labels = Labels::from_pairs([("__name__", "m"), ("job", job)]);
    Sample { labels, time: UnixNanos(at_ms * NANOS_PER_MILLI), value }
}

async fn read(store: &Store, tenant: &TenantId) -> Vec<RawSeries> {
    let selection = Selection { matchers: vec![Matcher::equal("__name__", "m")], start_ms: i64::MIN, end_ms: i64::MAX };
    store.select(tenant, &selection, 1_000_000).await.expect("read")
}

fn points(series: &RawSeries) -> Vec<(i64, f64)> {
    series.times.iter().map(|time| time - START_MS).zip(series.values.iter().copied()).collect()
}

#[tokio::test]
async fn what_is_synced_survives_without_a_close() {
    let directory = tempfile::tempdir().expect("a directory");
    let (dir, tenant) = (directory.path(), TenantId::single());
    {
        let store = open(dir, DerivedSettings::default(), START_MS).await;
        store.append(&tenant, vec![sample("a", START_MS, 1.0), sample("a", START_MS + 1, f64::NAN)]).expect("taken");
        store.sync().await.expect("synced");
        store.append(&tenant, vec![sample("a", START_MS, 5.0)]).expect("taken");
        // Not synced, and the process is gone.
    }
    let store = open(dir, DerivedSettings::default(), START_MS).await;
    let series = read(&store, &tenant).await;
    assert_eq!(points(&series[0])[0], (0, 1.0));
    assert!(points(&series[0])[1].1.is_nan());
}

#[tokio::test]
async fn files_and_memory_are_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let (dir, tenant) = (directory.path(), TenantId::single());
    let other = TenantId::parse("other").expect("an id");
    let store = open(dir, DerivedSettings::default(), START_MS + 10 * HOUR_MS).await;
    // Two days, an end, a correction of what is in a file already, and another tenant.
    let day = 24 * HOUR_MS;
    let ended = Sample::stale(sample("b", 0, 0.0).labels, UnixNanos((START_MS + 1) * NANOS_PER_MILLI));
    let first = vec![sample("a", START_MS, 1.0), sample("a", START_MS - day, 0.5), sample("b", START_MS, 9.0), ended];
    store.append(&tenant, first).expect("taken");
    store.append(&other, vec![sample("x", START_MS, 1.0)]).expect("taken");
    let report = store.flush().await.expect("flushed");
    assert_eq!((report.samples, report.files), (5, 3));
    assert_eq!(store.stats().memory_samples, 0, "old samples stay in files alone");
    store.append(&tenant, vec![sample("a", START_MS, 2.0), sample("a", START_MS + 5, 3.0)]).expect("taken");
    let series = read(&store, &tenant).await;
    assert_eq!(points(&series[0]), [(-day, 0.5), (0, 2.0), (5, 3.0)]);
    assert_eq!(series[1].times.len(), 2);
    assert!(crate::types::sample::is_stale_marker(series[1].values[1]));
    assert_eq!(read(&store, &other).await.len(), 1);
    store.flush().await.expect("flushed");
    assert_eq!(points(&read(&store, &tenant).await[0]), [(-day, 0.5), (0, 2.0), (5, 3.0)]);
    store.close().await;
    drop(store);
    let store = open(dir, DerivedSettings::default(), START_MS + 10 * HOUR_MS).await;
    assert_eq!(points(&read(&store, &tenant).await[0]), [(-day, 0.5), (0, 2.0), (5, 3.0)]);
    let names = store.series(&tenant, &[Vec::new()], START_MS - day, START_MS - day).await.expect("series");
    assert_eq!(names, [sample("a", 0, 0.0).labels]);
}

#[tokio::test]
async fn many_small_files_become_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let tenant = TenantId::single();
    let store = open(directory.path(), DerivedSettings::default(), START_MS).await;
    let mut most = 0;
    for round in 0..20 {
        store
            .append(&tenant, vec![sample("a", START_MS + round, round as f64), sample("a", START_MS, -1.0)])
            .expect("taken");
        store.flush().await.expect("flushed");
        most = most.max(store.stats().files);
    }
    assert!(most <= 9, "{most} files");
    let expected: Vec<_> = (0..20).map(|round| (round, if round == 0 { -1.0 } else { round as f64 })).collect();
    assert_eq!(points(&read(&store, &tenant).await[0]), expected);
}

#[tokio::test]
async fn old_samples_expire() {
    let directory = tempfile::tempdir().expect("a directory");
    let (dir, tenant) = (directory.path(), TenantId::single());
    let settings = DerivedSettings { retention: GoDuration::from_secs(3_600), ..DerivedSettings::default() };
    let store = open(dir, settings.clone(), START_MS).await;
    store.append(&tenant, vec![sample("a", START_MS, 1.0)]).expect("taken");
    store.flush().await.expect("flushed");
    store.close().await;
    drop(store);
    let store = open(dir, settings, START_MS + 2 * HOUR_MS).await;
    store.append(&tenant, vec![sample("a", START_MS + 2 * HOUR_MS, 2.0)]).expect("taken");
    assert_eq!(points(&read(&store, &tenant).await[0]), [(2 * HOUR_MS, 2.0)], "hidden at once");
    let report = store.flush().await.expect("flushed");
    assert_eq!((report.expired, store.stats().files), (1, 1));
}

#[tokio::test]
async fn a_query_reads_no_more_than_it_may() {
    let directory = tempfile::tempdir().expect("a directory");
    let tenant = TenantId::single();
    let store = open(directory.path(), DerivedSettings::default(), START_MS + 10 * HOUR_MS).await;
    store.append(&tenant, (0..100).map(|at| sample("a", START_MS + at, 1.0)).collect()).expect("taken");
    let selection = Selection { matchers: Vec::new(), start_ms: i64::MIN, end_ms: i64::MAX };
    assert!(store.select(&tenant, &selection, 99).await.is_err());
    store.flush().await.expect("flushed");
    assert!(store.select(&tenant, &selection, 99).await.is_err());
    assert!(store.select(&tenant, &selection, 100).await.is_ok());
}
