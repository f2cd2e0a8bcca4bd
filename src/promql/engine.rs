//! Questions: text in, answer out, within limits of time and memory.
//!
//! ```text
//! parse, plan ─▶ select every selection (waits) ─▶ evaluate (a blocking thread; a ring stops it) ─▶ Outcome
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use super::error::PromqlError;
use super::eval::{self, Budget};
use super::parse::parse;
use super::plan::{PlanLimits, Selection, plan};
use super::value::{Answer, Asked, Loaded, Outcome, Points, RawSeries};
use crate::types::ids::TenantId;
use crate::types::sample::{MetricReader, Sample, SampleError};
use crate::types::time::{NANOS_PER_MILLI, UnixNanos};

/// Where samples are.
#[async_trait]
pub trait SeriesSource: Send + Sync {
    /// Series of one tenant with samples in the selection's times, sorted by labels; times ascend.
    ///
    /// # Errors
    /// `Full` when more than `samples_max` samples would be held.
    async fn select(
        &self,
        tenant: &TenantId,
        selection: &Selection,
        samples_max: usize,
    ) -> Result<Vec<RawSeries>, SampleError>;
}

/// What a query may take.
#[derive(Debug, Clone, Copy)]
pub struct EngineLimits {
    /// How far back the newest sample of a series counts.
    pub lookback: Duration,
    /// Samples of one query in memory.
    pub samples_max: usize,
    pub timeout: Duration,
}

/// Answers PromQL. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    source: Arc<dyn SeriesSource>,
    limits: EngineLimits,
}

impl Engine {
    pub fn new(source: Arc<dyn SeriesSource>, limits: EngineLimits) -> Self {
        Engine { source, limits }
    }

    /// The same engine over another source.
    pub fn over(&self, source: Arc<dyn SeriesSource>) -> Self {
        Engine { source, limits: self.limits }
    }

    /// Answers `text` as it is asked, within `timeout` and never longer than the engine's own.
    ///
    /// Cancellation: dropping the future stops the evaluation.
    pub async fn query(
        &self,
        tenant: &TenantId,
        text: &str,
        asked: Asked,
        lookback: Option<Duration>,
        timeout: Option<Duration>,
    ) -> Result<Outcome, PromqlError> {
        let lookback = lookback.unwrap_or(self.limits.lookback).max(Duration::from_millis(1));
        let limits = PlanLimits {
            lookback_ms: i64::try_from(lookback.as_millis()).unwrap_or(i64::MAX),
            samples_max: self.limits.samples_max,
        };
        let timeout = timeout.map_or(self.limits.timeout, |timeout| timeout.min(self.limits.timeout));
        let answering = self.answer(tenant, text, asked, limits);
        tokio::time::timeout(timeout, answering).await.unwrap_or(Err(PromqlError::Timeout))
    }

    async fn answer(
        &self,
        tenant: &TenantId,
        text: &str,
        asked: Asked,
        limits: PlanLimits,
    ) -> Result<Outcome, PromqlError> {
        let steps = asked.steps();
        if steps.count > limits.samples_max {
            return Err(PromqlError::TooManySamples { samples_max: limits.samples_max });
        }
        let plan = plan(&parse(text)?, steps, limits)?;
        let mut loaded = Vec::with_capacity(plan.selections.len());
        let mut left = limits.samples_max;
        for selection in &plan.selections {
            let series = self.source.select(tenant, selection, left).await;
            let series = series.map_err(|error| storage_error(error, limits.samples_max))?;
            let samples: usize = series.iter().map(|series| series.times.len()).sum();
            left = left.saturating_sub(samples);
            loaded.push(series);
        }
        let loaded: Loaded = Arc::new(loaded);
        let ring = StopOnDrop(Arc::new(AtomicBool::new(false)));
        let stop = ring.0.clone();
        let evaluating = tokio::task::spawn_blocking(move || {
            let budget = Budget::new(limits.samples_max, &stop);
            eval::answer(&plan, asked, limits, &loaded, &budget)
        });
        evaluating.await.map_err(|error| PromqlError::Storage(error.to_string()))?
    }
}

fn storage_error(error: SampleError, samples_max: usize) -> PromqlError {
    match error {
        SampleError::Full(_) => PromqlError::TooManySamples { samples_max },
        SampleError::BadQuery(text) => PromqlError::BadQuery(text),
        SampleError::Failed(text) => PromqlError::Storage(text),
    }
}

/// Rings when the asker goes away or its time is over.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[async_trait]
impl MetricReader for Engine {
    async fn instant(&self, tenant: &TenantId, query: &str, time: UnixNanos) -> Result<Vec<Sample>, SampleError> {
        let at_ms = time.0.div_euclid(NANOS_PER_MILLI);
        let outcome = self.query(tenant, query, Asked::Instant { at_ms }, None, None).await?;
        let sample = |labels, value| Sample { labels, time, value };
        match outcome.answer {
            Answer::Scalar { value, .. } => Ok(vec![sample(Default::default(), value)]),
            Answer::Vector(points) => {
                let one = |points: Points| {
                    let value = points.points.first().map(|(_, value)| *value)?;
                    Some(sample(points.labels, value))
                };
                Ok(points.into_iter().filter_map(one).collect())
            }
            Answer::Text { .. } | Answer::Matrix(_) => {
                Err(SampleError::BadQuery("rule result is not a vector or scalar".to_owned()))
            }
        }
    }
}
