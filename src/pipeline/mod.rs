//! Promtail's pipeline stages: lines parsed, labelled, masked, joined, dropped and counted before they are sent.
//!
//! ```text
//! pipeline_stages (YAML) ─▶ build ─▶ Pipeline
//! entries ─▶ run ─▶ stage ─▶ stage ─▶ … ─▶ entries that go on      (what a stage holds back comes with a later run)
//! ```
//!
//! A stage takes a batch and leaves what goes on in it. It has no clock, no file and no channel: the time comes with
//! each [`Context`], and a stage that would wait says until when ([`Context::wait_until_ns`]).
//! One stage a file under `stages/`, with its example; semantics and errors are Promtail's, departures are in
//! `docs/stages.md`.
//!
//! Invariants: entries that go on keep their order within a stream; a dropped entry ends its receipt.
//! Errors: [`StageError`] when a pipeline is built; none when it runs, as in Promtail: what cannot be read stays as it is.

mod body;
mod entry;
mod error;
mod go_json;
mod metrics;
mod names;
pub mod rate;
mod stages;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod yaml;

use std::sync::Arc;

use serde_json::Value as Yaml;

pub use entry::{Entry, Extracted, LabelSet, Origin, Receipt, TENANT_LABEL, Text, Value};
pub use error::StageError;
pub use metrics::{CustomMetrics, PipelineMetrics};
pub use names::{is_label_name, sanitized_label_name};

/// Stages within `match` within `match` …: more levels only cost the stack.
const DEPTH_MAX: usize = 20;

/// Where a pipeline runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Before lines are sent: sources can wait, and lines can go to any tenant.
    Agent,
    /// Where lines arrive: whose they are is known, and nobody can be made to wait.
    Ingest,
}

/// Reads a file that a stage names; several pipelines may share what it holds.
pub type ReadFile<'t> = &'t dyn Fn(&str) -> std::io::Result<Arc<[u8]>>;

/// What stages are built with.
pub struct Tools<'t> {
    /// The scrape configuration's name.
    pub job: &'t str,
    pub metrics: &'t PipelineMetrics,
    pub read_file: ReadFile<'t>,
    /// Seeds what is random (`sampling`).
    pub seed: u64,
    /// What of the configuration does nothing, or something else than in Promtail.
    pub notes: Vec<String>,
    /// Whether a stage counts from batch to batch (`limit`): two pipelines of this configuration let through twice as much.
    pub counts: bool,
    place: Place,
    depth: usize,
}

impl<'t> Tools<'t> {
    /// For pipelines of an agent.
    pub fn new(job: &'t str, metrics: &'t PipelineMetrics, read_file: ReadFile<'t>, seed: u64) -> Self {
        let (notes, place) = (Vec::new(), Place::Agent);
        Tools { job, metrics, read_file, seed, notes, counts: false, place, depth: 0 }
    }

    /// For pipelines of a server.
    pub fn at_ingest(self) -> Self {
        Tools { place: Place::Ingest, ..self }
    }

    fn note(&mut self, words: impl Into<String>) {
        let words = words.into();
        if !self.notes.contains(&words) {
            self.notes.push(words);
        }
    }
}

/// One run: the time, what stages ask for, and who looks on.
pub struct Context<'c> {
    pub now_ns: i64,
    /// A `limit` that does not drop asks that nothing more is read before this time.
    pub wait_until_ns: i64,
    observer: Option<&'c mut dyn Observer>,
    depth: usize,
}

impl<'c> Context<'c> {
    pub fn new(now_ns: i64) -> Self {
        Context { now_ns, wait_until_ns: i64::MIN, observer: None, depth: 0 }
    }

    pub fn observed(now_ns: i64, observer: &'c mut dyn Observer) -> Self {
        Context { now_ns, wait_until_ns: i64::MIN, observer: Some(observer), depth: 0 }
    }
}

/// Sees each entry after each stage.
pub trait Observer {
    /// `depth` counts the `match` stages around; the entries are those that left the stage.
    fn after_stage(&mut self, depth: usize, stage: &str, entries: &[Entry]);
}

/// One step of a pipeline.
pub trait Stage: Send {
    /// As it is written in a configuration.
    fn name(&self) -> &'static str;

    /// Takes the batch, and leaves in it what goes on.
    fn run(&mut self, batch: &mut Vec<Entry>, context: &mut Context<'_>);

    /// Puts what was held back into the batch: nothing more will come.
    fn finish(&mut self, _batch: &mut Vec<Entry>, _context: &mut Context<'_>) {}

    /// When something held back is due, Unix nanoseconds.
    fn next_due_ns(&self) -> Option<i64> {
        None
    }
}

/// Stages in a row.
pub struct Pipeline {
    stages: Vec<Box<dyn Stage>>,
}

impl std::fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.stages.iter().map(|stage| stage.name())).finish()
    }
}

impl Pipeline {
    /// Builds what a `pipeline_stages` list says; null is a pipeline without stages.
    ///
    /// # Errors
    /// The first stage that cannot be built, in Promtail's words.
    pub fn build(config: &Yaml, tools: &mut Tools<'_>) -> Result<Self, StageError> {
        let list = match config {
            Yaml::Null => return Ok(Pipeline { stages: Vec::new() }),
            Yaml::Array(list) => list,
            other => return Err(StageError::new(format!("pipeline_stages must be a list of stages, not {other}"))),
        };
        if tools.depth >= DEPTH_MAX {
            return Err(StageError::new(format!("stages are nested deeper than {DEPTH_MAX} levels")));
        }
        tools.depth += 1;
        let stages: Result<_, _> = list.iter().map(|stage| Self::build_stage(stage, tools)).collect();
        tools.depth -= 1;
        Ok(Pipeline { stages: stages? })
    }

    fn build_stage(stage: &Yaml, tools: &mut Tools<'_>) -> Result<Box<dyn Stage>, StageError> {
        let Yaml::Object(map) = stage else {
            let written = stage.as_str().map_or_else(|| stage.to_string(), str::to_owned);
            return Err(StageError::new(format!(
                "invalid YAML config, make sure each stage of your pipeline is a YAML object (must end with a `:`), check stage `- {written}`"
            )));
        };
        let mut pairs = map.iter();
        let (Some((name, config)), None) = (pairs.next(), pairs.next()) else {
            return Err(StageError::new("pipeline stage must contain only one key"));
        };
        stages::build(name, config, tools).map_err(|error| error.within(&format!("invalid {name} stage config")))
    }

    /// The stages' names, in order.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &'static str> {
        self.stages.iter().map(|stage| stage.name())
    }

    /// Runs the batch through all stages; an empty batch still lets out what is due.
    pub fn run(&mut self, batch: &mut Vec<Entry>, context: &mut Context<'_>) {
        batch.iter_mut().for_each(Entry::extract_labels);
        for stage in &mut self.stages {
            stage.run(batch, context);
            observe(stage.name(), batch, context);
        }
    }

    /// Runs the batch and lets out everything that is held back.
    pub fn finish(&mut self, batch: &mut Vec<Entry>, context: &mut Context<'_>) {
        batch.iter_mut().for_each(Entry::extract_labels);
        for stage in &mut self.stages {
            stage.run(batch, context);
            stage.finish(batch, context);
            observe(stage.name(), batch, context);
        }
    }

    /// When something held back is due, Unix nanoseconds.
    pub fn next_due_ns(&self) -> Option<i64> {
        self.stages.iter().filter_map(|stage| stage.next_due_ns()).min()
    }
}

fn observe(stage: &str, batch: &[Entry], context: &mut Context<'_>) {
    let depth = context.depth;
    if let Some(observer) = &mut context.observer {
        observer.after_stage(depth, stage, batch);
    }
}
