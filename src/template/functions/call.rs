//! What a function's body is given: arguments, the host, and the means to charge for its work.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::OnceLock;

use super::{CallError, TextBody};
use crate::logql::go_regex::GoRegex;
use crate::template::Host;
use crate::template::limits::{Budget, LIST_ITEMS_MAX, LimitError, TEXT_BYTES_MAX, VALUE_DEPTH_MAX};
use crate::template::regex_cache::{CompiledRegex, RegexCache};
use crate::template::text::Text;
use crate::template::value::{Element, List, Map, Operand, Value};

/// What one execution has besides the template's tree.
pub(in crate::template) struct Runtime<'a> {
    pub(in crate::template) host: &'a dyn Host,
    pub(in crate::template) budget: Budget,
    regexes: &'a RegexCache,
    /// Maps that functions changed: emptied at the end, as they may hold each other.
    changed_maps: Vec<Rc<Map<'a>>>,
}

impl<'a> Runtime<'a> {
    pub(in crate::template) fn new(host: &'a dyn Host, regexes: &'a RegexCache) -> Self {
        Runtime { host, budget: Budget::new(), regexes, changed_maps: Vec::new() }
    }

    pub(in crate::template) fn release_maps(&mut self) {
        for map in &self.changed_maps {
            map.clear();
        }
    }
}

/// One call of a function.
pub(in crate::template) struct Call<'c, 'a> {
    arguments: &'c [Operand<'a>],
    /// Of a method.
    receiver: &'c Operand<'a>,
    runtime: &'c mut Runtime<'a>,
    regex: Option<&'a OnceLock<CompiledRegex>>,
}

impl<'c, 'a> Call<'c, 'a> {
    pub(in crate::template) fn new(
        arguments: &'c [Operand<'a>],
        receiver: &'c Operand<'a>,
        runtime: &'c mut Runtime<'a>,
        regex: Option<&'a OnceLock<CompiledRegex>>,
    ) -> Self {
        Call { arguments, receiver, runtime, regex }
    }

    pub(in crate::template) fn host(&self) -> &'a dyn Host {
        self.runtime.host
    }

    pub(in crate::template) fn receiver(&self) -> &'c Value<'a> {
        self.receiver.value.target()
    }

    pub(in crate::template) fn arguments(&self) -> &'c [Operand<'a>] {
        self.arguments
    }

    /// The values from the argument `from` on.
    pub(in crate::template) fn values(&self, from: usize) -> impl Iterator<Item = &'c Value<'a>> + use<'c, 'a> {
        self.arguments.iter().skip(from).map(|operand| &operand.value)
    }

    pub(in crate::template) fn operand(&self, at: usize) -> &'c Operand<'a> {
        // Bodies ask for arguments they have, or that may be left out: a function's receiver is nothing.
        self.arguments.get(at).unwrap_or(self.receiver)
    }

    pub(in crate::template) fn value(&self, at: usize) -> &'c Value<'a> {
        &self.operand(at).value
    }

    /// The bytes of a text parameter.
    pub(in crate::template) fn bytes(&self, at: usize) -> &'c [u8] {
        self.value(at).bytes().unwrap_or_default()
    }

    /// The text of a text parameter.
    pub(in crate::template) fn text(&self, at: usize) -> Text<'a> {
        match self.value(at) {
            Value::Text(text) | Value::Html(text) => text.clone(),
            _ => Text::Lent(b""),
        }
    }

    /// A text parameter as UTF-8, U+FFFD where it is none.
    pub(in crate::template) fn str(&self, at: usize) -> Cow<'c, str> {
        String::from_utf8_lossy(self.bytes(at))
    }

    pub(in crate::template) fn int(&self, at: usize) -> i64 {
        self.value(at).integer().unwrap_or(0)
    }

    pub(in crate::template) fn float(&self, at: usize) -> Option<f64> {
        match self.value(at) {
            Value::Float(float) => Some(*float),
            _ => None,
        }
    }

    pub(in crate::template) fn bool(&self, at: usize) -> bool {
        matches!(self.value(at), Value::Bool(true))
    }

    /// The map of a map parameter; nothing of nil.
    pub(in crate::template) fn map(&self, at: usize) -> Option<&'c Rc<Map<'a>>> {
        match self.value(at) {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// Charges for bytes read or written.
    pub(in crate::template) fn charge_bytes(&mut self, bytes: usize) -> Result<(), CallError> {
        Ok(self.runtime.budget.charge_bytes(bytes)?)
    }

    /// Charges for items read or made.
    pub(in crate::template) fn charge_items(&mut self, items: usize) -> Result<(), CallError> {
        Ok(self.runtime.budget.charge(items)?)
    }

    /// Refuses a text that would be too long, before it is made.
    pub(in crate::template) fn limit_text(&self, bytes: usize) -> Result<(), CallError> {
        if bytes > TEXT_BYTES_MAX { Err(LimitError::Text.into()) } else { Ok(()) }
    }

    /// Charges for a text that was made.
    pub(in crate::template) fn check_text(&mut self, bytes: usize) -> Result<(), CallError> {
        self.limit_text(bytes)?;
        self.charge_bytes(bytes)
    }

    /// The value of a body that writes a text.
    pub(in crate::template) fn text_value(&mut self, body: TextBody) -> Result<Operand<'a>, CallError> {
        let mut out = Vec::new();
        body(self, &mut out)?;
        self.check_text(out.len())?;
        Ok(Value::Text(out.into()).into())
    }

    /// A list of what a function made.
    pub(in crate::template) fn list(
        &mut self,
        items: Vec<Value<'a>>,
        element: Element,
    ) -> Result<Operand<'a>, CallError> {
        if items.len() > LIST_ITEMS_MAX {
            return Err(LimitError::Items.into());
        }
        self.charge_items(items.len())?;
        let list = List::new(items, element);
        if list.depth() > VALUE_DEPTH_MAX {
            return Err(LimitError::ValueDepth.into());
        }
        Ok(Value::List(list).into())
    }

    /// A map of anything that a function made.
    pub(in crate::template) fn new_map(
        &mut self,
        entries: impl IntoIterator<Item = (Text<'a>, Value<'a>)>,
    ) -> Result<Operand<'a>, CallError> {
        let value = Value::map(entries);
        self.charge_items(value.length().unwrap_or(0))?;
        match &value {
            Value::Map(map) if map.depth() > VALUE_DEPTH_MAX => Err(LimitError::ValueDepth.into()),
            _ => Ok(value.into()),
        }
    }

    /// Notes that a map is about to be changed.
    pub(in crate::template) fn will_change(&mut self, map: &Rc<Map<'a>>) -> Result<(), CallError> {
        self.charge_items(1)?;
        if !self.runtime.changed_maps.iter().rev().take(16).any(|known| Rc::ptr_eq(known, map)) {
            self.runtime.changed_maps.push(Rc::clone(map));
        }
        Ok(())
    }

    /// The expression of a pattern, compiled once where the pattern does not change.
    pub(in crate::template) fn regex(&mut self, pattern: &[u8]) -> Result<Cow<'a, GoRegex>, CallError> {
        self.runtime.regexes.get(pattern, self.regex).map_err(CallError::Failed)
    }

    /// What the builtin `call` says of its first argument: there are no values that can be called.
    pub(in crate::template) fn not_callable(&self, name: &str) -> CallError {
        match self.value(0) {
            Value::Nil => CallError::new("call of nil"),
            value => CallError::new(format!("non-function {name} of type {}", value.type_name())),
        }
    }
}
