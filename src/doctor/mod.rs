//! Looks at everything that is kept, says in plain words what is wrong, and mends what can be mended.
//!
//! ```text
//! log ─▶ segments, records, do they join the table?      table ─▶ commits, checkpoints, format
//! files ─▶ there, whole, readable?                       beside them ─▶ objects that no version names
//! metrics ─▶ the same for the table of derived metrics
//! ```
//!
//! Nothing is changed without `repair`, and nothing is deleted with it: what is bad or left over is moved to a
//! directory `quarantine` (of the data) or `_quarantine` (of the table).
//! Errors: those that keep it from looking; what it finds is in the [`Report`].

mod files;
mod log;
mod metrics;
mod table;

use indicatif::ProgressBar;

pub use metrics::examine as examine_metrics;

use crate::backup::RESTORING;
use crate::files::table::schema;
use crate::store::Place;
use crate::wal::{DirectoryLock, WalError};

/// What to do beside looking.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Orders {
    /// Mend what can be mended without losing a readable row.
    pub repair: bool,
    /// Take files that are missing or damaged out of the table: queries stop failing, their rows are given up.
    pub drop_lost: bool,
    /// Leave out the content of files, which takes as long as reading them.
    pub quick: bool,
}

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing is lost and nothing fails.
    Note,
    /// Something fails or is lost.
    Problem,
}

/// One thing found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub severity: Severity,
    pub what: String,
    /// What was done about it, or can be done.
    pub then: Then,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Then {
    Repaired(String),
    Advice(String),
}

/// All that was looked at and found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// One line for each thing that was looked at.
    pub looked_at: Vec<String>,
    pub findings: Vec<Finding>,
}

/// Why it could not look.
#[derive(Debug, thiserror::Error)]
pub enum DoctorError {
    #[error("table: {0}")]
    Table(#[from] crate::files::table::TableError),
    #[error("files: {0}")]
    Files(#[from] crate::files::FilesError),
    #[error("object store: {0}")]
    Store(#[from] object_store::Error),
    #[error("write-ahead log: {0}")]
    Wal(#[from] WalError),
    #[error("{}: {source}", path.display())]
    Io { path: std::path::PathBuf, source: std::io::Error },
    #[error("a server runs in {}: stop it before anything is repaired", data_dir.display())]
    Running { data_dir: std::path::PathBuf },
}

impl Report {
    fn saw(&mut self, line: impl Into<String>) {
        self.looked_at.push(line.into());
    }

    fn problem(&mut self, what: impl Into<String>, then: Then) {
        self.findings.push(Finding { severity: Severity::Problem, what: what.into(), then });
    }

    fn note(&mut self, what: impl Into<String>, then: Then) {
        self.findings.push(Finding { severity: Severity::Note, what: what.into(), then });
    }

    /// The same, each line saying of what it is.
    fn of(mut self, what: &str) -> Self {
        self.looked_at.iter_mut().for_each(|line| line.insert_str(0, &format!("{what}, ")));
        self.findings.iter_mut().for_each(|finding| finding.what.insert_str(0, &format!("{what}, ")));
        self
    }

    /// Adds what another one says.
    pub fn append(&mut self, other: Report) {
        self.looked_at.extend(other.looked_at);
        self.findings.extend(other.findings);
    }

    /// Whether a problem is left.
    pub fn is_ill(&self) -> bool {
        let is_left =
            |finding: &Finding| finding.severity == Severity::Problem && matches!(finding.then, Then::Advice(_));
        self.findings.iter().any(is_left)
    }
}

fn advice(text: impl Into<String>) -> Then {
    Then::Advice(text.into())
}

fn repaired(text: impl Into<String>) -> Then {
    Then::Repaired(text.into())
}

/// Looks at `place`, and mends it as `orders` say.
///
/// With `look_at_log` unset only the table is looked at: a bucket, without the directory of a server.
pub async fn examine(
    place: &Place,
    look_at_log: bool,
    orders: Orders,
    bar: &ProgressBar,
) -> Result<Report, DoctorError> {
    let mut report = Report::default();
    let wal = place.data_dir.join("wal");
    let mut lock = None;
    if look_at_log && wal.is_dir() {
        match DirectoryLock::take(&wal) {
            Ok(taken) => lock = Some(taken),
            Err(WalError::Locked { .. }) if orders.repair || orders.drop_lost => {
                return Err(DoctorError::Running { data_dir: place.data_dir.clone() });
            }
            Err(WalError::Locked { .. }) => report.saw(format!(
                "{}: a server runs here; its newest writes may look unfinished",
                place.data_dir.display()
            )),
            Err(error) => return Err(error.into()),
        }
    }
    if look_at_log && place.data_dir.join(RESTORING).exists() {
        report.problem("a restore was cut short here", advice("run `millrace backup restore` again"));
    }
    let snapshot = table::examine(place, &schema::LOGS, orders, &mut report).await?;
    if look_at_log {
        log::examine(place, snapshot.as_ref(), orders, lock.is_some(), &mut report)?;
    }
    if let Some(snapshot) = &snapshot {
        files::examine(place, snapshot, orders, &mut report, bar).await?;
    }
    drop(lock);
    Ok(report)
}
