//! Rows of a scan as rows of view `logs`: times as timestamps, streams as their labels.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

use arrow::array::{
    ArrayRef, AsArray, DictionaryArray, RecordBatch, RecordBatchOptions, StringArray, TimestampNanosecondArray,
    UInt32Array,
};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit, UInt32Type};
use datafusion::common::Result as DfResult;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties};
use futures::StreamExt;

use super::label::labels_type;
use crate::streams::{StreamRef, TenantStreams};
use crate::types::rows::{LEVEL, LINE, METADATA, metadata_type};

pub(super) const TIMESTAMP: &str = "timestamp";

pub(super) static LOGS_VIEW_SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new(TIMESTAMP, DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())), false),
        Field::new("labels", labels_type(), false),
        Field::new(LEVEL, DataType::Utf8View, true),
        Field::new(LINE, DataType::Utf8View, false),
        Field::new(METADATA, metadata_type(), true),
    ]))
});

/// Turns row batches into batches of the view, in the columns asked for.
#[derive(Debug)]
pub(super) struct LogsViewExec {
    input: Arc<dyn ExecutionPlan>,
    /// Columns of the view, by place.
    columns: Vec<usize>,
    streams: Arc<TenantStreams>,
    properties: Arc<PlanProperties>,
}

impl LogsViewExec {
    pub(super) fn new(
        input: Arc<dyn ExecutionPlan>,
        columns: Vec<usize>,
        streams: Arc<TenantStreams>,
    ) -> DfResult<Self> {
        let schema = Arc::new(LOGS_VIEW_SCHEMA.project(&columns)?);
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(schema),
            input.output_partitioning().clone(),
            EmissionType::Incremental,
            Boundedness::Bounded,
        ));
        Ok(LogsViewExec { input, columns, streams, properties })
    }
}

impl DisplayAs for LogsViewExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.columns.iter().map(|at| LOGS_VIEW_SCHEMA.field(*at).name().as_str()).collect();
        write!(f, "LogsViewExec: columns=[{}]", names.join(", "))
    }
}

impl ExecutionPlan for LogsViewExec {
    fn name(&self) -> &'static str {
        "LogsViewExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> DfResult<Arc<dyn ExecutionPlan>> {
        let [input] = <[_; 1]>::try_from(children)
            .map_err(|_| DataFusionError::Internal("LogsViewExec has one child".to_owned()))?;
        Ok(Arc::new(LogsViewExec::new(input, self.columns.clone(), self.streams.clone())?))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let schema = self.schema();
        let (columns, streams) = (self.columns.clone(), self.streams.clone());
        let to_schema = schema.clone();
        let batches =
            self.input.execute(partition, context)?.map(move |batch| to_view(&batch?, &columns, &streams, &to_schema));
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }
}

fn to_view(
    rows: &RecordBatch,
    columns: &[usize],
    streams: &TenantStreams,
    schema: &SchemaRef,
) -> DfResult<RecordBatch> {
    let of_view = columns.iter().map(|at| {
        let name = LOGS_VIEW_SCHEMA.field(*at).name().as_str();
        match name {
            TIMESTAMP => {
                let ts = rows.column(0).as_primitive::<Int64Type>().values().clone();
                Ok(Arc::new(TimestampNanosecondArray::new(ts, None).with_timezone("UTC")) as ArrayRef)
            }
            "labels" => labels_column(rows.column(1).as_primitive::<UInt32Type>().values(), streams),
            other => rows
                .column_by_name(other)
                .cloned()
                .ok_or_else(|| DataFusionError::Internal(format!("the scan lacks column {other}"))),
        }
    });
    let of_view = of_view.collect::<DfResult<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    Ok(RecordBatch::try_new_with_options(schema.clone(), of_view, &options)?)
}

fn labels_column(refs: &[u32], streams: &TenantStreams) -> DfResult<ArrayRef> {
    let mut places: HashMap<u32, u32> = HashMap::new();
    let mut values: Vec<Arc<str>> = Vec::new();
    let mut keys: Vec<u32> = Vec::with_capacity(refs.len());
    let mut last: Option<(u32, u32)> = None;
    for stream in refs {
        let place = match last {
            Some((known, place)) if known == *stream => place,
            _ => *places.entry(*stream).or_insert_with(|| {
                values.push(streams.get(StreamRef(*stream)).json.clone());
                values.len() as u32 - 1
            }),
        };
        last = Some((*stream, place));
        keys.push(place);
    }
    let values = StringArray::from_iter_values(values.iter().map(|json| &**json));
    Ok(Arc::new(DictionaryArray::<UInt32Type>::try_new(UInt32Array::from(keys), Arc::new(values))?))
}
