//! What a pipeline lets its scan leave out: members of lines, rows, row groups.
//!
//! Everything here is a hint: a scan that ignores it gives the same answer. It is not made use of where lines are
//! masked before the pipeline sees them.

use std::sync::Arc;

use crate::files::fields::{Members, Syntax};
use crate::files::skip::{Sought, SoughtValue};
use crate::logql::ast::{Grouping, LabelFilter, LineFilter, LineFilterOp, LineMatch, LogExpr, MatchOp, Stage};
use crate::query::operators::rows::{DETECTED_LEVEL, RowProgram};
use crate::query::row::{EXTRACTED_SUFFIX, Output, RowPipeline, field_filters, label_name_of_path, prefilter_stages};
use crate::query::visible::ChosenPart;
use crate::streams::{StreamRef, TenantStreams};

/// Shorter values are not looked for before lines are parsed.
const TEXT_BYTES_MIN: usize = 3;

/// Hints for one scan.
#[derive(Debug, Clone, Default)]
pub struct Pushdown {
    /// The members of a line that the pipeline sees, when not all.
    pub members: Option<Members>,
    /// Tells by some members that a row will be dropped.
    pub prefilter: Option<Prefilter>,
    /// What every row that is kept has.
    pub sought: Sought,
    /// Kept rows have these values, unless a stream or metadata label has the name.
    values: Vec<(String, SoughtValue)>,
}

/// The first stages of a pipeline, over lines with the members that they see.
#[derive(Debug, Clone)]
pub struct Prefilter {
    pub program: RowProgram,
    pub members: Members,
    stages: Vec<Stage>,
    /// The same behind filters for the values that fields must have, for row groups of which
    /// [`crate::files::skip::values_are_texts`].
    pub by_texts: Option<Box<Prefilter>>,
}

impl Pushdown {
    /// What `program`, compiled from `log`, lets a scan leave out. `line_bytes`: somebody asks how long lines are.
    pub fn of(log: &LogExpr, program: &RowProgram, line_bytes: bool) -> Self {
        let members = if line_bytes { None } else { program.pipeline.members() };
        let prefilter = if members.is_none() { prefilter(log, program) } else { None };
        let texts = program.pipeline.leading_line_filters().iter().flat_map(|test| test.required_literals());
        let sought = Sought { texts: texts.collect(), values: Vec::new() };
        Pushdown { members, prefilter, sought, values: values(&log.stages) }
    }

    /// The hints that hold for these parts of a scan.
    pub fn for_parts(mut self, parts: &[ChosenPart], streams: &TenantStreams) -> Self {
        if parts.iter().any(|part| part.masks.is_some()) {
            return Pushdown::default();
        }
        let has_label = |name: &str| {
            parts.iter().any(|part| {
                let chosen = part.streams.as_flags().iter().zip(0..).filter(|(chosen, _)| **chosen);
                chosen.into_iter().any(|(_, own)| streams.get(StreamRef(own + part.offset)).labels.get(name).is_some())
            })
        };
        let values = std::mem::take(&mut self.values);
        self.sought.values.extend(values.into_iter().filter(|(name, _)| !has_label(name)).map(|(_, value)| value));
        if let Some(prefilter) = &mut self.prefilter {
            prefilter.by_texts = prefilter.behind_texts(&self.sought.values);
        }
        self
    }
}

impl Prefilter {
    fn new(stages: Vec<Stage>, program: &RowProgram) -> Option<Self> {
        let by_nothing = Grouping { without: false, labels: Vec::new() };
        let output = Output::Metric { grouping: Some(&by_nothing), absent: false, merges: false };
        let pipeline = RowPipeline::compile(&stages, output).ok()?;
        let members = pipeline.members()?;
        let program = RowProgram { pipeline: Arc::new(pipeline), ..program.clone() };
        Some(Prefilter { program, members, stages, by_texts: None })
    }

    fn behind_texts(&self, values: &[SoughtValue]) -> Option<Box<Prefilter>> {
        let is_text = |value: &&str| value.len() >= TEXT_BYTES_MIN && value.is_ascii() && Members::confines(value);
        let texts =
            values.iter().map(|sought| sought.value.as_str()).filter(is_text).filter(|text| !text.contains('\\'));
        let filter = |text: &str| {
            let any_of = vec![LineMatch::Text(text.to_owned())];
            Stage::LineFilter(LineFilter { op: LineFilterOp::Contains, any_of })
        };
        let mut stages: Vec<Stage> = texts.map(filter).collect();
        if stages.is_empty() {
            return None;
        }
        stages.extend_from_slice(&self.stages);
        Prefilter::new(stages, &self.program).map(Box::new)
    }
}

fn prefilter(log: &LogExpr, program: &RowProgram) -> Option<Prefilter> {
    let stages = prefilter_stages(&log.stages);
    if stages.is_empty() { None } else { Prefilter::new(stages, program) }
}

/// The fields that must be equal to a text: label filters right behind a parser without expressions.
fn values(stages: &[Stage]) -> Vec<(String, SoughtValue)> {
    let Some(stages) = field_filters(stages) else { return Vec::new() };
    let mut found = Vec::new();
    let syntax = match &stages[0] {
        Stage::Json { fields } if fields.is_empty() => Syntax::Json,
        Stage::Logfmt { fields, .. } if fields.is_empty() => Syntax::Logfmt,
        _ => return found,
    };
    for stage in &stages[1..] {
        if let Stage::LabelFilter(filter) = stage {
            push_equals(filter, syntax, &mut found);
        }
    }
    found
}

fn push_equals(filter: &LabelFilter, syntax: Syntax, found: &mut Vec<(String, SoughtValue)>) {
    match filter {
        LabelFilter::And(left, right) => {
            push_equals(left, syntax, found);
            push_equals(right, syntax, found);
        }
        LabelFilter::Text(matcher) if matcher.op == MatchOp::Equal && !matcher.value.is_empty() => {
            let name = matcher.name.clone();
            if name == DETECTED_LEVEL || name.starts_with("__") {
                return;
            }
            let is_column = {
                let name = name.clone();
                Arc::new(move |path: &[&str]| {
                    let keys: Vec<String> = path.iter().map(|key| (*key).to_owned()).collect();
                    let of_path = label_name_of_path(&keys);
                    // The label of a field whose name a stream or metadata label has already.
                    of_path == name || name.strip_suffix(EXTRACTED_SUFFIX) == Some(&*of_path)
                })
            };
            found.push((name, SoughtValue { syntax, is_column, value: matcher.value.clone() }));
        }
        _ => {}
    }
}
