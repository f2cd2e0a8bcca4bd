//! Metrics of rules: Loki's ruler's names for what is the same, `millrace_` for what operators add.

use prometheus::{GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use crate::telemetry::metrics::Maker;

/// What rules count. Cheap to clone. `rule_group` is `namespace;group`.
#[derive(Debug, Clone)]
pub struct RuleMetrics {
    /// Evaluations of rules, and those that failed, by `user, rule_group`.
    pub evaluations: IntCounterVec,
    pub failures: IntCounterVec,
    /// Evaluations of groups, and those that were left out, by `user, rule_group`.
    pub iterations: IntCounterVec,
    pub missed: IntCounterVec,
    /// By the wall, seconds since the epoch, and how long it took, by `user, rule_group`.
    pub last_evaluation: GaugeVec,
    pub last_duration: GaugeVec,
    pub duration: Histogram,
    /// By `user, rule_group`.
    pub group_rules: IntGaugeVec,
    pub group_interval: GaugeVec,
    /// Alerts by `alertmanager`; dropped from full queues.
    pub notifications_sent: IntCounterVec,
    pub notification_errors: IntCounterVec,
    pub notifications_dropped: IntCounter,

    /// How far event time is behind the wall, seconds, by `tenant`.
    pub watermark_lag: GaugeVec,
    /// Arrow bytes that wait for the operators.
    pub feed_bytes: IntGauge,
    /// State of operators, their series, rows that came too late for a window, and states dropped because they grew
    /// too large, by `user, rule_group, rule`.
    pub state_bytes: IntGaugeVec,
    pub state_series: IntGaugeVec,
    pub late_rows: IntGaugeVec,
    pub overflows: IntGaugeVec,
    /// Samples recorded, and those that corrected earlier ones.
    pub recorded: IntCounter,
    pub corrected: IntCounter,
    /// 1 while all rule files are good.
    pub files_good: IntGauge,
}

impl RuleMetrics {
    pub(super) fn new(make: &Maker) -> Self {
        let of_group = &["user", "rule_group"];
        let of_rule = &["user", "rule_group", "rule"];
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            make.add(GaugeVec::new(prometheus::Opts::new(name, help), labels))
        };
        RuleMetrics {
            evaluations: make.counters(
                "loki_prometheus_rule_evaluations_total",
                "The total number of rule evaluations.",
                of_group,
            ),
            failures: make.counters(
                "loki_prometheus_rule_evaluation_failures_total",
                "The total number of rule evaluation failures.",
                of_group,
            ),
            iterations: make.counters(
                "loki_prometheus_rule_group_iterations_total",
                "The total number of scheduled rule group evaluations, whether executed or missed.",
                of_group,
            ),
            missed: make.counters(
                "loki_prometheus_rule_group_iterations_missed_total",
                "The total number of rule group evaluations missed due to slow rule group evaluation.",
                of_group,
            ),
            last_evaluation: gauges(
                "loki_prometheus_rule_group_last_evaluation_timestamp_seconds",
                "The timestamp of the last rule group evaluation in seconds.",
                of_group,
            ),
            last_duration: gauges(
                "loki_prometheus_rule_group_last_duration_seconds",
                "The duration of the last rule group evaluation.",
                of_group,
            ),
            duration: make.add(Histogram::with_opts(HistogramOpts::new(
                "loki_prometheus_rule_group_duration_seconds",
                "The duration of rule group evaluations.",
            ))),
            group_rules: make.gauges("loki_prometheus_rule_group_rules", "The number of rules.", of_group),
            group_interval: gauges(
                "loki_prometheus_rule_group_interval_seconds",
                "The interval of a rule group.",
                of_group,
            ),
            notifications_sent: make.counters(
                "loki_prometheus_notifications_sent_total",
                "Total number of alerts sent.",
                &["alertmanager"],
            ),
            notification_errors: make.counters(
                "loki_prometheus_notifications_errors_total",
                "Total number of sent alerts affected by errors.",
                &["alertmanager"],
            ),
            notifications_dropped: make.counter(
                "loki_prometheus_notifications_dropped_total",
                "Total number of alerts dropped due to errors when sending to Alertmanager.",
            ),
            watermark_lag: gauges(
                "millrace_flow_watermark_lag_seconds",
                "How far event time is behind the wall clock.",
                &["tenant"],
            ),
            feed_bytes: make.gauge("millrace_flow_queue_bytes", "Arrow bytes that wait for continuous operators."),
            state_bytes: make.gauges("millrace_rule_state_bytes", "State of a rule's operators.", of_rule),
            state_series: make.gauges("millrace_rule_state_series", "Series in a rule's operators.", of_rule),
            late_rows: make.gauges(
                "millrace_rule_late_rows",
                "Rows that came too late for some window of a rule since it was loaded.",
                of_rule,
            ),
            overflows: make.gauges(
                "millrace_rule_state_overflows",
                "Times a rule's state grew too large and was dropped since it was loaded.",
                of_rule,
            ),
            recorded: make.counter("millrace_rule_samples_recorded_total", "Samples that rules recorded."),
            corrected: make
                .counter("millrace_rule_samples_corrected_total", "Recorded samples that late rows corrected."),
            files_good: make.gauge("millrace_rule_files_good", "1 while all rule files are good."),
        }
    }
}
