//! Selectors: the newest sample within the look back, and the samples of a range.

use std::borrow::Cow;

use super::super::error::PromqlError;
use super::super::node::{InstantSelector, RangeFrom, RangeSource};
use super::super::plan::subquery_steps;
use super::super::value::{RawSeries, Series, absent, is_absent};
use super::Evaluator;
use crate::types::labels::Labels;

/// Samples of a series without stale markers.
pub(super) struct RangeSeries<'a> {
    pub(super) labels: Labels,
    pub(super) times: Cow<'a, [i64]>,
    pub(super) values: Cow<'a, [f64]>,
}

impl<'a> Evaluator<'a> {
    pub(super) fn selected(&self, selection: usize) -> &'a [RawSeries] {
        self.data.get(selection).map_or(&[], Vec::as_slice)
    }

    /// The newest sample of each series at each step.
    pub(super) fn selector(&self, selector: &InstantSelector) -> Result<Vec<Series>, PromqlError> {
        self.newest(selector, |_, value| value)
    }

    /// The times of those samples, in seconds.
    pub(super) fn selector_times(&self, selector: &InstantSelector) -> Result<Vec<Series>, PromqlError> {
        self.newest(selector, |time, _| time as f64 / 1000.0)
    }

    fn newest(
        &self,
        selector: &InstantSelector,
        of: impl Fn(i64, f64) -> f64 + Copy,
    ) -> Result<Vec<Series>, PromqlError> {
        let mut found = Vec::new();
        for series in self.selected(selector.selection) {
            let mut values = vec![absent(); self.steps.count];
            // Steps ascend, so the newest sample at or before each only moves on, unless `@` holds it.
            let mut after = 0;
            let mut present = 0;
            for (step, value) in values.iter_mut().enumerate() {
                let look = selector.shift.look(self.steps.at(step));
                while series.times.get(after).is_some_and(|time| *time <= look) {
                    after += 1;
                }
                let Some(newest) = after.checked_sub(1) else { continue };
                let (time, raw) = (series.times[newest], series.values[newest]);
                if time <= look.saturating_sub(self.lookback_ms) || is_absent(raw) {
                    continue;
                }
                *value = of(time, raw);
                present += 1;
            }
            if present > 0 {
                self.budget.take(self.steps.count)?;
                found.push(Series { labels: series.labels.clone(), values });
            }
        }
        Ok(found)
    }

    /// The samples that windows of `source` are cut from.
    pub(super) fn range_series(&self, source: &RangeSource) -> Result<Vec<RangeSeries<'a>>, PromqlError> {
        match &source.from {
            RangeFrom::Selection(selection) => Ok(self.selected(*selection).iter().map(without_stale).collect()),
            RangeFrom::Subquery { node, step_ms } => {
                let steps = subquery_steps(self.steps, source.shift, source.range_ms, *step_ms);
                if steps.count == 0 {
                    return Ok(Vec::new());
                }
                let inner = Evaluator { steps, lookback_ms: self.lookback_ms, data: self.data, budget: self.budget };
                let of_steps = |series: Series| {
                    let present = series.values.iter().enumerate().filter(|(_, value)| !is_absent(**value));
                    let (times, values) = present.map(|(step, value)| (steps.at(step), *value)).unzip();
                    RangeSeries { labels: series.labels, times: Cow::Owned(times), values: Cow::Owned(values) }
                };
                Ok(inner.vector(node)?.into_iter().map(of_steps).collect())
            }
        }
    }
}

fn without_stale(series: &RawSeries) -> RangeSeries<'_> {
    let labels = series.labels.clone();
    if !series.values.iter().any(|value| is_absent(*value)) {
        return RangeSeries { labels, times: Cow::Borrowed(&series.times), values: Cow::Borrowed(&series.values) };
    }
    let samples = series.times.iter().zip(&series.values).filter(|(_, value)| !is_absent(**value));
    let (times, values) = samples.map(|(time, value)| (*time, *value)).unzip();
    RangeSeries { labels, times: Cow::Owned(times), values: Cow::Owned(values) }
}
