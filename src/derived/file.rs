//! One file of samples: a tenant, a UTC day, sorted by metric, labels and time.
//!
//! Columns: `ts_ns`, `metric`, `labels` (JSON, without the name), `value`. The footer says which rows are whose
//! ([`super::index`]).

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, DictionaryArray, Float64Array, Int64Array, RecordBatch, StringArray, UInt32Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt32Type};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;

use super::index::{FOOTER_KEY, FileSeries, encode_footer};
use super::memory::Point;
use crate::files::FilesError;
use crate::files::table::DataFile;
use crate::files::write::EncodedFile;
use crate::types::ids::{IngestSeq, TenantId};
use crate::types::labels::Labels;
use crate::types::sample::METRIC_NAME;
use crate::types::time::{NANOS_PER_MILLI, UnixNanos};

/// Rows of a row group, the unit that a reader decodes at least in part.
const ROW_GROUP_ROWS_MAX: usize = 131_072;
/// Rows of a page: a series of a day at one sample a minute is 1,440.
const PAGE_ROWS_MAX: usize = 4_096;
/// Fast: samples are few beside rows of logs.
const ZSTD_LEVEL: i32 = 3;

pub(super) static FILE_SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let text = || DataType::Dictionary(Box::new(DataType::UInt32), Box::new(DataType::Utf8));
    Arc::new(Schema::new(vec![
        Field::new("ts_ns", DataType::Int64, false),
        Field::new("metric", text(), false),
        Field::new("labels", text(), false),
        Field::new("value", DataType::Float64, false),
    ]))
});

/// Places of the columns that a query reads.
pub(super) const TS_NS_COLUMN: usize = 0;
pub(super) const VALUE_COLUMN: usize = 3;

/// Sorts series, and the samples of each; of two samples at one time the later in the list stays.
pub(super) fn in_order(series: &mut [(Labels, Vec<Point>)]) {
    let key = |labels: &Labels| (labels.get(METRIC_NAME).unwrap_or("").to_owned(), labels.clone());
    series.sort_by_cached_key(|(labels, _)| key(labels));
    for (_, points) in series {
        latest_of_each_time(points);
    }
}

/// Sorts by time; of equal times the last stays.
pub(super) fn latest_of_each_time(points: &mut Vec<Point>) {
    points.sort_by_key(|point| point.0);
    points.reverse();
    points.dedup_by_key(|point| point.0);
    points.reverse();
}

/// Encodes series that are [`in_order`] and whose samples lie in `day`. CPU-bound.
pub(super) fn encode(
    tenant: &TenantId,
    day: i32,
    seq: IngestSeq,
    series: &[(Labels, Vec<Point>)],
) -> Result<EncodedFile, FilesError> {
    let rows: usize = series.iter().map(|(_, points)| points.len()).sum();
    let (mut times, mut values) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
    let mut keys: Vec<u32> = Vec::with_capacity(rows);
    let (mut metrics, mut labels) = (Vec::with_capacity(series.len()), Vec::with_capacity(series.len()));
    let mut index = Vec::with_capacity(series.len());
    for (key, (own, points)) in series.iter().enumerate() {
        let [Some(first), Some(last)] = [points.first(), points.last()] else { continue };
        let from = times.len();
        times.extend(points.iter().map(|point| point.0.saturating_mul(NANOS_PER_MILLI)));
        values.extend(points.iter().map(|point| point.1));
        keys.resize(times.len(), key as u32);
        index.push(FileSeries { labels: own.clone(), rows: from..times.len(), min_ms: first.0, max_ms: last.0 });
        metrics.push(own.get(METRIC_NAME).unwrap_or("").to_owned());
        let others = own.iter().filter(|(name, _)| *name != METRIC_NAME);
        labels.push(Labels::from_pairs_with_empty(others).to_json());
    }
    let bounds = (times.iter().copied().min().unwrap_or(0), times.iter().copied().max().unwrap_or(0));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(times)),
        texts(&keys, metrics)?,
        texts(&keys, labels)?,
        Arc::new(Float64Array::from(values)),
    ];
    let mut buffer = Vec::new();
    let options = ArrowWriterOptions::new().with_properties(properties(&index)).with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(&mut buffer, FILE_SCHEMA.clone(), options)?;
    writer.write(&RecordBatch::try_new(FILE_SCHEMA.clone(), columns)?)?;
    writer.close()?;
    let file = DataFile {
        path: DataFile::path_for(tenant, day, &uuid::Uuid::new_v4().to_string()),
        tenant: tenant.clone(),
        day,
        bytes: buffer.len() as u64,
        rows: rows as u64,
        ts_min: UnixNanos(bounds.0),
        ts_max: UnixNanos(bounds.1),
        seq,
        crc32: Some(crc32fast::hash(&buffer)),
        squeezed: true,
    };
    Ok(EncodedFile { file, bytes: buffer.into() })
}

/// One text for each series, by key.
fn texts(keys: &[u32], of_series: Vec<String>) -> Result<ArrayRef, FilesError> {
    let values = Arc::new(StringArray::from(of_series));
    Ok(Arc::new(DictionaryArray::<UInt32Type>::try_new(UInt32Array::from(keys.to_vec()), values)?))
}

fn properties(index: &[FileSeries]) -> WriterProperties {
    let level = ZstdLevel::try_new(ZSTD_LEVEL).expect("3 is a zstd level");
    let ts = ColumnPath::from("ts_ns");
    WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_created_by(concat!("millrace version ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS_MAX))
        .set_data_page_row_count_limit(PAGE_ROWS_MAX)
        .set_write_batch_size(PAGE_ROWS_MAX)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_column_dictionary_enabled(ts.clone(), false)
        .set_column_encoding(ts, Encoding::DELTA_BINARY_PACKED)
        .set_key_value_metadata(Some(vec![KeyValue::new(FOOTER_KEY.to_owned(), encode_footer(index))]))
        .build()
}
