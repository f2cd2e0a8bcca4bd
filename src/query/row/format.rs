//! `| line_format "…"` and `| label_format a="…", b=c`.
//!
//! All templates of one `label_format` see the labels as they were at its first template; renames apply at once.
//!
//! Errors: a template that fails sets `__error__="TemplateFormatErr"` and changes nothing else.

use super::builder::{Category, Context, LabelState, LineView, Name, Text};
use super::compile::CompileError;
use crate::logql::ast::{FormatSource, LabelFormat};
use crate::template::{Host, Scope, Template, loki_functions};

/// What a template sees of a row.
struct RowScope<'s> {
    cx: &'s Context<'s>,
    labels: &'s LabelState,
    line: &'s str,
}

impl Host for RowScope<'_> {
    fn now_ns(&self) -> i64 {
        self.cx.now_ns
    }

    fn line(&self) -> &str {
        self.line
    }

    fn timestamp_ns(&self) -> i64 {
        self.cx.timestamp_ns
    }
}

impl Scope for RowScope<'_> {
    fn field(&self, name: &str) -> Option<&str> {
        match name {
            "__error__" | "__error_details__" if !self.labels.is_unchanged(self.cx) => {
                let text = if name == "__error__" { self.labels.error } else { self.labels.error_details };
                text.map(|text| self.labels.text(self.cx, text)).filter(|text| !text.is_empty())
            }
            _ => self.labels.get_by_text(self.cx, name),
        }
    }

    fn for_each_field(&self, visit: &mut dyn FnMut(&str, &str)) {
        self.labels.for_each(self.cx, |_: Category, name, value| visit(name, value));
    }
}

fn run(template: &Template, cx: &Context<'_>, labels: &LabelState, line: &str, out: &mut String) -> Result<(), String> {
    template.execute(&RowScope { cx, labels, line }, out).map_err(|error| error.to_string())
}

fn set_error(labels: &mut LabelState, words: &str) {
    labels.error = Some(Text::Static("TemplateFormatErr"));
    labels.error_details = Some(labels.store(words));
}

#[derive(Debug)]
pub(super) enum LineFormatStep {
    /// `{{.a}}` and nothing else: the label alone, errors not among them.
    Field(Name),
    Template {
        template: Template,
        fields: Vec<String>,
    },
}

impl LineFormatStep {
    pub(super) fn new(text: &str) -> Result<Self, CompileError> {
        let template = Template::parse("line", text, loki_functions())
            .map_err(|error| CompileError::new(format!("invalid line template: {error}")))?;
        Ok(match template.only_field() {
            Some(field) => LineFormatStep::Field(Name::new(field)),
            None => LineFormatStep::Template { fields: template.listed_fields(), template },
        })
    }

    pub(super) fn push_labels(&self, out: &mut Vec<String>) {
        match self {
            LineFormatStep::Field(name) => out.push(name.text.to_string()),
            LineFormatStep::Template { fields, .. } => out.extend(fields.iter().cloned()),
        }
    }

    /// Writes the new line to `out`; false when the line stays as it is.
    pub(super) fn format(
        &self,
        cx: &Context<'_>,
        labels: &mut LabelState,
        view: LineView<'_>,
        out: &mut String,
    ) -> bool {
        out.clear();
        match self {
            LineFormatStep::Field(name) => {
                out.push_str(labels.get(cx, name).unwrap_or_default());
                true
            }
            LineFormatStep::Template { template, .. } => match run(template, cx, labels, view.text, out) {
                Ok(()) => true,
                Err(words) => {
                    set_error(labels, &words);
                    false
                }
            },
        }
    }
}

#[derive(Debug)]
pub(super) struct LabelFormatStep {
    formats: Vec<Format>,
}

impl LabelFormatStep {
    /// Whether labels get other names and nothing else happens.
    pub(super) fn only_renames(&self) -> bool {
        self.formats.iter().all(|format| matches!(format.source, Source::Rename(_)))
    }
}

#[derive(Debug)]
struct Format {
    label: Name,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Rename(Name),
    Template { template: Template, fields: Vec<String> },
}

impl LabelFormatStep {
    pub(super) fn new(formats: &[LabelFormat]) -> Result<Self, CompileError> {
        for (at, format) in formats.iter().enumerate() {
            let label = &format.label;
            if label == "__error__" {
                return Err(CompileError::new(format!("{label} cannot be formatted")));
            }
            if formats[..at].iter().any(|earlier| earlier.label == *label) {
                let words = format!("multiple label name '{label}' not allowed in a single format operation");
                return Err(CompileError::new(words));
            }
        }
        let one = |format: &LabelFormat| -> Result<Format, CompileError> {
            let source = match &format.source {
                FormatSource::Rename(from) => Source::Rename(Name::new(from)),
                FormatSource::Template(text) => {
                    let template = Template::parse("label", text, loki_functions()).map_err(|error| {
                        CompileError::new(format!("invalid template for label '{}': {error}", format.label))
                    })?;
                    Source::Template { fields: template.listed_fields(), template }
                }
            };
            Ok(Format { label: Name::new(&format.label), source })
        };
        Ok(LabelFormatStep { formats: formats.iter().map(one).collect::<Result<_, _>>()? })
    }

    pub(super) fn push_labels(&self, out: &mut Vec<String>) {
        for format in &self.formats {
            match &format.source {
                Source::Rename(from) => out.push(from.text.to_string()),
                Source::Template { fields, .. } => out.extend(fields.iter().cloned()),
            }
        }
    }

    pub(super) fn format(
        &self,
        cx: &Context<'_>,
        labels: &mut LabelState,
        view: LineView<'_>,
        scratch: &mut FormatScratch,
    ) {
        scratch.results.clear();
        for (at, format) in self.formats.iter().enumerate() {
            match &format.source {
                Source::Rename(from) => {
                    if let Some(value) = labels.get_text(cx, from) {
                        let name = labels.store(&format.label.text);
                        labels.set_parsed(cx, name, format.label.hash, value);
                        labels.delete(cx, &from.text);
                    }
                }
                Source::Template { .. } => {
                    if scratch.results.is_empty() {
                        self.run_templates(at, cx, labels, view, scratch);
                    }
                    match scratch.results.iter().find(|(index, _)| *index == at) {
                        Some((_, Ok(value))) => {
                            let name = labels.store(&format.label.text);
                            labels.set_parsed(cx, name, format.label.hash, *value);
                        }
                        Some((_, Err(words))) => set_error(labels, words),
                        None => {}
                    }
                }
            }
        }
    }

    /// Runs the templates from format `first` on, all on the labels as they are now.
    fn run_templates(
        &self,
        first: usize,
        cx: &Context<'_>,
        labels: &mut LabelState,
        view: LineView<'_>,
        scratch: &mut FormatScratch,
    ) {
        for (at, format) in self.formats.iter().enumerate().skip(first) {
            let Source::Template { template, .. } = &format.source else { continue };
            scratch.text.clear();
            let ran = run(template, cx, labels, view.text, &mut scratch.text);
            let result = ran.map(|()| labels.store(&scratch.text));
            scratch.results.push((at, result));
        }
    }
}

/// Reused between rows.
#[derive(Debug, Default)]
pub(super) struct FormatScratch {
    text: String,
    results: Vec<(usize, Result<Text, String>)>,
}
