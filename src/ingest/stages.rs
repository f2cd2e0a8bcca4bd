//! Stages at ingest: what a tenant's lines go through before limits see them, whatever door they came by.
//!
//! ```text
//! decoder ─▶ Admission ─▶ stages of the topic ─▶ stages of the tenant's limits ─▶ limits ─▶ rows
//! ```
//!
//! A run is a request, or a batch of a partition: what a stage would hold back (`multiline`, `cri`) goes on at its end,
//! because what is acknowledged is durable. What `limit` counts, and what `metrics` counts, is one tenant's and lives on
//! until its stages change.
//!
//! Invariants: lines of two tenants never meet in a pipeline; stages run before anything of a line is stored.
//! Errors: [`StageError`] where stages cannot be built; then nothing of the request is stored.

mod shown;

pub use shown::merged;

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Weak};

use parking_lot::Mutex;
use serde_json::Value as Yaml;

use crate::pipeline::{Context, Entry, Pipeline, PipelineMetrics, StageError, Tools};
use crate::types::ids::TenantId;
use crate::types::time::{Clock, UnixNanos};

/// Tenants whose stages are kept; beyond that, those that sent nothing for longest begin anew with their next line.
const TENANTS_MAX: u64 = 10_000;

/// What is wrong with a `pipeline_stages` list of a server.
pub fn problem(config: &Yaml) -> Option<String> {
    let metrics = PipelineMetrics::new(Clock::system());
    build(config, "", &metrics).err().map(|error| error.to_string())
}

fn build(config: &Yaml, job: &str, metrics: &PipelineMetrics) -> Result<(Pipeline, bool), StageError> {
    static SEED: AtomicU64 = AtomicU64::new(1);
    let seed = SEED.fetch_add(1, Ordering::Relaxed);
    let mut tools = Tools::new(job, metrics, &read_file, seed).at_ingest();
    let pipeline = Pipeline::build(config, &mut tools)?;
    Ok((pipeline, tools.counts))
}

/// Reads a file that stages name. Pipelines that are there at once share one copy: a database of addresses is large.
fn read_file(path: &str) -> io::Result<Arc<[u8]>> {
    static SHARED: LazyLock<Mutex<HashMap<String, Weak<[u8]>>>> = LazyLock::new(Mutex::default);
    let mut shared = SHARED.lock();
    if let Some(bytes) = shared.get(path).and_then(Weak::upgrade) {
        return Ok(bytes);
    }
    let bytes: Arc<[u8]> = std::fs::read(path)?.into();
    shared.retain(|_, bytes| bytes.strong_count() > 0);
    shared.insert(path.to_owned(), Arc::downgrade(&bytes));
    Ok(bytes)
}

/// The stages of all tenants that one place configures: the limits, or an entry of `kafka.topics`.
#[derive(Debug)]
pub struct StagesOf {
    /// The entry of `kafka.topics`; none for those of limits.
    topic: Option<String>,
    tenants: moka::sync::Cache<TenantId, Arc<Stages>>,
    clock: Clock,
}

impl StagesOf {
    pub fn new(topic: Option<String>, clock: Clock) -> Self {
        StagesOf { topic, tenants: moka::sync::Cache::new(TENANTS_MAX), clock }
    }

    /// A tenant's stages, made anew when `config` is no longer what they were made of; none when it has none.
    pub fn of(&self, tenant: &TenantId, config: &Yaml) -> Option<Arc<Stages>> {
        if config.is_null() || config.as_array().is_some_and(Vec::is_empty) {
            return None;
        }
        let make = || Arc::new(Stages::new(self.topic.clone(), tenant.clone(), config.clone(), self.clock.clone()));
        let is_stale = |known: &Arc<Stages>| known.config != *config || known.is_broken();
        Some(self.tenants.entry_by_ref(tenant).or_insert_with_if(make, is_stale).into_value())
    }

    /// The stages of every tenant that sent lines.
    pub fn all(&self) -> Vec<Arc<Stages>> {
        self.tenants.iter().map(|(_, stages)| stages).collect()
    }
}

/// The stages of one tenant.
#[derive(Debug)]
pub struct Stages {
    topic: Option<String>,
    tenant: TenantId,
    config: Yaml,
    metrics: PipelineMetrics,
    pipelines: Pipelines,
}

#[derive(Debug)]
enum Pipelines {
    /// One for each request that runs at once.
    Many(Mutex<Vec<Pipeline>>),
    /// One for all, which counts.
    One(Box<Mutex<Pipeline>>),
    Broken(StageError),
}

impl Stages {
    fn new(topic: Option<String>, tenant: TenantId, config: Yaml, clock: Clock) -> Self {
        let metrics = PipelineMetrics::new(clock);
        let pipelines = match build(&config, topic.as_deref().unwrap_or(""), &metrics) {
            Ok((pipeline, true)) => Pipelines::One(Box::new(Mutex::new(pipeline))),
            Ok((pipeline, false)) => Pipelines::Many(Mutex::new(vec![pipeline])),
            Err(error) => Pipelines::Broken(error),
        };
        Stages { topic, tenant, config, metrics, pipelines }
    }

    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    fn is_broken(&self) -> bool {
        matches!(self.pipelines, Pipelines::Broken(_))
    }

    /// Leaves in `entries` what goes on. CPU-bound.
    ///
    /// # Errors
    /// When the stages cannot be built, as when a file that they name is gone.
    pub fn run(&self, entries: &mut Vec<Entry>, now: UnixNanos) -> Result<(), StageError> {
        let mut context = Context::new(now.0);
        match &self.pipelines {
            Pipelines::One(pipeline) => pipeline.lock().finish(entries, &mut context),
            Pipelines::Many(idle) => {
                let found = idle.lock().pop();
                let mut pipeline = match found {
                    Some(pipeline) => pipeline,
                    None => build(&self.config, self.topic.as_deref().unwrap_or(""), &self.metrics)?.0,
                };
                pipeline.finish(entries, &mut context);
                idle.lock().push(pipeline);
            }
            Pipelines::Broken(error) => return Err(error.clone()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::{LabelSet, Origin, yaml};

    fn entry(service: &str, line: &str) -> Entry {
        Entry::new(LabelSet::from_pairs(Origin::Data, [("service", service)]), 0, line)
    }

    fn run(stages: &Stages, lines: &[&str], now_s: i64) -> Vec<String> {
        let mut entries = lines.iter().map(|line| entry("a", line)).collect();
        stages.run(&mut entries, UnixNanos(now_s * 1_000_000_000)).expect("sound stages");
        entries.into_iter().map(|entry| entry.line).collect()
    }

    fn stages(config: &str) -> (StagesOf, Arc<Stages>) {
        let of = StagesOf::new(None, Clock::manual(UnixNanos(0)));
        let config = yaml::parse(config).expect("YAML");
        assert_eq!(problem(&config), None);
        let stages = of.of(&TenantId::single(), &config).expect("there");
        (of, stages)
    }

    #[test]
    fn what_a_stage_holds_back_goes_on_with_its_request() {
        let (_, stages) = stages("- multiline: {firstline: '^\\S'}");
        assert_eq!(run(&stages, &["a", " b", "c"], 0), ["a\n b", "c"]);
        assert_eq!(run(&stages, &[" d"], 0), [" d"]);
    }

    #[test]
    fn a_tenants_counts_live_on_until_its_stages_change() {
        let (of, stages) = stages("- limit: {rate: 1, burst: 2, drop: true}");
        assert_eq!((run(&stages, &["a"], 0).len(), run(&stages, &["b", "c"], 0).len()), (1, 1));
        let same = of.of(&TenantId::single(), &stages.config).expect("there");
        assert!(Arc::ptr_eq(&stages, &same));
        let other = yaml::parse("- limit: {rate: 1, burst: 3, drop: true}").expect("YAML");
        let changed = of.of(&TenantId::single(), &other).expect("there");
        assert_eq!(run(&changed, &["a", "b", "c", "d"], 0).len(), 3);
        assert!(of.of(&TenantId::single(), &Yaml::Null).is_none());
    }

    #[test]
    fn refused() {
        let check = |config: &str, start: &str| {
            let found = problem(&yaml::parse(config).expect("YAML")).unwrap_or_default();
            assert!(found.starts_with(start), "{found}");
        };
        check("- tenant: {value: a}", "invalid tenant stage config: not at ingest");
        check("- match: {selector: '{a=\"b\"}', stages: [{tenant: {value: a}}]}", "invalid match stage config: ");
        check("- limit: {rate: 1, burst: 1}", "invalid limit stage config: drop must be true at ingest");
        check("- nonsense: {}", "invalid nonsense stage config: Unknown stage type");
        check("json: {}", "pipeline_stages must be a list");
    }
}
