//! What of a JSON line a pipeline can see.
//!
//! A metric query by a few labels reads a few members of each line, and so do the label filters behind a `| json`:
//! scans of lines that are stored as columns then give lines with these members alone. The same parsers run over
//! them, so that names, conflicts, order and errors stay theirs.

use super::builder::EXTRACTED_SUFFIX;
use super::compile::{RowPipeline, Step};
use super::json::name_of_member;
use crate::files::fields::{MemberKind, Members};
use crate::logql::ast::Stage;

impl RowPipeline {
    /// The members that decide what comes out of the pipeline; none when the rest of the line does too.
    pub fn members(&self) -> Option<Members> {
        let (first, rest) = self.steps.split_first()?;
        let sees_labels_alone = rest.iter().all(|step| match step {
            Step::LabelFilter(_) | Step::Drop(_) | Step::Keep(_) | Step::Unwrap(_) => true,
            Step::LabelFormat(format) => format.only_renames(),
            _ => false,
        });
        if !sees_labels_alone {
            return None;
        }
        match first {
            Step::Json if self.hints.no_labels => Some(Members::new(|_| false)),
            Step::Json if self.hints.is_limited() => {
                let required: Vec<Box<str>> = self.hints.required.iter().map(|name| name.text.clone()).collect();
                Some(Members::new(move |member| {
                    let name = name_of_member(&member.key, member.kind == MemberKind::Object);
                    match member.kind {
                        MemberKind::Array => false,
                        MemberKind::Object => required.iter().any(|label| label.starts_with(&*name)),
                        MemberKind::Scalar => required.iter().any(|label| {
                            **label == *name
                                || label.strip_suffix(EXTRACTED_SUFFIX).is_some_and(|label| *label == *name)
                        }),
                    }
                }))
            }
            Step::JsonFields(fields) => {
                let keys = fields.first_keys()?;
                Some(Members::new(move |member| keys.iter().any(|key| **key == *member.key)))
            }
            _ => None,
        }
    }
}

/// The part of a pipeline that can refuse a row by a few members of its line: a JSON parser and the label filters
/// right behind it. A row that it drops, the whole pipeline drops.
pub fn prefilter_stages(stages: &[Stage]) -> Option<Vec<Stage>> {
    let mut rest = stages.iter().skip_while(|stage| matches!(stage, Stage::LineFilter(_)));
    let parser = rest.next().filter(|stage| matches!(stage, Stage::Json { .. }))?;
    let filters = rest.take_while(|stage| matches!(stage, Stage::LabelFilter(_)));
    let stages: Vec<Stage> = [parser].into_iter().chain(filters).cloned().collect();
    (stages.len() > 1).then_some(stages)
}
