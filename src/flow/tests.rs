//! A rule's result is that of the same LogQL asked afterwards: random rows, in random order, in batches, late ones too,
//! through the whole flow thread; then the query engine over the same catalog.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tokio::sync::mpsc;

use super::*;
use crate::catalog::{Arrival, Catalog};
use crate::files::FileIndexes;
use crate::head::row_hashes;
use crate::logql::ast::Expr;
use crate::query::{Direction, Engine, EngineLimits, QueryAnswer, QueryKind, QueryRequest};
use crate::streams::{StreamRef, Streams};
use crate::types::batch::LogBatchBuilder;
use crate::types::ids::{Lsn, TenantId};
use crate::types::labels::Labels;
use crate::types::time::Clock;

const S: i64 = 1_000_000_000;
const START: i64 = 1_768_471_200 * S;
const INTERVAL: i64 = 60 * S;

const QUERIES: &[&str] = &[
    r#"sum by (service) (count_over_time({service=~".+"}[1m]))"#,
    r#"sum(rate({service="a"} |= "error" [90s]))"#,
    r#"count_over_time({service=~"a|b"}[3m])"#,
    r#"sum by (service) (bytes_over_time({service=~".+"} | json [2m]))"#,
    r#"quantile_over_time(0.9, {service=~".+"} | json | unwrap ms [2m]) by (service)"#,
    r#"max_over_time({service="a"} | json | unwrap ms [1m]) by (code)"#,
    r#"avg_over_time({service="a"} | json | unwrap ms [150s]) by (code)"#,
    r#"sum by (code) (sum_over_time({service=~".+"} | json | unwrap ms [1m]))"#,
    r#"stddev_over_time({service=~".+"} | json | unwrap ms [4m]) by (service)"#,
    r#"first_over_time({service="b"} | json | unwrap ms [2m]) by (service)"#,
    r#"last_over_time({service="b"} | json | unwrap ms [2m] offset 30s) by (service)"#,
    r#"sum by (service) (count_over_time({service=~".+"} |= "error" | json | code="1" [2m]))"#,
    r#"sum by (status) (count_over_time({service=~".+"} | json status="code", ms | ms > 300 [2m]))"#,
    r#"absent_over_time({service="c"}[1m])"#,
    r#"sum(rate({service="a"}[1m])) / sum(rate({service="a"}[1m] offset 2m)) > 0.5"#,
    r#"topk(1, sum by (service) (count_over_time({service=~".+"}[2m])))"#,
    r#"sum(count_over_time({service=~".+"}[1m])) by (service) > 3 or vector(0)"#,
    r#"label_replace(sum by (service) (rate({service=~".+"}[1m])), "s", "$1", "service", "(.*)")"#,
    r#"1 + 2"#,
];

#[derive(Debug, Clone)]
struct Row {
    /// After START, nanoseconds; all different.
    at: i64,
    service: &'static str,
    line: String,
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (0..600i64, 0..3usize, 0..3u32, 0..1000u32, any::<bool>());
    prop::collection::vec(row, 1..120).prop_map(|rows| {
        let services = ["a", "b", "c"];
        rows.into_iter()
            .enumerate()
            .map(|(number, (second, service, code, ms, is_error))| Row {
                at: second * S + number as i64 * 1000 + 7,
                service: services[service],
                line: format!(
                    r#"{{"code":"{code}","ms":{ms},"msg":"{} {number}"}}"#,
                    if is_error { "error" } else { "fine" }
                ),
            })
            .collect()
    })
}

struct World {
    catalog: Arc<Catalog>,
    engine: Engine,
    clock: Clock,
    tenant: TenantId,
    lsn: u64,
}

impl World {
    fn new(threads: &tokio::runtime::Runtime) -> Self {
        let streams = Arc::new(Streams::default());
        let catalog = Arc::new(Catalog::new(streams.clone(), Vec::new(), Lsn(0)));
        let store = Arc::new(object_store::memory::InMemory::new());
        let indexes = FileIndexes::new(store, object_store::path::Path::default(), streams, 1 << 20);
        let limits = EngineLimits {
            memory_bytes_max: 64 << 20,
            tenant_memory_bytes_max: 0,
            threads: 2,
            timeout: Duration::from_secs(30),
            results_bytes_max: 1 << 20,
            results_time_to_live: Duration::from_secs(60),
        };
        let clock = Clock::manual(UnixNanos(START));
        let engine =
            Engine::new(catalog.clone(), indexes, limits, clock.clone(), threads.handle().clone()).expect("an engine");
        World { catalog, engine, clock, tenant: TenantId::single(), lsn: 0 }
    }

    fn append(&mut self, rows: &[Row]) {
        let mut builder = LogBatchBuilder::default();
        for row in rows {
            let slot = builder.stream(&Labels::from_pairs([("service", row.service)]));
            builder.push(slot, START + row.at, None, &row.line, []);
        }
        let batch = builder.finish().expect("rows");
        let streams = self.catalog.streams().tenant(&self.tenant);
        let rows = crate::ingest::shard::rows_of(&batch, &streams).expect("rows");
        let hashes = row_hashes(&self.tenant, &rows, |stream| streams.get(StreamRef(stream)));
        self.lsn += 1;
        let arrival = Arrival { tenant: self.tenant.clone(), rows, hashes };
        self.catalog.append([(Lsn(self.lsn), arrival)], self.clock.now());
    }

    async fn ask(&self, text: &str, at: UnixNanos) -> Result<BTreeMap<Labels, f64>, String> {
        let request = QueryRequest {
            scope: crate::access::Scope::of_server(self.tenant.clone()),
            text: text.to_owned(),
            kind: QueryKind::Instant { time: at },
            limit: 100,
            direction: Direction::Backward,
            categorize: false,
            splitting: None,
            series_max: 0,
            timeout: Duration::from_secs(30),
        };
        match self.engine.query(request).await.map_err(|error| error.to_string())?.0 {
            QueryAnswer::Vector { samples, .. } => Ok(samples.into_iter().collect()),
            QueryAnswer::Scalar { value, .. } => Ok(BTreeMap::from([(Labels::default(), value)])),
            other => Err(format!("no vector: {other:?}")),
        }
    }
}

/// What was said of each evaluation last.
type Answers = BTreeMap<UnixNanos, BTreeMap<Labels, f64>>;

fn take(outputs: &mut mpsc::Receiver<Output>, rule_count: usize, answers: &mut [Answers]) -> Option<UnixNanos> {
    let mut last = None;
    while let Ok(output) = outputs.try_recv() {
        match output {
            Output::Rounds(rounds) => {
                for round in rounds.into_iter().filter(|round| round.is_aligned) {
                    assert_eq!(round.results.len(), rule_count);
                    for (rule, result) in round.results.into_iter().enumerate() {
                        let samples = result.expect("all are incremental").expect("no rule fails");
                        answers[rule].insert(round.at, samples.into_iter().collect());
                    }
                    last = Some(round.at);
                }
            }
            Output::Corrected { rule, at, changed, gone, .. } => {
                let answer = answers[rule].entry(at).or_default();
                answer.extend(changed);
                gone.iter().for_each(|labels| {
                    answer.remove(labels);
                });
            }
            Output::Began(_) => panic!("the group has a former life"),
            Output::Stale(_) => panic!("no source goes"),
        }
    }
    last
}

/// `order` shuffles the rows; those before `known` are there before the rules are.
fn run(rows: Vec<Row>, order: Vec<prop::sample::Index>, known: usize) {
    let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
    let mut world = World::new(&threads);
    let mut shuffled = rows;
    for (at, index) in order.iter().enumerate().take(shuffled.len()) {
        let other = index.index(shuffled.len());
        shuffled.swap(at, other);
    }
    let known = known.min(shuffled.len());
    if known > 0 {
        world.append(&shuffled[..known]);
    }
    let feed = Arc::new(Feed::default());
    feed.want(HashSet::from([world.tenant.clone()]));
    world.catalog.watch(feed.clone());
    let timing = Timing { interval_ns: INTERVAL, query_offset_ns: 0, lateness_ns: 3600 * S, between: false };
    let streams = world.catalog.streams().tenant(&world.tenant);
    let operators: Vec<RuleOperator> = QUERIES
        .iter()
        .map(|text| {
            let Ok(Expr::Metric(expr)) = crate::logql::parse(text) else { panic!("{text}") };
            compile(&Arc::new(expr), &streams, timing, world.clock.now()).expect(text)
        })
        .collect();
    let empty: Vec<Option<RuleOperator>> = operators.iter().map(|operator| Some(operator.emptied())).collect();
    let (sender, mut outputs) = mpsc::channel(1024);
    let limits = FlowLimits {
        watermark: WatermarkLimits { delay_ns: S, idle_after_ns: 10 * S },
        state_bytes_max: 64 << 20,
        catch_up_ns: 3600 * S,
    };
    let thread = start(feed.clone(), limits, world.clock.clone(), Arc::default(), sender).expect("a thread");
    let id = GroupId(1);
    feed.order(Order::Install(FlowGroup {
        id,
        tenant: world.tenant.clone(),
        timing,
        evaluated: Some(UnixNanos(START)),
        rules: operators.into_iter().map(|operator| FlowRule { operator: Some(operator), is_alert: false }).collect(),
    }));
    // The past, while new rows come.
    let range = crate::types::time::TimeRange::new(UnixNanos(START - 3600 * S), UnixNanos::MAX);
    let snapshot = world.engine.snapshot_marked(&world.tenant, range, || feed.mark(vec![id]));
    let mut batches: Vec<&[Row]> = shuffled[known..].chunks(7).collect();
    let early = batches.split_off(batches.len() / 2);
    early.iter().for_each(|batch| world.append(batch));
    let past = threads.block_on(async {
        let mut past = Vec::new();
        for operator in empty {
            let mut operator = operator.expect("all are incremental");
            for leaf in 0..operator.leaves().len() {
                let rows = crate::query::SnapshotRows {
                    snapshot: snapshot.clone(),
                    log: operator.leaves()[leaf].log().clone(),
                    range,
                    projection: operator.leaves()[leaf].projection(),
                };
                let add = move |operator: &mut RuleOperator, batch: &arrow::array::RecordBatch| {
                    operator.on_leaf_batch(leaf, batch).map_err(|error| error.to_string())
                };
                let timeout = Duration::from_secs(30);
                operator = world.engine.fold_rows(&world.tenant, rows, operator, add, timeout).await.expect("rows");
            }
            past.push(Some(operator));
        }
        past
    });
    feed.order(Order::Hydrated(id, Ok(past)));
    // Time goes on in between: rows come before and after their windows were evaluated.
    let mut answers: Vec<Answers> = vec![Answers::new(); QUERIES.len()];
    let steps = batches.len().max(1) as i64;
    for (at, batch) in batches.iter().enumerate() {
        world.clock.set(UnixNanos(START + 700 * S * at as i64 / steps));
        world.append(batch);
        std::thread::sleep(Duration::from_millis(2));
        take(&mut outputs, QUERIES.len(), &mut answers);
    }
    let mut last = None;
    for round in 0..400 {
        world.clock.set(UnixNanos(START + (800 + round * 20) * S));
        std::thread::sleep(Duration::from_millis(3));
        last = last.max(take(&mut outputs, QUERIES.len(), &mut answers));
        if round > 3 && last >= Some(UnixNanos(START + 900 * S)) {
            break;
        }
    }
    // A last look for corrections.
    std::thread::sleep(Duration::from_millis(5));
    world.clock.set(UnixNanos(world.clock.now().0 + 20 * S));
    feed.close();
    thread.join().expect("the thread ends well");
    take(&mut outputs, QUERIES.len(), &mut answers);
    for minute in 1..=14 {
        let at = UnixNanos(START + minute * INTERVAL);
        for (rule, text) in QUERIES.iter().enumerate() {
            let expected = threads.block_on(world.ask(text, at)).expect(text);
            let got = answers[rule].get(&at).unwrap_or_else(|| panic!("{text}: minute {minute} was not evaluated"));
            assert_eq!(
                got.keys().collect::<Vec<_>>(),
                expected.keys().collect::<Vec<_>>(),
                "{text} at minute {minute}: {got:?}, asked {expected:?}"
            );
            for (labels, value) in got {
                let asked = expected[labels];
                let is_close =
                    (value - asked).abs() <= 1e-9 * asked.abs().max(1.0) || value.to_bits() == asked.to_bits();
                assert!(is_close, "{text} at minute {minute}, {labels}: {value}, asked {asked}");
            }
        }
    }
}

#[test]
fn a_group_without_a_former_life_says_where_it_begins() {
    let (id, now) = (GroupId(1), UnixNanos(START + 100 * S));
    let timing = Timing { interval_ns: INTERVAL, query_offset_ns: 0, lateness_ns: 0, between: false };
    let run = |evaluated| {
        let mut group = super::group::GroupRun::new(FlowGroup {
            id,
            tenant: TenantId::single(),
            timing,
            evaluated,
            rules: Vec::new(),
        });
        group.on_mark();
        group.on_past(Ok(Vec::new()), now);
        let mut found = Vec::new();
        for second in [90, 95, 130] {
            let mut due = super::group::Due::default();
            group.evaluate(UnixNanos(START + second * S), now, 3600 * S, &mut due);
            let rounds: Vec<UnixNanos> = due.rounds.iter().map(|round| round.at).collect();
            found.push((due.began, rounds));
        }
        found
    };
    let at = |minute: i64| UnixNanos(START + minute * INTERVAL);
    assert_eq!(run(None), [(vec![(id, at(1))], vec![]), (vec![], vec![]), (vec![], vec![at(2)])]);
    assert_eq!(run(Some(at(0))), [(vec![], vec![at(1)]), (vec![], vec![]), (vec![], vec![at(2)])]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_rule_is_the_same_query_asked_afterwards(
        rows in rows(),
        order in prop::collection::vec(any::<prop::sample::Index>(), 120),
        known in 0..60usize,
    ) {
        run(rows, order, known);
    }
}
