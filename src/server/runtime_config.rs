//! The file of overrides, read again and again while the server runs.
//!
//! A file that is bad keeps the limits of the last good one; that is said in the log, once for each content.

use std::path::PathBuf;
use std::time::Duration;

use crate::ingest::overrides::{LimitsOf, parse_overrides};
use crate::telemetry::metrics::Metrics;

/// Watches one file.
#[derive(Debug)]
pub struct RuntimeConfig {
    path: PathBuf,
    limits: LimitsOf,
    /// The content read last, good or bad.
    last: Option<String>,
}

impl RuntimeConfig {
    /// Reads the file for the first time.
    ///
    /// # Errors
    /// When it is not there or not good: a start with wrong limits would go unnoticed.
    pub fn open(path: PathBuf, limits: LimitsOf) -> Result<Self, String> {
        let mut watched = RuntimeConfig { path, limits, last: None };
        watched.read_again()?;
        Ok(watched)
    }

    /// Reads the file every `period`, for ever.
    pub async fn watch(mut self, period: Duration, metrics: std::sync::Arc<Metrics>) {
        let mut tick = tokio::time::interval(period);
        loop {
            tick.tick().await;
            let outcome = self.read_again();
            metrics.overrides_good.set(i64::from(outcome.is_ok()));
            match outcome {
                Ok(true) => {
                    tracing::info!(path = %self.path.display(), tenants = self.limits.overridden().len(), "overrides read anew")
                }
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(error, path = %self.path.display(), "overrides are not good; the last good ones stay")
                }
            }
        }
    }

    /// Whether something changed.
    fn read_again(&mut self) -> Result<bool, String> {
        let at_fault = |error: &dyn std::fmt::Display| format!("{}: {error}", self.path.display());
        let text = std::fs::read_to_string(&self.path).map_err(|error| at_fault(&error))?;
        if self.last.as_ref() == Some(&text) {
            return Ok(false);
        }
        let parsed = parse_overrides(&text, self.limits.defaults()).map_err(|error| at_fault(&error));
        self.last = Some(text);
        self.limits.replace(parsed?);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::limits::Limits;
    use crate::types::ids::TenantId;

    #[test]
    fn a_bad_file_keeps_the_last_good_one() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("overrides.yaml");
        let limits = LimitsOf::new(Limits::default());
        assert!(RuntimeConfig::open(path.clone(), limits.clone()).is_err());
        let write = |text: &str| std::fs::write(&path, text).expect("written");
        write("overrides: {a: {max_query_series: 3}}");
        let mut watched = RuntimeConfig::open(path.clone(), limits.clone()).expect("good");
        let of_a = || limits.of(&TenantId::parse("a").expect("valid")).max_query_series;
        assert_eq!(of_a(), 3);
        assert_eq!(watched.read_again(), Ok(false));
        write("overrides: {a: {max_query_series: x}}");
        assert!(watched.read_again().is_err());
        assert_eq!(of_a(), 3);
        write("overrides: {}");
        assert_eq!(watched.read_again(), Ok(true));
        assert_eq!(of_a(), Limits::default().max_query_series);
    }
}
