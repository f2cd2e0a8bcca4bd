//! `pipeline`: stages within a stage, for those who group them.
//!
//! ```yaml
//! - pipeline:
//!     - logfmt: {mapping: {level: }}
//!     - labels: {level: }
//! ```

use serde_json::Value as Yaml;

use crate::pipeline::error::StageError;
use crate::pipeline::{Context, Entry, Pipeline, Stage, Tools};

struct Nested(Pipeline);

pub(super) fn build(config: &Yaml, tools: &mut Tools<'_>) -> Result<Box<dyn Stage>, StageError> {
    Ok(Box::new(Nested(Pipeline::build(config, tools)?)))
}

impl Stage for Nested {
    fn name(&self) -> &'static str {
        "pipeline"
    }

    fn run(&mut self, batch: &mut Vec<Entry>, context: &mut Context<'_>) {
        context.depth += 1;
        self.0.run(batch, context);
        context.depth -= 1;
    }

    fn finish(&mut self, batch: &mut Vec<Entry>, context: &mut Context<'_>) {
        let mut held = Vec::new();
        self.0.finish(&mut held, context);
        batch.append(&mut held);
    }

    fn next_due_ns(&self) -> Option<i64> {
        self.0.next_due_ns()
    }
}
