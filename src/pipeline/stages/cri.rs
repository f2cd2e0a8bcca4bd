//! `cri`: unwraps the lines that container runtimes write for Kubernetes, and joins those they cut.
//!
//! ```yaml
//! - cri:
//!     max_partial_lines: 100
//!     max_partial_line_size: 256KB
//!     max_partial_line_size_truncate: false
//! ```
//! `2019-01-01T01:00:00.000000001Z stderr P some ` and `2019-01-01T01:00:00.2Z stderr F message` become the line
//! `some message` with the label `stream="stderr"` and the time of its end. Without an end, at most
//! `max_partial_lines` streams wait; then all of them go on as they are.

use hashbrown::HashMap;
use serde_json::{Value as Yaml, json};

use super::done;
use crate::pipeline::body::{Body, Typing};
use crate::pipeline::entry::{Entry, LabelSet, Receipt, Value};
use crate::pipeline::error::StageError;
use crate::pipeline::{Context, Pipeline, Stage, Tools};
use crate::types::units::ByteSize;

const PARTIAL_LINES_DEFAULT: usize = 100;

struct Cri {
    base: Pipeline,
    partial_lines_max: usize,
    /// Longer joined lines are cut, bytes.
    truncate_at: Option<usize>,
    partial: HashMap<LabelSet, Entry>,
}

pub(super) fn build(config: &Yaml, tools: &mut Tools<'_>) -> Result<Box<dyn Stage>, StageError> {
    let mut body = Body::new(config, Typing::Weak);
    let lines = body.number("max_partial_lines").unwrap_or(0.0) as usize;
    let size = body.text("max_partial_line_size").unwrap_or_else(|| "0".to_owned());
    let truncate = body.flag("max_partial_line_size_truncate").unwrap_or(false);
    done("cri", body, tools)?;
    let size: ByteSize = size.parse().map_err(|error| StageError::new(format!("max_partial_line_size: {error}")))?;
    let stages = json!([
        {"regex": {"expression": "^(?s)(?P<time>\\S+?) (?P<stream>stdout|stderr) (?P<flags>\\S+?) (?P<content>.*)$"}},
        {"labels": {"stream": null}},
        {"timestamp": {"source": "time", "format": "RFC3339Nano"}},
        {"output": {"source": "content"}},
        {"output": {"source": "tags"}},
    ]);
    Ok(Box::new(Cri {
        base: Pipeline::build(&stages, tools)?,
        partial_lines_max: if lines == 0 { PARTIAL_LINES_DEFAULT } else { lines },
        truncate_at: truncate.then_some(size.0 as usize),
        partial: HashMap::new(),
    }))
}

impl Cri {
    fn cut(&self, line: &mut String) {
        if let Some(most) = self.truncate_at.filter(|most| line.len() > *most) {
            line.truncate(line.floor_char_boundary(most));
        }
    }

    /// Puts a line's beginning before it.
    fn join(&mut self, entry: &mut Entry) {
        if let Some(begun) = self.partial.remove(&entry.labels) {
            let mut line = begun.line;
            line.push_str(&entry.line);
            entry.line = line;
            let end: Receipt = std::mem::replace(&mut entry.receipt, begun.receipt);
            entry.receipt.join(end);
            self.cut(&mut entry.line);
        }
    }
}

impl Stage for Cri {
    fn name(&self) -> &'static str {
        "cri"
    }

    fn run(&mut self, batch: &mut Vec<Entry>, context: &mut Context<'_>) {
        context.depth += 1;
        self.base.run(batch, context);
        context.depth -= 1;
        for mut entry in std::mem::take(batch) {
            let is_partial = matches!(entry.extracted.get("flags"), Some(Value::Text(flags)) if **flags == *"P");
            if !is_partial {
                self.join(&mut entry);
                batch.push(entry);
                continue;
            }
            if self.partial.len() >= self.partial_lines_max {
                tracing::warn!(
                    threshold = self.partial_lines_max,
                    "cri: too many lines wait for their end; they go on without it"
                );
                batch.extend(self.partial.drain().map(|(_, begun)| begun));
            } else {
                self.join(&mut entry);
            }
            self.cut(&mut entry.line);
            self.partial.insert(entry.labels.clone(), entry);
        }
    }

    fn finish(&mut self, batch: &mut Vec<Entry>, _context: &mut Context<'_>) {
        batch.extend(self.partial.drain().map(|(_, begun)| begun));
    }
}

#[cfg(test)]
mod tests {
    use crate::pipeline::testing::{check_lines, lines_of};

    #[test]
    fn cut_lines_are_joined() {
        let of = |stages: &str, lines: &[&str]| lines_of(stages, lines);
        check_lines(
            &of(
                "- cri: {}",
                &[
                    "2019-01-01T01:00:00.000000001Z stderr F whole",
                    "2019-01-01T01:00:00.000000001Z stdout P one ",
                    "2019-01-01T01:00:00.000000001Z stderr P err ",
                    "2019-01-01T01:00:00.000000001Z stdout P two ",
                    "2019-01-01T01:00:00.000000001Z stdout F three",
                    "not cri",
                    "2019-01-01T01:00:00.000000001Z stderr F end",
                ],
            ),
            &["whole", "one two three", "not cri", "err end"],
        );
        check_lines(
            &of(
                "- cri: {max_partial_line_size: 5, max_partial_line_size_truncate: true}",
                &["2019-01-01T01:00:00Z stdout P 123456", "2019-01-01T01:00:00Z stdout F 789"],
            ),
            &["12345"],
        );
        // What never ends goes on at the end.
        check_lines(&of("- cri: {}", &["2019-01-01T01:00:00Z stdout P begun"]), &["begun"]);
    }

    #[test]
    fn too_many_beginnings_go_on_as_they_are() {
        let mut lines = lines_of(
            "- cri: {max_partial_lines: 1}",
            &["2019-01-01T01:00:00Z stdout P a", "2019-01-01T01:00:00Z stderr P b", "2019-01-01T01:00:00Z stderr F c"],
        );
        lines.sort();
        check_lines(&lines, &["a", "bc"]);
    }
}
