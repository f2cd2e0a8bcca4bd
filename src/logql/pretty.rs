//! Trees to readable text, over several lines where one would be long: what `format_query` answers.

use super::ast::{BinaryExpr, Expr, Group, Grouping, LogExpr, MetricExpr, RangeAggregation, Stage, VectorAggregation};
use super::printer::{
    binary_op_name, model_duration, print, print_log, print_matchers, print_metric, print_range, print_stage,
    range_op_name, vector_op_name,
};

/// Characters of a part beyond which it is put on lines of its own.
const LINE_CHARS_MAX: usize = 100;

/// The query as Loki's `format_query` prints it.
pub fn format(expr: &Expr) -> String {
    match expr {
        Expr::Log(log) => log_at(log, 0),
        Expr::Metric(metric) => metric_at(metric, 0),
    }
}

fn indent(level: usize) -> String {
    "  ".repeat(level)
}

fn log_at(log: &LogExpr, level: usize) -> String {
    let whole = print_log(log);
    if whole.len() <= LINE_CHARS_MAX {
        return format!("{}{whole}", indent(level));
    }
    let mut lines = vec![format!("{}{}", indent(level), print_matchers(&log.matchers))];
    lines.extend(log.stages.iter().map(|stage| match stage {
        // Loki forgets to indent this one.
        Stage::Decolorize => print_stage(stage),
        _ => format!("{}{}", indent(level + 1), print_stage(stage)),
    }));
    lines.join("\n")
}

fn metric_at(metric: &MetricExpr, level: usize) -> String {
    let whole = print(&Expr::Metric(metric.clone()));
    if whole.len() <= LINE_CHARS_MAX {
        return format!("{}{}", indent(level), print_metric(metric));
    }
    match metric {
        MetricExpr::Range(range) => range_at(range, level),
        MetricExpr::Vector(vector) => vector_at(vector, level),
        MetricExpr::Binary(binary) => {
            let operator = operator(binary);
            let (left, right) = (metric_at(&binary.left, level + 1), metric_at(&binary.right, level + 1));
            format!("{left}\n{}{operator}\n{right}", indent(level))
        }
        MetricExpr::LabelReplace { inner, dst, replacement, src, regex } => {
            let mut params = vec![metric_at(inner, level + 1)];
            for text in [dst, replacement, src, regex] {
                let mut param = indent(level + 1);
                crate::types::labels::push_go_quoted(&mut param, text);
                params.push(param);
            }
            format!("{}label_replace(\n{}\n{})", indent(level), params.join(",\n"), indent(level))
        }
        MetricExpr::Number(_) | MetricExpr::VectorLiteral(_) => format!("{}{}", indent(level), print_metric(metric)),
    }
}

/// An operator on a line of its own. Loki leaves out a matching by no label, and ends one without a group in a space.
fn operator(binary: &BinaryExpr) -> String {
    let mut out = binary_op_name(binary.op).to_owned();
    if binary.return_bool {
        out.push_str(" bool");
    }
    let Some(matching) = binary.matching.as_ref().filter(|matching| !matching.labels.is_empty()) else { return out };
    let word = if matching.on { "on" } else { "ignoring" };
    let (group, include): (&str, &[String]) = match &matching.group {
        Group::None => ("", &[]),
        Group::Left(include) => ("group_left", include),
        Group::Right(include) => ("group_right", include),
    };
    out.push_str(&format!(" {word} ({}) {group}", matching.labels.join(", ")));
    if !include.is_empty() {
        out.push_str(&format!(" ({})", include.join(", ")));
    }
    out
}

/// `[5m] offset 1h`
fn window(range: &RangeAggregation) -> String {
    let window = format!("[{}]", model_duration(range.range_ns));
    match range.offset_ns {
        0 => window,
        offset => format!("{window} offset {}", model_duration(offset)),
    }
}

fn grouping(grouping: Option<&Grouping>) -> String {
    match grouping {
        Some(grouping) if !grouping.labels.is_empty() => {
            let word = if grouping.without { "without" } else { "by" };
            format!(" {word} ({})", grouping.labels.join(", "))
        }
        Some(grouping) if grouping.without => " without".to_owned(),
        _ => String::new(),
    }
}

fn range_at(range: &RangeAggregation, level: usize) -> String {
    if print_range(range).len() <= LINE_CHARS_MAX {
        return format!("{}{}", indent(level), print_range(range));
    }
    // Loki writes an unwrap, and what follows it, on lines of their own.
    let unwrap_at = range.log.stages.iter().position(|stage| matches!(stage, Stage::Unwrap { .. }));
    let (before, unwrapped) = range.log.stages.split_at(unwrap_at.unwrap_or(range.log.stages.len()));
    let log = LogExpr { matchers: range.log.matchers.clone(), stages: before.to_vec() };
    let mut inner = log_at(&log, level + 1);
    for stage in unwrapped {
        inner.push_str(&format!("\n{}{}", indent(level + 2), print_stage(stage)));
    }
    let param = range.param.map(|param| format!("{}{param},\n", indent(level + 1))).unwrap_or_default();
    format!(
        "{0}{1}(\n{param}{inner} {2}\n{0}){3}",
        indent(level),
        range_op_name(range.op),
        window(range),
        grouping(range.grouping.as_ref())
    )
}

fn vector_at(vector: &VectorAggregation, level: usize) -> String {
    let mut params = Vec::new();
    if let Some(param) = vector.param {
        params.push(format!("{}{param}", indent(level + 1)));
    }
    params.push(metric_at(&vector.inner, level + 1));
    format!(
        "{0}{1}{2}(\n{3}\n{0})",
        indent(level),
        vector_op_name(vector.op),
        grouping(vector.grouping.as_ref()),
        params.join(",\n")
    )
}
