//! Metric expressions: range and vector aggregations, binary operations, literals.

use super::{Kind, ParseError, Parsed, Parser, float};
use crate::logql::ast::{
    BinaryExpr, BinaryOp, CompareOp, Expr, Group, Grouping, LogExpr, MetricExpr, RangeAggregation, RangeOp, Stage,
    VectorAggregation, VectorMatching, VectorOp,
};
use crate::logql::validate::{check_label_replace, check_range, check_vector, fold};

/// Binding strength of the operators; `^` is the only one that groups to the right.
fn strength(op: BinaryOp) -> u8 {
    match op {
        BinaryOp::Or => 1,
        BinaryOp::And | BinaryOp::Unless => 2,
        BinaryOp::Compare(_) => 3,
        BinaryOp::Add | BinaryOp::Sub => 4,
        BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod => 5,
        BinaryOp::Pow => 6,
    }
}

impl Parser {
    /// An expression of operators at least as strong as `weakest`.
    pub(super) fn expression(&mut self, weakest: u8) -> Parsed<Expr> {
        self.deeper(|parser| {
            let mut left = parser.operand()?;
            while let Some(op) = parser.binary_op().filter(|op| strength(*op) >= weakest) {
                parser.advance();
                let (return_bool, matching) = parser.modifiers()?;
                let next = if op == BinaryOp::Pow { strength(op) } else { strength(op) + 1 };
                let right = parser.expression(next)?;
                left = Expr::Metric(parser.or_unfit(binary(op, return_bool, matching, left, right)));
            }
            Ok(left)
        })
    }

    fn operand(&mut self) -> Parsed<Expr> {
        match self.peek() {
            Kind::Symbol("{") => {
                let matchers = self.selector()?;
                let stages = self.pipeline(false)?;
                Ok(Expr::Log(LogExpr { matchers, stages }))
            }
            Kind::Symbol("(") => {
                self.advance();
                let inner = self.expression(0)?;
                if !self.take(")") {
                    return self.unexpected(&[]);
                }
                Ok(inner)
            }
            Kind::Number(_) | Kind::Symbol("+" | "-") => {
                let literal = self.literal()?.map(MetricExpr::Number);
                Ok(Expr::Metric(self.or_unfit(literal)))
            }
            Kind::Symbol("VECTOR") => {
                self.advance();
                self.expect("(")?;
                let text = self.number(&["NUMBER"])?;
                self.expect(")")?;
                let value = float(&text).ok_or_else(|| {
                    ParseError::about(format!(
                        "unable to parse vectorExpr as a float: strconv.ParseFloat: parsing {text:?}: invalid syntax"
                    ))
                });
                Ok(Expr::Metric(self.or_unfit(value.map(MetricExpr::VectorLiteral))))
            }
            Kind::Symbol("label_replace") => self.label_replace().map(Expr::Metric),
            Kind::Symbol(name) => match (range_op(name), vector_op(name)) {
                (Some(op), _) => self.range_aggregation(op).map(Expr::Metric),
                (_, Some(op)) => self.vector_aggregation(op).map(Expr::Metric),
                _ => self.unexpected(&[]),
            },
            _ => self.unexpected(&[]),
        }
    }

    /// A metric expression where nothing else may stand.
    fn metric(&mut self) -> Parsed<MetricExpr> {
        match self.expression(0)? {
            Expr::Metric(metric) => Ok(metric),
            Expr::Log(_) => {
                // Loki's grammar has no log expression here: it stumbles over what follows it.
                self.unexpected(&[])
            }
        }
    }

    fn range_aggregation(&mut self, op: RangeOp) -> Parsed<MetricExpr> {
        self.advance();
        self.expect("(")?;
        let param = match self.peek() {
            Kind::Number(_) => {
                let text = self.number(&["NUMBER"])?;
                self.expect(",")?;
                Some(text)
            }
            _ => None,
        };
        let first: &[&str] = if param.is_some() { &["{", "("] } else { &["NUMBER", "{", "("] };
        let (log, range_ns, offset_ns) = self.log_range(first)?;
        self.expect(")")?;
        let grouping = self.grouping()?;
        let aggregation = RangeAggregation { op, param: None, log, range_ns, offset_ns, grouping };
        Ok(self.or_unfit(check_range(aggregation, param.as_deref()).map(MetricExpr::Range)))
    }

    /// Selector, pipeline, range and offset, in any of the orders that Loki's grammar has.
    fn log_range(&mut self, first: &[&str]) -> Parsed<(LogExpr, i64, i64)> {
        if self.is("(") {
            return self.deeper(|parser| parser.parenthesised_log_range());
        }
        if !self.is("{") {
            return self.unexpected(first);
        }
        let matchers = self.selector()?;
        let mut stages = self.pipeline(true)?;
        let (range_ns, offset_ns) = self.range(if has_unwrap(&stages) { &["RANGE", "|"] } else { &[] })?;
        if stages.is_empty() {
            stages = self.pipeline(true)?;
        }
        Ok((LogExpr { matchers, stages }, range_ns, offset_ns))
    }

    fn parenthesised_log_range(&mut self) -> Parsed<(LogExpr, i64, i64)> {
        self.expect("(")?;
        if self.is("(") {
            let inner = self.log_range(&["{", "("])?;
            self.expect(")")?;
            return Ok(inner);
        }
        if !self.is("{") {
            return self.unexpected(&["{", "("]);
        }
        let matchers = self.selector()?;
        let mut stages = self.pipeline(true)?;
        if self.take(")") {
            let (range_ns, offset_ns) = self.range(&["RANGE"])?;
            if stages.is_empty() {
                stages = self.pipeline(true)?;
            }
            return Ok((LogExpr { matchers, stages }, range_ns, offset_ns));
        }
        let (range_ns, offset_ns) = self.range(if has_unwrap(&stages) { &["RANGE", ")", "|"] } else { &[] })?;
        if stages.is_empty() {
            stages = self.pipeline(true)?;
        }
        self.expect(")")?;
        Ok((LogExpr { matchers, stages }, range_ns, offset_ns))
    }

    fn range(&mut self, expected: &[&str]) -> Parsed<(i64, i64)> {
        let Kind::Range(range_ns) = *self.peek() else {
            return self.unexpected(expected);
        };
        self.advance();
        if !self.take("offset") {
            return Ok((range_ns, 0));
        }
        let Kind::Duration(offset_ns) = *self.peek() else {
            return self.unexpected(&["DURATION"]);
        };
        self.advance();
        Ok((range_ns, offset_ns))
    }

    fn grouping(&mut self) -> Parsed<Option<Grouping>> {
        let without = match self.peek() {
            Kind::Symbol("by") => false,
            Kind::Symbol("without") => true,
            _ => return Ok(None),
        };
        self.advance();
        Ok(Some(Grouping { without, labels: self.label_list()? }))
    }

    fn vector_aggregation(&mut self, op: VectorOp) -> Parsed<MetricExpr> {
        self.advance();
        let before = self.grouping()?;
        if !self.take("(") {
            return if before.is_some() { self.unexpected(&["("]) } else { self.unexpected(&["(", "by", "without"]) };
        }
        let mut param = None;
        if let (Kind::Number(text), Kind::Symbol(",")) = (self.peek(), self.peek_second()) {
            param = Some(text.clone());
            self.advance();
            self.advance();
        }
        let inner = Box::new(self.metric()?);
        if !self.take(")") {
            return self.unexpected(&[]);
        }
        let grouping = if before.is_some() { before } else { self.grouping()? };
        let checked = check_vector(VectorAggregation { op, param: None, inner, grouping }, param.as_deref());
        Ok(self.or_unfit(checked.map(MetricExpr::Vector)))
    }

    fn label_replace(&mut self) -> Parsed<MetricExpr> {
        self.advance();
        self.expect("(")?;
        let inner = Box::new(self.metric()?);
        let mut texts = Vec::new();
        for _ in 0..4 {
            if !self.take(",") {
                return self.unexpected(if texts.is_empty() { &[] } else { &[","] });
            }
            texts.push(self.text(&["STRING"])?);
        }
        self.expect(")")?;
        let [dst, replacement, src, regex] =
            <[String; 4]>::try_from(texts).map_err(|_| ParseError::about("label_replace takes four strings"))?;
        let checked = check_label_replace(&regex);
        Ok(self.or_unfit(checked.map(|()| MetricExpr::LabelReplace { inner, dst, replacement, src, regex })))
    }

    fn binary_op(&self) -> Option<BinaryOp> {
        let Kind::Symbol(symbol) = self.peek() else {
            return None;
        };
        Some(match *symbol {
            "or" => BinaryOp::Or,
            "and" => BinaryOp::And,
            "unless" => BinaryOp::Unless,
            "+" => BinaryOp::Add,
            "-" => BinaryOp::Sub,
            "*" => BinaryOp::Mul,
            "/" => BinaryOp::Div,
            "%" => BinaryOp::Mod,
            "^" => BinaryOp::Pow,
            "==" => BinaryOp::Compare(CompareOp::Equal),
            "!=" => BinaryOp::Compare(CompareOp::NotEqual),
            ">" => BinaryOp::Compare(CompareOp::Greater),
            ">=" => BinaryOp::Compare(CompareOp::GreaterOrEqual),
            "<" => BinaryOp::Compare(CompareOp::Less),
            "<=" => BinaryOp::Compare(CompareOp::LessOrEqual),
            _ => return None,
        })
    }

    /// `bool`, `on (…)`, `ignoring (…)`, `group_left (…)`, `group_right (…)`.
    fn modifiers(&mut self) -> Parsed<(bool, Option<VectorMatching>)> {
        let return_bool = self.take("bool");
        let on = match self.peek() {
            Kind::Symbol("on") => true,
            Kind::Symbol("ignoring") => false,
            _ => return Ok((return_bool, None)),
        };
        self.advance();
        let labels = self.label_list()?;
        let group = match self.peek() {
            Kind::Symbol("group_left") => Group::Left as fn(Vec<String>) -> Group,
            Kind::Symbol("group_right") => Group::Right,
            _ => return Ok((return_bool, Some(VectorMatching { on, labels, group: Group::None }))),
        };
        self.advance();
        // A parenthesis here always opens the list of labels, never the leg.
        let include = if self.is("(") { self.label_list()? } else { Vec::new() };
        Ok((return_bool, Some(VectorMatching { on, labels, group: group(include) })))
    }
}

fn has_unwrap(stages: &[Stage]) -> bool {
    stages.iter().any(|stage| matches!(stage, Stage::Unwrap { .. }))
}

fn binary(
    op: BinaryOp,
    return_bool: bool,
    matching: Option<VectorMatching>,
    left: Expr,
    right: Expr,
) -> Parsed<MetricExpr> {
    let name = crate::logql::printer::binary_op_name(op);
    let leg = |side: &str, expr: Expr| match expr {
        Expr::Metric(metric) => Ok(metric),
        Expr::Log(log) => {
            let kind = if log.stages.is_empty() { "MatchersExpr" } else { "PipelineExpr" };
            Err(ParseError::about(format!(
                "unexpected type for {side} leg of binary operation ({name}): *syntax.{kind}"
            )))
        }
    };
    let (left, right) = (leg("left", left)?, leg("right", right)?);
    if matches!(op, BinaryOp::Or | BinaryOp::And | BinaryOp::Unless) {
        for (side, expr) in [("left", &left), ("right", &right)] {
            if let MetricExpr::Number(value) = expr {
                return Err(ParseError::about(format!(
                    "unexpected literal for {side} leg of logical/set binary operation ({name}): {value:.6}"
                )));
            }
        }
    }
    if let (MetricExpr::Number(left), MetricExpr::Number(right)) = (&left, &right) {
        return Ok(MetricExpr::Number(fold(op, *left, *right)));
    }
    let (left, right) = (Box::new(left), Box::new(right));
    Ok(MetricExpr::Binary(BinaryExpr { op, left, right, return_bool, matching }))
}

fn range_op(name: &str) -> Option<RangeOp> {
    Some(match name {
        "RATE" => RangeOp::Rate,
        "RATE_COUNTER" => RangeOp::RateCounter,
        "COUNT_OVER_TIME" => RangeOp::CountOverTime,
        "BYTES_RATE" => RangeOp::BytesRate,
        "BYTES_OVER_TIME" => RangeOp::BytesOverTime,
        "AVG_OVER_TIME" => RangeOp::AvgOverTime,
        "SUM_OVER_TIME" => RangeOp::SumOverTime,
        "MIN_OVER_TIME" => RangeOp::MinOverTime,
        "MAX_OVER_TIME" => RangeOp::MaxOverTime,
        "STDVAR_OVER_TIME" => RangeOp::StdvarOverTime,
        "STDDEV_OVER_TIME" => RangeOp::StddevOverTime,
        "QUANTILE_OVER_TIME" => RangeOp::QuantileOverTime,
        "FIRST_OVER_TIME" => RangeOp::FirstOverTime,
        "LAST_OVER_TIME" => RangeOp::LastOverTime,
        "ABSENT_OVER_TIME" => RangeOp::AbsentOverTime,
        _ => return None,
    })
}

fn vector_op(name: &str) -> Option<VectorOp> {
    Some(match name {
        "SUM" => VectorOp::Sum,
        "AVG" => VectorOp::Avg,
        "MAX" => VectorOp::Max,
        "MIN" => VectorOp::Min,
        "COUNT" => VectorOp::Count,
        "STDDEV" => VectorOp::Stddev,
        "STDVAR" => VectorOp::Stdvar,
        "BOTTOMK" => VectorOp::Bottomk,
        "TOPK" => VectorOp::Topk,
        "APPROX_TOPK" => VectorOp::ApproxTopk,
        "SORT" => VectorOp::Sort,
        "SORT_DESC" => VectorOp::SortDesc,
        _ => return None,
    })
}
