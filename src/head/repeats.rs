//! Exact repeats: a client that retries a push it had no answer for must not double its lines.

use std::hash::{BuildHasherDefault, Hasher};

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Int64Type, UInt32Type};
use hashbrown::HashSet;
use xxhash_rust::xxh3::Xxh3;

use crate::streams::Stream;
use crate::types::ids::TenantId;

/// 128 bits over tenant, stream, time, line and metadata: two different rows do not share one in practice.
pub type RowHash = u128;

/// Hashes of the rows of one head.
#[derive(Debug, Default)]
pub(super) struct RowHashes(HashSet<RowHash, BuildHasherDefault<TakeLow>>);

impl RowHashes {
    pub(super) fn extend(&mut self, hashes: &[RowHash]) {
        self.0.extend(hashes.iter().copied());
    }

    pub(super) fn remove(&mut self, hashes: &[RowHash]) {
        hashes.iter().for_each(|hash| {
            self.0.remove(hash);
        });
    }
}

/// The hash of a hash is its low half.
#[derive(Debug, Default)]
pub(super) struct TakeLow(u64);

impl Hasher for TakeLow {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u128(&mut self, value: u128) {
        self.0 = value as u64;
    }
}

/// One hash a row of a `ROW_SCHEMA` batch; `stream` finds the stream behind a ref.
///
/// Source: Loki drops an entry when the stream has one with the same time, line and metadata.
pub fn row_hashes(
    tenant: &TenantId,
    rows: &RecordBatch,
    stream: impl Fn(u32) -> std::sync::Arc<Stream>,
) -> Vec<RowHash> {
    let ts = rows.column(0).as_primitive::<Int64Type>().values();
    let streams = rows.column(1).as_primitive::<UInt32Type>().values();
    let lines = rows.column(3).as_string_view();
    let metadata = rows.column(4).as_map();
    let (keys, values) = (metadata.keys().as_string::<i32>(), metadata.values().as_string::<i32>());
    let offsets = metadata.value_offsets();
    let mut hasher = Xxh3::new();
    let mut of_stream: Option<(u32, u64)> = None;
    let mut hashes = Vec::with_capacity(ts.len());
    for row in 0..ts.len() {
        let stream_hash = match of_stream {
            Some((known, hash)) if known == streams[row] => hash,
            _ => {
                let mut whose = Xxh3::new();
                whose.update(tenant.as_str().as_bytes());
                whose.update(&[0]);
                whose.update(stream(streams[row]).json.as_bytes());
                let hash = whose.digest();
                of_stream = Some((streams[row], hash));
                hash
            }
        };
        hasher.reset();
        hasher.update(&stream_hash.to_le_bytes());
        hasher.update(&ts[row].to_le_bytes());
        if !metadata.is_null(row) {
            for at in offsets[row] as usize..offsets[row + 1] as usize {
                for text in [keys.value(at), values.value(at)] {
                    hasher.update(&(text.len() as u64).to_le_bytes());
                    hasher.update(text.as_bytes());
                }
            }
        }
        hasher.update(b"|");
        hasher.update(lines.value(row).as_bytes());
        hashes.push(hasher.digest128());
    }
    hashes
}

/// The rows not in `seen` nor `before`, first of equals; puts them into `seen`.
pub(super) fn without_repeats(
    rows: RecordBatch,
    hashes: &[RowHash],
    seen: &mut RowHashes,
    before: &RowHashes,
) -> RecordBatch {
    seen.0.reserve(hashes.len());
    let mut repeats: Vec<usize> = Vec::new();
    for (row, hash) in hashes.iter().enumerate() {
        if before.0.contains(hash) || !seen.0.insert(*hash) {
            repeats.push(row);
        }
    }
    if repeats.is_empty() {
        return rows;
    }
    let mut keep = vec![true; hashes.len()];
    for row in repeats {
        keep[row] = false;
    }
    filter_record_batch(&rows, &BooleanArray::from(keep)).expect("one flag a row")
}
