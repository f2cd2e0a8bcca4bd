//! All metrics, made once and handed around. Names of Loki's for what is really measured, `millrace_` for the rest.
//!
//! Vectors show nothing until something is counted; gauges that mirror the store are set by a hook
//! that runs when metrics are gathered ([`Metrics::on_gather`]).

use std::fmt;

use parking_lot::RwLock;
use prometheus::proto::MetricFamily;
use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder, exponential_buckets,
};

use crate::telemetry::audit::AuditMetrics;
use crate::telemetry::cluster::ClusterMetrics;
use crate::telemetry::derived::DerivedMetrics;
use crate::telemetry::kafka::KafkaMetrics;
use crate::telemetry::process::ProcessCollector;
use crate::telemetry::rules::RuleMetrics;
use crate::telemetry::sql_doors::SqlDoorMetrics;
use crate::telemetry::store::StoreMetrics;
use crate::telemetry::syslog::SyslogMetrics;
use crate::telemetry::tail::TailMetrics;
use crate::telemetry::tls::TlsMetrics;
use crate::telemetry::upkeep::UpkeepMetrics;
use crate::telemetry::wal::WalMetrics;

type Hook = Box<dyn Fn(&Metrics) + Send + Sync>;
type MoreFamilies = Box<dyn Fn() -> Vec<MetricFamily> + Send + Sync>;

/// Every metric of the server. Share it behind an `Arc`.
pub struct Metrics {
    registry: Registry,
    pub derived: DerivedMetrics,
    hooks: RwLock<Vec<Hook>>,
    families: RwLock<Vec<MoreFamilies>>,

    /// HTTP requests by `method, route, status_code, ws`, in seconds.
    pub request_duration: HistogramVec,
    /// HTTP requests being answered, by `method, route`.
    pub inflight_requests: IntGaugeVec,
    /// Handlers that panicked.
    pub panics: IntCounter,

    /// Line and metadata bytes taken, by `tenant`.
    pub bytes_received: IntCounterVec,
    /// Lines taken, by `tenant`.
    pub lines_received: IntCounterVec,
    /// Lines refused by a limit, by `reason, tenant`.
    pub discarded_samples: IntCounterVec,
    /// Their bytes, by `reason, tenant`.
    pub discarded_bytes: IntCounterVec,
    /// Bytes of push bodies being decoded or written now.
    pub push_inflight_bytes: IntGauge,
    /// Pushes refused before decoding, by `reason`.
    pub push_refused: IntCounterVec,

    /// Streams with rows in the head, by `tenant`.
    pub memory_streams: IntGaugeVec,
    /// Streams known to the process.
    pub streams: IntGauge,
    /// Streams met for the first time, by `tenant`.
    pub streams_created: IntCounterVec,
    /// Runs of one stream written to files, by `reason`.
    pub chunks_flushed: IntCounterVec,

    /// Bytes of the head and of heads being flushed.
    pub head_bytes: IntGauge,
    pub head_rows: IntGauge,
    /// Live files of the table, and what is in them.
    pub table_files: IntGauge,
    pub table_rows: IntGauge,
    pub table_bytes: IntGauge,
    /// Flushes by `reason`.
    pub flushes: IntCounterVec,
    pub flush_seconds: Histogram,
    pub flushed_rows: IntCounter,

    /// LogQL latency by `status_code, type, range`, in seconds.
    pub query_latency: HistogramVec,
    /// LogQL queries by `status`: success, failed.
    pub query_outcomes: IntCounterVec,
    /// Line bytes that queries looked at, by `tenant`.
    pub query_bytes: IntCounterVec,
    /// Lines that queries looked at.
    pub query_lines: IntCounter,
    /// Queries running, and waiting for their turn.
    pub queries_running: IntGauge,
    pub queries_waiting: IntGauge,
    /// Queries refused because too many of their tenant waited.
    pub queries_refused: IntCounter,
    /// Memory that queries hold.
    pub query_memory_bytes: IntGauge,

    /// 1, with the version in labels.
    pub build_info: GaugeVec,
    /// Bytes and entries of the cache of file indexes.
    pub index_cache_bytes: Gauge,
    pub index_cache_entries: Gauge,
    /// Bytes and entries of the cache of results, and what came of asking it, by `outcome`: hit, miss, stale.
    pub results_cache_bytes: Gauge,
    pub results_cache_entries: Gauge,
    pub results_cache_requests: GaugeVec,
    /// Bytes of what selectors chose of the streams, and what came of asking, by `outcome`: hit, miss.
    pub selector_cache_bytes: Gauge,
    pub selector_cache_requests: GaugeVec,
    /// Queries that were answered together with an equal one.
    pub queries_joined: Gauge,

    /// 1 while the file of overrides is good.
    pub overrides_good: IntGauge,

    pub audit: AuditMetrics,
    pub kafka: KafkaMetrics,
    pub tail: TailMetrics,
    pub rules: RuleMetrics,
    pub store: StoreMetrics,
    pub upkeep: UpkeepMetrics,
    pub wal: WalMetrics,
    pub sql_doors: SqlDoorMetrics,
    pub tls: TlsMetrics,
    pub cluster: ClusterMetrics,
    pub syslog: SyslogMetrics,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// Makes metrics and registers them.
pub(super) struct Maker(Registry);

impl Maker {
    pub(super) fn add<C: prometheus::core::Collector + Clone + 'static>(&self, metric: prometheus::Result<C>) -> C {
        let metric = metric.expect("metric names and labels are constants, tested");
        self.0.register(Box::new(metric.clone())).expect("every metric has a name of its own, tested");
        metric
    }

    pub(super) fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.add(IntCounter::new(name, help))
    }

    pub(super) fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.add(IntCounterVec::new(Opts::new(name, help), labels))
    }

    pub(super) fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.add(IntGauge::new(name, help))
    }

    pub(super) fn float_gauge(&self, name: &str, help: &str) -> Gauge {
        self.add(Gauge::new(name, help))
    }

    pub(super) fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.add(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    pub(super) fn histograms(&self, name: &str, help: &str, buckets: Vec<f64>, labels: &[&str]) -> HistogramVec {
        self.add(HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets), labels))
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// # Panics
    /// Never: names and labels are constants, and a test makes them all.
    pub fn new() -> Self {
        let make = Maker(Registry::new());
        make.0
            .register(Box::new(ProcessCollector::new().expect("names are constants, tested")))
            .expect("process metrics have names of their own, tested");
        let request_buckets = vec![0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0];
        let query_buckets = exponential_buckets(0.25, 2.0, 10).expect("positive start, factor above 1");
        let metrics = Metrics {
            derived: DerivedMetrics::new(&make),
            request_duration: make.histograms(
                "loki_request_duration_seconds",
                "Time (in seconds) spent serving HTTP requests.",
                request_buckets,
                &["method", "route", "status_code", "ws"],
            ),
            inflight_requests: make.gauges(
                "loki_inflight_requests",
                "Current number of inflight requests.",
                &["method", "route"],
            ),
            panics: make.counter("loki_panic_total", "The total number of panic triggered."),
            bytes_received: make.counters(
                "loki_distributor_bytes_received_total",
                "The total number of uncompressed bytes received per tenant.",
                &["tenant"],
            ),
            lines_received: make.counters(
                "loki_distributor_lines_received_total",
                "The total number of lines received per tenant.",
                &["tenant"],
            ),
            discarded_samples: make.counters(
                "loki_discarded_samples_total",
                "The total number of samples that were discarded.",
                &["reason", "tenant"],
            ),
            discarded_bytes: make.counters(
                "loki_discarded_bytes_total",
                "The total number of bytes that were discarded.",
                &["reason", "tenant"],
            ),
            push_inflight_bytes: make
                .gauge("millrace_push_inflight_bytes", "Bytes of push bodies being decoded or written now."),
            push_refused: make.counters("millrace_push_refused_total", "Pushes refused before decoding.", &["reason"]),
            memory_streams: make.gauges(
                "loki_ingester_memory_streams",
                "The total number of streams in memory per tenant.",
                &["tenant"],
            ),
            streams: make.gauge("loki_ingester_streams", "Streams known to this process."),
            streams_created: make.counters(
                "loki_ingester_streams_created_total",
                "The total number of streams created per tenant.",
                &["tenant"],
            ),
            chunks_flushed: make.counters(
                "loki_ingester_chunks_flushed_total",
                "Total flushed chunks per reason.",
                &["reason"],
            ),
            head_bytes: make.gauge("millrace_head_bytes", "Arrow bytes of rows that are not in files yet."),
            head_rows: make.gauge("millrace_head_rows", "Rows that are not in files yet."),
            table_files: make.gauge("millrace_table_files", "Live files of the table."),
            table_rows: make.gauge("millrace_table_rows", "Rows in live files."),
            table_bytes: make.gauge("millrace_table_bytes", "Bytes of live files."),
            flushes: make.counters("millrace_flushes_total", "Flushes of the head into files.", &["reason"]),
            flush_seconds: make.add(Histogram::with_opts(
                HistogramOpts::new("millrace_flush_duration_seconds", "Time one flush took, in seconds.")
                    .buckets(exponential_buckets(0.01, 2.0, 14).expect("positive start, factor above 1")),
            )),
            flushed_rows: make.counter("millrace_flushed_rows_total", "Rows written to files."),
            query_latency: make.histograms(
                "loki_logql_querystats_latency_seconds",
                "Distribution of latency for LogQL queries.",
                query_buckets,
                &["status_code", "type", "range"],
            ),
            query_outcomes: make.counters(
                "loki_logql_querystats_total",
                "LogQL queries by outcome: success, failed.",
                &["status"],
            ),
            query_bytes: make.counters(
                "loki_logql_querystats_bytes_processed_total",
                "Total number of bytes processed by LogQL queries, partitioned by tenant.",
                &["tenant"],
            ),
            query_lines: make.counter("millrace_query_lines_processed_total", "Lines that queries looked at."),
            queries_running: make.gauge("millrace_queries_running", "Queries being computed now."),
            queries_waiting: make.gauge("millrace_queries_waiting", "Queries waiting for their turn."),
            queries_refused: make
                .counter("millrace_queries_refused_total", "Queries refused because too many of their tenant waited."),
            query_memory_bytes: make.gauge("millrace_query_memory_bytes", "Memory that running queries hold."),
            build_info: make.add(GaugeVec::new(
                Opts::new(
                    "loki_build_info",
                    "A metric with a constant '1' value, labelled by the version this server was built from.",
                ),
                &["version", "revision", "branch", "goversion"],
            )),
            index_cache_bytes: make.add(Gauge::new("millrace_index_cache_bytes", "Bytes of cached file indexes.")),
            index_cache_entries: make.add(Gauge::new("millrace_index_cache_entries", "Cached file indexes.")),
            results_cache_bytes: make.add(Gauge::new("millrace_results_cache_bytes", "Bytes of kept query results.")),
            results_cache_entries: make.add(Gauge::new("millrace_results_cache_entries", "Kept query results.")),
            results_cache_requests: make.add(GaugeVec::new(
                Opts::new("millrace_results_cache_requests", "Look-ups of query results since the start, by outcome."),
                &["outcome"],
            )),
            selector_cache_bytes: make
                .add(Gauge::new("millrace_selector_cache_bytes", "Bytes kept of which streams selectors chose.")),
            selector_cache_requests: make.add(GaugeVec::new(
                Opts::new(
                    "millrace_selector_cache_requests",
                    "Look-ups of chosen streams since the start, by outcome.",
                ),
                &["outcome"],
            )),
            queries_joined: make.add(Gauge::new(
                "millrace_queries_joined",
                "Queries that were answered together with an equal one since the start.",
            )),
            overrides_good: make.gauge(
                "loki_runtime_config_last_reload_successful",
                "Whether the last runtime-config reload attempt was successful.",
            ),
            kafka: KafkaMetrics::new(&make),
            tail: TailMetrics::new(&make),
            rules: RuleMetrics::new(&make),
            audit: AuditMetrics::new(&make),
            store: StoreMetrics::new(&make),
            upkeep: UpkeepMetrics::new(&make),
            wal: WalMetrics::new(&make),
            sql_doors: SqlDoorMetrics::new(&make),
            tls: TlsMetrics::new(&make),
            cluster: ClusterMetrics::new(&make),
            syslog: SyslogMetrics::new(&make),
            hooks: RwLock::new(Vec::new()),
            families: RwLock::new(Vec::new()),
            registry: make.0,
        };
        metrics.build_info.with_label_values(&[env!("CARGO_PKG_VERSION"), "", "", ""]).set(1.0);
        metrics
    }

    /// Runs `hook` whenever metrics are gathered, to set gauges from what they mirror.
    pub fn on_gather(&self, hook: impl Fn(&Metrics) + Send + Sync + 'static) {
        self.hooks.write().push(Box::new(hook));
    }

    /// Shows families whose names only the configuration knows, too. Those of a name that is shown already are left out:
    /// the text format has one family a name.
    pub fn also(&self, families: impl Fn() -> Vec<MetricFamily> + Send + Sync + 'static) {
        self.families.write().push(Box::new(families));
    }

    /// Everything in Prometheus's text format.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        for hook in self.hooks.read().iter() {
            hook(self);
        }
        let mut shown = self.registry.gather();
        for families in self.families.read().iter() {
            let more = families();
            let new = more.into_iter().filter(|family| shown.iter().all(|known| known.name() != family.name()));
            let new: Vec<MetricFamily> = new.collect();
            shown.extend(new);
        }
        let mut text = Vec::with_capacity(16 * 1024);
        TextEncoder::new().encode(&shown, &mut text)?;
        String::from_utf8(text).map_err(|error| prometheus::Error::Msg(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_made_and_hooks_run_at_each_gathering() {
        let metrics = Metrics::new();
        metrics.on_gather(|metrics| metrics.streams.set(7));
        metrics.lines_received.with_label_values(&["a"]).inc_by(3);
        let text = metrics.render().expect("renders");
        for line in
            ["loki_ingester_streams 7", "loki_distributor_lines_received_total{tenant=\"a\"} 3", "loki_panic_total 0"]
        {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
        assert!(text.contains("loki_build_info{"));
        assert!(!text.contains("loki_discarded_samples_total"), "shown although nothing was discarded");
    }
}
