//! How long lines are kept and how deletes are taken: a tenant's settings, as Loki names them.

use serde::{Deserialize, Serialize};

use crate::logql;
use crate::logql::ast::{LogExpr, Stage};
use crate::types::units::GoDuration;

/// A period for single streams, or for single lines of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamRetention {
    /// `{namespace="dev"}`.
    pub selector: String,
    /// The largest counts; of equals, the shorter period.
    #[serde(default)]
    pub priority: i64,
    /// 0 means for ever.
    pub period: GoDuration,
    /// Beyond Loki: only lines that these label filters let through, `detected_level="debug"`.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub only: Option<String>,
}

impl StreamRetention {
    /// The lines this is about, as a log query: the selector, then the filters of `where`.
    ///
    /// # Errors
    /// A text for the operator.
    pub fn lines(&self) -> Result<LogExpr, String> {
        let matchers =
            logql::parse_matchers(&self.selector, false).map_err(|e| format!("invalid labels matchers: {e}"))?;
        let Some(only) = &self.only else { return Ok(LogExpr { matchers, stages: Vec::new() }) };
        let log = logql::parse_log(&format!("{{}} | {only}")).map_err(|e| format!("where: {e}"))?;
        match log.stages.iter().all(|stage| matches!(stage, Stage::LabelFilter(_) | Stage::LineFilter(_))) {
            true if !log.stages.is_empty() => Ok(LogExpr { matchers, stages: log.stages }),
            _ => Err("where: only label filters, such as detected_level=\"debug\"".to_owned()),
        }
    }

    /// What is wrong with it.
    pub fn problem(&self) -> Option<String> {
        if self.period.0 < 0 {
            return Some("period: not negative".to_owned());
        }
        self.lines().err()
    }
}

/// Whether deletes are taken, and what becomes of their lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeletionMode {
    Disabled,
    /// They are hidden.
    FilterOnly,
    /// They are hidden, and removed later.
    #[default]
    FilterAndDelete,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_and_checked() {
        let check = |json: &str, expected: Option<&str>| {
            let rule: StreamRetention = serde_json::from_str(json).expect("well-formed");
            let problem = rule.problem();
            assert_eq!(problem.is_some(), expected.is_some(), "{json}: {problem:?}");
            assert!(problem.unwrap_or_default().contains(expected.unwrap_or_default()), "{json}");
        };
        check(r#"{"selector": "{a=\"b\"}", "priority": 1, "period": "24h"}"#, None);
        check(r#"{"selector": "{a=\"b\"}", "period": "90m", "where": "detected_level=\"debug\""}"#, None);
        check(r#"{"selector": "{a=~\".*\"}", "period": "0s", "where": "user=\"1\" or size > 5"}"#, None);
        check(r#"{"selector": "a", "period": "1h"}"#, Some("invalid labels matchers"));
        check(r#"{"selector": "{}", "period": "1h", "where": "json"}"#, Some("only label filters"));
        check(r#"{"selector": "{}", "period": "1h", "where": "x="}"#, Some("where: "));
        assert!(serde_json::from_str::<StreamRetention>(r#"{"selector": "{}", "period": "1h", "wher": "x"}"#).is_err());
    }

    #[test]
    fn modes_have_lokis_names() {
        let names = ["disabled", "filter-only", "filter-and-delete"];
        let read: Vec<DeletionMode> =
            names.iter().map(|name| serde_json::from_value((*name).into()).expect("known")).collect();
        assert_eq!(read, [DeletionMode::Disabled, DeletionMode::FilterOnly, DeletionMode::FilterAndDelete]);
        assert!(serde_json::from_value::<DeletionMode>("both".into()).is_err());
    }
}
