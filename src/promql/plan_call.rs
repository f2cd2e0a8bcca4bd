//! Function calls of a plan: each name with what computes it.

use promql_parser::parser::{Call as ParsedCall, Expr};

use super::error::PromqlError;
use super::eval::{dates, each, over_time, rates};
use super::labels::is_label_name;
use super::node::{Call, Kind, Node, Piece, RangeCheck, Replacement, SortBy};
use super::parse::selector_matchers;
use super::plan::{Planner, bad};
use super::value::Steps;
use crate::logql::go_regex::{GoRegex, compile_go_regex};
use crate::types::labels::Labels;
use crate::types::sample::METRIC_NAME;

type OverTime = fn(&over_time::Window<'_>) -> Option<f64>;

impl Planner {
    pub(super) fn call(&mut self, call: &ParsedCall, steps: Steps) -> Result<Node, PromqlError> {
        let name = call.func.name;
        let args: Vec<&Expr> = call.args.args.iter().map(|arg| &**arg).collect();
        let arg = |at: usize| {
            let found = args.get(at).copied();
            found.ok_or_else(|| bad(format!("expected more arguments in call to {name:?}, got {}", args.len())))
        };
        if let Some(function) = each::function(name) {
            let input = self.node_of(arg(0)?, Kind::Vector, steps)?;
            return Ok(Node::Call(Box::new(Call::Each { function, input })));
        }
        if let Some(part) = dates::part(name) {
            let input = match args.first() {
                Some(input) => Some(self.node_of(input, Kind::Vector, steps)?),
                None => None,
            };
            return Ok(Node::Call(Box::new(Call::Date { part, input })));
        }
        if let Some((function, keeps_name, check)) = over_time_function(name) {
            let source_at = usize::from(name == "quantile_over_time");
            let source = self.range(arg(source_at)?, steps)?;
            let others = args.iter().enumerate().filter(|(at, _)| *at != source_at);
            let scalars = others.map(|(_, scalar)| self.node_of(scalar, Kind::Scalar, steps));
            let scalars = scalars.collect::<Result<_, _>>()?;
            return Ok(Node::Call(Box::new(Call::OverTime { function, source, scalars, keeps_name, check })));
        }
        if let Some(number) = self.constant(name) {
            return Ok(Node::Number(number));
        }
        let vector = |planner: &mut Self, at: usize| planner.node_of(arg(at)?, Kind::Vector, steps);
        let scalar = |planner: &mut Self, at: usize| planner.node_of(arg(at)?, Kind::Scalar, steps);
        let text = |at: usize| text_of(arg(at)?, name);
        let call = match name {
            "absent" => Call::Absent { labels: absent_labels(arg(0)?)?, input: vector(self, 0)? },
            "absent_over_time" => {
                Call::AbsentOverTime { labels: absent_labels(arg(0)?)?, source: self.range(arg(0)?, steps)? }
            }
            "scalar" => Call::Scalar(vector(self, 0)?),
            "vector" => Call::Vector(scalar(self, 0)?),
            "time" => Call::Time,
            "timestamp" => Call::Timestamp(vector(self, 0)?),
            "clamp" => {
                Call::Clamp { input: vector(self, 0)?, least: Some(scalar(self, 1)?), most: Some(scalar(self, 2)?) }
            }
            "clamp_min" => Call::Clamp { input: vector(self, 0)?, least: Some(scalar(self, 1)?), most: None },
            "clamp_max" => Call::Clamp { input: vector(self, 0)?, least: None, most: Some(scalar(self, 1)?) },
            "round" => {
                let to = if args.len() > 1 { Some(scalar(self, 1)?) } else { None };
                Call::Round { input: vector(self, 0)?, to }
            }
            "max_of" => Call::Pick { function: each::greater, left: scalar(self, 0)?, right: scalar(self, 1)? },
            "min_of" => Call::Pick { function: each::lesser, left: scalar(self, 0)?, right: scalar(self, 1)? },
            "histogram_quantile" => {
                Call::HistogramQuantile { quantiles: vec![scalar(self, 0)?], label: None, input: vector(self, 1)? }
            }
            "histogram_quantiles" => Call::HistogramQuantile {
                quantiles: (2..args.len()).map(|at| scalar(self, at)).collect::<Result<_, _>>()?,
                label: Some(label_name(text(1)?, name)?),
                input: vector(self, 0)?,
            },
            "histogram_fraction" => {
                Call::HistogramFraction { lower: scalar(self, 0)?, upper: scalar(self, 1)?, input: vector(self, 2)? }
            }
            "histogram_avg" | "histogram_count" | "histogram_stddev" | "histogram_stdvar" | "histogram_sum" => {
                Call::Nothing(vector(self, 0)?)
            }
            "label_replace" => self.label_replace(&args, steps)?,
            "label_join" => Call::LabelJoin {
                input: vector(self, 0)?,
                target: label_name(text(1)?, name)?,
                separator: text(2)?,
                sources: (3..args.len()).map(|at| label_name(text(at)?, name)).collect::<Result<_, _>>()?,
            },
            "sort" | "sort_desc" => {
                Call::Sort { input: vector(self, 0)?, by: SortBy::Value, descending: name == "sort_desc" }
            }
            "sort_by_label" | "sort_by_label_desc" => Call::Sort {
                input: vector(self, 0)?,
                by: SortBy::Labels((1..args.len()).map(text).collect::<Result<_, _>>()?),
                descending: name == "sort_by_label_desc",
            },
            _ => return Err(bad(format!("function {name:?} is not supported by derived metrics"))),
        };
        Ok(Node::Call(Box::new(call)))
    }

    /// Functions that are known once the query's times are.
    fn constant(&self, name: &str) -> Option<f64> {
        let seconds = |millis: i64| millis as f64 / 1000.0;
        let query = self.query;
        Some(match name {
            "pi" => std::f64::consts::PI,
            "start" => seconds(query.start_ms),
            "end" => seconds(query.end_ms()),
            "step" if query.is_instant() => 0.0,
            "step" => seconds(query.step_ms),
            "range" => seconds(query.end_ms().saturating_sub(query.start_ms)),
            _ => return None,
        })
    }

    fn label_replace(&mut self, args: &[&Expr], steps: Steps) -> Result<Call, PromqlError> {
        let [input, target, replacement, source, regex] = args else {
            return Err(bad(format!("expected 5 argument(s) in call to \"label_replace\", got {}", args.len())));
        };
        let name = "label_replace";
        let pattern = text_of(regex, name)?;
        let invalid = |_| PromqlError::Execution(format!("invalid regular expression in label_replace(): {pattern}"));
        let regex = compile_go_regex(&format!("^(?s:{pattern})$")).map_err(invalid)?;
        let target = text_of(target, name)?;
        if !is_label_name(&target) {
            return Err(PromqlError::Execution(format!("invalid destination label name in label_replace(): {target}")));
        }
        Ok(Call::LabelReplace {
            input: self.node_of(input, Kind::Vector, steps)?,
            target,
            replacement: replacement_of(&text_of(replacement, name)?, &regex),
            source: text_of(source, name)?,
            regex: regex.into_regex(),
        })
    }
}

fn over_time_function(name: &str) -> Option<(OverTime, bool, RangeCheck)> {
    let plain = |function: OverTime| Some((function, false, RangeCheck::Nothing));
    match name {
        "rate" => Some((rates::rate, false, RangeCheck::Counter)),
        "increase" => Some((rates::increase, false, RangeCheck::Counter)),
        "delta" => plain(rates::delta),
        "irate" => plain(rates::irate),
        "idelta" => plain(rates::idelta),
        "deriv" => plain(rates::deriv),
        "predict_linear" => plain(rates::predict_linear),
        "double_exponential_smoothing" => Some((rates::double_exponential_smoothing, false, RangeCheck::Smoothing)),
        "changes" => plain(over_time::changes),
        "resets" => plain(over_time::resets),
        "sum_over_time" => plain(over_time::sum),
        "avg_over_time" => plain(over_time::avg),
        "min_over_time" => plain(over_time::min),
        "max_over_time" => plain(over_time::max),
        "count_over_time" => plain(over_time::count),
        "stddev_over_time" => plain(over_time::stddev),
        "stdvar_over_time" => plain(over_time::stdvar),
        "mad_over_time" => plain(over_time::mad),
        "present_over_time" => plain(over_time::present),
        "ts_of_first_over_time" => plain(over_time::time_of_first),
        "ts_of_last_over_time" => plain(over_time::time_of_last),
        "ts_of_min_over_time" => plain(over_time::time_of_min),
        "ts_of_max_over_time" => plain(over_time::time_of_max),
        "last_over_time" => Some((over_time::last, true, RangeCheck::Nothing)),
        "first_over_time" => Some((over_time::first, true, RangeCheck::Nothing)),
        "quantile_over_time" => Some((over_time::quantile, false, RangeCheck::Quantile)),
        _ => None,
    }
}

fn text_of(expr: &Expr, function: &str) -> Result<String, PromqlError> {
    match expr {
        Expr::StringLiteral(text) => Ok(text.val.clone()),
        Expr::Paren(paren) => text_of(&paren.expr, function),
        _ => Err(bad(format!("expected type string in call to function {function:?}"))),
    }
}

fn label_name(name: String, function: &str) -> Result<String, PromqlError> {
    if is_label_name(&name) {
        Ok(name)
    } else {
        Err(PromqlError::Execution(format!("invalid label name in {function}(): {name}")))
    }
}

/// The labels of what is not there: those a selector asks to be equal, each once.
fn absent_labels(expr: &Expr) -> Result<Labels, PromqlError> {
    let selector = match expr {
        Expr::VectorSelector(selector) => selector,
        Expr::MatrixSelector(matrix) => &matrix.vs,
        _ => return Ok(Labels::default()),
    };
    let mut known: Vec<(String, Option<String>)> = Vec::new();
    for matcher in selector_matchers(selector)? {
        if matcher.name() == METRIC_NAME {
            continue;
        }
        match known.iter_mut().find(|(name, _)| name == matcher.name()) {
            Some((_, value)) => *value = None,
            None => known.push((matcher.name().to_owned(), matcher.equal_value().map(str::to_owned))),
        }
    }
    Ok(Labels::from_pairs(known.into_iter().filter_map(|(name, value)| Some((name, value?)))))
}

/// Reads Go's template of a replacement: `$name` takes the longest name of letters, digits and `_`.
fn replacement_of(template: &str, regex: &GoRegex) -> Replacement {
    let group_names: Vec<Option<&str>> = regex.capture_names().collect();
    let group = |name: &str| -> Option<usize> {
        match name.parse() {
            Ok(number) => Some(number),
            Err(_) => group_names.iter().position(|known| *known == Some(name)),
        }
    };
    let mut pieces: Vec<Piece> = Vec::new();
    let mut text = String::new();
    let mut rest = template;
    while let Some(at) = rest.find('$') {
        text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            text.push('$');
            rest = after;
            continue;
        }
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let (name, after) = match rest.strip_prefix('{') {
            Some(braced) => match braced.find('}') {
                Some(end) if end > 0 && braced[..end].chars().all(is_word) => (&braced[..end], &braced[end + 1..]),
                _ => ("", rest),
            },
            None => {
                let end = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
                rest.split_at(end)
            }
        };
        if name.is_empty() {
            text.push('$');
            continue;
        }
        rest = after;
        if let Some(group) = group(name) {
            pieces.push(Piece::Text(std::mem::take(&mut text)));
            pieces.push(Piece::Group(group));
        }
    }
    text.push_str(rest);
    pieces.push(Piece::Text(text));
    pieces.retain(|piece| *piece != Piece::Text(String::new()));
    Replacement(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_read_as_go_reads_them() {
        let regex = compile_go_regex("(?P<word>a)(b)").expect("compiles");
        let check = |template: &str, expected: &str| {
            let Replacement(pieces) = replacement_of(template, &regex);
            let shown: String = pieces
                .iter()
                .map(|piece| match piece {
                    Piece::Text(text) => text.clone(),
                    Piece::Group(group) => format!("<{group}>"),
                })
                .collect();
            assert_eq!(shown, expected, "{template}");
        };
        check("x", "x");
        check("$1-$2", "<1>-<2>");
        check("$word", "<1>");
        check("${word}x", "<1>x");
        check("$wordx", "");
        check("$1x", "");
        check("$$1", "$1");
        check("a$", "a$");
        check("${", "${");
        check("$ b", "$ b");
        check("$0", "<0>");
    }
}
