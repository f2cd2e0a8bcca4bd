use std::collections::BTreeMap;

use object_store::ObjectStoreExt;

use std::path::PathBuf;

use super::*;
use crate::files::DataFile;
use crate::files::table::{OPERATION_DELETE, OPERATION_WRITE, Table, TableSnapshot};
use crate::store::{Location, Place};
use crate::types::ids::{IngestSeq, TenantId};
use crate::types::time::{Clock, UnixNanos};
use crate::types::txn::{After, TxnStep};

const LOG: &str = "millrace-wal-test";
const DAY_NS: i64 = 86_400_000_000_000;

struct World {
    directory: tempfile::TempDir,
    place: Place,
    table: Table,
    clock: Clock,
    repository: Repository,
    written: u64,
}

fn place(data_dir: PathBuf) -> Place {
    let table_dir = data_dir.join("logs");
    let table = Location::Directory(table_dir.clone()).open(None).expect("opens");
    Place { data_dir, table, sealing: None, table_dir: Some(table_dir) }
}

fn repository(path: PathBuf) -> Repository {
    Repository::new(Location::Directory(path).open(None).expect("opens"), "the test's".to_owned())
}

impl World {
    async fn new() -> World {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let data_dir = directory.path().join("data");
        std::fs::create_dir_all(data_dir.join("wal")).expect("made");
        std::fs::write(data_dir.join("wal/IDENTITY"), LOG).expect("written");
        std::fs::write(data_dir.join("wal/LOCK"), "").expect("written");
        std::fs::create_dir_all(data_dir.join("cache")).expect("made");
        std::fs::write(data_dir.join("cache/x"), "not worth it").expect("written");
        std::fs::create_dir_all(data_dir.join("rules")).expect("made");
        std::fs::write(data_dir.join("rules/state.json"), "{}").expect("written");
        let place = place(data_dir);
        let clock = Clock::manual(UnixNanos(20_000 * DAY_NS));
        let (table, _) =
            Table::open(place.table.store.clone(), place.table.root.clone(), clock.clone()).await.expect("opens");
        let repository = repository(directory.path().join("backups"));
        World { directory, place, table, clock, repository, written: 0 }
    }

    /// Writes a file of the table and the log up to the record it ends with.
    async fn write(&mut self, log_from: u64) -> DataFile {
        self.written += 1;
        let tenant = TenantId::single();
        let path = DataFile::path_for(&tenant, 20_000, &format!("{}", self.written));
        let body = format!("rows {}", self.written);
        let mut file = DataFile::new(tenant, 20_000, path, IngestSeq(1));
        (file.bytes, file.rows) = (body.len() as u64, 1);
        (file.ts_min, file.ts_max) = (UnixNanos(0), UnixNanos(1));
        self.place.table.raw.put(&file.location(&self.place.table.root), body.into()).await.expect("put");
        let step = TxnStep { app_id: LOG.into(), after: After::AnyLower, to: self.written as i64 };
        self.table.commit(std::slice::from_ref(&file), &[], &[step], OPERATION_WRITE).await.expect("commits");
        let wal = self.place.data_dir.join("wal");
        for (_, old) in crate::wal::segments(&wal).expect("lists") {
            std::fs::remove_file(old).expect("removed");
        }
        std::fs::write(wal.join(format!("{log_from:020}.wal")), format!("log from {log_from}")).expect("written");
        file
    }

    async fn create(&self) -> Result<Created, BackupError> {
        let second = UnixNanos(self.clock.now().0 + 1_000_000_000);
        self.clock.set(second);
        create(&self.place, &self.repository, &self.clock, &indicatif::ProgressBar::hidden()).await
    }
}

fn tree(base: &std::path::Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![base.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                let name = path.strip_prefix(base).expect("below").to_string_lossy().into_owned();
                found.insert(name, std::fs::read(&path).expect("readable"));
            }
        }
    }
    found
}

#[tokio::test]
async fn what_is_backed_up_is_restored_and_the_second_is_small() {
    let mut world = World::new().await;
    world.write(1).await;
    let removed = world.write(1).await;
    let first = world.create().await.expect("created");
    assert_eq!((first.manifest.version, first.manifest.rows), (2, 2));
    world.write(2).await;
    world.table.commit(&[], &[removed], &[], OPERATION_DELETE).await.expect("commits");
    let second = world.create().await.expect("created");
    // One file, one segment, the checkpoint and its hint.
    assert_eq!(second.new_files, 4, "{:?}", second.manifest.entries);
    for manifest in [&first.manifest, &second.manifest] {
        let bar = indicatif::ProgressBar::hidden();
        assert_eq!(world.repository.verify(manifest, &bar).await.expect("verified"), []);
        let to = world.directory.path().join(format!("restored-{}", manifest.id));
        let target = place(to.clone());
        restore(&world.repository, manifest, &target, &bar).await.expect("restored");
        let files = tree(&to);
        assert!(files.contains_key("wal/IDENTITY") && files.contains_key("rules/state.json"), "{files:?}");
        assert!(!files.contains_key("wal/LOCK") && !files.contains_key("cache/x") && !files.contains_key(RESTORING));
        let read = TableSnapshot::read(target.table.store.clone(), target.table.root.clone()).await.expect("reads");
        let snapshot = read.expect("a table");
        assert_eq!((snapshot.version(), snapshot.recorded(LOG).is_some()), (manifest.version, true));
        assert_eq!(snapshot.files().count(), 2);
        for file in snapshot.files() {
            assert!(files.contains_key(&format!("logs/{}", file.path)), "{}", file.path);
        }
        let again = restore(&world.repository, manifest, &target, &bar).await;
        assert!(matches!(again, Err(BackupError::NotEmpty { .. })), "{again:?}");
        // A restored table takes commits.
        Table::open(target.table.store.clone(), target.table.root.clone(), Clock::system())
            .await
            .expect("opens")
            .0
            .commit(&[], &[], &[TxnStep { app_id: "x".into(), after: After::AnyLower, to: 1 }], OPERATION_WRITE)
            .await
            .expect("commits");
    }
}

#[tokio::test]
async fn a_log_that_does_not_join_the_table_is_no_backup() {
    let mut world = World::new().await;
    world.write(1).await;
    world.write(4).await;
    let created = world.create().await;
    assert!(matches!(created, Err(BackupError::Moved { .. })), "{created:?}");
    assert!(world.repository.list().await.expect("lists").is_empty());
}

#[tokio::test]
async fn a_file_that_is_gone_is_no_backup() {
    let mut world = World::new().await;
    let file = world.write(1).await;
    world.place.table.raw.delete(&file.location(&world.place.table.root)).await.expect("deleted");
    assert!(matches!(world.create().await, Err(BackupError::Moved { .. })));
}

#[tokio::test]
async fn pruning_keeps_the_newest_and_what_they_need() {
    let mut world = World::new().await;
    for _ in 0..5 {
        world.write(1).await;
        world.create().await.expect("created");
    }
    let (gone, freed) = world.repository.prune(2).await.expect("pruned");
    assert_eq!(gone.len(), 3);
    assert!(freed > 0);
    let left = world.repository.list().await.expect("lists");
    assert_eq!(left.len(), 2);
    for manifest in &left {
        let damage = world.repository.verify(manifest, &indicatif::ProgressBar::hidden()).await.expect("verified");
        assert_eq!(damage, []);
    }
    let (gone, freed) = world.repository.prune(2).await.expect("pruned");
    assert_eq!((gone.len(), freed), (0, 0));
}

#[tokio::test]
async fn damage_is_found_and_named() {
    let mut world = World::new().await;
    let file = world.write(1).await;
    let manifest = world.create().await.expect("created").manifest;
    let entry = manifest.entries.iter().find(|entry| entry.path == file.path).expect("in it");
    let blob = world.directory.path().join(format!("backups/blobs/{}/{}", &entry.sha256[..2], entry.sha256));
    let bar = indicatif::ProgressBar::hidden();
    std::fs::write(&blob, "rows X").expect("written");
    let damage = world.repository.verify(&manifest, &bar).await.expect("verified");
    assert_eq!(damage.iter().map(|damage| &damage.path).collect::<Vec<_>>(), [&file.path]);
    let target = place(world.directory.path().join("restored"));
    let refused = restore(&world.repository, &manifest, &target, &bar).await;
    assert!(matches!(&refused, Err(BackupError::Damaged { path, .. }) if *path == file.path), "{refused:?}");
    // A restore that was cut short goes on once the repository is whole again.
    std::fs::write(&blob, "rows 1").expect("written");
    restore(&world.repository, &manifest, &target, &bar).await.expect("restored");
}

#[tokio::test]
async fn strangers_are_left_alone() {
    let mut world = World::new().await;
    world.write(1).await;
    std::fs::create_dir_all(world.directory.path().join("photos")).expect("made");
    std::fs::write(world.directory.path().join("photos/cat"), "meow").expect("written");
    let photos = repository(world.directory.path().join("photos"));
    let bar = indicatif::ProgressBar::hidden();
    let refused = create(&world.place, &photos, &world.clock, &bar).await;
    assert!(matches!(refused, Err(BackupError::NoRepository { .. })), "{refused:?}");
    world.create().await.expect("created");
    std::fs::write(world.place.data_dir.join("wal/IDENTITY"), "another").expect("written");
    assert!(matches!(world.create().await, Err(BackupError::OtherOrigin { .. })));
}
