//! The engine: parses, plans, runs on its own threads, and answers.

mod browse;
mod check;
mod sql;
mod together;

pub use sql::{SqlAnswer, SqlRequest};

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::{ExecutionPlan, collect, displayable};
use futures::FutureExt;
use tokio_util::task::AbortOnDropHandle;

use crate::access::Scope;
use crate::catalog::Catalog;
use crate::files::FileIndexes;
use crate::ingest::overrides::LimitsOf;
use crate::logql;
use crate::logql::ast::{Expr, LogExpr, Matcher, MetricExpr, RangeAggregation};
use crate::query::answer::{Entry, QueryAnswer, QueryKind, QueryRequest, QueryStats, StreamEntries};
use crate::query::index::{self, IndexStats};
use crate::query::matrix::{self, Evaluated, Matrix, Series, Steps};
use crate::query::memory::QueryMemory;
use crate::query::operands::check_operands;
use crate::query::operators::range::series_of;
use crate::query::panes::Windows;
use crate::query::plan::{Leaf, Planner, leaves};
use crate::query::results::logs::LogQuestion;
use crate::query::results::{self, Categorized, ResultsCache, ResultsCacheStats, Through};
use crate::query::scan::ScanCounters;
use crate::query::sql::SqlViews;
use crate::query::visible::VisibleStreams;
use crate::query::{Direction, QueryError, newest};
use crate::types::labels::Labels;
use crate::types::time::{Clock, TimeRange, UnixNanos};

/// Entries that an `interval` query may look at: it thins them out after they are in order.
const INTERVAL_ENTRIES_MAX: usize = 1_000_000;

/// What queries may take.
#[derive(Debug, Clone, Copy)]
pub struct EngineLimits {
    /// Memory of all queries together, bytes.
    pub memory_bytes_max: usize,
    /// Of it, for the queries of one tenant; 0: all.
    pub tenant_memory_bytes_max: usize,
    /// Threads that run queries; also the partitions of one query.
    pub threads: usize,
    /// After this a question without a time of its own ends with 504.
    pub timeout: Duration,
    /// Finished parts of answers kept, bytes, and how long.
    pub results_bytes_max: u64,
    pub results_time_to_live: Duration,
}

/// Answers questions about one store. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    parts: Arc<Parts>,
}

struct Parts {
    catalog: Arc<Catalog>,
    indexes: FileIndexes,
    limits: EngineLimits,
    clock: Clock,
    /// Queries compute here, so that they never hold up a push.
    threads: tokio::runtime::Handle,
    memory: QueryMemory,
    /// None: no limits of tenants.
    tenant_limits: std::sync::OnceLock<LimitsOf>,
    results: ResultsCache,
    under_way: together::UnderWay,
    sql_views: parking_lot::RwLock<Vec<Arc<dyn SqlViews>>>,
}

impl Engine {
    /// `threads` is the runtime that queries compute on.
    ///
    /// # Errors
    /// When DataFusion cannot be set up.
    pub fn new(
        catalog: Arc<Catalog>,
        indexes: FileIndexes,
        limits: EngineLimits,
        clock: Clock,
        threads: tokio::runtime::Handle,
    ) -> Result<Self, QueryError> {
        let memory = QueryMemory::new(limits.memory_bytes_max, limits.tenant_memory_bytes_max)?;
        let results = ResultsCache::new(limits.results_bytes_max, limits.results_time_to_live);
        let (sql_views, tenant_limits) = (parking_lot::RwLock::default(), std::sync::OnceLock::new());
        let under_way = together::UnderWay::default();
        let parts =
            Parts { catalog, indexes, limits, clock, threads, memory, tenant_limits, results, under_way, sql_views };
        Ok(Engine { parts: Arc::new(parts) })
    }

    /// The plan of a LogQL query as text.
    pub async fn explain(&self, request: QueryRequest) -> Result<String, QueryError> {
        let planner = self.planner(&request.scope);
        let mut text = String::new();
        match logql::parse(&request.text)? {
            Expr::Log(log) => {
                let plan = planner.log_query(&log, log_range(&request)?, request.limit, request.direction).await?;
                text.push_str(&displayable(&*plan).indent(true).to_string());
            }
            Expr::Metric(metric) => {
                let steps = steps_of(&request.kind)?;
                text.push_str(&format!(
                    "evaluate {} at {} steps over\n",
                    logql::print(&Expr::Metric(metric.clone())),
                    steps.count
                ));
                for leaf in leaves(&metric) {
                    let plan = planner.range_query(&leaf, &steps).await?;
                    text.push_str(&displayable(&*plan).indent(true).to_string());
                }
            }
        }
        Ok(text)
    }

    /// Label names of the streams with rows in `range`, sorted.
    pub async fn label_names(
        &self,
        scope: &Scope,
        range: TimeRange,
        matchers: &[Matcher],
    ) -> Result<Vec<String>, QueryError> {
        let streams = self.streams_in(scope, range, &[matchers.to_vec()]).await?;
        let mut names: Vec<String> =
            streams.iter().flat_map(|labels| labels.iter().map(|(name, _)| name.to_owned())).collect();
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    /// Values of one label, sorted.
    pub async fn label_values(
        &self,
        scope: &Scope,
        name: &str,
        range: TimeRange,
        matchers: &[Matcher],
    ) -> Result<Vec<String>, QueryError> {
        let streams = self.streams_in(scope, range, &[matchers.to_vec()]).await?;
        let mut values: Vec<String> = streams.iter().filter_map(|labels| labels.get(name).map(str::to_owned)).collect();
        values.sort_unstable();
        values.dedup();
        Ok(values)
    }

    /// Every label name of the streams with rows in `range`, with its values; both sorted.
    pub async fn labels_with_values(
        &self,
        scope: &Scope,
        range: TimeRange,
        matchers: &[Matcher],
    ) -> Result<BTreeMap<String, BTreeSet<String>>, QueryError> {
        let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for labels in self.streams_in(scope, range, &[matchers.to_vec()]).await? {
            for (name, value) in labels.iter() {
                found.entry(name.to_owned()).or_default().insert(value.to_owned());
            }
        }
        Ok(found)
    }

    /// Streams that match any of the selectors, sorted; no selector means all.
    pub async fn series(
        &self,
        scope: &Scope,
        range: TimeRange,
        any_of: &[Vec<Matcher>],
    ) -> Result<Vec<Labels>, QueryError> {
        self.streams_in(scope, range, any_of).await
    }

    /// Streams, runs, bytes and rows behind a selector.
    pub async fn index_stats(
        &self,
        scope: &Scope,
        range: TimeRange,
        matchers: &[Matcher],
    ) -> Result<IndexStats, QueryError> {
        index::stats(&self.parts.catalog, &self.parts.indexes, &self.visible(scope), range, matchers).await
    }

    /// How the cache of results is doing.
    pub fn results_stats(&self) -> ResultsCacheStats {
        self.parts.results.stats()
    }

    async fn streams_in(
        &self,
        scope: &Scope,
        range: TimeRange,
        any_of: &[Vec<Matcher>],
    ) -> Result<Vec<Labels>, QueryError> {
        index::streams(&self.parts.catalog, &self.parts.indexes, &self.visible(scope), range, any_of).await
    }

    /// Runs on the query threads, with the time limit; the work ends when the caller goes away.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        timeout: Duration,
        work: impl Future<Output = Result<T, QueryError>> + Send + 'static,
    ) -> Result<T, QueryError> {
        let task = AbortOnDropHandle::new(self.parts.threads.spawn(work));
        match tokio::time::timeout(timeout, task).await {
            Err(_) => Err(QueryError::Timeout),
            Ok(Err(stopped)) => Err(QueryError::Internal(format!("the query stopped: {stopped}"))),
            Ok(Ok(answer)) => answer,
        }
    }

    pub(super) fn planner(&self, scope: &Scope) -> Planner {
        Planner {
            scope: scope.clone(),
            visible: self.visible(scope),
            catalog: self.parts.catalog.clone(),
            indexes: self.parts.indexes.clone(),
            partitions: self.parts.limits.threads,
            counters: Arc::new(ScanCounters::default()),
            now_ns: self.parts.clock.now().0,
        }
    }

    fn visible(&self, scope: &Scope) -> VisibleStreams {
        VisibleStreams::new(scope, self.parts.catalog.streams())
    }

    async fn execute(&self, scope: &Scope, plan: Arc<dyn ExecutionPlan>) -> Result<Vec<RecordBatch>, QueryError> {
        Ok(collect(plan, self.task_context(scope)).await?)
    }

    /// What plans are executed with.
    pub(super) fn task_context(&self, scope: &Scope) -> Arc<TaskContext> {
        Arc::new(TaskContext::default().with_runtime(self.parts.memory.of(scope)))
    }

    async fn log_query(
        &self,
        planner: &Planner,
        log: &LogExpr,
        request: &QueryRequest,
    ) -> Result<QueryAnswer, QueryError> {
        let range = log_range(request)?;
        let interval_ns = match request.kind {
            QueryKind::Range { interval_ns, .. } => interval_ns,
            QueryKind::Instant { .. } => 0,
        };
        let mut entries;
        if interval_ns > 0 {
            entries = self.entries(planner, log, range, INTERVAL_ENTRIES_MAX, request.direction).await?;
            thin_out(&mut entries, interval_ns, request.limit);
        } else if let Some(through) = self.through(request) {
            let text = logql::print(&Expr::Log(log.clone())).into();
            let question = LogQuestion { text, range, limit: request.limit, direction: request.direction };
            let compute =
                |part: TimeRange, limit: usize| self.entries(planner, log, part, limit, request.direction).boxed();
            entries = results::logs::entries(&through, &question, compute).await?;
        } else {
            entries = self.entries(planner, log, range, request.limit, request.direction).await?;
        }
        Ok(QueryAnswer::Streams(group(entries, request.categorize)))
    }

    /// The first `limit` entries of a range, in the direction asked for.
    async fn entries(
        &self,
        planner: &Planner,
        log: &LogExpr,
        mut range: TimeRange,
        limit: usize,
        direction: Direction,
    ) -> Result<Vec<Categorized>, QueryError> {
        if log.stages.is_empty() && limit < INTERVAL_ENTRIES_MAX {
            range =
                newest::narrow(planner, log, range, limit, direction, &self.parts.memory.of(&planner.scope)).await?;
        }
        let plan = planner.log_query(log, range, limit, direction).await?;
        let mut entries = Vec::new();
        for batch in self.execute(&planner.scope, plan).await? {
            read_entries(&batch, &mut entries)?;
        }
        Ok(entries)
    }

    async fn metric_query(
        &self,
        planner: &Planner,
        metric: &MetricExpr,
        request: &QueryRequest,
    ) -> Result<QueryAnswer, QueryError> {
        check_operands(metric)?;
        let steps = steps_of(&request.kind)?;
        let through = self.through(request);
        let mut matrices: HashMap<usize, Matrix> = HashMap::new();
        for leaf in leaves(metric) {
            let compute = |steps: Steps| self.leaf_series(planner, &leaf, steps).boxed();
            let series = match &through {
                Some(through) => {
                    let windows = Windows { steps, range_ns: leaf.range.range_ns, offset_ns: leaf.range.offset_ns };
                    results::metric::series(through, leaf.text().into(), &windows, compute).await?
                }
                None => compute(steps).await?,
            };
            matrices.insert(address(leaf.range), Matrix { steps, series });
        }
        let evaluated = matrix::evaluate(
            metric,
            &mut |range| Ok(matrices.remove(&address(range)).expect("every leaf was run")),
            &steps,
        )?;
        self.answer(evaluated, metric, steps, request)
    }

    /// The series of one range aggregation at these steps.
    async fn leaf_series(&self, planner: &Planner, leaf: &Leaf<'_>, steps: Steps) -> Result<Vec<Series>, QueryError> {
        let plan = planner.range_query(leaf, &steps).await?;
        let mut series = Vec::new();
        for batch in self.execute(&planner.scope, plan).await? {
            series.extend(series_of(&batch).map_err(QueryError::Internal)?);
        }
        Ok(series)
    }

    /// How a request uses the results cache, if it may.
    fn through(&self, request: &QueryRequest) -> Option<Through> {
        let splitting = request.splitting.filter(|splitting| splitting.interval_ns > 0)?;
        matches!(request.kind, QueryKind::Range { .. }).then(|| Through {
            cache: self.parts.results.clone(),
            catalog: self.parts.catalog.clone(),
            scope: request.scope.clone(),
            interval_ns: splitting.interval_ns,
            keep_before: self.parts.clock.now().saturating_sub(splitting.freshness_ns),
        })
    }

    fn answer(
        &self,
        evaluated: Evaluated,
        metric: &MetricExpr,
        steps: Steps,
        request: &QueryRequest,
    ) -> Result<QueryAnswer, QueryError> {
        let time = UnixNanos(steps.start_ns);
        match (evaluated, request.kind) {
            (Evaluated::Scalar(value), QueryKind::Instant { .. }) => Ok(QueryAnswer::Scalar { time, value }),
            (Evaluated::Scalar(value), QueryKind::Range { .. }) => {
                Ok(QueryAnswer::Matrix { steps, series: vec![matrix::constant(value, &steps)] })
            }
            (Evaluated::Matrix(matrix), kind) => {
                matrix::check_series_limit(matrix.series.len(), request.series_max)?;
                match kind {
                    QueryKind::Range { .. } => Ok(QueryAnswer::Matrix { steps, series: matrix::sorted_series(matrix) }),
                    QueryKind::Instant { .. } => {
                        Ok(QueryAnswer::Vector { time, samples: matrix::sorted_samples(matrix, metric) })
                    }
                }
            }
        }
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("limits", &self.parts.limits).finish_non_exhaustive()
    }
}

/// A node of the tree, told apart from its equals by where it is.
fn address(range: &RangeAggregation) -> usize {
    std::ptr::from_ref(range).addr()
}

fn log_range(request: &QueryRequest) -> Result<TimeRange, QueryError> {
    match request.kind {
        QueryKind::Range { start, end, .. } => Ok(TimeRange::new(start, end)),
        QueryKind::Instant { .. } => Err(QueryError::BadInput(
            "log queries are not supported as an instant query type, please change your query to a range query type"
                .to_owned(),
        )),
    }
}

fn steps_of(kind: &QueryKind) -> Result<Steps, QueryError> {
    match *kind {
        QueryKind::Instant { time } => Ok(Steps { start_ns: time.0, step_ns: 1, count: 1 }),
        QueryKind::Range { start, end, step_ns, .. } if step_ns > 0 => {
            let count = (end.0.saturating_sub(start.0) / step_ns).max(0) as usize + 1;
            Ok(Steps { start_ns: start.0, step_ns, count })
        }
        QueryKind::Range { .. } => Err(QueryError::BadInput(
            "zero or negative query resolution step widths are not accepted. Try a positive integer".to_owned(),
        )),
    }
}

fn stats_of(counters: &ScanCounters) -> QueryStats {
    QueryStats {
        bytes_processed: counters.bytes.load(Ordering::Relaxed),
        lines_processed: counters.lines.load(Ordering::Relaxed),
        files_read: counters.files.load(Ordering::Relaxed),
        row_groups_read: counters.row_groups_read.load(Ordering::Relaxed),
        row_groups_skipped: counters.row_groups_skipped.load(Ordering::Relaxed),
        ..QueryStats::default()
    }
}

fn read_entries(batch: &RecordBatch, entries: &mut Vec<Categorized>) -> Result<(), QueryError> {
    let ts = batch.column(0).as_primitive::<Int64Type>();
    let text = |column: usize, row: usize| batch.column(column).as_string::<i32>().value(row);
    let labels = |column: usize, row: usize| {
        Labels::from_json(text(column, row)).map_err(|e| QueryError::Internal(e.to_string()))
    };
    for row in 0..batch.num_rows() {
        let entry = Entry {
            ts: UnixNanos(ts.value(row)),
            line: text(1, row).to_owned(),
            metadata: labels(3, row)?,
            parsed: labels(4, row)?,
        };
        entries.push(Categorized { stream: labels(2, row)?, entry });
    }
    Ok(())
}

/// Keeps entries at least `interval_ns` apart, at most `limit`.
///
/// Source: Loki steps through the merged entries, over all streams, and keeps those an interval beyond the last kept.
fn thin_out(entries: &mut Vec<Categorized>, interval_ns: i64, limit: usize) {
    let mut last: Option<UnixNanos> = None;
    entries.retain(|found| {
        let keep = last.is_none_or(|last| found.entry.ts.0.abs_diff(last.0) >= interval_ns.unsigned_abs());
        if keep {
            last = Some(found.entry.ts);
        }
        keep
    });
    entries.truncate(limit);
}

/// Entries by stream, streams sorted, entries in the order they came.
fn group(entries: Vec<Categorized>, categorize: bool) -> Vec<StreamEntries> {
    let mut streams: BTreeMap<Labels, Vec<Entry>> = BTreeMap::new();
    for Categorized { stream, mut entry } in entries {
        let labels = if categorize {
            stream
        } else {
            let (metadata, parsed) = (std::mem::take(&mut entry.metadata), std::mem::take(&mut entry.parsed));
            let all = stream.iter().chain(metadata.iter()).chain(parsed.iter());
            Labels::from_pairs_with_empty(all)
        };
        streams.entry(labels).or_default().push(entry);
    }
    streams.into_iter().map(|(labels, entries)| StreamEntries { labels, entries }).collect()
}

impl QueryAnswer {
    /// Entries or samples in all.
    pub fn entries(&self) -> usize {
        match self {
            QueryAnswer::Streams(streams) => streams.iter().map(|stream| stream.entries.len()).sum(),
            QueryAnswer::Matrix { series, .. } => series.len(),
            QueryAnswer::Vector { samples, .. } => samples.len(),
            QueryAnswer::Scalar { .. } => 1,
        }
    }
}
