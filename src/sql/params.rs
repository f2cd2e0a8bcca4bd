//! Values of `$1`, `$2`, … as clients send them in JSON.

use datafusion::common::ScalarValue;
use serde_json::Value;

/// Parameters of one statement.
const PARAMS_MAX: usize = 1000;

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
        _ => Value::Null,
    });
    Value::Array(shown.collect()).to_string()
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
