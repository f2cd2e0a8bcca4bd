//! SQL view `rules`: every rule of the tenant and how it is.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampNanosecondArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::catalog::MemTable;
use datafusion::common::Result as DfResult;
use datafusion::prelude::SessionContext;

use super::view::{Mode, RuleView};
use super::{Rule, Ruler, ShownGroup};
use crate::query::sql::{SqlSource, SqlViews};

static RULES_VIEW_SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let time = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        Field::new("namespace", DataType::Utf8, false),
        Field::new("rule_group", DataType::Utf8, false),
        Field::new("name", DataType::Utf8, false),
        // `alerting` or `recording`.
        Field::new("type", DataType::Utf8, false),
        Field::new("query", DataType::Utf8, false),
        // JSON.
        Field::new("labels", DataType::Utf8, false),
        Field::new("interval_seconds", DataType::Float64, false),
        // `incremental` or `query`.
        Field::new("evaluation", DataType::Utf8, false),
        Field::new("health", DataType::Utf8, false),
        Field::new("last_error", DataType::Utf8, false),
        Field::new("last_evaluation", time, true),
        Field::new("evaluation_seconds", DataType::Float64, false),
        // Of alerts: `inactive`, `pending`, `firing`.
        Field::new("state", DataType::Utf8, true),
        Field::new("alerts", DataType::UInt64, false),
    ]))
});

/// Puts the view into sessions.
pub struct RuleViews(pub Arc<Ruler>);

impl SqlViews for RuleViews {
    fn register(&self, context: &SessionContext, source: &SqlSource) -> DfResult<()> {
        // Rules speak of all streams: who does not see them all sees no rule.
        let seen = source.scope.tenants().filter(|_| source.scope.is_clear());
        let groups: Vec<ShownGroup> = seen.flat_map(|tenant| self.0.shown(tenant)).collect();
        let table = MemTable::try_new(RULES_VIEW_SCHEMA.clone(), vec![vec![batch(&groups)?]])?;
        context.register_table("rules", Arc::new(table))?;
        Ok(())
    }
}

fn batch(groups: &[ShownGroup]) -> DfResult<RecordBatch> {
    let rules: Vec<(&ShownGroup, &Rule, &RuleView)> = groups
        .iter()
        .flat_map(|group| group.group.rules.iter().zip(&group.view.rules).map(move |(rule, view)| (group, rule, view)))
        .collect();
    let text = |of: &dyn Fn(&(&ShownGroup, &Rule, &RuleView)) -> String| -> ArrayRef {
        Arc::new(rules.iter().map(|rule| Some(of(rule))).collect::<StringArray>())
    };
    let number = |of: &dyn Fn(&(&ShownGroup, &Rule, &RuleView)) -> f64| -> ArrayRef {
        Arc::new(rules.iter().map(|rule| Some(of(rule))).collect::<Float64Array>())
    };
    let evaluated = rules.iter().map(|(_, _, view)| view.last_evaluation.map(|at| at.0));
    let states = rules.iter().map(|(_, rule, view)| rule.is_alert().then(|| view.state.as_str()));
    let alerts = rules.iter().map(|(_, _, view)| view.alerts.len() as u64);
    let json = |(group, rule, _): &(&ShownGroup, &Rule, &RuleView)| {
        serde_json::to_string(&rule.all_labels(&group.group)).unwrap_or_default()
    };
    let columns: Vec<ArrayRef> = vec![
        text(&|(group, _, _)| group.key.namespace.clone()),
        text(&|(group, _, _)| group.key.group.clone()),
        text(&|(_, rule, _)| rule.name().to_owned()),
        text(&|(_, rule, _)| if rule.is_alert() { "alerting" } else { "recording" }.to_owned()),
        text(&|(_, rule, _)| rule.text.clone()),
        text(&json),
        number(&|(group, _, _)| group.interval_ns as f64 / 1e9),
        text(&|(_, _, view)| match view.mode {
            Mode::Incremental { .. } => "incremental".to_owned(),
            Mode::Asked(_) => "query".to_owned(),
        }),
        text(&|(_, _, view)| view.health.as_str().to_owned()),
        text(&|(_, _, view)| view.last_error.clone()),
        Arc::new(TimestampNanosecondArray::from_iter(evaluated).with_timezone("UTC")),
        number(&|(_, _, view)| view.evaluation_seconds),
        Arc::new(states.collect::<StringArray>()),
        Arc::new(UInt64Array::from_iter_values(alerts)),
    ];
    Ok(RecordBatch::try_new(RULES_VIEW_SCHEMA.clone(), columns)?)
}
