//! Values of templates, told apart as Go's reflection tells types apart.
//!
//! ```text
//! Operand = Value + whether Go would hold it in an `interface {}`
//! Value   = nil | bool | int, int64, uint8 | float64 | complex | text | time and its kin
//!         | list (elements of one type) | map (keys are texts) | struct | pointer | the fields of a row
//! ```
//!
//! Invariants: lists never change and know their depth; a map that changed is registered with the execution,
//! which empties it at the end, so that neither depth nor cycles matter when values are dropped.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::Scope;
use super::text::Text;
use crate::types::go_time::{GoTime, Zone};

/// A value of a template.
#[derive(Clone)]
pub enum Value<'a> {
    /// Nothing: what a missing key of a map of anything gives.
    Nil,
    Bool(bool),
    Int(i64),
    Int64(i64),
    /// A byte of a text.
    Uint8(u8),
    Float(f64),
    Complex(f64, f64),
    Text(Text<'a>),
    /// Prometheus's `safeHtml`: a text of a type of its own.
    Html(Text<'a>),
    /// Nanoseconds.
    Duration(i64),
    /// 1 to 12.
    Month(i64),
    /// 0 is Sunday.
    Weekday(i64),
    Time(Rc<GoTime>),
    Location(Rc<Zone>),
    List(List<'a>),
    Map(Rc<Map<'a>>),
    Struct(Rc<Struct<'a>>),
    Pointer(Rc<Value<'a>>),
    /// The row's fields, a map of texts that is not built unless it is printed or ranged over.
    Fields(&'a dyn Scope),
}

/// A value and the type it is held in.
#[derive(Clone)]
pub(super) struct Operand<'a> {
    pub(super) value: Value<'a>,
    /// Held in an `interface {}`: an element of a list or map of anything, or the result of a function of anything.
    pub(super) is_boxed: bool,
}

/// Items of one type; a part of a list shares its items.
#[derive(Clone)]
pub struct List<'a> {
    backing: Rc<Backing<'a>>,
    start: usize,
    length: usize,
}

struct Backing<'a> {
    items: Vec<Value<'a>>,
    element: Element,
    depth: usize,
    is_nil: bool,
}

/// The type of a list's items or a map's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    Any,
    Text,
    Int,
    /// Lists of anything.
    AnyList,
    /// Prometheus's samples, of its list type.
    Sample,
}

/// A map whose keys are texts.
pub struct Map<'a> {
    element: Element,
    entries: RefCell<BTreeMap<Text<'a>, Value<'a>>>,
    depth: usize,
    is_nil: bool,
}

/// A struct of Go: its fields in their order.
pub struct Struct<'a> {
    pub(super) type_name: &'static str,
    pub(super) fields: Vec<StructField<'a>>,
}

pub(super) struct StructField<'a> {
    pub(super) name: &'static str,
    pub(super) value: Operand<'a>,
}

/// Go's `reflect.Kind`, as far as there are values of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Invalid,
    Bool,
    Int,
    Int64,
    Uint8,
    Float64,
    Complex128,
    String,
    Slice,
    Map,
    Struct,
    Pointer,
}

impl<'a> Operand<'a> {
    pub(super) const NIL: Operand<'a> = Operand { value: Value::Nil, is_boxed: false };

    /// As an element of a list or map of `element`.
    pub(super) fn element(value: Value<'a>, element: Element) -> Self {
        Operand { value, is_boxed: element == Element::Any }
    }

    pub(super) fn boxed(value: Value<'a>) -> Self {
        Operand { value, is_boxed: true }
    }

    /// Without the interface around it; nil of an interface becomes nothing.
    pub(super) fn unboxed(self) -> Self {
        Operand { value: self.value, is_boxed: false }
    }

    /// Go's `reflect.Value.IsValid`.
    pub(super) fn is_valid(&self) -> bool {
        self.is_boxed || !matches!(self.value, Value::Nil)
    }

    /// The type Go would name: that of the interface, not of what is in it.
    pub(super) fn static_type_name(&self) -> &'static str {
        if self.is_boxed { "interface {}" } else { self.value.type_name() }
    }
}

impl<'a> From<Value<'a>> for Operand<'a> {
    fn from(value: Value<'a>) -> Self {
        Operand { value, is_boxed: false }
    }
}

impl<'a> Value<'a> {
    pub fn text(text: impl Into<Text<'a>>) -> Self {
        Value::Text(text.into())
    }

    /// A `map[string]interface {}`.
    pub fn map(entries: impl IntoIterator<Item = (Text<'a>, Value<'a>)>) -> Self {
        Value::Map(Rc::new(Map::new(Element::Any, entries.into_iter().collect())))
    }

    /// A `map[string]string`.
    pub fn text_map(entries: impl IntoIterator<Item = (Text<'a>, Text<'a>)>) -> Self {
        let entries = entries.into_iter().map(|(key, text)| (key, Value::Text(text))).collect();
        Value::Map(Rc::new(Map::new(Element::Text, entries)))
    }

    /// A map of values of one type.
    pub(super) fn map_of(element: Element, entries: Vec<(Text<'a>, Value<'a>)>) -> Self {
        Value::Map(Rc::new(Map::new(element, entries.into_iter().collect())))
    }

    pub(super) fn list(items: Vec<Value<'a>>, element: Element) -> Self {
        Value::List(List::new(items, element))
    }

    pub(super) fn pointer(value: Value<'a>) -> Self {
        Value::Pointer(Rc::new(value))
    }

    pub(super) fn time(time: GoTime) -> Self {
        Value::Time(Rc::new(time))
    }

    /// Go's `reflect.Type.String`.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Value::Nil => "<nil>",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Int64(_) => "int64",
            Value::Uint8(_) => "uint8",
            Value::Float(_) => "float64",
            Value::Complex(..) => "complex128",
            Value::Text(_) => "string",
            Value::Html(_) => "template.HTML",
            Value::Duration(_) => "time.Duration",
            Value::Month(_) => "time.Month",
            Value::Weekday(_) => "time.Weekday",
            Value::Time(_) => "time.Time",
            Value::Location(_) => "*time.Location",
            Value::List(list) => match list.element() {
                Element::Any => "[]interface {}",
                Element::Text => "[]string",
                Element::Int => "[]int",
                Element::AnyList => "[][]interface {}",
                Element::Sample => "template.queryResult",
            },
            Value::Map(map) if map.element == Element::Text => "map[string]string",
            Value::Map(_) => "map[string]interface {}",
            Value::Struct(fields) => fields.type_name,
            Value::Pointer(target) => match &**target {
                Value::Time(_) => "*time.Time",
                Value::Duration(_) => "*time.Duration",
                _ => "*template.sample",
            },
            Value::Fields(_) => "map[string]string",
        }
    }

    /// The type of what a pointer points to.
    pub(super) fn target_type_name(&self) -> &'static str {
        match self {
            Value::Location(_) => "time.Location",
            other => other.target().type_name(),
        }
    }

    pub(super) fn kind(&self) -> Kind {
        match self {
            Value::Nil => Kind::Invalid,
            Value::Bool(_) => Kind::Bool,
            Value::Int(_) | Value::Month(_) | Value::Weekday(_) => Kind::Int,
            Value::Int64(_) | Value::Duration(_) => Kind::Int64,
            Value::Uint8(_) => Kind::Uint8,
            Value::Float(_) => Kind::Float64,
            Value::Complex(..) => Kind::Complex128,
            Value::Text(_) | Value::Html(_) => Kind::String,
            Value::List(_) => Kind::Slice,
            Value::Map(_) | Value::Fields(_) => Kind::Map,
            Value::Time(_) | Value::Struct(_) => Kind::Struct,
            Value::Location(_) | Value::Pointer(_) => Kind::Pointer,
        }
    }

    /// The number of an integer of any type.
    pub(super) fn integer(&self) -> Option<i64> {
        match self {
            Value::Int(n) | Value::Int64(n) | Value::Duration(n) | Value::Month(n) | Value::Weekday(n) => Some(*n),
            Value::Uint8(byte) => Some(i64::from(*byte)),
            _ => None,
        }
    }

    /// The bytes of a text of any type.
    #[inline]
    pub(super) fn bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Text(text) | Value::Html(text) => Some(text.as_bytes()),
            _ => None,
        }
    }

    /// Items, entries or bytes.
    pub(super) fn length(&self) -> Option<usize> {
        match self {
            Value::Text(text) | Value::Html(text) => Some(text.as_bytes().len()),
            Value::List(list) => Some(list.length),
            Value::Map(map) => Some(map.entries.borrow().len()),
            Value::Fields(scope) => Some(entries_of(*scope).len()),
            _ => None,
        }
    }

    /// What `if` thinks of it.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Value::Nil => false,
            Value::Bool(value) => *value,
            Value::Float(value) => *value != 0.0,
            Value::Complex(real, imaginary) => *real != 0.0 || *imaginary != 0.0,
            Value::Time(_) | Value::Location(_) | Value::Struct(_) | Value::Pointer(_) => true,
            other => other.integer().map_or_else(|| other.length() != Some(0), |number| number != 0),
        }
    }

    /// Go's `reflect.Value.IsNil`, false of types that have no nil.
    pub(super) fn is_nil(&self) -> bool {
        match self {
            Value::Nil => true,
            Value::List(list) => list.backing.is_nil,
            Value::Map(map) => map.is_nil,
            _ => false,
        }
    }

    /// Lists inside each other.
    fn depth(&self) -> usize {
        match self {
            Value::List(list) => list.backing.depth,
            Value::Map(map) => map.depth,
            _ => 0,
        }
    }

    /// The entries of a map, sorted by key, and the type of its values.
    pub(super) fn entries(&self) -> Option<(Vec<(Text<'a>, Value<'a>)>, Element)> {
        match self {
            Value::Map(map) => Some((map.entries(), map.element)),
            Value::Fields(scope) => Some((entries_of(*scope).into_iter().collect(), Element::Text)),
            _ => None,
        }
    }

    /// What a pointer points to; anything else itself.
    pub(super) fn target(&self) -> &Value<'a> {
        match self {
            Value::Pointer(target) => target,
            other => other,
        }
    }
}

/// The fields of a row as a map; of a name that occurs twice the later.
fn entries_of<'a>(scope: &'a dyn Scope) -> BTreeMap<Text<'a>, Value<'a>> {
    let mut entries = BTreeMap::new();
    scope.for_each_field(&mut |name, value| {
        entries.insert(Text::from(name.to_owned()), Value::text(value.to_owned()));
    });
    entries
}

impl<'a> List<'a> {
    pub(super) fn new(items: Vec<Value<'a>>, element: Element) -> Self {
        let depth = 1 + items.iter().map(Value::depth).max().unwrap_or(0);
        let length = items.len();
        List { backing: Rc::new(Backing { items, element, depth, is_nil: false }), start: 0, length }
    }

    /// The nil of a list's type.
    pub(super) fn nil(element: Element) -> Self {
        List { backing: Rc::new(Backing { items: Vec::new(), element, depth: 1, is_nil: true }), start: 0, length: 0 }
    }

    pub(super) fn items(&self) -> &[Value<'a>] {
        self.backing.items.get(self.start..self.start + self.length).unwrap_or_default()
    }

    pub(super) fn element(&self) -> Element {
        self.backing.element
    }

    pub(super) fn depth(&self) -> usize {
        self.backing.depth
    }

    /// Up to where a slice of this may reach: the end of the items it shares.
    pub(super) fn capacity(&self) -> usize {
        self.backing.items.len().saturating_sub(self.start)
    }

    /// Items `from..to`, `to` up to the capacity.
    pub(super) fn slice(&self, from: usize, to: usize) -> Self {
        List { backing: Rc::clone(&self.backing), start: self.start + from, length: to.saturating_sub(from) }
    }
}

impl<'a> Map<'a> {
    pub(super) fn new(element: Element, entries: BTreeMap<Text<'a>, Value<'a>>) -> Self {
        let depth = 1 + entries.values().map(Value::depth).max().unwrap_or(0);
        Map { element, entries: RefCell::new(entries), depth, is_nil: false }
    }

    /// The nil of a map's type, which can be read but not written.
    pub(super) fn nil(element: Element) -> Self {
        Map { element, entries: RefCell::default(), depth: 1, is_nil: true }
    }

    pub(super) fn is_nil(&self) -> bool {
        self.is_nil
    }

    pub(super) fn element(&self) -> Element {
        self.element
    }

    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<Value<'a>> {
        self.entries.borrow().get(key).cloned()
    }

    pub(super) fn entries(&self) -> Vec<(Text<'a>, Value<'a>)> {
        self.entries.borrow().iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// The caller registers the map with the execution.
    pub(super) fn insert(&self, key: Text<'a>, value: Value<'a>) {
        let before = self.entries.borrow_mut().insert(key, value);
        // Dropped when the map is no longer borrowed.
        drop(before);
    }

    /// The caller registers the map with the execution.
    pub(super) fn remove(&self, key: &[u8]) {
        let before = self.entries.borrow_mut().remove(key);
        drop(before);
    }

    pub(super) fn clear(&self) {
        let entries = std::mem::take(&mut *self.entries.borrow_mut());
        drop(entries);
    }
}

impl std::fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.bytes() {
            Some(bytes) => write!(f, "{}({})", self.type_name(), String::from_utf8_lossy(bytes)),
            None => f.write_str(self.type_name()),
        }
    }
}
