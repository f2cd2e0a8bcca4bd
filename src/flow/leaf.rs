//! One range aggregation as an operator: rows in any order become panes, panes become the value of any window.
//!
//! ```text
//! batch ─▶ streams of the selector ─▶ row pipeline ─▶ series ─▶ its pane        (work per row: one pane)
//! evaluation ─▶ panes of the window, merged, for each series ─▶ matrix of one step
//! ```
//!
//! Invariants: the value of a window is the same whatever order its rows came in; operators of the same aggregation
//! over disjoint rows merge to the operator over all of them. No clock, no channel, no store.
//! Errors: a row that the pipeline gives an error is kept as the error of its pane: a window with it has no value,
//! as the query has none.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::files::fields::Members;
use crate::flow::FlowError;
use crate::flow::completeness::{Completeness, IncompleteWindow};
use crate::flow::grid::{PaneGrid, PaneId};
use crate::flow::pane::{Pane, PaneKind};
use crate::logql::ast::{LogExpr, RangeOp};
use crate::query::matchers::Selector;
use crate::query::matrix::{Matrix, Series, Steps};
use crate::query::operators::range::pipeline_error;
use crate::query::operators::rows::RowRunner;
use crate::query::operators::series::SeriesTable;
use crate::query::plan::{Leaf, LeafProgram, leaf_program};
use crate::query::row::Row;
use crate::streams::{StreamRef, TenantStreams};
use crate::types::labels::Labels;
use crate::types::rows::{RowProjection, Rows};

/// Series without panes that wait to be forgotten; forgetting costs a pass over all.
const DEAD_SERIES_MIN: usize = 1024;

/// What one batch did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Added {
    /// Rows that are in the aggregation.
    pub rows: u64,
    /// Rows that came too late for some window, which is final without them.
    pub missed: u64,
    /// Panes of windows that were evaluated before, which these rows change.
    pub late: BTreeSet<PaneId>,
}

/// Evaluations that are over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Horizon {
    /// The last that was evaluated.
    pub evaluated: i64,
    /// The first that can still be corrected.
    pub open: i64,
}

/// The aggregation and its state.
pub struct LeafOperator {
    op: RangeOp,
    param: f64,
    kind: PaneKind,
    grid: PaneGrid,
    log: LogExpr,
    program: LeafProgram,
    selector: Selector,
    runner: RowRunner,
    /// The members of JSON lines that it reads, when it reads nothing else of them.
    members: Option<Members>,
    /// By stream: whether the selector chooses it; none while it was not met.
    chosen: Vec<Option<bool>>,
    /// By stream: its series, where nothing else decides.
    by_stream: Vec<Option<u32>>,
    series: SeriesTable,
    /// By series, ascending.
    panes: Vec<VecDeque<(PaneId, Pane)>>,
    errors: BTreeMap<PaneId, (i64, String)>,
    completeness: Completeness,
    bytes: usize,
    /// Panes before this one are in no window any more.
    first_kept: PaneId,
}

impl std::fmt::Debug for LeafOperator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LeafOperator").field("op", &self.op).field("grid", &self.grid).finish_non_exhaustive()
    }
}

impl LeafOperator {
    /// For evaluations at `phase_ns + k · step_ns`. `now_ns` is what templates take for now.
    ///
    /// # Errors
    /// When the pipeline does not compile.
    pub fn new(
        leaf: &Leaf<'_>,
        streams: std::sync::Arc<TenantStreams>,
        step_ns: i64,
        phase_ns: i64,
        now_ns: i64,
    ) -> Result<Self, FlowError> {
        let range = leaf.range;
        let program = leaf_program(leaf, streams, now_ns).map_err(|error| FlowError::Compile(error.to_string()))?;
        let is_bytes = matches!(range.op, RangeOp::BytesOverTime | RangeOp::BytesRate);
        let members = if is_bytes { None } else { program.program.pipeline.parsed_alone() };
        Ok(LeafOperator {
            op: range.op,
            param: range.param.unwrap_or(0.0),
            kind: PaneKind::new(range.op, program.unwrapped),
            grid: PaneGrid::new(step_ns, phase_ns, range.range_ns, range.offset_ns),
            log: range.log.clone(),
            selector: Selector::compile(&range.log.matchers).map_err(|error| FlowError::Compile(error.to_string()))?,
            runner: RowRunner::new(program.program.clone()),
            members,
            program,
            chosen: Vec::new(),
            by_stream: Vec::new(),
            series: SeriesTable::default(),
            panes: Vec::new(),
            errors: BTreeMap::new(),
            completeness: Completeness::default(),
            bytes: 0,
            first_kept: PaneId::MIN,
        })
    }

    pub fn grid(&self) -> &PaneGrid {
        &self.grid
    }

    /// What is to be read for it from the store.
    pub fn log(&self) -> &LogExpr {
        &self.log
    }

    /// The members of JSON lines that it reads, when it reads nothing else of them: rows may then have narrowed lines.
    pub fn members(&self) -> Option<&Members> {
        self.members.as_ref()
    }

    /// Whether the selector chooses a stream.
    pub fn chooses(&self, stream: StreamRef) -> bool {
        self.selector.matches(&self.program.program.streams.get(stream).labels)
    }

    pub fn projection(&self) -> RowProjection {
        self.program.projection
    }

    /// The same aggregation without a row.
    pub fn emptied(&self) -> Self {
        LeafOperator {
            op: self.op,
            param: self.param,
            kind: self.kind,
            grid: self.grid,
            log: self.log.clone(),
            program: self.program.clone(),
            selector: self.selector.clone(),
            runner: RowRunner::new(self.program.program.clone()),
            members: self.members.clone(),
            chosen: Vec::new(),
            by_stream: Vec::new(),
            series: SeriesTable::default(),
            panes: Vec::new(),
            errors: BTreeMap::new(),
            completeness: self.completeness.emptied(),
            bytes: 0,
            first_kept: self.first_kept,
        }
    }

    /// Adds the rows of a batch that the selector chooses.
    pub fn add(&mut self, rows: &Rows<'_>, horizon: Option<Horizon>) -> Result<Added, FlowError> {
        let mut added = Added::default();
        let rows = &Rows { narrowed: rows.narrowed.filter(|_| self.members.is_some()), ..rows.clone() };
        self.meet_streams(rows.stream);
        if self.program.by_stream_alone && rows.metadata.is_none_or(|metadata| metadata.is_all_null()) {
            self.add_runs(rows, horizon, &mut added)?;
        } else {
            self.add_rows(rows, horizon, &mut added)?;
        }
        Ok(added)
    }

    fn add_rows(&mut self, rows: &Rows<'_>, horizon: Option<Horizon>, added: &mut Added) -> Result<(), FlowError> {
        let LeafOperator {
            runner, chosen, series, panes, errors, bytes, grid, kind, op, program, completeness, ..
        } = self;
        let order = (0..rows.len()).filter(|row| chosen[rows.stream[*row] as usize] == Some(true));
        let first_kept = self.first_kept;
        let mut last: Option<(u32, usize)> = None;
        let ran = runner.run(rows, order, |row, mut kept| {
            let ts = rows.ts[row];
            let Some(pane) = placed(grid, ts, first_kept, horizon, completeness, added) else { return Ok(()) };
            if let Some(error) = kept.error() {
                let text = || pipeline_error(error, &kept.labels());
                match errors.get(&pane) {
                    Some((known, _)) if *known <= ts => {}
                    _ => {
                        errors.insert(pane, (ts, text()));
                    }
                }
                return Ok(());
            }
            let value = row_value(*op, program.unwrapped, &kept);
            let number = series.of(&mut kept);
            put(panes, bytes, &mut last, number, pane, *kind).add_to(bytes, ts, value);
            Ok(())
        });
        ran.map_err(|error| FlowError::Rows(error.to_string()))
    }

    /// A series is a stream: found once, then rows are only put into panes.
    fn add_runs(&mut self, rows: &Rows<'_>, horizon: Option<Horizon>, added: &mut Added) -> Result<(), FlowError> {
        let is_bytes = matches!(self.op, RangeOp::BytesOverTime | RangeOp::BytesRate);
        let mut last: Option<(u32, usize)> = None;
        for row in 0..rows.len() {
            let stream = rows.stream[row] as usize;
            if self.chosen[stream] != Some(true) {
                continue;
            }
            if self.by_stream.len() <= stream {
                self.by_stream.resize(stream + 1, None);
            }
            let number = match self.by_stream[stream] {
                Some(number) => number,
                None => {
                    let series = &mut self.series;
                    let mut found = None;
                    let ran = self.runner.run(rows, row..row + 1, |_, mut kept| {
                        found = Some(series.of(&mut kept));
                        Ok(())
                    });
                    ran.map_err(|error| FlowError::Rows(error.to_string()))?;
                    let Some(number) = found else { continue };
                    self.by_stream[stream] = Some(number);
                    number
                }
            };
            let place = placed(&self.grid, rows.ts[row], self.first_kept, horizon, &mut self.completeness, added);
            let Some(pane) = place else { continue };
            let value = match rows.line.filter(|_| is_bytes) {
                Some(lines) => f64::from(lines.bytes(row)),
                None => 1.0,
            };
            let place = put(&mut self.panes, &mut self.bytes, &mut last, number, pane, self.kind);
            place.add_to(&mut self.bytes, rows.ts[row], value);
        }
        Ok(())
    }

    /// Takes in an operator of the same aggregation over other rows.
    pub fn merge(&mut self, other: LeafOperator) {
        let map = self.series.absorb(&other.series);
        self.completeness.merge(&other.completeness);
        for (theirs, panes) in other.panes.into_iter().enumerate() {
            for (pane, state) in panes.into_iter().filter(|(pane, _)| *pane >= self.first_kept) {
                let mut last = None;
                let place = put(&mut self.panes, &mut self.bytes, &mut last, map[theirs], pane, self.kind);
                self.bytes = self.bytes.saturating_sub(place.0.bytes());
                place.0.merge(&state);
                self.bytes += place.0.bytes();
            }
        }
        for (pane, (ts, text)) in other.errors {
            match self.errors.get(&pane) {
                Some((known, _)) if *known <= ts => {}
                _ => {
                    self.errors.insert(pane, (ts, text));
                }
            }
        }
    }

    /// The value of every series at one evaluation, `at_ns`.
    ///
    /// # Errors
    /// `Pipeline` when a row of the window has an error.
    pub fn evaluate(&self, at_ns: i64) -> Result<Matrix, FlowError> {
        let (low, high) = self.grid.window(self.grid.evaluation(at_ns));
        let refused = self.errors.range(low..=high).map(|(_, error)| error).min_by_key(|(ts, _)| *ts);
        if let Some((_, text)) = refused {
            return Err(FlowError::Pipeline(text.clone()));
        }
        let steps = Steps { start_ns: at_ns, step_ns: 1, count: 1 };
        let mut series = Vec::new();
        for (number, panes) in self.panes.iter().enumerate() {
            let from = panes.partition_point(|(pane, _)| *pane < low);
            let mut inside = panes.range(from..).take_while(|(pane, _)| *pane <= high).map(|(_, pane)| pane);
            let Some(first) = inside.next() else { continue };
            let mut whole = first.clone();
            inside.for_each(|pane| whole.merge(pane));
            let value = self.kind.result(&whole, self.param, self.grid.range_ns(), self.grid.window_end(at_ns));
            let mut one = Series::empty(self.series.labels(number as u32).clone(), 1);
            one.set(0, value);
            series.push(one);
        }
        if let Some(labels) = &self.program.absent_labels {
            let is_absent = series.is_empty();
            series.clear();
            let mut one = Series::empty(labels.clone(), 1);
            if is_absent {
                one.set(0, 1.0);
            }
            series.push(one);
        }
        Ok(Matrix { steps, series })
    }

    /// Forgets panes of windows before evaluation `open`.
    pub fn forget_before(&mut self, open: i64) {
        let first_kept = self.grid.window(open).0;
        if first_kept <= self.first_kept {
            return;
        }
        self.first_kept = first_kept;
        let mut dead = 0;
        for panes in &mut self.panes {
            while let Some((_, pane)) = panes.pop_front_if(|(pane, _)| *pane < first_kept) {
                self.bytes = self.bytes.saturating_sub(pane.bytes());
            }
            dead += usize::from(panes.is_empty());
        }
        self.errors = self.errors.split_off(&first_kept);
        if dead >= DEAD_SERIES_MIN && dead * 2 > self.panes.len() {
            self.forget_dead();
        }
    }

    fn forget_dead(&mut self) {
        let mut living = SeriesTable::default();
        let mut panes = Vec::new();
        for (number, of_series) in std::mem::take(&mut self.panes).into_iter().enumerate() {
            if !of_series.is_empty() {
                living.take_over(&self.series, number as u32);
                panes.push(of_series);
            }
        }
        self.series = living;
        self.panes = panes;
        self.by_stream.clear();
    }

    /// Series that have rows.
    pub fn series(&self) -> usize {
        self.panes.iter().filter(|panes| !panes.is_empty()).count()
    }

    /// The newest windows that are final without some of their rows, oldest first.
    pub fn incomplete(&self) -> impl Iterator<Item = IncompleteWindow> {
        self.completeness.incomplete(&self.grid)
    }

    /// Memory, about.
    pub fn bytes(&self) -> usize {
        self.bytes + self.series.bytes() + self.errors.values().map(|(_, text)| text.len() + 64).sum::<usize>()
    }

    /// Labels of all series, for tests.
    pub fn labels(&self) -> impl Iterator<Item = &Labels> {
        (0..self.panes.len()).map(|number| self.series.labels(number as u32))
    }

    fn meet_streams(&mut self, streams: &[u32]) {
        let mut last = None;
        for stream in streams {
            if last == Some(*stream) {
                continue;
            }
            last = Some(*stream);
            let at = *stream as usize;
            if self.chosen.len() <= at {
                self.chosen.resize(at + 1, None);
            }
            if self.chosen[at].is_none() {
                self.chosen[at] = Some(self.chooses(StreamRef(*stream)));
            }
        }
    }
}

/// Where a row goes; counts it, and what it changes that is over already.
fn placed(
    grid: &PaneGrid,
    ts: i64,
    first_kept: PaneId,
    horizon: Option<Horizon>,
    completeness: &mut Completeness,
    added: &mut Added,
) -> Option<PaneId> {
    let pane = grid.pane_of(ts)?;
    added.rows += 1;
    completeness.came(pane);
    if let Some(horizon) = horizon {
        let (first, last) = grid.evaluations(pane);
        if first <= horizon.evaluated {
            if first < horizon.open {
                added.missed += 1;
                completeness.missed(first..horizon.open.min(last + 1));
            }
            if last >= horizon.open {
                added.late.insert(pane);
            }
        }
    }
    (pane >= first_kept).then_some(pane)
}

/// A pane to add to.
struct Place<'a>(&'a mut Pane);

impl Place<'_> {
    fn add_to(self, bytes: &mut usize, ts: i64, value: f64) {
        *bytes += self.0.add(ts, value);
    }
}

/// The pane of a series, made if need be. `last` is where the row before went.
fn put<'a>(
    panes: &'a mut Vec<VecDeque<(PaneId, Pane)>>,
    bytes: &mut usize,
    last: &mut Option<(u32, usize)>,
    number: u32,
    pane: PaneId,
    kind: PaneKind,
) -> Place<'a> {
    let at = number as usize;
    if panes.len() <= at {
        panes.resize_with(at + 1, VecDeque::new);
    }
    let of_series = &mut panes[at];
    let known =
        last.filter(|(known, place)| *known == number && of_series.get(*place).is_some_and(|(p, _)| *p == pane));
    let place = match known {
        Some((_, place)) => place,
        None => match of_series.back() {
            Some((newest, _)) if *newest == pane => of_series.len() - 1,
            Some((newest, _)) if *newest > pane => match of_series.binary_search_by_key(&pane, |(pane, _)| *pane) {
                Ok(place) => place,
                Err(place) => {
                    *bytes += size_of::<Pane>();
                    of_series.insert(place, (pane, kind.empty()));
                    place
                }
            },
            _ => {
                *bytes += size_of::<Pane>();
                of_series.push_back((pane, kind.empty()));
                of_series.len() - 1
            }
        },
    };
    *last = Some((number, place));
    Place(&mut of_series[place].1)
}

fn row_value(op: RangeOp, unwrapped: bool, row: &Row<'_>) -> f64 {
    match op {
        _ if unwrapped => row.value(),
        RangeOp::BytesOverTime | RangeOp::BytesRate => row.line().len() as f64,
        _ => 1.0,
    }
}
