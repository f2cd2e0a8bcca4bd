//! Calls: arguments counted, evaluated and given to a function.

use std::sync::OnceLock;

use super::{Executed, Executor};
use crate::template::ast::{Command, Expression, ExpressionKind, Place};
use crate::template::functions::{Body, Call, CallError, Function, Parameter, TextBody};
use crate::template::limits::LimitError;
use crate::template::regex_cache::CompiledRegex;
use crate::template::value::{Operand, Value};

/// Arguments that need no allocation.
const INLINE_MAX: usize = 3;

/// The arguments of one call.
enum Arguments<'a> {
    Inline([Operand<'a>; INLINE_MAX], usize),
    Many(Vec<Operand<'a>>),
}

impl<'a> Arguments<'a> {
    fn with_capacity(count: usize) -> Self {
        if count <= INLINE_MAX {
            return Arguments::Inline([Operand::NIL; INLINE_MAX], 0);
        }
        Arguments::Many(Vec::with_capacity(count))
    }

    fn push(&mut self, operand: Operand<'a>) {
        match self {
            Arguments::Inline(operands, count) => {
                if let Some(place) = operands.get_mut(*count) {
                    *place = operand;
                    *count += 1;
                }
            }
            Arguments::Many(operands) => operands.push(operand),
        }
    }

    fn as_slice(&self) -> &[Operand<'a>] {
        match self {
            Arguments::Inline(operands, count) => &operands[..*count],
            Arguments::Many(operands) => operands,
        }
    }
}

impl<'a> Executor<'a> {
    /// Calls a function; an error of the function itself is reported at `failed_at`.
    pub(super) fn call(
        &mut self,
        dot: &Operand<'a>,
        function: &'static Function,
        failed_at: Place<'a>,
        regex: Option<&'a OnceLock<CompiledRegex>>,
        arguments: &'a [Expression],
        last: Option<Operand<'a>>,
    ) -> Executed<Operand<'a>> {
        self.call_on(dot, function, failed_at, regex, arguments, last, &Operand::NIL)
    }

    pub(super) fn method_call(
        &mut self,
        dot: &Operand<'a>,
        method: &'static Function,
        failed_at: Place<'a>,
        arguments: &'a [Expression],
        last: Option<Operand<'a>>,
        receiver: &Operand<'a>,
    ) -> Executed<Operand<'a>> {
        self.call_on(dot, method, failed_at, None, arguments, last, receiver)
    }

    #[expect(clippy::too_many_arguments, reason = "a call is what it is")]
    fn call_on(
        &mut self,
        dot: &Operand<'a>,
        function: &'static Function,
        failed_at: Place<'a>,
        regex: Option<&'a OnceLock<CompiledRegex>>,
        arguments: &'a [Expression],
        last: Option<Operand<'a>>,
        receiver: &Operand<'a>,
    ) -> Executed<Operand<'a>> {
        self.step()?;
        self.check_count(function, arguments, last.is_some())?;
        if let Body::And | Body::Or = function.body {
            return self.and_or(dot, matches!(function.body, Body::Or), arguments, last);
        }
        let callee = match function.body {
            Body::CallOf => Some(callee_name(arguments, last.as_ref())),
            _ => None,
        };
        let values = self.arguments(dot, function, arguments, last)?;
        let mut call = Call::new(values.as_slice(), receiver, &mut self.runtime, regex);
        let result = match function.body {
            Body::Value(body) => body(&mut call),
            Body::Text(body) => call.text_value(body),
            Body::CallOf => Err(call.not_callable(&callee.unwrap_or_default())),
            Body::And | Body::Or | Body::Unfit(_) => Ok(Operand::NIL),
        };
        match result {
            Ok(value) => Ok(value),
            Err(error) => self.failed(function, failed_at, &error),
        }
    }

    /// Calls a function whose text is printed: it writes into `out`.
    pub(super) fn text_call(
        &mut self,
        dot: &Operand<'a>,
        function: &'static Function,
        body: TextBody,
        command: &'a Command,
        last: Option<Operand<'a>>,
        out: &mut Vec<u8>,
    ) -> Executed<()> {
        self.step()?;
        let arguments = command.arguments.get(1..).unwrap_or_default();
        self.check_count(function, arguments, last.is_some())?;
        // Arguments may themselves print nothing: the output stays where it is.
        let values = self.arguments(dot, function, arguments, last)?;
        let start = out.len();
        let mut call = Call::new(values.as_slice(), &Operand::NIL, &mut self.runtime, Some(&command.regex));
        let written = body(&mut call, out).and_then(|()| call.check_text(out.len() - start));
        if let Err(error) = written {
            out.truncate(start);
            return self.failed(function, Place::Command(command), &error);
        }
        Ok(())
    }

    #[cold]
    fn failed<T>(&mut self, function: &Function, at: Place<'a>, error: &CallError) -> Executed<T> {
        if !matches!(error, CallError::Limit(LimitError::Steps)) {
            self.place = at;
        }
        self.error(format!("error calling {}: {error}", function.name))
    }

    fn check_count(&self, function: &Function, arguments: &[Expression], has_last: bool) -> Executed<()> {
        let name = function.name;
        let (given, wanted) = (arguments.len() + usize::from(has_last), function.parameters.len());
        if function.variadic.is_some() {
            if given < wanted {
                let given = arguments.len();
                return self.error(format!("wrong number of args for {name}: want at least {wanted} got {given}"));
            }
        } else if given != wanted {
            return self.error(format!("wrong number of args for {name}: want {wanted} got {given}"));
        }
        match function.body {
            Body::Unfit(fault) => self.error(fault),
            _ => Ok(()),
        }
    }

    fn arguments(
        &mut self,
        dot: &Operand<'a>,
        function: &'static Function,
        arguments: &'a [Expression],
        last: Option<Operand<'a>>,
    ) -> Executed<Arguments<'a>> {
        let parameter =
            |at: usize| function.parameters.get(at).copied().or(function.variadic).unwrap_or(Parameter::Any);
        let mut values = Arguments::with_capacity(arguments.len() + usize::from(last.is_some()));
        for (at, expression) in arguments.iter().enumerate() {
            values.push(self.argument(dot, parameter(at), expression)?);
        }
        if let Some(last) = last {
            values.push(self.fitted(last, parameter(arguments.len()))?);
        }
        Ok(values)
    }

    /// The first argument that decides, or the last one; those after it are not evaluated.
    fn and_or(
        &mut self,
        dot: &Operand<'a>,
        is_or: bool,
        arguments: &'a [Expression],
        last: Option<Operand<'a>>,
    ) -> Executed<Operand<'a>> {
        let mut value = Operand::NIL;
        for expression in arguments {
            value = self.argument(dot, Parameter::Reflect, expression)?;
            if value.value.is_true() == is_or {
                return Ok(value);
            }
        }
        Ok(last.unwrap_or(value))
    }
}

/// What the builtin `call` says it was asked to call.
fn callee_name(arguments: &[Expression], last: Option<&Operand<'_>>) -> String {
    if let Some(first) = arguments.first() {
        return match &first.kind {
            ExpressionKind::Pipe(pipe) => pipe.to_string(),
            _ => first.to_string(),
        };
    }
    match last.map(|last| &last.value) {
        Some(Value::Text(text)) => String::from_utf8_lossy(text.as_bytes()).into_owned(),
        Some(Value::Nil) | None => "<invalid Value>".to_owned(),
        Some(value) => format!("<{} Value>", value.type_name()),
    }
}
