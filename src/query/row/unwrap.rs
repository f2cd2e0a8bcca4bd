//! `| unwrap a`, `bytes(a)`, `duration(a)`: the label's value as the row's number.
//!
//! A row without the label, or with it empty, is dropped. A value that cannot be read sets
//! `__error__="SampleExtractionErr"` and counts as 0; filters after the unwrap can still drop the row.

use super::builder::{Context, LabelState, Name};
use super::label_filter::set_unit_error;
use super::units::{UnitError, parse_bytes, parse_duration, parse_float, seconds};
use crate::logql::ast::UnwrapConversion;

#[derive(Debug)]
pub(super) struct UnwrapStep {
    pub(super) name: Name,
    conversion: Option<UnwrapConversion>,
}

impl UnwrapStep {
    pub(super) fn new(label: &str, conversion: Option<UnwrapConversion>) -> Self {
        UnwrapStep { name: Name::new(label), conversion }
    }

    /// The number, or `None` when the row is to be dropped.
    pub(super) fn value(&self, cx: &Context<'_>, labels: &mut LabelState) -> Option<f64> {
        let text = labels.get(cx, &self.name).filter(|text| !text.is_empty())?;
        match self.convert(text) {
            Ok(value) => Some(value),
            Err(error) => {
                set_unit_error(cx, labels, &self.name, "SampleExtractionErr", error);
                Some(0.0)
            }
        }
    }

    fn convert(&self, text: &str) -> Result<f64, UnitError> {
        match self.conversion {
            None => parse_float(text),
            Some(UnwrapConversion::Bytes) => parse_bytes(text).map(|bytes| bytes as f64),
            Some(UnwrapConversion::Duration | UnwrapConversion::DurationSeconds) => parse_duration(text).map(seconds),
        }
    }
}
