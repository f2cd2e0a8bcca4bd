//! The format of test files.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::types::units::GoDuration;

/// A whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestFile {
    /// Relative to the test file; `*` and `?` stand for names.
    #[serde(default)]
    pub rule_files: Vec<String>,
    /// Of groups that say nothing of it.
    pub evaluation_interval: Option<GoDuration>,
    /// Names of groups that are evaluated first.
    #[serde(default)]
    pub group_eval_order: Vec<String>,
    #[serde(default)]
    pub tests: Vec<Test>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Test {
    pub name: Option<String>,
    /// Between the values of `input_series`.
    pub interval: Option<GoDuration>,
    #[serde(default)]
    pub input_series: Vec<InputSeries>,
    #[serde(default)]
    pub input_streams: Vec<InputStream>,
    #[serde(default)]
    pub alert_rule_test: Vec<AlertTest>,
    #[serde(default)]
    pub promql_expr_test: Vec<ExprTest>,
    #[serde(default)]
    pub logql_expr_test: Vec<ExprTest>,
    #[serde(default)]
    pub external_labels: BTreeMap<String, String>,
    #[serde(default)]
    pub external_url: String,
}

/// Samples of one series, `interval` apart.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputSeries {
    pub series: String,
    /// promtool's: `1 2 _ stale 1+2x10`.
    pub values: String,
}

/// Lines of one stream.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputStream {
    /// `{service="a"}`
    pub stream: String,
    pub entries: Vec<InputEntry>,
}

/// One line `at` a time, or one `every` so often `from` a time `to` before another.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputEntry {
    pub at: Option<GoDuration>,
    pub from: Option<GoDuration>,
    pub to: Option<GoDuration>,
    pub every: Option<GoDuration>,
    /// `$n` is the number of the line, from 0.
    pub line: String,
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertTest {
    pub eval_time: GoDuration,
    pub alertname: String,
    /// The firing ones.
    #[serde(default)]
    pub exp_alerts: Vec<ExpectedAlert>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedAlert {
    #[serde(default)]
    pub exp_labels: BTreeMap<String, String>,
    #[serde(default)]
    pub exp_annotations: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExprTest {
    pub expr: String,
    pub eval_time: GoDuration,
    #[serde(default)]
    pub exp_samples: Vec<ExpectedSample>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedSample {
    /// `name{a="b"}`
    #[serde(default)]
    pub labels: String,
    pub value: f64,
}

/// Reads a file.
///
/// # Errors
/// What is wrong, and at which line.
pub fn read_tests(text: &str) -> Result<TestFile, String> {
    serde_saphyr::from_str(text).map_err(|error| {
        let words = error.to_string();
        let words = words.lines().next().unwrap_or_default().to_owned();
        match error.location() {
            Some(location) => format!("line {}: {words}", location.line()),
            None => words,
        }
    })
}
