//! Reads the units of a partition: skips what cannot matter, reads the rest, keeps the rows that do.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{AsArray, BooleanArray, BooleanBufferBuilder, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Int64Type, UInt32Type};
use datafusion::common::Result as DfResult;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use super::{HEAD_UNIT_ROWS, RowGroup, ScanCounters, ScanRequest, ScanUnit, UnitPlace, external};
use crate::catalog::Hide;
use crate::files::FileIndexes;
use crate::files::read::{Wanted, read};
use crate::files::select::Selected;
use crate::files::skip::{stretches_with, values_are_texts};
use crate::head::HeadPart;
use crate::query::hiding::{project, widened, without_hidden};
use crate::query::operators::known::each_kept;
use crate::query::operators::rows::RowRunner;
use crate::query::pushdown::Prefilter;
use crate::query::redact::shown;
use crate::types::rows::{LINE, Lines, RowProjection, Rows};
use crate::types::time::TimeRange;

/// Rows of one batch: small enough to stay in the cache, large enough to amortise a call.
const BATCH_ROWS: usize = 8_192;
/// The same for lines with few members, of which many are equal.
const NARROW_BATCH_ROWS: usize = 131_072;

/// What every unit of a partition needs while it is read.
#[derive(Debug, Clone)]
pub(super) struct UnitReader {
    pub(super) request: ScanRequest,
    pub(super) indexes: FileIndexes,
    pub(super) counters: Arc<ScanCounters>,
}

impl UnitReader {
    /// Rows of one unit. What is still of use of it is decided when it is first polled.
    pub(super) fn read(self, unit: ScanUnit) -> BoxStream<'static, DfResult<RecordBatch>> {
        stream::once(async move {
            let Some(ScanUnit { part, place, hides }) = self.of_use(unit).await? else {
                return Ok(stream::empty().boxed());
            };
            match place {
                UnitPlace::Head(head) => self.read_head(&head, part, hides),
                UnitPlace::RowGroup(group) => self.read_rows(group, part, hides).await,
            }
        })
        .try_flatten()
        .boxed()
    }

    /// A unit without the rows that cannot be wanted, as things stand; none where there are no others.
    pub(super) async fn of_use(&self, mut unit: ScanUnit) -> DfResult<Option<ScanUnit>> {
        let (min, max) = unit.bounds();
        let beyond = self.request.bound.as_ref().is_some_and(|bound| bound.excludes_all(min, max));
        let UnitPlace::RowGroup(group) = &mut unit.place else { return Ok((!beyond).then_some(unit)) };
        let sought = &self.request.pushdown.sought;
        if !beyond && !sought.is_empty() {
            let row_group = group.selected.row_group;
            let stretches = stretches_with(&self.indexes, &group.file, &group.index, row_group, sought).await;
            group.selected = group.selected.clone().within(stretches.map_err(external)?);
        }
        let of_use = !beyond && !group.selected.is_empty();
        let counter = if of_use { &self.counters.row_groups_read } else { &self.counters.row_groups_skipped };
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(of_use.then_some(unit))
    }

    pub(super) fn read_head(
        self,
        head: &HeadPart,
        part: usize,
        hides: Vec<Arc<Hide>>,
    ) -> DfResult<BoxStream<'static, DfResult<RecordBatch>>> {
        let rows = project(head.rows(), widened(self.request.projection, &hides))?;
        let starts: Vec<usize> = (0..rows.num_rows()).step_by(HEAD_UNIT_ROWS).collect();
        let slices = starts.into_iter().map(move |start| {
            let length = HEAD_UNIT_ROWS.min(rows.num_rows() - start);
            self.keep_useful(&rows.slice(start, length), part, true, &hides)
        });
        Ok(stream::iter(slices).boxed())
    }

    /// Rows of a row group that the prefilter keeps, whole.
    pub(super) async fn read_rows(
        self,
        group: RowGroup,
        part: usize,
        hides: Vec<Arc<Hide>>,
    ) -> DfResult<BoxStream<'static, DfResult<RecordBatch>>> {
        let selected = match self.prefilter(&group) {
            Some(prefilter) => self.prefiltered(&group, part, prefilter).await?,
            None => group.selected.clone(),
        };
        if selected.is_empty() {
            return Ok(stream::empty().boxed());
        }
        self.read_selected(RowGroup { selected, ..group }, part, hides)
    }

    /// What tells by a few members of the lines of a row group that most of its rows are not wanted.
    pub(super) fn prefilter(&self, group: &RowGroup) -> Option<&Prefilter> {
        let prefilter = self.request.pushdown.prefilter.as_ref().filter(|_| group.is_split())?;
        let by_texts = prefilter.by_texts.as_deref();
        Some(by_texts.filter(|_| values_are_texts(&group.index, group.selected.row_group)).unwrap_or(prefilter))
    }

    /// The selected rows of a row group. The stream holds the file: the vacuum leaves alone what someone reads.
    pub(super) fn read_selected(
        self,
        group: RowGroup,
        part: usize,
        hides: Vec<Arc<Hide>>,
    ) -> DfResult<BoxStream<'static, DfResult<RecordBatch>>> {
        let is_split = group.is_split();
        let RowGroup { file, index, selected } = group;
        let pushdown = self.request.pushdown.clone();
        let columns = widened(self.request.projection, &hides);
        // Hides decide by whole lines.
        let members = pushdown.members.as_ref().filter(|_| is_split && hides.is_empty());
        let batch_rows = if members.is_some() { NARROW_BATCH_ROWS } else { BATCH_ROWS };
        let wanted = Wanted { columns, members, batch_rows };
        let reader = self.indexes.reader(&file);
        let batches = read(file.path.clone(), reader, &index, &selected, wanted).map_err(external)?;
        let rows = batches.map(move |batch| {
            let _held = &file;
            self.keep_useful(&batch.map_err(external)?, part, false, &hides)
        });
        Ok(rows.boxed())
    }

    /// The times of the rows of a row group, in their order.
    pub(super) async fn times(&self, group: &RowGroup) -> DfResult<Vec<i64>> {
        let wanted = Wanted { columns: RowProjection::default(), members: None, batch_rows: NARROW_BATCH_ROWS };
        let (file, reader) = (&group.file, self.indexes.reader(&group.file));
        let mut batches = read(file.path.clone(), reader, &group.index, &group.selected, wanted).map_err(external)?;
        let mut times = Vec::with_capacity(group.selected.rows());
        while let Some(batch) = batches.next().await {
            times.extend_from_slice(batch.map_err(external)?.column(0).as_primitive::<Int64Type>().values());
        }
        Ok(times)
    }

    /// The useful range as it stands now.
    pub(super) fn range(&self) -> TimeRange {
        self.request.bound.as_ref().map_or(self.request.range, |bound| bound.narrow(self.request.range))
    }

    /// The rows that the first stages of the pipeline do not drop, found by a few members of the lines.
    pub(super) async fn prefiltered(&self, group: &RowGroup, part: usize, prefilter: &Prefilter) -> DfResult<Selected> {
        let RowGroup { file, index, selected } = group;
        let of_labels = prefilter.program.pipeline.needs_metadata();
        let columns = RowProjection { line: true, level: of_labels, metadata: of_labels };
        let wanted = Wanted { columns, members: Some(&prefilter.members), batch_rows: NARROW_BATCH_ROWS };
        let reader = self.indexes.reader(file);
        let mut batches = read(file.path.clone(), reader, index, selected, wanted).map_err(external)?;
        let mut runner = RowRunner::new(prefilter.program.clone());
        let mut keep = BooleanBufferBuilder::new(selected.rows());
        while let Some(batch) = batches.next().await {
            tokio::task::yield_now().await;
            let batch = shown(batch.map_err(external)?, &self.request.parts[part])?;
            let before = keep.len();
            keep.append_n(batch.num_rows(), false);
            each_kept(&Rows::of(&batch), &mut runner, |row| keep.set_bit(before + row, true))?;
        }
        let keep = keep.finish();
        let dropped = keep.len() - keep.count_set_bits();
        self.counters.lines.fetch_add(dropped as u64, Ordering::Relaxed);
        Ok(selected.clone().filtered(&keep))
    }

    /// Rows inside the range as it stands now that are not deleted and, for the head, of wanted streams; as the scope
    /// shows them.
    fn keep_useful(
        &self,
        batch: &RecordBatch,
        part: usize,
        check_streams: bool,
        hides: &[Arc<Hide>],
    ) -> DfResult<RecordBatch> {
        let range = self.range();
        let ts = batch.column(0).as_primitive::<Int64Type>().values();
        let streams = batch.column(1).as_primitive::<UInt32Type>().values();
        let chosen = &self.request.parts[part];
        let flags = chosen.streams.as_flags();
        let (start, end) = (range.start.0, range.end.0);
        let in_time = BooleanBuffer::collect_bool(ts.len(), |row| (start <= ts[row]) & (ts[row] < end));
        let keep = if check_streams {
            let wanted = |row: usize| flags.get(streams[row] as usize).copied().unwrap_or(false);
            &in_time & &BooleanBuffer::collect_bool(ts.len(), wanted)
        } else {
            in_time
        };
        let kept_rows = keep.count_set_bits();
        let kept = if kept_rows == batch.num_rows() {
            batch.clone()
        } else {
            filter_record_batch(batch, &BooleanArray::new(keep, None))?
        };
        let kept = without_hidden(kept, hides, self.request.projection)?;
        let kept_rows = kept.num_rows();
        self.counters.lines.fetch_add(kept_rows as u64, Ordering::Relaxed);
        if let Some(lines) = kept.column_by_name(LINE) {
            let lines = Lines::of(lines);
            let bytes: u64 = (0..kept_rows).map(|row| u64::from(lines.bytes(row))).sum();
            self.counters.read_bytes(bytes)?;
        }
        if chosen.masks.is_none() && chosen.offset == 0 {
            return Ok(kept);
        }
        Ok(shown(kept, chosen)?)
    }
}
