//! `| regexp "(?P<a>…)"`: named groups become labels; a group that took no part is "".
//!
//! A line that does not match keeps its labels. Errors: those of the expression, as Go words them.

use std::fmt;
use std::sync::Mutex;

use regex::CaptureLocations;

use crate::logql::go_regex::{GoRegex, compile_go_regex};

use super::builder::{Context, LabelState, LineView, Name};
use super::compile::CompileError;
use super::json::push_label_name;
use super::pattern::set_capture;

pub(super) struct RegexpParser {
    regex: GoRegex,
    /// Group number and label, in order.
    groups: Vec<(usize, Name)>,
    /// Group positions, kept between rows: as many as threads run at once.
    spare: Mutex<Vec<CaptureLocations>>,
}

impl fmt::Debug for RegexpParser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegexpParser").field("regex", &self.regex).finish_non_exhaustive()
    }
}

impl RegexpParser {
    pub(super) fn new(pattern: &str) -> Result<Self, CompileError> {
        let regex = compile_go_regex(pattern).map_err(|error| CompileError::new(error.to_string()))?;
        let mut groups: Vec<(usize, Name)> = Vec::new();
        for (at, name) in regex.capture_names().enumerate().filter_map(|(at, name)| Some((at, name?))) {
            let mut label = String::new();
            push_label_name(&mut label, name);
            groups.push((at, Name::new(&label)));
        }
        if groups.is_empty() {
            return Err(CompileError::new("at least one named capture must be supplied".to_owned()));
        }
        Ok(RegexpParser { regex, groups, spare: Mutex::new(Vec::new()) })
    }

    /// Adds the labels; false drops the row.
    pub(super) fn parse(&self, cx: &Context<'_>, labels: &mut LabelState, view: LineView<'_>) -> bool {
        if labels.all_required_extracted() {
            return true;
        }
        let mut locations = self.take_spare();
        let kept = self.regex.captures_read(&mut locations, view.text).is_none()
            || self.groups.iter().all(|(group, name)| {
                let (start, end) = locations.get(*group).unwrap_or((0, 0));
                set_capture(cx, labels, view, name, start, end)
            });
        if let Ok(mut spare) = self.spare.lock() {
            spare.push(locations);
        }
        kept
    }

    fn take_spare(&self) -> CaptureLocations {
        let spare = self.spare.lock().ok().and_then(|mut spare| spare.pop());
        spare.unwrap_or_else(|| self.regex.capture_locations())
    }
}
