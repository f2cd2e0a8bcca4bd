//! The way of a job's entries: its pipeline, the limit over all jobs, then every client.
//!
//! ```text
//! source ─▶ Feed ─ pipeline ─ readline_rate ─▶ Outlets ─▶ client (queue) ─▶ …
//!                                                    └─▶ client (queue) ─▶ …
//! ```

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::pipeline::rate::Bucket;
use crate::pipeline::{Context, Entry, Observer, Pipeline, PipelineMetrics};
use crate::types::time::Clock;

/// Batches of entries on their way to a client.
pub type Intake = mpsc::Sender<Arc<Vec<Entry>>>;

/// Where entries that left a pipeline go.
#[derive(Debug, Clone)]
pub struct Outlets(Arc<Vec<Intake>>);

impl Outlets {
    pub fn new(intakes: Vec<Intake>) -> Self {
        Outlets(Arc::new(intakes))
    }

    fn deliver_blocking(&self, batch: Vec<Entry>) {
        let batch = Arc::new(batch);
        for intake in self.0.iter() {
            // A client that is gone takes nothing more; what it would have had stays unacknowledged.
            let _ = intake.blocking_send(batch.clone());
        }
    }

    async fn deliver(&self, batch: Vec<Entry>) {
        let batch = Arc::new(batch);
        for intake in self.0.iter() {
            let _ = intake.send(batch.clone()).await;
        }
    }
}

/// `limits_config.readline_rate`, over all jobs.
#[derive(Debug)]
pub struct ReadLimit {
    pub bucket: Mutex<Bucket>,
    pub drops: bool,
}

/// Makes observers: a dry look at what stages do.
pub type Inspect = Arc<dyn Fn(&str) -> Box<dyn Observer> + Send + Sync>;

/// See the module.
#[derive(Clone)]
pub struct Feed(Arc<Inner>);

struct Inner {
    job: String,
    pipeline: Mutex<Pipeline>,
    outlets: Outlets,
    limit: Option<Arc<ReadLimit>>,
    metrics: PipelineMetrics,
    clock: Clock,
    inspect: Option<Inspect>,
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Feed({})", self.0.job)
    }
}

impl Feed {
    pub fn new(
        job: &str,
        pipeline: Pipeline,
        outlets: Outlets,
        limit: Option<Arc<ReadLimit>>,
        metrics: PipelineMetrics,
        clock: Clock,
        inspect: Option<Inspect>,
    ) -> Self {
        let pipeline = Mutex::new(pipeline);
        Feed(Arc::new(Inner { job: job.to_owned(), pipeline, outlets, limit, metrics, clock, inspect }))
    }

    pub fn job(&self) -> &str {
        &self.0.job
    }

    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// When something that stages hold back is due, Unix nanoseconds.
    pub fn next_due_ns(&self) -> Option<i64> {
        self.0.pipeline.lock().next_due_ns()
    }

    /// Takes entries, and the calling thread's time while clients or limits make it wait.
    pub fn push_blocking(&self, batch: Vec<Entry>) {
        let (batch, wait) = self.run(batch, false);
        if !batch.is_empty() {
            self.0.outlets.deliver_blocking(batch);
        }
        if let Some(wait) = wait {
            std::thread::sleep(wait);
        }
    }

    /// [`Feed::push_blocking`] for tasks.
    pub async fn push(&self, batch: Vec<Entry>) {
        let (batch, wait) = self.run(batch, false);
        if !batch.is_empty() {
            self.0.outlets.deliver(batch).await;
        }
        if let Some(wait) = wait {
            tokio::time::sleep(wait).await;
        }
    }

    /// Lets out everything that stages hold back.
    pub async fn finish(&self) {
        let (batch, _) = self.run(Vec::new(), true);
        if !batch.is_empty() {
            self.0.outlets.deliver(batch).await;
        }
    }

    /// What goes on, and how long to wait before the next.
    fn run(&self, mut batch: Vec<Entry>, finishes: bool) -> (Vec<Entry>, Option<Duration>) {
        let now_ns = self.0.clock.now().0;
        let mut observer = self.0.inspect.as_ref().map(|inspect| inspect(&self.0.job));
        let mut context = match &mut observer {
            Some(observer) => Context::observed(now_ns, &mut **observer),
            None => Context::new(now_ns),
        };
        {
            let mut pipeline = self.0.pipeline.lock();
            if finishes {
                pipeline.finish(&mut batch, &mut context);
            } else {
                pipeline.run(&mut batch, &mut context);
            }
        }
        let mut wait_until_ns = context.wait_until_ns;
        if let Some(limit) = &self.0.limit {
            let mut bucket = limit.bucket.lock();
            if limit.drops {
                let before = batch.len();
                batch.retain(|_| bucket.allow(now_ns));
                let gone = (before - batch.len()) as u64;
                if gone > 0 {
                    self.0.metrics.dropped_lines.with_label_values(&["global_rate_limiter_drop"]).inc_by(gone);
                }
            } else {
                for _ in &batch {
                    wait_until_ns = wait_until_ns.max(bucket.reserve(now_ns));
                }
            }
        }
        let wait = u64::try_from(wait_until_ns.saturating_sub(now_ns)).ok().filter(|nanos| *nanos > 0);
        (batch, wait.map(Duration::from_nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::{LabelSet, Tools};
    use crate::types::time::UnixNanos;

    fn feed(stages: &str, limit: Option<ReadLimit>) -> (Feed, mpsc::Receiver<Arc<Vec<Entry>>>) {
        let clock = Clock::manual(UnixNanos(0));
        let metrics = PipelineMetrics::new(clock.clone());
        let read_file = |_: &str| Err(std::io::Error::other("none"));
        let mut tools = Tools::new("j", &metrics, &read_file, 1);
        let tree = crate::pipeline::yaml::parse(stages).expect("YAML");
        let pipeline = Pipeline::build(&tree, &mut tools).expect("good");
        let (intake, outlet) = mpsc::channel(4);
        (Feed::new("j", pipeline, Outlets::new(vec![intake]), limit.map(Arc::new), metrics, clock, None), outlet)
    }

    fn lines(count: usize) -> Vec<Entry> {
        (0..count).map(|at| Entry::new(LabelSet::default(), 0, at.to_string())).collect()
    }

    #[test]
    fn what_the_pipeline_leaves_goes_to_clients() {
        let (feed, mut outlet) = feed("- drop: {expression: '1'}", None);
        feed.push_blocking(lines(3));
        let got: Vec<String> = outlet.try_recv().expect("there").iter().map(|entry| entry.line.clone()).collect();
        assert_eq!(got, ["0", "2"]);
    }

    #[test]
    fn the_read_limit_drops_or_waits() {
        let limit = |drops| Some(ReadLimit { bucket: Mutex::new(Bucket::new(10.0, 2.0)), drops });
        let (dropping, _outlet) = feed("[]", limit(true));
        assert_eq!(dropping.run(lines(5), false).0.len(), 2);
        assert_eq!(dropping.0.metrics.dropped_lines.with_label_values(&["global_rate_limiter_drop"]).get(), 3);
        let (waiting, _outlet) = feed("[]", limit(false));
        let (batch, wait) = waiting.run(lines(5), false);
        assert_eq!((batch.len(), wait), (5, Some(Duration::from_millis(300))));
    }
}
