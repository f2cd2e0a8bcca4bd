//! `millrace sql`: statements from the terminal, a file, or a shell with history and completion.
//!
//! ```text
//! -c, -f, standard input ─▶ statements ─▶ source ─▶ table │ csv │ json │ ndjson
//! a terminal             ─▶ shell (rustyline) ─┘
//! ```

mod complete;
mod shell;
mod show;
mod statements;

use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Args, ValueEnum};
use tokio::runtime::Runtime;

use super::source::{AnyError, Source, SourceArgs};

/// Bytes of all tables of --csv together: they travel with each statement.
const CSV_BYTES_MAX: usize = 900 << 10;

/// SQL over logs, asked of a server or of the data itself.
#[derive(Debug, Args)]
pub struct Sql {
    /// Runs statements, separated by `;`, and ends.
    #[arg(short = 'c', long = "command", value_name = "SQL")]
    commands: Vec<String>,
    /// Runs the statements of a file, and ends; - is the standard input.
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How rows are written; a table on a terminal, else CSV.
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<Format>,
    /// Says after each statement how long it took.
    #[arg(long)]
    timing: bool,
    /// A CSV file as a table: NAME=FILE.
    #[arg(long = "csv", value_name = "NAME=FILE", value_parser = parse_csv)]
    tables: Vec<(String, PathBuf)>,
    /// Rows of a table on the terminal; more are left out.
    #[arg(long, default_value_t = 1000, value_name = "N")]
    max_rows: usize,
    /// Where the shell remembers what was typed.
    #[arg(long, env = "MILLRACE_SQL_HISTORY", value_name = "FILE")]
    history: Option<PathBuf>,
    #[command(flatten)]
    source: SourceArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Table,
    Csv,
    Json,
    Ndjson,
}

/// What statements are run with.
struct Session {
    runtime: Runtime,
    source: Source,
    format: Format,
    timing: bool,
    max_rows: usize,
    /// `WITH` clauses that make tables of files.
    tables: Vec<(String, String)>,
}

impl Sql {
    /// # Errors
    /// What the server said of a statement, or why it could not be asked.
    pub fn run(&self) -> Result<(), AnyError> {
        super::tolerate_closed_pipe(self.run_all())
    }

    fn run_all(&self) -> Result<(), AnyError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let source = runtime.block_on(self.source.open())?;
        let default = if std::io::stdout().is_terminal() { Format::Table } else { Format::Csv };
        let tables = self.tables.iter().map(|(name, path)| read_table(name, path)).collect::<Result<Vec<_>, _>>()?;
        if tables.iter().map(|(_, text)| text.len()).sum::<usize>() > CSV_BYTES_MAX {
            return Err(format!("the tables of --csv have more than {CSV_BYTES_MAX} bytes").into());
        }
        let mut session = Session {
            runtime,
            source,
            format: self.format.unwrap_or(default),
            timing: self.timing,
            max_rows: self.max_rows,
            tables,
        };
        let is_interactive = self.commands.is_empty() && self.files.is_empty() && std::io::stdin().is_terminal();
        if is_interactive {
            session.timing = true;
            return shell::run(&mut session, self.history.as_deref());
        }
        let mut texts = self.commands.clone();
        for file in &self.files {
            texts.push(if file == Path::new("-") { standard_input()? } else { read(file)? });
        }
        if texts.is_empty() {
            texts.push(standard_input()?);
        }
        for statement in texts.iter().flat_map(|text| statements::split(text)) {
            session.run(&statement)?;
        }
        Ok(())
    }
}

impl Session {
    /// Runs one statement and writes its rows.
    fn run(&self, statement: &str) -> Result<(), AnyError> {
        let statement = statements::with_tables(statement, &self.tables);
        let started = Instant::now();
        let rows = self.runtime.block_on(async {
            let answering = async {
                let rows = self.source.sql(&statement).await?;
                show::rows(rows, self.format, self.max_rows, &mut std::io::stdout()).await
            };
            tokio::select! {
                rows = answering => rows,
                interrupted = tokio::signal::ctrl_c() => {
                    interrupted?;
                    Err("stopped".into())
                }
            }
        })?;
        if self.timing {
            let seconds = started.elapsed().as_secs_f64();
            let s = if rows == 1 { "" } else { "s" };
            writeln!(std::io::stderr(), "{rows} row{s} in {seconds:.3} s")?;
        }
        Ok(())
    }
}

fn standard_input() -> Result<String, AnyError> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(text)
}

fn read(path: &Path) -> Result<String, AnyError> {
    Ok(std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?)
}

fn read_table(name: &str, path: &Path) -> Result<(String, String), AnyError> {
    Ok((name.to_owned(), read(path)?))
}

fn parse_csv(text: &str) -> Result<(String, PathBuf), String> {
    let (name, path) = text.split_once('=').ok_or("NAME=FILE")?;
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !is_name || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(format!("{name:?} is no name of a table"));
    }
    Ok((name.to_owned(), PathBuf::from(path)))
}
