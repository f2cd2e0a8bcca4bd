//! `multiline`: lines that belong together become one entry.
//!
//! ```yaml
//! - multiline:
//!     firstline: '^\d{4}-\d{2}-\d{2} '   # where an entry begins
//!     max_lines: 128
//!     max_wait_time: 3s                  # then the block goes on as it is
//! ```
//! Each stream, by its labels, has its own block, which has the time, labels, values and metadata of its first line.
//! Lines before the first beginning pass as they are.

use hashbrown::HashMap;
use regex::Regex;
use serde_json::Value as Yaml;

use super::done;
use crate::logql::go_regex::compile_go_regex;
use crate::pipeline::body::{Body, Typing};
use crate::pipeline::entry::LabelSet;
use crate::pipeline::error::StageError;
use crate::pipeline::{Context, Entry, Receipt, Stage, Tools};
use crate::types::go_time::parse_duration;

/// Streams with a block each; beyond it, blocks that are empty are forgotten, and if there are none, all go on.
const STREAMS_MAX: usize = 10_000;

struct Multiline {
    first_line: Regex,
    lines_max: u64,
    wait_ns: i64,
    blocks: HashMap<LabelSet, Block>,
}

/// The lines of a stream that were joined so far.
struct Block {
    /// The first line's entry, with nothing in its line.
    start: Entry,
    text: String,
    receipt: Receipt,
    lines: u64,
    due_ns: i64,
}

pub(super) fn build(config: &Yaml, tools: &mut Tools<'_>) -> Result<Box<dyn Stage>, StageError> {
    let mut body = Body::new(config, Typing::Weak);
    let first_line = body.text("firstline");
    let lines_max = body.number("max_lines").unwrap_or(128.0) as u64;
    let wait = body.text("max_wait_time").unwrap_or_else(|| "3s".to_owned());
    done("multiline", body, tools)?;
    let first_line = first_line.ok_or("multiline stage config must define `firstline` regular expression")?;
    let first_line = compile_go_regex(&first_line)
        .map_err(|words| StageError::new(format!("multiline stage first line regex compilation error: {words}")))?;
    let wait_ns = parse_duration(&wait)
        .map_err(|error| StageError::new(format!("multiline stage `max_wait_time` parse error: {error}")))?;
    Ok(Box::new(Multiline { first_line: first_line.into_regex(), lines_max, wait_ns, blocks: HashMap::new() }))
}

impl Block {
    fn new(entry: &Entry) -> Self {
        let start = Entry { line: String::new(), receipt: Receipt::default(), ..entry.clone() };
        Block { start, text: String::new(), receipt: Receipt::default(), lines: 0, due_ns: i64::MAX }
    }

    /// The joined entry, if there is one.
    fn take(&mut self) -> Option<Entry> {
        if self.text.is_empty() {
            return None;
        }
        self.lines = 0;
        self.due_ns = i64::MAX;
        let line = std::mem::take(&mut self.text);
        let receipt = std::mem::take(&mut self.receipt);
        Some(Entry { line, receipt, ..self.start.clone() })
    }
}

impl Multiline {
    fn add(&mut self, entry: Entry, out: &mut Vec<Entry>, now_ns: i64) {
        let begins = self.first_line.is_match(&entry.line);
        if !self.blocks.contains_key(&entry.labels) {
            if !begins {
                out.push(entry);
                return;
            }
            self.make_room(out);
            self.blocks.insert(entry.labels.clone(), Block::new(&entry));
        }
        let Some(block) = self.blocks.get_mut(&entry.labels) else { return };
        if begins {
            out.extend(block.take());
            *block = Block::new(&entry);
        }
        if !block.text.is_empty() {
            block.text.push('\n');
        }
        block.text.push_str(&entry.line);
        block.receipt.join(entry.receipt);
        block.lines += 1;
        block.due_ns = now_ns.saturating_add(self.wait_ns);
        if block.lines == self.lines_max {
            out.extend(block.take());
        }
    }

    fn make_room(&mut self, out: &mut Vec<Entry>) {
        if self.blocks.len() >= STREAMS_MAX {
            self.blocks.retain(|_, block| !block.text.is_empty());
        }
        if self.blocks.len() >= STREAMS_MAX {
            out.extend(self.blocks.drain().filter_map(|(_, mut block)| block.take()));
        }
    }
}

impl Stage for Multiline {
    fn name(&self) -> &'static str {
        "multiline"
    }

    fn run(&mut self, batch: &mut Vec<Entry>, context: &mut Context<'_>) {
        let mut out = Vec::with_capacity(batch.len());
        if self.next_due_ns().is_some_and(|due| due <= context.now_ns) {
            let due = self.blocks.values_mut().filter(|block| block.due_ns <= context.now_ns);
            out.extend(due.filter_map(Block::take));
        }
        for entry in std::mem::take(batch) {
            self.add(entry, &mut out, context.now_ns);
        }
        *batch = out;
    }

    fn finish(&mut self, batch: &mut Vec<Entry>, _context: &mut Context<'_>) {
        batch.extend(self.blocks.drain().filter_map(|(_, mut block)| block.take()));
    }

    fn next_due_ns(&self) -> Option<i64> {
        self.blocks.values().filter(|block| !block.text.is_empty()).map(|block| block.due_ns).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::testing::{build, check_error, entry, lines_of, run};

    #[test]
    fn blocks() {
        let of = |config: &str, lines: &[&str], expected: &[&str]| {
            assert_eq!(lines_of(&format!("- multiline: {config}"), lines), expected);
        };
        of(
            "{firstline: '^START'}",
            &["not a start", "START line 1", "more", "more", "START line 2", "START line 3", "end"],
            &["not a start", "START line 1\nmore\nmore", "START line 2", "START line 3\nend"],
        );
        of("{firstline: '^START', max_lines: 2}", &["START 1", "2", "3", "4", "5"], &["START 1\n2", "3\n4", "5"]);
    }

    #[test]
    fn streams_are_apart_and_keep_what_the_first_line_had() {
        let mut pipeline = build("- multiline: {firstline: '^START'}");
        let of = |stream: &str, ts_ns: i64, line: &str| Entry {
            ts_ns,
            metadata: vec![("at".into(), ts_ns.to_string().into())],
            ..entry(&[("s", stream)], line)
        };
        let mut out = run(
            &mut pipeline,
            vec![of("a", 1, "START a"), of("b", 2, "START b"), of("a", 3, "more a"), of("b", 4, "more b")],
        );
        out.sort_by_key(|entry| entry.ts_ns);
        let shown: Vec<_> = out.iter().map(|entry| (entry.ts_ns, entry.line.as_str(), &*entry.metadata[0].1)).collect();
        assert_eq!(shown, [(1, "START a\nmore a", "1"), (2, "START b\nmore b", "2")]);
    }

    #[test]
    fn blocks_go_on_when_they_waited_long_enough() {
        let mut pipeline = build("- multiline: {firstline: '^START', max_wait_time: 1s}");
        let at = |pipeline: &mut Pipeline, now_ns: i64, lines: &[&str]| {
            let mut batch = lines.iter().map(|line| entry(&[], line)).collect();
            pipeline.run(&mut batch, &mut Context::new(now_ns));
            batch.into_iter().map(|entry| entry.line).collect::<Vec<_>>()
        };
        assert!(at(&mut pipeline, 0, &["START", "a"]).is_empty());
        assert_eq!(pipeline.next_due_ns(), Some(1_000_000_000));
        assert!(at(&mut pipeline, 999_999_999, &[]).is_empty());
        assert_eq!(at(&mut pipeline, 1_000_000_000, &["late"]), ["START\na"]);
        assert_eq!(at(&mut pipeline, 2_000_000_000, &[]), ["late"]);
        assert_eq!(pipeline.next_due_ns(), None);
    }

    use crate::pipeline::Pipeline;

    #[test]
    fn a_block_holds_the_receipts_of_its_lines() {
        let held: std::sync::Arc<dyn std::any::Any + Send + Sync> = std::sync::Arc::new(());
        let mut pipeline = build("- multiline: {firstline: '^START'}");
        let with = |line: &str| Entry { receipt: Receipt::of(held.clone()), ..entry(&[], line) };
        let mut batch = vec![with("START"), with("a")];
        pipeline.run(&mut batch, &mut Context::new(0));
        assert_eq!((batch.len(), std::sync::Arc::strong_count(&held)), (0, 2));
        pipeline.finish(&mut batch, &mut Context::new(0));
        drop(batch);
        assert_eq!(std::sync::Arc::strong_count(&held), 1);
    }

    #[test]
    fn refused() {
        let check = |config: &str, words: &str| {
            check_error(&format!("- multiline: {config}"), &format!("invalid multiline stage config: {words}"))
        };
        check("{}", "multiline stage config must define `firstline` regular expression");
        check(
            "{firstline: '['}",
            "multiline stage first line regex compilation error: error parsing regexp: missing closing ]: `[`",
        );
        check(
            "{firstline: a, max_wait_time: x}",
            "multiline stage `max_wait_time` parse error: time: invalid duration \"x\"",
        );
    }
}
