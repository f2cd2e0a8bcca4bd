//! Values of every type: what `%v`, `%d`, … make of lists, maps, structs, times.

use super::{Printed, Printer};
use crate::template::value::{Element, Operand, Value};
use crate::types::go_time::{MONTH_NAMES, WEEKDAY_NAMES, format_duration};

impl Printer<'_> {
    /// An argument of `printf`, or of `print` with the verb `v`.
    pub(super) fn argument(&mut self, value: &Value<'_>, verb: char) -> Printed {
        match (value, verb) {
            (Value::Nil, 'T' | 'v') => {
                self.padded(b"<nil>");
                Ok(())
            }
            (Value::Nil, _) => self.bad_verb(verb, value),
            (_, 'T') => {
                let name = self.cut(value.type_name().as_bytes());
                self.padded(name);
                Ok(())
            }
            (Value::List(_) | Value::Map(_) | Value::Fields(_) | Value::Location(_) | Value::Pointer(_), 'p') => {
                // There are no addresses here.
                self.padded(b"0x0");
                Ok(())
            }
            (_, 'p') => self.bad_verb(verb, value),
            _ => self.value(value, verb, 0),
        }
    }

    pub(super) fn bad_verb(&mut self, verb: char, value: &Value<'_>) -> Printed {
        let was_reporting = std::mem::replace(&mut self.is_reporting, true);
        self.push(&format!("%!{verb}("));
        if let Value::Nil = value {
            self.push("<nil>");
        } else {
            self.push(value.type_name());
            self.push("=");
            self.value(value, 'v', 0)?;
        }
        self.push(")");
        self.is_reporting = was_reporting;
        Ok(())
    }

    fn value(&mut self, value: &Value<'_>, verb: char, depth: usize) -> Printed {
        self.check(depth)?;
        if !self.is_reporting && self.by_method(value, verb)? {
            return Ok(());
        }
        match value {
            Value::Nil => self.nil_element(),
            Value::Bool(flag) => self.bool(*flag, verb),
            Value::Int(n) | Value::Int64(n) | Value::Duration(n) | Value::Month(n) | Value::Weekday(n) => {
                self.integer(*n, true, verb, value)
            }
            Value::Uint8(byte) => self.integer(i64::from(*byte), false, verb, value),
            Value::Float(number) => self.float(*number, verb),
            Value::Complex(real, imaginary) => self.complex(*real, *imaginary, verb),
            Value::Text(text) | Value::Html(text) => self.text(text.as_bytes(), verb, value),
            Value::List(_) | Value::Map(_) if self.flags.sharp_v && value.is_nil() => {
                self.push(value.type_name());
                self.push("(nil)");
                Ok(())
            }
            Value::List(list) => {
                self.open(value);
                for (at, item) in list.items().iter().enumerate() {
                    self.separate(at);
                    self.element(item, verb, depth)?;
                }
                self.close();
                Ok(())
            }
            Value::Map(_) | Value::Fields(_) => {
                self.open(value);
                let (entries, _) = value.entries().unwrap_or((Vec::new(), Element::Any));
                for (at, (key, entry)) in entries.iter().enumerate() {
                    self.separate(at);
                    self.value(&Value::Text(key.clone()), verb, depth + 1)?;
                    self.push(":");
                    self.element(entry, verb, depth)?;
                }
                self.close();
                Ok(())
            }
            Value::Struct(fields) => {
                if self.flags.sharp_v {
                    self.push(fields.type_name);
                }
                self.push("{");
                for (at, field) in fields.fields.iter().enumerate() {
                    self.separate(at);
                    if self.flags.plus_v || self.flags.sharp_v {
                        self.push(field.name);
                        self.push(":");
                    }
                    self.field(&field.value, verb, depth)?;
                }
                self.push("}");
                Ok(())
            }
            Value::Pointer(target) if depth == 0 && matches!(**target, Value::Struct(_)) => {
                self.push("&");
                self.value(target, verb, depth + 1)
            }
            // Addresses, and the insides of times: nothing here has them.
            Value::Time(_) => {
                self.push("{}");
                Ok(())
            }
            Value::Location(_) | Value::Pointer(_) if !"vpbodxX".contains(verb) => self.bad_verb(verb, value),
            Value::Location(_) | Value::Pointer(_) => {
                self.push("0x0");
                Ok(())
            }
        }
    }

    fn element(&mut self, value: &Value<'_>, verb: char, depth: usize) -> Printed {
        self.value(value, verb, depth + 1)
    }

    fn field(&mut self, operand: &Operand<'_>, verb: char, depth: usize) -> Printed {
        self.value(&operand.value, verb, depth + 1)
    }

    fn nil_element(&mut self) -> Printed {
        self.push(if self.flags.sharp_v { "interface {}(nil)" } else { "<nil>" });
        Ok(())
    }

    fn open(&mut self, value: &Value<'_>) {
        if self.flags.sharp_v {
            self.push(value.type_name());
            self.push("{");
        } else {
            let is_list = matches!(value, Value::List(_));
            self.push(if is_list { "[" } else { "map[" });
        }
    }

    fn close(&mut self) {
        self.push(if self.flags.sharp_v { "}" } else { "]" });
    }

    fn separate(&mut self, at: usize) {
        if at > 0 {
            self.push(if self.flags.sharp_v { ", " } else { " " });
        }
    }

    /// Writes a value that has a method for it, `String` mostly; false if it has none for the verb.
    fn by_method(&mut self, value: &Value<'_>, verb: char) -> Result<bool, super::LimitError> {
        let is_own_type = !matches!(
            value,
            Value::Nil
                | Value::Bool(_)
                | Value::Int(_)
                | Value::Int64(_)
                | Value::Uint8(_)
                | Value::Float(_)
                | Value::Complex(..)
                | Value::Text(_)
        );
        if verb == 'w' && is_own_type {
            self.bad_verb(verb, value)?;
            return Ok(true);
        }
        let target = value.target();
        if self.flags.sharp_v {
            let Value::Time(time) = target else { return Ok(false) };
            let text = time.go_string();
            let text = self.cut(text.as_bytes());
            self.padded(text);
            return Ok(true);
        }
        if !matches!(verb, 'v' | 's' | 'x' | 'X' | 'q') {
            return Ok(false);
        }
        let Some(text) = string_of(target) else { return Ok(false) };
        self.text(text.as_bytes(), verb, value)?;
        Ok(true)
    }
}

/// What the `String` method of a type says; nothing of types without one.
pub(in crate::template) fn string_of(value: &Value<'_>) -> Option<String> {
    let named = |names: &[&str], at: i64, kind: &str, number: i64| {
        let name = usize::try_from(at).ok().and_then(|at| names.get(at));
        name.map_or_else(|| format!("%!{kind}({})", number.cast_unsigned()), |name| (*name).to_owned())
    };
    Some(match value {
        Value::Time(time) => time.to_string(),
        Value::Duration(nanos) => format_duration(*nanos),
        Value::Month(month) => named(&MONTH_NAMES, month.wrapping_sub(1), "Month", *month),
        Value::Weekday(day) => named(&WEEKDAY_NAMES, *day, "Weekday", *day),
        Value::Location(zone) => zone.name().to_owned(),
        _ => return None,
    })
}
