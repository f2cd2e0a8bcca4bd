//! Fields: keys of maps, fields of structs, methods.

use super::methods::method;
use super::{Executed, Executor};
use crate::template::MissingKey;
use crate::template::ast::{Expression, Place};
use crate::template::text::Text;
use crate::template::value::{Element, Operand, Value};

/// Fields of Go's structs that templates may not read.
const TIME_FIELDS: [&str; 3] = ["wall", "ext", "loc"];
const LOCATION_FIELDS: [&str; 7] = ["name", "zone", "tx", "extend", "cacheStart", "cacheEnd", "cacheZone"];

impl<'a> Executor<'a> {
    /// `.a.b.c` of a receiver; the last may be a method, which takes the arguments.
    pub(super) fn fields(
        &mut self,
        dot: &Operand<'a>,
        receiver: &Operand<'a>,
        expression: &'a Expression,
        names: &'a [String],
        arguments: &'a [Expression],
        last: Option<Operand<'a>>,
    ) -> Executed<Operand<'a>> {
        let [before @ .., name] = names else { return Ok(receiver.clone()) };
        let [first, between @ ..] = before else {
            return self.field(dot, name, expression, arguments, last, receiver);
        };
        let mut value = self.field(dot, first, expression, &[], None, receiver)?;
        for name in between {
            value = self.field(dot, name, expression, &[], None, &value)?;
        }
        self.field(dot, name, expression, arguments, last, &value)
    }

    fn field(
        &mut self,
        dot: &Operand<'a>,
        name: &'a str,
        expression: &'a Expression,
        arguments: &'a [Expression],
        last: Option<Operand<'a>>,
        receiver: &Operand<'a>,
    ) -> Executed<Operand<'a>> {
        if !receiver.is_valid() {
            return Ok(Operand::NIL);
        }
        let type_name = receiver.static_type_name();
        if matches!(receiver.value, Value::Nil) {
            return self.error(format!("nil pointer evaluating {type_name}.{name}"));
        }
        if let Some(method) = method(receiver.value.target(), name) {
            return self.method_call(dot, method, Place::Expression(expression), arguments, last, receiver);
        }
        let has_arguments = !arguments.is_empty() || last.is_some();
        let found = match receiver.value.target() {
            Value::Map(_) | Value::Fields(_) if has_arguments => {
                return self.error(format!("{name} is not a method but has arguments"));
            }
            Value::Fields(scope) => {
                let value = scope.field(name).map(|text| Value::Text(Text::from(text)).into());
                return Ok(value.unwrap_or_else(|| self.missing(Element::Text)));
            }
            Value::Map(map) => {
                let value = map.get(name.as_bytes()).map(|value| Operand::element(value, map.element()));
                return Ok(value.unwrap_or_else(|| self.missing(map.element())));
            }
            Value::Struct(fields) => fields.fields.iter().find(|field| field.name == name),
            Value::Time(_) if TIME_FIELDS.contains(&name) => {
                return self.error(format!("{name} is an unexported field of struct type {type_name}"));
            }
            Value::Location(_) if LOCATION_FIELDS.contains(&name) => {
                return self.error(format!("{name} is an unexported field of struct type {type_name}"));
            }
            _ => None,
        };
        match found {
            Some(_) if has_arguments => self.error(format!("{name} has arguments but cannot be invoked as function")),
            Some(field) => Ok(field.value.clone()),
            None => self.error(format!("can't evaluate field {name} in type {type_name}")),
        }
    }

    /// What a key that is not there gives, in a map of `element`.
    fn missing(&self, element: Element) -> Operand<'a> {
        match (self.missing_key, element) {
            (MissingKey::NoValue, _) => Operand::NIL,
            (MissingKey::Zero, Element::Text) => Value::Text(Text::Lent(b"")).into(),
            (MissingKey::Zero, _) => Operand::boxed(Value::Nil),
        }
    }
}
