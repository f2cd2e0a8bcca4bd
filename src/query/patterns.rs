//! Templates of the lines of a selector with their counts: from the footers of files, and mined from the head.
//!
//! ```text
//! footers ─▶ (template, level) ─▶ counts ─┐
//! head rows ─▶ Miner ─▶ the same ─────────┴─▶ Miner over templates ─▶ counted under each that covers it ─▶ steps
//! ```
//!
//! Invariant: the counts of a pattern are those of `count_over_time({…} |> "pattern" [step])` by `detected_level`, as
//! far as lines are short enough to have a template and steps are whole buckets of the files.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray};
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Int64Type, UInt32Type};
use arrow::error::ArrowError;
use futures::TryStreamExt;

use crate::access::Scope;
use crate::catalog::{Catalog, Hide};
use crate::files::patterns::{BUCKET_SECONDS_MIN, Counts, StoredPatterns};
use crate::files::read::{Wanted, read};
use crate::files::select::select;
use crate::files::{DataFile, FileIndex, FileIndexes};
use crate::logql::ast::{LineFilter, LineFilterOp, LineMatch, Matcher, Stage};
use crate::patterns::{Miner, Tokens};
use crate::query::QueryError;
use crate::query::hiding::{kept, relevant};
use crate::query::matchers::Selector;
use crate::query::redact::masked;
use crate::query::row::{Output, RowPipeline};
use crate::query::scan::load_indexes;
use crate::query::visible::{ChosenPart, VisibleStreams};
use crate::types::rows::RowProjection;
use crate::types::time::{NANOS_PER_SECOND, TimeRange, UnixNanos};

/// Rows read at once where deletes make footers inexact.
const MINE_BATCH_ROWS: usize = 8_192;
/// Patterns of one answer, the most frequent.
const PATTERNS_MAX: usize = 300;

/// What to look for.
#[derive(Debug, Clone)]
pub struct PatternsRequest {
    pub scope: Scope,
    pub matchers: Vec<Matcher>,
    pub start: UnixNanos,
    /// Outside.
    pub end: UnixNanos,
    /// Width of the counts; at least ten seconds.
    pub step_ns: i64,
}

/// One template with one level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    pub text: String,
    pub level: String,
    /// (start of the step in seconds, lines), ascending; never empty.
    pub samples: Vec<(i64, u64)>,
}

/// Counts by second of the step, by (template, level).
type Found = HashMap<(String, String), BTreeMap<i64, u64>>;

/// The patterns of a selector, the most frequent first.
pub async fn patterns(
    catalog: &Arc<Catalog>,
    indexes: &FileIndexes,
    request: &PatternsRequest,
) -> Result<Vec<Pattern>, QueryError> {
    let selector = Selector::compile(&request.matchers)?;
    let steps = Steps::new(request);
    let mut found = Found::new();
    let mut head = Counts::default();
    for chosen in VisibleStreams::new(&request.scope, catalog.streams()).choose(&selector).iter() {
        let snapshot = catalog.snapshot(&chosen.tenant, steps.range());
        let files = load_indexes(&snapshot, indexes).await?;
        for (file, index) in snapshot.files.iter().zip(files) {
            let hides = relevant(&snapshot.hides, file.seq, file.ts_min, file.ts_max);
            if !hides.is_empty() {
                // The footer counts lines that were deleted since.
                for (_, level, text, counts) in mined(file, &index, indexes, chosen, &steps, &hides).await?.finish() {
                    steps.add(&mut found, (text, level), BUCKET_SECONDS_MIN, &counts);
                }
                continue;
            }
            let Some(stored) = StoredPatterns::of(&file.path, &index)? else { continue };
            for series in &stored.series {
                let stream = index.runs[series.run as usize].stream;
                if !chosen.streams.contains(stream) {
                    continue;
                }
                let template = &stored.templates[series.template as usize];
                let mask = chosen.masks.as_ref().and_then(|masks| masks.get(stream.0 as usize)?.as_ref());
                let template = mask.map_or_else(|| template.clone(), |mask| mask.line(template).into_owned());
                let key = (template, stored.levels[series.level as usize].clone());
                steps.add(&mut found, key, stored.bucket_seconds, &series.counts);
            }
            tokio::task::yield_now().await;
        }
        for part in &snapshot.parts {
            let ts = part.rows().column(0).as_primitive::<Int64Type>().values();
            let streams = part.rows().column(1).as_primitive::<UInt32Type>().values();
            let flags = chosen.streams.as_flags();
            let wanted = |row: usize| {
                steps.range().contains(UnixNanos(ts[row])) && flags.get(streams[row] as usize).copied().unwrap_or(false)
            };
            let wanted = BooleanBuffer::collect_bool(ts.len(), wanted);
            let (ts_min, ts_max) = part.bounds();
            let left = kept(part.rows(), &relevant(&snapshot.hides, part.seq(), ts_min, ts_max));
            let keep = BooleanArray::new(left.map_or(wanted.clone(), |left| &wanted & &left), None);
            let rows = filter_record_batch(part.rows(), &keep).map_err(internal)?;
            let rows = masked(rows, chosen.masks.as_deref()).map_err(internal)?;
            head.add_rows(0, &rows, 0..rows.num_rows());
            tokio::task::yield_now().await;
        }
    }
    for (_, level, text, counts) in head.finish() {
        steps.add(&mut found, (text, level), BUCKET_SECONDS_MIN, &counts);
    }
    Ok(merge(found))
}

/// The templates of a file's rows that are not deleted, found by reading them.
async fn mined(
    file: &DataFile,
    index: &FileIndex,
    indexes: &FileIndexes,
    chosen: &ChosenPart,
    steps: &Steps,
    hides: &[Arc<Hide>],
) -> Result<Counts, QueryError> {
    let mut counts = Counts::default();
    for selected in select(index, |stream| chosen.streams.contains(stream), steps.range()) {
        let reader = indexes.reader(file);
        let wanted = Wanted { columns: RowProjection::ALL, members: None, batch_rows: MINE_BATCH_ROWS };
        let mut batches = read(file.path.clone(), reader, index, &selected, wanted)?;
        while let Some(batch) = batches.try_next().await? {
            let ts = batch.column(0).as_primitive::<Int64Type>().values();
            let in_time = BooleanBuffer::collect_bool(ts.len(), |row| steps.range().contains(UnixNanos(ts[row])));
            let keep = kept(&batch, hides).map_or(in_time.clone(), |left| &in_time & &left);
            let rows = filter_record_batch(&batch, &BooleanArray::new(keep, None)).map_err(internal)?;
            let rows = masked(rows, chosen.masks.as_deref()).map_err(internal)?;
            counts.add_rows(0, &rows, 0..rows.num_rows());
        }
    }
    Ok(counts)
}

fn internal(error: ArrowError) -> QueryError {
    QueryError::Internal(error.to_string())
}

/// Where counts go.
#[derive(Debug, Clone, Copy)]
struct Steps {
    first_s: i64,
    /// Outside.
    end_s: i64,
    step_s: i64,
}

impl Steps {
    fn new(request: &PatternsRequest) -> Self {
        let step_s = (request.step_ns / NANOS_PER_SECOND).max(BUCKET_SECONDS_MIN);
        let end_s =
            request.end.0.div_euclid(NANOS_PER_SECOND) + i64::from(request.end.0.rem_euclid(NANOS_PER_SECOND) > 0);
        Steps { first_s: request.start.0.div_euclid(NANOS_PER_SECOND), end_s, step_s }
    }

    /// Whole buckets around the range, so that head and files give the same.
    fn range(&self) -> TimeRange {
        let first = self.first_s.div_euclid(BUCKET_SECONDS_MIN) * BUCKET_SECONDS_MIN;
        let end = self.end_s.saturating_add(BUCKET_SECONDS_MIN - 1).div_euclid(BUCKET_SECONDS_MIN) * BUCKET_SECONDS_MIN;
        TimeRange::new(
            UnixNanos(first.saturating_mul(NANOS_PER_SECOND)),
            UnixNanos(end.saturating_mul(NANOS_PER_SECOND)),
        )
    }

    fn add(&self, found: &mut Found, key: (String, String), bucket_s: i64, counts: &[(i64, u32)]) {
        let range = self.range();
        let mut inside = counts
            .iter()
            .map(|(bucket, count)| (bucket * bucket_s, *count))
            .filter(|(at_s, _)| {
                range.overlaps_closed(
                    UnixNanos(at_s * NANOS_PER_SECOND),
                    UnixNanos((at_s + bucket_s) * NANOS_PER_SECOND - 1),
                )
            })
            .peekable();
        if inside.peek().is_none() {
            return;
        }
        let samples = found.entry(key).or_default();
        for (at_s, count) in inside {
            *samples.entry(at_s.div_euclid(self.step_s) * self.step_s).or_default() += u64::from(count);
        }
    }
}

/// Templates of several miners as those of one.
fn merge(found: Found) -> Vec<Pattern> {
    let total = |samples: &BTreeMap<i64, u64>| samples.values().sum::<u64>();
    let mut ordered: Vec<_> = found.into_iter().collect();
    ordered.sort_by(|a, b| total(&b.1).cmp(&total(&a.1)).then_with(|| a.0.cmp(&b.0)));
    let (mut miner, mut tokens) = (Miner::default(), Tokens::default());
    let mut numbered = Vec::with_capacity(ordered.len());
    for ((text, level), samples) in ordered {
        tokens.cut_template(&text);
        if let Some(template) = miner.add(&tokens) {
            numbered.push((template, level, samples));
        }
    }
    let stands_for = miner.merge_overlapping();
    let texts = miner.texts();
    let shown: Vec<bool> = stands_for.iter().enumerate().map(|(at, stands)| at == *stands).collect();
    let covering = covering(&texts, &shown);
    let mut by_pattern: BTreeMap<(usize, String), BTreeMap<i64, u64>> = BTreeMap::new();
    for (template, level, samples) in numbered {
        for pattern in &covering[stands_for[template]] {
            let sums = by_pattern.entry((*pattern, level.clone())).or_default();
            samples.iter().for_each(|(at, count)| *sums.entry(*at).or_default() += count);
        }
    }
    let mut patterns: Vec<_> = by_pattern.into_iter().map(|(key, samples)| (total(&samples), key, samples)).collect();
    patterns.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    patterns.truncate(PATTERNS_MAX);
    let pattern = |(_, (template, level), samples): (u64, (usize, String), BTreeMap<i64, u64>)| Pattern {
        text: texts[template].clone(),
        level,
        samples: samples.into_iter().collect(),
    };
    patterns.into_iter().map(pattern).collect()
}

/// For each template the patterns that its lines are counted under: all that match it and are matched by no other.
/// Of those that do not `count`, others speak.
fn covering(texts: &[String], count: &[bool]) -> Vec<Vec<usize>> {
    let parsed: Vec<Option<RowPipeline>> = texts.iter().map(|text| filter(text)).collect();
    let matches =
        |pipeline: &RowPipeline, line: &str| pipeline.leading_line_filters().iter().all(|filter| filter.matches(line));
    let covers =
        |a: usize, b: usize| a != b && count[a] && parsed[a].as_ref().is_some_and(|filter| matches(filter, &texts[b]));
    // Of two that cover each other the first counts, so that no circle arises.
    let above =
        |other: usize, template: usize| covers(other, template) && (!covers(template, other) || other < template);
    let all = 0..texts.len();
    let shown: Vec<usize> = all.clone().filter(|template| !all.clone().any(|other| above(other, *template))).collect();
    let under = |template: usize| {
        shown.iter().copied().filter(|pattern| *pattern == template || covers(*pattern, template)).collect()
    };
    all.map(under).collect()
}

/// The pattern as `|>` reads it.
fn filter(text: &str) -> Option<RowPipeline> {
    let filter = LineFilter { op: LineFilterOp::Pattern, any_of: vec![LineMatch::Text(text.to_owned())] };
    RowPipeline::compile(&[Stage::LineFilter(filter)], Output::Log).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_covered_is_counted_with_what_covers_it() {
        let check = |texts: &[&str], expected: &[&[usize]]| {
            let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            assert_eq!(covering(&texts, &vec![true; texts.len()]), expected, "{texts:?}");
        };
        check(&["GET <_> 200", "GET /a 200", "POST /a"], &[&[0], &[0], &[2]]);
        check(&["a <_>", "a b <_>", "a b c"], &[&[0], &[0], &[0]]);
        check(&["a <_> c", "<_> b c", "a b c", "a b d"], &[&[0], &[1], &[0, 1], &[3]]);
        check(&["x", "y"], &[&[0], &[1]]);
        check(&["<_>\"message\":\"<_>\"<_>", "<_>\"message\":\"ready\"<_>"], &[&[0], &[0]]);
    }

    #[test]
    fn templates_of_two_files_become_one() {
        let mut found = Found::new();
        let mut add = |text: &str, level: &str, at, count| {
            *found.entry((text.to_owned(), level.to_owned())).or_default().entry(at).or_default() += count;
        };
        add("GET /a <_> in 3ms", "info", 0, 5);
        add("GET /a <_> in <_>", "info", 10, 2);
        add("GET /b <_> in <_>", "error", 0, 1);
        let patterns = merge(found);
        let pattern = |level: &str, samples: &[(i64, u64)]| Pattern {
            text: "GET <_> <_> in <_>".to_owned(),
            level: level.to_owned(),
            samples: samples.to_vec(),
        };
        assert_eq!(patterns, [pattern("info", &[(0, 5), (10, 2)]), pattern("error", &[(0, 1)])]);
    }
}
