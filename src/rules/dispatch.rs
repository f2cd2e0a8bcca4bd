//! From the flow thread to the groups: what operators recorded is stored first, in the order of time, so that
//! whatever reads it at that time finds it. Where a group begins is on disk before anything of it is recorded: a life
//! that was killed early is gone on from, and leaves no window out.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::flow::{Output, Round};
use crate::rules::group::{GroupRound, GroupWork, Outcome, append};
use crate::rules::manager::{Ruler, Running};
use crate::rules::model::RuleKind;
use crate::rules::record::{named, recorded};
use crate::types::ids::TenantId;
use crate::types::sample::Sample;

/// Works until the flow thread ends.
pub async fn dispatch(ruler: Arc<Ruler>, mut outputs: mpsc::Receiver<Output>) {
    while let Some(output) = outputs.recv().await {
        match output {
            Output::Rounds(rounds) => {
                let mut ready = Vec::with_capacity(rounds.len());
                for round in rounds {
                    let Some((key, running)) = ruler.running(round.group) else { continue };
                    ready.push((record(&ruler, &key.tenant, &running, round).await, running, key));
                }
                for (round, running, key) in ready {
                    let is_aligned = round.is_aligned;
                    if running.work.try_send(GroupWork::Round(round)).is_err() && is_aligned {
                        let group = crate::rules::journal::group_key(&key.namespace, &key.group);
                        let labels = [key.tenant.as_str(), group.as_str()];
                        ruler.surroundings().metrics.missed.with_label_values(&labels).inc();
                        tracing::warn!(tenant = %key.tenant, group, "a rule group is too slow; an evaluation is left out");
                    }
                }
            }
            Output::Began(groups) => {
                for (group, at) in groups {
                    let Some((key, running)) = ruler.running(group) else { continue };
                    let of_group = crate::rules::journal::group_key(&key.namespace, &key.group);
                    ruler.surroundings().states.began(&key.tenant, &of_group, at);
                    if running.work.send(GroupWork::Began(at)).await.is_err() {
                        tracing::debug!(tenant = %key.tenant, "a group that is gone begins");
                    }
                }
                ruler.surroundings().states.write().await;
            }
            Output::Corrected { group, rule, at, changed, gone } => {
                let Some((key, running)) = ruler.running(group) else { continue };
                let RuleKind::Recording { metric } = &running.group.rules[rule].kind else { continue };
                let labels = &running.labels[rule];
                let Ok(mut samples) = recorded(metric, labels, running.group.limit, at, changed) else { continue };
                samples.extend(gone.iter().map(|series| Sample::stale(named(metric, labels, series), at)));
                let metrics = &ruler.surroundings().metrics;
                metrics.corrected.inc_by(samples.len() as u64);
                if running.work.send(GroupWork::Corrected(samples)).await.is_err() {
                    tracing::debug!(tenant = %key.tenant, "a correction of a group that is gone");
                }
            }
            Output::Stale(groups) => ruler.read_again(&groups),
        }
    }
}

/// Stores what operators recorded.
async fn record(ruler: &Ruler, tenant: &TenantId, running: &Running, round: Round) -> GroupRound {
    let looked_at = round.at.saturating_sub(running.group.query_offset.unwrap_or_default().0);
    let mut outcomes = Vec::with_capacity(round.results.len());
    for (number, (result, rule)) in round.results.into_iter().zip(&running.group.rules).enumerate() {
        outcomes.push(match (result, &rule.kind) {
            (None, _) if round.is_aligned => Outcome::Ask,
            (None, _) => Outcome::Skip,
            (Some(Err(error)), RuleKind::Recording { .. }) => Outcome::Recorded(Err(error.to_string())),
            (Some(Ok(samples)), RuleKind::Recording { metric }) => {
                let samples = recorded(metric, &running.labels[number], running.group.limit, looked_at, samples);
                Outcome::Recorded(match samples {
                    Ok(samples) => {
                        let series = samples.iter().map(|sample| sample.labels.clone()).collect();
                        ruler.surroundings().metrics.recorded.inc_by(samples.len() as u64);
                        append(&ruler.surroundings().sink, tenant, samples).await.map(|()| series)
                    }
                    Err(error) => Err(error),
                })
            }
            (Some(result), RuleKind::Alerting { .. }) => Outcome::Samples(result.map_err(|error| error.to_string())),
        });
    }
    GroupRound { at: round.at, is_aligned: round.is_aligned, outcomes, seconds: round.seconds }
}
