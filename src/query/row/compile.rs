//! From stages as written to steps as run.
//!
//! ```text
//! stages ─▶ reorder (line filters first, as Loki does) ─▶ steps ─▶ hints (what parsers may leave out)
//! ```
//!
//! Loki moves line filters before other stages up to a label filter, `line_format` or `unpack`; that `decolorize`
//! changes the line too does not stop it, so `| decolorize |= "x"` looks at the coloured line.
//!
//! Errors: [`CompileError`], with the stage it is about and Go's words.

use super::builder::Name;
use super::drop_keep::Selectors;
use super::format::{LabelFormatStep, LineFormatStep};
use super::hints::{HintInput, Hints};
use super::json_fields::{JsonFields, PathStep};
use super::label_filter::LabelFilterStep;
use super::line_filter::LineTest;
use super::logfmt::LogfmtFields;
use super::pattern::PatternParser;
use super::regexp::RegexpParser;
use super::unwrap::UnwrapStep;
use crate::logql::ast::{FieldExtraction, FormatSource, Grouping, Stage};
use crate::logql::logfmt_key::logfmt_key;

/// Why a pipeline cannot run: Loki's words, and the stage (from 0) they are about when it is one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{words}")]
pub struct CompileError {
    pub words: String,
    pub stage: Option<usize>,
}

impl CompileError {
    pub(super) fn new(words: String) -> Self {
        CompileError { words, stage: None }
    }
}

/// What the rows are for.
#[derive(Debug, Clone, Copy)]
pub enum Output<'a> {
    /// Entries: every label is wanted.
    Log,
    /// Samples: `grouping` is the range aggregation's own or, if it has none, that of the `sum` right around it
    /// (for count, rate, bytes, bytes_rate and sum over time only). `absent` is for `absent_over_time`. `merges` says
    /// that Loki merges equal series of its shards (for count, rate, bytes, bytes_rate, sum, avg, min and max over
    /// time): where stages or a grouping may make labels fewer, the merge loses labels without a value.
    Metric { grouping: Option<&'a Grouping>, absent: bool, merges: bool },
}

/// Which labels of a row make its series.
#[derive(Debug)]
pub(super) enum Grouped {
    /// All of them.
    All,
    /// None: `by ()`.
    None,
    By(Vec<Name>),
    Without(Vec<Name>),
}

#[derive(Debug)]
pub(super) enum Step {
    LineFilter(LineTest),
    Json,
    JsonFields(JsonFields),
    Logfmt { strict: bool, keep_empty: bool },
    LogfmtFields(LogfmtFields),
    Regexp(RegexpParser),
    Pattern(PatternParser),
    Unpack,
    LabelFilter(LabelFilterStep),
    LineFormat(LineFormatStep),
    LabelFormat(LabelFormatStep),
    Drop(Selectors),
    Keep(Selectors),
    Decolorize,
    Unwrap(UnwrapStep),
}

/// The stages of one query, ready to run. Immutable.
#[derive(Debug)]
pub struct RowPipeline {
    pub(super) steps: Vec<Step>,
    pub(super) hints: Hints,
    pub(super) grouped: Grouped,
    /// Whether labels without a value are no part of a series.
    pub(super) skips_empty: bool,
    /// Whether rows are counted, so that nobody sees their lines.
    pub(super) counts: bool,
    leading: Vec<LineTest>,
}

impl RowPipeline {
    pub fn compile(stages: &[Stage], output: Output<'_>) -> Result<RowPipeline, CompileError> {
        let unwrap_at = stages.iter().position(|stage| matches!(stage, Stage::Unwrap { .. }));
        let before = &stages[..unwrap_at.unwrap_or(stages.len())];
        let mut steps = Vec::with_capacity(stages.len());
        for at in reordered(before) {
            let step = compile_stage(&stages[at]).map_err(|error| CompileError { stage: Some(at), ..error })?;
            if !matches!(&step, Step::LineFilter(test) if test.is_noop()) {
                steps.push(step);
            }
        }
        let mut metric_label = "";
        if let Some(unwrap_at) = unwrap_at {
            if let Stage::Unwrap { conversion, label } = &stages[unwrap_at] {
                metric_label = label;
                steps.push(Step::Unwrap(UnwrapStep::new(label, *conversion)));
            }
            let mut filters = Vec::new();
            for (at, stage) in stages.iter().enumerate().skip(unwrap_at + 1) {
                match compile_stage(stage).map_err(|error| CompileError { stage: Some(at), ..error })? {
                    Step::LabelFilter(filter) => filters.push(filter),
                    other => steps.push(other),
                }
            }
            steps.push(Step::LabelFilter(LabelFilterStep::all(filters)));
        }
        let grouped = group(output, metric_label);
        let hints = hints(&steps, output, &grouped, metric_label);
        let skips_empty = match output {
            Output::Metric { grouping, merges: true, .. } => {
                grouping.is_some_and(reduces) || stages.iter().any(reduces_labels)
            }
            _ => false,
        };
        let leading = steps.iter().map_while(|step| match step {
            Step::LineFilter(test) => Some(test.clone()),
            _ => None,
        });
        let counts = matches!(output, Output::Metric { .. });
        Ok(RowPipeline { leading: leading.collect(), steps, hints, grouped, skips_empty, counts })
    }

    /// The line filters that come before anything else: they look at the line alone, so a scan may put them to whole
    /// columns and then run the rows with [`super::RowState::run_prefiltered`].
    pub fn leading_line_filters(&self) -> &[LineTest] {
        &self.leading
    }

    /// Whether a step beyond the leading filters, or a filter, reads the line.
    pub fn needs_line(&self) -> bool {
        self.steps.iter().any(|step| {
            !matches!(
                step,
                Step::LabelFilter(_)
                    | Step::Drop(_)
                    | Step::Keep(_)
                    | Step::Unwrap(_)
                    | Step::LineFormat(LineFormatStep::Field(_))
            )
        })
    }

    /// Whether a row's metadata can make a difference.
    pub fn needs_metadata(&self) -> bool {
        !matches!(self.grouped, Grouped::None) || self.steps.iter().any(|step| !matches!(step, Step::LineFilter(_)))
    }

    /// Whether the row's line as the pipeline leaves it can differ from the one it got.
    pub fn changes_line(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::LineFormat(_) | Step::Unpack | Step::Decolorize))
    }

    /// Whether nothing is to be done: every row stays as it is, with all its labels.
    pub fn is_noop(&self) -> bool {
        self.steps.is_empty() && matches!(self.grouped, Grouped::All)
    }
}

/// Positions of the stages in the order they run.
fn reordered(stages: &[Stage]) -> Vec<usize> {
    let (mut order, mut filters, mut others) = (Vec::with_capacity(stages.len()), Vec::new(), Vec::new());
    let flush = |order: &mut Vec<usize>, filters: &mut Vec<usize>, others: &mut Vec<usize>| {
        order.append(filters);
        order.append(others);
    };
    for (at, stage) in stages.iter().enumerate() {
        match stage {
            Stage::LineFilter(_) => filters.push(at),
            Stage::LabelFilter(_) => {
                flush(&mut order, &mut filters, &mut others);
                order.push(at);
            }
            Stage::LineFormat { .. } | Stage::Unpack => {
                others.push(at);
                flush(&mut order, &mut filters, &mut others);
            }
            _ => others.push(at),
        }
    }
    flush(&mut order, &mut filters, &mut others);
    order
}

fn compile_stage(stage: &Stage) -> Result<Step, CompileError> {
    Ok(match stage {
        Stage::LineFilter(filter) => Step::LineFilter(LineTest::new(filter)?),
        Stage::Json { fields } if fields.is_empty() => Step::Json,
        Stage::Json { fields } => {
            let fields = fields.iter().map(|field| Ok((Name::new(&field.label), json_path(field)?)));
            Step::JsonFields(JsonFields::new(fields.collect::<Result<_, CompileError>>()?))
        }
        Stage::Logfmt { strict, keep_empty, fields } if fields.is_empty() => {
            Step::Logfmt { strict: *strict, keep_empty: *keep_empty }
        }
        Stage::Logfmt { strict, fields, .. } => {
            let fields = fields.iter().map(|field| {
                let key = logfmt_key(&field.expression).map_err(|error| unreadable(field, &error))?;
                Ok((Name::new(&field.label), key.into()))
            });
            Step::LogfmtFields(LogfmtFields::new(fields.collect::<Result<_, CompileError>>()?, *strict))
        }
        Stage::Regexp { pattern } => Step::Regexp(RegexpParser::new(pattern)?),
        Stage::Pattern { pattern } => Step::Pattern(PatternParser::new(pattern)?),
        Stage::Unpack => Step::Unpack,
        Stage::LabelFilter(filter) => Step::LabelFilter(LabelFilterStep::new(filter)?),
        Stage::LineFormat { template } => Step::LineFormat(LineFormatStep::new(template)?),
        Stage::LabelFormat { formats } => Step::LabelFormat(LabelFormatStep::new(formats)?),
        Stage::Drop { labels } => Step::Drop(Selectors::new(labels)?),
        Stage::Keep { labels } => Step::Keep(Selectors::new(labels)?),
        Stage::Decolorize => Step::Decolorize,
        Stage::Unwrap { conversion, label } => Step::Unwrap(UnwrapStep::new(label, *conversion)),
    })
}

fn json_path(field: &FieldExtraction) -> Result<Vec<PathStep>, CompileError> {
    use crate::logql::json_path::{JsonPathStep, parse_json_path};

    let path = parse_json_path(&field.expression).map_err(|error| unreadable(field, &error.to_string()))?;
    let step = |step: JsonPathStep| match step {
        JsonPathStep::Key(key) => PathStep::Key(key.into()),
        JsonPathStep::Index(index) => PathStep::Index(index),
    };
    Ok(path.into_iter().map(step).collect())
}

fn unreadable(field: &FieldExtraction, error: &str) -> CompileError {
    CompileError::new(format!("cannot parse expression [{}]: {error}", field.expression))
}

/// Whether the grouping is anything but `without ()`.
fn reduces(grouping: &Grouping) -> bool {
    !grouping.without || !grouping.labels.is_empty()
}

/// Whether rows of different label sets may have equal ones after the stage, as Loki sees it.
fn reduces_labels(stage: &Stage) -> bool {
    match stage {
        Stage::Drop { .. } | Stage::Keep { .. } => true,
        Stage::LabelFormat { formats } => formats.iter().any(|format| matches!(format.source, FormatSource::Rename(_))),
        _ => false,
    }
}

fn group(output: Output<'_>, metric_label: &str) -> Grouped {
    let Output::Metric { grouping, absent, .. } = output else { return Grouped::All };
    let without = grouping.is_some_and(|grouping| grouping.without);
    let mut labels: Vec<&str> = grouping.iter().flat_map(|grouping| &grouping.labels).map(String::as_str).collect();
    if absent || grouping.is_some_and(|grouping| !grouping.without && grouping.labels.is_empty()) {
        return Grouped::None;
    }
    // Without a grouping of its own, an unwrapped label is no part of the series.
    let unwraps_ungrouped = !metric_label.is_empty() && (without || labels.is_empty());
    labels.extend(unwraps_ungrouped.then_some(metric_label));
    labels.sort_unstable();
    labels.dedup();
    let names: Vec<Name> = labels.into_iter().map(Name::new).collect();
    match names.is_empty() {
        true => Grouped::All,
        false if without || unwraps_ungrouped => Grouped::Without(names),
        false => Grouped::By(names),
    }
}

fn hints(steps: &[Step], output: Output<'_>, grouped: &Grouped, metric_label: &str) -> Hints {
    let mut stage_labels = Vec::new();
    let mut filters = Vec::new();
    for step in steps {
        match step {
            Step::LabelFilter(filter) => {
                filter.push_labels(&mut stage_labels);
                filters.push(filter);
            }
            Step::LineFormat(format) => format.push_labels(&mut stage_labels),
            Step::LabelFormat(format) => format.push_labels(&mut stage_labels),
            _ => {}
        }
    }
    if matches!(output, Output::Log) {
        stage_labels.clear();
    }
    let (without, groups) = match grouped {
        Grouped::By(names) => (false, names.iter().map(|name| name.text.to_string()).collect()),
        Grouped::Without(names) => (true, names.iter().map(|name| name.text.to_string()).collect()),
        // `absent_over_time by` is no grammar; the labels of an unwrap are in `metric_label`.
        Grouped::All | Grouped::None => (false, Vec::new()),
    };
    Hints::new(&HintInput {
        stage_labels,
        groups: &groups,
        without,
        no_labels: matches!(grouped, Grouped::None),
        metric_label,
        filters,
    })
}
