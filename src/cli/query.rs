//! `millrace query`: LogQL from the terminal, with the flags of Loki's `logcli`.
//!
//! ```text
//! query ─▶ log query: pages of 1000, until the limit ─▶ lines in colour │ raw │ JSON lines
//!      └─▶ metric query: one answer ─▶ time, value, labels
//! --tail ─▶ websocket, opened again when it breaks, from where it ended
//! ```

mod pages;
mod print;
mod tail;
mod times;

use std::io::{IsTerminal, Write};

use clap::{Args, ValueEnum};

use super::source::{AnyError, LogAsk, Source, SourceArgs, When};
use crate::logql;
use crate::types::time::Clock;
use crate::types::units::GoDuration;
use pages::Pages;
use print::Printer;

/// LogQL, asked of a server or of the data itself.
#[derive(Debug, Args)]
pub struct Query {
    /// LogQL: `{service="api"} |= "error"`, `rate({service="api"}[1m])`.
    #[arg(value_name = "QUERY")]
    query: String,
    /// Entries; 0: all.
    #[arg(long, short = 'n', default_value_t = 30, value_name = "N")]
    limit: usize,
    /// How far back from --to, or from now.
    #[arg(long, default_value = "1h", value_name = "DURATION")]
    since: GoDuration,
    /// RFC 3339, a date, or seconds or nanoseconds since 1970.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Outside; now without.
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Between samples of a metric query.
    #[arg(long, value_name = "DURATION")]
    step: Option<GoDuration>,
    /// Asks a metric query for one time alone: --to, or now.
    #[arg(long)]
    instant: bool,
    /// Oldest first.
    #[arg(long)]
    forward: bool,
    /// Follows lines as they arrive.
    #[arg(long, short = 'f', alias = "follow")]
    tail: bool,
    /// Seconds, at most 5, that --tail waits so that late lines come in order.
    #[arg(long, default_value_t = 0, value_name = "SECONDS")]
    delay_for: u32,
    #[arg(long, short = 'o', value_enum, default_value_t = Output::Default)]
    output: Output,
    /// Leaves labels out of the default output.
    #[arg(long)]
    no_labels: bool,
    /// Entries asked for at once.
    #[arg(long, default_value_t = 1000, value_name = "N")]
    batch: usize,
    #[arg(long, value_enum, default_value_t = Color::Auto)]
    color: Color,
    /// Times as UTC or as the machine's zone has them.
    #[arg(long, value_enum, ignore_case = true, default_value_t = Timezone::Local)]
    timezone: Timezone,
    /// No progress, no common labels.
    #[arg(long, short = 'q')]
    quiet: bool,
    #[command(flatten)]
    source: SourceArgs,
}

/// How entries are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Time, labels, line.
    Default,
    /// Lines alone.
    Raw,
    /// An object a line.
    Jsonl,
}

/// When levels are coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    Always,
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Timezone {
    Local,
    Utc,
}

impl Color {
    fn is_on(self) -> bool {
        match self {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        }
    }
}

impl Query {
    /// # Errors
    /// What the server said, or why it could not be asked.
    pub fn run(&self) -> Result<(), AnyError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let outcome = runtime.block_on(async {
            tokio::select! {
                outcome = self.answer() => outcome,
                // A tail has no other end.
                interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
            }
        });
        runtime.shutdown_background();
        super::tolerate_closed_pipe(outcome)
    }

    async fn answer(&self) -> Result<(), AnyError> {
        let source = self.source.open().await?;
        let now = Clock::system().now().0;
        let to = self.to.as_deref().map_or(Ok(now), |text| times::parse(text, now))?;
        let from = match self.from.as_deref() {
            Some(text) => times::parse(text, now)?,
            None => to.saturating_sub(self.since.0),
        };
        if to < from {
            return Err("--to is before --from".into());
        }
        let mut printer = Printer::new(self.output, self.color.is_on(), self.timezone, !self.no_labels);
        if self.tail {
            let Source::Server(server) = &source else {
                return Err("--tail needs a server: what lies in a directory does not arrive".into());
            };
            return tail::follow(server, &self.query, from, self, &printer).await;
        }
        // What does not parse here the server may know, or say what is wrong with it.
        if matches!(logql::parse(&self.query), Ok(logql::ast::Expr::Metric(_))) {
            let when = match self.instant {
                true => When::At(to),
                false => When::Range { start: from, end: to, step: self.step.map(|step| step.0) },
            };
            let series = source.metric(&self.query, when).await?;
            return printer.samples(&series, &mut std::io::stdout().lock());
        }
        let ask = LogAsk { query: &self.query, start: from, end: to, limit: self.batch.max(1), forward: self.forward };
        self.pages(&source, ask, &mut printer).await
    }

    async fn pages(&self, source: &Source, ask: LogAsk<'_>, printer: &mut Printer) -> Result<(), AnyError> {
        let shows_progress = !self.quiet && std::io::stderr().is_terminal() && !std::io::stdout().is_terminal();
        let bar = if shows_progress { indicatif::ProgressBar::new_spinner() } else { indicatif::ProgressBar::hidden() };
        let mut pages = Pages::new(ask, self.limit);
        let mut is_first = true;
        while let Some(ask) = pages.next_ask() {
            let entries = pages.take(source.logs(&ask).await?);
            if std::mem::take(&mut is_first) && !self.quiet {
                printer.common_labels(&entries, pages.is_done(), &mut std::io::stderr().lock())?;
            }
            let mut out = std::io::stdout().lock();
            for entry in &entries {
                printer.entry(entry, &mut out)?;
            }
            out.flush()?;
            if let Some(last) = entries.last() {
                bar.set_message(format!("{} entries, at {}", pages.taken(), printer.time(last.ts)));
                bar.tick();
            }
        }
        bar.finish_and_clear();
        Ok(())
    }
}
