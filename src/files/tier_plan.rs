//! Decides which files move to a colder tier: pure, from ages and the labels of streams.
//!
//! A file moves whole, when the last of its streams is due; it never moves back.

use super::table::DataFile;
use crate::logql::selector::LabelSelector;
use crate::types::labels::Labels;
use crate::types::time::UnixNanos;

/// A colder place, and when files go there.
#[derive(Debug, Clone)]
pub struct Level {
    pub name: String,
    /// Files there are named by it, `/`, and their path.
    pub url: String,
    /// Age of a stream's newest row, nanoseconds.
    pub after_ns: i64,
    /// Streams with ages of their own; the first that fits counts.
    pub classes: Vec<(LabelSelector, i64)>,
}

impl Level {
    fn due_ns(&self, labels: &Labels) -> i64 {
        let class = self.classes.iter().find(|(selector, _)| selector.matches(labels));
        class.map_or(self.after_ns, |(_, after_ns)| *after_ns)
    }

    /// The least age at which anything moves here.
    fn earliest_ns(&self) -> i64 {
        self.classes.iter().map(|(_, after_ns)| *after_ns).chain([self.after_ns]).min().unwrap_or(self.after_ns)
    }

    /// Whether a file lies here.
    fn holds(&self, file: &DataFile) -> bool {
        file.path.strip_prefix(&self.url).is_some_and(|rest| rest.starts_with('/'))
    }
}

/// The level that a file lies at; `None` for the table's own place, and for one that is no longer among the levels.
pub fn level_of(file: &DataFile, levels: &[Level]) -> Option<usize> {
    levels.iter().position(|level| level.holds(file))
}

/// Whether a file may be due, as far as its age tells. Cheap: the labels of its streams are not known yet.
pub fn may_move(file: &DataFile, levels: &[Level], now: UnixNanos) -> bool {
    let age_ns = now.0.saturating_sub(file.ts_max.0);
    colder(file, levels).any(|(_, level)| level.earliest_ns() <= age_ns)
}

/// The level that a file with streams of these labels belongs to, if that is a colder one than its own.
pub fn target<'a>(
    file: &DataFile,
    levels: &[Level],
    streams: impl Iterator<Item = &'a Labels> + Clone,
    now: UnixNanos,
) -> Option<usize> {
    let age_ns = now.0.saturating_sub(file.ts_max.0);
    let is_due = |level: &Level| streams.clone().all(|labels| level.due_ns(labels) <= age_ns);
    colder(file, levels).filter(|(_, level)| is_due(level)).map(|(at, _)| at).last()
}

fn colder<'a>(file: &DataFile, levels: &'a [Level]) -> impl Iterator<Item = (usize, &'a Level)> {
    let first = level_of(file, levels).map_or(0, |at| at + 1);
    levels.iter().enumerate().skip(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ids::{IngestSeq, TenantId};

    const DAY_NS: i64 = 86_400_000_000_000;

    fn levels() -> Vec<Level> {
        let audit = LabelSelector::parse(r#"{class="audit"}"#).expect("good").0;
        let level = |name: &str, days: i64, audit_days: i64| Level {
            name: name.to_owned(),
            url: format!("s3://{name}/logs"),
            after_ns: days * DAY_NS,
            classes: vec![(audit.clone(), audit_days * DAY_NS)],
        };
        vec![level("warm", 7, 1), level("cold", 30, 10)]
    }

    /// A file whose newest row is from day 100.
    fn file(path: &str) -> DataFile {
        let (tenant, ts_max) = (TenantId::single(), UnixNanos(100 * DAY_NS));
        DataFile { ts_max, ..DataFile::new(tenant, 100, path.to_owned(), IngestSeq::default()) }
    }

    #[test]
    fn files_move_when_their_last_stream_is_due_and_never_back() {
        let labels = |classes: &[&str]| -> Vec<Labels> {
            classes.iter().map(|class| Labels::from_pairs([("class", *class)])).collect()
        };
        let here = "tenant=fake/date=1970-04-11/part-1.parquet";
        let (warm, cold) = (format!("s3://warm/logs/{here}"), format!("s3://cold/logs/{here}"));
        let check = |path: &str, classes: &[&str], age_days: i64, expected: Option<&str>| {
            let (file, levels, labels) = (file(path), levels(), labels(classes));
            let now = UnixNanos((100 + age_days) * DAY_NS);
            let found = target(&file, &levels, labels.iter(), now).map(|at| levels[at].name.clone());
            assert_eq!(found.as_deref(), expected, "{path} {classes:?} {age_days}");
            assert!(found.is_none() || may_move(&file, &levels, now), "{path} {classes:?} {age_days}");
            assert_eq!(file.relative_path(), here);
        };
        check(here, &["web"], 6, None);
        check(here, &["web"], 7, Some("warm"));
        check(here, &["audit"], 1, Some("warm"));
        check(here, &["audit", "web"], 1, None);
        check(here, &["audit", "web"], 8, Some("warm"));
        check(here, &["audit"], 10, Some("cold"));
        check(here, &["web"], 31, Some("cold"));
        check(&warm, &["web"], 8, None);
        check(&warm, &["web"], 30, Some("cold"));
        check(&cold, &["web"], 1000, None);
        assert!(!may_move(&file(here), &levels(), UnixNanos(100 * DAY_NS)));
        // `warm` is no prefix of `warmer`.
        assert_eq!(level_of(&file(&format!("s3://warm/logsmore/{here}")), &levels()), None);
    }
}
