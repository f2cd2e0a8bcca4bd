//! What the grammar lets through and Loki refuses: selectors that choose everything, aggregations and
//! parameters that do not fit together, regexes and patterns that do not compile.

use super::ast::{
    BinaryOp, CompareOp, Expr, MatchOp, Matcher, MetricExpr, RangeAggregation, RangeOp, Stage, VectorAggregation,
    VectorOp,
};
use super::error::ParseError;
use super::go_regex::{GoRegex, compile_go_regex};
use super::line_pattern::LinePattern;
use super::printer::{range_op_name, vector_op_name};

const NEEDS_SELECTIVE: &str = "queries require at least one regexp or equality matcher that does not have an empty-compatible value. For instance, app=~\".*\" does not meet this requirement, but app=~\".+\" will";

/// Checks a whole query.
pub(super) fn validate(expr: &Expr) -> Result<(), ParseError> {
    match expr {
        Expr::Log(log) => check_selective(&log.matchers),
        Expr::Metric(metric) => validate_metric(metric),
    }
}

fn validate_metric(metric: &MetricExpr) -> Result<(), ParseError> {
    match metric {
        MetricExpr::Range(range) => check_selective(&range.log.matchers),
        MetricExpr::Vector(vector) => {
            let sorts = matches!(vector.op, VectorOp::Sort | VectorOp::SortDesc);
            if sorts && vector.grouping.as_ref().is_some_and(|grouping| !grouping.labels.is_empty()) {
                return Err(ParseError::about("sort and sort_desc doesn't allow grouping by "));
            }
            validate_metric(&vector.inner)
        }
        MetricExpr::Binary(binary) => {
            validate_metric(&binary.left)?;
            validate_metric(&binary.right)
        }
        MetricExpr::LabelReplace { inner, .. } => validate_metric(inner),
        MetricExpr::Number(_) | MetricExpr::VectorLiteral(_) => Ok(()),
    }
}

/// At least one matcher must refuse the empty string.
fn check_selective(matchers: &[Matcher]) -> Result<(), ParseError> {
    let selective = matchers.iter().any(|matcher| match matcher.op {
        MatchOp::Equal => !matcher.value.is_empty(),
        MatchOp::Regex => matcher_regex(&matcher.value).is_ok_and(|regex| !regex.is_match("")),
        // `!=` and `!~` choose what lacks the label, or everything but one value: never selective enough for Loki
        // unless they refuse the empty string.
        MatchOp::NotEqual => matcher.value.is_empty(),
        MatchOp::NotRegex => matcher_regex(&matcher.value).is_ok_and(|regex| regex.is_match("")),
    });
    if selective { Ok(()) } else { Err(needs_selective()) }
}

/// What a query is told that chooses everything, or nothing.
pub fn needs_selective() -> ParseError {
    ParseError::about(NEEDS_SELECTIVE)
}

fn matcher_regex(pattern: &str) -> Result<GoRegex, String> {
    compile_go_regex(&format!("^(?s:{pattern})$"))
}

/// The regex of a matcher compiles.
pub(super) fn check_matcher(matcher: &Matcher) -> Result<(), ParseError> {
    if matches!(matcher.op, MatchOp::Regex | MatchOp::NotRegex) {
        matcher_regex(&matcher.value).map_err(ParseError::about)?;
    }
    Ok(())
}

/// The pattern of `| pattern` is one.
pub(super) fn check_pattern(pattern: &str) -> Result<(), ParseError> {
    let checked = LinePattern::parser(pattern);
    checked.map(|_| ()).map_err(|words| ParseError::about(format!("invalid pattern parser: {words}")))
}

/// The expression of `| regexp` compiles, and has names, each once.
pub(super) fn check_regexp(pattern: &str) -> Result<(), ParseError> {
    let error = |words: String| ParseError::about(format!("invalid regexp parser: {words}"));
    let regex = compile_go_regex(pattern).map_err(error)?;
    let mut names: Vec<&str> = Vec::new();
    for name in regex.capture_names().flatten() {
        if names.contains(&name) {
            return Err(error(format!("duplicate extracted label name '{name}'")));
        }
        names.push(name);
    }
    if names.is_empty() { Err(error("at least one named capture must be supplied".to_owned())) } else { Ok(()) }
}

/// Parameter, grouping and unwrap fit the operation.
pub(super) fn check_range(mut range: RangeAggregation, param: Option<&str>) -> Result<RangeAggregation, ParseError> {
    let name = range_op_name(range.op);
    let error = |text: String| Err(ParseError::about(text));
    match (param, range.op) {
        (Some(param), RangeOp::QuantileOverTime) => {
            let Ok(quantile) = param.parse() else {
                return error(format!("invalid parameter for operation {name}: {param}"));
            };
            range.param = Some(quantile);
        }
        (Some(param), _) => return error(format!("parameter {param} not supported for operation {name}")),
        (None, RangeOp::QuantileOverTime) => return error(format!("parameter required for operation {name}")),
        (None, _) => {}
    }
    let groups = matches!(
        range.op,
        RangeOp::AvgOverTime
            | RangeOp::StddevOverTime
            | RangeOp::StdvarOverTime
            | RangeOp::QuantileOverTime
            | RangeOp::MaxOverTime
            | RangeOp::MinOverTime
            | RangeOp::FirstOverTime
            | RangeOp::LastOverTime
    );
    if range.grouping.is_some() && !groups {
        return error(format!("grouping not allowed for {name} aggregation"));
    }
    let unwraps = range.log.stages.iter().any(|stage| matches!(stage, Stage::Unwrap { .. }));
    let counts_lines = matches!(range.op, RangeOp::CountOverTime | RangeOp::BytesOverTime | RangeOp::BytesRate);
    if unwraps && counts_lines {
        return error(format!("invalid aggregation {name} with unwrap"));
    }
    let either = matches!(range.op, RangeOp::Rate | RangeOp::AbsentOverTime);
    if !unwraps && !counts_lines && !either {
        return error(format!("invalid aggregation {name} without unwrap"));
    }
    Ok(range)
}

/// `topk` and its like have a positive parameter, the others none.
pub(super) fn check_vector(
    mut vector: VectorAggregation,
    param: Option<&str>,
) -> Result<VectorAggregation, ParseError> {
    let name = vector_op_name(vector.op);
    let error = |text: String| Err(ParseError::about(text));
    let ranks = matches!(vector.op, VectorOp::Topk | VectorOp::Bottomk | VectorOp::ApproxTopk);
    match (param, ranks) {
        (Some(param), true) => match param.parse::<i64>() {
            Err(_) => return error(format!("invalid parameter {name}({param},")),
            Ok(k) => match u64::try_from(k) {
                Ok(k) if k > 0 => vector.param = Some(k),
                _ => return error(format!("invalid parameter (must be greater than 0) {name}({param}")),
            },
        },
        (None, true) => return error(format!("parameter required for operation {name}")),
        (Some(param), false) => return error(format!("unsupported parameter for operation {name}({param},")),
        (None, false) => {}
    }
    // `by ()` is what no grouping means.
    vector.grouping = vector.grouping.filter(|grouping| grouping.without || !grouping.labels.is_empty());
    if vector.op == VectorOp::ApproxTopk && vector.grouping.is_some() {
        return error(format!("grouping not allowed for {name} aggregation"));
    }
    Ok(vector)
}

pub(super) fn check_label_replace(regex: &str) -> Result<(), ParseError> {
    compile_go_regex(&format!("^(?:{regex})$"))
        .map(|_| ())
        .map_err(|words| ParseError::about(format!("invalid regex in label_replace: {words}")))
}

/// The value of an operation on two numbers.
pub(super) fn fold(op: BinaryOp, left: f64, right: f64) -> f64 {
    let truth = |holds: bool| if holds { 1.0 } else { 0.0 };
    match op {
        BinaryOp::Add => left + right,
        BinaryOp::Sub => left - right,
        BinaryOp::Mul => left * right,
        BinaryOp::Div if right == 0.0 => f64::NAN,
        BinaryOp::Div => left / right,
        BinaryOp::Mod if right == 0.0 => f64::NAN,
        BinaryOp::Mod => left % right,
        BinaryOp::Pow => left.powf(right),
        BinaryOp::Compare(CompareOp::Equal) => truth(left == right),
        BinaryOp::Compare(CompareOp::NotEqual) => truth(left != right),
        BinaryOp::Compare(CompareOp::Greater) => truth(left > right),
        BinaryOp::Compare(CompareOp::GreaterOrEqual) => truth(left >= right),
        BinaryOp::Compare(CompareOp::Less) => truth(left < right),
        BinaryOp::Compare(CompareOp::LessOrEqual) => truth(left <= right),
        // Refused before: sets have no numbers.
        BinaryOp::Or | BinaryOp::And | BinaryOp::Unless => f64::NAN,
    }
}
