//! Values of `$1`, `$2`, …: what a plan expects of them, and how clients send them in JSON.

use std::collections::HashMap;

use arrow::datatypes::FieldRef;
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, LogicalPlan};
use serde_json::Value;

/// Parameters of one statement.
pub const PARAMS_MAX: usize = 1000;

/// `["text", 1, 2.5, true, null]` as values.
///
/// # Errors
/// What is wrong, for the client.
pub fn from_json(text: &str) -> Result<Vec<ScalarValue>, String> {
    let values: Vec<Value> = serde_json::from_str(text).map_err(|_| "params: not a JSON array".to_owned())?;
    from_values(&values)
}

/// JSON values as values of SQL.
///
/// # Errors
/// For arrays and objects, and for too many.
pub fn from_values(values: &[Value]) -> Result<Vec<ScalarValue>, String> {
    if values.len() > PARAMS_MAX {
        return Err(format!("params: more than {PARAMS_MAX}"));
    }
    values.iter().map(to_scalar).collect()
}

/// The values as text, as a record shows them.
pub fn to_text(values: &[ScalarValue]) -> String {
    if values.is_empty() {
        return String::new();
    }
    let shown = values.iter().map(|value| match value {
        ScalarValue::Utf8(Some(text)) => Value::from(text.as_str()),
        ScalarValue::Int64(Some(number)) => Value::from(*number),
        ScalarValue::Float64(Some(number)) => Value::from(*number),
        ScalarValue::Boolean(Some(value)) => Value::from(*value),
        value if value.is_null() => Value::Null,
        value => Value::from(value.to_string()),
    });
    Value::Array(shown.collect()).to_string()
}

/// What a plan expects of its parameters, in order; none: anything.
///
/// # Errors
/// For a name that is no number, and for too many.
pub fn expected(plan: &LogicalPlan) -> Result<Vec<Option<FieldRef>>, DataFusionError> {
    let mut found = plan.get_parameter_fields()?;
    say_casts(plan, &mut found)?;
    let mut expected: Vec<Option<FieldRef>> = Vec::new();
    for (name, field) in found {
        let number = name.strip_prefix('$').and_then(|number| number.parse::<usize>().ok());
        let Some(number) = number.filter(|number| (1..=PARAMS_MAX).contains(number)) else {
            let text = format!("there is no parameter {name}: they are $1 to ${PARAMS_MAX}");
            return Err(DataFusionError::Plan(text));
        };
        if expected.len() < number {
            expected.resize(number, None);
        }
        expected[number - 1] = field;
    }
    Ok(expected)
}

/// What `$1::type` says of a parameter that nothing else says anything of.
fn say_casts(plan: &LogicalPlan, fields: &mut HashMap<String, Option<FieldRef>>) -> Result<(), DataFusionError> {
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expression| {
            expression.apply(|expression| {
                if let Expr::Cast(cast) = expression
                    && let Expr::Placeholder(placeholder) = &*cast.expr
                {
                    let field = fields.entry(placeholder.id.clone()).or_default();
                    *field = field.take().or_else(|| Some(cast.field.clone()));
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(())
}

fn to_scalar(value: &Value) -> Result<ScalarValue, String> {
    match value {
        Value::Null => Ok(ScalarValue::Null),
        Value::Bool(value) => Ok(ScalarValue::Boolean(Some(*value))),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => Ok(ScalarValue::Int64(Some(whole))),
            None => Ok(ScalarValue::Float64(number.as_f64())),
        },
        Value::String(text) => Ok(ScalarValue::Utf8(Some(text.clone()))),
        Value::Array(_) | Value::Object(_) => {
            Err("params: texts, numbers, true, false and null are values; lists and objects are not".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_plan_says_what_it_expects() {
        let session = datafusion::prelude::SessionContext::new();
        let check = async |sql: &str, types: Option<&[Option<&str>]>| {
            let plan = session.state().create_logical_plan(sql).await.expect("a plan");
            let got = expected(&plan).ok().map(|fields| {
                let name = |field: FieldRef| field.data_type().to_string();
                fields.into_iter().map(|field| field.map(name)).collect::<Vec<_>>()
            });
            let types = types.map(|types| types.iter().map(|name| name.map(str::to_owned)).collect::<Vec<_>>());
            assert_eq!(got, types, "{sql}");
        };
        check("select 1", Some(&[])).await;
        check("select $2::int, $1", Some(&[None, Some("Int32")])).await;
        check("select * from (values (1)) t(a) where a = $1", Some(&[Some("Int64")])).await;
        check("select $4000000", None).await;
        check("select $name", None).await;
    }

    #[test]
    fn json_becomes_values() {
        let got = from_json(r#"["a", 1, 2.5, true, null]"#).expect("good");
        let expected = [
            ScalarValue::Utf8(Some("a".to_owned())),
            ScalarValue::Int64(Some(1)),
            ScalarValue::Float64(Some(2.5)),
            ScalarValue::Boolean(Some(true)),
            ScalarValue::Null,
        ];
        assert_eq!(got, expected);
        assert_eq!((to_text(&got).as_str(), to_text(&[])), (r#"["a",1,2.5,true,null]"#, String::new()));
        for bad in ["{}", "[[]]", "[{}]", "x"] {
            assert!(from_json(bad).is_err(), "{bad}");
        }
    }
}
