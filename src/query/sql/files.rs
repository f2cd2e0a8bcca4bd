//! View `files`: the Parquet files behind the rows that a scope shows, one row a file.
//!
//! Rows and bytes of lines count shown streams alone; files with none of them are left out.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, Date32Array, RecordBatch, StringArray, TimestampNanosecondArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use async_trait::async_trait;
use datafusion::catalog::{MemTable, Session, TableProvider};
use datafusion::common::Result as DfResult;
use datafusion::datasource::TableType;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;

use super::source::{SqlSource, external};
use crate::query::QueryError;
use crate::query::scan::load_indexes;
use crate::types::time::TimeRange;

static FILES_VIEW_SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let seen = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        Field::new("tenant", DataType::Utf8, false),
        Field::new("path", DataType::Utf8, false),
        Field::new("date", DataType::Date32, false),
        Field::new("first_seen", seen.clone(), false),
        Field::new("last_seen", seen, false),
        Field::new("streams", DataType::UInt64, false),
        Field::new("rows", DataType::UInt64, false),
        Field::new("line_bytes", DataType::UInt64, false),
        // Of the whole file; null when it also holds rows that are not shown.
        Field::new("file_bytes", DataType::UInt64, true),
    ]))
});

/// The files of a scope.
#[derive(Debug)]
pub(super) struct FilesView {
    source: SqlSource,
}

#[derive(Debug, Default)]
struct Columns {
    tenant: Vec<String>,
    path: Vec<String>,
    date: Vec<i32>,
    first: Vec<i64>,
    last: Vec<i64>,
    streams: Vec<u64>,
    rows: Vec<u64>,
    line_bytes: Vec<u64>,
    file_bytes: Vec<Option<u64>>,
}

impl FilesView {
    pub(super) fn new(source: SqlSource) -> Self {
        FilesView { source }
    }

    async fn read(&self) -> Result<Columns, QueryError> {
        let planner = self.source.planner();
        let mut columns = Columns::default();
        for part in planner.visible.parts() {
            let snapshot = planner.catalog.snapshot(&part.tenant, TimeRange::ALL);
            for (file, index) in snapshot.files.iter().zip(load_indexes(&snapshot, &planner.indexes).await?) {
                let shown: Vec<_> = index.runs.iter().filter(|run| part.shows(run.stream)).collect();
                let first = shown.iter().map(|run| run.ts_min.0).min();
                let (Some(first), Some(last)) = (first, shown.iter().map(|run| run.ts_max.0).max()) else { continue };
                columns.tenant.push(part.tenant.to_string());
                columns.path.push(file.path.to_string());
                columns.date.push(file.day);
                columns.first.push(first);
                columns.last.push(last);
                columns.streams.push(shown.len() as u64);
                columns.rows.push(shown.iter().map(|run| run.rows.len() as u64).sum());
                columns.line_bytes.push(shown.iter().map(|run| run.line_bytes).sum());
                columns.file_bytes.push((shown.len() == index.runs.len()).then_some(file.bytes));
            }
        }
        Ok(columns)
    }
}

#[async_trait]
impl TableProvider for FilesView {
    fn schema(&self) -> SchemaRef {
        FILES_VIEW_SCHEMA.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let found = self.read().await.map_err(external)?;
        let time = |nanos: Vec<i64>| Arc::new(TimestampNanosecondArray::from(nanos).with_timezone("UTC")) as ArrayRef;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(found.tenant)),
            Arc::new(StringArray::from(found.path)),
            Arc::new(Date32Array::from(found.date)),
            time(found.first),
            time(found.last),
            Arc::new(UInt64Array::from(found.streams)),
            Arc::new(UInt64Array::from(found.rows)),
            Arc::new(UInt64Array::from(found.line_bytes)),
            Arc::new(UInt64Array::from(found.file_bytes)),
        ];
        let batch = RecordBatch::try_new(FILES_VIEW_SCHEMA.clone(), columns)?;
        let table = MemTable::try_new(FILES_VIEW_SCHEMA.clone(), vec![vec![batch]])?;
        table.scan(session, projection, filters, limit).await
    }
}
