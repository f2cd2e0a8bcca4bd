//! Log queries: the first or last `limit` entries that the pipeline keeps.
//!
//! ```text
//! scan partitions ─▶ pipeline ─▶ best `limit` by time ─┐ (tightens the scan's bound)
//!                                 … one a partition … ─┴─▶ merge, sort ─▶ one batch of entries
//! ```
//!
//! Output: `ts_ns`, `line`, and the labels by where they come from as JSON objects:
//! `stream`, `metadata`, `parsed`.

use std::cmp::Ordering as Order;
use std::collections::BinaryHeap;
use std::fmt;
use std::sync::{Arc, LazyLock};

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::Result as DfResult;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning, PlanProperties,
};
use futures::StreamExt;
use hashbrown::HashSet;
use tokio::task::JoinSet;
use xxhash_rust::xxh3::Xxh3;

use crate::query::Direction;
use crate::query::operators::rows::{RowProgram, RowRunner};
use crate::query::row::{Category, Row};
use crate::query::scan::TimeBound;
use crate::types::labels::Labels;
use crate::types::rows::Rows;

pub static ENTRY_SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("ts_ns", DataType::Int64, false),
        Field::new("line", DataType::Utf8, false),
        Field::new("stream", DataType::Utf8, false),
        Field::new("metadata", DataType::Utf8, false),
        Field::new("parsed", DataType::Utf8, false),
    ]))
});

/// Keeps the best entries of its input.
#[derive(Debug)]
pub struct EntriesExec {
    input: Arc<dyn ExecutionPlan>,
    program: RowProgram,
    limit: usize,
    direction: Direction,
    /// The bound of the scan below, if it has one.
    bound: Option<Arc<TimeBound>>,
    properties: Arc<PlanProperties>,
}

impl EntriesExec {
    pub fn new(
        input: Arc<dyn ExecutionPlan>,
        program: RowProgram,
        limit: usize,
        direction: Direction,
        bound: Option<Arc<TimeBound>>,
    ) -> Self {
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(ENTRY_SCHEMA.clone()),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        ));
        EntriesExec { input, program, limit, direction, bound, properties }
    }
}

impl DisplayAs for EntriesExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EntriesExec: limit={}, direction={:?}, pipeline={}", self.limit, self.direction, self.program.text)
    }
}

impl ExecutionPlan for EntriesExec {
    fn name(&self) -> &'static str {
        "EntriesExec"
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
            .map_err(|_| DataFusionError::Internal("EntriesExec has one child".to_owned()))?;
        Ok(Arc::new(EntriesExec::new(input, self.program.clone(), self.limit, self.direction, self.bound.clone())))
    }

    fn execute(&self, _: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let mut inputs = Vec::new();
        for partition in 0..self.input.output_partitioning().partition_count() {
            inputs.push(self.input.execute(partition, context.clone())?);
        }
        let (program, limit, direction, bound) = (self.program.clone(), self.limit, self.direction, self.bound.clone());
        let merged = async move {
            let mut tasks = JoinSet::new();
            for input in inputs {
                tasks.spawn(best_of(input, program.clone(), limit, direction, bound.clone()));
            }
            let mut all: Vec<Found> = Vec::new();
            while let Some(best) = tasks.join_next().await {
                all.extend(best.map_err(|e| DataFusionError::ExecutionJoin(Box::new(e)))??);
            }
            let mut seen = HashSet::new();
            all.sort_by(|a, b| a.rank(b, direction));
            all.retain(|found| seen.insert(found.same));
            all.truncate(limit);
            to_batch(&all)
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(ENTRY_SCHEMA.clone(), futures::stream::once(merged))))
    }
}

/// An entry on its way out.
#[derive(Debug, Clone)]
struct Found {
    ts: i64,
    /// Place among the rows of its partition: what tells rows of one stream and time apart.
    place: u64,
    /// Over the stream it was stored in, time, line, metadata and parsed labels: rows that a pipeline made equal are
    /// one entry, as in Loki.
    same: u128,
    line: String,
    stream: Labels,
    metadata: Labels,
    parsed: Labels,
}

impl Found {
    fn of(ts: i64, stored_in: u32, place: u64, row: &Row<'_>) -> Self {
        let mut by_category: [Vec<(Box<str>, Box<str>)>; 3] = [Vec::new(), Vec::new(), Vec::new()];
        row.for_each_label(|category, name, value| {
            let at = match category {
                Category::Stream => 0,
                Category::Metadata => 1,
                Category::Parsed => 2,
            };
            by_category[at].push((name.into(), value.into()));
        });
        let [stream, metadata, parsed] = by_category.map(Labels::from_pairs_with_empty);
        let mut hasher = Xxh3::new();
        hasher.update(&stored_in.to_le_bytes());
        hasher.update(&ts.to_le_bytes());
        for labels in [&metadata, &parsed] {
            for (name, value) in labels.iter() {
                for text in [name, value] {
                    hasher.update(&(text.len() as u64).to_le_bytes());
                    hasher.update(text.as_bytes());
                }
            }
            hasher.update(b"|");
        }
        hasher.update(row.line().as_bytes());
        Found { ts, place, same: hasher.digest128(), line: row.line().to_owned(), stream, metadata, parsed }
    }

    /// Order in the answer: by time in the direction asked for, then by stream, then as the rows
    /// arrived, or against it.
    fn rank(&self, other: &Self, direction: Direction) -> Order {
        let by_time = match direction {
            Direction::Forward => self.ts.cmp(&other.ts),
            Direction::Backward => other.ts.cmp(&self.ts),
        };
        let by_place = match direction {
            Direction::Forward => self.place.cmp(&other.place),
            Direction::Backward => other.place.cmp(&self.place),
        };
        by_time.then_with(|| self.stream.cmp(&other.stream)).then(by_place)
    }
}

/// A found entry in a heap whose top is the worst.
struct Ranked {
    found: Found,
    direction: Direction,
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Order::Equal
    }
}
impl Eq for Ranked {}
impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Order> {
        Some(self.cmp(other))
    }
}
impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Order {
        self.found.rank(&other.found, self.direction)
    }
}

async fn best_of(
    mut input: SendableRecordBatchStream,
    program: RowProgram,
    limit: usize,
    direction: Direction,
    bound: Option<Arc<TimeBound>>,
) -> DfResult<Vec<Found>> {
    let mut runner = RowRunner::new(program);
    let mut best: BinaryHeap<Ranked> = BinaryHeap::new();
    let mut kept_already: HashSet<u128> = HashSet::new();
    let mut rows_before = 0_u64;
    while let Some(batch) = input.next().await {
        // A batch is work for milliseconds: a query that nobody waits for any more ends here.
        tokio::task::yield_now().await;
        let batch = batch?;
        let rows = Rows::of(&batch);
        // Best times first, so that what follows is mostly beyond the worst kept.
        let mut order: Vec<u32> = (0..rows.len() as u32).collect();
        match direction {
            Direction::Forward => order.sort_by_key(|row| rows.ts[*row as usize]),
            Direction::Backward => order.sort_by_key(|row| std::cmp::Reverse(rows.ts[*row as usize])),
        }
        let worst =
            |best: &BinaryHeap<Ranked>| (best.len() == limit).then(|| best.peek().map(|w| w.found.ts)).flatten();
        let mut cut = worst(&best);
        let useful = |ts: i64, cut: Option<i64>| match (cut, direction) {
            (None, _) => true,
            (Some(cut), Direction::Forward) => ts <= cut,
            (Some(cut), Direction::Backward) => ts >= cut,
        };
        for chunk in order.chunks(limit.max(64)) {
            if !useful(rows.ts[chunk[0] as usize], cut) {
                break;
            }
            runner.run(&rows, chunk.iter().map(|row| *row as usize), |row, kept| {
                if !useful(rows.ts[row], cut) {
                    return Ok(());
                }
                let found = Found::of(rows.ts[row], rows.stream[row], rows_before + row as u64, &kept);
                if !kept_already.insert(found.same) {
                    return Ok(());
                }
                best.push(Ranked { found, direction });
                if best.len() > limit
                    && let Some(worst) = best.pop()
                {
                    kept_already.remove(&worst.found.same);
                }
                cut = worst(&best);
                Ok(())
            })?;
        }
        rows_before += rows.len() as u64;
        if let (Some(cut), Some(bound)) = (worst(&best), &bound) {
            bound.tighten(cut);
        }
    }
    Ok(best.into_iter().map(|ranked| ranked.found).collect())
}

fn to_batch(entries: &[Found]) -> DfResult<RecordBatch> {
    let json =
        |of: fn(&Found) -> &Labels| StringArray::from_iter_values(entries.iter().map(|entry| of(entry).to_json()));
    Ok(RecordBatch::try_new(
        ENTRY_SCHEMA.clone(),
        vec![
            Arc::new(Int64Array::from_iter_values(entries.iter().map(|entry| entry.ts))),
            Arc::new(StringArray::from_iter_values(entries.iter().map(|entry| &entry.line))),
            Arc::new(json(|entry| &entry.stream)),
            Arc::new(json(|entry| &entry.metadata)),
            Arc::new(json(|entry| &entry.parsed)),
        ],
    )?)
}
