//! Events as one line each on standard error: logfmt (Loki's default) or JSON.
//!
//! The level can change while the server runs; [`LogLevel`] is the hand on it.
//! Errors: [`LogSetupError`] for a level or format that is none, or a second set-up.

use std::fmt::{self, Write as _};
use std::str::FromStr;
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::{LookupSpan, Registry};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, reload};

use crate::types::labels::{push_go_quoted, push_json_string};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogSetupError {
    #[error("unrecognized log level {0:?}")]
    Level(String),
    #[error("unrecognized log format {0:?} (logfmt or json)")]
    Format(String),
    #[error("logging is set up already")]
    Twice,
}

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Logfmt,
    Json,
}

impl FromStr for LogFormat {
    type Err = LogSetupError;

    fn from_str(text: &str) -> Result<Self, LogSetupError> {
        match text {
            "logfmt" => Ok(LogFormat::Logfmt),
            "json" => Ok(LogFormat::Json),
            other => Err(LogSetupError::Format(other.to_owned())),
        }
    }
}

/// The current level, and the way to change it. Cheap to clone.
#[derive(Clone)]
pub struct LogLevel {
    current: Arc<Mutex<String>>,
    filter: Option<reload::Handle<EnvFilter, Registry>>,
}

impl fmt::Debug for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogLevel({})", self.get())
    }
}

impl LogLevel {
    /// A level that governs nothing: for tests and embedding.
    pub fn detached() -> Self {
        LogLevel { current: Arc::new(Mutex::new("info".to_owned())), filter: None }
    }

    pub fn get(&self) -> String {
        self.current.lock().clone()
    }

    /// `debug`, `info`, `warn`, `error`, as Loki; `trace` too.
    pub fn set(&self, level: &str) -> Result<(), LogSetupError> {
        let filter = filter_of(level)?;
        if let Some(handle) = &self.filter {
            handle.reload(filter).map_err(|_| LogSetupError::Twice)?;
        }
        level.clone_into(&mut self.current.lock());
        Ok(())
    }
}

/// Starts logging for the process. `RUST_LOG`, when set, refines the level by module.
pub fn init(level: &str, format: &str) -> Result<LogLevel, LogSetupError> {
    let format: LogFormat = format.parse()?;
    let (filter, handle) = reload::Layer::new(filter_of(level)?);
    let lines = tracing_subscriber::fmt::layer().event_format(LineFormat(format)).with_writer(std::io::stderr);
    tracing_subscriber::registry().with(filter).with(lines).try_init().map_err(|_| LogSetupError::Twice)?;
    Ok(LogLevel { current: Arc::new(Mutex::new(level.to_owned())), filter: Some(handle) })
}

fn filter_of(level: &str) -> Result<EnvFilter, LogSetupError> {
    if !["trace", "debug", "info", "warn", "error"].contains(&level) {
        return Err(LogSetupError::Level(level.to_owned()));
    }
    let directives = match std::env::var("RUST_LOG") {
        Ok(refined) if !refined.is_empty() => format!("{level},{refined}"),
        _ => level.to_owned(),
    };
    Ok(EnvFilter::new(directives))
}

struct LineFormat(LogFormat);

impl<S, N> FormatEvent<S, N> for LineFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields { message: String::new(), others: Vec::new() };
        event.record(&mut fields);
        let level = event.metadata().level().as_str().to_ascii_lowercase();
        #[expect(
            clippy::disallowed_methods,
            reason = "events bear the wall clock's time, whatever tests do with theirs"
        )]
        let now = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
        let first =
            [("ts", now), ("level", level), ("caller", event.metadata().target().to_owned()), ("msg", fields.message)];
        let all = first.into_iter().chain(fields.others);
        writer.write_str(&line(self.0, all))
    }
}

fn line(format: LogFormat, fields: impl Iterator<Item = (&'static str, String)>) -> String {
    let mut out = String::with_capacity(128);
    for (at, (name, value)) in fields.enumerate() {
        let separator = match (format, at) {
            (LogFormat::Json, 0) => "{",
            (LogFormat::Json, _) => ",",
            (LogFormat::Logfmt, 0) => "",
            (LogFormat::Logfmt, _) => " ",
        };
        out.push_str(separator);
        match format {
            LogFormat::Json => {
                push_json_string(&mut out, name);
                out.push(':');
                push_json_string(&mut out, &value);
            }
            LogFormat::Logfmt => {
                out.push_str(name);
                out.push('=');
                let plain = !value.is_empty()
                    && value.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'=' | b'\\'));
                if plain { out.push_str(&value) } else { push_go_quoted(&mut out, &value) }
            }
        }
    }
    out.push_str(if format == LogFormat::Json { "}\n" } else { "\n" });
    out
}

struct Fields {
    message: String,
    others: Vec<(&'static str, String)>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: String) {
        if field.name() == "message" {
            self.message = value;
        } else {
            self.others.push((field.name(), value));
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        if write!(text, "{value:?}").is_ok() {
            self.put(field, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let fields =
            || [("level", "info".to_owned()), ("msg", "say \"hi\"".to_owned()), ("n", "3".to_owned())].into_iter();
        assert_eq!(line(LogFormat::Logfmt, fields()), "level=info msg=\"say \\\"hi\\\"\" n=3\n");
        assert_eq!(line(LogFormat::Json, fields()), "{\"level\":\"info\",\"msg\":\"say \\\"hi\\\"\",\"n\":\"3\"}\n");
    }

    #[test]
    fn only_levels_are_levels() {
        let level = LogLevel::detached();
        assert_eq!(level.set("debug"), Ok(()));
        assert_eq!(level.set("loud"), Err(LogSetupError::Level("loud".to_owned())));
        assert_eq!(level.get(), "debug");
    }
}
