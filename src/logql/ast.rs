//! The syntax tree of LogQL, as written: one variant a construct, nothing resolved.
//!
//! ```text
//! Expr ── Log(LogExpr)                     {a="b"} |= "x" | json
//!      └─ Metric(MetricExpr)
//!           ├─ Range(RangeAggregation)     rate({a="b"} | json [5m] offset 1m)
//!           ├─ Vector(VectorAggregation)   sum by (a) (…)
//!           ├─ Binary(BinaryExpr)          … / on(a) group_left …
//!           ├─ LabelReplace                label_replace(…, "dst", "$1", "src", "re")
//!           └─ Number, VectorLiteral       2, vector(2)
//! ```
//!
//! Units: durations are signed nanoseconds. Strings are unquoted values; the printer quotes.

/// A whole query.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    Log(LogExpr),
    Metric(MetricExpr),
}

/// A stream selector and its pipeline.
#[derive(Debug, Clone, PartialEq)]
pub struct LogExpr {
    pub matchers: Vec<Matcher>,
    pub stages: Vec<Stage>,
}

/// `name op "value"` in a selector, `drop` or `keep`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Matcher {
    pub name: String,
    pub op: MatchOp,
    pub value: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`, anchored
    Regex,
    /// `!~`, anchored
    NotRegex,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Stage {
    LineFilter(LineFilter),
    Json {
        fields: Vec<FieldExtraction>,
    },
    Logfmt {
        strict: bool,
        keep_empty: bool,
        fields: Vec<FieldExtraction>,
    },
    Regexp {
        pattern: String,
    },
    Pattern {
        pattern: String,
    },
    Unpack,
    LabelFilter(LabelFilter),
    LineFormat {
        template: String,
    },
    LabelFormat {
        formats: Vec<LabelFormat>,
    },
    Drop {
        labels: Vec<LabelSelector>,
    },
    Keep {
        labels: Vec<LabelSelector>,
    },
    Decolorize,
    /// Only last in the pipeline of a range aggregation, or followed by label filters.
    Unwrap {
        conversion: Option<UnwrapConversion>,
        label: String,
    },
}

/// `|= "a" or "b"`: one operator, alternatives in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineFilter {
    pub op: LineFilterOp,
    /// At least one.
    pub any_of: Vec<LineMatch>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LineFilterOp {
    /// `|=`
    Contains,
    /// `!=`
    NotContains,
    /// `|~`, not anchored
    Regex,
    /// `!~`
    NotRegex,
    /// `|>`
    Pattern,
    /// `!>`
    NotPattern,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineMatch {
    Text(String),
    /// `ip("10.0.0.0/8")`
    Ip(String),
}

/// `identifier` or `identifier="expression"` after `json` or `logfmt`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldExtraction {
    pub label: String,
    pub expression: String,
}

#[derive(Debug, Clone, PartialEq)]
pub enum LabelFilter {
    /// `a="b"`, `a=~"b"`; missing counts as empty.
    Text(Matcher),
    /// `a > 5`
    Number {
        label: String,
        op: CompareOp,
        value: f64,
    },
    /// `a > 5s`, nanoseconds
    Duration {
        label: String,
        op: CompareOp,
        nanos: i64,
    },
    /// `a > 5KB`
    Bytes {
        label: String,
        op: CompareOp,
        bytes: u64,
    },
    /// `a = ip("…")`, `a != ip("…")`; `op` is `Equal` or `NotEqual`
    Ip {
        label: String,
        op: MatchOp,
        pattern: String,
    },
    And(Box<LabelFilter>, Box<LabelFilter>),
    Or(Box<LabelFilter>, Box<LabelFilter>),
}

/// Comparisons of label filters and of binary operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CompareOp {
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelFormat {
    pub label: String,
    pub source: FormatSource,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FormatSource {
    /// `a=b`: renames b to a
    Rename(String),
    /// `a="{{.b}}"`
    Template(String),
}

/// What `drop` and `keep` name: a label, or a label with this value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelSelector {
    Name(String),
    Matcher(Matcher),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UnwrapConversion {
    Bytes,
    Duration,
    DurationSeconds,
}

#[derive(Debug, Clone, PartialEq)]
pub enum MetricExpr {
    Range(RangeAggregation),
    Vector(VectorAggregation),
    Binary(BinaryExpr),
    LabelReplace {
        inner: Box<MetricExpr>,
        dst: String,
        replacement: String,
        src: String,
        regex: String,
    },
    Number(f64),
    /// `vector(5)`
    VectorLiteral(f64),
}

/// `op(param, log [range] offset …) by (…)`
#[derive(Debug, Clone, PartialEq)]
pub struct RangeAggregation {
    pub op: RangeOp,
    /// The quantile of `quantile_over_time`.
    pub param: Option<f64>,
    /// Selector and pipeline; an `Unwrap` stage and filters after it are part of `stages`,
    /// in the order they apply, wherever the range was written.
    pub log: LogExpr,
    pub range_ns: i64,
    pub offset_ns: i64,
    pub grouping: Option<Grouping>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RangeOp {
    Rate,
    RateCounter,
    CountOverTime,
    BytesRate,
    BytesOverTime,
    SumOverTime,
    AvgOverTime,
    MinOverTime,
    MaxOverTime,
    StddevOverTime,
    StdvarOverTime,
    QuantileOverTime,
    FirstOverTime,
    LastOverTime,
    AbsentOverTime,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grouping {
    pub without: bool,
    pub labels: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct VectorAggregation {
    pub op: VectorOp,
    /// k of `topk`, `bottomk`, `approx_topk`.
    pub param: Option<u64>,
    pub inner: Box<MetricExpr>,
    pub grouping: Option<Grouping>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VectorOp {
    Sum,
    Avg,
    Max,
    Min,
    Count,
    Stddev,
    Stdvar,
    Topk,
    Bottomk,
    ApproxTopk,
    Sort,
    SortDesc,
}

#[derive(Debug, Clone, PartialEq)]
pub struct BinaryExpr {
    pub op: BinaryOp,
    pub left: Box<MetricExpr>,
    pub right: Box<MetricExpr>,
    /// `bool` after a comparison.
    pub return_bool: bool,
    /// `on`/`ignoring` and `group_left`/`group_right`; `None` when none was written.
    pub matching: Option<VectorMatching>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    Or,
    And,
    Unless,
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Compare(CompareOp),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VectorMatching {
    /// `on(…)` when true, `ignoring(…)` when false.
    pub on: bool,
    pub labels: Vec<String>,
    pub group: Group,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Group {
    /// One to one.
    None,
    /// `group_left(include…)`: many on the left.
    Left(Vec<String>),
    /// `group_right(include…)`: many on the right.
    Right(Vec<String>),
}
