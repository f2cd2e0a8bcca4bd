//! `docker`: unwraps the JSON that Docker's `json-file` driver writes.
//!
//! ```yaml
//! - docker: {}
//! ```
//! `{"log":"hello\n","stream":"stderr","time":"2019-04-30T02:12:41.8443515Z"}` becomes the line `hello` (with its line
//! break, as in Promtail), the label `stream="stderr"` and that time. A line that is no such JSON passes as it is.

use serde_json::json;

use crate::pipeline::error::StageError;
use crate::pipeline::{Context, Entry, Pipeline, Stage, Tools};

struct Docker(Pipeline);

pub(super) fn build(tools: &mut Tools<'_>) -> Result<Box<dyn Stage>, StageError> {
    let stages = json!([
        {"json": {"expressions": {"output": "log", "stream": "stream", "timestamp": "time"}}},
        {"labels": {"stream": null}},
        {"timestamp": {"source": "timestamp", "format": "RFC3339Nano"}},
        {"output": {"source": "output"}},
    ]);
    Ok(Box::new(Docker(Pipeline::build(&stages, tools)?)))
}

impl Stage for Docker {
    fn name(&self) -> &'static str {
        "docker"
    }

    fn run(&mut self, batch: &mut Vec<Entry>, context: &mut Context<'_>) {
        context.depth += 1;
        self.0.run(batch, context);
        context.depth -= 1;
    }
}

#[cfg(test)]
mod tests {
    use crate::pipeline::testing::check;

    #[test]
    fn unwraps_or_leaves() {
        check(
            "- docker: {}",
            r#"{"log":"level=info ts=1 msg=\"x\"\n","stream":"stderr","time":"2019-04-30T02:12:41.8443515Z"}"#,
            "1556590361844351500 {stream=\"stderr\"} level=info ts=1 msg=\"x\"\n\n\
             output=level=info ts=1 msg=\"x\"\n stream=stderr timestamp=2019-04-30T02:12:41.8443515Z",
        );
        check("- docker: {}", "no JSON", "0 {} no JSON");
        // Docker's API gives the line without the wrapper: its own `time` counts, the line stays.
        check(
            "- docker:",
            r#"{"level":"info","time":"1970-01-01T00:00:01Z"}"#,
            "1000000000 {} {\"level\":\"info\",\"time\":\"1970-01-01T00:00:01Z\"}\n\
             output=<nil> stream=<nil> timestamp=1970-01-01T00:00:01Z",
        );
    }
}
