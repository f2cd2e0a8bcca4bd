//! The table of derived metrics: its commit log as that of the logs, its files by size and checksum.

use indicatif::ProgressBar;

use super::{DoctorError, Orders, Report, advice, files, table};
use crate::files::DataFile;
use crate::files::table::schema;
use crate::store::Place;

/// Looks at the table of metrics at `place`, if there is one; nothing is said of a table that is not there.
///
/// Commits and checkpoints are mended as those of the logs; files are not: rules make metrics anew
/// (`millrace rules backfill`).
pub async fn examine(place: &Place, orders: Orders) -> Result<Report, DoctorError> {
    let mut report = Report::default();
    let Some(snapshot) = table::examine(place, &schema::METRICS, orders, &mut report).await? else {
        report.looked_at.clear();
        return Ok(report.of("metrics"));
    };
    let live: Vec<&DataFile> = snapshot.files().collect();
    let damaged = files::damaged(place, &live, None, orders, &ProgressBar::hidden()).await?;
    let content = if orders.quick { "sizes only" } else { "every byte read" };
    let samples: u64 = live.iter().map(|file| file.rows).sum();
    report.saw(format!("files: {} with {samples} samples, {content}", live.len()));
    for (file, damage) in damaged {
        report.problem(
            format!("file {}: {damage}; {} samples of tenant {}", file.path, file.rows, file.tenant),
            advice("restore the file from a backup under the same name, or compute its metrics anew: `millrace rules backfill`"),
        );
    }
    Ok(report.of("metrics"))
}
