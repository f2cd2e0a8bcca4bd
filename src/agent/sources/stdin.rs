//! `-stdin`: lines of standard input, through the stages of the first job.

use std::io::BufRead;

use crate::agent::config::ScrapeConfig;
use crate::agent::feed::Feed;
use crate::pipeline::{Entry, LabelSet, Origin, Text};

/// Lines that go on together.
const LINES_MAX: usize = 1_000;

/// The labels of the job's groups; without any, `job="stdin"`, since a stream needs one.
pub(in crate::agent) fn labels(job: &ScrapeConfig) -> LabelSet {
    let all = job.static_configs.iter().flat_map(|group| &group.labels);
    let own = all.filter(|(name, _)| !name.starts_with("__"));
    let labels = LabelSet::from_pairs(
        Origin::Operator,
        own.map(|(name, value)| (Text::from(name.as_str()), Text::from(value.as_str()))),
    );
    if labels.is_empty() { LabelSet::from_pairs(Origin::Operator, [("job", "stdin")]) } else { labels }
}

/// Reads to the end.
pub(in crate::agent) fn read(mut input: impl BufRead, labels: &LabelSet, feed: &Feed) {
    let mut batch = Vec::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        match input.read_until(b'\n', &mut line) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => {
                tracing::error!(%error, "standard input cannot be read");
                break;
            }
        }
        let text = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(&line)).into_owned();
        batch.push(Entry::new(labels.clone(), feed.clock().now().0, text));
        if batch.len() >= LINES_MAX {
            feed.push_blocking(std::mem::take(&mut batch));
        }
    }
    feed.push_blocking(batch);
}
