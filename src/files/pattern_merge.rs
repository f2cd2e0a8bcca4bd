//! The patterns of files that become one, from their footers: no line is looked at again.
//!
//! ```text
//! footers ─▶ templates of each service ─▶ Miner over templates ─▶ counts of all files under what stands for them
//! ```
//!
//! Invariant: as in [`super::patterns`]: a template only gets more `<_>`, so that every line still matches its own.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use super::FilesError;
use super::index::FileIndex;
use super::patterns::{Numbers, StoredPatterns, StoredSeries, sum_up};
use crate::patterns::{Miner, Tokens};

/// What one input knows.
pub(super) struct Inherited {
    patterns: StoredPatterns,
    /// Stream of each of its runs.
    streams: Vec<u32>,
}

impl Inherited {
    /// `None` for a file that was written without patterns.
    pub(super) fn of(path: &str, index: &FileIndex) -> Result<Option<Self>, FilesError> {
        let streams = index.runs.iter().map(|run| run.stream.0).collect();
        Ok(StoredPatterns::of(path, index)?.map(|patterns| Inherited { patterns, streams }))
    }

    fn stream(&self, series: &StoredSeries) -> u32 {
        self.streams[series.run as usize]
    }

    fn template(&self, series: &StoredSeries) -> &str {
        &self.patterns.templates[series.template as usize]
    }
}

/// The patterns of a file with all rows of `inputs`, whose runs are of these `streams`.
pub(super) fn merged<'s>(inputs: &[Inherited], streams: &[u32], service_of: impl Fn(u32) -> &'s str) -> StoredPatterns {
    let run_of: HashMap<u32, u32> = streams.iter().copied().zip(0..).collect();
    let bucket_seconds = inputs.iter().map(|input| input.patterns.bucket_seconds).max().unwrap_or_default();
    let texts = texts_by_service(inputs, &service_of);
    let mut merged = StoredPatterns { bucket_seconds, ..StoredPatterns::default() };
    let mut numbers = Numbers::default();
    let mut counts: BTreeMap<(u32, u32, u32), Vec<(i64, u32)>> = BTreeMap::new();
    for input in inputs {
        let buckets = bucket_seconds / input.patterns.bucket_seconds.max(1);
        for series in &input.patterns.series {
            let stream = input.stream(series);
            let text = texts.get(service_of(stream)).and_then(|texts| texts.get(input.template(series)));
            let (Some(text), Some(run)) = (text, run_of.get(&stream)) else { continue };
            let template = numbers.template(text, &mut merged.templates);
            let level = numbers.level(&input.patterns.levels[series.level as usize], &mut merged.levels);
            let coarser = series.counts.iter().map(|(bucket, count)| (bucket.div_euclid(buckets.max(1)), *count));
            counts.entry((*run, level, template)).or_default().extend(coarser);
        }
    }
    merged.series = counts
        .into_iter()
        .map(|((run, level, template), counts)| StoredSeries { run, level, template, counts: sum_up(counts) })
        .collect();
    merged.coarsened()
}

/// What stands for each template, by service. Of too many templates the rarest have none.
fn texts_by_service<'i, 's>(
    inputs: &'i [Inherited],
    service_of: &impl Fn(u32) -> &'s str,
) -> HashMap<&'s str, HashMap<&'i str, String>> {
    let mut lines: HashMap<&str, HashMap<&str, u64>> = HashMap::new();
    for input in inputs {
        for series in &input.patterns.series {
            let of_service = lines.entry(service_of(input.stream(series))).or_default();
            let count: u64 = series.counts.iter().map(|(_, count)| u64::from(*count)).sum();
            *of_service.entry(input.template(series)).or_default() += count;
        }
    }
    let mined = |templates: HashMap<&'i str, u64>| {
        let mut templates: Vec<_> = templates.into_iter().collect();
        templates.sort_unstable_by_key(|(text, lines)| (Reverse(*lines), *text));
        let (mut miner, mut tokens) = (Miner::default(), Tokens::default());
        let mut add = |text: &'i str| {
            tokens.cut_template(text);
            miner.add(&tokens).map(|number| (text, number))
        };
        let numbered: Vec<(&str, usize)> = templates.into_iter().filter_map(|(text, _)| add(text)).collect();
        let (stands_for, texts) = (miner.merge_overlapping(), miner.texts());
        numbered.into_iter().map(|(text, number)| (text, texts[stands_for[number]].clone())).collect()
    };
    lines.into_iter().map(|(service, templates)| (service, mined(templates))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Run, template, counts.
    type Series<'t> = (u32, &'t str, &'t [(i64, u32)]);

    fn input(streams: &[u32], seconds: i64, series: &[Series<'_>]) -> Inherited {
        let mut patterns = StoredPatterns { bucket_seconds: seconds, ..StoredPatterns::default() };
        patterns.levels.push("info".to_owned());
        for (run, text, counts) in series {
            patterns.templates.push((*text).to_owned());
            let template = patterns.templates.len() as u32 - 1;
            patterns.series.push(StoredSeries { run: *run, level: 0, template, counts: counts.to_vec() });
        }
        Inherited { patterns, streams: streams.to_vec() }
    }

    #[test]
    fn templates_become_one_and_counts_are_added_up() {
        let inputs = [
            input(&[7, 3], 10, &[(0, "GET /a <_>", &[(1, 5), (2, 1)]), (1, "user <_> in", &[(4, 2)])]),
            input(&[3, 7], 20, &[(1, "GET /b <_>", &[(1, 4)]), (1, "stopped", &[(9, 1)])]),
        ];
        let services = |stream: u32| if stream == 7 { "web" } else { "login" };
        let merged = merged(&inputs, &[3, 7], services);
        assert_eq!(merged.bucket_seconds, 20);
        let shown: Vec<_> = merged
            .series
            .iter()
            .map(|series| (series.run, merged.templates[series.template as usize].as_str(), series.counts.clone()))
            .collect();
        let expected =
            [(0, "user <_> in", vec![(2, 2)]), (1, "GET <_> <_>", vec![(0, 5), (1, 5)]), (1, "stopped", vec![(9, 1)])];
        assert_eq!(shown, expected);
    }
}
