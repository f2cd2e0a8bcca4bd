//! `millrace agent` and `millrace pipeline`: Promtail's place, and a look into its stages.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::agent::config::{AgentConfig, ConfigError};
use crate::agent::explain::explain;
use crate::agent::flags::AgentFlags;
use crate::agent::show::{Paint, Stages};
use crate::agent::{AgentError, check_syntax};
use crate::pipeline::{Context, Entry, LabelSet, Origin, Pipeline, PipelineMetrics, StageError, Tools, yaml};
use crate::telemetry::logging;
use crate::types::time::Clock;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Agent {
    #[command(subcommand)]
    pub command: Option<AgentCommand>,
    #[command(flatten)]
    pub flags: AgentFlags,
}

#[derive(Debug, Subcommand)]
pub enum AgentCommand {
    /// Says in plain words what a Promtail configuration does, what does not work here, and what to write instead.
    Import {
        /// The configuration.
        file: PathBuf,
        /// Replaces ${VAR} and ${VAR:-default}.
        #[arg(long = "config.expand-env", alias = "expand-env")]
        expand_env: bool,
    },
}

/// Takes no huge pages, of which small allocations here and there would fill little: an agent lives beside what it watches.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "no crate among the dependencies sets this of a process")]
fn spare_memory() {
    // SAFETY: numbers go in and one comes out.
    let refused = unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) } != 0;
    if refused {
        tracing::debug!("huge pages stay; they cost memory");
    }
}

#[cfg(not(target_os = "linux"))]
fn spare_memory() {}

#[derive(Debug, Args)]
pub struct PipelineArgs {
    #[command(subcommand)]
    pub command: PipelineCommand,
}

#[derive(Debug, Subcommand)]
pub enum PipelineCommand {
    /// Puts lines of standard input through pipeline stages and shows what comes of them.
    Test(PipelineTest),
}

#[derive(Debug, Args)]
pub struct PipelineTest {
    /// A Promtail configuration, or a file with `pipeline_stages` alone.
    #[arg(long = "config", alias = "config.file", value_name = "FILE")]
    pub config: PathBuf,
    /// The job whose stages are meant; the first when it is not given.
    #[arg(long, value_name = "NAME")]
    pub job: Option<String>,
    /// Shows each entry after each stage; what the stage changed stands out.
    #[arg(long)]
    pub stage_by_stage: bool,
    /// Labels of the lines: name=value.
    #[arg(long = "label", value_name = "NAME=VALUE")]
    pub labels: Vec<String>,
    #[arg(long, value_enum, default_value_t = Colour::Auto, alias = "colour")]
    pub color: Colour,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Colour {
    Auto,
    Always,
    Never,
}

/// Why a command of these ends badly.
#[derive(Debug, thiserror::Error)]
pub enum AgentCliError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Agent(#[from] AgentError),
    #[error(transparent)]
    Stages(#[from] StageError),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Logging(#[from] logging::LogSetupError),
    #[error("{0}")]
    Words(String),
}

impl Agent {
    /// Runs the agent until a signal, or answers and ends.
    pub fn run(&self) -> Result<(), AgentCliError> {
        if let Some(AgentCommand::Import { file, expand_env }) = &self.command {
            return import(file.clone(), *expand_env);
        }
        let flags = &self.flags;
        let settings = flags.settings()?;
        let notes = check_syntax(&settings.config)?;
        if flags.check_syntax {
            let mut out = io::stdout();
            for note in settings.notes.iter().chain(&notes) {
                writeln!(out, "note: {note}")?;
            }
            writeln!(out, "Valid config file! No syntax issues found")?;
            return Ok(());
        }
        let server = &settings.config.server;
        logging::init(&server.log_level, &server.log_format)?;
        spare_memory();
        for note in settings.notes.iter().chain(&notes) {
            tracing::warn!("{note}");
        }
        if flags.print_config {
            let text =
                serde_saphyr::to_string(&settings.config).map_err(|error| AgentCliError::Words(error.to_string()))?;
            io::stderr().write_all(text.as_bytes())?;
        }
        tracing::info!("Starting Promtail's successor, the Millrace agent");
        let reread_flags = flags.clone();
        let reread = move || -> Result<AgentConfig, ConfigError> { Ok(reread_flags.settings()?.config) };
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let outcome = runtime.block_on(crate::agent::run(settings.config, flags.mode(), std::sync::Arc::new(reread)));
        // A thread that a client holds up must not hold up the end.
        runtime.shutdown_timeout(std::time::Duration::from_secs(1));
        outcome.map_err(Into::into)
    }
}

fn import(file: PathBuf, expand_env: bool) -> Result<(), AgentCliError> {
    let flags = AgentFlags { config: Some(file), expand_env, ..AgentFlags::default() };
    let mut out = io::stdout();
    match flags.settings() {
        Ok(settings) => out.write_all(explain(&settings.config, &settings.notes).as_bytes())?,
        Err(error) => {
            writeln!(out, "# What does not work here\n")?;
            for problem in &error.problems {
                writeln!(out, "- {problem}")?;
            }
            return Err(AgentCliError::Words(
                "the configuration needs these changes before the agent can run it".to_owned(),
            ));
        }
    }
    Ok(())
}

impl PipelineTest {
    /// Reads lines to the end and shows them.
    pub fn run(&self, input: impl BufRead, mut out: impl Write) -> Result<(), AgentCliError> {
        let text = std::fs::read_to_string(&self.config)
            .map_err(|error| AgentCliError::Words(format!("cannot read {}: {error}", self.config.display())))?;
        let tree = yaml::parse(&text).map_err(AgentCliError::Words)?;
        let (job, stages) = self.stages_of(&tree)?;
        let metrics = PipelineMetrics::new(Clock::system());
        let read_file = |path: &str| std::fs::read(path).map(std::sync::Arc::<[u8]>::from);
        let mut tools = Tools::new(&job, &metrics, &read_file, 1);
        let mut pipeline = Pipeline::build(stages, &mut tools)?;
        let paint = Paint::new(match self.color {
            Colour::Auto => io::stdout().is_terminal(),
            Colour::Always => true,
            Colour::Never => false,
        });
        for note in &tools.notes {
            writeln!(out, "note: {note}")?;
        }
        let mut labels = LabelSet::default();
        for pair in &self.labels {
            let (name, value) = pair
                .split_once('=')
                .ok_or_else(|| AgentCliError::Words(format!("--label {pair}: write name=value")))?;
            labels.set(name.into(), value.into(), Origin::Operator);
        }
        let clock = Clock::system();
        for line in input.lines() {
            let entry = Entry::new(labels.clone(), clock.now().0, line?);
            self.show(&mut pipeline, Some(entry), paint, &clock, &mut out)?;
        }
        self.show(&mut pipeline, None, paint, &clock, &mut out)
    }

    /// One entry through the stages, or what they held back.
    fn show(
        &self,
        pipeline: &mut Pipeline,
        entry: Option<Entry>,
        paint: Paint,
        clock: &Clock,
        out: &mut impl Write,
    ) -> Result<(), AgentCliError> {
        let finishes = entry.is_none();
        let mut batch: Vec<Entry> = entry.into_iter().collect();
        let now_ns = clock.now().0;
        let mut shown = Vec::new();
        let mut stages = Stages::new(&mut shown, paint, &batch);
        if self.stage_by_stage {
            if let Some(entry) = batch.first() {
                stages.entry("read", entry)?;
            }
            let mut context = Context::observed(now_ns, &mut stages);
            if finishes { pipeline.finish(&mut batch, &mut context) } else { pipeline.run(&mut batch, &mut context) }
        } else {
            let mut context = Context::new(now_ns);
            if finishes { pipeline.finish(&mut batch, &mut context) } else { pipeline.run(&mut batch, &mut context) }
        }
        for entry in &batch {
            stages.entry("sent", entry)?;
        }
        drop(stages);
        // At the end there is something to show only if something was held back.
        if !finishes || !batch.is_empty() {
            out.write_all(&shown)?;
        }
        Ok(())
    }

    fn stages_of<'t>(&self, tree: &'t serde_json::Value) -> Result<(String, &'t serde_json::Value), AgentCliError> {
        if tree.is_array() {
            return Ok(("pipeline".to_owned(), tree));
        }
        if let Some(stages) = tree.get("pipeline_stages") {
            return Ok(("pipeline".to_owned(), stages));
        }
        let jobs = tree.get("scrape_configs").and_then(|jobs| jobs.as_array()).map_or(&[][..], Vec::as_slice);
        let name =
            |job: &serde_json::Value| job.get("job_name").and_then(|name| name.as_str()).unwrap_or("").to_owned();
        let job = match &self.job {
            Some(wanted) => jobs.iter().find(|job| name(job) == *wanted),
            None => jobs.first(),
        };
        let names: Vec<String> = jobs.iter().map(name).collect();
        let job = job.ok_or_else(|| {
            AgentCliError::Words(format!(
                "no such job; the file has {}",
                if names.is_empty() { "none".to_owned() } else { names.join(", ") }
            ))
        })?;
        Ok((name(job), job.get("pipeline_stages").unwrap_or(&serde_json::Value::Null)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(stage_by_stage: bool, job: Option<&str>, lines: &str) -> Result<String, AgentCliError> {
        let test = PipelineTest {
            config: PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/configs/exercise-promtail.yaml")),
            job: job.map(str::to_owned),
            stage_by_stage,
            labels: vec!["container=c".to_owned()],
            color: Colour::Never,
        };
        let mut out = Vec::new();
        test.run(lines.as_bytes(), &mut out)?;
        Ok(String::from_utf8(out).expect("text"))
    }

    #[test]
    fn entries_after_each_stage() {
        let line = r#"{"level":"info","message":"User test@example.com logged in","user_id":"12345"}"#;
        let text = shown(true, None, line).expect("runs");
        for part in [
            "== read\n",
            "── docker\n",
            "── labels\n",
            "+level=\"info\"",
            "~user_id=\"***REDACTED***\"",
            "== sent\n",
            r#"line      {"level":"info","message":"User ***REDACTED_EMAIL*** logged in","user_id":"***REDACTED***"}"#,
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(!shown(false, None, line).expect("runs").contains("── json"));
        assert!(
            shown(false, Some("syslog"), "Oct 23 14:32:15 h p: hello").expect("runs").contains("line      hello\n")
        );
        assert!(shown(false, Some("none"), line).is_err());
    }
}
