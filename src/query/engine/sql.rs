//! SQL: sessions over what a scope shows, and single statements.
//!
//! ```text
//! statement ─▶ plan (read-only) ─▶ query threads ─ 2 batches ready ─▶ whoever reads, as fast as they read
//! ```
//!
//! Invariant: a result is never held as a whole; who stops reading stops the work.

use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::common::{ParamValues, ScalarValue};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::SessionContext;
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
        let limits = self.limits_of(scope);
        let counters = Arc::new(ScanCounters { bytes_max: limits.bytes_max, ..ScanCounters::default() });
        SqlSource { engine: self.clone(), scope: scope.clone(), limits, counters }
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
        let counters = source.counters.clone();
        let session = self.sql_session(&source)?;
        let started = Instant::now();
        let timeout = request.timeout;
        let planning = async move {
            let plan = session.sql_with_options(&request.text, sql::read_only()).await?;
            let plan = match request.params.is_empty() {
                true => plan,
                false => plan.with_param_values(ParamValues::from(request.params))?,
            };
            Ok(plan.execute_stream().await?)
        };
        let rows = self.run(timeout, planning).await?;
        let left = timeout.saturating_sub(started.elapsed());
        Ok(SqlAnswer { rows: self.on_query_threads(rows, left), counters })
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
