//! Values that are missing, empty or chosen: `default`, `empty`, `coalesce`, `ternary`, `fail`.

use super::Parameter::{Any, Bool, Text};
use super::{CallError, Function};
use crate::template::value::{Operand, Value};

pub(super) static SPRIG: &[Function] = &[
    Function::value("default", &[Any], |call| {
        let given = call.operand(1);
        let chosen = if is_empty(&given.value) { call.value(0) } else { &given.value };
        Ok(Operand::boxed(chosen.clone()))
    })
    .and_more(Any),
    Function::value("empty", &[Any], |call| Ok(Value::Bool(is_empty(call.value(0))).into())),
    Function::value("coalesce", &[], |call| {
        let first = call.values(0).find(|value| !is_empty(value));
        Ok(Operand::boxed(first.cloned().unwrap_or(Value::Nil)))
    })
    .and_more(Any),
    Function::value("all", &[], |call| Ok(Value::Bool(!call.values(0).any(is_empty)).into())).and_more(Any),
    Function::value("any", &[], |call| Ok(Value::Bool(!call.values(0).all(is_empty)).into())).and_more(Any),
    Function::value("ternary", &[Any, Any, Bool], |call| {
        let chosen = if call.bool(2) { 0 } else { 1 };
        Ok(Operand::boxed(call.value(chosen).clone()))
    }),
    Function::value("fail", &[Text], |call| Err(CallError::new(call.str(0)))),
];

/// The zero of its type, or without items. A struct is never empty.
pub(super) fn is_empty(value: &Value<'_>) -> bool {
    !value.is_true()
}
