//! Questions about what there never is here, such as indexes and constraints: answered without being planned.
//!
//! Clients ask them in Postgres' own dialect, much of which DataFusion does not plan. Where a question can be seen to
//! have no rows, because all it reads is joined with a catalog table that is always empty, its columns are enough.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::DFSchema;
use datafusion::logical_expr::{EmptyRelation, LogicalPlan};
use datafusion::sql::sqlparser::ast::{
    self, Expr, GroupByExpr, JoinOperator, Query, SelectItem, SetExpr, TableFactor, TableWithJoins,
};

/// Tables of `pg_catalog` that have no rows here.
const ALWAYS_EMPTY: [&str; 14] = [
    "pg_constraint",
    "pg_enum",
    "pg_foreign_server",
    "pg_foreign_table",
    "pg_index",
    "pg_inherits",
    "pg_partitioned_table",
    "pg_policy",
    "pg_publication",
    "pg_publication_rel",
    "pg_rewrite",
    "pg_sequence",
    "pg_statistic_ext",
    "pg_trigger",
];
/// Functions that make a row of none.
const AGGREGATES: [&str; 10] =
    ["count", "sum", "min", "max", "avg", "array_agg", "string_agg", "bool_and", "bool_or", "json_agg"];

/// The plan of a statement that cannot have rows; none when it may.
pub(super) fn plan(statement: &ast::Statement) -> Option<LogicalPlan> {
    let ast::Statement::Query(query) = statement else { return None };
    let names = columns(query).filter(|_| is_empty(&query.body))?;
    let fields = names.into_iter().map(|name| Field::new(name, DataType::Utf8, true));
    let schema = Schema::new(fields.collect::<Vec<_>>());
    let schema = Arc::new(DFSchema::try_from(schema).ok()?);
    Some(LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: false, schema }))
}

fn is_empty(body: &SetExpr) -> bool {
    match body {
        SetExpr::Select(select) => {
            let grouped = !matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
            let aggregates = || select.projection.iter().any(aggregate);
            select.from.iter().any(joined_is_empty) && (grouped || !aggregates())
        }
        SetExpr::Query(query) => is_empty(&query.body),
        SetExpr::SetOperation { left, right, .. } => is_empty(left) && is_empty(right),
        _ => false,
    }
}

fn joined_is_empty(from: &TableWithJoins) -> bool {
    let inner = from.joins.iter().filter(|join| {
        matches!(join.join_operator, JoinOperator::Join(_) | JoinOperator::Inner(_) | JoinOperator::CrossJoin(_))
    });
    let keeps_left = from.joins.iter().all(|join| {
        !matches!(join.join_operator, JoinOperator::Right(_) | JoinOperator::RightOuter(_) | JoinOperator::FullOuter(_))
    });
    keeps_left && (table_is_empty(&from.relation) || inner.into_iter().any(|join| table_is_empty(&join.relation)))
}

fn table_is_empty(table: &TableFactor) -> bool {
    match table {
        TableFactor::Table { name, args: None, .. } => {
            let parts: Vec<String> = name.to_string().split('.').map(|part| part.replace('"', "")).collect();
            matches!(parts.as_slice(), [schema, table] if schema == "pg_catalog" && ALWAYS_EMPTY.contains(&table.as_str()))
        }
        TableFactor::Derived { subquery, .. } => is_empty(&subquery.body),
        TableFactor::NestedJoin { table_with_joins, .. } => joined_is_empty(table_with_joins),
        _ => false,
    }
}

fn aggregate(item: &SelectItem) -> bool {
    let expression = match item {
        SelectItem::UnnamedExpr(expression) | SelectItem::ExprWithAlias { expr: expression, .. } => expression,
        _ => return true,
    };
    // A name too many makes the statement be planned as any other.
    let text = expression.to_string().to_lowercase();
    AGGREGATES.iter().any(|name| text.contains(&format!("{name}(")))
}

/// The names of the columns, each once; none for `*`.
fn columns(query: &Query) -> Option<Vec<String>> {
    let mut body = &*query.body;
    let select = loop {
        match body {
            SetExpr::Select(select) => break select,
            SetExpr::Query(query) => body = &query.body,
            SetExpr::SetOperation { left, .. } => body = left,
            _ => return None,
        }
    };
    let mut names: Vec<String> = Vec::with_capacity(select.projection.len());
    for item in &select.projection {
        let mut name = match item {
            SelectItem::ExprWithAlias { alias, .. } => alias.value.clone(),
            SelectItem::UnnamedExpr(Expr::Identifier(name)) => name.value.clone(),
            SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => parts.last()?.value.clone(),
            SelectItem::UnnamedExpr(other) => other.to_string(),
            _ => return None,
        };
        while names.contains(&name) {
            name.push('_');
        }
        names.push(name);
    }
    Some(names)
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    #[test]
    fn only_what_surely_has_no_rows_is_answered_so() {
        let check = |sql: &str, expected: Option<&str>| {
            let statements = Parser::parse_sql(&PostgreSqlDialect {}, sql).expect(sql);
            let names = plan(&statements[0]).map(|plan| {
                let names: Vec<String> = plan.schema().fields().iter().map(|field| field.name().clone()).collect();
                names.join(" ")
            });
            assert_eq!(names.as_deref(), expected, "{sql}");
        };
        check("select c.conname as name, oid from pg_catalog.pg_constraint c", Some("name oid"));
        check("select i.relname from pg_catalog.pg_class i join pg_catalog.pg_index on true", Some("relname"));
        check("select i.relname from pg_catalog.pg_class i left join pg_catalog.pg_index on true", None);
        check("select 1 as a from pg_catalog.pg_index full join pg_catalog.pg_class on true", None);
        check("select a from (select unnest(indkey) as a from pg_catalog.pg_index) x", Some("a"));
        check("select count(*) as n from pg_catalog.pg_index", None);
        check("select indrelid, count(*) as n from pg_catalog.pg_index group by 1", Some("indrelid n"));
        check("select oid as a from pg_catalog.pg_index union select oid from pg_catalog.pg_enum", Some("a"));
        check("select oid from pg_catalog.pg_index union select oid from pg_catalog.pg_class", None);
        check("select oid from pg_index", None);
        check("select * from pg_catalog.pg_index", None);
        check("select line from logs", None);
    }
}
