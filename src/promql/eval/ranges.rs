//! Range functions at every step: windows slide over the samples of a series.

use super::super::error::PromqlError;
use super::super::labels::without_name;
use super::super::node::{Node, RangeCheck, RangeSource};
use super::super::numbers::format_value;
use super::super::value::{Series, absent, is_absent};
use super::Evaluator;
use super::merge::same_labels;
use super::over_time::Window;
use super::selector::RangeSeries;
use crate::types::labels::Labels;
use crate::types::sample::METRIC_NAME;

/// Names that counters have by convention.
const COUNTER_SUFFIXES: [&str; 4] = ["_total", "_sum", "_count", "_bucket"];

impl Evaluator<'_> {
    pub(super) fn over_time(
        &self,
        function: fn(&Window<'_>) -> Option<f64>,
        source: &RangeSource,
        scalars: &[Node],
        keeps_name: bool,
        check: RangeCheck,
    ) -> Result<Vec<Series>, PromqlError> {
        let scalars: Vec<Vec<f64>> = scalars.iter().map(|scalar| self.scalar(scalar)).collect::<Result<_, _>>()?;
        self.check_scalars(check, &scalars)?;
        let mut found: Vec<Series> = Vec::new();
        for series in &self.range_series(source)? {
            self.budget.check()?;
            let values = self.windows(source, series, &scalars, function);
            if values.iter().all(|value| is_absent(*value)) {
                continue;
            }
            self.budget.take(values.len())?;
            if check == RangeCheck::Counter {
                self.check_counter(&series.labels);
            }
            let labels = if keeps_name { series.labels.clone() } else { without_name(&series.labels) };
            found.push(Series { labels, values });
        }
        let mut labels: Vec<&Labels> = found.iter().map(|series| &series.labels).collect();
        labels.sort_unstable();
        if labels.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(same_labels());
        }
        Ok(found)
    }

    fn windows(
        &self,
        source: &RangeSource,
        series: &RangeSeries<'_>,
        scalars: &[Vec<f64>],
        function: fn(&Window<'_>) -> Option<f64>,
    ) -> Vec<f64> {
        let mut values = vec![absent(); self.steps.count];
        let (mut first, mut after) = (0, 0);
        for (step, value) in values.iter_mut().enumerate() {
            let eval_ms = self.steps.at(step);
            let end_ms = source.shift.look(eval_ms);
            let start_ms = end_ms.saturating_sub(source.range_ms);
            while series.times.get(after).is_some_and(|time| *time <= end_ms) {
                after += 1;
            }
            while first < after && series.times[first] <= start_ms {
                first += 1;
            }
            if first == after {
                continue;
            }
            let at = |which: usize| scalars.get(which).map_or(f64::NAN, |scalar| scalar[step]);
            let window = Window {
                times: &series.times[first..after],
                values: &series.values[first..after],
                start_ms,
                end_ms,
                eval_ms,
                scalars: [at(0), at(1)],
            };
            if let Some(result) = function(&window) {
                *value = result;
            }
        }
        values
    }

    /// 1 at every step at which no series has a sample in the range.
    pub(super) fn absent_over_time(&self, source: &RangeSource, labels: &Labels) -> Result<Vec<Series>, PromqlError> {
        let mut values = self.constant(1.0)?;
        for series in &self.range_series(source)? {
            let present = self.windows(source, series, &[], |_| Some(1.0));
            for (value, _) in values.iter_mut().zip(present).filter(|(_, present)| !is_absent(*present)) {
                *value = absent();
            }
        }
        Ok(vec![Series { labels: labels.clone(), values }])
    }

    fn check_scalars(&self, check: RangeCheck, scalars: &[Vec<f64>]) -> Result<(), PromqlError> {
        match check {
            RangeCheck::Quantile => scalars.iter().for_each(|quantiles| self.check_quantiles(quantiles)),
            RangeCheck::Smoothing => {
                for (factor, name) in scalars.iter().zip(["smoothing", "trend"]) {
                    let short = if name == "smoothing" { "sf" } else { "tf" };
                    if let Some(wrong) = factor.iter().find(|factor| !(**factor > 0.0 && **factor < 1.0)) {
                        return Err(PromqlError::Execution(format!(
                            "invalid {name} factor. Expected: 0 < {short} < 1, got: {wrong:.6}"
                        )));
                    }
                }
            }
            RangeCheck::Nothing | RangeCheck::Counter => {}
        }
        Ok(())
    }

    pub(super) fn check_quantiles(&self, quantiles: &[f64]) {
        for quantile in quantiles.iter().filter(|quantile| !(0.0..=1.0).contains(*quantile)) {
            self.budget.warn(format!("quantile value should be between 0 and 1, got {}", format_value(*quantile)));
        }
    }

    fn check_counter(&self, labels: &Labels) {
        if let Some(name) = labels.get(METRIC_NAME)
            && !COUNTER_SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
        {
            self.budget.inform(format!(
                "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {name:?}"
            ));
        }
    }
}
