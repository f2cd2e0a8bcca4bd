use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::{ObjectStoreExt, PutOptions, PutPayload};

use super::*;
use crate::types::ids::{IngestSeq, TenantId};
use crate::types::time::{NANOS_PER_DAY, UnixNanos};
use crate::types::txn::After;

const DAY: i32 = 20_468;

fn clock() -> Clock {
    Clock::manual(UnixNanos(i64::from(DAY) * NANOS_PER_DAY))
}

fn file(tenant: &str, number: usize) -> DataFile {
    let tenant = TenantId::parse(tenant).expect("a tenant");
    let ts_min = UnixNanos(i64::from(DAY) * NANOS_PER_DAY + number as i64);
    let path = DataFile::path_for(&tenant, DAY, &format!("{number:08}"));
    let (seq, crc32) = (IngestSeq(number as u64), Some(7));
    let (ts_max, squeezed) = (ts_min.saturating_add(999), number.is_multiple_of(2));
    DataFile { path, tenant, day: DAY, bytes: 1_000, rows: 10, ts_min, ts_max, seq, crc32, squeezed }
}

async fn open(store: &Arc<dyn ObjectStore>) -> (Table, TableState) {
    Table::open(store.clone(), Path::from("logs"), clock()).await.expect("opens")
}

fn memory() -> Arc<dyn ObjectStore> {
    Arc::new(InMemory::new())
}

fn numbers(mut files: Vec<DataFile>) -> Vec<i64> {
    files.sort_by_key(|file| file.ts_min);
    files.iter().map(|file| file.ts_min.0 - i64::from(DAY) * NANOS_PER_DAY).collect()
}

fn sorted(mut state: TableState) -> TableState {
    state.files.sort_by(|a, b| a.path.cmp(&b.path));
    state
}

fn txn(version: i64) -> Vec<TxnStep> {
    vec![TxnStep { app_id: "wal-1".into(), after: After::AnyLower, to: version }]
}

#[tokio::test]
async fn created_committed_reopened() {
    let store = memory();
    let (table, state) = open(&store).await;
    assert_eq!((state.version, state.files.len(), state.txns.len()), (0, 0, 0));
    let files = [file("a", 1), file("b*'(c)!.-_", 2)];
    assert_eq!(table.commit(&files, &[], &txn(7), OPERATION_WRITE).await.expect("commits"), 1);
    assert_eq!(table.commit(&[file("a", 3)], &files[..1], &[], OPERATION_OPTIMIZE).await.expect("commits"), 2);

    let (_, state) = open(&store).await;
    assert_eq!(state.version, 2);
    assert_eq!(state.txns, HashMap::from([("wal-1".to_owned(), 7)]));
    assert_eq!(sorted(state).files, [file("a", 3), files[1].clone()]);
}

#[tokio::test]
async fn a_source_that_changed_hands_is_fenced() {
    let store = memory();
    let (one, _) = open(&store).await;
    let (two, _) = open(&store).await;
    let step = |after, to| vec![TxnStep { app_id: "kafka/t/0".into(), after: After::Exactly(after), to }];
    one.commit(&[file("a", 1)], &[], &step(None, 10), OPERATION_WRITE).await.expect("commits");
    // The second process has not heard of it and would store the same records again.
    let refused = two.commit(&[file("a", 2)], &[], &step(None, 12), OPERATION_WRITE).await;
    assert!(matches!(refused, Err(TableError::Fenced { recorded: Some(10), .. })), "{refused:?}");
    two.commit(&[file("a", 3)], &[], &step(Some(10), 12), OPERATION_WRITE).await.expect("commits");
    let refused = one.commit(&[file("a", 4)], &[], &step(Some(10), 15), OPERATION_WRITE).await;
    assert!(matches!(refused, Err(TableError::Fenced { recorded: Some(12), .. })), "{refused:?}");
    assert_eq!(numbers(open(&store).await.1.files), [1, 3]);
}

#[tokio::test]
async fn a_txn_lands_once() {
    let store = memory();
    let (table, _) = open(&store).await;
    table.commit(&[file("a", 1)], &[], &txn(7), OPERATION_WRITE).await.expect("commits");
    // The process dies before it hears of the commit, starts again and repeats the flush in new files.
    let (again, state) = open(&store).await;
    for (table, asked) in [(&table, 7), (&table, 6), (&again, 7)] {
        let refused = table.commit(&[file("a", 2)], &[], &txn(asked), OPERATION_WRITE).await;
        let Err(TableError::AlreadyCommitted { recorded: 7, recorded_at: Some(at), .. }) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(table.added_at(at).await.expect("reads"), [file("a", 1)]);
    }
    assert_eq!(numbers(state.files), [1]);
    assert_eq!(again.commit(&[file("a", 2)], &[], &txn(8), OPERATION_WRITE).await.expect("commits"), 2);
    // The first process missed version 2 and repeats its txn.
    let refused = table.commit(&[file("a", 3)], &[], &txn(8), OPERATION_WRITE).await;
    assert!(matches!(refused, Err(TableError::AlreadyCommitted { recorded_at: Some(2), .. })), "{refused:?}");
}

#[tokio::test]
async fn two_writers_on_one_directory_both_land() {
    let directory = tempfile::tempdir().expect("a directory");
    let store: Arc<dyn ObjectStore> = Arc::new(LocalFileSystem::new_with_prefix(directory.path()).expect("a store"));
    let ((one, _), (two, _)) = tokio::join!(open(&store), open(&store));
    let write = |table: Table, numbers: std::ops::Range<usize>| async move {
        for number in numbers {
            table.commit(&[file("a", number)], &[], &[], OPERATION_WRITE).await.expect("commits");
        }
        table
    };
    let (one, two) = tokio::join!(tokio::spawn(write(one, 0..30)), tokio::spawn(write(two, 30..60)));
    let (_, state) = open(&store).await;
    assert_eq!(state.version, 60);
    assert_eq!(numbers(state.files), (0..60).collect::<Vec<_>>());

    let seen = |changes: Vec<Change>| numbers(changes.into_iter().flat_map(|change| change.added).collect());
    assert_eq!(seen(one.expect("ran").refresh().await.expect("reads")), (30..60).collect::<Vec<_>>());
    let two = two.expect("ran");
    assert_eq!(seen(two.refresh().await.expect("reads")), (0..30).collect::<Vec<_>>());
    assert_eq!(two.refresh().await.expect("reads"), []);
}

#[tokio::test]
async fn a_file_is_removed_once() {
    let store = memory();
    let (one, _) = open(&store).await;
    one.commit(&[file("a", 1), file("a", 2)], &[], &[], OPERATION_WRITE).await.expect("commits");
    let (two, _) = open(&store).await;
    one.commit(&[file("a", 3)], &[file("a", 1)], &[], OPERATION_OPTIMIZE).await.expect("commits");
    let refused = two.commit(&[file("a", 4)], &[file("a", 1), file("a", 2)], &[], OPERATION_OPTIMIZE).await;
    assert!(matches!(refused, Err(TableError::Conflict { version: 2, .. })), "{refused:?}");
    two.commit(&[file("a", 5)], &[file("a", 2)], &[], OPERATION_OPTIMIZE).await.expect("commits");
    assert_eq!(numbers(open(&store).await.1.files), [3, 5]);
}

#[tokio::test]
async fn a_file_without_a_commit_is_invisible() {
    let store = memory();
    let (table, _) = open(&store).await;
    table.commit(&[file("a", 1)], &[], &[], OPERATION_WRITE).await.expect("commits");
    let orphan = file("a", 2).location(&Path::from("logs"));
    store.put(&orphan, PutPayload::from_static(b"PAR1")).await.expect("puts");
    assert_eq!(numbers(open(&store).await.1.files), [1]);
}

#[tokio::test]
async fn checkpoint_and_tail_open_as_the_log_does() {
    let store = memory();
    let (table, _) = open(&store).await;
    for number in 0..20 {
        let remove: Vec<_> = (number % 4 == 3).then(|| file("a*b", number - 1)).into_iter().collect();
        table.commit(&[file("a*b", number)], &remove, &txn(number as i64), OPERATION_WRITE).await.expect("commits");
        if number == 12 {
            assert_eq!(table.checkpoint().await.expect("checkpoints"), 13);
        }
    }
    let whole = sorted(open(&store).await.1);
    assert_eq!((whole.version, whole.files.len()), (20, 15));

    // Without the commits that the checkpoint replaces: it alone must tell them.
    for version in 0..13 {
        store.delete(&Path::from(format!("logs/_delta_log/{version:020}.json"))).await.expect("deletes");
    }
    let (reopened, state) = open(&store).await;
    let state = sorted(state);
    assert_eq!((state.version, &state.files, &state.txns), (whole.version, &whole.files, &whole.txns));
    let refused = reopened.commit(&[], &[], &txn(19), OPERATION_WRITE).await;
    assert!(matches!(refused, Err(TableError::AlreadyCommitted { .. })), "{refused:?}");

    // A lost hint costs a listing, not the table.
    store.delete(&Path::from("logs/_delta_log/_last_checkpoint")).await.expect("deletes");
    assert_eq!(sorted(open(&store).await.1).files, whole.files);
    // A damaged checkpoint whose commits are gone is an error, not a smaller table.
    store
        .put(&Path::from(format!("logs/_delta_log/{:020}.checkpoint.parquet", 13)), PutPayload::from_static(b"torn"))
        .await
        .expect("puts");
    assert!(Table::open(store.clone(), Path::from("logs"), clock()).await.is_err());
}

#[tokio::test]
async fn a_large_table_opens_from_its_checkpoint_alone() {
    const FILES: usize = 10_000;
    let store = memory();
    let (table, _) = open(&store).await;
    let mut wanted: Vec<DataFile> = (0..FILES).map(|number| file("a", number)).collect();
    table.commit(&wanted, &[], &txn(7), OPERATION_WRITE).await.expect("commits");
    let gone: Vec<DataFile> = wanted.split_off(FILES - 100);
    table.commit(&[], &gone, &[], OPERATION_DELETE).await.expect("commits");
    table.checkpoint().await.expect("checkpoints");
    for version in 0..=2 {
        store.delete(&Path::from(format!("logs/_delta_log/{version:020}.json"))).await.expect("deletes");
    }
    let state = sorted(open(&store).await.1);
    assert_eq!((state.version, state.removed.len(), state.txns["wal-1"]), (2, 100, 7));
    assert!(state.files == wanted, "files differ");
}

#[tokio::test]
async fn a_flipped_bit_of_a_commit_is_named_and_flipped_back() {
    let store = memory();
    let (table, _) = open(&store).await;
    for number in 0..3 {
        table.commit(&[file("a", number)], &[], &txn(number as i64), OPERATION_WRITE).await.expect("commits");
    }
    let place = Path::from(format!("logs/{}", log::version_name(2)));
    let mut body = store.get(&place).await.expect("reads").bytes().await.expect("reads").to_vec();
    let digit = body.iter().rposition(u8::is_ascii_digit).expect("a digit");
    body[digit] ^= 1;
    store.put(&place, body.into()).await.expect("puts");
    let error = Table::open(store.clone(), Path::from("logs"), clock()).await.expect_err("damaged");
    assert!(error.to_string().contains("its checksum does not fit"), "{error}");
    let done = mend(&store, &Path::from("logs")).await.expect("mends").expect("something was wrong");
    assert!(done.len() == 1 && done[0].contains("flipped back"), "{done:?}");
    assert_eq!(numbers(open(&store).await.1.files), [0, 1, 2]);
    assert_eq!(mend(&store, &Path::from("logs")).await.expect("mends"), None);
}

#[tokio::test]
async fn a_torn_newest_commit_is_moved_aside_an_older_one_is_not() {
    let store = memory();
    let (table, _) = open(&store).await;
    for number in 0..3 {
        table.commit(&[file("a", number)], &[], &txn(number as i64), OPERATION_WRITE).await.expect("commits");
    }
    let tear = async |version: u64| {
        let place = Path::from(format!("logs/{}", log::version_name(version)));
        let body = store.get(&place).await.expect("reads").bytes().await.expect("reads");
        let line = memchr::memchr(b'\n', &body).expect("a line") + 1;
        store.put(&place, body.slice(..line).into()).await.expect("puts");
    };
    tear(3).await;
    assert!(mend(&store, &Path::from("logs")).await.expect("mends").is_some());
    assert_eq!(numbers(open(&store).await.1.files), [0, 1]);
    tear(1).await;
    assert_eq!(mend(&store, &Path::from("logs")).await.expect("mends"), None);
    let error = Table::open(store.clone(), Path::from("logs"), clock()).await.expect_err("damaged");
    assert!(error.to_string().contains("00000000000000000001.json is damaged"), "{error}");
}

#[tokio::test]
async fn a_damaged_checkpoint_falls_back_to_the_log() {
    let store = memory();
    let (table, _) = open(&store).await;
    table.commit(&[file("a", 1)], &[], &[], OPERATION_WRITE).await.expect("commits");
    table.checkpoint().await.expect("checkpoints");
    store
        .put(&Path::from(format!("logs/_delta_log/{:020}.checkpoint.parquet", 1)), PutPayload::from_static(b"torn"))
        .await
        .expect("puts");
    assert_eq!(numbers(open(&store).await.1.files), [1]);
}

#[tokio::test]
async fn checkpoints_come_by_themselves() {
    let store = memory();
    let (table, _) = open(&store).await;
    for number in 0..CHECKPOINT_COMMITS as usize {
        table.commit(&[file("a", number)], &[], &[], OPERATION_WRITE).await.expect("commits");
    }
    let hint = Path::from("logs/_delta_log/_last_checkpoint");
    for _ in 0..500 {
        if store.head(&hint).await.is_ok() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("no checkpoint after {CHECKPOINT_COMMITS} commits");
}

#[tokio::test]
async fn old_log_entries_go_after_their_retention() {
    let store = memory();
    let (table, _) = open(&store).await;
    for number in 0..3 {
        table.commit(&[file("a", number)], &[], &[], OPERATION_WRITE).await.expect("commits");
    }
    let exists =
        async |version: u64| store.head(&Path::from(format!("logs/_delta_log/{version:020}.json"))).await.is_ok();
    let clock_at = |days: i64| Clock::manual(Clock::system().now().saturating_add(days * NANOS_PER_DAY));
    let open_at = async |days| Table::open(store.clone(), Path::from("logs"), clock_at(days)).await.expect("opens").0;
    open_at(6).await.checkpoint().await.expect("checkpoints");
    assert!(exists(0).await && exists(2).await, "within the retention");
    open_at(8).await.checkpoint().await.expect("checkpoints");
    assert!(!exists(0).await && !exists(2).await && exists(3).await, "the checkpoint of version 3 replaces them");
    assert_eq!(numbers(open(&store).await.1.files), [0, 1, 2]);
}

#[tokio::test]
async fn newer_protocols_and_gaps_are_refused() {
    let check = async |name: &str, body: &'static str, wanted: &str| {
        let store = memory();
        open(&store).await;
        let path = Path::from(format!("logs/_delta_log/{name}.json"));
        store.put_opts(&path, PutPayload::from_static(body.as_bytes()), PutOptions::default()).await.expect("puts");
        let error = Table::open(store, Path::from("logs"), clock()).await.expect_err(name);
        assert!(error.to_string().contains(wanted), "{error}");
    };
    let newer = r#"{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors"]}}"#;
    check("00000000000000000001", newer, "needs Delta reader 3 and writer 7").await;
    check("00000000000000000002", "", "it is missing").await;
    check("00000000000000000001", "{\"add\":", "line 1").await;
    check("00000000000000000001", "\n", "it is empty").await;
    let outside = r#"{"add":{"path":"../x.parquet","partitionValues":{"tenant":"a","date":"2026-01-15"},"size":1,"modificationTime":1,"dataChange":true,"stats":"{}"}}"#;
    check("00000000000000000001", outside, "does not stay inside").await;
}

/// The store says no, though the object landed: the commit is known as ours by its id.
#[tokio::test]
async fn an_older_format_is_upgraded_once() {
    let store = memory();
    open(&store).await;
    let first = Path::from(format!("logs/_delta_log/{:020}.json", 0));
    let created = store.get(&first).await.expect("there").bytes().await.expect("bytes");
    let created = String::from_utf8(created.to_vec()).expect("JSON lines");
    let line = r#"\"name\":\"line\",\"type\":\"string\",\"nullable\":"#;
    // As it was written before commits had a checksum.
    let sum = created.find(r#","millraceCrc32""#).expect("a checksum");
    let created = created.replacen(&created[sum..sum + r#","millraceCrc32":"00000000""#.len()], "", 1);
    let older = created
        .replace(r#""millrace.format":"4""#, r#""millrace.format":"1""#)
        .replace(&format!("{line}true"), &format!("{line}false"));
    assert_ne!(older.len(), created.len());
    store.put(&first, older.into()).await.expect("put");

    let (table, state) = open(&store).await;
    assert_eq!(state.version, 1);
    let upgrade = store.get(&Path::from(format!("logs/_delta_log/{:020}.json", 1))).await.expect("an upgrade");
    let upgrade = String::from_utf8(upgrade.bytes().await.expect("bytes").to_vec()).expect("JSON lines");
    assert!(upgrade.contains(r#""millrace.format":"4""#) && upgrade.contains(&format!("{line}true")), "{upgrade}");
    assert_eq!(table.commit(&[file("a", 1)], &[], &[], OPERATION_WRITE).await.expect("commits"), 2);
    table.checkpoint().await.expect("checkpoint");
    let (_, state) = open(&store).await;
    assert_eq!((state.version, state.files.len()), (2, 1));
}

#[tokio::test]
async fn a_commit_that_landed_unheard_is_ours() {
    let store = memory();
    let (table, _) = open(&store).await;
    let info = CommitInfo::new(clock().now(), OPERATION_WRITE, true, "the-id");
    let body = actions::encode_commit(&info, &[file("a", 1)], &[], &[], clock().now());
    let first = table.log.put_version(1, body.clone(), "the-id").await.expect("puts");
    let second = table.log.put_version(1, body.clone(), "the-id").await.expect("puts");
    let other = table.log.put_version(1, body, "another-id").await.expect("puts");
    assert!(matches!((first, second, other), (Landed::Ours, Landed::Ours, Landed::Others(_))));
}

#[test]
fn names_come_back() {
    let check = |tenant: &str, day: i32, wanted: &str| {
        let tenant = TenantId::parse(tenant).expect("a tenant");
        let path = DataFile::path_for(&tenant, day, "x");
        assert_eq!(path, wanted);
        assert_eq!(data_file::from_uri(&data_file::to_uri(&path)).as_deref(), Some(wanted));
        assert_eq!(data_file::day_of(&data_file::date_text(day)), Some(day));
    };
    check("fake", 20_468, "tenant=fake/date=2026-01-15/part-x.parquet");
    check("a*b'c", 0, "tenant=a%2Ab%27c/date=1970-01-01/part-x.parquet");
    check("(a)!.-_", -1, "tenant=(a)!.-_/date=1969-12-31/part-x.parquet");
}
