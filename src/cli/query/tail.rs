//! Lines as they arrive, until somebody ends it.

use std::io::Write;
use std::time::Duration;

use super::Query;
use super::print::Printer;
use crate::cli::source::{AnyError, Refused, Server};

/// Connections that fail one after the other before it gives up.
const FAILURES_MAX: u32 = 10;
const PAUSE: Duration = Duration::from_secs(1);

/// Prints entries from `start` on; a tail that breaks is opened again from where it was.
pub(super) async fn follow(
    server: &Server,
    query: &str,
    start: i64,
    flags: &Query,
    printer: &Printer,
) -> Result<(), AnyError> {
    let (mut start, mut limit, mut failures) = (start, flags.limit, 0);
    loop {
        let outcome = async {
            let mut tail = server.tail(query, start, limit, flags.delay_for).await?;
            failures = 0;
            while let Some(arrived) = tail.next().await? {
                let mut out = std::io::stdout().lock();
                for entry in &arrived.entries {
                    start = start.max(entry.ts.saturating_add(1));
                    printer.entry(entry, &mut out)?;
                }
                out.flush()?;
                if arrived.dropped > 0 && !flags.quiet {
                    writeln!(std::io::stderr(), "{} entries were dropped: this reader is too slow", arrived.dropped)?;
                }
            }
            Ok::<(), AnyError>(())
        }
        .await;
        if let Err(error) = outcome {
            // Nobody reads, or the same question is refused again.
            let is_ours = error.is::<std::io::Error>();
            let is_final = error.downcast_ref::<Refused>().is_some_and(|refused| refused.status.is_client_error());
            failures += 1;
            if is_ours || is_final || failures > FAILURES_MAX {
                return Err(error);
            }
            if !flags.quiet {
                writeln!(std::io::stderr(), "{error}; trying again")?;
            }
        }
        // What came while nobody listened.
        limit = flags.batch;
        tokio::time::sleep(PAUSE).await;
    }
}
