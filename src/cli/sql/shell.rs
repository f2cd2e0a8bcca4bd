//! The shell: lines with history and completion, until a statement is finished by `;`.

use std::io::Write;
use std::path::{Path, PathBuf};

use arrow::array::AsArray;
use futures::StreamExt;
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{CompletionType, Config, Context, Editor, Helper};

use super::complete::Words;
use super::{Format, Session, statements};
use crate::cli::source::AnyError;

/// Lines that are remembered.
const HISTORY_LINES_MAX: usize = 2000;
const HELP: &str = "\
  SELECT …;      runs a statement; it may have many lines
  \\d             views;  \\d NAME  columns of one
  \\f FORMAT      table, csv, json or ndjson
  \\timing        says how long statements take, or not
  \\q             ends; so does Ctrl-D. Ctrl-C stops a statement.
";
const COLUMNS: &str = "select table_name, column_name, data_type from information_schema.columns \
    where table_schema = 'public' order by table_name, ordinal_position";

/// Runs until it is ended.
pub(super) fn run(session: &mut Session, history: Option<&Path>) -> Result<(), AnyError> {
    let config = Config::builder()
        .max_history_size(HISTORY_LINES_MAX)?
        .history_ignore_space(true)
        .completion_type(CompletionType::List)
        .build();
    let mut editor: Editor<Shell, FileHistory> = Editor::with_config(config)?;
    editor.set_helper(Some(Shell { words: words(session) }));
    let history = history.map(Path::to_owned).or_else(default_history);
    if let Some(path) = &history {
        // There is none the first time.
        let _ = editor.load_history(path);
    }
    writeln!(std::io::stdout(), "millrace {}: \\? for help", env!("CARGO_PKG_VERSION"))?;
    loop {
        match editor.readline("millrace> ") {
            Ok(text) if text.trim().is_empty() => {}
            Ok(text) => {
                editor.add_history_entry(text.trim())?;
                if let Some(path) = &history {
                    remember(&mut editor, path);
                }
                if !answer(session, text.trim())? {
                    return Ok(());
                }
            }
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Runs what was typed; false at the end.
fn answer(session: &mut Session, text: &str) -> Result<bool, AnyError> {
    let mut words = text.split_whitespace();
    let outcome = match words.next().unwrap_or("") {
        "\\q" | "exit" | "quit" => return Ok(false),
        "\\?" | "help" => Ok(write!(std::io::stdout(), "{HELP}")?),
        "\\timing" => {
            session.timing = !session.timing;
            Ok(writeln!(std::io::stdout(), "timing is {}", if session.timing { "on" } else { "off" })?)
        }
        "\\f" => match words.next().and_then(|name| <Format as clap::ValueEnum>::from_str(name, true).ok()) {
            Some(format) => {
                session.format = format;
                Ok(())
            }
            None => Err("\\f: table, csv, json or ndjson".into()),
        },
        "\\d" => session.run(&describe(words.next())),
        command if command.starts_with('\\') => Err(format!("{command}: no such command; \\? for help").into()),
        _ => statements::split(text).iter().try_for_each(|statement| session.run(statement)),
    };
    if let Err(error) = outcome {
        writeln!(std::io::stderr(), "{error}")?;
    }
    Ok(true)
}

fn describe(view: Option<&str>) -> String {
    match view {
        None => "select table_name as view, count(*) as columns from information_schema.columns \
            where table_schema = 'public' group by 1 order by 1"
            .to_owned(),
        Some(view) => format!(
            "select column_name, data_type, is_nullable from information_schema.columns \
             where table_schema = 'public' and table_name = '{}' order by ordinal_position",
            view.replace('\'', "''")
        ),
    }
}

/// Views and columns; nothing when they cannot be asked for, which the first statement will tell.
fn words(session: &Session) -> Words {
    let asked = session.runtime.block_on(async {
        let mut rows = session.source.sql(COLUMNS).await?;
        let mut names = Vec::new();
        while let Some(batch) = rows.batches.next().await {
            let batch = batch?;
            for column in 0..2 {
                let texts = arrow::compute::cast(batch.column(column), &arrow::datatypes::DataType::Utf8)?;
                names.extend(texts.as_string::<i32>().iter().flatten().map(str::to_owned));
            }
        }
        names.sort_unstable();
        names.dedup();
        Ok::<_, AnyError>(names)
    });
    match asked {
        Ok(names) => Words { names },
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            Words::default()
        }
    }
}

fn default_history() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let state = state.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state")))?;
    Some(state.join("millrace").join("sql_history"))
}

/// Statements may name people: the file is its owner's alone.
fn remember(editor: &mut Editor<Shell, FileHistory>, path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let mut saving = || -> Result<(), AnyError> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        editor.save_history(path)?;
        Ok(std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?)
    };
    if let Err(error) = saving() {
        let _ = writeln!(std::io::stderr(), "{}: {error}", path.display());
    }
}

/// What rustyline asks.
struct Shell {
    words: Words,
}

impl Completer for Shell {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(self.words.complete(line, at))
    }
}

impl Validator for Shell {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let text = context.input().trim();
        let is_command = text.starts_with('\\') || ["exit", "quit", "help"].contains(&text);
        Ok(match is_command || statements::is_finished(text) {
            true => ValidationResult::Valid(None),
            false => ValidationResult::Incomplete,
        })
    }
}

impl Hinter for Shell {
    type Hint = String;
}

impl Highlighter for Shell {}

impl Helper for Shell {}
