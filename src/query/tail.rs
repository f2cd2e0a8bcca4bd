//! A log query over rows as they arrive: the part of a live tail that knows LogQL.
//!
//! ```text
//! arrived rows ─▶ streams of the selector ─▶ row pipeline ─▶ entries, labels told apart or together
//! ```
//!
//! Invariant: a row is judged as a range query would judge it.

use std::sync::Arc;

use arrow::array::RecordBatch;

use crate::access::Scope;
use crate::logql;
use crate::logql::ast::Expr;
use crate::query::matchers::Selector;
use crate::query::operators::rows::{RowProgram, RowRunner};
use crate::query::redact::masked;
use crate::query::row::{Category, Row};
use crate::query::visible::VisibleStreams;
use crate::query::{Entry, QueryError};
use crate::streams::{StreamRef, Streams};
use crate::types::labels::Labels;
use crate::types::rows::Rows;
use crate::types::time::UnixNanos;

/// An entry of a tail, with the labels of its stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TailEntry {
    pub labels: Labels,
    pub entry: Entry,
}

/// A compiled tail. One thread at a time runs it.
pub struct TailProgram {
    program: RowProgram,
    runner: RowRunner,
    selector: Selector,
    view: TailView,
    /// By stream ref: whether the selector wants it, once it was asked.
    wanted: Vec<Option<bool>>,
    categorize: bool,
}

/// The streams of one tenant as the asker sees them, kept up with streams that come while the tail is open.
pub(super) struct TailView {
    scope: Scope,
    visible: VisibleStreams,
    streams: Arc<Streams>,
}

impl TailView {
    pub(super) fn new(scope: Scope, visible: VisibleStreams, streams: Arc<Streams>) -> Self {
        TailView { scope, visible, streams }
    }

    /// Whether `stream` came after the view was made; then the view is made anew.
    fn catch_up(&mut self, stream: StreamRef) -> bool {
        let is_known = self.visible.parts()[0].knows(stream);
        if !is_known {
            self.visible = VisibleStreams::new(&self.scope, &self.streams);
        }
        !is_known
    }
}

impl TailProgram {
    /// A tail is of one tenant, whose refs are those of the view.
    pub(super) fn new(program: RowProgram, selector: Selector, view: TailView, categorize: bool) -> Self {
        let runner = RowRunner::new(program.clone());
        TailProgram { program, runner, selector, view, wanted: Vec::new(), categorize }
    }

    /// Whether the selector wants this stream, and the scope shows it.
    pub fn wants(&mut self, stream: StreamRef) -> bool {
        let at = stream.0 as usize;
        if self.wanted.len() <= at {
            self.wanted.resize(at + 1, None);
        }
        if let Some(known) = self.wanted[at] {
            return known;
        }
        if self.view.catch_up(stream) {
            self.program.streams = self.view.visible.streams().clone();
            self.runner = RowRunner::new(self.program.clone());
        }
        let is_shown = self.view.visible.parts()[0].shows(stream);
        let wants = is_shown && self.selector.matches(&self.view.visible.streams().get(stream).labels);
        self.wanted[at] = Some(wants);
        wants
    }

    /// Labels of a wanted stream, for those who are told that rows of it were lost.
    pub fn labels(&self, stream: StreamRef) -> Labels {
        self.program.streams.get(stream).labels.clone()
    }

    /// The entries of a batch of `ROW_SCHEMA`, in its order. CPU-bound.
    pub fn run(&mut self, batch: &RecordBatch) -> Result<Vec<TailEntry>, QueryError> {
        let stored = Rows::of(batch);
        let wanted: Vec<usize> = (0..stored.len()).filter(|row| self.wants(StreamRef(stored.stream[*row]))).collect();
        let masks = self.view.visible.parts()[0].masks().map(|masks| &**masks);
        let shown = masked(batch.clone(), masks).map_err(|error| QueryError::Internal(error.to_string()))?;
        let rows = Rows::of(&shown);
        let categorize = self.categorize;
        let mut entries = Vec::with_capacity(wanted.len());
        self.runner.run(&rows, wanted.into_iter(), |row, kept| {
            entries.push(entry_of(UnixNanos(rows.ts[row]), &kept, categorize));
            Ok(())
        })?;
        Ok(entries)
    }
}

impl std::fmt::Debug for TailProgram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TailProgram").field("query", &self.program.text).finish_non_exhaustive()
    }
}

/// The log query of a tail.
///
/// # Errors
/// `BadInput` for text that does not parse, and for a metric query.
pub fn parse(text: &str) -> Result<logql::ast::LogExpr, QueryError> {
    match logql::parse(text)? {
        Expr::Log(log) => Ok(log),
        Expr::Metric(_) => Err(QueryError::BadInput("only log selector is supported".to_owned())),
    }
}

fn entry_of(ts: UnixNanos, row: &Row<'_>, categorize: bool) -> TailEntry {
    let (mut stream, mut metadata, mut parsed) = (Vec::new(), Vec::new(), Vec::new());
    row.for_each_label(|category, name, value| {
        let list = match category {
            Category::Metadata if categorize => &mut metadata,
            Category::Parsed if categorize => &mut parsed,
            _ => &mut stream,
        };
        list.push((name.to_owned(), value.to_owned()));
    });
    let [labels, metadata, parsed] = [stream, metadata, parsed].map(Labels::from_pairs_with_empty);
    TailEntry { labels, entry: Entry { ts, line: row.line().to_owned(), metadata, parsed } }
}
