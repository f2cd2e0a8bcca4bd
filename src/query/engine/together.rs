//! The same question asked while it is being answered: computed once, for all who ask.
//!
//! ```text
//! a ─ ask ─▶ computing (rows as of its start) ─▶ answer ─▶ a, b
//! b ─ ask, no row of its range came or went since ─┘
//! c ─ ask, a row came ─▶ computing of its own
//! ```
//!
//! Invariants: an answer has every row that was acknowledged before it was asked for; who goes away takes nothing from
//! the others, and the last one to go stops the work.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};
use parking_lot::Mutex;
use tokio_util::task::AbortOnDropHandle;

use super::Engine;
use crate::catalog::ChangeSeq;
use crate::logql::ast::Expr;
use crate::query::answer::{QueryAnswer, QueryKind, QueryRequest, QueryStats, Splitting};
use crate::query::limits::selectors;
use crate::query::{Direction, QueryError};
use crate::types::time::TimeRange;

/// What makes two requests the same question.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Question {
    /// [`crate::access::Scope::key`], and whether limits of tenants hold.
    scope: (Arc<str>, bool),
    text: String,
    kind: QueryKind,
    limit: usize,
    direction: Direction,
    categorize: bool,
    splitting: Option<Splitting>,
    series_max: usize,
}

type Outcome = Result<Arc<(QueryAnswer, QueryStats)>, QueryError>;
type Computing = Shared<BoxFuture<'static, Outcome>>;

/// Questions that are being answered.
#[derive(Default)]
pub(super) struct UnderWay {
    questions: Mutex<HashMap<Question, Running>>,
    joined: AtomicU64,
}

struct Running {
    /// Rows that came or went later are not in the answer.
    seq: ChangeSeq,
    computing: WeakShared<BoxFuture<'static, Outcome>>,
}

impl Engine {
    /// Runs LogQL. Dropping the future stops the work, unless another waits for it.
    pub async fn query(&self, request: QueryRequest) -> Result<(QueryAnswer, QueryStats), QueryError> {
        let expr = crate::logql::parse(&request.text)?;
        let timeout = request.timeout;
        let computing = self.computing(expr, request);
        let outcome = tokio::time::timeout(timeout, computing).await.map_err(|_| QueryError::Timeout)?;
        Ok(Arc::try_unwrap(outcome?).unwrap_or_else(|shared| (*shared).clone()))
    }

    /// Questions that were answered together with an equal one, since the start.
    pub fn joined(&self) -> u64 {
        self.parts.under_way.joined.load(Ordering::Relaxed)
    }

    fn computing(&self, expr: Expr, request: QueryRequest) -> Computing {
        let range = range_read(&expr, request.kind);
        let question = Question::of(&request);
        let under_way = &self.parts.under_way;
        let running = under_way.running(&question);
        if let Some((computing, seq)) = running
            && !request.scope.tenants().any(|tenant| self.parts.catalog.changed_since(tenant, range, seq))
        {
            under_way.joined.fetch_add(1, Ordering::Relaxed);
            return computing;
        }
        let seq = self.parts.catalog.change_seq();
        let engine = self.clone();
        let work = async move { engine.answer_alone(expr, request).await.map(Arc::new) };
        let task = AbortOnDropHandle::new(self.parts.threads.spawn(work));
        let computing = async move {
            task.await.unwrap_or_else(|stopped| Err(QueryError::Internal(format!("the query stopped: {stopped}"))))
        };
        let computing = computing.boxed().shared();
        under_way.add(question, seq, &computing);
        computing
    }

    async fn answer_alone(&self, expr: Expr, request: QueryRequest) -> Result<(QueryAnswer, QueryStats), QueryError> {
        let started = self.parts.clock.now();
        let planner = self.planner(&request.scope);
        self.check(&planner, &expr, request.kind).await?;
        let answer = match expr {
            Expr::Log(log) => self.log_query(&planner, &log, &request).await?,
            Expr::Metric(metric) => self.metric_query(&planner, &metric, &request).await?,
        };
        let mut stats = super::stats_of(&planner.counters);
        stats.exec_seconds = (self.parts.clock.now().0 - started.0) as f64 / 1e9;
        stats.entries_returned = answer.entries() as u64;
        Ok((answer, stats))
    }
}

impl UnderWay {
    fn running(&self, question: &Question) -> Option<(Computing, ChangeSeq)> {
        let questions = self.questions.lock();
        let running = questions.get(question)?;
        Some((running.computing.upgrade()?, running.seq))
    }

    /// Lets others find it; those that nobody waits for any more are forgotten.
    fn add(&self, question: Question, seq: ChangeSeq, computing: &Computing) {
        let Some(computing) = computing.downgrade() else { return };
        let mut questions = self.questions.lock();
        questions.retain(|_, running| running.computing.upgrade().is_some());
        questions.insert(question, Running { seq, computing });
    }
}

impl Question {
    fn of(request: &QueryRequest) -> Self {
        Question {
            scope: (request.scope.key().clone(), request.scope.is_of_server()),
            text: request.text.clone(),
            kind: request.kind,
            limit: request.limit,
            direction: request.direction,
            categorize: request.categorize,
            splitting: request.splitting,
            series_max: request.series_max,
        }
    }
}

/// All times of which rows are read.
fn range_read(expr: &Expr, kind: QueryKind) -> TimeRange {
    let (start, end) = match kind {
        QueryKind::Instant { time } => (time, time),
        QueryKind::Range { start, end, .. } => (start, end),
    };
    let mut all: Option<TimeRange> = None;
    for (_, range_ns, offset_ns) in selectors(expr) {
        let start = start.saturating_sub(offset_ns).saturating_sub(range_ns);
        // A step's own time belongs to its window.
        let end = end.saturating_sub(offset_ns).saturating_add(1);
        all =
            Some(all.map_or(TimeRange::new(start, end), |all| TimeRange::new(all.start.min(start), all.end.max(end))));
    }
    all.unwrap_or(TimeRange::new(start, start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logql;
    use crate::types::time::UnixNanos;

    #[test]
    fn a_question_reads_its_windows() {
        let check = |text: &str, expected: (i64, i64)| {
            let kind = QueryKind::Range { start: UnixNanos(100), end: UnixNanos(200), step_ns: 1, interval_ns: 0 };
            let range = range_read(&logql::parse(text).expect("good"), kind);
            let seconds = |time: UnixNanos| time.0;
            assert_eq!((seconds(range.start), seconds(range.end)), expected, "{text}");
        };
        let second = 1_000_000_000;
        check(r#"{a="b"}"#, (100, 201));
        check(r#"rate({a="b"}[10s])"#, (100 - 10 * second, 201));
        check(r#"rate({a="b"}[10s] offset 5s) + rate({a="b"}[1s] offset -2s)"#, (100 - 15 * second, 201 + 2 * second));
        check("vector(1)", (100, 100));
    }
}
