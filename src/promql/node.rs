//! A plan: a syntax tree in which times, matchers and functions are resolved.

use regex::Regex;

use super::eval::over_time::Window;
use crate::types::labels::Labels;

/// An expression.
#[derive(Debug)]
pub(super) enum Node {
    Number(f64),
    Text(String),
    Selector(InstantSelector),
    /// A range vector that is the whole query.
    Range(RangeSource),
    Negate(Box<Node>),
    Binary(Box<Binary>),
    Aggregate(Box<Aggregate>),
    Call(Box<Call>),
}

/// What an expression gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Scalar,
    Text,
    Vector,
    Range,
}

/// Where a selector looks when it is asked at a step: `offset` and `@`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Shift {
    pub(super) offset_ms: i64,
    /// Wherever the step is.
    pub(super) at_ms: Option<i64>,
}

impl Shift {
    pub(super) fn look(&self, step_ms: i64) -> i64 {
        self.at_ms.unwrap_or(step_ms).saturating_sub(self.offset_ms)
    }
}

#[derive(Debug)]
pub(super) struct InstantSelector {
    /// Place in the plan's selections.
    pub(super) selection: usize,
    pub(super) shift: Shift,
}

/// Where a range function's samples come from.
#[derive(Debug)]
pub(super) struct RangeSource {
    pub(super) from: RangeFrom,
    pub(super) shift: Shift,
    pub(super) range_ms: i64,
}

#[derive(Debug)]
pub(super) enum RangeFrom {
    Selection(usize),
    Subquery { node: Box<Node>, step_ms: i64 },
}

#[derive(Debug)]
pub(super) struct Binary {
    pub(super) op: BinaryOp,
    pub(super) left: Node,
    pub(super) right: Node,
    pub(super) return_bool: bool,
    pub(super) matching: Matching,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BinaryOp {
    Arithmetic(Arithmetic),
    Comparison(Comparison),
    Set(SetOp),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SetOp {
    And,
    Or,
    Unless,
}

/// Which elements of two vectors belong together.
#[derive(Debug, Clone, Default)]
pub(super) struct Matching {
    /// `on`; else `ignoring`.
    pub(super) on: bool,
    pub(super) names: Vec<String>,
    pub(super) cardinality: Cardinality,
    /// Labels of the one side that the result takes.
    pub(super) include: Vec<String>,
    /// What stands for an element that is not there.
    pub(super) fill_left: Option<f64>,
    pub(super) fill_right: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Cardinality {
    #[default]
    OneToOne,
    /// `group_left`.
    ManyToOne,
    /// `group_right`.
    OneToMany,
}

#[derive(Debug)]
pub(super) struct Aggregate {
    pub(super) op: AggregateOp,
    pub(super) grouping: Grouping,
    pub(super) input: Node,
}

#[derive(Debug)]
pub(super) enum AggregateOp {
    Sum,
    Avg,
    Min,
    Max,
    Count,
    Group,
    Stddev,
    Stdvar,
    Quantile(Node),
    Top(Node),
    Bottom(Node),
    Limit(Node),
    LimitRatio(Node),
    CountValues(String),
}

#[derive(Debug)]
pub(super) enum Grouping {
    By(Vec<String>),
    Without(Vec<String>),
}

/// A function with its arguments.
#[derive(Debug)]
pub(super) enum Call {
    /// A function of each value alone.
    Each {
        function: fn(f64) -> f64,
        input: Node,
    },
    Clamp {
        input: Node,
        least: Option<Node>,
        most: Option<Node>,
    },
    Round {
        input: Node,
        to: Option<Node>,
    },
    OverTime {
        function: fn(&Window<'_>) -> Option<f64>,
        source: RangeSource,
        scalars: Vec<Node>,
        /// Whether the result is still the metric.
        keeps_name: bool,
        check: RangeCheck,
    },
    AbsentOverTime {
        source: RangeSource,
        labels: Labels,
    },
    Absent {
        input: Node,
        labels: Labels,
    },
    Scalar(Node),
    Vector(Node),
    Time,
    /// The time of a selector's sample, of anything else that of the step.
    Timestamp(Node),
    Date {
        part: fn(i64) -> f64,
        /// Seconds since the epoch; none: the step.
        input: Option<Node>,
    },
    Pick {
        function: fn(f64, f64) -> f64,
        left: Node,
        right: Node,
    },
    HistogramQuantile {
        /// With more than one, results are told apart by the label.
        quantiles: Vec<Node>,
        label: Option<String>,
        input: Node,
    },
    HistogramFraction {
        lower: Node,
        upper: Node,
        input: Node,
    },
    /// Functions of native histograms, of which there are none: their input is computed, and nothing comes of it.
    Nothing(Node),
    LabelReplace {
        input: Node,
        target: String,
        replacement: Replacement,
        source: String,
        regex: Regex,
    },
    LabelJoin {
        input: Node,
        target: String,
        separator: String,
        sources: Vec<String>,
    },
    Sort {
        input: Node,
        by: SortBy,
        descending: bool,
    },
}

/// What a range function's arguments are checked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RangeCheck {
    Nothing,
    /// The first scalar is a quantile.
    Quantile,
    /// The scalars are factors of smoothing, between 0 and 1.
    Smoothing,
    /// The metric should be a counter.
    Counter,
}

#[derive(Debug)]
pub(super) enum SortBy {
    Value,
    Labels(Vec<String>),
}

/// Go's replacement template: `$1`, `${name}`, `$$`.
#[derive(Debug)]
pub(super) struct Replacement(pub(super) Vec<Piece>);

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    Group(usize),
}

impl Node {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Node::Number(_) => Kind::Scalar,
            Node::Text(_) => Kind::Text,
            Node::Selector(_) | Node::Aggregate(_) => Kind::Vector,
            Node::Range(_) => Kind::Range,
            Node::Negate(inner) => inner.kind(),
            Node::Binary(binary) => match (binary.left.kind(), binary.right.kind()) {
                (Kind::Scalar, Kind::Scalar) => Kind::Scalar,
                _ => Kind::Vector,
            },
            Node::Call(call) => match &**call {
                Call::Scalar(_) | Call::Time | Call::Pick { .. } => Kind::Scalar,
                _ => Kind::Vector,
            },
        }
    }
}
