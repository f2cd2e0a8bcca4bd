//! Syntax tree to plan: types are checked, `offset` and `@` resolved, and what selectors read is written down.
//!
//! ```text
//! Expr + Steps ─▶ Planner ─▶ Plan { root: Node, selections: [matchers × times] }
//!                   └─ within a subquery: the steps of the subquery
//! ```

use std::time::{Duration, SystemTime};

use promql_parser::parser::token as t;
use promql_parser::parser::{
    AggregateExpr, AtModifier, BinModifier, BinaryExpr, Expr, LabelModifier, Offset, VectorMatchCardinality,
    VectorSelector,
};

use super::error::PromqlError;
use super::matchers::Matcher;
use super::node::{
    Aggregate, AggregateOp, Arithmetic, Binary, BinaryOp, Cardinality, Comparison, Grouping, InstantSelector, Kind,
    Matching, Node, RangeFrom, RangeSource, SetOp, Shift,
};
use super::parse::selector_matchers;
use super::value::Steps;

/// Levels of a plan: evaluation recurses once a level.
const LEVELS_MAX: usize = 400;
/// Step of a subquery that names none: Prometheus' default evaluation interval.
const SUBQUERY_STEP_MS: i64 = 60_000;

/// Largest duration and farthest time, milliseconds: sums and differences of a few of them do not overflow.
pub(super) const MILLIS_MAX: i64 = 1 << 53;

/// What one selector reads.
#[derive(Debug, Clone)]
pub struct Selection {
    pub matchers: Vec<Matcher>,
    /// Milliseconds, inside.
    pub start_ms: i64,
    /// Milliseconds, inside.
    pub end_ms: i64,
}

#[derive(Debug)]
pub(super) struct Plan {
    pub(super) root: Node,
    pub(super) selections: Vec<Selection>,
}

/// Settings that a plan depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct PlanLimits {
    pub(super) lookback_ms: i64,
    /// Steps of a subquery at most: each holds a value of each series.
    pub(super) samples_max: usize,
}

/// # Errors
/// `BadQuery` for what has no meaning, `TooManySamples` for a subquery with more steps than samples may be held.
pub(super) fn plan(expr: &Expr, steps: Steps, limits: PlanLimits) -> Result<Plan, PromqlError> {
    let mut planner = Planner { query: steps, limits, selections: Vec::new(), level: 0 };
    let root = planner.node(expr, steps)?;
    Ok(Plan { root, selections: planner.selections })
}

pub(super) struct Planner {
    /// Steps of the whole query: `start()` and `end()`.
    pub(super) query: Steps,
    limits: PlanLimits,
    selections: Vec<Selection>,
    level: usize,
}

pub(super) fn bad(text: impl Into<String>) -> PromqlError {
    PromqlError::BadQuery(format!("parse error: {}", text.into()))
}

impl Planner {
    /// The plan of `expr`, asked at `steps`.
    pub(super) fn node(&mut self, expr: &Expr, steps: Steps) -> Result<Node, PromqlError> {
        self.level += 1;
        if self.level > LEVELS_MAX {
            return Err(bad(format!("the query is nested deeper than {LEVELS_MAX} levels")));
        }
        let node = match expr {
            Expr::NumberLiteral(number) => Node::Number(number.val),
            Expr::StringLiteral(text) => Node::Text(text.val.clone()),
            Expr::Paren(paren) => self.node(&paren.expr, steps)?,
            Expr::Unary(unary) => Node::Negate(Box::new(self.node(&unary.expr, steps)?)),
            Expr::VectorSelector(selector) => Node::Selector(self.instant(selector, steps)?),
            Expr::MatrixSelector(_) | Expr::Subquery(_) => Node::Range(self.range(expr, steps)?),
            Expr::Binary(binary) => self.binary(binary, steps)?,
            Expr::Aggregate(aggregate) => self.aggregate(aggregate, steps)?,
            Expr::Call(call) => self.call(call, steps)?,
            Expr::Extension(_) => return Err(bad("extensions are not supported")),
        };
        self.level -= 1;
        Ok(node)
    }

    /// A node of the kind asked for.
    pub(super) fn node_of(&mut self, expr: &Expr, kind: Kind, steps: Steps) -> Result<Node, PromqlError> {
        let node = self.node(expr, steps)?;
        if node.kind() == kind { Ok(node) } else { Err(bad(format!("expected {kind:?}, got {:?}", node.kind()))) }
    }

    fn instant(&mut self, selector: &VectorSelector, steps: Steps) -> Result<InstantSelector, PromqlError> {
        let shift = self.shift(selector.offset.as_ref(), selector.at.as_ref())?;
        let (start, end) = (shift.look(steps.start_ms), shift.look(steps.end_ms()));
        let start_ms = start.saturating_sub(self.limits.lookback_ms - 1);
        let selection = self.select(selector_matchers(selector)?, start_ms, end);
        Ok(InstantSelector { selection, shift })
    }

    /// A range vector: of a selector or of a subquery.
    pub(super) fn range(&mut self, expr: &Expr, steps: Steps) -> Result<RangeSource, PromqlError> {
        match expr {
            Expr::Paren(paren) => self.range(&paren.expr, steps),
            Expr::MatrixSelector(matrix) => {
                let range_ms = positive_millis(matrix.range)?;
                let shift = self.shift(matrix.vs.offset.as_ref(), matrix.vs.at.as_ref())?;
                let (start, end) = (shift.look(steps.start_ms), shift.look(steps.end_ms()));
                let start_ms = start.saturating_sub(range_ms - 1);
                let selection = self.select(selector_matchers(&matrix.vs)?, start_ms, end);
                Ok(RangeSource { from: RangeFrom::Selection(selection), shift, range_ms })
            }
            Expr::Subquery(subquery) => {
                let range_ms = positive_millis(subquery.range)?;
                let shift = self.shift(subquery.offset.as_ref(), subquery.at.as_ref())?;
                let step_ms = subquery.step.map_or(Ok(SUBQUERY_STEP_MS), positive_millis)?;
                let inner = subquery_steps(steps, shift, range_ms, step_ms);
                if inner.count > self.limits.samples_max {
                    return Err(PromqlError::TooManySamples { samples_max: self.limits.samples_max });
                }
                let node = Box::new(self.node_of(&subquery.expr, Kind::Vector, inner)?);
                Ok(RangeSource { from: RangeFrom::Subquery { node, step_ms }, shift, range_ms })
            }
            _ => Err(bad("expected type range vector")),
        }
    }

    fn select(&mut self, matchers: Vec<Matcher>, start_ms: i64, end_ms: i64) -> usize {
        self.selections.push(Selection { matchers, start_ms, end_ms });
        self.selections.len() - 1
    }

    fn shift(&self, offset: Option<&Offset>, at: Option<&AtModifier>) -> Result<Shift, PromqlError> {
        let offset_ms = match offset {
            None => 0,
            Some(Offset::Pos(ahead)) => millis(*ahead)?,
            Some(Offset::Neg(behind)) => -millis(*behind)?,
        };
        let at_ms = match at {
            None => None,
            Some(AtModifier::Start) => Some(self.query.start_ms),
            Some(AtModifier::End) => Some(self.query.end_ms()),
            Some(AtModifier::At(time)) => Some(since_epoch(*time)?),
        };
        Ok(Shift { offset_ms, at_ms })
    }

    fn binary(&mut self, binary: &BinaryExpr, steps: Steps) -> Result<Node, PromqlError> {
        let op = binary_op(binary.op.id()).ok_or_else(|| bad(format!("unknown operator {}", binary.op)))?;
        let (left, right) = (self.node(&binary.lhs, steps)?, self.node(&binary.rhs, steps)?);
        for side in [&left, &right] {
            if !matches!(side.kind(), Kind::Scalar | Kind::Vector) {
                return Err(bad("binary expression must contain only scalar and instant vector types"));
            }
        }
        let (left_kind, right_kind) = (left.kind(), right.kind());
        if matches!(op, BinaryOp::Set(_)) && (left_kind, right_kind) != (Kind::Vector, Kind::Vector) {
            return Err(bad(format!(
                "set operator {:?} not allowed in binary scalar expression",
                binary.op.to_string()
            )));
        }
        let return_bool = binary.return_bool();
        let both_scalar = (left_kind, right_kind) == (Kind::Scalar, Kind::Scalar);
        if matches!(op, BinaryOp::Comparison(_)) && both_scalar && !return_bool {
            return Err(bad("comparisons between scalars must use BOOL modifier"));
        }
        let matching = binary.modifier.as_ref().map_or_else(Matching::default, matching);
        Ok(Node::Binary(Box::new(Binary { op, left, right, return_bool, matching })))
    }

    fn aggregate(&mut self, aggregate: &AggregateExpr, steps: Steps) -> Result<Node, PromqlError> {
        let param = |planner: &mut Self, kind| {
            let param = aggregate.param.as_deref().ok_or_else(|| bad("missing parameter of an aggregation"))?;
            planner.node_of(param, kind, steps)
        };
        let op = match aggregate.op.id() {
            t::T_SUM => AggregateOp::Sum,
            t::T_AVG => AggregateOp::Avg,
            t::T_MIN => AggregateOp::Min,
            t::T_MAX => AggregateOp::Max,
            t::T_COUNT => AggregateOp::Count,
            t::T_GROUP => AggregateOp::Group,
            t::T_STDDEV => AggregateOp::Stddev,
            t::T_STDVAR => AggregateOp::Stdvar,
            t::T_QUANTILE => AggregateOp::Quantile(param(self, Kind::Scalar)?),
            t::T_TOPK => AggregateOp::Top(param(self, Kind::Scalar)?),
            t::T_BOTTOMK => AggregateOp::Bottom(param(self, Kind::Scalar)?),
            t::T_LIMITK => AggregateOp::Limit(param(self, Kind::Scalar)?),
            t::T_LIMIT_RATIO => AggregateOp::LimitRatio(param(self, Kind::Scalar)?),
            t::T_COUNT_VALUES => match param(self, Kind::Text)? {
                Node::Text(label) => AggregateOp::CountValues(label),
                _ => return Err(bad("the label of count_values must be a string")),
            },
            _ => return Err(bad(format!("unknown aggregation {}", aggregate.op))),
        };
        let grouping = match &aggregate.modifier {
            None => Grouping::By(Vec::new()),
            Some(LabelModifier::Include(names)) => Grouping::By(names.labels.clone()),
            Some(LabelModifier::Exclude(names)) => Grouping::Without(names.labels.clone()),
        };
        let input = self.node_of(&aggregate.expr, Kind::Vector, steps)?;
        Ok(Node::Aggregate(Box::new(Aggregate { op, grouping, input })))
    }
}

/// The steps at which a subquery is asked so that every window of `outer` has its samples: multiples of the step.
pub(super) fn subquery_steps(outer: Steps, shift: Shift, range_ms: i64, step_ms: i64) -> Steps {
    let after = shift.look(outer.start_ms).saturating_sub(range_ms);
    let start_ms = (after.div_euclid(step_ms).saturating_add(1)).saturating_mul(step_ms);
    if outer.count == 0 {
        return Steps { start_ms, step_ms, count: 0 };
    }
    Steps::range(start_ms, shift.look(outer.end_ms()), step_ms)
}

fn matching(modifier: &BinModifier) -> Matching {
    let (on, names) = match &modifier.matching {
        None => (false, Vec::new()),
        Some(LabelModifier::Include(names)) => (true, names.labels.clone()),
        Some(LabelModifier::Exclude(names)) => (false, names.labels.clone()),
    };
    let (cardinality, include) = match &modifier.card {
        VectorMatchCardinality::ManyToOne(include) => (Cardinality::ManyToOne, include.labels.clone()),
        VectorMatchCardinality::OneToMany(include) => (Cardinality::OneToMany, include.labels.clone()),
        VectorMatchCardinality::OneToOne | VectorMatchCardinality::ManyToMany => (Cardinality::OneToOne, Vec::new()),
    };
    let (fill_left, fill_right) = (modifier.fill_values.lhs, modifier.fill_values.rhs);
    Matching { on, names, cardinality, include, fill_left, fill_right }
}

fn binary_op(id: t::TokenId) -> Option<BinaryOp> {
    Some(match id {
        t::T_ADD => BinaryOp::Arithmetic(Arithmetic::Add),
        t::T_SUB => BinaryOp::Arithmetic(Arithmetic::Sub),
        t::T_MUL => BinaryOp::Arithmetic(Arithmetic::Mul),
        t::T_DIV => BinaryOp::Arithmetic(Arithmetic::Div),
        t::T_MOD => BinaryOp::Arithmetic(Arithmetic::Mod),
        t::T_POW => BinaryOp::Arithmetic(Arithmetic::Pow),
        t::T_ATAN2 => BinaryOp::Arithmetic(Arithmetic::Atan2),
        t::T_EQLC => BinaryOp::Comparison(Comparison::Equal),
        t::T_NEQ => BinaryOp::Comparison(Comparison::NotEqual),
        t::T_GTR => BinaryOp::Comparison(Comparison::Greater),
        t::T_GTE => BinaryOp::Comparison(Comparison::GreaterOrEqual),
        t::T_LSS => BinaryOp::Comparison(Comparison::Less),
        t::T_LTE => BinaryOp::Comparison(Comparison::LessOrEqual),
        t::T_LAND => BinaryOp::Set(SetOp::And),
        t::T_LOR => BinaryOp::Set(SetOp::Or),
        t::T_LUNLESS => BinaryOp::Set(SetOp::Unless),
        _ => return None,
    })
}

fn millis(duration: Duration) -> Result<i64, PromqlError> {
    let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    if millis <= MILLIS_MAX { Ok(millis) } else { Err(bad("duration out of range")) }
}

fn positive_millis(duration: Duration) -> Result<i64, PromqlError> {
    match millis(duration)? {
        0 => Err(bad("duration must be greater than 0")),
        millis => Ok(millis),
    }
}

fn since_epoch(time: SystemTime) -> Result<i64, PromqlError> {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => millis(after),
        Err(before) => Ok(-millis(before.duration())?),
    }
}
