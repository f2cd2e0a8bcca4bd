//! From a SELECT to recording rules.
//!
//! | of the statement | becomes |
//! |---|---|
//! | `date_bin(INTERVAL 'w', timestamp)` | interval and range w, offset 1 ns: bins begin inside, windows end inside |
//! | `labels['x'] = 'v'`, `<>`, `~`, `!~`, `IN`, `LIKE` | a matcher of the selector |
//! | the same of `level`, `metadata['x']`, `json_get_str(line, 'x')` | a label filter |
//! | `json_get_float(line, 'x') > 5` | `json`, a label filter |
//! | `line LIKE '%x%'`, `line ~ 'x'` | a line filter |
//! | `count(*)`, `sum`, `avg`, `min`, `max`, `stddev_pop`, `var_pop`, `approx_percentile_cont(x, q)` | a range aggregation |
//!
//! Not supported: OR, HAVING, ORDER BY, LIMIT, joins, subqueries, DISTINCT, windows, comparisons of `timestamp`,
//! expressions over aggregates. Each is refused by name.

use std::collections::BTreeMap;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, GroupByExpr, Select, SelectItem, SetExpr, Statement, TableFactor,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::parts::{Like, Source, call, inner, interval, like, number, source, text, unsupported};
use super::{ContinuousViewConfig, VIEWS_NAMESPACE};
use crate::logql::ast::{
    CompareOp, Expr as LogqlExpr, FieldExtraction, Grouping, LabelFilter, LabelSelector, LineFilter, LineFilterOp,
    LineMatch, LogExpr, MatchOp, Matcher, MetricExpr, RangeAggregation, RangeOp, Stage, VectorAggregation, VectorOp,
};
use crate::logql::print;
use crate::rules::expr::RuleExpr;
use crate::rules::model::{Rule, RuleGroup, RuleKind};
use crate::types::units::GoDuration;

/// Bins begin inside and windows end inside: a window that ends a nanosecond earlier is the bin.
const BIN_OFFSET_NS: i64 = 1;

/// Why a statement is no continuous view.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    #[error("the name {0:?} is none: lower-case letters, digits and _, a letter first")]
    Name(String),
    #[error("{0}")]
    Parse(String),
    #[error("continuous views do not support {what}: {text}")]
    Unsupported { what: String, text: String },
    #[error("a continuous view needs {0}")]
    Missing(&'static str),
}

/// A view, ready to run.
#[derive(Debug, Clone, PartialEq)]
pub struct ContinuousView {
    pub name: String,
    /// In namespace [`VIEWS_NAMESPACE`].
    pub group: RuleGroup,
    pub columns: Vec<Column>,
    pub bin_ns: i64,
}

/// A column of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Column {
    /// The beginning of the bin.
    Bin { name: String },
    /// A label of the recorded series.
    Key { name: String, label: String },
    /// A recorded metric.
    Aggregate { name: String, metric: String },
}

/// Translates a view.
pub fn translate(config: &ContinuousViewConfig) -> Result<ContinuousView, ViewError> {
    let name = config.name.clone();
    let ok = |c: char| c.is_ascii_lowercase() || c == '_';
    if !name.starts_with(ok) || !name.chars().all(|c| ok(c) || c.is_ascii_digit()) {
        return Err(ViewError::Name(name));
    }
    let select = parse(&config.query)?;
    let mut translation = Translation::default();
    if let Some(condition) = &select.selection {
        translation.conditions(condition)?;
    }
    let GroupByExpr::Expressions(group_by, modifiers) = &select.group_by else {
        return Err(unsupported("GROUP BY ALL", &select.group_by));
    };
    if !modifiers.is_empty() {
        return Err(unsupported("this GROUP BY", &select.group_by));
    }
    let items = items(&select)?;
    let mut bin_ns = None;
    let mut columns = Vec::new();
    let mut aggregates = Vec::new();
    for (item, alias) in &items {
        let column_name = alias.clone().ok_or_else(|| unsupported("a column without AS", item))?;
        if let Some(width) = bin(item)? {
            bin_ns = Some(width);
            columns.push(Column::Bin { name: column_name });
        } else if let Some(aggregate) = aggregate(item)? {
            let metric = format!("{name}:{column_name}");
            columns.push(Column::Aggregate { name: column_name, metric: metric.clone() });
            aggregates.push((metric, aggregate));
        } else {
            let label = translation.key(&source(item)?, item)?;
            columns.push(Column::Key { name: column_name, label });
        }
    }
    check_grouped(group_by, &items)?;
    let bin_ns = bin_ns.ok_or(ViewError::Missing("date_bin(INTERVAL '…', timestamp) among its columns"))?;
    if aggregates.is_empty() {
        return Err(ViewError::Missing("an aggregate among its columns"));
    }
    let rules = aggregates.into_iter().map(|(metric, aggregate)| translation.rule(metric, aggregate, bin_ns));
    let group = RuleGroup {
        name: name.clone(),
        interval: Some(GoDuration(bin_ns)),
        limit: 0,
        query_offset: None,
        lateness: config.lateness,
        labels: BTreeMap::new(),
        rules: rules.collect::<Result<_, ViewError>>()?,
    };
    Ok(ContinuousView { name, group, columns, bin_ns })
}

fn parse(query: &str) -> Result<Select, ViewError> {
    let statements = Parser::parse_sql(&PostgreSqlDialect {}, query)
        .map_err(|error| ViewError::Parse(format!("{VIEWS_NAMESPACE}: {error}")))?;
    let [Statement::Query(query)] = statements.as_slice() else {
        return Err(ViewError::Missing("one SELECT"));
    };
    if query.with.is_some() || query.order_by.is_some() || query.limit_clause.is_some() || query.fetch.is_some() {
        return Err(unsupported("WITH, ORDER BY, LIMIT or FETCH", query));
    }
    let SetExpr::Select(select) = &*query.body else { return Err(unsupported("this query", &query.body)) };
    let extras = [
        ("DISTINCT", select.distinct.is_some()),
        ("HAVING", select.having.is_some()),
        ("QUALIFY", select.qualify.is_some()),
        ("WINDOW", !select.named_window.is_empty()),
    ];
    if let Some((what, _)) = extras.iter().find(|(_, is_there)| *is_there) {
        return Err(unsupported(what, select));
    }
    let is_logs = match select.from.as_slice() {
        [table] if table.joins.is_empty() => {
            matches!(&table.relation, TableFactor::Table { name, .. } if name.to_string().to_lowercase() == "logs")
        }
        _ => false,
    };
    if !is_logs {
        return Err(ViewError::Missing("FROM logs, and nothing else there"));
    }
    Ok((**select).clone())
}

type Item<'a> = (&'a Expr, Option<String>);

fn items(select: &Select) -> Result<Vec<Item<'_>>, ViewError> {
    let item = |item: &'_ SelectItem| match item {
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => Ok(Some(name.value.to_lowercase())),
        SelectItem::UnnamedExpr(_) => Ok(None),
        SelectItem::ExprWithAlias { alias, .. } => Ok(Some(alias.value.clone())),
        other => Err(unsupported("a column", other)),
    };
    let mut items = Vec::new();
    for one in &select.projection {
        let name = item(one)?;
        match one {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => items.push((inner(expr), name)),
            other => return Err(unsupported("a column", other)),
        }
    }
    Ok(items)
}

/// Every column that is no aggregate is grouped by, by name, number or the same expression; and nothing else is.
fn check_grouped(group_by: &[Expr], items: &[Item<'_>]) -> Result<(), ViewError> {
    let mut grouped = vec![false; items.len()];
    for expr in group_by {
        let by_number = number(expr).map(|number| number as usize).filter(|number| (1..=items.len()).contains(number));
        let by_name = match inner(expr) {
            Expr::Identifier(name) => items.iter().position(|(_, alias)| alias.as_ref() == Some(&name.value)),
            _ => None,
        };
        let same = || items.iter().position(|(item, _)| item.to_string() == inner(expr).to_string());
        let at = by_number.map(|number| number - 1).or(by_name).or_else(same);
        grouped[at.ok_or_else(|| unsupported("grouping by what is no column", expr))?] = true;
    }
    for ((item, _), is_grouped) in items.iter().zip(grouped) {
        if is_grouped != aggregate(item)?.is_none() {
            return Err(unsupported(
                if is_grouped { "grouping by an aggregate" } else { "a column that is not grouped by" },
                item,
            ));
        }
    }
    Ok(())
}

/// The width, if the expression is a bin of `timestamp`.
fn bin(expr: &Expr) -> Result<Option<i64>, ViewError> {
    let Expr::Function(_) = expr else { return Ok(None) };
    let called = call(expr)?;
    if called.name != "date_bin" {
        return Ok(None);
    }
    match called.args.as_slice() {
        [Some(width), Some(column)] if source(column)? == Source::Timestamp => Ok(Some(interval(width)?)),
        _ => Err(unsupported("an origin of bins, or another column than timestamp", expr)),
    }
}

struct Aggregate {
    op: RangeOp,
    param: Option<f64>,
    /// None: lines are counted.
    of: Option<Source>,
}

fn aggregate(expr: &Expr) -> Result<Option<Aggregate>, ViewError> {
    let Expr::Function(_) = expr else { return Ok(None) };
    let called = call(expr)?;
    let op = match called.name.as_str() {
        "count" => match called.args.as_slice() {
            [None] => return Ok(Some(Aggregate { op: RangeOp::CountOverTime, param: None, of: None })),
            _ => return Err(unsupported("count of anything but *", expr)),
        },
        "sum" => RangeOp::SumOverTime,
        "avg" | "mean" => RangeOp::AvgOverTime,
        "min" => RangeOp::MinOverTime,
        "max" => RangeOp::MaxOverTime,
        "stddev_pop" => RangeOp::StddevOverTime,
        "var_pop" => RangeOp::StdvarOverTime,
        "approx_percentile_cont" => RangeOp::QuantileOverTime,
        _ => return Ok(None),
    };
    let (of, param) = match (op, called.args.as_slice()) {
        (RangeOp::QuantileOverTime, [Some(of), Some(quantile)]) => {
            (of, Some(number(quantile).ok_or_else(|| unsupported("this quantile", expr))?))
        }
        (RangeOp::QuantileOverTime, _) => return Err(unsupported("these arguments", expr)),
        (_, [Some(of)]) => (of, None),
        _ => return Err(unsupported("these arguments", expr)),
    };
    match source(of)? {
        of @ (Source::Json(_) | Source::Label(_) | Source::Metadata(_)) => {
            Ok(Some(Aggregate { op, param, of: Some(of) }))
        }
        _ => Err(unsupported("an aggregate of this", expr)),
    }
}

/// What rows pass and which labels they get.
#[derive(Default)]
struct Translation {
    matchers: Vec<Matcher>,
    lines: Vec<Stage>,
    /// Extracted fields, by path; their labels are ours alone.
    fields: Vec<Vec<String>>,
    filters: Vec<Stage>,
    keys: Vec<String>,
}

impl Translation {
    fn conditions(&mut self, expr: &Expr) -> Result<(), ViewError> {
        match inner(expr) {
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
                self.conditions(left)?;
                self.conditions(right)
            }
            Expr::BinaryOp { left, op, right } => self.comparison(expr, left, op, right),
            Expr::Like { negated, expr: of, pattern, escape_char: None, any: false } => {
                self.like(expr, of, pattern, *negated, false)
            }
            Expr::ILike { negated, expr: of, pattern, escape_char: None, any: false } => {
                self.like(expr, of, pattern, *negated, true)
            }
            Expr::InList { expr: of, list, negated } => {
                let texts: Option<Vec<String>> =
                    list.iter().map(|item| text(item).map(|text| regex_syntax::escape(&text))).collect();
                let texts = texts.ok_or_else(|| unsupported("a list of anything but texts", expr))?;
                self.matches(expr, &source(of)?, !negated, Test::Regex(texts.join("|")))
            }
            other => Err(unsupported("a condition", other)),
        }
    }

    fn comparison(&mut self, whole: &Expr, left: &Expr, op: &BinaryOperator, right: &Expr) -> Result<(), ViewError> {
        let of = source(left).map_err(|_| unsupported("a condition", whole))?;
        if let Some(text) = text(right) {
            return match op {
                BinaryOperator::Eq => self.matches(whole, &of, true, Test::Equal(text)),
                BinaryOperator::NotEq => self.matches(whole, &of, false, Test::Equal(text)),
                BinaryOperator::PGRegexMatch => self.matches(whole, &of, true, Test::Contained(text)),
                BinaryOperator::PGRegexNotMatch => self.matches(whole, &of, false, Test::Contained(text)),
                BinaryOperator::PGRegexIMatch => self.matches(whole, &of, true, Test::Contained(format!("(?i){text}"))),
                BinaryOperator::PGRegexNotIMatch => {
                    self.matches(whole, &of, false, Test::Contained(format!("(?i){text}")))
                }
                _ => Err(unsupported("this comparison of texts", whole)),
            };
        }
        let value = number(right).ok_or_else(|| unsupported("a condition", whole))?;
        let op = match op {
            BinaryOperator::Eq => CompareOp::Equal,
            BinaryOperator::NotEq => CompareOp::NotEqual,
            BinaryOperator::Gt => CompareOp::Greater,
            BinaryOperator::GtEq => CompareOp::GreaterOrEqual,
            BinaryOperator::Lt => CompareOp::Less,
            BinaryOperator::LtEq => CompareOp::LessOrEqual,
            _ => return Err(unsupported("a condition", whole)),
        };
        match &of {
            Source::Json(_) | Source::Metadata(_) | Source::Label(_) => {
                let label = self.label(&of, whole)?;
                // A value that is no number passes a number filter in LogQL, with an error; here it does not.
                self.filters.push(Stage::LabelFilter(LabelFilter::Number { label, op, value }));
                self.filters.push(no_error());
                Ok(())
            }
            _ => Err(unsupported("a comparison with a number", whole)),
        }
    }

    fn like(
        &mut self,
        whole: &Expr,
        of: &Expr,
        pattern: &Expr,
        negated: bool,
        ignores_case: bool,
    ) -> Result<(), ViewError> {
        let pattern = text(pattern).ok_or_else(|| unsupported("a pattern", whole))?;
        let test = match like(&pattern, ignores_case) {
            Like::Contains(text) => Test::ContainsText(text),
            Like::Regex(regex) => Test::Contained(regex),
        };
        self.matches(whole, &source(of)?, !negated, test)
    }

    fn matches(&mut self, whole: &Expr, of: &Source, is_wanted: bool, test: Test) -> Result<(), ViewError> {
        if *of == Source::Line {
            let (op, text) = match (test, is_wanted) {
                (Test::ContainsText(text), true) => (LineFilterOp::Contains, text),
                (Test::ContainsText(text), false) => (LineFilterOp::NotContains, text),
                (Test::Contained(regex), true) => (LineFilterOp::Regex, regex),
                (Test::Contained(regex), false) => (LineFilterOp::NotRegex, regex),
                (Test::Equal(text), true) => (LineFilterOp::Regex, format!("(?s)^{}$", regex_syntax::escape(&text))),
                (Test::Equal(text), false) => {
                    (LineFilterOp::NotRegex, format!("(?s)^{}$", regex_syntax::escape(&text)))
                }
                (Test::Regex(regex), true) => (LineFilterOp::Regex, format!("^(?s:{regex})$")),
                (Test::Regex(regex), false) => (LineFilterOp::NotRegex, format!("^(?s:{regex})$")),
            };
            self.lines.push(Stage::LineFilter(LineFilter { op, any_of: vec![LineMatch::Text(text)] }));
            return Ok(());
        }
        let (op, value) = match (test, is_wanted) {
            (Test::Equal(value), true) => (MatchOp::Equal, value),
            (Test::Equal(value), false) => (MatchOp::NotEqual, value),
            // LogQL anchors, a search does not.
            (Test::ContainsText(text), true) => {
                (MatchOp::Regex, format!("(?s:.*){}(?s:.*)", regex_syntax::escape(&text)))
            }
            (Test::ContainsText(text), false) => {
                (MatchOp::NotRegex, format!("(?s:.*){}(?s:.*)", regex_syntax::escape(&text)))
            }
            (Test::Contained(regex), true) => (MatchOp::Regex, format!("(?s:.*)(?:{regex})(?s:.*)")),
            (Test::Contained(regex), false) => (MatchOp::NotRegex, format!("(?s:.*)(?:{regex})(?s:.*)")),
            (Test::Regex(regex), true) => (MatchOp::Regex, regex),
            (Test::Regex(regex), false) => (MatchOp::NotRegex, regex),
        };
        let name = self.label(of, whole)?;
        // In SQL what is missing passes no test; in LogQL it is the empty text.
        let is_missing_kept = !is_wanted;
        let mut tests = vec![Matcher { name: name.clone(), op, value }];
        if is_missing_kept {
            tests.push(Matcher { name, op: MatchOp::NotEqual, value: String::new() });
        }
        for test in tests {
            if matches!(of, Source::Label(_)) {
                self.matchers.push(test);
            } else {
                self.filters.push(Stage::LabelFilter(LabelFilter::Text(test)));
            }
        }
        Ok(())
    }

    /// The label under which a pipeline finds what an expression reads.
    fn label(&mut self, of: &Source, whole: &Expr) -> Result<String, ViewError> {
        Ok(match of {
            Source::Label(name) | Source::Metadata(name) => name.clone(),
            Source::Level => "detected_level".to_owned(),
            Source::Json(path) => {
                let at = self.fields.iter().position(|known| known == path).unwrap_or_else(|| {
                    self.fields.push(path.clone());
                    self.fields.len() - 1
                });
                field_label(at)
            }
            Source::Timestamp | Source::Line => return Err(unsupported("a comparison or grouping of this", whole)),
        })
    }

    fn key(&mut self, of: &Source, whole: &Expr) -> Result<String, ViewError> {
        let label = self.label(of, whole)?;
        self.keys.push(label.clone());
        Ok(label)
    }

    fn rule(&mut self, metric: String, aggregate: Aggregate, bin_ns: i64) -> Result<Rule, ViewError> {
        let unwrapped = match &aggregate.of {
            Some(of) => Some(self.label(of, &Expr::Value(datafusion::sql::sqlparser::ast::Value::Null.into()))?),
            None => None,
        };
        let mut stages = self.lines.clone();
        if !self.fields.is_empty() {
            let fields = self
                .fields
                .iter()
                .enumerate()
                .map(|(at, path)| FieldExtraction { label: field_label(at), expression: json_path(path) });
            stages.push(Stage::Json { fields: fields.collect() });
            // A line that is no JSON has no fields, and is a row all the same.
            let errors = ["__error__", "__error_details__"].map(|name| LabelSelector::Name(name.to_owned()));
            stages.push(Stage::Drop { labels: errors.to_vec() });
        }
        stages.extend(self.filters.iter().cloned());
        if let Some(label) = unwrapped {
            stages.push(Stage::Unwrap { conversion: None, label });
            stages.push(no_error());
        }
        let mut labels = self.keys.clone();
        labels.sort();
        labels.dedup();
        let grouping = Grouping { without: false, labels };
        let sums = matches!(aggregate.op, RangeOp::CountOverTime | RangeOp::SumOverTime);
        let range = MetricExpr::Range(RangeAggregation {
            op: aggregate.op,
            param: aggregate.param,
            log: LogExpr { matchers: self.matchers.clone(), stages },
            range_ns: bin_ns,
            offset_ns: BIN_OFFSET_NS,
            grouping: (!sums).then(|| grouping.clone()),
        });
        let expr = if sums {
            MetricExpr::Vector(VectorAggregation {
                op: VectorOp::Sum,
                param: None,
                inner: Box::new(range),
                grouping: Some(grouping),
            })
        } else {
            range
        };
        Ok(Rule {
            kind: RuleKind::Recording { metric },
            text: print(&LogqlExpr::Metric(expr.clone())),
            expr: RuleExpr::LogQl(expr),
            labels: BTreeMap::new(),
            line: 0,
        })
    }
}

/// How a text is tested.
enum Test {
    Equal(String),
    ContainsText(String),
    /// Anchored.
    Regex(String),
    /// Found anywhere.
    Contained(String),
}

fn field_label(at: usize) -> String {
    format!("field_{at}")
}

fn json_path(path: &[String]) -> String {
    path.iter().map(|part| format!("[{}]", serde_json::Value::from(part.as_str()))).collect()
}

fn no_error() -> Stage {
    let matcher = Matcher { name: "__error__".to_owned(), op: MatchOp::Equal, value: String::new() };
    Stage::LabelFilter(LabelFilter::Text(matcher))
}
