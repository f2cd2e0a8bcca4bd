//! Reads selected rows of a file as batches of the row schema, streams by ref.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringViewArray, UInt32Array, new_null_array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef};
use futures::stream::{BoxStream, StreamExt};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, RowSelection};
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;

use super::FilesError;
use super::fields::{Members, Recipe};
use super::index::FileIndex;
use super::object_reader::ObjectReader;
use super::select::{Segment, Selected};
use crate::types::rows::{LINE, RowProjection, metadata_type};

/// Places of the file's columns.
const TS_NS_ROOT: usize = 0;
const LEVEL_ROOT: usize = 3;
const LINE_ROOT: usize = 4;
const METADATA_ROOT: usize = 5;
const TEMPLATE_ROOT: usize = 6;
const FIELDS_ROOT: usize = 7;

/// Whether a row of the row group may have metadata.
pub(super) fn has_metadata(index: &FileIndex, row_group: usize) -> bool {
    let metadata = index.parquet.metadata();
    let schema = metadata.file_metadata().schema_descr();
    let group = metadata.row_group(row_group);
    let Some(leaf) = (0..schema.num_columns()).find(|leaf| schema.get_column_root_idx(*leaf) == METADATA_ROOT) else {
        return false;
    };
    let nulls = group.column(leaf).statistics().and_then(|statistics| statistics.null_count_opt());
    nulls != Some(group.num_rows() as u64)
}

/// What is wanted of rows.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    pub columns: RowProjection,
    /// What of a JSON line is enough; lines are narrowed to it where that costs less than the whole line.
    pub members: Option<&'a Members>,
    pub batch_rows: usize,
}

/// Streams the rows of `selected` in file order, schema `wanted.columns.schema()`; narrowed lines may be a dictionary.
///
/// Cancellation: dropping the stream stops reading.
pub fn read(
    path: String,
    reader: ObjectReader,
    index: &FileIndex,
    selected: &Selected,
    wanted: Wanted<'_>,
) -> Result<BoxStream<'static, Result<RecordBatch, FilesError>>, FilesError> {
    let group_rows = index.parquet.metadata().row_group(selected.row_group).num_rows() as usize;
    let ranges = selected.segments.iter().map(|segment| segment.rows.clone());
    let selection = RowSelection::from_consecutive_ranges(ranges, group_rows);
    let assembly = Assembly::new(index, &wanted, Some(selected.row_group), selected.segments.clone());
    let at_fault = at_fault(path);
    let batches =
        ParquetRecordBatchStreamBuilder::new_with_metadata(reader.checked(index.sums.clone()), index.parquet.clone())
            .with_row_groups(vec![selected.row_group])
            .with_projection(assembly.mask(&index.parquet))
            .with_row_selection(selection)
            .with_batch_size(wanted.batch_rows)
            .build()
            .map_err(&at_fault)?;
    Ok(assembly.run(batches.map(move |batch| batch.map_err(&at_fault)).boxed()))
}

/// Streams all rows of a file in their order, schema `ROW_SCHEMA`. Memory: one row group as stored, and a batch.
pub fn read_all(
    path: String,
    reader: ObjectReader,
    index: &FileIndex,
    batch_rows: usize,
) -> Result<BoxStream<'static, Result<RecordBatch, FilesError>>, FilesError> {
    let segments = index.runs.iter().map(|run| Segment { rows: run.rows.clone(), stream: run.stream });
    let wanted = Wanted { columns: RowProjection::ALL, members: None, batch_rows };
    let assembly = Assembly::new(index, &wanted, None, segments.collect());
    let at_fault = at_fault(path);
    let batches =
        ParquetRecordBatchStreamBuilder::new_with_metadata(reader.checked(index.sums.clone()), index.parquet.clone())
            .with_projection(assembly.mask(&index.parquet))
            .with_batch_size(batch_rows)
            .build()
            .map_err(&at_fault)?;
    Ok(assembly.run(batches.map(move |batch| batch.map_err(&at_fault)).boxed()))
}

fn at_fault(path: String) -> impl Fn(parquet::errors::ParquetError) -> FilesError + Clone {
    move |source| FilesError::Parquet { path: path.clone(), source }
}

/// How batches of the file become batches of rows.
struct Assembly {
    columns: RowProjection,
    /// Whether a row may have metadata: it is not read where none has.
    metadata: bool,
    recipe: Option<Recipe>,
    streams: StreamColumn,
    schema: SchemaRef,
}

impl Assembly {
    fn new(index: &FileIndex, wanted: &Wanted<'_>, row_group: Option<usize>, segments: Vec<Segment>) -> Self {
        let fields = index.fields.as_ref().filter(|_| wanted.columns.line);
        let recipe = fields.map(|fields| {
            let narrowed = row_group.zip(wanted.members);
            narrowed
                .and_then(|(row_group, members)| Recipe::narrowed(fields, row_group, members))
                .unwrap_or_else(|| Recipe::whole(fields))
        });
        let metadata = wanted.columns.metadata && row_group.is_none_or(|row_group| has_metadata(index, row_group));
        Assembly {
            columns: wanted.columns,
            metadata,
            recipe,
            streams: StreamColumn::new(segments),
            schema: wanted.columns.schema(),
        }
    }

    fn mask(&self, parquet: &ArrowReaderMetadata) -> ProjectionMask {
        let columns = self.columns;
        let mut roots = vec![TS_NS_ROOT];
        roots.extend(columns.level.then_some(LEVEL_ROOT));
        roots.extend(self.reads_line().then_some(LINE_ROOT));
        roots.extend(self.metadata.then_some(METADATA_ROOT));
        if let Some(recipe) = &self.recipe {
            roots.push(TEMPLATE_ROOT);
            roots.extend(recipe.columns().iter().map(|column| FIELDS_ROOT + *column as usize));
        }
        ProjectionMask::roots(parquet.metadata().file_metadata().schema_descr(), roots)
    }

    /// Whether lines that were kept whole are read.
    fn reads_line(&self) -> bool {
        self.columns.line && self.recipe.as_ref().is_none_or(|recipe| !recipe.is_narrowed())
    }

    fn run(
        mut self,
        batches: BoxStream<'static, Result<RecordBatch, FilesError>>,
    ) -> BoxStream<'static, Result<RecordBatch, FilesError>> {
        batches.map(move |batch| self.rows(&batch?)).boxed()
    }

    fn rows(&mut self, batch: &RecordBatch) -> Result<RecordBatch, FilesError> {
        let stream = self.streams.next(batch.num_rows());
        let mut given = batch.columns().iter();
        let mut next = || given.next().cloned().ok_or_else(short);
        let mut columns: Vec<ArrayRef> = vec![next()?, stream];
        if self.columns.level {
            let coded = next()?;
            let coded = coded.as_dictionary::<Int32Type>();
            columns.push(take(&StringViewArray::from(coded.values().as_string::<i32>()), coded.keys(), None)?);
        }
        let whole = if self.reads_line() { Some(next()?) } else { None };
        let metadata = match self.columns.metadata {
            false => None,
            true if self.metadata => Some(next()?),
            true => Some(new_null_array(&metadata_type(), batch.num_rows())),
        };
        let Some(recipe) = &self.recipe else {
            columns.extend(whole.into_iter().chain(metadata));
            return Ok(RecordBatch::try_new(self.schema.clone(), columns)?);
        };
        let template = next()?;
        let fields: Vec<ArrayRef> = given.cloned().collect();
        let whole = whole.as_ref().map(|lines| lines.as_string_view());
        let line = recipe.lines(template.as_primitive::<Int32Type>(), whole, &fields)?;
        let schema = schema_with_line(&self.schema, line.data_type());
        columns.push(line);
        columns.extend(metadata);
        Ok(RecordBatch::try_new(schema, columns)?)
    }
}

fn short() -> FilesError {
    FilesError::Arrow(arrow::error::ArrowError::SchemaError("a file gave fewer columns than were asked for".to_owned()))
}

/// `schema` with lines of this type.
fn schema_with_line(schema: &SchemaRef, line: &DataType) -> SchemaRef {
    if schema.field_with_name(LINE).is_ok_and(|field| field.data_type() == line) {
        return schema.clone();
    }
    let fields = schema.fields().iter().map(|field| match field.name() == LINE {
        true => Arc::new(Field::new(LINE, line.clone(), false)),
        false => field.clone(),
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The `stream` column, made from the segments as batches come in their order.
#[derive(Debug)]
struct StreamColumn {
    segments: Vec<Segment>,
    /// Segment that the next row belongs to, and how many of its rows were given.
    at: usize,
    given: usize,
}

impl StreamColumn {
    fn new(segments: Vec<Segment>) -> Self {
        StreamColumn { segments, at: 0, given: 0 }
    }

    fn next(&mut self, rows: usize) -> ArrayRef {
        let mut refs: Vec<u32> = Vec::with_capacity(rows);
        while refs.len() < rows {
            let Some(segment) = self.segments.get(self.at) else {
                break;
            };
            let take = (segment.rows.len() - self.given).min(rows - refs.len());
            refs.resize(refs.len() + take, segment.stream.0);
            self.given += take;
            if self.given == segment.rows.len() {
                self.at += 1;
                self.given = 0;
            }
        }
        Arc::new(UInt32Array::from(refs))
    }
}
