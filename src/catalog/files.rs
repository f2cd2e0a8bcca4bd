//! The live files by tenant and day, and those that are gone but may still be read.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::FileTotals;
use crate::files::DataFile;
use crate::types::ids::TenantId;
use crate::types::time::{TimeRange, UnixNanos};

/// The files of one tenant and one UTC day.
#[derive(Debug, Clone)]
pub struct Partition {
    pub tenant: TenantId,
    pub day: i32,
    pub files: Vec<Arc<DataFile>>,
}

/// A file that no query finds any more. Its bytes stay until nobody reads them.
#[derive(Debug, Clone)]
pub struct Retired {
    pub file: Arc<DataFile>,
    pub since: UnixNanos,
}

/// All files of the table.
#[derive(Debug, Default)]
pub(super) struct FileSet {
    tenants: HashMap<TenantId, BTreeMap<i32, Vec<Arc<DataFile>>>>,
    totals: FileTotals,
    retired: Vec<Retired>,
}

impl FileSet {
    /// Files as a table has them: each once.
    pub(super) fn of_table(files: Vec<DataFile>) -> Self {
        let mut set = FileSet::default();
        for file in files {
            set.insert(file);
        }
        set
    }

    pub(super) fn totals(&self) -> FileTotals {
        self.totals
    }

    /// Adds files; one that is there already is there once.
    pub(super) fn add(&mut self, files: Vec<DataFile>) {
        for file in files {
            let of_day = self.of_day(&file.tenant, file.day);
            if !of_day.iter().any(|known| known.path == file.path) {
                self.insert(file);
            }
        }
    }

    fn insert(&mut self, file: DataFile) {
        self.totals.files += 1;
        self.totals.rows += file.rows;
        self.totals.bytes += file.bytes;
        let days = match self.tenants.get_mut(&file.tenant) {
            Some(days) => days,
            None => self.tenants.entry(file.tenant.clone()).or_default(),
        };
        days.entry(file.day).or_default().push(Arc::new(file));
    }

    /// Retires files by path; those that are not there are passed over. Answers what was there.
    pub(super) fn remove_paths(&mut self, paths: &[String], now: UnixNanos) -> Vec<Arc<DataFile>> {
        if paths.is_empty() {
            return Vec::new();
        }
        let gone: HashSet<&str> = paths.iter().map(String::as_str).collect();
        let live = self.tenants.values().flat_map(BTreeMap::values).flatten();
        let found: Vec<_> = live.filter(|file| gone.contains(file.path.as_str())).cloned().collect();
        self.remove(&found, now);
        found
    }

    /// Retires files.
    pub(super) fn remove(&mut self, files: &[Arc<DataFile>], now: UnixNanos) {
        let mut partitions: HashMap<(&TenantId, i32), HashSet<&str>> = HashMap::new();
        for file in files {
            partitions.entry((&file.tenant, file.day)).or_default().insert(&file.path);
        }
        for ((tenant, day), gone) in partitions {
            let Some(days) = self.tenants.get_mut(tenant) else { continue };
            let Some(of_day) = days.get_mut(&day) else { continue };
            of_day.retain(|file| {
                let stays = !gone.contains(file.path.as_str());
                if !stays {
                    self.totals.files -= 1;
                    self.totals.rows -= file.rows;
                    self.totals.bytes -= file.bytes;
                    self.retired.push(Retired { file: file.clone(), since: now });
                }
                stays
            });
            if of_day.is_empty() {
                days.remove(&day);
            }
        }
    }

    pub(super) fn of_day(&self, tenant: &TenantId, day: i32) -> &[Arc<DataFile>] {
        self.tenants.get(tenant).and_then(|days| days.get(&day)).map_or(&[], Vec::as_slice)
    }

    pub(super) fn overlapping(&self, tenant: &TenantId, range: TimeRange) -> Vec<Arc<DataFile>> {
        let Some(days) = self.tenants.get(tenant).filter(|_| !range.is_empty()) else { return Vec::new() };
        let last = UnixNanos(range.end.0.saturating_sub(1)).day();
        let of_days = days.range(range.start.day()..=last).flat_map(|(_, files)| files);
        of_days.filter(|file| range.overlaps_closed(file.ts_min, file.ts_max)).cloned().collect()
    }

    pub(super) fn partitions(&self) -> Vec<Partition> {
        let of_tenant = |(tenant, days): (&TenantId, &BTreeMap<i32, Vec<Arc<DataFile>>>)| {
            let tenant = tenant.clone();
            let of_day = |(day, files): (&i32, &Vec<Arc<DataFile>>)| (*day, files.clone());
            let days: Vec<_> = days.iter().map(of_day).collect();
            days.into_iter().map(move |(day, files)| Partition { tenant: tenant.clone(), day, files })
        };
        let mut partitions: Vec<_> = self.tenants.iter().flat_map(of_tenant).collect();
        partitions.sort_by(|a, b| (&a.tenant, a.day).cmp(&(&b.tenant, b.day)));
        partitions
    }

    /// Takes out the files retired at or before `until` that nobody reads any more.
    pub(super) fn take_unread(&mut self, until: UnixNanos) -> Vec<Retired> {
        // The only other holder of a retired file is a snapshot: the set let go of it.
        let is_unread = |retired: &mut Retired| retired.since <= until && Arc::strong_count(&retired.file) == 1;
        self.retired.extract_if(.., is_unread).collect()
    }

    pub(super) fn retired(&self) -> &[Retired] {
        &self.retired
    }

    /// Puts back what could not be deleted.
    pub(super) fn retire(&mut self, retired: Vec<Retired>) {
        self.retired.extend(retired);
    }
}
