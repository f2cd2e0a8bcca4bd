//! Decides which files of a partition become one: pure.
//!
//! ```text
//! a day that still grows    8 files of like size ─▶ 1        each row is rewritten a logarithmic number of times
//! a day that has settled    all that is small    ─▶ files of the target size, squeezed
//! ```
//!
//! Invariant: a group never holds files on both sides of a barrier, so that a delete that was asked for between two
//! files can still tell their rows apart.

use std::sync::Arc;

use super::DataFile;
use crate::types::ids::IngestSeq;
use crate::types::time::UnixNanos;

/// Files read at once by one merge: bounds its memory.
pub const INPUTS_MAX: usize = 64;
/// Sizes within this factor are alike.
const TIER_FACTOR: u64 = 4;
/// Files below this are all alike, bytes.
const TIER_BYTES_MIN: u64 = 256 << 10;
/// A settled day whose small files would make a large one be rewritten for little waits this much longer.
const PATIENCE_FACTOR: i64 = 24;

/// What is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompactionPolicy {
    /// Stored bytes of a file that is left alone.
    pub target_bytes: u64,
    /// Files of like size that are worth a merge.
    pub files_min: usize,
    /// A partition that got no rows for this long has settled, nanoseconds.
    pub settled_after_ns: i64,
}

/// A file that rests is written anew to squeeze it only if it has as many bytes.
const SQUEEZE_BYTES_MIN: u64 = 1 << 20;

/// Files that should become one, or a few of the target size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub files: Vec<Arc<DataFile>>,
    /// Whether the result is to rest: its lines are worth more effort.
    pub squeeze: bool,
}

/// The merges that a partition needs now, most files first. `barriers` are the ceilings of deletes that are not done.
pub fn plan(files: &[Arc<DataFile>], policy: &CompactionPolicy, barriers: &[IngestSeq], now: UnixNanos) -> Vec<Group> {
    let newest = files.iter().map(|file| file.seq).max().unwrap_or_default();
    let quiet_ns = now.0.saturating_sub(i64::try_from(newest.0).unwrap_or(i64::MAX));
    let small = files.iter().filter(|file| is_small(file, policy));
    let mut by_epoch: std::collections::BTreeMap<usize, Vec<Arc<DataFile>>> = std::collections::BTreeMap::new();
    for file in small {
        let epoch = barriers.iter().filter(|barrier| **barrier < file.seq).count();
        by_epoch.entry(epoch).or_default().push(file.clone());
    }
    let mut groups = Vec::new();
    let has_settled = quiet_ns >= policy.settled_after_ns;
    for mut epoch in by_epoch.into_values() {
        epoch.sort_by(|a, b| (a.ts_min, a.seq, &a.path).cmp(&(b.ts_min, b.seq, &b.path)));
        if has_settled {
            let patient = quiet_ns / PATIENCE_FACTOR >= policy.settled_after_ns;
            let (several, single): (Vec<_>, Vec<_>) = cut(epoch, policy).into_iter().partition(|cut| cut.len() > 1);
            groups.extend(several.into_iter().filter(|files| pays(files, policy, patient)));
            groups.extend(single.into_iter().filter(|files| is_worth_squeezing(&files[0])));
        } else {
            let mut tiers: std::collections::BTreeMap<u32, Vec<Arc<DataFile>>> = std::collections::BTreeMap::new();
            for file in epoch {
                tiers.entry(tier(file.bytes)).or_default().push(file);
            }
            let full = tiers.into_values().flat_map(|tier| cut(tier, policy)).filter(|files| files.len() > 1);
            groups
                .extend(full.filter(|files| files.len() >= policy.files_min || bytes_of(files) >= policy.target_bytes));
        }
    }
    if has_settled {
        let large = files.iter().filter(|file| !is_small(file, policy) && is_worth_squeezing(file));
        groups.extend(large.map(|file| vec![file.clone()]));
    }
    groups.sort_by_key(|files| std::cmp::Reverse(files.len()));
    let group = |files: Vec<Arc<DataFile>>| {
        let squeeze = has_settled || bytes_of(&files) >= enough(policy);
        Group { files, squeeze }
    };
    groups.into_iter().map(group).collect()
}

/// Whether a file should still grow.
pub fn is_small(file: &DataFile, policy: &CompactionPolicy) -> bool {
    file.bytes < enough(policy)
}

/// Bytes of a file that needs no company any more.
fn enough(policy: &CompactionPolicy) -> u64 {
    policy.target_bytes / 4 * 3
}

fn is_worth_squeezing(file: &DataFile) -> bool {
    !file.squeezed && file.bytes >= SQUEEZE_BYTES_MIN
}

/// Neighbours in time, together about the target size.
fn cut(files: Vec<Arc<DataFile>>, policy: &CompactionPolicy) -> Vec<Vec<Arc<DataFile>>> {
    let mut groups: Vec<Vec<Arc<DataFile>>> = Vec::new();
    for file in files {
        match groups.last_mut() {
            Some(group) if group.len() < INPUTS_MAX && bytes_of(group) + file.bytes <= policy.target_bytes => {
                group.push(file);
            }
            _ => groups.push(vec![file]),
        }
    }
    groups
}

/// Whether a merge is worth the bytes it rewrites.
fn pays(group: &[Arc<DataFile>], policy: &CompactionPolicy, patient: bool) -> bool {
    let largest = group.iter().map(|file| file.bytes).max().unwrap_or(0);
    patient || group.len() >= policy.files_min || bytes_of(group) >= largest / 2 * 3
}

fn tier(bytes: u64) -> u32 {
    (bytes / TIER_BYTES_MIN).checked_ilog(TIER_FACTOR).map_or(0, |tier| tier + 1)
}

fn bytes_of(group: &[Arc<DataFile>]) -> u64 {
    group.iter().map(|file| file.bytes).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ids::TenantId;

    const HOUR_NS: i64 = 3_600_000_000_000;

    fn file(number: u64, bytes: u64) -> Arc<DataFile> {
        let mut file = DataFile::new(TenantId::single(), 0, format!("{number}"), IngestSeq(number));
        (file.bytes, file.ts_min, file.ts_max) = (bytes, UnixNanos(number as i64), UnixNanos(number as i64));
        file.squeezed = true;
        Arc::new(file)
    }

    fn policy() -> CompactionPolicy {
        CompactionPolicy { target_bytes: 128 << 20, files_min: 4, settled_after_ns: HOUR_NS }
    }

    /// Sizes in KB; answers the groups as numbers of files.
    fn check(sizes: &[u64], quiet_hours: i64, barriers: &[u64], expected: &[&[u64]]) {
        let files: Vec<_> = sizes.iter().enumerate().map(|(at, kb)| file(at as u64 + 1, kb << 10)).collect();
        let barriers: Vec<_> = barriers.iter().map(|seq| IngestSeq(*seq)).collect();
        let now = UnixNanos(sizes.len() as i64 + quiet_hours * HOUR_NS);
        let groups = plan(&files, &policy(), &barriers, now);
        let numbers: Vec<Vec<u64>> =
            groups.iter().map(|group| group.files.iter().map(|file| file.seq.0).collect()).collect();
        assert_eq!(numbers, expected, "{sizes:?} after {quiet_hours} h");
    }

    #[test]
    fn a_growing_day_merges_files_of_like_size() {
        check(&[10, 10, 10], 0, &[], &[]);
        check(&[10, 10, 10, 10], 0, &[], &[&[1, 2, 3, 4]]);
        check(&[10, 10, 10, 9_000, 10], 0, &[], &[&[1, 2, 3, 5]]);
        check(&[2_000, 10, 2_100, 10, 2_200, 2_300, 10], 0, &[], &[&[1, 3, 5, 6]]);
        // Two that fill a file together need no company.
        check(&[70_000, 65_000], 0, &[], &[]);
        check(&[66_000, 65_000], 0, &[], &[]);
        check(&[100_000, 100_000, 100_000, 100_000], 0, &[], &[]);
    }

    #[test]
    fn a_settled_day_has_few_files() {
        check(&[10, 5_000, 10, 300], 2, &[], &[&[1, 2, 3, 4]]);
        check(&[70_000, 60_000, 60_000, 2], 2, &[], &[&[1, 2]]);
        check(&[70_000, 60_000, 60_000, 2], 30, &[], &[&[1, 2], &[3, 4]]);
        check(&[100_000, 10], 2, &[], &[]);
        // Little beside much waits a day.
        check(&[90_000, 10], 2, &[], &[]);
        check(&[90_000, 10], 30, &[], &[&[1, 2]]);
        check(&[10], 30, &[], &[]);
    }

    #[test]
    fn what_rests_is_squeezed_once() {
        let check = |files: &[(u64, bool)], quiet_hours: i64, expected: &[(&[u64], bool)]| {
            let with = |(at, (mb, squeezed)): (usize, &(u64, bool))| {
                let mut file = (*file(at as u64 + 1, mb << 20)).clone();
                file.squeezed = *squeezed;
                Arc::new(file)
            };
            let files: Vec<_> = files.iter().enumerate().map(with).collect();
            let groups = plan(&files, &policy(), &[], UnixNanos(files.len() as i64 + quiet_hours * HOUR_NS));
            let found: Vec<(Vec<u64>, bool)> = groups
                .iter()
                .map(|group| (group.files.iter().map(|file| file.seq.0).collect(), group.squeeze))
                .collect();
            let expected: Vec<(Vec<u64>, bool)> = expected.iter().map(|(files, s)| (files.to_vec(), *s)).collect();
            assert_eq!(found, expected, "{files:?} after {quiet_hours} h");
        };
        check(&[(90, false), (120, false)], 0, &[]);
        check(&[(90, false), (120, false), (120, true)], 2, &[(&[1], true), (&[2], true)]);
        check(&[(90, true), (0, false)], 2, &[]);
        check(&[(1, false), (1, false), (1, false), (1, true)], 0, &[(&[1, 2, 3, 4], false)]);
        check(&[(25, false), (25, false), (25, false), (25, false)], 0, &[(&[1, 2, 3, 4], true)]);
        check(&[(1, false), (1, true)], 2, &[(&[1, 2], true)]);
    }

    #[test]
    fn barriers_are_not_crossed() {
        check(&[10, 10, 10, 10], 2, &[2], &[&[1, 2], &[3, 4]]);
        check(&[10, 10, 10, 10], 2, &[1, 3], &[&[2, 3]]);
        check(&[10, 10, 10, 10], 2, &[4], &[&[1, 2, 3, 4]]);
    }

    #[test]
    fn ten_thousand_flushes_end_in_a_handful() {
        let mut files: Vec<_> = (1..=10_000).map(|number| file(number, 40 << 10)).collect();
        let mut merges = 0;
        loop {
            let groups = plan(&files, &policy(), &[], UnixNanos(HOUR_NS * 2));
            let Some(group) = groups.first().map(|group| &group.files) else { break };
            assert!(group.len() <= INPUTS_MAX);
            let bytes = group.iter().map(|file| file.bytes).sum();
            let seq = group.iter().map(|file| file.seq.0).max().unwrap_or_default();
            files.retain(|file| !group.iter().any(|gone| Arc::ptr_eq(gone, file)));
            files.push(file(seq, bytes));
            merges += 1;
        }
        assert!(files.len() <= 5, "{} files after {merges} merges", files.len());
        assert!(merges < 200, "{merges}");
    }
}
