//! Runs the row pipeline over batches: what the operators share.

use std::sync::Arc;

use datafusion::common::Result as DfResult;
use datafusion::error::DataFusionError;

use crate::query::row::{RowPipeline, RowState, StreamBase};
use crate::streams::{StreamRef, TenantStreams};
use crate::types::rows::Rows;

/// The name under which the level of a row is metadata.
pub const DETECTED_LEVEL: &str = "detected_level";

/// A compiled pipeline and the streams it runs over. Cheap to clone.
#[derive(Clone)]
pub struct RowProgram {
    pub pipeline: Arc<RowPipeline>,
    pub streams: Arc<TenantStreams>,
    /// `now` of the query, for templates.
    pub now_ns: i64,
}

impl std::fmt::Debug for RowProgram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowProgram").finish_non_exhaustive()
    }
}

/// Per partition: stream bases met so far and the scratch of the pipeline.
pub struct RowRunner {
    program: RowProgram,
    bases: Vec<Option<Arc<StreamBase>>>,
    state: RowState,
}

impl RowRunner {
    pub fn new(program: RowProgram) -> Self {
        let state = RowState::new(program.now_ns);
        RowRunner { program, bases: Vec::new(), state }
    }

    /// Runs every row in the given order; `each` sees the rows that the pipeline keeps.
    ///
    /// `each` gets the row's number in the batch and the state after the pipeline.
    pub fn run(
        &mut self,
        rows: &Rows<'_>,
        order: impl Iterator<Item = usize>,
        mut each: impl FnMut(usize, &mut RowState) -> DfResult<()>,
    ) -> DfResult<()> {
        let mut metadata: Vec<(&str, &str)> = Vec::new();
        let stored = rows.metadata.filter(|metadata| !metadata.is_all_null());
        let mut base: Option<(u32, Arc<StreamBase>)> = None;
        for row in order {
            let stream = rows.stream[row];
            let base = match &base {
                Some((known, base)) if *known == stream => base.clone(),
                _ => {
                    let found = self.base(stream);
                    base = Some((stream, found.clone()));
                    found
                }
            };
            metadata.clear();
            if let Some(stored) = stored {
                stored.append_row(row, &mut metadata);
            }
            if let Some(level) = rows.level.filter(|level| arrow::array::Array::is_valid(*level, row)) {
                metadata.push((DETECTED_LEVEL, level.value(row)));
            }
            let line = rows.line.map_or("", |lines| lines.value(row));
            if self.state.run(&self.program.pipeline, &base, &metadata, rows.ts[row], line) {
                each(row, &mut self.state)?;
            }
        }
        Ok(())
    }

    fn base(&mut self, stream: u32) -> Arc<StreamBase> {
        let at = stream as usize;
        if self.bases.len() <= at {
            self.bases.resize(at + 1, None);
        }
        self.bases[at]
            .get_or_insert_with(|| {
                Arc::new(StreamBase::new(self.program.streams.get(StreamRef(stream)).labels.clone()))
            })
            .clone()
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
