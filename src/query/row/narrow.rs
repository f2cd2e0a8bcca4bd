//! What of a line of JSON or logfmt a pipeline can see.
//!
//! A metric query by a few labels reads a few members of each line, and so do the label filters behind a parser; a
//! filter for a text reads the members that may have it: scans of lines that are stored as columns then give lines with these members alone. The same parsers run over
//! them, so that names, conflicts, order and errors stay theirs.

use super::builder::{EXTRACTED_SUFFIX, Name};
use super::compile::{Grouped, RowPipeline, Step};
use super::json::name_of_member;
use super::line_filter::LineTest;
use crate::files::fields::{Member, MemberKind, Members, Syntax};
use crate::logql::ast::{LineFilter, LineFilterOp, LineMatch, Stage};

impl RowPipeline {
    /// The members that decide what comes out of the pipeline; none when the rest of the line does too.
    pub fn members(&self) -> Option<Members> {
        if !self.counts {
            return None;
        }
        let mut texts = Vec::new();
        for filter in self.leading_line_filters() {
            texts.extend_from_slice(filter.deciding_literals()?);
        }
        if !texts.iter().all(|text| Members::confines(text)) {
            return None;
        }
        let steps = &self.steps[self.leading_line_filters().len()..];
        let (parser, rest) = match steps.split_first() {
            Some((parser, rest)) if syntax_of(parser).is_some() => (Some(parser), rest),
            _ if texts.is_empty() => return None,
            _ => (None, steps),
        };
        if !rest.iter().all(sees_labels_alone) {
            return None;
        }
        let required = self.leading_line_filters().iter().flat_map(LineTest::required_literals);
        let longest = required.max_by_key(String::len);
        Some(self.parsed_members(parser)?.or_with(texts).requiring(longest.as_deref()))
    }

    /// The members that decide what comes out behind the line filters at the front, when nothing else of the line does:
    /// the filters see whole lines, the rest narrowed ones. Of pipelines that count rows, and not their bytes.
    pub fn parsed_alone(&self) -> Option<Members> {
        let steps = &self.steps[self.leading_line_filters().len()..];
        let (parser, rest) = steps.split_first().filter(|_| self.counts)?;
        // Rules share what is narrowed: lines of JSON alone are.
        let is_json = syntax_of(parser) == Some(Syntax::Json);
        if is_json && rest.iter().all(sees_labels_alone) { self.parsed_members(Some(parser)) } else { None }
    }

    /// The names of labels that can make a difference to what comes out, unless all can; also those that begin with
    /// one of these. A row with an error shows its other labels too.
    pub fn seen_names(&self) -> Option<Vec<&str>> {
        let grouped: &[Name] = match &self.grouped {
            Grouped::By(names) => names,
            Grouped::None => &[],
            Grouped::All | Grouped::Without(_) => return None,
        };
        let by_name = self.steps.iter().all(|step| match step {
            Step::LineFilter(_) | Step::Json | Step::JsonFields(_) => true,
            Step::Logfmt { .. } | Step::LogfmtFields(_) => true,
            Step::LabelFilter(_) | Step::Drop(_) | Step::Keep(_) | Step::Unwrap(_) => true,
            Step::LabelFormat(format) => format.only_renames(),
            _ => false,
        });
        by_name.then(|| self.hints.required.iter().chain(grouped).map(|name| &*name.text).collect())
    }

    /// Whether the level of a row, which is a label `name`, can make a difference: to a series, or to what is said of a
    /// row that could not be parsed.
    pub fn sees_level(&self, name: &str) -> bool {
        let fails = self.steps.iter().any(|step| !matches!(step, Step::LineFilter(_)));
        fails || self.seen_names().is_none_or(|seen| seen.iter().any(|seen| seen.starts_with(name)))
    }

    /// The members that a parser makes labels of.
    fn parsed_members(&self, parser: Option<&Step>) -> Option<Members> {
        match parser {
            Some(parser @ (Step::Json | Step::Logfmt { .. })) if self.hints.is_limited() => {
                let required: Vec<Box<str>> = self.hints.required.iter().map(|name| name.text.clone()).collect();
                Some(Members::of(syntax_of(parser)?, move |member| becomes_any(member, &required)))
            }
            Some(Step::Json | Step::Logfmt { .. }) if !self.hints.no_labels => None,
            Some(Step::JsonFields(fields)) => {
                let keys = fields.first_keys()?;
                Some(Members::of(Syntax::Json, move |member| keys.iter().any(|key| **key == *member.key)))
            }
            Some(Step::LogfmtFields(fields)) => {
                let names = fields.names();
                Some(Members::of(Syntax::Logfmt, move |member| names.contains(&name_of_member(&member.key, false))))
            }
            Some(parser) => Some(Members::of(syntax_of(parser)?, |_| false)),
            None => Some(Members::none()),
        }
    }
}

/// What lines a parser reads members of.
fn syntax_of(step: &Step) -> Option<Syntax> {
    match step {
        Step::Json | Step::JsonFields(_) => Some(Syntax::Json),
        Step::Logfmt { .. } | Step::LogfmtFields(_) => Some(Syntax::Logfmt),
        _ => None,
    }
}

/// Whether a parser makes one of these labels of a member, or something of which their names are the beginning.
fn becomes_any(member: &Member, labels: &[Box<str>]) -> bool {
    let name = name_of_member(&member.key, member.kind == MemberKind::Object);
    match member.kind {
        MemberKind::Array => false,
        MemberKind::Object => labels.iter().any(|label| label.starts_with(&*name)),
        MemberKind::Scalar => labels
            .iter()
            .any(|label| **label == *name || label.strip_suffix(EXTRACTED_SUFFIX).is_some_and(|label| *label == *name)),
    }
}

fn sees_labels_alone(step: &Step) -> bool {
    match step {
        Step::LabelFilter(_) | Step::Drop(_) | Step::Keep(_) | Step::Unwrap(_) => true,
        Step::LabelFormat(format) => format.only_renames(),
        _ => false,
    }
}

/// The part of a pipeline that can refuse a row by a few members of its line: filters for texts that lie in members, a
/// parser and the label filters right behind it. A row that it drops, the whole pipeline drops.
pub fn prefilter_stages(stages: &[Stage]) -> Vec<Stage> {
    let mut kept = Vec::new();
    let mut rest = stages.iter().peekable();
    while let Some(Stage::LineFilter(filter)) = rest.next_if(|stage| matches!(stage, Stage::LineFilter(_))) {
        let Ok(test) = LineTest::new(filter) else { continue };
        match test.deciding_literals() {
            Some(literals) if literals.iter().all(|text| Members::confines(text)) => {
                kept.push(Stage::LineFilter(filter.clone()));
            }
            _ => {
                let literals = test.required_literals().into_iter().filter(|text| Members::confines(text));
                kept.extend(literals.map(|text| {
                    let any_of = vec![LineMatch::Text(text)];
                    Stage::LineFilter(LineFilter { op: LineFilterOp::Contains, any_of })
                }));
            }
        }
    }
    kept.extend(field_filters(stages).unwrap_or_default());
    kept
}

/// A parser of JSON or logfmt right behind the line filters, and the label filters behind it.
pub fn field_filters(stages: &[Stage]) -> Option<Vec<Stage>> {
    let mut rest = stages.iter().skip_while(|stage| matches!(stage, Stage::LineFilter(_)));
    let parser = rest.next().filter(|stage| matches!(stage, Stage::Json { .. } | Stage::Logfmt { .. }))?;
    let filters = rest.take_while(|stage| matches!(stage, Stage::LabelFilter(_)));
    let stages: Vec<Stage> = [parser].into_iter().chain(filters).cloned().collect();
    (stages.len() > 1).then_some(stages)
}
