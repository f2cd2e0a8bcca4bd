//! `millrace audit`: whether the audit trail is whole.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::audit::chain::Link;
use crate::audit::heads;
use crate::audit::verify::ChainReport;
use crate::audit::walk::{Known, walk};
use crate::cli::place::PlaceArgs;
use crate::server::read_only::ReadOnly;
use crate::types::ids::TenantId;
use crate::types::time::{Clock, UnixNanos};
use crate::types::units::GoDuration;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Walks every chain of records: was one removed, changed, moved or put in, or an end cut off?
    ///
    /// Exit codes: 0 all is whole, 1 something is not, 2 it could not look.
    Verify(Verify),
}

#[derive(Debug, Args)]
pub struct Verify {
    /// A data directory, or the URL of a table in a bucket.
    #[arg(value_name = "PLACE")]
    at: Option<String>,
    #[command(flatten)]
    place: PlaceArgs,
    /// An end of a chain that was kept elsewhere, such as in the log of the server: TENANT/WRITER:NUMBER:HASH.
    #[arg(long = "head", value_name = "HEAD", value_parser = parse_head)]
    heads: Vec<(TenantId, String, Link)>,
    /// The key that heads must be signed with, base64.
    #[arg(long, value_name = "KEY")]
    public_key: Option<String>,
    /// How long records were kept, when the configuration does not say.
    #[arg(long, value_name = "DURATION")]
    retention: Option<GoDuration>,
}

impl AuditCommand {
    pub fn run(&self) -> ExitCode {
        let AuditCommand::Verify(verify) = self;
        match verify.run() {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                let _ = writeln!(std::io::stderr(), "millrace: {error}");
                ExitCode::from(2)
            }
        }
    }
}

impl Verify {
    fn run(&self) -> Result<bool, AnyError> {
        let mut args = self.place.clone();
        let bucket = self.at.as_ref().filter(|at| at.contains("://")).cloned();
        if let Some(directory) = self.at.as_ref().filter(|_| bucket.is_none()) {
            args.data = Some(PathBuf::from(directory));
        }
        let mut config = args.settings()?;
        if bucket.is_some() {
            config.millrace.table.url.clone_from(&bucket);
        }
        if bucket.is_none() && !config.data_dir().is_dir() {
            return Err(format!("{} is not there", config.data_dir().display()).into());
        }
        let place = args.open(&config)?;
        let retention = self.retention.unwrap_or(config.millrace.audit.retention).nanos();
        let now = Clock::system().now();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let mut out = std::io::stdout();
        runtime.block_on(async {
            let (signed, bad) = heads::all(&place.table.store, &place.table.root).await?;
            let mut is_whole = bad.is_empty();
            for error in &bad {
                writeln!(out, "PROBLEM: {error}")?;
            }
            for heads in &signed {
                let key = &heads.public_key;
                if self.public_key.as_ref().is_some_and(|wanted| wanted != key) {
                    writeln!(out, "PROBLEM: the heads of writer {} are signed with {key}", heads.heads.writer)?;
                    is_whole = false;
                }
            }
            let keys: std::collections::BTreeSet<_> = signed.iter().map(|heads| &heads.public_key).collect();
            for key in keys.into_iter().filter(|_| self.public_key.is_none()) {
                writeln!(out, "heads are signed with {key}; compare it with the key you trust, or give --public-key")?;
            }
            // The heads come first: records written since are not missed.
            let store = ReadOnly::open(&config, &place, bucket.is_none()).await?;
            let known = Known {
                heads: signed.into_iter().map(|signed| signed.heads).collect(),
                given: self.heads.clone(),
                expired_before: (retention > 0).then(|| UnixNanos(now.0.saturating_sub(retention))),
            };
            let reports = walk(&store.engine, &store.tenants(), &known).await?;
            drop(store);
            if reports.is_empty() {
                writeln!(out, "there is no audit trail here")?;
            }
            for report in &reports {
                is_whole &= report.is_whole();
                show(report, &mut out)?;
            }
            Ok(is_whole)
        })
    }
}

fn show(report: &ChainReport, out: &mut impl Write) -> std::io::Result<()> {
    let ChainReport { tenant, writer, records, .. } = report;
    write!(out, "{tenant}/{writer}: {records} records")?;
    if let (Some(first), Some(last)) = (&report.first, &report.last) {
        write!(out, ", {} of {} to {} of {}", first.seq, date(first.at_ns), last.seq, date(last.at_ns))?;
    }
    if report.expired > 0 {
        write!(out, ", {} past their period and gone", report.expired)?;
    }
    writeln!(out, "{}", if report.is_whole() { ": whole" } else { "" })?;
    if let Some(last) = &report.last {
        writeln!(out, "  head {tenant}/{writer}:{}:{}", last.seq, last.hash)?;
    }
    for problem in &report.problems {
        writeln!(out, "  PROBLEM: {problem}")?;
    }
    let unlisted = report.problems_count - report.problems.len() as u64;
    if unlisted > 0 {
        writeln!(out, "  and {unlisted} more")?;
    }
    Ok(())
}

fn date(ns: i64) -> String {
    chrono::DateTime::from_timestamp_nanos(ns).to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

/// `TENANT/WRITER:NUMBER:HASH`.
fn parse_head(text: &str) -> Result<(TenantId, String, Link), String> {
    let form = || "TENANT/WRITER:NUMBER:HASH, as the log of the server says it".to_owned();
    let (chain, rest) = text.split_once(':').ok_or_else(form)?;
    let (tenant, writer) = chain.split_once('/').ok_or_else(form)?;
    let (seq, hash) = rest.split_once(':').ok_or_else(form)?;
    let tenant = TenantId::parse(tenant).map_err(|error| error.to_string())?;
    let seq = seq.parse().map_err(|_| form())?;
    // Without a time it is never past its period.
    Ok((tenant, writer.to_owned(), Link { seq, hash: hash.to_owned(), at_ns: i64::MAX }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read() {
        let (tenant, writer, link) = parse_head("team-a/0f3c2a11:7:abcd").expect("a head");
        assert_eq!((tenant.as_str(), writer.as_str(), link.seq, link.hash.as_str()), ("team-a", "0f3c2a11", 7, "abcd"));
        for bad in ["", "a:1:b", "a/b:x:c", "a/b:1", "a b/c:1:d"] {
            assert!(parse_head(bad).is_err(), "{bad}");
        }
    }
}
