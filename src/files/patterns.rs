//! The templates of a file's lines and how often each came, written into the Parquet footer.
//!
//! ```text
//! key_value_metadata["millrace.patterns"] = base64(lz4(json StoredPatterns))
//!   templates ["GET <_> 200", …]   levels ["info", …]
//!   series    run, level, template ─▶ (bucket of time, count), …
//! ```
//!
//! Invariants: a line is counted in at most one template, and matches that template's text; times are buckets of
//! `bucket_seconds`, which grow until all points fit `POINTS_MAX`. Formatted and parsed here only.

use std::collections::HashMap;
use std::ops::Range;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::FilesError;
use super::index::FileIndex;
use crate::patterns::{Miner, Tokens};
use crate::types::time::NANOS_PER_SECOND;

/// Key of the footer entry.
pub(super) const FOOTER_KEY: &str = "millrace.patterns";
/// Finest time of a count, as Loki's.
pub const BUCKET_SECONDS_MIN: i64 = 10;
/// Counts of one file: about 100 KB of footer.
const POINTS_MAX: usize = 20_000;
/// Decoded size beyond which a footer is refused.
const DECODED_BYTES_MAX: usize = 64 << 20;
/// Level of rows without one.
pub const NO_LEVEL: &str = "unknown";

/// Templates and counts of one file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StoredPatterns {
    /// Width of a bucket.
    pub bucket_seconds: i64,
    pub templates: Vec<String>,
    pub levels: Vec<String>,
    pub series: Vec<StoredSeries>,
}

/// How often one template came in one run with one level.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredSeries {
    /// Number of the run in the file's stream index.
    #[serde(rename = "r")]
    pub run: u32,
    #[serde(rename = "l")]
    pub level: u32,
    #[serde(rename = "t")]
    pub template: u32,
    /// (bucket number since the epoch, lines), ascending.
    #[serde(rename = "n")]
    pub counts: Vec<(i64, u32)>,
}

/// Finds the templates of a file's rows as they are written. CPU-bound.
#[derive(Debug, Default)]
pub(super) struct PatternWriter {
    stored: StoredPatterns,
    numbers: Numbers,
    /// Runs are sorted by service: lines of one service are what is alike.
    service: String,
    counts: Counts,
}

impl PatternWriter {
    /// Counts `rows` of a batch of `ROW_SCHEMA`: of run number `run` of the file, of this service.
    pub(super) fn add_rows(&mut self, run: usize, service: &str, batch: &RecordBatch, rows: Range<usize>) {
        if self.service != service {
            std::mem::take(&mut self.counts).store(&mut self.stored, &mut self.numbers);
            service.clone_into(&mut self.service);
        }
        self.counts.add_rows(u32::try_from(run).unwrap_or(u32::MAX), batch, rows);
    }

    pub(super) fn finish(mut self) -> StoredPatterns {
        self.counts.store(&mut self.stored, &mut self.numbers);
        self.stored.bucket_seconds = BUCKET_SECONDS_MIN;
        self.stored.coarsened()
    }
}

/// Numbers of the texts of a file, as they are given out.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    templates: HashMap<String, u32>,
    levels: HashMap<String, u32>,
}

impl Numbers {
    pub(super) fn template(&mut self, text: &str, texts: &mut Vec<String>) -> u32 {
        number_of(text, texts, &mut self.templates)
    }

    pub(super) fn level(&mut self, text: &str, texts: &mut Vec<String>) -> u32 {
        number_of(text, texts, &mut self.levels)
    }
}

/// Number of a run, place of a level, number of a template.
type CountKey = (u32, usize, usize);

/// Finds templates and counts them over one stretch of rows.
#[derive(Debug, Default)]
pub struct Counts {
    miner: Miner,
    tokens: Tokens,
    /// Few: looked through one by one.
    levels: Vec<String>,
    /// Places in `counts` by run, level and template.
    places: hashbrown::HashMap<CountKey, usize>,
    /// Counts by bucket of `BUCKET_SECONDS_MIN`, in the order of the rows.
    counts: Vec<(CountKey, Vec<(i64, u32)>)>,
}

impl Counts {
    /// Counts `rows` of a batch of `ROW_SCHEMA`, under the number `run`.
    pub fn add_rows(&mut self, run: u32, batch: &RecordBatch, rows: Range<usize>) {
        let ts = batch.column(0).as_primitive::<Int64Type>().values();
        let levels = batch.column(2).as_string_view();
        let lines = batch.column(3).as_string_view();
        for row in rows {
            if !self.tokens.cut_line(lines.value(row)) {
                continue;
            }
            let Some(template) = self.miner.add(&self.tokens) else { continue };
            let level = if levels.is_null(row) { NO_LEVEL } else { levels.value(row) };
            let level = self.levels.iter().position(|known| known == level).unwrap_or_else(|| {
                self.levels.push(level.to_owned());
                self.levels.len() - 1
            });
            let key = (run, level, template);
            let place = *self.places.entry(key).or_insert_with(|| {
                self.counts.push((key, Vec::new()));
                self.counts.len() - 1
            });
            let counts = &mut self.counts[place].1;
            let bucket = ts[row].div_euclid(BUCKET_SECONDS_MIN * NANOS_PER_SECOND);
            match counts.last_mut() {
                Some((known, count)) if *known == bucket => *count += 1,
                _ => counts.push((bucket, 1)),
            }
        }
    }

    /// (run, level, text, counts by bucket), with the texts as they are now.
    pub fn finish(mut self) -> impl Iterator<Item = (u32, String, String, Vec<(i64, u32)>)> {
        let (texts, levels) = (self.miner.texts(), self.levels);
        self.counts.sort_unstable_by_key(|(key, _)| *key);
        self.counts.into_iter().map(move |((run, level, template), counts)| {
            (run, levels[level].clone(), texts[template].clone(), sum_up(counts))
        })
    }

    fn store(self, stored: &mut StoredPatterns, numbers: &mut Numbers) {
        for (run, level, text, counts) in self.finish() {
            let template = numbers.template(&text, &mut stored.templates);
            let level = numbers.level(&level, &mut stored.levels);
            stored.series.push(StoredSeries { run, level, template, counts });
        }
    }
}

/// Adds up counts of the same bucket that are next to each other.
fn add_neighbours(counts: &mut Vec<(i64, u32)>) {
    counts.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        if same {
            kept.1 = kept.1.saturating_add(next.1);
        }
        same
    });
}

/// Counts in the order of their buckets, each bucket once.
pub(super) fn sum_up(mut counts: Vec<(i64, u32)>) -> Vec<(i64, u32)> {
    counts.sort_unstable_by_key(|(bucket, _)| *bucket);
    add_neighbours(&mut counts);
    counts
}

fn number_of(text: &str, texts: &mut Vec<String>, numbers: &mut HashMap<String, u32>) -> u32 {
    if let Some(number) = numbers.get(text) {
        return *number;
    }
    texts.push(text.to_owned());
    let number = texts.len() as u32 - 1;
    numbers.insert(text.to_owned(), number);
    number
}

impl StoredPatterns {
    /// The patterns of a file; `None` for one that was written without.
    ///
    /// # Errors
    /// `BadStreamIndex` when the footer entry is damaged.
    pub fn of(path: &str, index: &FileIndex) -> Result<Option<Self>, FilesError> {
        let entries = index.parquet.metadata().file_metadata().key_value_metadata();
        let entry = entries.and_then(|entries| entries.iter().find(|entry| entry.key == FOOTER_KEY));
        let Some(text) = entry.and_then(|entry| entry.value.as_deref()) else { return Ok(None) };
        let damaged = |reason: String| FilesError::BadStreamIndex { path: path.to_owned(), reason };
        let stored = Self::decode(text).map_err(damaged)?;
        let bad_run = stored.series.iter().find(|series| series.run as usize >= index.runs.len());
        match bad_run {
            Some(series) => Err(damaged(format!("a pattern names run {} of {}", series.run, index.runs.len()))),
            None => Ok(Some(stored)),
        }
    }

    /// With buckets so wide that they are few enough for a footer.
    pub(super) fn coarsened(mut self) -> Self {
        self.bucket_seconds = self.bucket_seconds.max(BUCKET_SECONDS_MIN);
        self.coarsen(POINTS_MAX);
        self
    }

    /// Doubles the buckets until there are at most `points_max` counts.
    fn coarsen(&mut self, points_max: usize) {
        while self.points() > points_max {
            let before = self.points();
            self.bucket_seconds *= 2;
            for series in &mut self.series {
                series.counts.iter_mut().for_each(|(bucket, _)| *bucket = bucket.div_euclid(2));
                add_neighbours(&mut series.counts);
            }
            if self.points() == before && before == self.series.len() {
                // One count a series: the rarest are left out.
                self.series
                    .sort_by_key(|series| std::cmp::Reverse(series.counts.first().map_or(0, |(_, count)| *count)));
                self.series.truncate(points_max);
            }
        }
    }

    fn points(&self) -> usize {
        self.series.iter().map(|series| series.counts.len()).sum()
    }

    pub(super) fn encode(&self) -> String {
        let json = serde_json::to_vec(self).expect("strings and integers always serialise");
        STANDARD.encode(lz4_flex::compress_prepend_size(&json))
    }

    /// # Errors
    /// A text naming what is wrong.
    fn decode(text: &str) -> Result<Self, String> {
        let packed = STANDARD.decode(text).map_err(|e| e.to_string())?;
        let size = packed.first_chunk::<4>().map_or(0, |size| u32::from_le_bytes(*size) as usize);
        if size > DECODED_BYTES_MAX {
            return Err(format!("claims {size} bytes, at most {DECODED_BYTES_MAX} are read"));
        }
        let json = lz4_flex::decompress_size_prepended(&packed).map_err(|e| e.to_string())?;
        let stored: StoredPatterns = serde_json::from_slice(&json).map_err(|e| e.to_string())?;
        let (templates, levels) = (stored.templates.len(), stored.levels.len());
        let names_nothing = |s: &StoredSeries| s.template as usize >= templates || s.level as usize >= levels;
        if stored.bucket_seconds < BUCKET_SECONDS_MIN || stored.series.iter().any(names_nothing) {
            return Err("its patterns name what is not there".to_owned());
        }
        Ok(stored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(run: u32, counts: &[(i64, u32)]) -> StoredSeries {
        StoredSeries { run, level: 0, template: 0, counts: counts.to_vec() }
    }

    fn stored(series: Vec<StoredSeries>) -> StoredPatterns {
        let texts = |text: &str| vec![text.to_owned()];
        StoredPatterns { bucket_seconds: 10, templates: texts("a <_>"), levels: texts("info"), series }
    }

    #[test]
    fn what_is_written_is_read() {
        let patterns = stored(vec![series(0, &[(-1, 2), (7, 1)])]);
        assert_eq!(StoredPatterns::decode(&patterns.encode()), Ok(patterns.clone()));
        assert!(StoredPatterns::decode("not base64!").is_err());
        let without = StoredPatterns { templates: Vec::new(), ..patterns };
        assert!(StoredPatterns::decode(&without.encode()).is_err());
    }

    #[test]
    fn too_many_counts_become_coarser_and_then_fewer() {
        let check = |series: Vec<StoredSeries>, points, seconds, expected: Vec<StoredSeries>| {
            let mut patterns = stored(series);
            patterns.coarsen(points);
            assert_eq!((patterns.bucket_seconds, patterns.series), (seconds, expected));
        };
        check(vec![series(0, &[(1, 1), (2, 1)])], 2, 10, vec![series(0, &[(1, 1), (2, 1)])]);
        check(vec![series(0, &[(2, 1), (3, 4), (4, 1)])], 2, 20, vec![series(0, &[(1, 5), (2, 1)])]);
        check(vec![series(0, &[(0, 1)]), series(1, &[(0, 3)])], 1, 20, vec![series(1, &[(0, 3)])]);
    }
}
