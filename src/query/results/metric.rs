//! Range aggregations through the cache: kept splits are put together with what is computed for the rest.

use std::ops::Range;
use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt};
use futures::stream::{self, StreamExt, TryStreamExt};
use hashbrown::HashMap;

use super::Through;
use super::cache::{Answer, Kept, Shape, SplitKey};
use super::splits::{StepSplit, runs, split_steps, step_interval, sub_steps};
use crate::catalog::ChangeSeq;
use crate::query::QueryError;
use crate::query::matrix::{Matrix, Series, Steps};
use crate::query::panes::Windows;
use crate::types::labels::Labels;

/// Stretches computed at once; the scans below share all query threads anyway.
const STRETCHES_AT_ONCE: usize = 4;

/// The series over all steps of `windows`, from kept splits where there are, else from `compute`, which answers the
/// series of a stretch of steps.
pub async fn series<'f>(
    through: &Through,
    text: Arc<str>,
    windows: &Windows,
    compute: impl Fn(Steps) -> BoxFuture<'f, Result<Vec<Series>, QueryError>> + Send,
) -> Result<Vec<Series>, QueryError> {
    let steps = windows.steps;
    let interval_ns = step_interval(&steps, through.interval_ns);
    let plan = Plan { through, text, windows, interval_ns };
    let splits = split_steps(&steps, interval_ns);
    let seq = through.catalog.change_seq();
    let kept: Vec<Option<Arc<Kept>>> = splits.iter().map(|split| plan.kept(split)).collect();
    let missing = runs((0..splits.len()).filter(|at| kept[*at].is_none()));
    let computed: Vec<(Range<usize>, Vec<Series>)> = stream::iter(missing)
        .map(|run| {
            let places = splits[run.start].steps.start..splits[run.end - 1].steps.end;
            let computing = compute(sub_steps(&steps, &places));
            async move { Ok::<_, QueryError>((run, computing.await?)) }.boxed()
        })
        .buffered(STRETCHES_AT_ONCE)
        .try_collect()
        .await?;
    if let ([(run, _)], true) = (computed.as_slice(), kept.iter().all(Option::is_none)) {
        plan.keep(&splits[run.clone()], seq, &computed[0].1);
        return Ok(computed.into_iter().next().map(|(_, series)| series).unwrap_or_default());
    }
    let mut whole = Whole::new(steps);
    for (split, kept) in splits.iter().zip(&kept) {
        if let Some(Answer::Steps(matrix)) = kept.as_deref().map(|kept| &kept.answer) {
            whole.add(split, matrix);
        }
    }
    for (run, series) in computed {
        plan.keep(&splits[run.clone()], seq, &series);
        let places = splits[run.start].steps.start..splits[run.end - 1].steps.end;
        whole.add(
            &StepSplit { number: 0, steps: places.clone() },
            &Matrix { steps: sub_steps(&steps, &places), series },
        );
    }
    Ok(whole.series)
}

struct Plan<'a> {
    through: &'a Through,
    text: Arc<str>,
    windows: &'a Windows,
    interval_ns: i64,
}

impl Plan<'_> {
    fn key(&self, split: &StepSplit) -> SplitKey {
        let steps = self.windows.steps;
        let phase_ns = steps.start_ns.rem_euclid(steps.step_ns);
        SplitKey {
            scope: self.through.scope.key().clone(),
            text: self.text.clone(),
            shape: Shape::Steps { step_ns: steps.step_ns, phase_ns },
            interval_ns: self.interval_ns,
            number: split.number,
        }
    }

    fn kept(&self, split: &StepSplit) -> Option<Arc<Kept>> {
        let wanted = sub_steps(&self.windows.steps, &split.steps);
        let fits = |answer: &Answer| match answer {
            Answer::Steps(matrix) => {
                let last = |steps: &Steps| steps.at(steps.count.saturating_sub(1));
                matrix.steps.start_ns <= wanted.start_ns && last(&wanted) <= last(&matrix.steps)
            }
            Answer::Entries { .. } => false,
        };
        let range = Windows { steps: wanted, ..*self.windows }.scanned_range();
        self.through.cache.get(&self.key(split), fits, |kept| self.through.changed_since(range, kept.seq))
    }

    /// Keeps the splits that are over. `series` are those of all of `splits` together.
    fn keep(&self, splits: &[StepSplit], seq: ChangeSeq, series: &[Series]) {
        let Some(first) = splits.first().map(|split| split.steps.start) else {
            return;
        };
        for split in splits {
            let steps = sub_steps(&self.windows.steps, &split.steps);
            let windows = Windows { steps, ..*self.windows };
            if windows.scanned_range().end > self.through.keep_before {
                continue;
            }
            let places = split.steps.start - first..split.steps.end - first;
            let series = series.iter().filter_map(|one| part_of(one, &places)).collect();
            self.through.cache.put(self.key(split), seq, Answer::Steps(Matrix { steps, series }));
        }
    }
}

/// The part of a series at `places`; none when it has no value there.
fn part_of(series: &Series, places: &Range<usize>) -> Option<Series> {
    let mut part = Series::empty(series.labels.clone(), places.len());
    let mut any = false;
    for place in places.clone().filter(|place| series.present.get(*place)) {
        part.set(place - places.start, series.values[place]);
        any = true;
    }
    any.then_some(part)
}

/// Series over all steps, put together from parts.
struct Whole {
    steps: Steps,
    places: HashMap<Labels, usize>,
    series: Vec<Series>,
}

impl Whole {
    fn new(steps: Steps) -> Self {
        Whole { steps, places: HashMap::new(), series: Vec::new() }
    }

    /// Copies what `matrix`, which has at least the steps of `split`, says of them.
    fn add(&mut self, split: &StepSplit, matrix: &Matrix) {
        let ahead_ns = self.steps.at(split.steps.start).saturating_sub(matrix.steps.start_ns);
        let ahead = usize::try_from(ahead_ns / self.steps.step_ns).unwrap_or(0);
        for one in &matrix.series {
            let mut to: Option<usize> = None;
            for place in split.steps.clone() {
                let from = place - split.steps.start + ahead;
                if !one.present.get(from) {
                    continue;
                }
                let at = *to.get_or_insert_with(|| self.place_of(&one.labels));
                self.series[at].set(place, one.values[from]);
            }
        }
    }

    fn place_of(&mut self, labels: &Labels) -> usize {
        if let Some(at) = self.places.get(labels) {
            return *at;
        }
        self.series.push(Series::empty(labels.clone(), self.steps.count));
        self.places.insert(labels.clone(), self.series.len() - 1);
        self.series.len() - 1
    }
}
