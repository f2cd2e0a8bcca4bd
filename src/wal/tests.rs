use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::disk::{Disk, RealDisk, SegmentWrite};
use super::*;
use crate::types::ids::Lsn;

fn empty() -> LogEnd {
    LogEnd { last: Lsn(0), records: 0, torn_bytes: 0 }
}

fn read(dir: &Path) -> Result<(Vec<(u64, String)>, LogEnd), WalError> {
    let mut records = Vec::new();
    let end = replay(dir, |record| {
        records.push((record.lsn.0, String::from_utf8_lossy(record.payload).into_owned()));
        Ok::<_, WalError>(())
    })?;
    Ok((records, end))
}

fn small_segments() -> WalConfig {
    WalConfig { segment_bytes_max: 200, ..WalConfig::default() }
}

async fn write(dir: &Path, end: LogEnd, records: std::ops::Range<u64>) {
    let wal = Wal::open(DirectoryLock::take(dir).expect("free"), dir, small_segments(), end, |_: Vec<(Lsn, ())>| {})
        .expect("opened");
    for at in records {
        assert_eq!(wal.append(format!("record {at}").into(), ()).await.expect("written"), Lsn(at));
    }
    wal.close().expect("closed");
}

#[tokio::test]
async fn what_is_appended_is_replayed_over_many_segments_and_restarts() {
    let dir = tempfile::tempdir().expect("a directory");
    write(dir.path(), empty(), 1..20).await;
    let (records, end) = read(dir.path()).expect("intact");
    assert_eq!((records.len(), end.last), (19, Lsn(19)));
    write(dir.path(), end, 20..30).await;
    let (records, _) = read(dir.path()).expect("intact");
    let expected: Vec<_> = (1..30).map(|at| (at, format!("record {at}"))).collect();
    assert_eq!(records, expected);
}

#[tokio::test]
async fn a_log_cut_at_any_byte_replays_a_prefix_and_can_be_written_on() {
    let source = tempfile::tempdir().expect("a directory");
    let config = WalConfig::default();
    let wal = Wal::open(
        DirectoryLock::take(source.path()).expect("free"),
        source.path(),
        config,
        empty(),
        |_: Vec<(Lsn, ())>| {},
    )
    .expect("opened");
    for at in 1..=4_u64 {
        wal.append(format!("record {at}").into(), ()).await.expect("written");
    }
    wal.close().expect("closed");
    let name = "00000000000000000001.wal";
    let whole = std::fs::read(source.path().join(name)).expect("readable");
    for cut in 0..=whole.len() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join(name), &whole[..cut]).expect("written");
        let (records, end) = read(dir.path()).expect("a torn tail is no damage");
        let expected: Vec<_> = (1..=records.len() as u64).map(|at| (at, format!("record {at}"))).collect();
        assert_eq!(records, expected, "cut at {cut}");
        write(dir.path(), end, end.last.0 + 1..end.last.0 + 2).await;
        assert_eq!(read(dir.path()).expect("intact").0.len(), records.len() + 1, "cut at {cut}");
    }
}

#[tokio::test]
async fn damage_before_intact_records_is_an_error_not_a_loss() {
    let dir = tempfile::tempdir().expect("a directory");
    let wal = Wal::open(
        DirectoryLock::take(dir.path()).expect("free"),
        dir.path(),
        WalConfig::default(),
        empty(),
        |_: Vec<(Lsn, ())>| {},
    )
    .expect("opened");
    for at in 1..=4_u64 {
        wal.append(format!("record {at}").into(), ()).await.expect("written");
    }
    wal.close().expect("closed");
    let path = dir.path().join("00000000000000000001.wal");
    let mut bytes = std::fs::read(&path).expect("readable");
    bytes[60] ^= 1;
    std::fs::write(&path, bytes).expect("written");
    assert!(matches!(read(dir.path()), Err(WalError::Corrupt { .. })));
}

#[tokio::test]
async fn a_missing_segment_is_an_error() {
    let dir = tempfile::tempdir().expect("a directory");
    write(dir.path(), empty(), 1..40).await;
    let mut names: Vec<_> =
        std::fs::read_dir(dir.path()).expect("listed").map(|entry| entry.expect("entry").path()).collect();
    names.retain(|path| path.extension().is_some_and(|extension| extension == "wal"));
    names.sort();
    assert!(names.len() > 3);
    std::fs::remove_file(&names[1]).expect("removed");
    assert!(matches!(read(dir.path()), Err(WalError::Gap { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_appends_share_syncs_and_arrive_in_order() {
    let dir = tempfile::tempdir().expect("a directory");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let wal = {
        let seen = seen.clone();
        let on_durable = move |group: Vec<(Lsn, u64)>| seen.lock().extend(group.into_iter().map(|(lsn, _)| lsn.0));
        Arc::new(
            Wal::open(
                DirectoryLock::take(dir.path()).expect("free"),
                dir.path(),
                WalConfig::default(),
                empty(),
                on_durable,
            )
            .expect("opened"),
        )
    };
    let appends = (0..400_u64).map(|at| {
        let wal = wal.clone();
        tokio::spawn(async move { wal.append(at.to_string().into(), at).await })
    });
    for append in appends.collect::<Vec<_>>() {
        append.await.expect("ran").expect("written");
    }
    assert_eq!(*seen.lock(), (1..=400).collect::<Vec<_>>());
    let groups = wal.stats().groups.load(Ordering::Relaxed);
    assert!(groups < 400, "{groups} groups for 400 records");
    wal.close().expect("closed");
    assert!(matches!(wal.append("late".into(), 0).await, Err(WalError::Closed)));
}

#[tokio::test]
async fn truncation_removes_whole_segments_and_keeps_the_numbers() {
    let dir = tempfile::tempdir().expect("a directory");
    let wal = Wal::open(
        DirectoryLock::take(dir.path()).expect("free"),
        dir.path(),
        small_segments(),
        empty(),
        |_: Vec<(Lsn, ())>| {},
    )
    .expect("opened");
    for at in 1..=30_u64 {
        wal.append(format!("record {at}").into(), ()).await.expect("written");
    }
    wal.truncate_through(Lsn(17)).expect("truncated");
    let (records, _) = read(dir.path()).expect("intact");
    assert!(records[0].0 <= 18 && records[0].0 > 1, "starts at {}", records[0].0);
    assert_eq!(records.last().expect("records").0, 30);
    wal.truncate_through(Lsn(30)).expect("truncated");
    let (records, end) = read(dir.path()).expect("intact");
    assert_eq!((records.len(), end.last), (0, Lsn(30)), "an empty log still knows its number");
    assert_eq!(wal.append("next".into(), ()).await.expect("written"), Lsn(31));
}

#[test]
fn a_directory_has_one_owner() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = DirectoryLock::take(dir.path()).expect("free");
    let refused = DirectoryLock::take(dir.path()).expect_err("locked");
    assert!(matches!(refused, WalError::Locked { .. }), "{refused}");
    drop(first);
    DirectoryLock::take(dir.path()).expect("free again");
}

/// A disk that can be full or unable to sync, and real otherwise.
struct Broken {
    full: Arc<AtomicBool>,
    unsynced: Arc<AtomicBool>,
}

struct BrokenFile {
    file: Box<dyn SegmentWrite>,
    full: Arc<AtomicBool>,
    unsynced: Arc<AtomicBool>,
}

impl Disk for Broken {
    fn create(&mut self, path: &Path) -> std::io::Result<Box<dyn SegmentWrite>> {
        let file = RealDisk.create(path)?;
        Ok(Box::new(BrokenFile { file, full: self.full.clone(), unsynced: self.unsynced.clone() }))
    }

    fn append(&mut self, path: &Path) -> std::io::Result<(Box<dyn SegmentWrite>, u64)> {
        RealDisk.append(path)
    }
}

impl SegmentWrite for BrokenFile {
    fn write_all(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        if self.full.load(Ordering::Relaxed) {
            // Half of it lands, as on a real disk.
            self.file.write_all(&bytes[..bytes.len() / 2])?;
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        self.file.write_all(bytes)
    }

    fn sync(&mut self) -> std::io::Result<()> {
        if self.unsynced.load(Ordering::Relaxed) { Err(std::io::Error::other("sync failed")) } else { self.file.sync() }
    }

    fn truncate(&mut self, bytes: u64) -> std::io::Result<()> {
        self.file.truncate(bytes)
    }
}

#[tokio::test]
async fn a_full_disk_and_a_failed_sync_refuse_and_recover() {
    let dir = tempfile::tempdir().expect("a directory");
    let (full, unsynced) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let disk = Box::new(Broken { full: full.clone(), unsynced: unsynced.clone() });
    let applied = Arc::new(Mutex::new(BTreeMap::new()));
    let on_durable = {
        let applied = applied.clone();
        move |group: Vec<(Lsn, &'static str)>| applied.lock().extend(group.into_iter().map(|(lsn, item)| (lsn.0, item)))
    };
    let wal = Wal::open_on(
        disk,
        DirectoryLock::take(dir.path()).expect("free"),
        dir.path(),
        WalConfig::default(),
        empty(),
        None,
        on_durable,
    )
    .expect("opened");
    wal.append("a".into(), "a").await.expect("written");
    full.store(true, Ordering::Relaxed);
    assert!(matches!(wal.append("lost".into(), "lost").await, Err(WalError::DiskFull)));
    assert!(matches!(wal.append("lost".into(), "lost").await, Err(WalError::DiskFull)));
    full.store(false, Ordering::Relaxed);
    wal.append("b".into(), "b").await.expect("it recovers by itself");
    unsynced.store(true, Ordering::Relaxed);
    assert!(matches!(wal.append("lost".into(), "lost").await, Err(WalError::Write(_))));
    unsynced.store(false, Ordering::Relaxed);
    wal.append("c".into(), "c").await.expect("it recovers by itself");
    wal.close().expect("closed");
    drop(wal);
    let expected = vec![(1, "a".to_owned()), (2, "b".to_owned()), (3, "c".to_owned())];
    assert_eq!(read(dir.path()).expect("intact").0, expected);
    assert_eq!(applied.lock().iter().map(|(lsn, item)| (*lsn, (*item).to_owned())).collect::<Vec<_>>(), expected);
}
