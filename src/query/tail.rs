//! A log query over rows as they arrive: the part of a live tail that knows LogQL.
//!
//! ```text
//! arrived rows ─▶ streams of the selector ─▶ row pipeline ─▶ entries, labels told apart or together
//! ```
//!
//! Invariant: a row is judged as a range query would judge it.

use arrow::array::RecordBatch;

use crate::logql;
use crate::logql::ast::Expr;
use crate::query::matchers::Selector;
use crate::query::operators::rows::{RowProgram, RowRunner};
use crate::query::row::{Category, Row};
use crate::query::{Entry, QueryError};
use crate::streams::StreamRef;
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
    /// By stream ref: whether the selector wants it, once it was asked.
    wanted: Vec<Option<bool>>,
    categorize: bool,
}

impl TailProgram {
    pub(super) fn new(program: RowProgram, selector: Selector, categorize: bool) -> Self {
        let runner = RowRunner::new(program.clone());
        TailProgram { program, runner, selector, wanted: Vec::new(), categorize }
    }

    /// Whether the selector wants this stream.
    pub fn wants(&mut self, stream: StreamRef) -> bool {
        let at = stream.0 as usize;
        if self.wanted.len() <= at {
            self.wanted.resize(at + 1, None);
        }
        let (selector, streams) = (&self.selector, &self.program.streams);
        *self.wanted[at].get_or_insert_with(|| selector.matches(&streams.get(stream).labels))
    }

    /// Labels of a stream, for those who are told that rows of it were lost.
    pub fn labels(&self, stream: StreamRef) -> Labels {
        self.program.streams.get(stream).labels.clone()
    }

    /// The entries of a batch of `ROW_SCHEMA`, in its order. CPU-bound.
    pub fn run(&mut self, batch: &RecordBatch) -> Result<Vec<TailEntry>, QueryError> {
        let rows = Rows::of(batch);
        let wanted: Vec<usize> = (0..rows.len()).filter(|row| self.wants(StreamRef(rows.stream[*row]))).collect();
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
