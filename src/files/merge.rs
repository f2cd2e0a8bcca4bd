//! Several files of one tenant and day become one, sorted, with the memory of a few batches.
//!
//! ```text
//! file a ─ batches ─▶ cursor ┐
//! file b ─ batches ─▶ cursor ┼─▶ stream by stream, row by row of time ─▶ keep? ─▶ RowFileWriter ─▶ upload in parts
//! file c ─ batches ─▶ cursor ┘        runs that do not overlap are copied whole
//! ```
//!
//! Invariants: the rows of the inputs that `keep` keeps, each once, in the order of the file format; rows of one stream
//! with equal times keep the order of the inputs. What is written counts only once a commit names it.
//! Memory: for each input one row group as stored and one batch; one row group encoded; `PARTS_IN_FLIGHT` parts.
//! CPU-bound: run it on a thread of its own.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{filter_record_batch, interleave_record_batch};
use arrow::datatypes::{Int64Type, UInt32Type};
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::{ObjectStore, ObjectStoreExt, WriteMultipart, path::Path};

use super::fields::{FieldColumns, LineLayout};
use super::index::FileIndexes;
use super::pattern_merge::{Inherited, merged};
use super::read::read_all;
use super::row_file::{Effort, RowFileWriter};
use super::write::rank_streams;
use super::{DataFile, FileIndex, FilesError};
use crate::failpoint;
use crate::streams::{Stream, StreamRef, TenantStreams};
use crate::types::rows::ROW_SCHEMA;
use crate::types::time::UnixNanos;

/// Rows written at once, and rows of all inputs' batches together: with lines of 300 bytes about 80 MB.
const CHUNK_ROWS: usize = 8_192;
const BATCH_ROWS_ALL: usize = 262_144;
const BATCH_ROWS_MIN: usize = 256;
/// Slices at least this long are written as they are; shorter ones are gathered first.
const SLICE_ROWS_WHOLE: usize = 2_048;
/// An output that stays below is put at once; a larger one goes up in parts of this.
const PART_BYTES: usize = 8 << 20;
/// Parts on their way to the store while the next is encoded.
const PARTS_IN_FLIGHT: usize = 2;

/// What a merge is to do.
pub struct MergeRequest<'a> {
    /// Of one tenant and one day.
    pub inputs: &'a [Arc<DataFile>],
    pub effort: Effort,
    pub layout: LineLayout,
    /// Stored bytes after which a further output is begun.
    pub output_bytes_max: u64,
}

impl MergeRequest<'_> {
    fn fits_one_file(&self) -> bool {
        self.inputs.iter().map(|file| file.bytes).sum::<u64>() <= self.output_bytes_max
    }
}

/// What a merge did.
#[derive(Debug, Default)]
pub struct Merged {
    pub files: Vec<DataFile>,
    pub rows_read: u64,
    pub rows_written: u64,
    /// Bytes of lines read.
    pub line_bytes_read: u64,
}

/// Decides which rows of a `ROW_SCHEMA` batch stay; `None` means all of it.
pub type Keep<'a> = dyn FnMut(&RecordBatch) -> Result<Option<BooleanBuffer>, FilesError> + 'a;

/// Merges `request.inputs` into new files; without `keep`, all rows.
///
/// Cancellation: what was uploaded so far stays as an object that no commit names.
pub async fn merge(
    store: &Arc<dyn ObjectStore>,
    root: &Path,
    indexes: &FileIndexes,
    streams: &TenantStreams,
    request: &MergeRequest<'_>,
    keep: Option<&mut Keep<'_>>,
) -> Result<Merged, FilesError> {
    let mut inputs: Vec<&Arc<DataFile>> = request.inputs.iter().collect();
    inputs.sort_by(|a, b| (a.seq, a.ts_min, &a.path).cmp(&(b.seq, b.ts_min, &b.path)));
    let Some(first) = inputs.first() else { return Ok(Merged::default()) };
    let batch_rows = (BATCH_ROWS_ALL / inputs.len()).clamp(BATCH_ROWS_MIN, CHUNK_ROWS);
    let mut cursors = Vec::with_capacity(inputs.len());
    // Where no row is left out and all go to one file, its lines' patterns are those of the inputs.
    let mut inherited = (keep.is_none() && request.fits_one_file()).then(Vec::new);
    for file in &inputs {
        let index = indexes.get(file).await?;
        if let Some(all) = &mut inherited {
            match Inherited::of(&file.path, &index)? {
                Some(patterns) => all.push(patterns),
                None => inherited = None,
            }
        }
        cursors.push(Cursor::open(file, index, indexes, batch_rows)?);
    }
    let known = streams.all();
    let seq = inputs.iter().map(|file| file.seq).max().unwrap_or_default();
    let output = Output {
        store,
        root,
        template: DataFile::new(first.tenant.clone(), first.day, String::new(), seq),
        effort: request.effort,
        fields: match request.layout {
            LineLayout::Fields => {
                FieldColumns::union(cursors.iter().filter_map(|cursor| Some(cursor.index.fields.as_ref()?.columns())))
            }
            LineLayout::Whole => FieldColumns::default(),
        },
        bytes_max: if inherited.is_some() { u64::MAX } else { request.output_bytes_max },
        inherited,
        known: &known,
        current: None,
        files: Vec::new(),
    };
    let mut merger =
        Merger { cursors, known: &known, output, keep, pending: Pending::default(), merged: Merged::default() };
    match merger.run().await {
        Ok(()) => {
            let Merger { output, mut merged, .. } = merger;
            merged.files = output.finish().await?;
            Ok(merged)
        }
        Err(error) => {
            merger.output.give_up().await;
            Err(error)
        }
    }
}

struct Merger<'a, 'k> {
    cursors: Vec<Cursor>,
    known: &'a [Arc<Stream>],
    output: Output<'a>,
    keep: Option<&'a mut Keep<'k>>,
    pending: Pending,
    merged: Merged,
}

/// Slices that wait to be written together.
#[derive(Default)]
struct Pending {
    batches: Vec<RecordBatch>,
    /// (batch, row).
    rows: Vec<(usize, usize)>,
}

/// One input, read from its beginning to its end.
struct Cursor {
    index: Arc<FileIndex>,
    /// The run that comes next.
    run: usize,
    /// Rows of that run that were read already.
    batches: BoxStream<'static, Result<RecordBatch, FilesError>>,
    batch: RecordBatch,
    /// The row of `batch` that comes next.
    at: usize,
    /// Place of `batch` among the pending batches, if it is there.
    pending_as: Option<usize>,
    path: String,
}

impl Cursor {
    fn open(
        file: &DataFile,
        index: Arc<FileIndex>,
        indexes: &FileIndexes,
        batch_rows: usize,
    ) -> Result<Self, FilesError> {
        let batches = read_all(file.path.clone(), indexes.reader(file), &index, batch_rows)?;
        let batch = RecordBatch::new_empty(ROW_SCHEMA.clone());
        Ok(Cursor { index, run: 0, batches, batch, at: 0, pending_as: None, path: file.path.clone() })
    }

    fn stream(&self) -> Option<StreamRef> {
        self.index.runs.get(self.run).map(|run| run.stream)
    }

    /// Makes sure that a row is there.
    async fn fill(&mut self) -> Result<(), FilesError> {
        while self.at == self.batch.num_rows() {
            let reason = || "it ends before its index does".to_owned();
            let next = self.batches.next().await;
            let short = || FilesError::BadStreamIndex { path: self.path.clone(), reason: reason() };
            self.batch = next.ok_or_else(short)??;
            self.at = 0;
            self.pending_as = None;
        }
        Ok(())
    }

    fn ts(&self) -> &[i64] {
        self.batch.column(0).as_primitive::<Int64Type>().values()
    }
}

/// A run on its way: which cursor, and how many of its rows are left.
struct RunLeft {
    cursor: usize,
    rows: usize,
    ts_min: UnixNanos,
    ts_max: UnixNanos,
}

impl Merger<'_, '_> {
    async fn run(&mut self) -> Result<(), FilesError> {
        let used: Vec<u32> = self.cursors.iter().flat_map(|c| c.index.runs.iter().map(|run| run.stream.0)).collect();
        let ranks = rank_streams(self.known, &used);
        self.check_order(&ranks)?;
        let rank = |cursor: &Cursor| cursor.stream().map(|stream| ranks[&stream.0]);
        while let Some(next) = self.cursors.iter().filter_map(rank).min() {
            let mut runs = Vec::new();
            for (at, cursor) in self.cursors.iter_mut().enumerate() {
                if cursor.stream().map(|stream| ranks[&stream.0]) == Some(next) {
                    let run = &cursor.index.runs[cursor.run];
                    runs.push(RunLeft { cursor: at, rows: run.rows.len(), ts_min: run.ts_min, ts_max: run.ts_max });
                    self.merged.rows_read += run.rows.len() as u64;
                    self.merged.line_bytes_read += run.line_bytes;
                    cursor.run += 1;
                }
            }
            runs.sort_by_key(|run| (run.ts_min, run.ts_max, run.cursor));
            // Equal times at a seam would change their order when the later input comes first.
            let in_turn = |pair: &[RunLeft]| {
                pair[0].ts_max < pair[1].ts_min || (pair[0].ts_max == pair[1].ts_min && pair[0].cursor < pair[1].cursor)
            };
            if runs.windows(2).all(in_turn) {
                for run in runs {
                    self.copy(run.cursor, run.rows).await?;
                }
            } else {
                self.interleave(runs).await?;
            }
        }
        self.flush_pending().await
    }

    fn check_order(&self, ranks: &HashMap<u32, u32>) -> Result<(), FilesError> {
        for cursor in &self.cursors {
            let ordered = cursor.index.runs.windows(2).all(|pair| ranks[&pair[0].stream.0] < ranks[&pair[1].stream.0]);
            if !ordered {
                let reason = "its streams are not in order".to_owned();
                return Err(FilesError::BadStreamIndex { path: cursor.path.clone(), reason });
            }
        }
        Ok(())
    }

    /// Copies the next `rows` of a cursor.
    async fn copy(&mut self, cursor: usize, mut rows: usize) -> Result<(), FilesError> {
        while rows > 0 {
            self.cursors[cursor].fill().await?;
            let taken = rows.min(self.cursors[cursor].batch.num_rows() - self.cursors[cursor].at);
            self.take(cursor, taken).await?;
            rows -= taken;
        }
        Ok(())
    }

    /// Copies runs of one stream that overlap, by time.
    async fn interleave(&mut self, mut runs: Vec<RunLeft>) -> Result<(), FilesError> {
        while runs.len() > 1 {
            for run in &runs {
                self.cursors[run.cursor].fill().await?;
            }
            let key = |run: &RunLeft| (self.cursors[run.cursor].ts()[self.cursors[run.cursor].at], run.cursor);
            let mut keys: Vec<(i64, usize, usize)> =
                runs.iter().enumerate().map(|(at, run)| (key(run).0, key(run).1, at)).collect();
            keys.sort_unstable();
            let (chosen, until) = (keys[0].2, (keys[1].0, keys[1].1));
            let cursor = &self.cursors[runs[chosen].cursor];
            let end = (cursor.at + runs[chosen].rows).min(cursor.batch.num_rows());
            let ahead = &cursor.ts()[cursor.at..end];
            let taken = ahead.partition_point(|ts| (*ts, runs[chosen].cursor) < until);
            let cursor = runs[chosen].cursor;
            self.take(cursor, taken).await?;
            runs[chosen].rows -= taken;
            if runs[chosen].rows == 0 {
                runs.remove(chosen);
            }
        }
        match runs.pop() {
            Some(last) => self.copy(last.cursor, last.rows).await,
            None => Ok(()),
        }
    }

    /// Takes the next `rows` of a cursor's batch.
    async fn take(&mut self, cursor: usize, rows: usize) -> Result<(), FilesError> {
        let from = &mut self.cursors[cursor];
        let start = from.at;
        from.at += rows;
        if rows >= SLICE_ROWS_WHOLE {
            let slice = from.batch.slice(start, rows);
            self.flush_pending().await?;
            return self.write(&slice).await;
        }
        let batch = *from.pending_as.get_or_insert_with(|| {
            self.pending.batches.push(from.batch.clone());
            self.pending.batches.len() - 1
        });
        self.pending.rows.extend((start..start + rows).map(|row| (batch, row)));
        if self.pending.rows.len() >= CHUNK_ROWS { self.flush_pending().await } else { Ok(()) }
    }

    async fn flush_pending(&mut self) -> Result<(), FilesError> {
        let pending = std::mem::take(&mut self.pending);
        self.cursors.iter_mut().for_each(|cursor| cursor.pending_as = None);
        if pending.rows.is_empty() {
            return Ok(());
        }
        let batches: Vec<&RecordBatch> = pending.batches.iter().collect();
        self.write(&interleave_record_batch(&batches, &pending.rows)?).await
    }

    async fn write(&mut self, rows: &RecordBatch) -> Result<(), FilesError> {
        let keep = match &mut self.keep {
            Some(keep) => keep(rows)?,
            None => None,
        };
        let kept = match keep {
            Some(keep) => &filter_record_batch(rows, &BooleanArray::new(keep, None))?,
            None => rows,
        };
        self.merged.rows_written += kept.num_rows() as u64;
        debug_assert!(kept.column(1).as_primitive_opt::<UInt32Type>().is_some());
        self.output.write(kept).await
    }
}

/// Where merged rows go.
struct Output<'a> {
    store: &'a Arc<dyn ObjectStore>,
    root: &'a Path,
    template: DataFile,
    effort: Effort,
    fields: FieldColumns,
    bytes_max: u64,
    /// What is known of the lines of all inputs; then there is one output.
    inherited: Option<Vec<Inherited>>,
    known: &'a [Arc<Stream>],
    current: Option<Current>,
    files: Vec<DataFile>,
}

/// The file being written.
struct Current {
    file: DataFile,
    writer: RowFileWriter,
    upload: Option<WriteMultipart>,
    uploaded: u64,
}

impl Output<'_> {
    async fn write(&mut self, rows: &RecordBatch) -> Result<(), FilesError> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        if self.current.as_ref().is_some_and(|c| c.uploaded + c.writer.ready_bytes() as u64 >= self.bytes_max) {
            self.end_file().await?;
        }
        let current = match &mut self.current {
            Some(current) => current,
            None => {
                let mut file = self.template.clone();
                file.path = DataFile::path_for(&file.tenant, file.day, &uuid::Uuid::new_v4().to_string());
                let writer = RowFileWriter::new(self.effort, self.fields.clone(), PART_BYTES)?;
                let writer = if self.inherited.is_some() { writer.without_patterns() } else { writer };
                self.current.insert(Current { file, writer, upload: None, uploaded: 0 })
            }
        };
        current.writer.write(rows, self.known)?;
        if current.writer.ready_bytes() >= PART_BYTES {
            let upload = match &mut current.upload {
                Some(upload) => upload,
                None => {
                    let begun = self.store.put_multipart(&current.file.location(self.root)).await?;
                    current.upload.insert(WriteMultipart::new_with_chunk_size(begun, PART_BYTES))
                }
            };
            upload.wait_for_capacity(PARTS_IN_FLIGHT).await?;
            let bytes = current.writer.take_bytes();
            current.uploaded += bytes.len() as u64;
            upload.put(bytes.into());
        }
        Ok(())
    }

    async fn end_file(&mut self) -> Result<(), FilesError> {
        let Some(Current { mut file, writer, upload, .. }) = self.current.take() else { return Ok(()) };
        let finished = match &self.inherited {
            Some(inherited) => {
                let service_of = |stream: u32| self.known[stream as usize].service();
                let patterns = merged(inherited, writer.streams(), service_of);
                writer.finish_with(&patterns)?
            }
            None => writer.finish()?,
        };
        file.describe(&finished);
        match upload {
            Some(mut upload) => {
                upload.put(finished.tail.into());
                upload.finish().await?;
            }
            None => {
                self.store.put(&file.location(self.root), finished.tail.into()).await?;
            }
        }
        failpoint::hit("merge.written");
        self.files.push(file);
        Ok(())
    }

    async fn finish(mut self) -> Result<Vec<DataFile>, FilesError> {
        match self.end_file().await {
            Ok(()) => Ok(self.files),
            Err(error) => {
                self.give_up().await;
                Err(error)
            }
        }
    }

    /// Deletes what no commit will name.
    async fn give_up(&mut self) {
        if let Some(upload) = self.current.take().and_then(|current| current.upload) {
            let _ = upload.abort().await;
        }
        for file in self.files.drain(..) {
            if let Err(error) = self.store.delete(&file.location(self.root)).await {
                tracing::warn!(%error, path = file.path, "the output of a merge that failed could not be deleted");
            }
        }
    }
}
