//! Functions that templates call, in families that make up tables.
//!
//! ```text
//! builtins (and, eq, printf, …) ─┐
//! strings, math, dates, lists, … ├─▶ FunctionTable: loki, promtail, alert
//! loki, promtail, alert ─────────┘   later families override earlier ones
//! ```
//!
//! A function states its parameters as Go's does, so that the executor checks and converts arguments as Go's
//! reflection would. Its body either makes a value or writes a text, which a printing action takes without a copy.
//!
//! Invariant: a body is given arguments that fit its parameters.
//! Errors: [`CallError`], which the executor puts after `error calling <name>: `. What panics in Go is an error
//! with the panic's text.

mod addresses;
mod alert;
mod big;
mod builtin;
mod call;
mod cases;
mod cast;
mod compare;
mod dates;
mod decimal;
mod defaults;
mod dicts;
mod encoding;
mod escape;
mod hashes;
mod humanize;
mod json;
mod json_text;
mod lists;
mod loki;
mod math;
mod promtail;
mod reflection;
mod regexes;
mod slices;
mod strings;
mod units;
mod words;

use std::collections::BTreeMap;
use std::rc::Rc;

use super::limits::LimitError;
use super::value::{Element, List, Map, Operand, Value};

pub use alert::{ALERT_DEFINITIONS, alert_data, alert_functions};
pub(super) use call::{Call, Runtime};
pub use loki::loki_functions;
pub use promtail::promtail_functions;
pub use regexes::push_expanded;

/// The functions a template may call, by name.
#[derive(Debug)]
pub struct FunctionTable {
    functions: BTreeMap<&'static str, &'static Function>,
}

/// Functions of one kind.
type Family = &'static [Function];

/// One function.
pub(super) struct Function {
    pub(super) name: &'static str,
    pub(super) parameters: &'static [Parameter],
    /// The type of any number of further arguments.
    pub(super) variadic: Option<Parameter>,
    pub(super) body: Body,
}

/// The type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parameter {
    Text,
    Int,
    Int64,
    Float,
    Bool,
    /// `interface {}`
    Any,
    /// `reflect.Value`: anything, and whether it was in an interface.
    Reflect,
    Time,
    Duration,
    Location,
    /// `map[string]interface {}`
    AnyMap,
    /// Prometheus's query result.
    Samples,
    /// A pointer to one of its samples.
    Sample,
}

#[derive(Clone, Copy)]
pub(super) enum Body {
    Value(ValueBody),
    Text(TextBody),
    // Evaluated by the executor.
    And,
    Or,
    CallOf,
    /// A method whose results no template can take, and what Go says about it.
    Unfit(&'static str),
}

pub(super) type ValueBody = for<'c, 'a> fn(&mut Call<'c, 'a>) -> Result<Operand<'a>, CallError>;
pub(super) type TextBody = for<'c, 'a> fn(&mut Call<'c, 'a>, &mut Vec<u8>) -> Result<(), CallError>;

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum CallError {
    /// In Go's words.
    #[error("{0}")]
    Failed(String),
    #[error(transparent)]
    Limit(#[from] LimitError),
}

impl CallError {
    pub(super) fn new(words: impl Into<String>) -> Self {
        CallError::Failed(words.into())
    }
}

impl Function {
    /// Of a function that makes a value.
    pub(super) const fn value(name: &'static str, parameters: &'static [Parameter], body: ValueBody) -> Self {
        Function { name, parameters, variadic: None, body: Body::Value(body) }
    }

    /// Of a function that makes a text.
    pub(super) const fn text(name: &'static str, parameters: &'static [Parameter], body: TextBody) -> Self {
        Function { name, parameters, variadic: None, body: Body::Text(body) }
    }

    /// With any number of further arguments.
    pub(super) const fn and_more(mut self, variadic: Parameter) -> Self {
        self.variadic = Some(variadic);
        self
    }

    /// The same under another name.
    pub(super) const fn named(&self, name: &'static str) -> Self {
        Function { name, parameters: self.parameters, variadic: self.variadic, body: self.body }
    }
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Parameter {
    pub(super) fn can_be_nil(self) -> bool {
        use Parameter::*;
        matches!(self, Any | Reflect | Location | AnyMap | Samples | Sample)
    }

    /// The nil of a parameter's type.
    pub(super) fn nil<'a>(self) -> Operand<'a> {
        match self {
            Parameter::AnyMap => Value::Map(Rc::new(Map::nil(Element::Any))).into(),
            Parameter::Samples => Value::List(List::nil(Element::Sample)).into(),
            _ => Operand::NIL,
        }
    }

    /// As Go names the type.
    pub(super) fn type_name(self) -> &'static str {
        match self {
            Parameter::Text => "string",
            Parameter::Int => "int",
            Parameter::Int64 => "int64",
            Parameter::Float => "float64",
            Parameter::Bool => "bool",
            Parameter::Any => "interface {}",
            Parameter::Reflect => "reflect.Value",
            Parameter::Time => "time.Time",
            Parameter::Duration => "time.Duration",
            Parameter::Location => "*time.Location",
            Parameter::AnyMap => "map[string]interface {}",
            Parameter::Samples => "template.queryResult",
            Parameter::Sample => "*template.sample",
        }
    }
}

impl FunctionTable {
    /// The builtins and `families`; of functions with one name the last counts.
    fn new(families: &[Family]) -> Self {
        let all =
            [builtin::FUNCTIONS, compare::FUNCTIONS, escape::FUNCTIONS].into_iter().chain(families.iter().copied());
        FunctionTable { functions: all.flatten().map(|function| (function.name, function)).collect() }
    }

    /// Adds those of `families` that are named.
    fn with_named(mut self, families: &[Family], names: &[&str]) -> Self {
        let named = families.iter().copied().flatten().filter(|function| names.contains(&function.name));
        self.functions.extend(named.map(|function| (function.name, function)));
        self
    }

    pub(super) fn get(&self, name: &str) -> Option<&'static Function> {
        self.functions.get(name).copied()
    }

    /// Names of all functions, sorted.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.functions.keys().copied()
    }
}
