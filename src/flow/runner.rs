//! The flow thread: feeds rows to operators, follows the watermark, and evaluates what is due.
//!
//! ```text
//! take items ─▶ rows to operators, orders ─▶ watermark of each tenant ─▶ rounds due ─▶ one Output ─▶ rules
//!      └────────────────── again, at the latest after TICK ──────────────────────────────┘
//! ```
//!
//! A group is *waiting* until the mark of its snapshot passes, *reading* until the rows of the past are merged, then
//! *running*; only then it is evaluated, from where its former life ended.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::flow::feed::{Feed, Item};
use crate::flow::group::{Due, GroupRun, GroupStatus};
use crate::flow::narrowing::Narrowing;
use crate::flow::operator::{RuleOperator, Samples};
use crate::flow::watermark::{Watermark, WatermarkLimits};
use crate::flow::{FlowError, Timing};
use crate::types::ids::TenantId;
use crate::types::labels::Labels;
use crate::types::rows::{NarrowedLines, Rows};
use crate::types::time::{Clock, UnixNanos};

/// How long the thread sleeps at most: the clock moves on without rows, too.
const TICK: Duration = Duration::from_millis(100);
/// Outputs that may wait for the rules; then the thread waits, and in time the pushes.
pub const OUTPUTS_MAX: usize = 64;

/// A group of rules, by the number it was installed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupId(pub u64);

/// A group as it is installed.
#[derive(Debug)]
pub struct FlowGroup {
    pub id: GroupId,
    pub tenant: TenantId,
    pub timing: Timing,
    /// Its last evaluation, of a former life; none when it is new.
    pub evaluated: Option<UnixNanos>,
    pub rules: Vec<FlowRule>,
}

#[derive(Debug)]
pub struct FlowRule {
    /// None: it is asked of an engine.
    pub operator: Option<RuleOperator>,
    pub is_alert: bool,
}

/// What rules tell the thread.
#[derive(Debug)]
pub enum Order {
    Install(FlowGroup),
    Remove(GroupId),
    /// The rows of the past, an operator a rule; an error when they could not be read.
    Hydrated(GroupId, Result<Vec<Option<RuleOperator>>, String>),
}

/// What the thread tells rules.
#[derive(Debug)]
pub enum Output {
    /// Groups without a former life begin after these intervals; said before their first rounds.
    Began(Vec<(GroupId, UnixNanos)>),
    /// In the order of groups and times.
    Rounds(Vec<Round>),
    /// Late rows changed what was evaluated: samples at `at`.
    Corrected { group: GroupId, rule: usize, at: UnixNanos, changed: Samples, gone: Vec<Labels> },
    /// Rows of these groups must be read again from the store.
    Stale(Vec<GroupId>),
}

/// One evaluation of a group.
#[derive(Debug)]
pub struct Round {
    pub group: GroupId,
    /// The evaluation's time; rules look at `at − query_offset`.
    pub at: UnixNanos,
    /// At its interval; else between, alerts alone.
    pub is_aligned: bool,
    /// By rule; none for those that are to be asked.
    pub results: Vec<Option<Result<Samples, FlowError>>>,
    /// Seconds that each took.
    pub seconds: Vec<f64>,
}

/// Limits of the thread.
#[derive(Debug, Clone, Copy)]
pub struct FlowLimits {
    pub watermark: WatermarkLimits,
    /// State of one rule, bytes.
    pub state_bytes_max: usize,
    /// Evaluations further back than this are left out after a pause, nanoseconds.
    pub catch_up_ns: i64,
}

/// What is known of the thread's work, for the API and metrics.
#[derive(Debug, Default)]
pub struct FlowStatus {
    pub groups: Mutex<HashMap<GroupId, GroupStatus>>,
    pub watermarks: Mutex<HashMap<TenantId, UnixNanos>>,
}

/// Starts the thread; it ends when the feed is closed.
///
/// # Errors
/// When the system has no thread left.
pub fn start(
    feed: Arc<Feed>,
    limits: FlowLimits,
    clock: Clock,
    status: Arc<FlowStatus>,
    outputs: mpsc::Sender<Output>,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new().name("flow".to_owned()).spawn(move || {
        let (groups, watermarks, narrowings) = (BTreeMap::new(), HashMap::new(), HashMap::new());
        let mut runner = Runner { feed, limits, clock, status, outputs, groups, watermarks, narrowings };
        runner.run();
    })
}

struct Runner {
    feed: Arc<Feed>,
    limits: FlowLimits,
    clock: Clock,
    status: Arc<FlowStatus>,
    outputs: mpsc::Sender<Output>,
    groups: BTreeMap<GroupId, GroupRun>,
    watermarks: HashMap<TenantId, Watermark>,
    /// By tenant with rules, made with its first rows.
    narrowings: HashMap<TenantId, Narrowing>,
}

impl Runner {
    fn run(&mut self) {
        while let Some(items) = self.feed.take(TICK) {
            let mut outputs = Vec::new();
            for item in items {
                self.act(item, &mut outputs);
            }
            self.evaluate(&mut outputs);
            for output in outputs {
                if self.outputs.blocking_send(output).is_err() {
                    return;
                }
            }
        }
    }

    fn act(&mut self, item: Item, outputs: &mut Vec<Output>) {
        match item {
            Item::Rows { tenant, rows, source, arrived } => {
                let times = rows.column(0).as_primitive::<Int64Type>().values();
                let newest = times.iter().copied().max().unwrap_or(i64::MIN);
                self.watermark(&tenant).rows_came(&source, UnixNanos(newest), arrived);
                let narrowed = self.narrow(&tenant, &rows);
                let rows = Rows { narrowed: narrowed.as_ref(), ..Rows::of(&rows) };
                for group in self.groups.values_mut().filter(|group| *group.tenant() == tenant) {
                    group.on_rows(&rows, self.limits.state_bytes_max, arrived);
                }
            }
            Item::Mark(groups) => {
                for group in groups {
                    if let Some(group) = self.groups.get_mut(&group) {
                        group.on_mark();
                    }
                }
            }
            Item::SourceDropped(source) => {
                self.watermarks.values_mut().for_each(|watermark| watermark.drop_source(&source));
                let stale: Vec<GroupId> = self.groups.keys().copied().collect();
                self.groups.values_mut().for_each(GroupRun::wait_again);
                if !stale.is_empty() {
                    outputs.push(Output::Stale(stale));
                }
            }
            Item::Order(order) => match *order {
                Order::Install(group) => {
                    let evaluated = group.evaluated;
                    self.watermark(&group.tenant).reached_before(evaluated);
                    self.narrowings.remove(&group.tenant);
                    self.groups.insert(group.id, GroupRun::new(group));
                }
                Order::Remove(id) => {
                    if let Some(group) = self.groups.remove(&id) {
                        self.narrowings.remove(group.tenant());
                    }
                    self.status.groups.lock().remove(&id);
                }
                Order::Hydrated(id, past) => {
                    let now = self.clock.now();
                    if let Some(group) = self.groups.get_mut(&id) {
                        group.on_past(past, now);
                    }
                }
            },
        }
    }

    /// The lines of a batch with the members that rules read of them; none where that would not pay.
    fn narrow(&mut self, tenant: &TenantId, rows: &RecordBatch) -> Option<NarrowedLines> {
        let groups = &self.groups;
        let leaves = || groups.values().filter(|group| group.tenant() == tenant).flat_map(GroupRun::leaves);
        if !self.narrowings.contains_key(tenant) {
            self.narrowings.insert(tenant.clone(), Narrowing::of(leaves()));
        }
        self.narrowings.get_mut(tenant)?.lines(&Rows::of(rows), leaves)
    }

    fn watermark(&mut self, tenant: &TenantId) -> &mut Watermark {
        if !self.watermarks.contains_key(tenant) {
            let watermark = Watermark::new(self.limits.watermark, None, self.clock.now());
            self.watermarks.insert(tenant.clone(), watermark);
        }
        self.watermarks.get_mut(tenant).expect("put there if it was not")
    }

    fn evaluate(&mut self, outputs: &mut Vec<Output>) {
        let now = self.clock.now();
        let mut reached: HashMap<&TenantId, UnixNanos> = HashMap::new();
        for (tenant, watermark) in &mut self.watermarks {
            if let Some(at) = watermark.advance(now) {
                reached.insert(tenant, at);
            }
        }
        let mut due = Due::default();
        for (id, group) in &mut self.groups {
            let Some(watermark) = reached.get(group.tenant()) else { continue };
            group.evaluate(*watermark, now, self.limits.catch_up_ns, &mut due);
            group.correct(now, *id, outputs);
        }
        let mut shown = self.status.groups.lock();
        for (id, group) in &self.groups {
            shown.insert(*id, group.status());
        }
        drop(shown);
        let mut shown = self.status.watermarks.lock();
        for (tenant, at) in reached {
            shown.insert(tenant.clone(), at);
        }
        drop(shown);
        let Due { mut rounds, began } = due;
        if !began.is_empty() {
            outputs.push(Output::Began(began));
        }
        if !rounds.is_empty() {
            // Those of one time together, so that what is recorded at a time is there for all that read it.
            rounds.sort_by_key(|round: &Round| round.at);
            outputs.push(Output::Rounds(rounds));
        }
    }
}
