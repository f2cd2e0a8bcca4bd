//! Trees to text: the one-line form that Loki prints, which parses to the same tree.

use super::ast::{
    BinaryExpr, BinaryOp, CompareOp, Expr, FieldExtraction, FormatSource, Group, Grouping, LabelFilter, LabelFormat,
    LabelSelector, LineFilter, LineFilterOp, LineMatch, LogExpr, MatchOp, Matcher, MetricExpr, RangeAggregation,
    RangeOp, Stage, UnwrapConversion, VectorAggregation, VectorOp,
};
use super::go_regex::compile_go_regex;
use super::literals::human_bytes;
use super::simplify::simplify;
use crate::types::go_time::format_duration;
use crate::types::labels::push_go_quoted;

/// The whole query on one line.
pub fn print(expr: &Expr) -> String {
    match expr {
        Expr::Log(log) => print_log(log),
        Expr::Metric(metric) => print_metric(metric),
    }
}

pub(super) fn print_log(log: &LogExpr) -> String {
    let mut out = print_matchers(&log.matchers);
    for stage in &log.stages {
        out.push(' ');
        out.push_str(&print_stage(stage));
    }
    out
}

pub(super) fn print_matchers(matchers: &[Matcher]) -> String {
    format!("{{{}}}", matchers.iter().map(print_matcher).collect::<Vec<_>>().join(", "))
}

fn quoted(text: &str) -> String {
    let mut out = String::new();
    push_go_quoted(&mut out, text);
    out
}

fn print_matcher(matcher: &Matcher) -> String {
    let name = &matcher.name;
    let is_plain = name.bytes().all(|b| b == b'_' || b.is_ascii_alphanumeric())
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty();
    let name = if is_plain { name.clone() } else { quoted(name) };
    format!("{name}{}{}", match_op_name(matcher.op), quoted(&matcher.value))
}

/// Loki shows an expression that it hands to its regex engine in backquotes.
fn print_text_filter(matcher: &Matcher) -> String {
    let value = &matcher.value;
    let is_engines = matcher.op == MatchOp::Regex && simplify(value, true).is_none() && compile_go_regex(value).is_ok();
    if !is_engines || value.contains('`') {
        return print_matcher(matcher);
    }
    format!("{}{}`{value}`", matcher.name, match_op_name(matcher.op))
}

fn match_op_name(op: MatchOp) -> &'static str {
    match op {
        MatchOp::Equal => "=",
        MatchOp::NotEqual => "!=",
        MatchOp::Regex => "=~",
        MatchOp::NotRegex => "!~",
    }
}

/// One stage, `| json`.
pub fn print_stage(stage: &Stage) -> String {
    match stage {
        Stage::LineFilter(filter) => print_line_filter(filter),
        Stage::Json { fields } => format!("| json{}", print_fields(fields)),
        Stage::Logfmt { strict, keep_empty, fields } => {
            let flags = [("--strict", strict), ("--keep-empty", keep_empty)];
            let flags: String = flags.iter().filter(|(_, set)| **set).map(|(flag, _)| format!(" {flag}")).collect();
            format!("| logfmt{flags}{}", print_fields(fields))
        }
        Stage::Regexp { pattern } => format!("| regexp {}", quoted(pattern)),
        Stage::Pattern { pattern } => format!("| pattern {}", quoted(pattern)),
        Stage::Unpack => "| unpack".to_owned(),
        Stage::LabelFilter(filter) => format!("| {}", print_label_filter(filter)),
        Stage::LineFormat { template } => format!("| line_format {}", quoted(template)),
        Stage::LabelFormat { formats } => {
            format!("| label_format {}", formats.iter().map(print_label_format).collect::<Vec<_>>().join(","))
        }
        Stage::Drop { labels } => format!("| drop {}", print_label_selectors(labels)),
        Stage::Keep { labels } => format!("| keep {}", print_label_selectors(labels)),
        Stage::Decolorize => "| decolorize".to_owned(),
        Stage::Unwrap { conversion: None, label } => format!("| unwrap {label}"),
        Stage::Unwrap { conversion: Some(conversion), label } => {
            let name = match conversion {
                UnwrapConversion::Bytes => "bytes",
                UnwrapConversion::Duration => "duration",
                UnwrapConversion::DurationSeconds => "duration_seconds",
            };
            format!("| unwrap {name}({label})")
        }
    }
}

fn print_line_filter(filter: &LineFilter) -> String {
    let op = match filter.op {
        LineFilterOp::Contains => "|=",
        LineFilterOp::NotContains => "!=",
        LineFilterOp::Regex => "|~",
        LineFilterOp::NotRegex => "!~",
        LineFilterOp::Pattern => "|>",
        LineFilterOp::NotPattern => "!>",
    };
    let matches = filter.any_of.iter().map(|line_match| match line_match {
        LineMatch::Text(text) => quoted(text),
        LineMatch::Ip(pattern) => format!("ip({})", quoted(pattern)),
    });
    format!("{op} {}", matches.collect::<Vec<_>>().join(" or "))
}

fn print_fields(fields: &[FieldExtraction]) -> String {
    if fields.is_empty() {
        return String::new();
    }
    let texts = fields.iter().map(|field| format!("{}={}", field.label, quoted(&field.expression)));
    format!(" {}", texts.collect::<Vec<_>>().join(","))
}

fn print_label_filter(filter: &LabelFilter) -> String {
    match filter {
        LabelFilter::Text(matcher) => print_text_filter(matcher),
        LabelFilter::Number { label, op, value } => format!("{label}{}{}", compare_op_name(*op), print_number(*value)),
        LabelFilter::Duration { label, op, nanos } => {
            format!("{label}{}{}", compare_op_name(*op), crate::types::units::GoDuration(*nanos))
        }
        LabelFilter::Bytes { label, op, bytes } => format!("{label}{}{}", compare_op_name(*op), human_bytes(*bytes)),
        LabelFilter::Ip { label, op, pattern } => format!("{label}{}ip({})", match_op_name(*op), quoted(pattern)),
        LabelFilter::And(left, right) => {
            format!("( {} , {} )", print_label_filter(left), print_label_filter(right))
        }
        LabelFilter::Or(left, right) => format!("( {} or {} )", print_label_filter(left), print_label_filter(right)),
    }
}

fn compare_op_name(op: CompareOp) -> &'static str {
    match op {
        CompareOp::Equal => "==",
        CompareOp::NotEqual => "!=",
        CompareOp::Greater => ">",
        CompareOp::GreaterOrEqual => ">=",
        CompareOp::Less => "<",
        CompareOp::LessOrEqual => "<=",
    }
}

fn print_label_format(format: &LabelFormat) -> String {
    match &format.source {
        FormatSource::Rename(from) => format!("{}={from}", format.label),
        FormatSource::Template(template) => format!("{}={}", format.label, quoted(template)),
    }
}

fn print_label_selectors(selectors: &[LabelSelector]) -> String {
    let texts = selectors.iter().map(|selector| match selector {
        LabelSelector::Name(name) => name.clone(),
        LabelSelector::Matcher(matcher) => print_matcher(matcher),
    });
    texts.collect::<Vec<_>>().join(",")
}

pub(super) fn print_metric(metric: &MetricExpr) -> String {
    match metric {
        MetricExpr::Range(range) => print_range(range),
        MetricExpr::Vector(vector) => print_vector(vector),
        MetricExpr::Binary(binary) => {
            format!("({} {} {})", print_metric(&binary.left), print_operator(binary), print_metric(&binary.right))
        }
        MetricExpr::LabelReplace { inner, dst, replacement, src, regex } => {
            let texts = [dst, replacement, src, regex].map(|text| quoted(text)).join(",");
            format!("label_replace({},{texts})", print_metric(inner))
        }
        MetricExpr::Number(value) => print_number(*value),
        MetricExpr::VectorLiteral(value) => format!("vector({})", print_number(*value)),
    }
}

fn print_number(value: f64) -> String {
    format!("{value}")
}

pub(super) fn print_range(range: &RangeAggregation) -> String {
    let param = range.param.map(|param| format!("{},", print_number(param))).unwrap_or_default();
    format!(
        "{}({param}{}{}){}",
        range_op_name(range.op),
        print_log(&range.log),
        print_window(range),
        range.grouping.as_ref().map(print_range_grouping).unwrap_or_default()
    )
}

/// `[5m] offset 1h0m0s`
fn print_window(range: &RangeAggregation) -> String {
    let window = format!("[{}]", model_duration(range.range_ns));
    match range.offset_ns {
        0 => window,
        offset => format!("{window} offset {}", format_duration(offset)),
    }
}

fn print_range_grouping(grouping: &Grouping) -> String {
    let word = if grouping.without { "without" } else { "by" };
    format!(" {word} ({})", grouping.labels.join(","))
}

fn print_vector_grouping(grouping: Option<&Grouping>) -> String {
    grouping.map(print_range_grouping).unwrap_or_default()
}

fn print_vector(vector: &VectorAggregation) -> String {
    let param = vector.param.map(|param| format!("{param},")).unwrap_or_default();
    let grouping = print_vector_grouping(vector.grouping.as_ref());
    format!("{}{grouping}({param}{})", vector_op_name(vector.op), print_metric(&vector.inner))
}

/// An operator with its modifiers.
pub(super) fn print_operator(binary: &BinaryExpr) -> String {
    let mut out = binary_op_name(binary.op).to_owned();
    if binary.return_bool {
        out.push_str(" bool");
    }
    if let Some(matching) = &binary.matching {
        let word = if matching.on { "on" } else { "ignoring" };
        out.push_str(&format!(" {word} ({})", matching.labels.join(",")));
        let (word, include) = match &matching.group {
            Group::None => return out,
            Group::Left(include) => ("group_left", include),
            Group::Right(include) => ("group_right", include),
        };
        out.push_str(&format!(" {word}"));
        if !include.is_empty() {
            out.push_str(&format!(" ({})", include.join(",")));
        }
    }
    out
}

pub(super) fn binary_op_name(op: BinaryOp) -> &'static str {
    match op {
        BinaryOp::Or => "or",
        BinaryOp::And => "and",
        BinaryOp::Unless => "unless",
        BinaryOp::Add => "+",
        BinaryOp::Sub => "-",
        BinaryOp::Mul => "*",
        BinaryOp::Div => "/",
        BinaryOp::Mod => "%",
        BinaryOp::Pow => "^",
        BinaryOp::Compare(op) => compare_op_name(op),
    }
}

pub(super) fn range_op_name(op: RangeOp) -> &'static str {
    match op {
        RangeOp::Rate => "rate",
        RangeOp::RateCounter => "rate_counter",
        RangeOp::CountOverTime => "count_over_time",
        RangeOp::BytesRate => "bytes_rate",
        RangeOp::BytesOverTime => "bytes_over_time",
        RangeOp::SumOverTime => "sum_over_time",
        RangeOp::AvgOverTime => "avg_over_time",
        RangeOp::MinOverTime => "min_over_time",
        RangeOp::MaxOverTime => "max_over_time",
        RangeOp::StddevOverTime => "stddev_over_time",
        RangeOp::StdvarOverTime => "stdvar_over_time",
        RangeOp::QuantileOverTime => "quantile_over_time",
        RangeOp::FirstOverTime => "first_over_time",
        RangeOp::LastOverTime => "last_over_time",
        RangeOp::AbsentOverTime => "absent_over_time",
    }
}

pub(super) fn vector_op_name(op: VectorOp) -> &'static str {
    match op {
        VectorOp::Sum => "sum",
        VectorOp::Avg => "avg",
        VectorOp::Max => "max",
        VectorOp::Min => "min",
        VectorOp::Count => "count",
        VectorOp::Stddev => "stddev",
        VectorOp::Stdvar => "stdvar",
        VectorOp::Topk => "topk",
        VectorOp::Bottomk => "bottomk",
        VectorOp::ApproxTopk => "approx_topk",
        VectorOp::Sort => "sort",
        VectorOp::SortDesc => "sort_desc",
    }
}

/// Prometheus' form, largest units first: `1h30m`.
pub(super) fn model_duration(nanos: i64) -> String {
    if nanos == 0 {
        return "0s".to_owned();
    }
    let mut millis = nanos.unsigned_abs() / 1_000_000;
    let mut out = String::from(if nanos < 0 { "-" } else { "" });
    // Years, weeks and days only where nothing is left over, as Prometheus prints them.
    let units: [(&str, u64, bool); 7] = [
        ("y", 31_536_000_000, true),
        ("w", 604_800_000, true),
        ("d", 86_400_000, false),
        ("h", 3_600_000, false),
        ("m", 60_000, false),
        ("s", 1_000, false),
        ("ms", 1, false),
    ];
    for (unit, size, exact) in units {
        if exact && !millis.is_multiple_of(size) {
            continue;
        }
        if millis / size > 0 {
            out.push_str(&format!("{}{unit}", millis / size));
            millis %= size;
        }
    }
    out
}
