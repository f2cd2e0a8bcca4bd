//! Rules: built, started, stopped.
//!
//! ```text
//! start: states of the former life ─▶ flow thread ─▶ watch rows ─▶ files ─▶ past of the groups
//! stop:  (no more rows come) ─▶ feed closed ─▶ flow thread ends ─▶ groups end ─▶ states written ─▶ last alerts sent
//! ```

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::prometheus::DerivedMetrics;
use crate::config::Config;
use crate::flow::{Feed, FlowLimits, FlowStatus, WatermarkLimits};
use crate::rules::ask::Asker;
use crate::rules::dispatch::dispatch;
use crate::rules::group::Surroundings;
use crate::rules::journal::{Journal, group_key};
use crate::rules::notify::{Notifier, NotifierSettings};
use crate::rules::settings::FlowConfig;
use crate::rules::sql_view::RuleViews;
use crate::rules::states::States;
use crate::rules::views::{ContinuousView, ViewTables, translate};
use crate::rules::{RuleDirectories, Ruler, RulerParts};
use crate::server::AnyError;
use crate::server::store::Store;
use crate::telemetry::metrics::Metrics;
use crate::types::ids::TenantId;
use crate::types::sample::{MetricReader, SampleSink};
use crate::types::time::Clock;

/// Running rules.
pub(super) struct Rules {
    pub(super) ruler: Arc<Ruler>,
    feed: Arc<Feed>,
    thread: std::thread::JoinHandle<()>,
    tasks: TaskTracker,
    stop_watching: CancellationToken,
    stop_telling: CancellationToken,
}

/// How long groups and the last alerts may take to end.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

/// Starts the rules of all tenants.
pub(super) async fn start(
    config: &Config,
    store: &Store,
    metrics: &Arc<Metrics>,
    clock: &Clock,
    derived: &DerivedMetrics,
) -> Result<Rules, AnyError> {
    let (ruler_config, flow) = (config.ruler.clone(), config.millrace.flow.clone());
    let sink: Arc<dyn SampleSink> = Arc::new(derived.store.clone());
    let reader: Arc<dyn MetricReader> = Arc::new(derived.engine.clone());
    let views = views(&flow)?;
    let tables = ViewTables::new(views.clone(), Arc::new(derived.store.clone()));
    store.engine.add_sql_views(Arc::new(tables));
    let directories = RuleDirectories {
        operator: ruler_config.storage.local.directory.clone().filter(|_| ruler_config.storage.kind == "local"),
        own: config.data_dir().join("rules"),
    };
    let journal = Journal::new(config.data_dir().join("rules-state"));
    let of_states = sink.clone();
    let states = Arc::new(tokio::task::spawn_blocking(move || States::open(journal, of_states)).await?);
    let notifier_settings = NotifierSettings {
        managers: ruler_config.managers(),
        client: ruler_config.alertmanager_client.clone(),
        queue_alerts_max: ruler_config.notification_queue_capacity,
        timeout: ruler_config.notification_timeout.to_std(),
    };
    let notifier = Arc::new(Notifier::new(&notifier_settings, metrics.rules.clone())?);
    let asker = Asker {
        engine: store.engine.clone(),
        metrics: reader,
        timeout: flow.query_timeout.to_std(),
        sample_lines: flow.sample_lines,
    };
    let surroundings = Surroundings {
        asker,
        sink,
        states,
        notifier: notifier.clone(),
        metrics: metrics.rules.clone(),
        clock: clock.clone(),
        external_labels: ruler_config.external_labels.clone(),
        external_url: ruler_config.external_url.clone(),
        datasource_uid: ruler_config.datasource_uid.clone(),
        resend_ns: ruler_config.resend_delay.0,
    };
    let limits = FlowLimits {
        watermark: WatermarkLimits { delay_ns: flow.delay.0, idle_after_ns: flow.idle_after.0 },
        state_bytes_max: usize::try_from(flow.state_bytes_max.0).unwrap_or(usize::MAX),
        catch_up_ns: flow.catch_up.0,
    };
    let (feed, status) = (Arc::new(Feed::default()), Arc::new(FlowStatus::default()));
    let (outputs, received) = mpsc::channel(crate::flow::runner::OUTPUTS_MAX);
    let thread = crate::flow::start(feed.clone(), limits, clock.clone(), status.clone(), outputs)?;
    store.shard.catalog().watch(feed.clone());
    let ruler = Arc::new(Ruler::new(RulerParts {
        directories,
        config: ruler_config,
        flow,
        feed: feed.clone(),
        status: status.clone(),
        engine: store.engine.clone(),
        streams: store.shard.catalog().streams().clone(),
        clock: clock.clone(),
        surroundings,
        views,
    }));
    store.engine.add_sql_views(Arc::new(RuleViews(ruler.clone())));
    let (tasks, stop_watching, stop_telling) = (TaskTracker::new(), CancellationToken::new(), CancellationToken::new());
    tasks.spawn(dispatch(ruler.clone(), received));
    ruler.reload().await;
    tasks.spawn(ruler.clone().watch(stop_watching.clone()));
    let telling = stop_telling.clone();
    tasks.spawn(async move { notifier.run(notifier_settings.timeout, telling).await });
    show_in_metrics(metrics, &ruler, &feed, &status, clock);
    Ok(Rules { ruler, feed, thread, tasks, stop_watching, stop_telling })
}

/// The configured views and whose they are.
fn views(flow: &FlowConfig) -> Result<Vec<(TenantId, Arc<ContinuousView>)>, AnyError> {
    let mut views = Vec::new();
    for view in &flow.continuous_views {
        let tenant = view.tenant.as_ref().map_or_else(|| Ok(TenantId::single()), |tenant| TenantId::parse(tenant))?;
        views.push((tenant, Arc::new(translate(view)?)));
    }
    Ok(views)
}

impl Rules {
    /// Stops in order, once no more rows come.
    pub(super) async fn stop(self) {
        self.stop_watching.cancel();
        self.feed.close();
        let thread = self.thread;
        let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        self.ruler.end(PATIENCE).await;
        self.stop_telling.cancel();
        self.tasks.close();
        if tokio::time::timeout(PATIENCE, self.tasks.wait()).await.is_err() {
            tracing::warn!("rules did not end in time; their last states are on disk");
        }
    }
}

/// Gauges are read when they are asked for.
fn show_in_metrics(metrics: &Metrics, ruler: &Arc<Ruler>, feed: &Arc<Feed>, status: &Arc<FlowStatus>, clock: &Clock) {
    let (ruler, feed, status, clock) = (ruler.clone(), feed.clone(), status.clone(), clock.clone());
    metrics.on_gather(move |metrics| {
        let metrics = &metrics.rules;
        metrics.feed_bytes.set(feed.bytes() as i64);
        for (tenant, at) in status.watermarks.lock().iter() {
            let lag_s = clock.now().0.saturating_sub(at.0) as f64 / 1e9;
            metrics.watermark_lag.with_label_values(&[tenant.as_str()]).set(lag_s);
        }
        for gauge in [&metrics.state_bytes, &metrics.state_series, &metrics.late_rows, &metrics.overflows] {
            gauge.reset();
        }
        let groups = status.groups.lock();
        for (key, id, group, _) in ruler.all_groups() {
            let Some(shown) = groups.get(&id) else { continue };
            let of_group = group_key(&key.namespace, &key.group);
            for (rule, shown) in group.rules.iter().zip(&shown.rules) {
                let labels = [key.tenant.as_str(), &of_group, rule.name()];
                metrics.state_bytes.with_label_values(&labels).add(shown.bytes as i64);
                metrics.state_series.with_label_values(&labels).add(shown.series as i64);
                metrics.late_rows.with_label_values(&labels).add(i64::try_from(shown.missed).unwrap_or(i64::MAX));
                metrics.overflows.with_label_values(&labels).add(i64::try_from(shown.overflows).unwrap_or(i64::MAX));
            }
        }
    });
}
