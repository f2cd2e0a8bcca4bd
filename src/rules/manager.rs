//! All groups of all tenants: loaded, installed on the flow thread, changed while the server runs.
//!
//! ```text
//! files ─ poll, API ─▶ Ruler::reload ─ differences ─▶ Order::Install, Remove ─▶ flow thread
//!                                   └▶ past rows of new groups ─ snapshot + mark ─▶ Order::Hydrated
//! flow thread ─ Output ─▶ dispatch: recorded at once, then to the group's task
//! ```
//!
//! A file that is not good keeps the groups of its last good form. A group that changes keeps its alerts and goes on
//! where it was.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::flow::{Feed, FlowError, FlowGroup, FlowRule, FlowStatus, GroupId, Order, RuleOperator, Timing, compile};
use crate::query::Engine;
use crate::rules::directory::{BadFile, Namespaces, RuleDirectories, StoreError};
use crate::rules::expr::RuleExpr;
use crate::rules::group::{GroupTask, GroupWork, Surroundings};
use crate::rules::hydrate::{Past, hydrate};
use crate::rules::journal::group_key;
use crate::rules::model::RuleGroup;
use crate::rules::settings::{FlowConfig, RulerConfig};
use crate::rules::view::{GroupView, Mode};
use crate::rules::views::{ContinuousView, VIEWS_NAMESPACE};
use crate::streams::Streams;
use crate::types::ids::TenantId;
use crate::types::labels::Labels;
use crate::types::sample::Sample;
use crate::types::time::{Clock, NANOS_PER_MILLI, UnixNanos};

/// Rounds that may wait for a slow group; more are left out and counted.
const ROUNDS_MAX: usize = 256;
/// How long the rows of the past of one aggregation may take to read.
const PAST_TIMEOUT: Duration = Duration::from_secs(600);
/// How often states are written that no alert waits for.
const WRITE_PAUSE: Duration = Duration::from_secs(5);

/// Everything rules work with.
#[derive(Debug, Clone)]
pub struct RulerParts {
    pub directories: RuleDirectories,
    pub config: RulerConfig,
    pub flow: FlowConfig,
    pub feed: Arc<Feed>,
    pub status: Arc<FlowStatus>,
    pub engine: Engine,
    pub streams: Arc<Streams>,
    pub clock: Clock,
    pub surroundings: Surroundings,
    pub views: Vec<(TenantId, Arc<ContinuousView>)>,
}

/// The ruler. Share it behind an `Arc`.
#[derive(Debug)]
pub struct Ruler {
    parts: RulerParts,
    groups: Mutex<Groups>,
    /// Groups of continuous views: they are there whatever the files say.
    views: Vec<(TenantId, Arc<RuleGroup>)>,
    /// Held while files are read and groups exchanged.
    reloading: tokio::sync::Mutex<Loaded>,
    /// Rung by the API when files changed.
    changed: tokio::sync::Notify,
    tasks: TaskTracker,
}

#[derive(Debug, Default)]
struct Groups {
    running: BTreeMap<GroupKey, Running>,
    by_id: HashMap<GroupId, GroupKey>,
    next: u64,
}

#[derive(Debug, Default)]
struct Loaded {
    bad: Vec<BadFile>,
    /// The good form of every namespace, for files that are bad now.
    good: BTreeMap<TenantId, Namespaces>,
}

/// Tenant, namespace, group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupKey {
    pub tenant: TenantId,
    pub namespace: String,
    pub group: String,
}

/// A group at work, as others see it.
#[derive(Debug, Clone)]
pub(super) struct Running {
    pub(super) id: GroupId,
    pub(super) group: Arc<RuleGroup>,
    pub(super) interval_ns: i64,
    pub(super) labels: Vec<BTreeMap<String, String>>,
    pub(super) view: Arc<Mutex<GroupView>>,
    pub(super) work: mpsc::Sender<GroupWork>,
    /// Rung when the group is removed: what waits is another's to make again.
    pub(super) gone: CancellationToken,
}

/// A group for the API.
#[derive(Debug, Clone)]
pub struct ShownGroup {
    pub key: GroupKey,
    pub group: Arc<RuleGroup>,
    pub interval_ns: i64,
    pub view: GroupView,
    pub flow: Option<crate::flow::GroupStatus>,
}

impl Ruler {
    pub fn new(parts: RulerParts) -> Self {
        let views = parts.views.iter().map(|(tenant, view)| (tenant.clone(), Arc::new(view.group.clone())));
        Ruler {
            views: views.collect(),
            parts,
            groups: Mutex::default(),
            reloading: tokio::sync::Mutex::default(),
            changed: tokio::sync::Notify::new(),
            tasks: TaskTracker::new(),
        }
    }

    pub fn directories(&self) -> &RuleDirectories {
        &self.parts.directories
    }

    pub fn config(&self) -> &RulerConfig {
        &self.parts.config
    }

    pub(super) fn surroundings(&self) -> &Surroundings {
        &self.parts.surroundings
    }

    /// The groups of a tenant, by namespace and then as in their file.
    pub fn shown(&self, tenant: &TenantId) -> Vec<ShownGroup> {
        let statuses = self.parts.status.groups.lock().clone();
        let groups = self.groups.lock();
        let of_tenant = groups.running.iter().filter(|(key, _)| key.tenant == *tenant);
        let mut shown: Vec<(GroupId, ShownGroup)> = of_tenant
            .map(|(key, running)| {
                let group = ShownGroup {
                    key: key.clone(),
                    group: running.group.clone(),
                    interval_ns: running.interval_ns,
                    view: running.view.lock().clone(),
                    flow: statuses.get(&running.id).cloned(),
                };
                (running.id, group)
            })
            .collect();
        shown.sort_by(|(a, left), (b, right)| (&left.key.namespace, a).cmp(&(&right.key.namespace, b)));
        shown.into_iter().map(|(_, group)| group).collect()
    }

    /// Every group, for metrics.
    pub fn all_groups(&self) -> Vec<(GroupKey, GroupId, Arc<RuleGroup>, i64)> {
        let groups = self.groups.lock();
        let all = groups.running.iter();
        all.map(|(key, running)| (key.clone(), running.id, running.group.clone(), running.interval_ns)).collect()
    }

    pub(super) fn running(&self, id: GroupId) -> Option<(GroupKey, Running)> {
        let groups = self.groups.lock();
        let key = groups.by_id.get(&id)?;
        Some((key.clone(), groups.running.get(key)?.clone()))
    }

    /// Reads the files now, and exchanges what differs.
    pub async fn reload(self: &Arc<Self>) {
        let mut loaded = self.reloading.lock().await;
        let directories = self.parts.directories.clone();
        let Ok(mut found) = tokio::task::spawn_blocking(move || directories.load()).await else { return };
        for bad in &found.bad {
            if !loaded.bad.contains(bad) {
                tracing::error!(path = %bad.path.display(), problems = bad.words, "a rule file is not good; its last good rules stay");
            }
            let Some((tenant, namespace)) = &bad.whose else { continue };
            if let Some(file) = loaded.good.get(tenant).and_then(|files| files.get(namespace)) {
                found.tenants.entry(tenant.clone()).or_default().insert(namespace.clone(), file.clone());
            }
        }
        self.parts.surroundings.metrics.files_good.set(i64::from(found.bad.is_empty()));
        loaded.bad = found.bad;
        self.exchange(&found.tenants);
        loaded.good = found.tenants;
    }

    /// Files changed: they are read soon.
    pub fn files_changed(&self) {
        self.changed.notify_one();
    }

    /// Reads files again and again, and writes states, until `stop`.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let mut poll = tokio::time::interval(self.parts.config.poll_interval.to_std());
        poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut write = tokio::time::interval(WRITE_PAUSE);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.changed.notified() => self.reload().await,
                _ = poll.tick() => self.reload().await,
                _ = write.tick() => self.parts.surroundings.states.write().await,
            }
        }
        self.parts.surroundings.states.write().await;
    }

    /// What the API changes in our own files.
    ///
    /// # Errors
    /// As [`RuleDirectories`]; the change is at work when this returns.
    pub async fn change(
        self: &Arc<Self>,
        change: impl FnOnce(&RuleDirectories) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<(), StoreError> {
        let directories = self.parts.directories.clone();
        let changed = tokio::task::spawn_blocking(move || change(&directories)).await;
        changed.unwrap_or_else(|stopped| {
            Err(StoreError::Write { path: std::path::PathBuf::new(), source: std::io::Error::other(stopped) })
        })?;
        self.reload().await;
        Ok(())
    }

    /// Lets the groups make what they have been given, and writes their states.
    pub async fn end(&self, patience: Duration) {
        self.groups.lock().running.clear();
        self.tasks.close();
        if tokio::time::timeout(patience, self.tasks.wait()).await.is_err() {
            tracing::warn!("rule groups were still evaluating");
        }
        self.parts.surroundings.states.write().await;
    }

    fn exchange(self: &Arc<Self>, tenants: &BTreeMap<TenantId, Namespaces>) {
        let mut wanted: Vec<(GroupKey, Arc<RuleGroup>)> = Vec::new();
        for (tenant, namespaces) in tenants {
            for (namespace, file) in namespaces {
                for group in &file.groups {
                    let key =
                        GroupKey { tenant: tenant.clone(), namespace: namespace.clone(), group: group.name.clone() };
                    wanted.push((key, group.clone()));
                }
            }
        }
        for (tenant, group) in &self.views {
            let (namespace, name) = (VIEWS_NAMESPACE.to_owned(), group.name.clone());
            wanted.push((GroupKey { tenant: tenant.clone(), namespace, group: name }, group.clone()));
        }
        let keys: HashSet<&TenantId> = wanted.iter().map(|(key, _)| &key.tenant).collect();
        self.parts.feed.want(keys.into_iter().cloned().collect());
        let mut groups = self.groups.lock();
        let gone: Vec<GroupKey> =
            groups.running.keys().filter(|key| !wanted.iter().any(|(other, _)| other == *key)).cloned().collect();
        for key in gone {
            groups.remove(&key, &self.parts.feed);
            self.end_series(&key);
            self.parts.surroundings.states.forget(&key.tenant, &group_key(&key.namespace, &key.group));
            tracing::info!(tenant = %key.tenant, namespace = key.namespace, group = key.group, "rule group removed");
        }
        let mut pasts: BTreeMap<TenantId, Vec<Past>> = BTreeMap::new();
        for (key, group) in wanted {
            if groups.running.get(&key).is_some_and(|running| same_rules(&running.group, &group)) {
                continue;
            }
            groups.remove(&key, &self.parts.feed);
            let past = self.install(&mut groups, &key, group);
            pasts.entry(key.tenant).or_default().push(past);
        }
        drop(groups);
        for (tenant, pasts) in pasts {
            self.read_past(tenant, pasts);
        }
    }

    /// What a group recorded has no value any more.
    fn end_series(&self, key: &GroupKey) {
        let surroundings = &self.parts.surroundings;
        let state = surroundings.states.get(&key.tenant, &group_key(&key.namespace, &key.group));
        let at = UnixNanos(self.parts.clock.now().0 / NANOS_PER_MILLI * NANOS_PER_MILLI);
        let series = state.rules.values().flat_map(|rule| &rule.series);
        let ended: Vec<Sample> =
            series.filter_map(|json| Labels::from_json(json).ok()).map(|labels| Sample::stale(labels, at)).collect();
        if !ended.is_empty()
            && let Err(error) = surroundings.sink.append(&key.tenant, ended)
        {
            tracing::warn!(%error, "series of a removed group could not be ended; they end after the lookback");
        }
    }

    fn install(&self, groups: &mut Groups, key: &GroupKey, group: Arc<RuleGroup>) -> Past {
        let parts = &self.parts;
        let timing_of = |between| Timing {
            interval_ns: group.interval.unwrap_or(parts.config.evaluation_interval).0,
            query_offset_ns: group.query_offset.unwrap_or_default().0,
            lateness_ns: group.lateness.unwrap_or(parts.flow.lateness).0,
            between,
        };
        let timing = timing_of(false);
        let streams = parts.streams.tenant(&key.tenant);
        let (mut operators, mut modes) = (Vec::new(), Vec::new());
        for rule in &group.rules {
            let compiled = match &rule.expr {
                RuleExpr::LogQl(metric) => {
                    compile(&Arc::new(metric.clone()), &streams, timing_of(rule.is_alert()), parts.clock.now())
                }
                RuleExpr::PromQl(_) => {
                    Err(FlowError::NotIncremental("PromQL reads what other rules recorded".to_owned()))
                }
            };
            modes.push(match &compiled {
                Ok(operator) => Mode::Incremental { step_ns: operator.grid().step_ns },
                Err(FlowError::NotIncremental(reason)) => Mode::Asked(reason.clone()),
                Err(error) => Mode::Asked(error.to_string()),
            });
            operators.push(compiled.ok());
        }
        groups.next += 1;
        let id = GroupId(groups.next);
        let task = GroupTask::new(
            key.tenant.clone(),
            &key.namespace,
            group.clone(),
            timing.interval_ns,
            modes,
            parts.surroundings.clone(),
        );
        let evaluated = task.evaluated();
        let (work, received) = mpsc::channel(ROUNDS_MAX);
        let running = Running {
            id,
            labels: group.rules.iter().map(|rule| rule.all_labels(&group)).collect(),
            interval_ns: timing.interval_ns,
            view: task.view(),
            work,
            gone: CancellationToken::new(),
            group: group.clone(),
        };
        self.tasks.spawn(task.run(received, running.gone.clone()));
        let empty: Vec<Option<RuleOperator>> =
            operators.iter().map(|operator| operator.as_ref().map(RuleOperator::emptied)).collect();
        let rules = operators.into_iter().zip(&group.rules);
        let rules = rules.map(|(operator, rule)| FlowRule { operator, is_alert: rule.is_alert() }).collect();
        let tenant = key.tenant.clone();
        parts.feed.order(Order::Install(FlowGroup { id, tenant, timing, evaluated, rules }));
        let labels = [key.tenant.as_str(), &group_key(&key.namespace, &key.group)];
        parts.surroundings.metrics.group_rules.with_label_values(&labels).set(group.rules.len() as i64);
        let interval_s = timing.interval_ns as f64 / 1e9;
        parts.surroundings.metrics.group_interval.with_label_values(&labels).set(interval_s);
        groups.by_id.insert(id, key.clone());
        groups.running.insert(key.clone(), running);
        Past { id, operators: empty, from: self.past_from(evaluated, timing) }
    }

    /// The first evaluation whose windows must be whole.
    fn past_from(&self, evaluated: Option<UnixNanos>, timing: Timing) -> UnixNanos {
        let flow = &self.parts.flow;
        let live = self.parts.clock.now().saturating_sub(flow.idle_after.0.max(flow.delay.0));
        let first = evaluated.map_or(live, |at| at.min(live));
        first
            .saturating_sub(timing.interval_ns)
            .saturating_sub(timing.lateness_ns)
            .saturating_sub(timing.query_offset_ns)
    }

    /// Rows of groups that are to be read again, since what was read of a source is gone.
    pub(super) fn read_again(self: &Arc<Self>, ids: &[GroupId]) {
        let mut keys = Vec::new();
        {
            let groups = self.groups.lock();
            keys.extend(ids.iter().filter_map(|id| groups.by_id.get(id).cloned()));
        }
        // The simplest that is right: installed anew, they go on from their state.
        let mut pasts: BTreeMap<TenantId, Vec<Past>> = BTreeMap::new();
        let mut groups = self.groups.lock();
        for key in keys {
            let Some(group) = groups.running.get(&key).map(|running| running.group.clone()) else { continue };
            groups.remove(&key, &self.parts.feed);
            let past = self.install(&mut groups, &key, group);
            pasts.entry(key.tenant).or_default().push(past);
        }
        drop(groups);
        for (tenant, pasts) in pasts {
            self.read_past(tenant, pasts);
        }
    }

    fn read_past(&self, tenant: TenantId, pasts: Vec<Past>) {
        tokio::spawn(hydrate(self.parts.engine.clone(), self.parts.feed.clone(), tenant, pasts, PAST_TIMEOUT));
    }
}

impl Groups {
    fn remove(&mut self, key: &GroupKey, feed: &Feed) {
        if let Some(running) = self.running.remove(key) {
            running.gone.cancel();
            self.by_id.remove(&running.id);
            feed.order(Order::Remove(running.id));
        }
    }
}

/// Whether nothing but lines differs.
fn same_rules(a: &RuleGroup, b: &RuleGroup) -> bool {
    let without_lines = |group: &RuleGroup| {
        let mut group = group.clone();
        group.rules.iter_mut().for_each(|rule| rule.line = 0);
        group
    };
    a == b || without_lines(a) == without_lines(b)
}
