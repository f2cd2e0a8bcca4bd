//! What a query may ask, whoever asks it: labels that it must name, how wide its windows may be, how much it may read.
//!
//! Texts are Loki's.

use crate::ingest::limits::Limits;
use crate::logql::ast::{Expr, Matcher, MetricExpr};
use crate::query::QueryError;
use crate::query::plan::leaves;
use crate::types::durations::format_prometheus_duration;

/// Limits on one query; the default has none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueryLimits {
    /// Labels that every selector must have a matcher of.
    pub required_labels: Vec<String>,
    /// Matchers that every selector must have.
    pub labels_min: usize,
    /// Matchers that a selector may have; 0: no limit.
    pub matchers_max: usize,
    /// The widest `[range]`, nanoseconds; 0: no limit.
    pub range_max_ns: i64,
    /// Bytes of lines that may be read; 0: no limit.
    pub bytes_max: u64,
}

impl QueryLimits {
    pub fn of(limits: &Limits) -> Self {
        QueryLimits {
            required_labels: limits.required_labels.clone(),
            labels_min: limits.minimum_labels_number,
            matchers_max: limits.max_streams_matchers_per_query,
            range_max_ns: limits.max_query_range.0,
            bytes_max: limits.max_query_bytes_read.0,
        }
    }

    /// Looks at every selector and every window of a query.
    ///
    /// # Errors
    /// `BadInput`, in Loki's words.
    pub fn check(&self, expr: &Expr) -> Result<(), QueryError> {
        match expr {
            Expr::Log(log) => self.check_matchers(&log.matchers),
            Expr::Metric(metric) => {
                for leaf in leaves(metric) {
                    self.check_matchers(&leaf.range.log.matchers)?;
                    self.check_window(leaf.range.range_ns)?;
                }
                Ok(())
            }
        }
    }

    /// One selector.
    ///
    /// # Errors
    /// As [`QueryLimits::check`].
    pub fn check_matchers(&self, matchers: &[Matcher]) -> Result<(), QueryError> {
        let bad = |text: String| Err(QueryError::BadInput(text));
        let present: Vec<&str> = matchers.iter().map(|matcher| matcher.name.as_str()).collect();
        if self.matchers_max > 0 && present.len() > self.matchers_max {
            return bad(format!(
                "max streams matchers per query exceeded, matchers-count > limit ({} > {})",
                present.len(),
                self.matchers_max
            ));
        }
        let missing = self.required_labels.iter().map(String::as_str).filter(|label| !present.contains(label));
        let missing: Vec<&str> = missing.collect();
        if !missing.is_empty() {
            return bad(format!(
                "stream selector is missing required matchers [{}], labels present in the query were [{}]",
                missing.join(", "),
                present.join(", ")
            ));
        }
        if present.len() < self.labels_min {
            return bad(format!(
                "stream selector has less label matchers than required: (present: [{}], number_present: {}, required_number_label_matchers: {})",
                present.join(", "),
                present.len(),
                self.labels_min
            ));
        }
        Ok(())
    }

    fn check_window(&self, range_ns: i64) -> Result<(), QueryError> {
        if self.range_max_ns == 0 || range_ns <= self.range_max_ns {
            return Ok(());
        }
        let (range, limit) = (format_prometheus_duration(range_ns), format_prometheus_duration(self.range_max_ns));
        Err(QueryError::BadInput(format!("[interval] value exceeds limit: [{range}] > [{limit}]")))
    }

    /// Whether so many bytes may be read.
    ///
    /// # Errors
    /// As [`QueryLimits::check`].
    pub fn check_bytes(&self, bytes: u64) -> Result<(), QueryError> {
        if self.bytes_max == 0 || bytes <= self.bytes_max {
            return Ok(());
        }
        let (query, limit) = (human_bytes(bytes), human_bytes(self.bytes_max));
        Err(QueryError::BadInput(format!(
            "the query would read too many bytes (query: {query}, limit: {limit}); consider adding more specific stream selectors or reduce the time range of the query"
        )))
    }
}

/// The selectors of a query, and how far before a sample each reads, nanoseconds: window and offset.
pub fn selectors(expr: &Expr) -> Vec<(&[Matcher], i64, i64)> {
    match expr {
        Expr::Log(log) => vec![(&log.matchers, 0, 0)],
        Expr::Metric(metric) => of_metric(metric),
    }
}

fn of_metric(metric: &MetricExpr) -> Vec<(&[Matcher], i64, i64)> {
    let of_leaf = |leaf: crate::query::plan::Leaf<'_>| (leaf.range.range_ns, leaf.range.offset_ns);
    let times: Vec<(i64, i64)> = leaves(metric).into_iter().map(of_leaf).collect();
    let mut found = Vec::new();
    collect(metric, &mut found);
    found.into_iter().zip(times).map(|(matchers, (range, offset))| (matchers, range, offset)).collect()
}

/// Left to right, as `leaves` gives them.
fn collect<'a>(metric: &'a MetricExpr, found: &mut Vec<&'a [Matcher]>) {
    match metric {
        MetricExpr::Range(range) => found.push(&range.log.matchers),
        MetricExpr::Vector(vector) => collect(&vector.inner, found),
        MetricExpr::LabelReplace { inner, .. } => collect(inner, found),
        MetricExpr::Binary(binary) => {
            collect(&binary.left, found);
            collect(&binary.right, found);
        }
        MetricExpr::Number(_) | MetricExpr::VectorLiteral(_) => {}
    }
}

/// Source: go-humanize's `IBytes`.
fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 10 {
        return format!("{bytes} B");
    }
    let power = (bytes.ilog2() / 10) as usize;
    let value = (bytes as f64 / 1024_f64.powi(power as i32) * 10.0 + 0.5).floor() / 10.0;
    if value < 10.0 { format!("{value:.1} {}", UNITS[power]) } else { format!("{value:.0} {}", UNITS[power]) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logql;

    #[test]
    fn selectors_are_looked_at_wherever_they_are() {
        let limits = QueryLimits {
            required_labels: vec!["app".to_owned(), "env".to_owned()],
            labels_min: 3,
            matchers_max: 4,
            range_max_ns: 3_600_000_000_000,
            ..QueryLimits::default()
        };
        let check = |text: &str, expected: Option<&str>| {
            let said = limits.check(&logql::parse(text).expect("good")).err().map(|error| error.to_string());
            assert_eq!(said.as_deref(), expected, "{text}");
        };
        check(r#"{app="a", env="e", x="y"}"#, None);
        check(
            r#"{app="a", x="y"} |= "z""#,
            Some("stream selector is missing required matchers [env], labels present in the query were [app, x]"),
        );
        check(
            r#"rate({app="a", env="e", x="y"}[1m]) / rate({x="y"}[1m])"#,
            Some("stream selector is missing required matchers [app, env], labels present in the query were [x]"),
        );
        check(
            r#"{app="a", env="e"}"#,
            Some(
                "stream selector has less label matchers than required: (present: [app, env], number_present: 2, required_number_label_matchers: 3)",
            ),
        );
        check(
            r#"{app="a", env="e", x="y", z="z", w="w"}"#,
            Some("max streams matchers per query exceeded, matchers-count > limit (5 > 4)"),
        );
        check(r#"sum(rate({app="a", env="e", x="y"}[26h]))"#, Some("[interval] value exceeds limit: [1d2h] > [1h]"));
        assert_eq!(QueryLimits::default().check(&logql::parse(r#"rate({a="b"}[9w])"#).expect("good")).ok(), Some(()));
    }

    #[test]
    fn bytes_are_said_as_loki_says_them() {
        let limits = QueryLimits { bytes_max: 1 << 20, ..QueryLimits::default() };
        let said = limits.check_bytes(49 << 20).expect_err("too many").to_string();
        assert!(said.starts_with("the query would read too many bytes (query: 49 MiB, limit: 1.0 MiB);"), "{said}");
        assert!(limits.check_bytes(1 << 20).is_ok());
        for (bytes, expected) in [(7, "7 B"), (999, "999 B"), (1536, "1.5 KiB"), (10 << 30, "10 GiB")] {
            assert_eq!(human_bytes(bytes), expected);
        }
    }

    #[test]
    fn selectors_come_with_their_windows() {
        let expr = logql::parse(r#"sum(rate({a="1"}[1m])) + count_over_time({b="2"}[5m] offset 1h)"#).expect("good");
        let found: Vec<_> = selectors(&expr)
            .iter()
            .map(|(matchers, range, offset)| (matchers[0].name.clone(), range / 1_000_000_000, offset / 1_000_000_000))
            .collect();
        assert_eq!(found, [("a".to_owned(), 60, 0), ("b".to_owned(), 300, 3600)]);
    }
}
