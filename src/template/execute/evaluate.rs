//! Pipes, commands and arguments to values.

use super::{Executed, Executor};
use crate::template::ast::{Command, Expression, ExpressionKind, Number, Pipe, Place};
use crate::template::functions::Parameter;
use crate::template::text::Text;
use crate::template::value::{Element, Operand, Value};

impl<'a> Executor<'a> {
    /// A pipe's value, never that of an interface; variables it declares stay.
    pub(super) fn pipe(&mut self, dot: &Operand<'a>, pipe: &'a Pipe) -> Executed<Operand<'a>> {
        self.place = Place::Pipe(pipe);
        let mut value = None;
        for command in &pipe.commands {
            value = Some(self.command(dot, command, value)?.unboxed());
        }
        let value = value.unwrap_or(Operand::NIL);
        for name in &pipe.variables {
            if pipe.is_assignment {
                self.set_variable(name, value.clone())?;
            } else {
                self.variables.push((name, value.clone()));
            }
        }
        Ok(value)
    }

    /// `last` is the value of the command before, the last argument of this one.
    pub(super) fn command(
        &mut self,
        dot: &Operand<'a>,
        command: &'a Command,
        last: Option<Operand<'a>>,
    ) -> Executed<Operand<'a>> {
        let [first, arguments @ ..] = &*command.arguments else { return Ok(Operand::NIL) };
        match &first.kind {
            ExpressionKind::Field(names) => {
                self.place = Place::Expression(first);
                self.fields(dot, dot, first, names, arguments, last)
            }
            ExpressionKind::Chain { of, fields } => self.chain(dot, first, of, fields, arguments, last),
            ExpressionKind::Function { function, .. } => {
                self.place = Place::Expression(first);
                self.call(dot, function, Place::Command(command), Some(&command.regex), arguments, last)
            }
            ExpressionKind::Pipe(pipe) => {
                self.no_arguments(first, arguments, last.as_ref())?;
                self.inner_pipe(dot, pipe)
            }
            ExpressionKind::Variable(names) => self.variable_fields(dot, first, names, arguments, last),
            _ => {
                self.place = Place::Expression(first);
                self.no_arguments(first, arguments, last.as_ref())?;
                match &first.kind {
                    ExpressionKind::Dot => Ok(dot.clone()),
                    ExpressionKind::Nil => self.error("nil is not a command"),
                    _ => self.constant(first),
                }
            }
        }
    }

    /// A pipe in parentheses.
    fn inner_pipe(&mut self, dot: &Operand<'a>, pipe: &'a Pipe) -> Executed<Operand<'a>> {
        self.enter()?;
        let value = self.pipe(dot, pipe)?;
        self.leave();
        Ok(value)
    }

    fn no_arguments(
        &self,
        first: &'a Expression,
        arguments: &'a [Expression],
        last: Option<&Operand<'a>>,
    ) -> Executed<()> {
        if arguments.is_empty() && last.is_none() {
            return Ok(());
        }
        let written = match &first.kind {
            ExpressionKind::Pipe(pipe) => pipe.to_string(),
            _ => first.to_string(),
        };
        self.error(format!("can't give argument to non-function {written}"))
    }

    /// `$x` and the fields after it.
    fn variable_fields(
        &mut self,
        dot: &Operand<'a>,
        expression: &'a Expression,
        names: &'a [String],
        arguments: &'a [Expression],
        last: Option<Operand<'a>>,
    ) -> Executed<Operand<'a>> {
        self.place = Place::Expression(expression);
        let [name, fields @ ..] = names else { return Ok(Operand::NIL) };
        let value = self.variable(name)?;
        if fields.is_empty() {
            self.no_arguments(expression, arguments, last.as_ref())?;
            return Ok(value);
        }
        self.fields(dot, &value, expression, fields, arguments, last)
    }

    /// `(pipe).a` or `function.a`.
    fn chain(
        &mut self,
        dot: &Operand<'a>,
        expression: &'a Expression,
        of: &'a Expression,
        fields: &'a [String],
        arguments: &'a [Expression],
        last: Option<Operand<'a>>,
    ) -> Executed<Operand<'a>> {
        self.place = Place::Expression(expression);
        let value = self.untyped_argument(dot, of)?;
        self.fields(dot, &value, expression, fields, arguments, last)
    }

    /// An expression that is no constant, of whatever type.
    fn untyped_argument(&mut self, dot: &Operand<'a>, expression: &'a Expression) -> Executed<Operand<'a>> {
        self.place = Place::Expression(expression);
        match &expression.kind {
            ExpressionKind::Dot => Ok(dot.clone()),
            ExpressionKind::Field(names) => self.fields(dot, dot, expression, names, &[], None),
            ExpressionKind::Variable(names) => self.variable_fields(dot, expression, names, &[], None),
            ExpressionKind::Pipe(pipe) => self.inner_pipe(dot, pipe),
            ExpressionKind::Function { function, .. } => {
                self.call(dot, function, Place::Expression(expression), None, &[], None)
            }
            ExpressionKind::Chain { of, fields } => self.chain(dot, expression, of, fields, &[], None),
            _ => self.constant(expression),
        }
    }

    /// An argument as the function wants it.
    pub(super) fn argument(
        &mut self,
        dot: &Operand<'a>,
        parameter: Parameter,
        expression: &'a Expression,
    ) -> Executed<Operand<'a>> {
        self.place = Place::Expression(expression);
        match &expression.kind {
            ExpressionKind::Nil if parameter.can_be_nil() => Ok(parameter.nil()),
            ExpressionKind::Nil => self.error(format!("cannot assign nil to {}", parameter.type_name())),
            ExpressionKind::Bool(_) | ExpressionKind::Number(_) | ExpressionKind::Text { .. } => {
                self.constant_argument(parameter, expression)
            }
            _ => {
                let value = self.untyped_argument(dot, expression)?;
                self.fitted(value, parameter)
            }
        }
    }

    fn constant_argument(&mut self, parameter: Parameter, expression: &'a Expression) -> Executed<Operand<'a>> {
        let number = match &expression.kind {
            ExpressionKind::Number(number) => Some(number),
            _ => None,
        };
        let value = match parameter {
            Parameter::Any | Parameter::Reflect => return self.constant(expression),
            Parameter::Bool => match &expression.kind {
                ExpressionKind::Bool(value) => Value::Bool(*value),
                _ => return self.error(format!("expected bool; found {expression}")),
            },
            Parameter::Text => match &expression.kind {
                ExpressionKind::Text { text, .. } => Value::Text(Text::Lent(text)),
                _ => return self.error(format!("expected string; found {expression}")),
            },
            Parameter::Float => match number.and_then(|number| number.float) {
                Some(float) => Value::Float(float),
                None => return self.error(format!("expected float; found {expression}")),
            },
            Parameter::Int | Parameter::Int64 | Parameter::Duration => match number.and_then(|number| number.integer) {
                Some(integer) if parameter == Parameter::Int => Value::Int(integer),
                Some(integer) if parameter == Parameter::Int64 => Value::Int64(integer),
                Some(integer) => Value::Duration(integer),
                None => return self.error(format!("expected integer; found {expression}")),
            },
            _ => {
                let type_name = parameter.type_name();
                return self.error(format!("can't handle {expression} for arg of type {type_name}"));
            }
        };
        Ok(value.into())
    }

    /// A constant in the type its form tells.
    fn constant(&mut self, expression: &'a Expression) -> Executed<Operand<'a>> {
        self.place = Place::Expression(expression);
        let value = match &expression.kind {
            ExpressionKind::Bool(value) => Value::Bool(*value),
            ExpressionKind::Text { text, .. } => Value::Text(Text::Lent(text)),
            ExpressionKind::Number(number) => match ideal(number) {
                Some(value) => value,
                None => return self.error(format!("{} overflows int", number.text)),
            },
            _ => Value::Nil,
        };
        Ok(value.into())
    }

    /// A value for a parameter, out of its interface or from behind its pointer if need be.
    pub(super) fn fitted(&self, operand: Operand<'a>, parameter: Parameter) -> Executed<Operand<'a>> {
        if !operand.is_valid() {
            return match parameter.can_be_nil() {
                true => Ok(parameter.nil()),
                false => self.error(format!("invalid value; expected {}", parameter.type_name())),
            };
        }
        if parameter == Parameter::Reflect {
            return Ok(operand);
        }
        let is_empty_interface = operand.is_boxed && matches!(operand.value, Value::Nil);
        if parameter == Parameter::Any || !is_empty_interface && accepts(parameter, &operand.value) {
            return Ok(operand.unboxed());
        }
        if let Value::Pointer(target) = &operand.value
            && accepts(parameter, target)
        {
            return Ok((**target).clone().into());
        }
        let type_name = if is_empty_interface { "interface {}" } else { operand.value.type_name() };
        self.error(format!("wrong type for value; expected {}; got {type_name}", parameter.type_name()))
    }
}

fn accepts(parameter: Parameter, value: &Value<'_>) -> bool {
    match (parameter, value) {
        (Parameter::Any | Parameter::Reflect, _)
        | (Parameter::Bool, Value::Bool(_))
        | (Parameter::Text, Value::Text(_))
        | (Parameter::Float, Value::Float(_))
        | (Parameter::Int, Value::Int(_))
        | (Parameter::Int64, Value::Int64(_))
        | (Parameter::Duration, Value::Duration(_))
        | (Parameter::Time, Value::Time(_))
        | (Parameter::Location, Value::Location(_)) => true,
        (Parameter::AnyMap, Value::Map(map)) => map.element() == Element::Any,
        (Parameter::Samples, Value::List(list)) => list.element() == Element::Sample,
        (Parameter::Sample, Value::Pointer(target)) => matches!(&**target, Value::Struct(_)),
        _ => false,
    }
}

/// The value of a number nothing else is known about; nothing when it fits no `int`.
fn ideal<'a>(number: &Number) -> Option<Value<'a>> {
    if let Some((real, imaginary)) = number.complex {
        return Some(Value::Complex(real, imaginary));
    }
    let text = &*number.text;
    let is_hex = text.len() > 2 && text.get(..2).is_some_and(|prefix| prefix.eq_ignore_ascii_case("0x"));
    let is_hex_integer = is_hex && !text.contains(['p', 'P']);
    let is_float = !is_hex_integer && !text.starts_with('\'') && text.contains(['.', 'e', 'E', 'p', 'P']);
    match number.float {
        Some(float) if is_float => Some(Value::Float(float)),
        _ => number.integer.map(Value::Int),
    }
}
