//! Metrics of the Kafka door.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use crate::telemetry::metrics::Maker;

/// What the consumer counts.
#[derive(Debug)]
pub struct KafkaMetrics {
    /// Records consumed, and their bytes, by `topic`.
    pub records: IntCounterVec,
    pub bytes: IntCounterVec,
    /// Records that became nothing, by `topic`.
    pub rejected: IntCounterVec,
    /// Letters by `outcome`: sent, failed.
    pub dead_letters: IntCounterVec,
    /// Rebalances by `kind`: assigned, revoked, lost.
    pub rebalances: IntCounterVec,
    /// Errors that the client reported.
    pub errors: IntCounter,
    /// Partitions that are ours.
    pub partitions: IntGauge,
    /// Records of a partition that are not consumed yet, by `topic, partition`.
    pub lag: IntGaugeVec,
    /// 1 while partitions wait for room in the head.
    pub paused: IntGauge,
}

impl KafkaMetrics {
    pub(super) fn new(make: &Maker) -> Self {
        KafkaMetrics {
            records: make.counters("millrace_kafka_records_total", "Records consumed.", &["topic"]),
            bytes: make.counters("millrace_kafka_bytes_total", "Bytes of records consumed.", &["topic"]),
            rejected: make.counters("millrace_kafka_rejected_total", "Records that became nothing.", &["topic"]),
            dead_letters: make.counters("millrace_kafka_dead_letters_total", "Dead letters by outcome.", &["outcome"]),
            rebalances: make.counters("millrace_kafka_rebalances_total", "Rebalances by kind.", &["kind"]),
            errors: make.counter("millrace_kafka_errors_total", "Errors that the Kafka client reported."),
            partitions: make.gauge("millrace_kafka_partitions", "Partitions assigned to this process."),
            lag: make.gauges(
                "millrace_kafka_lag_records",
                "Records of a partition that are not consumed yet.",
                &["topic", "partition"],
            ),
            paused: make.gauge("millrace_kafka_paused", "1 while partitions wait for room in the head."),
        }
    }
}
