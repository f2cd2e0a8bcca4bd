//! `millrace rules`: checks files, tests them, compares them with a server's, and computes rules over history.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};
use futures::StreamExt;

use crate::flow::{FlowError, Timing, compile};
use crate::rules::directory::read_file;
use crate::rules::read::read_group;
use crate::rules::unit::run_file;
use crate::rules::write::{write_file, write_group};
use crate::rules::{Rule, RuleExpr, RuleFile, RuleGroup};
use crate::types::time::UnixNanos;
use crate::types::units::GoDuration;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, Subcommand)]
pub enum RulesCommand {
    /// Reads rule files strictly and says how each rule will be evaluated.
    Check {
        /// Files, or directories of them.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Runs unit tests of rules: promtool's format, with input_streams and logql_expr_test.
    Test {
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Shows what a server has that files do not, and the other way round. The name of a file is its namespace.
    Diff {
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        #[command(flatten)]
        server: ServerFlags,
    },
    /// Computes the recording rules of a group over history, on the server that has it.
    Backfill {
        #[arg(long, value_name = "NAMESPACE")]
        namespace: String,
        #[arg(long, value_name = "GROUP")]
        group: String,
        /// One rule alone.
        #[arg(long, value_name = "NAME")]
        rule: Option<String>,
        /// RFC 3339, or seconds since 1970.
        #[arg(long, value_name = "TIME")]
        from: String,
        #[arg(long, value_name = "TIME")]
        to: String,
        #[command(flatten)]
        server: ServerFlags,
    },
}

/// Which server, and as whom.
#[derive(Debug, Args)]
pub struct ServerFlags {
    #[arg(long, default_value = "http://127.0.0.1:3100", env = "MILLRACE_URL", value_name = "URL")]
    pub url: String,
    #[arg(long, env = "MILLRACE_TENANT", value_name = "TENANT")]
    pub tenant: Option<String>,
    /// name:password
    #[arg(long, env = "MILLRACE_USER", value_name = "USER", hide_env_values = true)]
    pub user: Option<String>,
    #[arg(long, env = "MILLRACE_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub token: Option<String>,
}

impl RulesCommand {
    /// The exit code says whether everything was good.
    pub fn run(&self) -> Result<ExitCode, AnyError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let is_good = runtime.block_on(async {
            let mut out = std::io::stdout();
            match self {
                RulesCommand::Check { files } => check(files, &mut out),
                RulesCommand::Test { files } => test(files, &mut out).await,
                RulesCommand::Diff { files, server } => diff(files, server, &mut out).await,
                RulesCommand::Backfill { namespace, group, rule, from, to, server } => {
                    let wanted = [
                        ("namespace", namespace.as_str()),
                        ("group", group),
                        ("rule", rule.as_deref().unwrap_or_default()),
                        ("from", from),
                        ("to", to),
                    ];
                    backfill(&wanted, server, &mut out).await
                }
            }
        })?;
        Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn check(paths: &[PathBuf], out: &mut impl Write) -> Result<bool, AnyError> {
    let mut is_good = true;
    for path in expanded(paths)? {
        match read_file(&path) {
            Ok(file) => {
                let rules: usize = file.groups.iter().map(|group| group.rules.len()).sum();
                writeln!(out, "{}: good, {} groups, {rules} rules", path.display(), file.groups.len())?;
                for group in &file.groups {
                    for rule in &group.rules {
                        writeln!(out, "  {} / {}: {}", group.name, rule.name(), how(group, rule))?;
                    }
                }
            }
            Err(bad) => {
                is_good = false;
                for line in bad.words.lines() {
                    writeln!(out, "{}: {line}", bad.path.display())?;
                }
            }
        }
    }
    Ok(is_good)
}

/// How a rule will be evaluated, under default settings.
fn how(group: &RuleGroup, rule: &Rule) -> String {
    let RuleExpr::LogQl(metric) = &rule.expr else {
        return "PromQL, asked of derived metrics at its interval".to_owned();
    };
    let timing = Timing {
        interval_ns: group.interval.unwrap_or(GoDuration::from_secs(60)).0,
        query_offset_ns: group.query_offset.unwrap_or_default().0,
        lateness_ns: group.lateness.unwrap_or(GoDuration::from_secs(300)).0,
        between: rule.is_alert(),
    };
    match compile(&Arc::new(metric.clone()), &Arc::default(), timing, UnixNanos(0)) {
        Ok(operator) => format!("incremental, every {}", GoDuration(operator.grid().step_ns)),
        Err(FlowError::NotIncremental(reason)) => format!("asked at its interval: {reason}"),
        Err(error) => format!("asked at its interval: {error}"),
    }
}

/// Files of directories, sorted.
fn expanded(paths: &[PathBuf]) -> Result<Vec<PathBuf>, AnyError> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let entries = std::fs::read_dir(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let is_yaml = |path: &Path| path.extension().is_some_and(|end| end == "yaml" || end == "yml");
        let mut of_directory: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        of_directory.retain(|path| path.is_file() && is_yaml(path));
        of_directory.sort();
        files.extend(of_directory);
    }
    Ok(files)
}

async fn test(paths: &[PathBuf], out: &mut impl Write) -> Result<bool, AnyError> {
    let mut is_good = true;
    for path in expanded(paths)? {
        match run_file(&path).await {
            Ok(report) if report.failures.is_empty() => {
                writeln!(out, "{}: passed, {} tests, {} checks", path.display(), report.tests, report.checks)?;
            }
            Ok(report) => {
                is_good = false;
                writeln!(
                    out,
                    "{}: FAILED, {} of {} checks (- expected, + got)",
                    path.display(),
                    report.failures.len(),
                    report.checks.max(report.failures.len())
                )?;
                for failure in &report.failures {
                    write!(out, "  {failure}")?;
                }
            }
            Err(error) => {
                is_good = false;
                writeln!(out, "{error}")?;
            }
        }
    }
    Ok(is_good)
}

impl ServerFlags {
    fn request(&self, method: reqwest::Method, path: &str) -> Result<reqwest::RequestBuilder, AnyError> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().build()?;
        let mut request = client.request(method, format!("{}{path}", self.url.trim_end_matches('/')));
        if let Some(tenant) = &self.tenant {
            request = request.header("X-Scope-OrgID", tenant);
        }
        if let Some(user) = &self.user {
            let (name, password) = user.split_once(':').unwrap_or((user, ""));
            request = request.basic_auth(name, Some(password));
        }
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        Ok(request)
    }

    /// The body of a good answer; none for 404.
    async fn get(&self, path: &str) -> Result<Option<String>, AnyError> {
        let answer = self.request(reqwest::Method::GET, path)?.send().await?;
        let status = answer.status();
        let body = answer.text().await?;
        match status.as_u16() {
            200 => Ok(Some(body)),
            404 => Ok(None),
            _ => Err(format!("{}{path}: {status}: {}", self.url, body.trim()).into()),
        }
    }
}

async fn diff(paths: &[PathBuf], server: &ServerFlags, out: &mut impl Write) -> Result<bool, AnyError> {
    let mut is_same = true;
    for path in expanded(paths)? {
        let namespace = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let local = read_file(&path)?;
        let remote = remote_file(server, &namespace).await?;
        let text = |file: &RuleFile| -> BTreeMap<String, String> {
            file.groups.iter().map(|group| (group.name.clone(), write_group(group))).collect()
        };
        let (ours, theirs) = (text(&local), text(&remote));
        let mut names: Vec<&String> = ours.keys().chain(theirs.keys()).collect();
        names.sort();
        names.dedup();
        for name in names {
            let (ours, theirs) = (ours.get(name), theirs.get(name));
            if ours == theirs {
                continue;
            }
            is_same = false;
            let what = match (ours, theirs) {
                (Some(_), None) => "not on the server",
                (None, _) => "only on the server",
                _ => "differs",
            };
            writeln!(out, "{namespace} / {name}: {what} (- server, + file)")?;
            write_lines(out, theirs.map_or("", String::as_str), ours.map_or("", String::as_str))?;
        }
        if write_file(&local) == write_file(&remote) {
            writeln!(out, "{namespace}: the same")?;
        }
    }
    Ok(is_same)
}

async fn remote_file(server: &ServerFlags, namespace: &str) -> Result<RuleFile, AnyError> {
    let escaped: String = url::form_urlencoded::byte_serialize(namespace.as_bytes()).collect();
    let escaped = escaped.replace('+', "%20");
    let Some(text) = server.get(&format!("/loki/api/v1/rules/{escaped}")).await? else {
        return Ok(RuleFile::default());
    };
    let listed: BTreeMap<String, Vec<serde_json::Value>> = serde_saphyr::from_str(&text)?;
    let mut file = RuleFile::default();
    for group in listed.into_values().flatten() {
        let name = group["name"].as_str().unwrap_or_default().to_owned();
        let group = read_group(&serde_saphyr::to_string(&group)?);
        file.groups.push(Arc::new(group.map_err(|error| format!("the server's group {name:?}: {error}"))?));
    }
    Ok(file)
}

/// Lines that only one side has, with those both have in between.
fn write_lines(out: &mut impl Write, old: &str, new: &str) -> std::io::Result<()> {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    // The longest common subsequence; rule groups are short.
    let mut common = vec![vec![0_usize; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i][j] =
                if old[i] == new[j] { common[i + 1][j + 1] + 1 } else { common[i + 1][j].max(common[i][j + 1]) };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            writeln!(out, "    {}", old[i])?;
            (i, j) = (i + 1, j + 1);
        } else if j >= new.len() || (i < old.len() && common[i + 1][j] >= common[i][j + 1]) {
            writeln!(out, "  - {}", old[i])?;
            i += 1;
        } else {
            writeln!(out, "  + {}", new[j])?;
            j += 1;
        }
    }
    Ok(())
}

async fn backfill(wanted: &[(&str, &str)], server: &ServerFlags, out: &mut impl Write) -> Result<bool, AnyError> {
    let request = server.request(reqwest::Method::POST, "/api/v1/rules/backfill")?;
    let wanted: Vec<(&str, &str)> = wanted.iter().copied().filter(|(_, value)| !value.is_empty()).collect();
    let answer = request.query(&wanted).send().await?;
    let status = answer.status();
    if !status.is_success() {
        return Err(format!("{status}: {}", answer.text().await?.trim()).into());
    }
    let bar = indicatif::ProgressBar::new(0);
    if let Ok(style) = indicatif::ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {eta}") {
        bar.set_style(style);
    }
    let mut is_good = true;
    let mut body = answer.bytes_stream();
    let mut rest = Vec::new();
    let mut last: Option<(String, i64, i64)> = None;
    while let Some(bytes) = body.next().await {
        rest.extend_from_slice(&bytes?);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            let progress: serde_json::Value = serde_json::from_slice(&line)?;
            let rule = progress["rule"].as_str().unwrap_or_default().to_owned();
            let number = |name: &str| progress[name].as_i64().unwrap_or(0);
            let (done, steps) = (number("done"), number("steps"));
            bar.set_length(u64::try_from(steps).unwrap_or(0));
            bar.set_position(u64::try_from(done).unwrap_or(0));
            bar.set_message(rule.clone());
            if let Some(error) = progress["error"].as_str() {
                is_good = false;
                bar.suspend(|| writeln!(out, "{rule}: failed after {done} of {steps} evaluations: {error}"))?;
            } else if done == steps {
                let samples = number("samples");
                bar.suspend(|| writeln!(out, "{rule}: {steps} evaluations, {samples} samples"))?;
            }
            last = Some((rule, done, steps));
        }
    }
    bar.finish_and_clear();
    if let Some((rule, done, steps)) = last.filter(|(_, done, steps)| is_good && done < steps) {
        return Err(format!("{rule}: the server stopped after {done} of {steps} evaluations").into());
    }
    Ok(is_good)
}
