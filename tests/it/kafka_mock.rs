//! Kafka's trouble made to order: librdkafka's mock cluster, listening in this process, and the real server before it.
//!
//! Each test is a process of its own, because the mock cluster aborts its process now and then ([`apart`]).
//!
//! Quick where a real broker is slow to fail: errors of single requests, brokers that go and come, offsets of the group
//! that lie, rebalances.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use crate::apart::apart;
use crate::harness::{Server, repository};
use crate::kafka::{check_distinct, count, lines};

const TOPIC: &str = "numbers";
const PARTITIONS: i32 = 4;
/// How long something may take on a busy machine in a debug build.
const PATIENCE: Duration = Duration::from_secs(60);

struct Mock {
    cluster: MockCluster<'static, DefaultProducerContext>,
    producer: BaseProducer,
}

impl Mock {
    fn start() -> Mock {
        let cluster = MockCluster::new(2).expect("a mock cluster");
        cluster.create_topic(TOPIC, PARTITIONS, 1).expect("a topic");
        let producer = ClientConfig::new().set("bootstrap.servers", cluster.bootstrap_servers()).create();
        Mock { cluster, producer: producer.expect("a producer") }
    }

    /// Numbers from `from` to `to`, over all partitions.
    fn produce(&self, from: usize, to: usize) {
        for (at, line) in lines(from, to).lines().enumerate() {
            let record = BaseRecord::<(), str>::to(TOPIC).partition((at as i32) % PARTITIONS).payload(line);
            self.producer.send(record).map_err(|(error, _)| error).expect("queued");
        }
        self.producer.flush(PATIENCE).expect("produced");
    }

    /// What the group's offsets say from now on: written by a member that has all partitions for a moment.
    fn commit(&self, offset: i64) {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", self.cluster.bootstrap_servers())
            .set("group.id", "millrace")
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", "6000")
            .set("enable.auto.commit", "false");
        let consumer: BaseConsumer = config.create().expect("a consumer");
        consumer.subscribe(&[TOPIC]).expect("subscribed");
        wait("the partitions are the test's", || {
            let _ = consumer.poll(Duration::from_millis(50));
            consumer.assignment().is_ok_and(|assigned| assigned.count() == PARTITIONS as usize)
        });
        let mut list = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            list.add_partition_offset(TOPIC, partition, Offset::Offset(offset)).expect("an offset");
        }
        consumer.commit(&list, CommitMode::Sync).expect("committed");
    }

    fn config(&self, directory: &Path) -> PathBuf {
        let golden = std::fs::read_to_string(repository("tests/golden/config.yaml")).expect("readable");
        let brokers: Vec<String> =
            self.cluster.bootstrap_servers().split(',').map(|broker| format!("\"{broker}\"")).collect();
        let text = format!(
            "{golden}\nkafka:\n  brokers: [{}]\n  session_timeout: 6s\n  dead_letter_topic: dead\n  properties: {{reconnect.backoff.max.ms: \"500\", topic.metadata.refresh.interval.ms: \"1000\"}}\n  topics:\n    - {{topic: {TOPIC}, format: json, labels: {{fields: {{service: \"\"}}}}, timestamp: {{field: ts}}}}\nmillrace:\n  flush:\n    max_age: 1s\n  table:\n    url: file://{}/table\n",
            brokers.join(", "),
            directory.display()
        );
        let path = directory.join("kafka.yaml");
        std::fs::write(&path, text).expect("written");
        path
    }
}

/// Waits until `is_so`, and says what it waited for when it is not.
fn wait(what: &str, mut is_so: impl FnMut() -> bool) {
    wait_or(|()| what.to_owned(), &mut (), |()| is_so());
}

/// As [`wait`], with what was seen last.
fn wait_or<S>(what: impl Fn(&S) -> String, seen: &mut S, mut is_so: impl FnMut(&mut S) -> bool) {
    let started = Instant::now();
    while !is_so(seen) {
        assert!(started.elapsed() < PATIENCE, "not after {PATIENCE:?}: {}", what(seen));
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Waits until so many rows are there; more is an error at once.
fn wait_for(server: &Server, expected: usize) {
    let mut found = 0;
    wait_or(
        |found| format!("{expected} rows; there are {found}"),
        &mut found,
        |found| {
            *found = count(server);
            let found = *found;
            assert!(found <= expected, "{found} rows of {expected}: some are there twice");
            found == expected
        },
    );
}

/// A series of `/metrics`; 0 while there is none.
fn metric(server: &Server, series: &str) -> f64 {
    let text = server.get("/metrics", &[]).text();
    text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok()).unwrap_or(0.0)
}

#[test]
fn positions_are_the_tables_whatever_the_groups_offsets_say() {
    apart("kafka_mock::positions_are_the_tables_whatever_the_groups_offsets_say", || {
        let mock = Mock::start();
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (config, data) = (mock.config(directory.path()), directory.path().join("data"));
        mock.produce(0, 400);
        let server = Server::start(&data, Some(&config), &[]);
        wait_for(&server, 400);
        server.stop();
        // Back to the start, or far beyond the end: nobody reads what the group says.
        for (round, offset) in [0, 1_000_000].into_iter().enumerate() {
            mock.commit(offset);
            mock.produce(400 + round * 40, 440 + round * 40);
            let server = Server::start(&data, Some(&config), &[]);
            wait_for(&server, 440 + round * 40);
            check_distinct(&server, 440 + round * 40);
            server.stop();
        }
    });
}

#[test]
fn errors_of_requests_and_brokers_that_go_stop_nothing_for_good() {
    apart("kafka_mock::errors_of_requests_and_brokers_that_go_stop_nothing_for_good", || {
        let mock = Mock::start();
        let directory = tempfile::tempdir().expect("a temporary directory");
        let config = mock.config(directory.path());
        let server = Server::start(&directory.path().join("data"), Some(&config), &[]);
        mock.produce(0, 100);
        wait_for(&server, 100);
        let mut produced = 100;
        let fetch_errors = [
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__TRANSPORT,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
        ];
        for (request, errors) in [
            (RDKafkaApiKey::Fetch, &fetch_errors[..]),
            (RDKafkaApiKey::Heartbeat, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS][..]),
            (RDKafkaApiKey::OffsetCommit, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_COORDINATOR; 3][..]),
        ] {
            mock.cluster.request_errors(request, errors);
            mock.produce(produced, produced + 100);
            produced += 100;
            wait_for(&server, produced);
        }
        // Both brokers away: what was taken can be asked for, and what comes after they are back is taken.
        for broker in [1, 2] {
            mock.cluster.broker_down(broker).expect("down");
        }
        wait("errors are counted", || metric(&server, "millrace_kafka_errors_total ") > 0.0);
        assert_eq!(count(&server), produced);
        for broker in [1, 2] {
            mock.cluster.broker_up(broker).expect("up");
        }
        mock.produce(produced, produced + 100);
        produced += 100;
        wait_for(&server, produced);
        check_distinct(&server, produced);
        // Throughput and lag are told, and partitions are ours.
        assert_eq!(metric(&server, "millrace_kafka_records_total{topic=\"numbers\"}"), produced as f64);
        assert!(metric(&server, "millrace_kafka_bytes_total{topic=\"numbers\"}") > (produced * 40) as f64);
        assert_eq!(metric(&server, "millrace_kafka_partitions "), f64::from(PARTITIONS));
        // Told every two seconds.
        wait("lag is told", || {
            let text = server.get("/metrics", &[]).text();
            (0..PARTITIONS).all(|at| {
                text.contains(&format!("millrace_kafka_lag_records{{partition=\"{at}\",topic=\"{TOPIC}\"}} 0"))
            })
        });
    });
}

#[test]
fn a_member_that_joins_and_one_that_dies_move_partitions_and_no_row_twice() {
    apart("kafka_mock::a_member_that_joins_and_one_that_dies_move_partitions_and_no_row_twice", || {
        let mock = Mock::start();
        let directory = tempfile::tempdir().expect("a temporary directory");
        let config = mock.config(directory.path());
        let first = Server::start(&directory.path().join("first"), Some(&config), &[]);
        mock.produce(0, 200);
        wait_for(&first, 200);
        let second = Server::start(&directory.path().join("second"), Some(&config), &[]);
        let partitions = |server: &Server| metric(server, "millrace_kafka_partitions ");
        wait("the partitions are shared", || partitions(&first) == 2.0 && partitions(&second) == 2.0);
        mock.produce(200, 600);
        wait_for(&first, 600);
        wait_for(&second, 600);
        assert!(metric(&first, "millrace_kafka_rebalances_total{kind=\"revoked\"}") >= 1.0);
        assert!(metric(&second, "millrace_kafka_rebalances_total{kind=\"assigned\"}") >= 1.0);
        // Killed in the middle of what it reads: the other takes over where the table says.
        mock.produce(600, 1_000);
        second.kill();
        mock.produce(1_000, 1_200);
        wait("all partitions come back", || partitions(&first) == f64::from(PARTITIONS));
        wait_for(&first, 1_200);
        check_distinct(&first, 1_200);
    });
}

#[test]
fn a_dead_letter_that_cannot_be_sent_is_counted_and_stops_nothing() {
    apart("kafka_mock::a_dead_letter_that_cannot_be_sent_is_counted_and_stops_nothing", || {
        let mock = Mock::start();
        let directory = tempfile::tempdir().expect("a temporary directory");
        let config = mock.config(directory.path());
        let server = Server::start(&directory.path().join("data"), Some(&config), &[]);
        let poison = |text: &str| {
            let record = BaseRecord::<(), str>::to(TOPIC).partition(0).payload(text);
            mock.producer.send(record).map_err(|(error, _)| error).expect("queued");
            mock.producer.flush(PATIENCE).expect("produced");
        };
        poison("no document");
        mock.produce(0, 40);
        wait_for(&server, 40);
        let letters =
            |outcome: &str| metric(&server, &format!("millrace_kafka_dead_letters_total{{outcome=\"{outcome}\"}}"));
        wait("a letter is sent", || letters("sent") == 1.0);
        // The broker takes the next record, and not the letter about it.
        let errors =
            [RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR, RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED];
        mock.cluster.request_errors(RDKafkaApiKey::Produce, &errors);
        poison("no document either");
        wait("a letter fails", || letters("failed") == 1.0);
        poison("the third that is none");
        wait("the third is rejected", || metric(&server, "millrace_kafka_rejected_total{topic=\"numbers\"}") == 3.0);
        mock.produce(40, 80);
        wait_for(&server, 80);
        wait("every letter has an outcome", || letters("sent") + letters("failed") == 3.0);
    });
}

#[test]
fn a_partition_that_leaves_while_it_waits_is_read_when_it_comes_back() {
    apart("kafka_mock::a_partition_that_leaves_while_it_waits_is_read_when_it_comes_back", || {
        let mock = Mock::start();
        let directory = tempfile::tempdir().expect("a temporary directory");
        let config = mock.config(directory.path());
        let text = std::fs::read_to_string(&config).expect("readable");
        std::fs::write(&config, text.replace("    max_age: 1s\n", "    max_age: 1s\n    max_bytes: 64KB\n"))
            .expect("written");
        // The first finds its disk full for a while, and then not.
        let full = [("MILLRACE_FAILPOINT", "store.put=full@12-22")];
        let first = Server::start_with(&directory.path().join("first"), Some(&config), &[], &full);
        let partitions = |server: &Server| metric(server, "millrace_kafka_partitions ");
        wait("the first has all partitions", || partitions(&first) == f64::from(PARTITIONS));
        mock.produce(0, 8_000);
        wait("its head is full", || metric(&first, "millrace_kafka_paused ") == 1.0);
        let second = Server::start(&directory.path().join("second"), Some(&config), &[]);
        wait("the partitions are shared", || partitions(&first) == 2.0 && partitions(&second) == 2.0);
        wait("its disk has room", || metric(&first, "millrace_kafka_paused ") == 0.0);
        mock.produce(8_000, 8_400);
        wait_for(&second, 8_400);
        second.kill();
        mock.produce(8_400, 8_800);
        wait("all partitions come back", || partitions(&first) == f64::from(PARTITIONS));
        wait_for(&first, 8_800);
        check_distinct(&first, 8_800);
    });
}
