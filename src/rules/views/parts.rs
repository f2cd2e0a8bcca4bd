//! Pieces of statements: columns of `logs`, texts, numbers, intervals, patterns.

use datafusion::sql::sqlparser::ast::{
    AccessExpr, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Interval, Subscript, UnaryOperator, Value,
};

use super::ViewError;

/// What an expression reads of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    Timestamp,
    /// `labels['x']`
    Label(String),
    /// `metadata['x']`
    Metadata(String),
    /// `level`
    Level,
    /// `line`
    Line,
    /// `json_get_…(line, 'a', 'b')`
    Json(Vec<String>),
}

/// The call of a function.
pub(super) struct Call<'a> {
    pub(super) name: String,
    /// None stands for `*`.
    pub(super) args: Vec<Option<&'a Expr>>,
}

pub(super) fn unsupported(what: &str, expr: &dyn std::fmt::Display) -> ViewError {
    ViewError::Unsupported { what: what.to_owned(), text: expr.to_string() }
}

/// A column, or a field of one.
pub(super) fn source(expr: &Expr) -> Result<Source, ViewError> {
    match inner(expr) {
        Expr::Identifier(name) => match name.value.to_lowercase().as_str() {
            "timestamp" => Ok(Source::Timestamp),
            "level" => Ok(Source::Level),
            "line" => Ok(Source::Line),
            _ => Err(unsupported("a column", expr)),
        },
        Expr::CompoundFieldAccess { root, access_chain } => {
            let (Expr::Identifier(root), [AccessExpr::Subscript(Subscript::Index { index })]) =
                (&**root, access_chain.as_slice())
            else {
                return Err(unsupported("a field", expr));
            };
            let name = text(index).ok_or_else(|| unsupported("a field", expr))?;
            match root.value.to_lowercase().as_str() {
                "labels" => Ok(Source::Label(name)),
                "metadata" => Ok(Source::Metadata(name)),
                _ => Err(unsupported("a field", expr)),
            }
        }
        Expr::Function(_) => {
            let call = call(expr)?;
            let known = ["json_get_str", "json_get_int", "json_get_float", "json_get_bool", "json_as_text"];
            let [Some(column), path @ ..] = call.args.as_slice() else { return Err(unsupported("a function", expr)) };
            if !known.contains(&call.name.as_str()) || source(column)? != Source::Line || path.is_empty() {
                return Err(unsupported("a function", expr));
            }
            let path = path.iter().map(|part| part.and_then(text).ok_or_else(|| unsupported("a path", expr)));
            Ok(Source::Json(path.collect::<Result<_, _>>()?))
        }
        Expr::Cast { expr, .. } => source(expr),
        other => Err(unsupported("an expression", other)),
    }
}

pub(super) fn call(expr: &Expr) -> Result<Call<'_>, ViewError> {
    let Expr::Function(function) = inner(expr) else { return Err(unsupported("an expression", expr)) };
    if function.filter.is_some() || function.over.is_some() || !function.within_group.is_empty() {
        return Err(unsupported("FILTER, OVER or WITHIN GROUP", expr));
    }
    let args = match &function.args {
        FunctionArguments::None => Vec::new(),
        FunctionArguments::List(list) if list.duplicate_treatment.is_none() && list.clauses.is_empty() => {
            let arg = |arg: &'_ FunctionArg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Wildcard) => Ok(None),
                FunctionArg::Unnamed(FunctionArgExpr::Expr(_)) => Ok(Some(())),
                _ => Err(unsupported("an argument", expr)),
            };
            let mut args = Vec::new();
            for one in &list.args {
                args.push(match (arg(one)?, one) {
                    (Some(()), FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))) => Some(expr),
                    _ => None,
                });
            }
            args
        }
        _ => return Err(unsupported("DISTINCT or a subquery in a call", expr)),
    };
    Ok(Call { name: function.name.to_string().to_lowercase(), args })
}

/// Without parentheses.
pub(super) fn inner(expr: &Expr) -> &Expr {
    match expr {
        Expr::Nested(nested) => inner(nested),
        other => other,
    }
}

pub(super) fn text(expr: &Expr) -> Option<String> {
    match inner(expr) {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) => Some(text.clone()),
            _ => None,
        },
        _ => None,
    }
}

pub(super) fn number(expr: &Expr) -> Option<f64> {
    match inner(expr) {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => digits.parse().ok(),
            _ => None,
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => Some(-number(expr)?),
        _ => None,
    }
}

/// `INTERVAL '1 minute'`, nanoseconds: units up to days, which are all of one length.
pub(super) fn interval(expr: &Expr) -> Result<i64, ViewError> {
    let wrong = || unsupported("a width; write INTERVAL '1 minute'", expr);
    let Expr::Interval(Interval { value, leading_field, .. }) = inner(expr) else { return Err(wrong()) };
    let mut words = text(value).or_else(|| number(value).map(|number| number.to_string())).ok_or_else(wrong)?;
    if let Some(field) = leading_field {
        words.push_str(&format!(" {field}"));
    }
    let mut nanos = 0.0;
    let mut parts = words.split_whitespace();
    while let Some(count) = parts.next() {
        let count: f64 = count.parse().map_err(|_| wrong())?;
        let unit = parts.next().ok_or_else(wrong)?.to_lowercase();
        nanos += count
            * match unit.trim_end_matches('s') {
                "millisecond" | "m" => 1e6,
                "second" | "sec" => 1e9,
                "minute" | "min" => 60e9,
                "hour" => 3600e9,
                "day" => 86_400e9,
                _ => return Err(wrong()),
            };
    }
    let nanos = nanos as i64;
    if nanos < 1_000_000_000 || nanos % 1_000_000 != 0 { Err(wrong()) } else { Ok(nanos) }
}

/// What a LIKE pattern is as a regex, or as a text that the value contains.
pub(super) enum Like {
    Contains(String),
    Regex(String),
}

pub(super) fn like(pattern: &str, ignores_case: bool) -> Like {
    let contained = pattern.strip_prefix('%').and_then(|rest| rest.strip_suffix('%'));
    if let Some(text) = contained.filter(|text| !text.is_empty() && !text.contains(['%', '_', '\\']))
        && !ignores_case
    {
        return Like::Contains(text.to_owned());
    }
    let mut regex = String::from(if ignores_case { "(?is)^" } else { "(?s)^" });
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '%' => regex.push_str(".*"),
            '_' => regex.push('.'),
            '\\' => regex.push_str(&regex_syntax::escape(&chars.next().unwrap_or('\\').to_string())),
            c => regex.push_str(&regex_syntax::escape(&c.to_string())),
        }
    }
    regex.push('$');
    Like::Regex(regex)
}
