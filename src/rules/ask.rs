//! Questions that rules ask: of the query engine, and of the derived metrics.

use std::sync::Arc;
use std::time::Duration;

use crate::access::Scope;
use crate::flow::Samples;
use crate::logql::ast::{Expr, LabelFilter, LogExpr, MatchOp, Matcher, MetricExpr, Stage};
use crate::logql::print;
use crate::query::plan::leaves;
use crate::query::{Direction, Engine, QueryAnswer, QueryKind, QueryRequest};
use crate::rules::expr::RuleExpr;
use crate::rules::render::AlertQueries;
use crate::template::QuerySample;
use crate::types::ids::TenantId;
use crate::types::labels::Labels;
use crate::types::sample::MetricReader;
use crate::types::time::{TimeRange, UnixNanos};

/// Bytes of one line that `$sample` shows.
const SAMPLE_LINE_BYTES_MAX: usize = 1024;

/// Who is asked. Cheap to clone.
#[derive(Clone)]
pub struct Asker {
    pub engine: Engine,
    pub metrics: Arc<dyn MetricReader>,
    pub timeout: Duration,
    pub sample_lines: usize,
}

impl std::fmt::Debug for Asker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asker").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl Asker {
    /// The samples of an expression at `at`.
    ///
    /// # Errors
    /// In the words of the engine asked.
    pub async fn ask(&self, tenant: &TenantId, expr: &RuleExpr, at: UnixNanos) -> Result<Samples, String> {
        match expr {
            RuleExpr::LogQl(metric) => {
                self.logql(tenant, print(&Expr::Metric(metric.clone())), QueryKind::Instant { time: at }).await
            }
            RuleExpr::PromQl(text) => self.promql(tenant, text, at).await,
        }
    }

    async fn promql(&self, tenant: &TenantId, text: &str, at: UnixNanos) -> Result<Samples, String> {
        let asked = tokio::time::timeout(self.timeout, self.metrics.instant(tenant, text, at)).await;
        let samples = asked.map_err(|_| format!("not answered within {:?}", self.timeout))?;
        let samples = samples.map_err(|error| error.to_string())?;
        Ok(samples.into_iter().map(|sample| (sample.labels, sample.value)).collect())
    }

    async fn logql(&self, tenant: &TenantId, text: String, kind: QueryKind) -> Result<Samples, String> {
        let (answer, _) = self.engine.query(self.request(tenant, text, kind, 1)).await.map_err(|e| e.to_string())?;
        match answer {
            QueryAnswer::Vector { samples, .. } => Ok(samples),
            QueryAnswer::Scalar { value, .. } => Ok(vec![(Labels::default(), value)]),
            QueryAnswer::Matrix { .. } | QueryAnswer::Streams(_) => Err("the answer is no vector".to_owned()),
        }
    }

    fn request(&self, tenant: &TenantId, text: String, kind: QueryKind, limit: usize) -> QueryRequest {
        QueryRequest {
            scope: Scope::of_server(tenant.clone()),
            text,
            kind,
            limit,
            direction: Direction::Backward,
            categorize: false,
            splitting: None,
            series_max: 0,
            timeout: self.timeout,
        }
    }

    /// The newest lines behind a sample, a line each.
    pub async fn sample_lines(&self, tenant: &TenantId, expr: &RuleExpr, labels: &Labels, at: UnixNanos) -> String {
        let Some((log, range)) = lines_behind(expr, labels, at) else { return String::new() };
        if self.sample_lines == 0 {
            return String::new();
        }
        let kind = QueryKind::Range { start: range.start, end: range.end, step_ns: 1, interval_ns: 0 };
        let request = self.request(tenant, print(&Expr::Log(log)), kind, self.sample_lines);
        match self.engine.query(request).await {
            Ok((QueryAnswer::Streams(streams), _)) => {
                let mut entries: Vec<_> = streams.into_iter().flat_map(|stream| stream.entries).collect();
                entries.sort_by_key(|entry| std::cmp::Reverse(entry.ts));
                let lines = entries.iter().map(|entry| shortened(&entry.line));
                lines.collect::<Vec<_>>().join("\n")
            }
            Ok(_) => String::new(),
            Err(error) => format!("(no lines: {error})"),
        }
    }

    /// For templates, which are synchronous: each question runs on a thread of its own.
    pub fn blocking<'a>(
        &'a self,
        tenant: &'a TenantId,
        expr: &'a RuleExpr,
        at: UnixNanos,
        runtime: tokio::runtime::Handle,
    ) -> impl AlertQueries + 'a {
        Blocking { asker: self, tenant, expr, at, runtime }
    }
}

struct Blocking<'a> {
    asker: &'a Asker,
    tenant: &'a TenantId,
    expr: &'a RuleExpr,
    at: UnixNanos,
    runtime: tokio::runtime::Handle,
}

impl Blocking<'_> {
    fn wait<T: Send>(&self, work: impl Future<Output = T> + Send) -> Option<T> {
        // A worker of the runtime may not block on the runtime; a thread beside it may.
        std::thread::scope(|scope| scope.spawn(|| self.runtime.block_on(work)).join()).ok()
    }
}

impl AlertQueries for Blocking<'_> {
    fn query(&self, expression: &str) -> Result<Vec<QuerySample>, String> {
        let expr = RuleExpr::parse(expression).map_err(|error| error.to_string())?;
        let samples = self
            .wait(self.asker.ask(self.tenant, &expr, self.at))
            .unwrap_or_else(|| Err("the question was not answered".to_owned()))?;
        let sample = |(labels, value): (Labels, f64)| QuerySample {
            labels: labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            value,
        };
        Ok(samples.into_iter().map(sample).collect())
    }

    fn sample_lines(&self, labels: &Labels) -> String {
        self.wait(self.asker.sample_lines(self.tenant, self.expr, labels, self.at)).unwrap_or_default()
    }
}

/// The first selector and pipeline of an expression, narrowed to the labels of a sample, and its window.
fn lines_behind(expr: &RuleExpr, labels: &Labels, at: UnixNanos) -> Option<(LogExpr, TimeRange)> {
    let RuleExpr::LogQl(metric) = expr else { return None };
    let range = first_range(metric)?;
    let end = at.saturating_sub(range.offset_ns).saturating_add(1);
    let mut log = range.log.clone();
    log.stages.retain(|stage| !matches!(stage, Stage::Unwrap { .. }));
    for (name, value) in labels.iter().filter(|(name, _)| *name != "__name__") {
        let matcher = Matcher { name: name.to_owned(), op: MatchOp::Equal, value: value.to_owned() };
        log.stages.push(Stage::LabelFilter(LabelFilter::Text(matcher)));
    }
    Some((log, TimeRange::new(end.saturating_sub(range.range_ns), end)))
}

fn first_range(metric: &MetricExpr) -> Option<&crate::logql::ast::RangeAggregation> {
    leaves(metric).first().map(|leaf| leaf.range)
}

fn shortened(line: &str) -> &str {
    let line = line.trim_end();
    let mut end = line.len().min(SAMPLE_LINE_BYTES_MAX);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    &line[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_behind_a_sample_have_its_labels() {
        let expr = RuleExpr::parse(
            "sum by (service) (rate({env=\"p\"} | json | unwrap ms | __error__=\"\" [5m] offset 1m)) > 3",
        )
        .expect("good");
        let labels = Labels::from_pairs([("service", "gw")]);
        let (log, range) = lines_behind(&expr, &labels, UnixNanos(600_000_000_000)).expect("there are lines");
        assert_eq!(print(&Expr::Log(log)), r#"{env="p"} | json | __error__="" | service="gw""#);
        assert_eq!((range.start.0, range.end.0), (240_000_000_001, 540_000_000_001));
        assert!(lines_behind(&RuleExpr::parse("up > 1").expect("good"), &labels, UnixNanos(0)).is_none());
        assert_eq!(shortened(&"é".repeat(600)).len(), 1024);
    }
}
