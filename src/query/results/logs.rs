//! Log queries through the cache: splits in the direction of the query until the limit is reached.

use std::ops::Range;
use std::sync::Arc;

use futures::future::BoxFuture;

use super::Through;
use super::cache::{Answer, Kept, Shape, SplitKey};
use super::splits::{range_interval, split_range};
use crate::catalog::ChangeSeq;
use crate::query::answer::Entry;
use crate::query::{Direction, QueryError};
use crate::types::labels::Labels;
use crate::types::time::TimeRange;

/// An entry with its labels apart.
#[derive(Debug, Clone)]
pub struct Categorized {
    pub stream: Labels,
    pub entry: Entry,
}

impl Categorized {
    /// Memory, about; labels are shared by entries of one stream, so only those of the row count.
    pub(super) fn bytes(&self) -> usize {
        let of = |labels: &Labels| labels.iter().map(|(name, value)| name.len() + value.len() + 32).sum::<usize>();
        size_of::<Self>() + self.entry.line.len() + of(&self.entry.metadata) + of(&self.entry.parsed)
    }
}

/// What is asked of each part of the range.
#[derive(Debug, Clone)]
pub struct LogQuestion {
    /// The query as printed.
    pub text: Arc<str>,
    pub range: TimeRange,
    pub limit: usize,
    pub direction: Direction,
}

/// The first `limit` entries of the range, from kept splits where there are, else from `compute`, which answers
/// the first entries of a part of the range, in order.
pub async fn entries<'f>(
    through: &Through,
    question: &LogQuestion,
    compute: impl Fn(TimeRange, usize) -> BoxFuture<'f, Result<Vec<Categorized>, QueryError>> + Send,
) -> Result<Vec<Categorized>, QueryError> {
    let interval_ns = range_interval(question.range, through.interval_ns);
    let mut parts = split_range(question.range, interval_ns);
    if question.direction == Direction::Backward {
        parts.reverse();
    }
    let seq = through.catalog.change_seq();
    let walk = Walk { through, question, interval_ns, parts };
    let mut found: Vec<Categorized> = Vec::new();
    let mut at = 0;
    while at < walk.parts.len() && found.len() < question.limit {
        let wanted = question.limit - found.len();
        if let Some(kept) = walk.kept(at, wanted) {
            found.extend(walk.inside(&kept, at).take(wanted).cloned());
            at += 1;
            continue;
        }
        let next = (at + 1..walk.parts.len()).find(|at| walk.kept(*at, wanted).is_some()).unwrap_or(walk.parts.len());
        let computed = compute(walk.together(at..next), wanted).await?;
        walk.keep(at..next, seq, &computed, computed.len() < wanted);
        found.extend(computed);
        at = next;
    }
    Ok(found)
}

/// The parts of a question in the order they are asked.
struct Walk<'a> {
    through: &'a Through,
    question: &'a LogQuestion,
    interval_ns: i64,
    parts: Vec<TimeRange>,
}

impl Walk<'_> {
    fn key(&self, part: TimeRange) -> SplitKey {
        SplitKey {
            scope: self.through.scope.key().clone(),
            text: self.question.text.clone(),
            shape: Shape::entries(self.question.direction),
            interval_ns: self.interval_ns,
            number: part.start.0.div_euclid(self.interval_ns),
        }
    }

    /// What is kept of a part, if it answers the first `wanted` entries.
    fn kept(&self, at: usize, wanted: usize) -> Option<Arc<Kept>> {
        let part = self.parts[at];
        let fits = |answer: &Answer| match answer {
            Answer::Entries { range, entries, complete } => {
                let enough = *range == part && entries.len() >= wanted;
                enough || (*complete && range.start <= part.start && part.end <= range.end)
            }
            Answer::Steps(_) => false,
        };
        self.through.cache.get(&self.key(part), fits, |kept| self.through.changed_since(part, kept.seq))
    }

    fn inside<'k>(&self, kept: &'k Kept, at: usize) -> impl Iterator<Item = &'k Categorized> {
        let part = self.parts[at];
        let entries = match &kept.answer {
            Answer::Entries { entries, .. } => entries.as_slice(),
            Answer::Steps(_) => &[],
        };
        entries.iter().filter(move |found| part.contains(found.entry.ts))
    }

    /// The range of neighbouring parts.
    fn together(&self, places: Range<usize>) -> TimeRange {
        let (first, last) = (self.parts[places.start], self.parts[places.end - 1]);
        TimeRange::new(first.start.min(last.start), first.end.max(last.end))
    }

    /// Keeps each part that `computed` says everything about, and the beginning of the one it ends in.
    fn keep(&self, places: Range<usize>, seq: ChangeSeq, computed: &[Categorized], all: bool) {
        let mut rest = computed;
        for at in places {
            let part = self.parts[at];
            let inside = rest.iter().take_while(|found| part.contains(found.entry.ts)).count();
            let (of_part, beyond) = rest.split_at(inside);
            let complete = all || !beyond.is_empty();
            if part.end <= self.through.keep_before {
                let answer = Answer::Entries { range: part, entries: of_part.to_vec(), complete };
                self.through.cache.put(self.key(part), seq, answer);
            }
            if !complete {
                return;
            }
            rest = beyond;
        }
    }
}
