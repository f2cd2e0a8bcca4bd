//! Series that lost what told them apart become one, where they do not meet.

use std::collections::HashMap;

use super::super::error::PromqlError;
use super::super::value::{Series, absent, is_absent};
use crate::types::labels::Labels;

/// Two samples of the same labels at one time.
pub(super) fn same_labels() -> PromqlError {
    PromqlError::Execution("vector cannot contain metrics with the same labelset".to_owned())
}

/// Joins series with the same labels.
///
/// # Errors
/// `Execution` when two have a value at the same step.
pub(super) fn merged(series: Vec<Series>) -> Result<Vec<Series>, PromqlError> {
    let mut place: HashMap<Labels, usize> = HashMap::with_capacity(series.len());
    let mut out: Vec<Series> = Vec::with_capacity(series.len());
    for series in series {
        let Some(at) = place.get(&series.labels) else {
            place.insert(series.labels.clone(), out.len());
            out.push(series);
            continue;
        };
        for (into, value) in out[*at].values.iter_mut().zip(series.values) {
            if is_absent(value) {
                continue;
            }
            if !is_absent(*into) {
                return Err(same_labels());
            }
            *into = value;
        }
    }
    Ok(out)
}

/// Series being made, found by their labels.
#[derive(Default)]
pub(super) struct Collector {
    place: HashMap<Labels, usize>,
    series: Vec<Series>,
    steps: usize,
}

impl Collector {
    pub(super) fn new(steps: usize) -> Self {
        Collector { steps, ..Self::default() }
    }

    /// Place of the series with these labels; the flag says that it is new.
    pub(super) fn place(&mut self, labels: &Labels) -> (usize, bool) {
        if let Some(at) = self.place.get(labels) {
            return (*at, false);
        }
        let at = self.series.len();
        self.place.insert(labels.clone(), at);
        self.series.push(Series { labels: labels.clone(), values: vec![absent(); self.steps] });
        (at, true)
    }

    /// # Errors
    /// `Execution` when there is a value already.
    pub(super) fn set(&mut self, at: usize, step: usize, value: f64) -> Result<(), PromqlError> {
        let into = &mut self.series[at].values[step];
        if !is_absent(*into) {
            return Err(same_labels());
        }
        *into = value;
        Ok(())
    }

    /// What has a value somewhere, in the order it came.
    pub(super) fn finish(self) -> Vec<Series> {
        self.series.into_iter().filter(|series| series.values.iter().any(|value| !is_absent(*value))).collect()
    }
}
