//! Samples in files: which files there are, and what queries read of them.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, Int64Type};
use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectStore, path::Path};
use parking_lot::RwLock;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::RowSelection;
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;

use super::file::{TS_NS_COLUMN, VALUE_COLUMN};
use super::index::{FileSeries, SeriesIndexes};
use crate::files::FilesError;
use crate::files::table::DataFile;
use crate::promql::{Matcher, RawSeries};
use crate::types::ids::TenantId;
use crate::types::labels::Labels;
use crate::types::time::NANOS_PER_MILLI;

/// Files read at once for one selector.
const FILES_AT_ONCE: usize = 8;
/// Rows decoded at a time.
const BATCH_ROWS: usize = 8_192;

/// Why samples of files could not be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("more than {samples_max} samples")]
    TooMany { samples_max: usize },
    #[error(transparent)]
    Files(#[from] FilesError),
}

/// The files of all tenants, in the order in which they were committed.
#[derive(Debug)]
pub(super) struct History {
    indexes: SeriesIndexes,
    files: RwLock<Arc<Vec<DataFile>>>,
}

impl History {
    pub(super) fn new(store: Arc<dyn ObjectStore>, root: Path, index_bytes_max: u64, files: Vec<DataFile>) -> Self {
        let history = History { indexes: SeriesIndexes::new(store, root, index_bytes_max), files: RwLock::default() };
        history.change(files, &[]);
        history
    }

    pub(super) fn files(&self) -> Arc<Vec<DataFile>> {
        self.files.read().clone()
    }

    /// What a commit did.
    pub(super) fn change(&self, added: Vec<DataFile>, removed: &[DataFile]) {
        let mut files = self.files.write();
        let stays = |file: &&DataFile| !removed.iter().any(|gone| gone.path == file.path);
        let mut next: Vec<DataFile> = files.iter().filter(stays).cloned().chain(added).collect();
        next.sort_by(|a, b| a.seq.cmp(&b.seq).then_with(|| a.path.cmp(&b.path)));
        *files = Arc::new(next);
    }

    pub(super) fn index_bytes(&self) -> u64 {
        self.indexes.bytes()
    }

    /// Series that match with their samples between two times, both inside: one list a file, older files first.
    pub(super) async fn select(
        &self,
        tenant: &TenantId,
        matchers: &[Matcher],
        start_ms: i64,
        end_ms: i64,
        samples_max: usize,
    ) -> Result<Vec<Vec<RawSeries>>, ReadError> {
        let reads = self.overlapping(tenant, start_ms, end_ms).into_iter().map(|file| async move {
            let index = self.indexes.of(&file).await?;
            let wanted: Vec<&FileSeries> = index
                .series
                .iter()
                .filter(|one| one.min_ms <= end_ms && start_ms <= one.max_ms)
                .filter(|one| matchers.iter().all(|matcher| matcher.matches(&one.labels)))
                .collect();
            let rows: usize = wanted.iter().map(|one| one.rows.len()).sum();
            if rows > samples_max {
                return Err(ReadError::TooMany { samples_max });
            }
            self.read(&file, &index.parquet, &wanted, start_ms, end_ms).await
        });
        let mut found = Vec::new();
        let mut samples = 0;
        let mut reading = futures::stream::iter(reads).buffered(FILES_AT_ONCE);
        while let Some(series) = reading.try_next().await? {
            samples += series.iter().map(|one| one.times.len()).sum::<usize>();
            if samples > samples_max {
                return Err(ReadError::TooMany { samples_max });
            }
            found.push(series);
        }
        Ok(found)
    }

    /// Labels of series that match and may have a sample between two times.
    pub(super) async fn series(
        &self,
        tenant: &TenantId,
        matchers: &[Matcher],
        start_ms: i64,
        end_ms: i64,
    ) -> Result<Vec<Labels>, FilesError> {
        let mut found = Vec::new();
        for file in self.overlapping(tenant, start_ms, end_ms) {
            let index = self.indexes.of(&file).await?;
            let within = index.series.iter().filter(|one| one.min_ms <= end_ms && start_ms <= one.max_ms);
            let matching = within.filter(|one| matchers.iter().all(|matcher| matcher.matches(&one.labels)));
            found.extend(matching.map(|one| one.labels.clone()));
        }
        Ok(found)
    }

    /// All samples of a file.
    pub(super) async fn read_all(&self, file: &DataFile) -> Result<Vec<RawSeries>, ReadError> {
        let index = self.indexes.of(file).await?;
        let wanted: Vec<&FileSeries> = index.series.iter().collect();
        self.read(file, &index.parquet, &wanted, i64::MIN, i64::MAX).await
    }

    fn overlapping(&self, tenant: &TenantId, start_ms: i64, end_ms: i64) -> Vec<DataFile> {
        let within = |file: &&DataFile| {
            let (min, max) = (file.ts_min.0.div_euclid(NANOS_PER_MILLI), file.ts_max.0.div_euclid(NANOS_PER_MILLI));
            file.tenant == *tenant && min <= end_ms && start_ms <= max
        };
        self.files().iter().filter(within).cloned().collect()
    }

    async fn read(
        &self,
        file: &DataFile,
        parquet: &parquet::arrow::arrow_reader::ArrowReaderMetadata,
        wanted: &[&FileSeries],
        start_ms: i64,
        end_ms: i64,
    ) -> Result<Vec<RawSeries>, ReadError> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let at_fault = |source| FilesError::Parquet { path: file.path.clone(), source };
        let schema = parquet.metadata().file_metadata().schema_descr();
        let mask = ProjectionMask::roots(schema, [TS_NS_COLUMN, VALUE_COLUMN]);
        let ranges = wanted.iter().map(|one| one.rows.clone());
        let selection = RowSelection::from_consecutive_ranges(ranges, file.rows as usize);
        let mut batches =
            ParquetRecordBatchStreamBuilder::new_with_metadata(self.indexes.reader(file), parquet.clone())
                .with_projection(mask)
                .with_row_selection(selection)
                .with_batch_size(BATCH_ROWS)
                .build()
                .map_err(at_fault)?;
        let mut found: Vec<RawSeries> = Vec::with_capacity(wanted.len());
        let mut left = wanted.iter();
        let mut rows_left = 0;
        while let Some(batch) = batches.next().await {
            let batch = batch.map_err(at_fault)?;
            let times = batch.column(0).as_primitive::<Int64Type>().values();
            let values = batch.column(1).as_primitive::<Float64Type>().values();
            for (time, value) in times.iter().zip(values) {
                while rows_left == 0 {
                    let Some(one) = left.next() else { return Ok(found) };
                    rows_left = one.rows.len();
                    found.push(RawSeries { labels: one.labels.clone(), times: Vec::new(), values: Vec::new() });
                }
                rows_left -= 1;
                let time_ms = time.div_euclid(NANOS_PER_MILLI);
                if let Some(series) = found.last_mut()
                    && start_ms <= time_ms
                    && time_ms <= end_ms
                {
                    series.times.push(time_ms);
                    series.values.push(*value);
                }
            }
        }
        Ok(found)
    }
}

/// Joins lists of series: of two samples at one time that of the later list stays. Sorted by labels.
pub(super) fn joined(lists: Vec<Vec<RawSeries>>) -> Vec<RawSeries> {
    let mut place: HashMap<Labels, usize> = HashMap::new();
    let mut all: Vec<(RawSeries, bool)> = Vec::new();
    for series in lists.into_iter().flatten().filter(|series| !series.times.is_empty()) {
        let Some(at) = place.get(&series.labels) else {
            place.insert(series.labels.clone(), all.len());
            all.push((series, true));
            continue;
        };
        let (known, is_sorted) = &mut all[*at];
        *is_sorted &= known.times.last() < series.times.first();
        known.times.extend(series.times);
        known.values.extend(series.values);
    }
    let in_order = |(mut series, is_sorted): (RawSeries, bool)| {
        if !is_sorted {
            let mut points = series.times.iter().copied().zip(series.values.iter().copied()).collect();
            super::file::latest_of_each_time(&mut points);
            (series.times, series.values) = points.into_iter().unzip();
        }
        series
    };
    let mut joined: Vec<RawSeries> = all.into_iter().map(in_order).collect();
    joined.sort_by(|a, b| a.labels.cmp(&b.labels));
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_lists_win() {
        let series = |job: &str, points: &[(i64, f64)]| {
            let (times, values) = points.iter().copied().unzip();
            RawSeries { labels: Labels::from_pairs([("job", job)]), times, values }
        };
        let lists = vec![
            vec![series("b", &[(1, 1.0), (3, 3.0)]), series("a", &[(1, 1.0)])],
            vec![series("b", &[(2, 2.0), (3, 30.0)]), series("c", &[])],
            vec![series("a", &[(2, 2.0)])],
        ];
        let expected = [series("a", &[(1, 1.0), (2, 2.0)]), series("b", &[(1, 1.0), (2, 2.0), (3, 30.0)])];
        assert_eq!(joined(lists), expected);
    }
}
