//! Maps: `dict`, `get`, `set`, `keys`, `merge`.
//!
//! `set`, `unset` and `merge` change the map they are given, for all who hold it, as in Go. What Go returns in no
//! particular order (`keys`, `values`) is sorted by key here.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::Parameter::{Any, AnyMap, Text};
use super::words::strval;
use super::{Call, CallError, Function, ValueBody};
use crate::template::value::{Element, Map, Operand, Value};

type Called<'a> = Result<Operand<'a>, CallError>;

pub(super) static SPRIG: &[Function] = &[
    Function::value("dict", &[], |call| {
        let arguments = call.arguments();
        let entries = arguments.chunks(2).map(|pair| {
            let value = pair.get(1).map_or_else(|| Value::text(""), |operand| operand.value.clone());
            (strval(&pair[0].value), value)
        });
        call.new_map(entries)
    })
    .and_more(Any),
    Function::value("get", &[AnyMap, Text], |call| {
        let value = call.map(0).and_then(|map| map.get(call.bytes(1)));
        Ok(Operand::boxed(value.unwrap_or(Value::text(""))))
    }),
    Function::value("set", &[AnyMap, Text, Any], |call| {
        let Some(map) = call.map(0).filter(|map| !map.is_nil()) else {
            return Err(CallError::new("assignment to entry in nil map"));
        };
        call.will_change(map)?;
        map.insert(call.text(1), call.value(2).clone());
        Ok(call.operand(0).clone())
    }),
    Function::value("unset", &[AnyMap, Text], |call| {
        if let Some(map) = call.map(0) {
            call.will_change(map)?;
            map.remove(call.bytes(1));
        }
        Ok(call.operand(0).clone())
    }),
    Function::value("hasKey", &[AnyMap, Text], |call| {
        Ok(Value::Bool(call.map(0).is_some_and(|map| map.get(call.bytes(1)).is_some())).into())
    }),
    Function::value("pluck", &[Text], |call| {
        let maps = (1..call.arguments().len()).filter_map(|at| call.map(at));
        let found = maps.filter_map(|map| map.get(call.bytes(0))).collect();
        call.list(found, Element::Any)
    })
    .and_more(AnyMap),
    Function::value("keys", &[], |call| {
        let entries = maps(call, 0).into_iter().flat_map(|map| map.entries());
        call.list(entries.map(|(key, _)| Value::Text(key)).collect(), Element::Text)
    })
    .and_more(AnyMap),
    Function::value("values", &[AnyMap], |call| {
        let entries = call.map(0).map(|map| map.entries()).unwrap_or_default();
        call.list(entries.into_iter().map(|(_, value)| value).collect(), Element::Any)
    }),
    Function::value("pick", &[AnyMap], |call| {
        let keys = keys(call);
        let entries = call.map(0).map(|map| map.entries()).unwrap_or_default();
        call.new_map(entries.into_iter().filter(|(key, _)| keys.contains(&key.as_bytes())))
    })
    .and_more(Text),
    Function::value("omit", &[AnyMap], |call| {
        let keys = keys(call);
        let entries = call.map(0).map(|map| map.entries()).unwrap_or_default();
        call.new_map(entries.into_iter().filter(|(key, _)| !keys.contains(&key.as_bytes())))
    })
    .and_more(Text),
    Function::value("merge", &[AnyMap], MERGE).and_more(AnyMap),
    Function::value("mustMerge", &[AnyMap], MERGE).and_more(AnyMap),
    Function::value("mergeOverwrite", &[AnyMap], MERGE_OVERWRITE).and_more(AnyMap),
    Function::value("mustMergeOverwrite", &[AnyMap], MERGE_OVERWRITE).and_more(AnyMap),
    Function::value("dig", &[], dig).and_more(Any),
];

const MERGE: ValueBody = |call| merged(call, false);
const MERGE_OVERWRITE: ValueBody = |call| merged(call, true);

fn maps<'c, 'a>(call: &Call<'c, 'a>, from: usize) -> Vec<&'c Rc<Map<'a>>> {
    (from..call.arguments().len()).filter_map(|at| call.map(at)).collect()
}

fn keys<'c>(call: &Call<'c, '_>) -> Vec<&'c [u8]> {
    (1..call.arguments().len()).map(|at| call.bytes(at)).collect()
}

/// The first map, filled up from the others; a new one instead of nil.
fn merged<'a>(call: &mut Call<'_, 'a>, overwrites: bool) -> Called<'a> {
    let Some(first) = call.map(0) else { return Ok(call.operand(0).clone()) };
    let mut target = Rc::clone(first);
    for source in maps(call, 1).into_iter().filter(|source| !source.is_nil()) {
        if target.is_nil() {
            target = Rc::new(Map::new(Element::Any, BTreeMap::new()));
        }
        merge_into(call, &target, source, overwrites, 0)?;
    }
    Ok(Operand::boxed(Value::Map(target)))
}

fn merge_into<'a>(
    call: &mut Call<'_, 'a>,
    target: &Rc<Map<'a>>,
    source: &Rc<Map<'a>>,
    overwrites: bool,
    depth: usize,
) -> Result<(), CallError> {
    if depth > crate::template::limits::VALUE_DEPTH_MAX {
        return Err(crate::template::limits::LimitError::ValueDepth.into());
    }
    call.charge_items(1)?;
    if Rc::ptr_eq(target, source) {
        return Ok(());
    }
    for (key, value) in source.entries() {
        call.charge_items(1)?;
        if let (Value::Nil, false) = (&value, overwrites) {
            continue;
        }
        let known = target.get(key.as_bytes());
        if let (Some(Value::Map(known)), Value::Map(value)) = (&known, &value) {
            merge_into(call, known, value, overwrites, depth + 1)?;
            continue;
        }
        let is_wanted = match &known {
            None => true,
            Some(_) if matches!(value, Value::Nil) => true,
            Some(known) if overwrites => value.is_true() || !known.is_true(),
            Some(known) => !known.is_true(),
        };
        if is_wanted {
            call.will_change(target)?;
            target.insert(key, value);
        }
    }
    Ok(())
}

/// `dig "a" "b" default map` is `map["a"]["b"]`.
fn dig<'a>(call: &mut Call<'_, 'a>) -> Called<'a> {
    let arguments = call.arguments();
    let [path @ .., default, target] = arguments else {
        return Err(CallError::new("dig needs at least three arguments"));
    };
    if path.is_empty() {
        return Err(CallError::new("dig needs at least three arguments"));
    }
    let wrong = |value: &Value<'_>, wanted: &str| {
        let given = if let Value::Nil = value { "nil" } else { value.type_name() };
        CallError::new(format!("interface conversion: interface {{}} is {given}, not {wanted}"))
    };
    let as_map = |value: &Value<'a>| match value {
        Value::Map(map) if map.element() == Element::Any => Ok(Rc::clone(map)),
        other => Err(wrong(other, "map[string]interface {}")),
    };
    let mut map = as_map(&target.value)?;
    let mut names = Vec::new();
    for name in path {
        match &name.value {
            Value::Text(text) => names.push(text),
            other => return Err(wrong(other, "string")),
        }
    }
    for (at, name) in names.iter().enumerate() {
        let Some(value) = map.get(name.as_bytes()) else { return Ok(Operand::boxed(default.value.clone())) };
        if at + 1 == names.len() {
            return Ok(Operand::boxed(value));
        }
        map = as_map(&value)?;
    }
    Ok(Operand::NIL)
}
