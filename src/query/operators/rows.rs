//! Runs the row pipeline over batches: what the operators share.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::Array;
use datafusion::common::Result as DfResult;
use datafusion::error::DataFusionError;

use crate::query::row::{Row, RowPipeline, RowState, StreamBase};
use crate::streams::{StreamRef, TenantStreams};
use crate::types::rows::Rows;

/// The name under which the level of a row is metadata.
pub const DETECTED_LEVEL: &str = "detected_level";

/// A compiled pipeline and the streams it runs over. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RowProgram {
    pub pipeline: Arc<RowPipeline>,
    pub streams: Arc<TenantStreams>,
    /// `now` of the query, for templates.
    pub now_ns: i64,
    /// The selector and pipeline as text, for plans.
    pub text: Arc<str>,
}

/// Per partition: stream bases met so far and the scratch of the pipeline.
pub struct RowRunner {
    program: RowProgram,
    bases: Vec<Option<Arc<StreamBase>>>,
    state: RowState,
    classes: StreamClasses,
}

/// Streams that a pipeline cannot tell apart have the same class.
struct StreamClasses {
    /// The names of labels that make a difference; none when all do.
    names: Option<Vec<String>>,
    /// By stream.
    known: Vec<Option<u32>>,
    numbers: HashMap<Vec<(String, String)>, u32>,
}

impl RowRunner {
    pub fn new(program: RowProgram) -> Self {
        let state = RowState::new(program.now_ns);
        let names = program.pipeline.seen_names().map(|names| names.into_iter().map(str::to_owned).collect());
        let classes = StreamClasses { names, known: Vec::new(), numbers: HashMap::new() };
        RowRunner { program, bases: Vec::new(), state, classes }
    }

    /// Whether the level of a row makes a difference.
    pub fn sees_level(&self) -> bool {
        let names = self.classes.names.as_ref();
        names.is_none_or(|names| names.iter().any(|name| name.starts_with(DETECTED_LEVEL)))
    }

    /// A number that streams share which the pipeline cannot tell apart.
    #[inline]
    pub fn class_of(&mut self, stream: u32) -> u32 {
        match self.classes.known.get(stream as usize) {
            Some(Some(class)) => *class,
            _ => self.classes.classify(stream, &self.program.streams),
        }
    }

    /// Runs rows in the given order; `each` sees those that the pipeline keeps, with their number in the batch.
    ///
    /// `rows.narrowed` is for pipelines with [`RowPipeline::parsed_alone`] whose lines nobody looks at.
    pub fn run(
        &mut self,
        rows: &Rows<'_>,
        order: impl Iterator<Item = usize>,
        mut each: impl FnMut(usize, Row<'_>) -> DfResult<()>,
    ) -> DfResult<()> {
        let pipeline = self.program.pipeline.clone();
        let mut metadata: Vec<(&str, &str)> = Vec::new();
        let stored = rows.metadata.filter(|metadata| !metadata.is_all_null());
        let mut last: Option<(u32, Arc<StreamBase>)> = None;
        for row in order {
            let line = rows.line.map_or("", |lines| lines.value(row));
            if !pipeline.leading_line_filters().iter().all(|filter| filter.matches(line)) {
                continue;
            }
            let stream = rows.stream[row];
            if last.as_ref().is_none_or(|(known, _)| *known != stream) {
                last = Some((stream, self.base(stream)));
            }
            let Some((_, base)) = &last else { continue };
            metadata.clear();
            if let Some(stored) = stored {
                stored.append_row(row, &mut metadata);
            }
            if let Some(level) = rows.level.filter(|level| level.is_valid(row)) {
                metadata.push((DETECTED_LEVEL, level.value(row)));
            }
            // Filters have seen the whole line.
            let line = rows.narrowed.and_then(|narrowed| narrowed.value(row)).unwrap_or(line);
            if let Some(kept) = self.state.run_prefiltered(&pipeline, base, &metadata, rows.ts[row], line) {
                each(row, kept)?;
            }
        }
        Ok(())
    }

    fn base(&mut self, stream: u32) -> Arc<StreamBase> {
        let at = stream as usize;
        if self.bases.len() <= at {
            self.bases.resize(at + 1, None);
        }
        let streams = &self.program.streams;
        self.bases[at]
            .get_or_insert_with(|| Arc::new(StreamBase::new(streams.get(StreamRef(stream)).labels.clone())))
            .clone()
    }
}

impl StreamClasses {
    fn classify(&mut self, stream: u32, streams: &TenantStreams) -> u32 {
        let at = stream as usize;
        if self.known.len() <= at {
            self.known.resize(at + 1, None);
        }
        let class = match &self.names {
            None => stream,
            Some(names) => {
                let stream = streams.get(StreamRef(stream));
                let is_seen = |name: &str| names.iter().any(|seen| name.starts_with(seen.as_str()));
                let seen = stream.labels.iter().filter(|(name, _)| is_seen(name));
                let key = seen.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
                let next = self.numbers.len() as u32;
                *self.numbers.entry(key).or_insert(next)
            }
        };
        self.known[at] = Some(class);
        class
    }
}

/// A text that the client is to read: bad input, as the query's answer.
pub fn refused(text: String) -> DataFusionError {
    DataFusionError::External(Box::new(Refused(text)))
}

/// Carries a client's error through DataFusion.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);
