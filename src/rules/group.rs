//! One group at work: what its rules' samples become, in order.
//!
//! ```text
//! GroupRound ─▶ each rule: asked if need be ─▶ recorded │ alerts judged
//!            ─▶ states written when an alert changed ─▶ Alertmanager ─▶ view
//! ```
//!
//! Invariant: an alert's state is on disk before it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::flow::Samples;
use crate::rules::alerts::{Alerts, Holds, Rendered};
use crate::rules::ask::Asker;
use crate::rules::journal::{GroupState, RuleState, group_key, rule_key};
use crate::rules::model::{Rule, RuleGroup, RuleKind};
use crate::rules::notify::{Notification, Notifier};
use crate::rules::record::{alert_samples, ended, recorded};
use crate::rules::render::{AlertSurroundings, AlertTemplates, grafana_link};
use crate::rules::states::States;
use crate::rules::view::{GroupView, Health, Mode, RuleView};
use crate::telemetry::rules::RuleMetrics;
use crate::types::ids::TenantId;
use crate::types::labels::Labels;
use crate::types::sample::{Sample, SampleError, SampleSink};
use crate::types::time::{Clock, UnixNanos};

/// How long a full store of samples is waited for.
const SINK_PAUSE: std::time::Duration = std::time::Duration::from_millis(200);
const SINK_TRIES_MAX: usize = 50;

/// What all groups work with. Cheap to clone.
#[derive(Clone)]
pub struct Surroundings {
    pub asker: Asker,
    pub sink: Arc<dyn SampleSink>,
    pub states: Arc<States>,
    pub notifier: Arc<Notifier>,
    pub metrics: RuleMetrics,
    pub clock: Clock,
    pub external_labels: BTreeMap<String, String>,
    pub external_url: String,
    pub datasource_uid: String,
    pub resend_ns: i64,
}

impl std::fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surroundings").finish_non_exhaustive()
    }
}

/// What is known of a rule at one evaluation.
#[derive(Debug)]
pub enum Outcome {
    /// Its operator gave samples, which are recorded already: these series.
    Recorded(Result<Vec<Labels>, String>),
    /// Its operator gave samples.
    Samples(Result<Samples, String>),
    /// It is to be asked.
    Ask,
    /// Nothing of it is due.
    Skip,
}

/// One evaluation of a group.
#[derive(Debug)]
pub struct GroupRound {
    pub at: UnixNanos,
    pub is_aligned: bool,
    pub outcomes: Vec<Outcome>,
    pub seconds: Vec<f64>,
}

/// What a group is given to do, in this order: what a round says of a series that ended must not come behind its
/// correction.
#[derive(Debug)]
pub enum GroupWork {
    /// It has no former life and begins after this interval.
    Began(UnixNanos),
    Round(GroupRound),
    /// Samples that replace those of earlier rounds, which late rows changed.
    Corrected(Vec<Sample>),
}

/// A group at work.
#[derive(Debug)]
pub struct GroupTask {
    tenant: TenantId,
    key: String,
    group: Arc<RuleGroup>,
    interval_ns: i64,
    surroundings: Surroundings,
    rules: Vec<RuleTask>,
    view: Arc<Mutex<GroupView>>,
    evaluated: Option<UnixNanos>,
}

#[derive(Debug)]
struct RuleTask {
    key: String,
    labels: BTreeMap<String, String>,
    templates: Option<AlertTemplates>,
    link: String,
    alerts: Alerts,
    /// Recorded at the last evaluation.
    series: BTreeSet<Labels>,
    /// `ALERTS` of the last evaluation.
    alert_series: BTreeSet<Labels>,
}

impl GroupTask {
    /// Goes on from the state of a former life, if there is one.
    pub fn new(
        tenant: TenantId,
        namespace: &str,
        group: Arc<RuleGroup>,
        interval_ns: i64,
        modes: Vec<Mode>,
        surroundings: Surroundings,
    ) -> Self {
        let key = group_key(namespace, &group.name);
        let former = surroundings.states.get(&tenant, &key);
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        let rules = group.rules.iter().map(|rule| {
            let occurrence = seen.entry(rule.name()).or_default();
            let of_rule = rule_key(rule.name(), *occurrence);
            *occurrence += 1;
            let state = former.rules.get(&of_rule).cloned().unwrap_or_default();
            RuleTask::new(of_rule, rule, &group, state, &surroundings)
        });
        let rules: Vec<RuleTask> = rules.collect();
        let views = modes.into_iter().zip(&rules).map(|(mode, rule)| {
            let mut view = RuleView::new(mode);
            view.state = rule.alerts.state();
            view.alerts = rule.alerts.active().cloned().collect();
            view
        });
        let view = GroupView { rules: views.collect(), ..GroupView::default() };
        GroupTask {
            evaluated: former.evaluated_ns.map(UnixNanos),
            tenant,
            key,
            group,
            interval_ns,
            surroundings,
            rules,
            view: Arc::new(Mutex::new(view)),
        }
    }

    /// Its last evaluation at an interval.
    pub fn evaluated(&self) -> Option<UnixNanos> {
        self.evaluated
    }

    /// How many rules it has.
    pub fn rules(&self) -> usize {
        self.rules.len()
    }

    /// What is shown of it.
    pub fn view(&self) -> Arc<Mutex<GroupView>> {
        self.view.clone()
    }

    /// Works until no more comes, or the group is `gone`: what a group installed in its place makes again must not
    /// be followed by the end of a series that this one has not told yet.
    pub async fn run(mut self, mut work: tokio::sync::mpsc::Receiver<GroupWork>, gone: CancellationToken) {
        while let Some(next) = work.recv().await {
            if gone.is_cancelled() {
                return;
            }
            match next {
                GroupWork::Began(at) => {
                    self.evaluated.get_or_insert(at);
                }
                GroupWork::Corrected(samples) => {
                    if let Err(error) = append(&self.surroundings.sink, &self.tenant, samples).await {
                        tracing::error!(error, tenant = %self.tenant, "corrections could not be stored");
                    }
                }
                // An evaluation of a former life: judged already.
                GroupWork::Round(round) if self.evaluated.is_some_and(|evaluated| round.at <= evaluated) => {}
                GroupWork::Round(round) => self.evaluate(round).await,
            }
        }
    }

    /// Makes one evaluation.
    pub async fn evaluate(&mut self, round: GroupRound) {
        let started = self.surroundings.clock.now();
        let GroupRound { at, is_aligned, outcomes, seconds } = round;
        let mut alerts_changed = false;
        for (number, (outcome, seconds)) in outcomes.into_iter().zip(seconds).enumerate() {
            if matches!(outcome, Outcome::Skip) || (matches!(outcome, Outcome::Ask) && !is_aligned) {
                continue;
            }
            let began = self.surroundings.clock.now();
            let judged = self.rule(number, at, is_aligned, outcome).await;
            let now = self.surroundings.clock.now();
            self.count(judged.is_err());
            let mut view = self.view.lock();
            let shown = &mut view.rules[number];
            shown.last_evaluation = Some(now);
            shown.evaluation_seconds = seconds + (now.0 - began.0) as f64 / 1e9;
            match judged {
                Ok(changed) => {
                    alerts_changed |= changed;
                    shown.health = Health::Good;
                    shown.last_error.clear();
                }
                Err(error) => {
                    tracing::warn!(tenant = %self.tenant, group = self.key, rule = self.group.rules[number].name(), error, "a rule could not be evaluated");
                    shown.health = Health::Bad;
                    shown.last_error = error;
                }
            }
            shown.state = self.rules[number].alerts.state();
            shown.alerts = self.rules[number].alerts.active().cloned().collect();
        }
        if is_aligned {
            self.evaluated = Some(at);
        }
        self.tell(is_aligned || alerts_changed, alerts_changed).await;
        if is_aligned {
            self.shown_whole(started);
        }
    }

    /// Answers whether an alert changed its state.
    async fn rule(&mut self, number: usize, at: UnixNanos, is_aligned: bool, outcome: Outcome) -> Result<bool, String> {
        let looked_at = at.saturating_sub(self.group.query_offset.unwrap_or_default().0);
        let group = self.group.clone();
        let rule = &group.rules[number];
        let samples = match outcome {
            Outcome::Recorded(series) => {
                let series: BTreeSet<Labels> = series?.into_iter().collect();
                return self.record_end(number, series, looked_at).await.map(|()| false);
            }
            Outcome::Samples(samples) => samples?,
            Outcome::Ask => self.surroundings.asker.ask(&self.tenant, &rule.expr, looked_at).await?,
            Outcome::Skip => return Ok(false),
        };
        match &rule.kind {
            RuleKind::Recording { metric } => {
                let samples = recorded(metric, &self.rules[number].labels, group.limit, looked_at, samples)?;
                let series = samples.iter().map(|sample| sample.labels.clone()).collect();
                self.surroundings.metrics.recorded.inc_by(samples.len() as u64);
                append(&self.surroundings.sink, &self.tenant, samples).await?;
                self.record_end(number, series, looked_at).await?;
                Ok(false)
            }
            RuleKind::Alerting { hold, keep_firing, .. } => {
                let holds = Holds { hold_ns: hold.0, keep_firing_ns: keep_firing.0 };
                self.alert(number, at, is_aligned, samples, holds).await
            }
        }
    }

    async fn record_end(&mut self, number: usize, now: BTreeSet<Labels>, at: UnixNanos) -> Result<(), String> {
        let ended = ended(&mut self.rules[number].series, now, at);
        append(&self.surroundings.sink, &self.tenant, ended).await
    }

    async fn alert(
        &mut self,
        number: usize,
        at: UnixNanos,
        is_aligned: bool,
        samples: Samples,
        holds: Holds,
    ) -> Result<bool, String> {
        let limit = self.group.limit;
        let rule = &mut self.rules[number];
        if limit > 0 && samples.len() > limit {
            rule.alerts.clear();
            return Err(format!("exceeded limit of {limit} with {} alerts", samples.len()));
        }
        let rendered = rule.render(samples, at, &self.tenant, &self.group.rules[number], &self.surroundings);
        let changed = rule.alerts.judge(at, is_aligned, rendered, holds).map_err(str::to_owned)?;
        if is_aligned || changed {
            let mut samples = alert_samples(rule.alerts.iter(), at);
            let now = samples.iter().map(|sample| sample.labels.clone()).collect();
            samples.extend(ended(&mut rule.alert_series, now, at));
            append(&self.surroundings.sink, &self.tenant, samples).await?;
        }
        Ok(changed)
    }

    /// Writes the state and then tells the Alertmanagers.
    async fn tell(&mut self, is_new: bool, at_once: bool) {
        let now = self.surroundings.clock.now();
        let delta = self.interval_ns.max(self.surroundings.resend_ns);
        let until = now.saturating_add(delta.saturating_mul(4));
        let external = Labels::from_pairs(self.surroundings.external_labels.clone());
        let mut due = Vec::new();
        for rule in &mut self.rules {
            let alerts = rule.alerts.take_due(now, self.surroundings.resend_ns);
            let told = alerts.iter().map(|alert| Notification::new(&self.tenant, alert, &external, &rule.link, until));
            due.extend(told);
        }
        if is_new || !due.is_empty() {
            self.surroundings.states.put(&self.tenant, &self.key, self.state());
        }
        if at_once {
            self.surroundings.states.write().await;
        }
        self.surroundings.notifier.send(&due);
    }

    fn state(&self) -> GroupState {
        let rules = self.rules.iter().map(|rule| {
            let state = RuleState {
                alerts: rule.alerts.iter().map(Into::into).collect(),
                series: rule.series.iter().map(Labels::to_json).collect(),
            };
            (rule.key.clone(), state)
        });
        GroupState { evaluated_ns: self.evaluated.map(|at| at.0), rules: rules.collect() }
    }

    fn count(&self, failed: bool) {
        let labels = [self.tenant.as_str(), self.key.as_str()];
        self.surroundings.metrics.evaluations.with_label_values(&labels).inc();
        if failed {
            self.surroundings.metrics.failures.with_label_values(&labels).inc();
        }
    }

    fn shown_whole(&self, started: UnixNanos) {
        let now = self.surroundings.clock.now();
        let mut view = self.view.lock();
        view.last_evaluation = Some(now);
        view.evaluation_seconds = view.rules.iter().map(|rule| rule.evaluation_seconds).sum();
        let seconds = view.evaluation_seconds;
        drop(view);
        let (labels, metrics) = ([self.tenant.as_str(), self.key.as_str()], &self.surroundings.metrics);
        metrics.iterations.with_label_values(&labels).inc();
        metrics.last_evaluation.with_label_values(&labels).set(started.0 as f64 / 1e9);
        metrics.last_duration.with_label_values(&labels).set(seconds);
        metrics.duration.observe(seconds);
    }
}

impl RuleTask {
    fn new(key: String, rule: &Rule, group: &RuleGroup, state: RuleState, surroundings: &Surroundings) -> Self {
        let labels = rule.all_labels(group);
        let templates = match &rule.kind {
            RuleKind::Recording { .. } => None,
            RuleKind::Alerting { alert, annotations, .. } => Some(AlertTemplates::new(alert, &labels, annotations)),
        };
        let series = state.series.iter().filter_map(|json| Labels::from_json(json).ok());
        let alerts = Alerts::restored(state.alerts.into_iter().map(Into::into));
        let at = UnixNanos(0);
        RuleTask {
            key,
            labels,
            templates,
            link: grafana_link(&surroundings.external_url, &surroundings.datasource_uid, &rule.text),
            series: series.collect(),
            alert_series: alert_samples(alerts.iter(), at).into_iter().map(|sample| sample.labels).collect(),
            alerts,
        }
    }

    fn render(
        &self,
        samples: Samples,
        at: UnixNanos,
        tenant: &TenantId,
        rule: &Rule,
        surroundings: &Surroundings,
    ) -> Vec<Rendered> {
        let Some(templates) = &self.templates else { return Vec::new() };
        let about = AlertSurroundings {
            external_labels: surroundings.external_labels.clone(),
            external_url: surroundings.external_url.clone(),
            link: self.link.clone(),
        };
        let queries = surroundings.asker.blocking(tenant, &rule.expr, at, tokio::runtime::Handle::current());
        samples.into_iter().map(|(labels, value)| templates.render(&labels, value, at, &about, &queries)).collect()
    }
}

/// Appends, waiting for room.
pub async fn append(sink: &Arc<dyn SampleSink>, tenant: &TenantId, samples: Vec<Sample>) -> Result<(), String> {
    if samples.is_empty() {
        return Ok(());
    }
    for _ in 0..SINK_TRIES_MAX {
        match sink.append(tenant, samples.clone()) {
            Ok(()) => return Ok(()),
            Err(SampleError::Full(_)) => tokio::time::sleep(SINK_PAUSE).await,
            Err(error) => return Err(error.to_string()),
        }
    }
    Err("derived metrics take no more: the samples of this evaluation are lost".to_owned())
}
