//! One SQL statement, by whatever door it came: its turn, its place in the list, its record, its limit of rows.
//!
//! ```text
//! door ─▶ begin: gate ─▶ listed ─▶ planned (query threads) ─▶ Rows::next ─▶ next ─▶ … ─▶ the end: recorded
//!                                                       └ stopped, too many rows, export not recorded: an error
//! ```
//!
//! Invariant: no door of SQL gets rows but through [`Rows`], so none can forget a limit or the record.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::access::{Action, Scope};
use crate::api::Shared;
use crate::api::audit::{Note, Told};
use crate::api::error::{ApiError, ErrorKind};
use crate::api::gate::RunningQuery;
use crate::api::running::Listed;
use crate::api::tenant::Caller;
use crate::audit::Kind;
use crate::ingest::limits::Limits;
use crate::query::scan::ScanCounters;
use crate::query::{QueryError, SqlAnswer};

/// Who asks, and how many rows they may have.
#[derive(Debug, Clone)]
pub struct Asker {
    pub caller: Caller,
    pub scope: Scope,
    bound: Bound,
}

#[derive(Debug, Clone, Copy)]
enum Bound {
    /// May export: more rows than this are recorded before they are sent.
    Screen(usize),
    /// May not: more rows than this are refused. 0: any number.
    AtMost(usize),
}

/// The place of a statement among those that run. Given back while nobody reads, so that a client that went to lunch
/// with half a result keeps nobody waiting.
pub struct Place {
    shared: Shared,
    scope: Scope,
    held: Mutex<Option<RunningQuery>>,
}

/// Rows on their way to a client.
pub struct Rows {
    rows: SendableRecordBatchStream,
    /// Read already, not yet given out.
    ready: VecDeque<RecordBatch>,
    counters: Arc<ScanCounters>,
    given: usize,
    ended: bool,
    bound: Bound,
    note: Note,
    told: Option<Told>,
    listed: Listed,
    place: Arc<Place>,
}

impl Asker {
    /// # Errors
    /// 403 for who may not read.
    pub fn new(shared: &Shared, caller: &Caller) -> Result<Self, ApiError> {
        let scope = caller.scope(Action::Read)?;
        let limits = shared.limits_of(&scope);
        let bound = match caller.scope(Action::Export) {
            Ok(_) => Bound::Screen(screen_rows(&limits)),
            Err(_) => Bound::AtMost(limits.max_entries_limit_per_query),
        };
        Ok(Asker { caller: caller.clone(), scope, bound })
    }

    /// For questions about what there is, which show no line of any log.
    pub fn unbounded(self) -> Self {
        Asker { bound: Bound::AtMost(0), ..self }
    }

    pub fn may_export(&self) -> bool {
        matches!(self.bound, Bound::Screen(_))
    }

    /// Waits for the turn of a statement and begins it.
    ///
    /// # Errors
    /// When too many wait, when it was stopped, and those of `computing`.
    pub async fn begin(
        &self,
        shared: &Shared,
        note: Note,
        text: &str,
        computing: impl Future<Output = Result<SqlAnswer, QueryError>>,
    ) -> Result<Rows, ApiError> {
        let running = shared.turn(&self.scope).await?;
        let listed = shared.running.enter(&self.scope, "sql", text);
        let answer = tokio::select! {
            answer = computing => answer?,
            () = listed.stopped() => return Err(stopped()),
        };
        let place = Place { shared: shared.clone(), scope: self.scope.clone(), held: Mutex::new(Some(running)) };
        Ok(Rows {
            rows: answer.rows,
            ready: VecDeque::new(),
            counters: answer.counters,
            given: 0,
            ended: false,
            bound: self.bound,
            note,
            told: None,
            listed,
            place: Arc::new(place),
        })
    }
}

impl Place {
    /// Lets another statement run.
    pub fn leave(&self) {
        self.held.lock().take();
    }

    async fn enter(&self) -> Result<(), ApiError> {
        if self.held.lock().is_none() {
            let turn = self.shared.turn(&self.scope).await?;
            *self.held.lock() = Some(turn);
        }
        Ok(())
    }
}

impl Rows {
    pub fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    pub fn place(&self) -> Arc<Place> {
        self.place.clone()
    }

    /// Cancelled when the statement is to stop.
    pub fn stop(&self) -> CancellationToken {
        self.listed.token()
    }

    /// From here on the record is told here: when the rows end, break off, or are dropped.
    pub fn tell(&mut self, told: Told) {
        self.told = Some(told);
    }

    /// The next rows; none at the end.
    ///
    /// # Errors
    /// Those of the query; 403 for more rows than the caller may have; 503 when an export cannot be recorded.
    pub async fn next(&mut self) -> Option<Result<RecordBatch, ApiError>> {
        if let Some(batch) = self.ready.pop_front() {
            return Some(Ok(batch));
        }
        match self.read_next().await {
            Ok(Some(batch)) => Some(Ok(batch)),
            Ok(None) => {
                if let Some(told) = self.told.take() {
                    told.end().await;
                }
                None
            }
            Err(error) => {
                if let Some(told) = self.told.take() {
                    told.fail(error.status.as_u16(), &error.text);
                }
                Some(Err(error))
            }
        }
    }

    /// Reads all rows of a caller who may have only so many, so that they get all or none.
    ///
    /// # Errors
    /// Those of [`Rows::next`].
    pub async fn gather(&mut self) -> Result<(), ApiError> {
        if !matches!(self.bound, Bound::AtMost(most) if most > 0) {
            return Ok(());
        }
        let mut all = VecDeque::new();
        while let Some(batch) = self.next().await {
            all.push_back(batch?);
        }
        self.ready = all;
        Ok(())
    }

    /// The rows could not be sent on.
    pub fn break_off(&mut self, error: &str) {
        if let Some(told) = self.told.take() {
            told.fail(ErrorKind::Bug.status().as_u16(), error);
        }
    }

    async fn read_next(&mut self) -> Result<Option<RecordBatch>, ApiError> {
        if self.ended {
            return Ok(None);
        }
        self.place.enter().await?;
        let next = tokio::select! {
            next = self.rows.next() => next,
            () = self.listed.stopped() => return Err(stopped()),
        };
        let batch = next.transpose().map_err(QueryError::from)?;
        self.ended = batch.is_none();
        let rows = batch.as_ref().map_or(0, RecordBatch::num_rows);
        let before = self.given;
        self.given += rows;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        self.note.read(read(&self.counters.bytes), read(&self.counters.lines), self.given as u64);
        match self.bound {
            Bound::AtMost(most) if most > 0 && self.given > most => {
                let text =
                    format!("the answer has more than {most} rows; narrow it, or ask with a role that may export");
                return Err(ApiError::new(ErrorKind::Forbidden, text));
            }
            Bound::Screen(screen) if before <= screen && self.given > screen => {
                self.note.kind(Kind::Export);
                self.note.ask().await?;
            }
            Bound::AtMost(_) | Bound::Screen(_) => {}
        }
        Ok(batch)
    }

    /// The rows as they are found, and their place in the list: for cursors, which are recorded page by page.
    pub fn into_parts(self) -> (SendableRecordBatchStream, Listed) {
        (self.rows, self.listed)
    }
}

/// Rows that fit a screen: what a log query may have.
fn screen_rows(limits: &Limits) -> usize {
    match limits.max_entries_limit_per_query {
        0 => Limits::default().max_entries_limit_per_query,
        rows => rows,
    }
}

/// What is said of a statement that somebody stopped.
pub fn stopped() -> ApiError {
    ApiError::new(ErrorKind::ClientGone, "the query was stopped by an operator")
}
