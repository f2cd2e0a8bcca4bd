//! `millrace doctor`: what is wrong with what is kept.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::place::PlaceArgs;
use crate::doctor::{Orders, Report, Severity, Then, examine, examine_metrics};

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Exit codes: 0 all is well or mended, 1 a problem is left, 2 it could not look.
#[derive(Debug, Args)]
pub struct Doctor {
    #[command(flatten)]
    place: PlaceArgs,
    /// A table in a bucket or a directory, without the data directory of a server.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Mends what can be mended without losing a readable row; what is bad is moved aside, nothing is deleted.
    #[arg(long)]
    repair: bool,
    /// Takes files that are missing or damaged out of the table, and gives their rows up.
    #[arg(long)]
    drop_lost: bool,
    /// Looks at the footers of files only, not at every byte.
    #[arg(long)]
    quick: bool,
}

impl Doctor {
    pub fn run(&self) -> ExitCode {
        let outcome = self.examine().and_then(|report| {
            show(&report, &mut std::io::stdout())?;
            Ok(report.is_ill())
        });
        match outcome {
            Ok(false) => ExitCode::SUCCESS,
            Ok(true) => ExitCode::FAILURE,
            Err(error) => {
                let _ = writeln!(std::io::stderr(), "millrace: {error}");
                ExitCode::from(2)
            }
        }
    }

    fn examine(&self) -> Result<Report, AnyError> {
        let mut config = self.place.settings()?;
        if let Some(url) = &self.url {
            config.millrace.table.url = Some(url.clone());
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let place = self.place.open(&config)?;
        let orders = Orders { repair: self.repair, drop_lost: self.drop_lost, quick: self.quick };
        let style = ProgressStyle::with_template("files [{bar:40}] {binary_bytes}/{binary_total_bytes} {eta}");
        let bar = ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let mut report = runtime.block_on(examine(&place, self.url.is_none(), orders, &bar))?;
        if self.url.is_none()
            && let Some(metrics) = self.place.open_metrics(&config)?
        {
            report.append(runtime.block_on(examine_metrics(&metrics, orders))?);
        }
        bar.finish_and_clear();
        Ok(report)
    }
}

fn show(report: &Report, out: &mut impl Write) -> std::io::Result<()> {
    for line in &report.looked_at {
        writeln!(out, "{line}")?;
    }
    for finding in &report.findings {
        let severity = match finding.severity {
            Severity::Note => "note",
            Severity::Problem => "PROBLEM",
        };
        writeln!(out, "{severity}: {}", finding.what)?;
        match &finding.then {
            Then::Repaired(text) => writeln!(out, "  repaired: {text}")?,
            Then::Advice(text) => writeln!(out, "  {text}")?,
        }
    }
    let left = report
        .findings
        .iter()
        .filter(|finding| finding.severity == Severity::Problem && matches!(finding.then, Then::Advice(_)));
    match (left.count(), report.findings.is_empty()) {
        (0, true) => writeln!(out, "all is well"),
        (0, false) => writeln!(out, "no problem is left"),
        (1, _) => writeln!(out, "1 problem is left"),
        (problems, _) => writeln!(out, "{problems} problems are left"),
    }
}
