//! `limit`: so many lines a second.
//!
//! ```yaml
//! - limit:
//!     rate: 10                     # lines a second
//!     burst: 20                    # lines at once
//!     drop: true                   # else the sources of the pipeline wait
//!     by_label_name: namespace     # a limit for each value of the label; only with drop
//!     max_distinct_labels: 10000   # values remembered; fewer than this are raised to it
//! ```

use hashbrown::HashMap;
use prometheus::IntCounterVec;
use serde_json::Value as Yaml;

use super::done;
use crate::pipeline::body::{Body, Typing};
use crate::pipeline::entry::Text;
use crate::pipeline::error::StageError;
use crate::pipeline::rate::Bucket;
use crate::pipeline::{Context, Entry, Place, Stage, Tools};

/// Values of a label remembered at least: about 1 MiB of buckets.
const DISTINCT_LABELS_MIN: usize = 10_000;
const REASON: &str = "ratelimit_drop_stage";

enum Limit {
    Waiting(Bucket),
    Dropping(Bucket),
    ByLabel { name: String, fresh: Bucket, most: usize, young: HashMap<Text, Bucket>, old: HashMap<Text, Bucket> },
}

struct LimitStage {
    limit: Limit,
    dropped: IntCounterVec,
    dropped_by_label: IntCounterVec,
}

pub(super) fn build(config: &Yaml, tools: &mut Tools<'_>) -> Result<Box<dyn Stage>, StageError> {
    let mut body = Body::new(config, Typing::Weak);
    let rate = body.number("rate").unwrap_or(0.0);
    let burst = body.number("burst").unwrap_or(0.0).trunc();
    let drops = body.flag("drop").unwrap_or(false);
    let by_label = body.text("by_label_name").filter(|name| !name.is_empty());
    let most = body.number("max_distinct_labels").unwrap_or(0.0) as usize;
    done("limit", body, tools)?;
    if rate <= 0.0 || burst <= 0.0 {
        return Err(StageError::new("limit stage failed to parse rate or burst"));
    }
    if !drops && tools.place == Place::Ingest {
        return Err(StageError::new(
            "drop must be true at ingest: a server does not make senders wait; limits_config.ingestion_rate_mb refuses what comes too fast",
        ));
    }
    tools.counts = true;
    let fresh = Bucket::new(rate, burst);
    let limit = match (by_label, drops) {
        (Some(_), false) => return Err(StageError::new("When ratelimiting by label, drop must be true")),
        (Some(name), true) => Limit::ByLabel {
            name,
            fresh,
            most: most.max(DISTINCT_LABELS_MIN),
            young: HashMap::new(),
            old: HashMap::new(),
        },
        (None, true) => Limit::Dropping(fresh),
        (None, false) => Limit::Waiting(fresh),
    };
    Ok(Box::new(LimitStage {
        limit,
        dropped: tools.metrics.dropped_lines.clone(),
        dropped_by_label: tools.metrics.dropped_by_label.clone(),
    }))
}

impl Stage for LimitStage {
    fn name(&self) -> &'static str {
        "limit"
    }

    fn run(&mut self, batch: &mut Vec<Entry>, context: &mut Context<'_>) {
        let before = batch.len();
        match &mut self.limit {
            Limit::Waiting(bucket) => {
                for _ in batch.iter() {
                    let at = bucket.reserve(context.now_ns);
                    context.wait_until_ns = context.wait_until_ns.max(at);
                }
            }
            Limit::Dropping(bucket) => batch.retain(|_| bucket.allow(context.now_ns)),
            Limit::ByLabel { name, fresh, most, young, old } => batch.retain(|entry| {
                let Some(value) = entry.labels.get(name) else { return true };
                if !young.contains_key(value) {
                    if young.len() >= *most {
                        *old = std::mem::take(young);
                        self.dropped_by_label.reset();
                    }
                    young.insert(value.clone(), old.remove(value).unwrap_or_else(|| fresh.clone()));
                }
                let allowed = young.get_mut(value).is_none_or(|bucket| bucket.allow(context.now_ns));
                if !allowed {
                    self.dropped_by_label.with_label_values(&[name.as_str(), &**value]).inc();
                }
                allowed
            }),
        }
        let gone = (before - batch.len()) as u64;
        if gone > 0 {
            self.dropped.with_label_values(&[REASON]).inc_by(gone);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::testing::{build, build_with, check_error, entry, metrics};

    fn kept(stages: &str, labels: &[&str], at_s: &[f64]) -> Vec<usize> {
        let mut pipeline = build(stages);
        let mut kept = Vec::new();
        for at in at_s {
            let mut batch = labels.iter().map(|value| entry(&[("ns", value)], "x")).collect();
            pipeline.run(&mut batch, &mut Context::new((at * 1e9) as i64));
            kept.push(batch.len());
        }
        kept
    }

    #[test]
    fn buckets() {
        assert_eq!(kept("- limit: {rate: 1, burst: 2, drop: true}", &["a"; 3], &[0.0, 0.5, 1.0, 10.0]), [2, 0, 1, 2]);
        let by_label = "- limit: {rate: 1, burst: 1, drop: true, by_label_name: ns}";
        assert_eq!(kept(by_label, &["a", "a", "b"], &[0.0, 1.0]), [2, 2]);
        assert_eq!(kept("- limit: {rate: 1, burst: 1, drop: true, by_label_name: none}", &["a"; 3], &[0.0]), [3]);
    }

    #[test]
    fn without_drop_the_source_waits() {
        let mut pipeline = build("- limit: {rate: 10, burst: 1}");
        let mut batch = vec![entry(&[], "a"), entry(&[], "b"), entry(&[], "c")];
        let mut context = Context::new(0);
        pipeline.run(&mut batch, &mut context);
        assert_eq!((batch.len(), context.wait_until_ns), (3, 200_000_000));
    }

    #[test]
    fn drops_are_counted() {
        let metrics = metrics();
        let (mut pipeline, _) =
            build_with("- limit: {rate: 1, burst: 1, drop: true, by_label_name: ns}", &metrics).expect("good");
        pipeline.run(&mut vec![entry(&[("ns", "a")], "x"), entry(&[("ns", "a")], "y")], &mut Context::new(0));
        assert_eq!(metrics.dropped_lines.with_label_values(&[REASON]).get(), 1);
        assert_eq!(metrics.dropped_by_label.with_label_values(&["ns", "a"]).get(), 1);
    }

    #[test]
    fn refused() {
        check_error("- limit: {rate: 1}", "invalid limit stage config: limit stage failed to parse rate or burst");
        check_error(
            "- limit: {rate: 1, burst: 1, by_label_name: a}",
            "invalid limit stage config: When ratelimiting by label, drop must be true",
        );
    }
}
