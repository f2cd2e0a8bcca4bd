//! What of a statement's filters prunes a scan: bounds of time, and matchers of labels.
//!
//! | filter | becomes |
//! |---|---|
//! | `timestamp >= …`, `<`, `between` | the time range |
//! | `labels['a'] = 'b'`, `in ('b', 'c')` | `a="b"`, `a=~"b\|c"` |
//! | `labels['a'] != 'b'`, `not in` | `a!="b"`, `a!~"b\|c"` |
//! | `labels['a'] ~ 'b.*'`, `like 'b%'` | `a=~"(?s:.*)(?:b.*)(?s:.*)"`, `a=~"b.*"` |
//!
//! Rows are compared again above, so a matcher may let more through than its filter (rows without the label, for
//! `!=`), never less.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{BinaryExpr, Expr, Like, Operator};

use super::label::LABEL;
use super::rows::TIMESTAMP;
use crate::logql::ast::{MatchOp, Matcher};
use crate::types::time::{TimeRange, UnixNanos};

/// The part of time that all filters together leave.
pub(super) fn time_range(filters: &[Expr]) -> TimeRange {
    filters.iter().filter_map(time_bound).fold(TimeRange::ALL, |range, bound| {
        TimeRange::new(range.start.max(bound.start), range.end.min(bound.end).max(range.start.max(bound.start)))
    })
}

/// Matchers that every row which passes the filters passes.
pub(super) fn matchers(filters: &[Expr]) -> Vec<Matcher> {
    filters.iter().filter_map(matcher).collect()
}

/// Whether a filter prunes anything.
pub(super) fn prunes(filter: &Expr) -> bool {
    time_bound(filter).is_some() || matcher(filter).is_some()
}

/// The times that `timestamp op constant` leaves.
fn time_bound(filter: &Expr) -> Option<TimeRange> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = filter else {
        return None;
    };
    let (op, literal) = match (&**left, &**right) {
        (Expr::Column(column), Expr::Literal(literal, _)) if column.name == TIMESTAMP => (*op, literal),
        (Expr::Literal(literal, _), Expr::Column(column)) if column.name == TIMESTAMP => (op.swap()?, literal),
        _ => return None,
    };
    let at = match literal {
        ScalarValue::TimestampNanosecond(Some(nanos), _) => *nanos,
        _ => return None,
    };
    let (at, after) = (UnixNanos(at), UnixNanos(at).saturating_add(1));
    match op {
        Operator::Eq => Some(TimeRange::new(at, after)),
        Operator::Gt => Some(TimeRange::new(after, UnixNanos::MAX)),
        Operator::GtEq => Some(TimeRange::new(at, UnixNanos::MAX)),
        Operator::Lt => Some(TimeRange::new(UnixNanos::MIN, at)),
        Operator::LtEq => Some(TimeRange::new(UnixNanos::MIN, after)),
        _ => None,
    }
}

fn matcher(filter: &Expr) -> Option<Matcher> {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (name, value, swapped) = match (label_of(left), label_of(right)) {
                (Some(name), None) => (name, text_of(right)?, false),
                (None, Some(name)) => (name, text_of(left)?, true),
                _ => return None,
            };
            match op {
                // A label that is empty is none, which SQL sees as null.
                Operator::Eq if !value.is_empty() => Some(named(name, MatchOp::Equal, value.to_owned())),
                Operator::NotEq => Some(named(name, MatchOp::NotEqual, value.to_owned())),
                Operator::RegexMatch if !swapped => regex(name, MatchOp::Regex, anywhere(value)),
                Operator::RegexNotMatch if !swapped => regex(name, MatchOp::NotRegex, anywhere(value)),
                _ => None,
            }
        }
        Expr::InList(InList { expr, list, negated }) => {
            let values: Vec<String> =
                list.iter().map(|value| text_of(value).map(regex::escape)).collect::<Option<_>>()?;
            let op = if *negated { MatchOp::NotRegex } else { MatchOp::Regex };
            regex(label_of(expr)?, op, values.join("|"))
        }
        Expr::Like(Like { negated: false, expr, pattern, escape_char: None, case_insensitive }) => {
            let flags = if *case_insensitive { "(?i)" } else { "" };
            regex(label_of(expr)?, MatchOp::Regex, format!("{flags}{}", like(text_of(pattern)?)?))
        }
        Expr::Not(inner) => {
            let matcher = matcher(inner)?;
            let op = match matcher.op {
                MatchOp::Equal => MatchOp::NotEqual,
                MatchOp::NotEqual => MatchOp::Equal,
                MatchOp::Regex => MatchOp::NotRegex,
                MatchOp::NotRegex => MatchOp::Regex,
            };
            // A matcher that lets more through must not be turned round: only exact ones are.
            (matcher.op == MatchOp::Equal).then_some(Matcher { op, ..matcher })
        }
        _ => None,
    }
}

fn named(name: &str, op: MatchOp, value: String) -> Matcher {
    Matcher { name: name.to_owned(), op, value }
}

fn regex(name: &str, op: MatchOp, pattern: String) -> Option<Matcher> {
    let matcher = named(name, op, pattern);
    // What our regexes do not know, the filter above decides alone.
    crate::logql::selector::LabelSelector::compile(std::slice::from_ref(&matcher)).ok()?;
    Some(matcher)
}

/// SQL's regexes match anywhere in the text, those of matchers match all of it.
fn anywhere(pattern: &str) -> String {
    format!("(?s:.*)(?:{pattern})(?s:.*)")
}

/// `a%b_` as a regex; none for a pattern with escapes.
fn like(pattern: &str) -> Option<String> {
    if pattern.contains('\\') {
        return None;
    }
    let part = |c: char| match c {
        '%' => "(?s:.*)".to_owned(),
        '_' => "(?s:.)".to_owned(),
        c => regex::escape(c.encode_utf8(&mut [0; 4])),
    };
    Some(pattern.chars().map(part).collect())
}

/// The label that `labels['x']` reads.
fn label_of(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Cast(cast) => label_of(&cast.expr),
        Expr::ScalarFunction(function) if function.name() == LABEL => match function.args.as_slice() {
            [Expr::Column(_), Expr::Literal(name, _)] => text(name),
            _ => None,
        },
        _ => None,
    }
}

fn text_of(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(value, _) => text(value),
        _ => None,
    }
}

fn text(value: &ScalarValue) -> Option<&str> {
    match value {
        ScalarValue::Dictionary(_, inner) => text(inner),
        other => other.try_as_str().flatten(),
    }
}

#[cfg(test)]
mod tests {
    use datafusion::common::Column;
    use datafusion::logical_expr::{ScalarUDF, lit};

    use super::*;
    use crate::query::sql::label::LabelFunction;

    fn service() -> Expr {
        let labels = Expr::Column(Column::from_name("labels"));
        ScalarUDF::from(LabelFunction::new()).call(vec![labels, lit("service")])
    }

    #[test]
    fn filters_on_labels_become_matchers() {
        let check = |filter: Expr, expected: Option<&str>| {
            let printed =
                matcher(&filter).map(|matcher| format!("{}{}{}", matcher.name, symbol(matcher.op), matcher.value));
            assert_eq!(printed.as_deref(), expected, "{filter}");
        };
        check(service().eq(lit("a")), Some("service=a"));
        check(lit("a").eq(service()), Some("service=a"));
        check(service().eq(lit("")), None);
        check(service().not_eq(lit("a")), Some("service!=a"));
        check(Expr::Not(Box::new(service().eq(lit("a")))), Some("service!=a"));
        check(Expr::Not(Box::new(service().not_eq(lit("a")))), None);
        check(service().in_list(vec![lit("a.b"), lit("c")], false), Some(r"service=~a\.b|c"));
        check(service().in_list(vec![lit("a")], true), Some("service!~a"));
        check(service().like(lit("mine-%")), Some(r"service=~mine\-(?s:.*)"));
        check(service().ilike(lit("a_")), Some("service=~(?i)a(?s:.)"));
        check(service().not_like(lit("a%")), None);
        check(service().gt(lit("a")), None);
    }

    fn symbol(op: MatchOp) -> &'static str {
        match op {
            MatchOp::Equal => "=",
            MatchOp::NotEqual => "!=",
            MatchOp::Regex => "=~",
            MatchOp::NotRegex => "!~",
        }
    }

    #[test]
    fn bounds_of_time_are_put_together() {
        let at = |nanos: i64| lit(ScalarValue::TimestampNanosecond(Some(nanos), Some("UTC".into())));
        let timestamp = || Expr::Column(Column::from_name(TIMESTAMP));
        let check = |filters: &[Expr], start: i64, end: i64| {
            let range = time_range(filters);
            assert_eq!((range.start.0, range.end.0), (start, end), "{filters:?}");
        };
        check(&[timestamp().gt_eq(at(5)), timestamp().lt(at(9))], 5, 9);
        check(&[timestamp().gt(at(5)), timestamp().lt_eq(at(9))], 6, 10);
        check(&[at(5).lt_eq(timestamp())], 5, i64::MAX);
        check(&[timestamp().eq(at(5))], 5, 6);
        check(&[timestamp().gt_eq(at(9)), timestamp().lt(at(5))], 9, 9);
    }
}
