//! Sources that are no files: each a task that makes entries of what comes.

mod docker;
mod docker_stream;
mod journal;
#[cfg(feature = "kafka")]
mod kafka;
mod push;
pub(super) mod stdin;
mod syslog;
mod syslog_message;

use std::collections::BTreeMap;
use std::io;

use tokio_util::sync::CancellationToken;

use super::config::ScrapeConfig;
use super::feed::Feed;
use super::metrics::AgentMetrics;
use super::positions::Positions;
use super::relabel::{LabelMap, Relabel, compile, relabel, visible};
use super::targets::Targets;
use crate::pipeline::{LabelSet, Origin, Text};
use crate::tasks::Tasks;

/// Why a source cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("{job}: cannot listen on {address}: {source}")]
    Listen { job: String, address: String, source: io::Error },
    #[error("{job}: {words}")]
    Config { job: String, words: String },
}

/// What sources have around them.
#[derive(Clone)]
pub(super) struct Around {
    pub(super) feed: Feed,
    pub(super) positions: Positions,
    pub(super) metrics: AgentMetrics,
    pub(super) targets: Targets,
    pub(super) stop: CancellationToken,
}

/// Labels that a source gives all its lines, and the rules over them.
#[derive(Debug, Clone)]
struct Labelling {
    own: BTreeMap<String, String>,
    rules: Vec<Relabel>,
}

impl Labelling {
    /// The labels of a line about which this is known; `None` when rules drop it.
    fn of(&self, discovered: impl IntoIterator<Item = (String, String)>) -> Option<LabelSet> {
        let mut labels: LabelMap = self.own.clone();
        labels.extend(discovered);
        let labels = visible(&relabel(labels, &self.rules)?);
        let pairs = labels.into_iter().map(|(name, value)| (Text::from(name), Text::from(value)));
        Some(LabelSet::from_pairs(Origin::Operator, pairs))
    }
}

/// Starts the sources of a job.
pub(super) async fn start(job: &ScrapeConfig, around: &Around, tasks: &Tasks) -> Result<(), SourceError> {
    let wrong = |words: String| SourceError::Config { job: job.job_name.clone(), words };
    let rules = compile(&job.relabel_configs).map_err(wrong)?;
    let labelling = |own: &BTreeMap<String, String>| Labelling { own: own.clone(), rules: rules.clone() };
    if let Some(config) = &job.syslog {
        syslog::start(config, labelling(&config.labels), around, tasks).await?;
    }
    if let Some(config) = &job.loki_push_api {
        push::start(config, labelling(&config.labels), around, tasks).await?;
    }
    if let Some(config) = &job.journal {
        journal::start(config, labelling(&config.labels), around, tasks);
    }
    for config in &job.docker_sd_configs {
        docker::start(config, labelling(&BTreeMap::new()), around, tasks)?;
    }
    if let Some(config) = &job.kafka {
        #[cfg(feature = "kafka")]
        kafka::start(config, labelling(&config.labels), around, tasks)?;
        #[cfg(not(feature = "kafka"))]
        return Err(wrong(format!("this build has no Kafka; topics {} are not read", config.topics.join(", "))));
    }
    Ok(())
}
