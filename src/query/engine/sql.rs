//! SQL: sessions over what a scope shows, and single statements.
//!
//! ```text
//! statement ─▶ plan (read-only) ─▶ query threads ─ 2 batches ready ─▶ whoever reads, as fast as they read
//! ```
//!
//! Invariant: a result is never held as a whole; who stops reading stops the work.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::common::{ParamValues, Result as DfResult, ScalarValue};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::{DataFrame, SessionContext};
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::Engine;
use crate::access::Scope;
use crate::query::QueryError;
use crate::query::scan::ScanCounters;
use crate::query::sql::{self, SqlSource, SqlViews};
use crate::types::time::UnixNanos;

/// Batches computed ahead of who reads them: one in work, one waiting.
const BATCHES_READY_MAX: usize = 2;

/// A statement to run.
#[derive(Debug, Clone)]
pub struct SqlRequest {
    pub scope: Scope,
    pub text: String,
    /// Values of `$1`, `$2`, …
    pub params: Vec<ScalarValue>,
    /// Time that computing may take; how long a client takes to read does not count.
    pub timeout: Duration,
}

/// Rows as they are found.
pub struct SqlAnswer {
    pub rows: SendableRecordBatchStream,
    /// What has been read so far.
    pub counters: Arc<ScanCounters>,
}

impl Engine {
    /// Where the views of a session of `scope` get their rows.
    pub fn sql_source(&self, scope: &Scope) -> SqlSource {
        SqlSource::new(self.clone(), scope.clone(), self.limits_of(scope))
    }

    /// A session in which only what the source's scope shows exists.
    ///
    /// # Errors
    /// When two views have one name.
    pub fn sql_session(&self, source: &SqlSource) -> Result<SessionContext, QueryError> {
        let others: Vec<Arc<dyn SqlViews>> = self.parts.sql_views.read().clone();
        sql::session(source, self.parts.limits.threads, self.parts.memory.of(&source.scope), &others)
    }

    /// Adds views to all sessions from now on.
    pub fn add_sql_views(&self, views: Arc<dyn SqlViews>) {
        self.parts.sql_views.write().push(views);
    }

    /// Runs one statement that only reads.
    ///
    /// # Errors
    /// `BadInput` for what does not parse, plan, or only read.
    pub async fn sql(&self, request: SqlRequest) -> Result<SqlAnswer, QueryError> {
        self.check_blocked(&request.scope, &request.text, "sql", "")?;
        let source = self.sql_source(&request.scope);
        let session = self.sql_session(&source)?;
        let planning = async move {
            let plan = session.sql_with_options(&request.text, sql::read_only()).await?;
            Ok(match request.params.is_empty() {
                true => plan,
                false => plan.with_param_values(ParamValues::from(request.params))?,
            })
        };
        self.sql_frame(&source, planning, request.timeout).await
    }

    /// Runs the plan of `text` that was made in `session`, which reads from `source`, and that only reads.
    ///
    /// # Errors
    /// `BadInput` for a plan that does more than read; those of the rows.
    pub async fn sql_plan(
        &self,
        source: &SqlSource,
        session: &SessionContext,
        text: &str,
        plan: LogicalPlan,
        timeout: Duration,
    ) -> Result<SqlAnswer, QueryError> {
        self.check_blocked(&source.scope, text, "sql", "")?;
        source.begin(self.limits_of(&source.scope));
        sql::read_only().verify_plan(&plan)?;
        let frame = DataFrame::new(session.state(), plan);
        self.sql_frame(source, async { Ok(frame) }, timeout).await
    }

    async fn sql_frame(
        &self,
        source: &SqlSource,
        planning: impl Future<Output = DfResult<DataFrame>> + Send + 'static,
        timeout: Duration,
    ) -> Result<SqlAnswer, QueryError> {
        let counters = source.counters();
        let started = Instant::now();
        let rows = self.run(timeout, async move { Ok(planning.await?.execute_stream().await?) }).await?;
        let left = timeout.saturating_sub(started.elapsed());
        Ok(SqlAnswer { rows: self.on_query_threads(rows, left), counters })
    }

    /// Plans on the query threads.
    ///
    /// # Errors
    /// `Timeout`.
    pub async fn sql_planning<T: Send + 'static>(
        &self,
        timeout: Duration,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, QueryError> {
        self.run(timeout, async move { Ok(work.await) }).await
    }

    /// Computes a stream on the query threads, for at most `timeout` in all.
    pub fn on_query_threads(&self, rows: SendableRecordBatchStream, timeout: Duration) -> SendableRecordBatchStream {
        let schema = rows.schema();
        let (ready, reader) = mpsc::channel(BATCHES_READY_MAX);
        let computing = async move {
            let mut rows = rows;
            let mut left = timeout;
            loop {
                let began = Instant::now();
                let next = match tokio::time::timeout(left, rows.next()).await {
                    Ok(None) => return,
                    Ok(Some(batch)) => batch,
                    Err(_) => Err(sql::external(QueryError::Timeout)),
                };
                left = left.saturating_sub(began.elapsed());
                let is_last = next.is_err();
                if ready.send(next).await.is_err() || is_last {
                    return;
                }
            }
        };
        let task = AbortOnDropHandle::new(self.parts.threads.spawn(computing));
        let batches = futures::stream::unfold((reader, task), |(mut reader, task)| async move {
            let next = reader.recv().await;
            next.map(|batch| (batch, (reader, task)))
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, batches))
    }

    /// After this a question without a time of its own ends.
    pub fn timeout(&self) -> Duration {
        self.parts.limits.timeout
    }

    pub fn now(&self) -> UnixNanos {
        self.parts.clock.now()
    }
}
