//! View `streams`: what the stream index knows, one row a stream.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampNanosecondArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use async_trait::async_trait;
use datafusion::catalog::{MemTable, Session, TableProvider};
use datafusion::common::Result as DfResult;
use datafusion::datasource::TableType;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;

use super::source::{SqlSource, external};
use crate::query::index::{self, StreamSummary};

static STREAMS_VIEW_SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let seen = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        Field::new("labels", DataType::Utf8, false),
        Field::new("stream_id", DataType::UInt64, false),
        Field::new("first_seen", seen.clone(), false),
        Field::new("last_seen", seen, false),
        Field::new("entries", DataType::UInt64, false),
        Field::new("bytes", DataType::UInt64, false),
    ]))
});

/// The streams that a scope shows.
#[derive(Debug)]
pub(super) struct StreamsView {
    source: SqlSource,
}

impl StreamsView {
    pub(super) fn new(source: SqlSource) -> Self {
        StreamsView { source }
    }
}

#[async_trait]
impl TableProvider for StreamsView {
    fn schema(&self) -> SchemaRef {
        STREAMS_VIEW_SCHEMA.clone()
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
        let planner = self.source.planner();
        let summaries =
            index::summaries(&planner.catalog, &planner.indexes, &planner.visible).await.map_err(external)?;
        let table = MemTable::try_new(STREAMS_VIEW_SCHEMA.clone(), vec![vec![to_batch(&summaries)?]])?;
        table.scan(session, projection, filters, limit).await
    }
}

fn to_batch(summaries: &[StreamSummary]) -> DfResult<RecordBatch> {
    let seen = |of: fn(&StreamSummary) -> i64| -> ArrayRef {
        Arc::new(TimestampNanosecondArray::from_iter_values(summaries.iter().map(of)).with_timezone("UTC"))
    };
    let count = |of: fn(&StreamSummary) -> u64| -> ArrayRef {
        Arc::new(UInt64Array::from_iter_values(summaries.iter().map(of)))
    };
    Ok(RecordBatch::try_new(
        STREAMS_VIEW_SCHEMA.clone(),
        vec![
            Arc::new(StringArray::from_iter_values(summaries.iter().map(|summary| &*summary.stream.json))),
            count(|summary| summary.stream.id),
            seen(|summary| summary.first_seen.0),
            seen(|summary| summary.last_seen.0),
            count(|summary| summary.entries),
            count(|summary| summary.bytes),
        ],
    )?)
}
