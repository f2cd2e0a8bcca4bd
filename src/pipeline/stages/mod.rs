//! The stages, by the names that configurations give them.

mod cri;
mod decolorize;
mod docker;
mod drop;
mod eventlogmessage;
mod geoip;
mod json;
mod labelallow;
mod labeldrop;
mod labels;
mod limit;
mod logfmt;
mod luhn;
mod matches;
mod metrics;
mod multiline;
mod output;
mod pack;
mod pipeline;
mod redact;
mod regex;
mod replace;
mod sampling;
mod static_labels;
mod structured_metadata;
mod template;
mod tenant;
mod timestamp;

use serde_json::Value as Yaml;

use super::body::Body;
use super::entry::{Entry, Text};
use super::error::StageError;
use super::{Stage, Tools};

/// Builds the stage called `name`.
pub(super) fn build(name: &str, config: &Yaml, tools: &mut Tools<'_>) -> Result<Box<dyn Stage>, StageError> {
    match name {
        "docker" => docker::build(tools),
        "cri" => cri::build(config, tools),
        "json" => json::build(config, tools),
        "logfmt" => logfmt::build(config, tools),
        "regex" => regex::build(config, tools),
        "replace" => replace::build(config, tools),
        "template" => template::build(config, tools),
        "timestamp" => timestamp::build(config, tools),
        "output" => output::build(config, tools),
        "labels" => labels::build(config),
        "labeldrop" => labeldrop::build(config),
        "labelallow" => labelallow::build(config),
        "static_labels" => static_labels::build(config),
        // The first name of it, which Promtail still takes.
        "structured_metadata" | "non_indexed_labels" => structured_metadata::build(config),
        "tenant" => tenant::build(config, tools),
        "pack" => pack::build(config, tools),
        "match" => matches::build(config, tools),
        "drop" => drop::build(config, tools),
        "limit" => limit::build(config, tools),
        "sampling" => sampling::build(config, tools),
        "multiline" => multiline::build(config, tools),
        "decolorize" => decolorize::build(),
        "metrics" => metrics::build(config, tools),
        "geoip" => geoip::build(config, tools),
        "eventlogmessage" => eventlogmessage::build(config, tools),
        "luhn" => luhn::build(config, tools),
        "pipeline" => pipeline::build(config, tools),
        _ => Err(StageError::new(format!("Unknown stage type: {name}"))),
    }
}

/// Ends the reading of a stage's settings; those that nobody asked for are noted.
fn done(stage: &str, body: Body<'_>, tools: &mut Tools<'_>) -> Result<(), StageError> {
    for name in body.finish()? {
        tools.note(format!("{stage}: the setting {name:?} is not one of this stage's and does nothing"));
    }
    Ok(())
}

/// `source`, which may be absent but not empty.
fn source(body: &mut Body<'_>, empty: &str) -> Result<Option<Text>, StageError> {
    match body.text("source") {
        Some(source) if source.is_empty() => Err(StageError::new(empty)),
        source => Ok(source.map(Text::from)),
    }
}

/// The text a stage reads: an extracted value where it has a source, else the line.
enum Input<'e> {
    Line(&'e str),
    Extracted(Text),
}

impl<'e> Input<'e> {
    fn of(entry_line: &'e str, extracted: &super::Extracted, source: Option<&Text>) -> Option<Self> {
        match source {
            None => Some(Input::Line(entry_line)),
            Some(source) => extracted.get(source).and_then(super::Value::to_text).map(Input::Extracted),
        }
    }

    fn as_str(&self) -> &str {
        match self {
            Input::Line(line) => line,
            Input::Extracted(text) => text,
        }
    }
}

/// A stage that changes entries one by one.
struct Each<F>(&'static str, F);

impl<F: FnMut(&mut Entry, i64) + Send> Stage for Each<F> {
    fn name(&self) -> &'static str {
        self.0
    }

    fn run(&mut self, batch: &mut Vec<Entry>, context: &mut super::Context<'_>) {
        for entry in batch {
            (self.1)(entry, context.now_ns);
        }
    }
}

/// Makes a stage of what it does to one entry at a time (nanoseconds since the Unix epoch).
fn each(name: &'static str, change: impl FnMut(&mut Entry, i64) + Send + 'static) -> Box<dyn Stage> {
    Box::new(Each(name, change))
}
