//! Trees to output.
//!
//! ```text
//! walk (nodes) ─▶ evaluate (pipes, commands, arguments) ─▶ call (functions) ─▶ print
//!                      └─ field (maps, structs, methods)
//! ```
//!
//! Invariants: `place` is what Go's executor would name in an error at every moment; variables declared in a branch
//! are gone after it; a function whose result is a text writes right into the output when it is printed anyway.
//! Errors: [`TemplateError::Execute`], for Go's reasons or for a limit.

mod call;
mod evaluate;
mod field;
mod methods;

use std::collections::BTreeMap;

use super::ast::{Branch, Command, ExpressionKind, Node, Pipe, Place, Range, TemplateCall, Tree};
use super::error::TemplateError;
use super::format::{print_value, verbs};
use super::functions::{Body, Runtime};
use super::limits::{EXECUTION_DEPTH_MAX, LimitError, OUTPUT_BYTES_MAX, TEMPLATE_DEPTH_MAX};
use super::strconv::quote::quoted;
use super::value::{Element, Operand, Value};
use super::{MissingKey, Template};

/// Boxed, because results are passed along much more often than errors are made.
type Executed<T> = Result<T, Box<TemplateError>>;

/// Where to go on after nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

pub(super) struct Executor<'a> {
    text_name: &'a str,
    text: &'a str,
    trees: &'a BTreeMap<String, Tree>,
    missing_key: MissingKey,
    runtime: Runtime<'a>,
    out: Vec<u8>,
    /// The template being executed.
    name: &'a str,
    place: Place<'a>,
    root: Operand<'a>,
    /// Names with their `$`; an outer `$` is `root`.
    variables: Vec<(&'a str, Operand<'a>)>,
    depth: usize,
    template_depth: usize,
}

impl<'a> Executor<'a> {
    /// `out` is what the output is appended to.
    pub(super) fn new(template: &'a Template, root: Value<'a>, runtime: Runtime<'a>, out: Vec<u8>) -> Self {
        Executor {
            text_name: &template.name,
            text: &template.text,
            trees: &template.trees,
            missing_key: template.missing_key,
            runtime,
            out,
            name: &template.name,
            place: Place::Start,
            root: root.into(),
            variables: Vec::new(),
            depth: 0,
            template_depth: 0,
        }
    }

    /// The output, and what was wrong.
    pub(super) fn run(mut self) -> (Vec<u8>, Executed<()>) {
        let executed = match self.trees.get(self.name) {
            Some(tree) => {
                let dot = self.root.clone();
                self.walk(&dot, &tree.nodes).map(|_| ())
            }
            None => self.error(format!("{} is an incomplete or empty template", quoted(self.name.as_bytes()))),
        };
        self.runtime.release_maps();
        (self.out, executed)
    }

    #[cold]
    fn error<T>(&self, fault: impl Into<String>) -> Executed<T> {
        let fault = fault.into();
        let Some(position) = self.place.position() else {
            return Err(Box::new(TemplateError::ExecuteStart { template: self.name.to_owned(), fault }));
        };
        let before = self.text.get(..position).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Err(Box::new(TemplateError::Execute {
            text: self.text_name.to_owned(),
            line: 1 + before.bytes().filter(|byte| *byte == b'\n').count(),
            column: before.len() - line_start,
            template: quoted(self.name.as_bytes()),
            place: self.place.to_string(),
            fault,
        }))
    }

    fn limited<T>(&self, result: Result<T, LimitError>) -> Executed<T> {
        match result {
            Ok(value) => Ok(value),
            Err(limit) => self.error(limit.to_string()),
        }
    }

    #[inline]
    fn step(&mut self) -> Executed<()> {
        let charged = self.runtime.budget.charge(1);
        self.limited(charged)
    }

    #[inline]
    fn check_output(&self) -> Executed<()> {
        if self.out.len() > OUTPUT_BYTES_MAX { self.limited(Err(LimitError::Output)) } else { Ok(()) }
    }

    fn enter(&mut self) -> Executed<()> {
        if self.depth >= EXECUTION_DEPTH_MAX {
            return self.error(format!("exceeded maximum execution depth ({EXECUTION_DEPTH_MAX})"));
        }
        self.depth += 1;
        Ok(())
    }

    fn leave(&mut self) {
        self.depth -= 1;
    }

    fn walk(&mut self, dot: &Operand<'a>, nodes: &'a [Node]) -> Executed<Flow> {
        for node in nodes {
            self.step()?;
            let flow = match node {
                Node::Text(text) => {
                    self.out.extend_from_slice(text.as_bytes());
                    self.check_output()?;
                    Flow::Next
                }
                Node::Action(pipe) => {
                    self.action(dot, pipe)?;
                    self.check_output()?;
                    Flow::Next
                }
                Node::If(branch) => self.branch(dot, branch, false)?,
                Node::With(branch) => self.branch(dot, branch, true)?,
                Node::Range(range) => self.range(dot, range)?,
                Node::Template(call) => {
                    self.template_call(dot, call)?;
                    Flow::Next
                }
                Node::Break => Flow::Break,
                Node::Continue => Flow::Continue,
            };
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn inner_walk(&mut self, dot: &Operand<'a>, nodes: &'a [Node]) -> Executed<Flow> {
        self.enter()?;
        let flow = self.walk(dot, nodes)?;
        self.leave();
        Ok(flow)
    }

    /// A pipe whose value is printed, unless it declares variables.
    fn action(&mut self, dot: &Operand<'a>, pipe: &'a Pipe) -> Executed<()> {
        let [before @ .., last] = &*pipe.commands else { return Ok(()) };
        if before.is_empty() && self.field_action(dot, pipe, last) {
            return Ok(());
        }
        let ExpressionKind::Function { function, .. } = &last.arguments[0].kind else {
            let value = self.pipe(dot, pipe)?;
            return if pipe.variables.is_empty() { self.print(&value) } else { Ok(()) };
        };
        let Body::Text(body) = function.body else {
            let value = self.pipe(dot, pipe)?;
            return if pipe.variables.is_empty() { self.print(&value) } else { Ok(()) };
        };
        if !pipe.variables.is_empty() {
            return self.pipe(dot, pipe).map(|_| ());
        }
        self.place = Place::Pipe(pipe);
        let mut value = None;
        for command in before {
            value = Some(self.command(dot, command, value)?.unboxed());
        }
        self.place = Place::Expression(&last.arguments[0]);
        let mut out = std::mem::take(&mut self.out);
        let written = self.text_call(dot, function, body, last, value, &mut out);
        self.out = out;
        written
    }

    /// `{{.name}}` of a row, written without becoming a value; false of anything else.
    #[inline]
    fn field_action(&mut self, dot: &Operand<'a>, pipe: &'a Pipe, command: &'a Command) -> bool {
        let (Value::Fields(scope), [argument], true) = (&dot.value, &*command.arguments, pipe.variables.is_empty())
        else {
            return false;
        };
        let ExpressionKind::Field(names) = &argument.kind else { return false };
        let [name] = &**names else { return false };
        match (scope.field(name), self.missing_key) {
            (Some(text), _) => self.out.extend_from_slice(text.as_bytes()),
            (None, MissingKey::Zero) => {}
            (None, MissingKey::NoValue) => self.out.extend_from_slice(verbs::NO_VALUE),
        }
        true
    }

    fn print(&mut self, value: &Operand<'a>) -> Executed<()> {
        match &value.value {
            Value::Text(text) => {
                self.out.extend_from_slice(text.as_bytes());
                Ok(())
            }
            Value::Nil => {
                self.out.extend_from_slice(verbs::NO_VALUE);
                Ok(())
            }
            other => {
                let printed = print_value(&mut self.out, other.target());
                self.limited(printed)
            }
        }
    }

    fn branch(&mut self, dot: &Operand<'a>, branch: &'a Branch, sets_dot: bool) -> Executed<Flow> {
        let variables = self.variables.len();
        let mut flow = Flow::Next;
        let mut is_done = false;
        for (pipe, nodes) in &branch.arms {
            let value = self.pipe(dot, pipe)?;
            if value.value.is_true() {
                flow = self.inner_walk(if sets_dot { &value } else { dot }, nodes)?;
                is_done = true;
                break;
            }
        }
        if let (false, Some(nodes)) = (is_done, &branch.otherwise) {
            flow = self.inner_walk(dot, nodes)?;
        }
        self.variables.truncate(variables);
        Ok(flow)
    }

    fn range(&mut self, dot: &Operand<'a>, range: &'a Range) -> Executed<Flow> {
        let variables = self.variables.len();
        let value = self.pipe(dot, &range.pipe)?;
        let ran = self.iterate(range, value.value.target())?;
        let flow = match &range.otherwise {
            Some(nodes) if !ran => self.inner_walk(dot, nodes)?,
            _ => Flow::Next,
        };
        self.variables.truncate(variables);
        // In an `else`, a break ends this range although it is of an outer one, and a continue is of the outer one.
        Ok(if flow == Flow::Break { Flow::Next } else { flow })
    }

    /// Whether there was anything to iterate over.
    fn iterate(&mut self, range: &'a Range, value: &Value<'a>) -> Executed<bool> {
        match value {
            Value::Nil => Ok(false),
            Value::List(list) => {
                for (at, item) in (0..).zip(list.items()) {
                    let item = Operand::element(item.clone(), list.element());
                    if !self.iteration(range, Value::Int(at).into(), item)? {
                        break;
                    }
                }
                Ok(!list.items().is_empty())
            }
            Value::Map(_) | Value::Fields(_) => {
                let (entries, element) = value.entries().unwrap_or((Vec::new(), Element::Any));
                let any = !entries.is_empty();
                for (key, entry) in entries {
                    let entry = Operand::element(entry, element);
                    if !self.iteration(range, Value::Text(key).into(), entry)? {
                        break;
                    }
                }
                Ok(any)
            }
            other => match other.integer() {
                Some(count) => self.count_up(range, other, count),
                None => {
                    let mut words = b"range can't iterate over ".to_vec();
                    let printed = print_value(&mut words, other);
                    self.limited(printed)?;
                    self.error(String::from_utf8_lossy(&words))
                }
            },
        }
    }

    fn count_up(&mut self, range: &'a Range, of: &Value<'a>, count: i64) -> Executed<bool> {
        if range.pipe.variables.len() > 1 {
            let mut words = b"can't use ".to_vec();
            let printed = print_value(&mut words, of);
            self.limited(printed)?;
            return self.error(format!("{} to iterate over more than one variable", String::from_utf8_lossy(&words)));
        }
        for number in 0..count.max(0) {
            // Counted in the type of the bound.
            let number = match of {
                Value::Int64(_) => Value::Int64(number),
                Value::Uint8(_) => Value::Uint8(u8::try_from(number).unwrap_or(u8::MAX)),
                Value::Duration(_) => Value::Duration(number),
                Value::Month(_) => Value::Month(number),
                Value::Weekday(_) => Value::Weekday(number),
                _ => Value::Int(number),
            };
            if !self.iteration(range, Operand::NIL, number.into())? {
                break;
            }
        }
        Ok(count > 0)
    }

    /// False when it was left with `break`.
    fn iteration(&mut self, range: &'a Range, index: Operand<'a>, item: Operand<'a>) -> Executed<bool> {
        self.step()?;
        let names = &range.pipe.variables;
        match (&**names, range.pipe.is_assignment) {
            ([], _) => {}
            ([name], true) => self.set_variable(name, item.clone())?,
            ([first, second, ..], true) => {
                self.set_variable(first, index)?;
                self.set_variable(second, item.clone())?;
            }
            ([_], false) => self.set_top_variable(1, item.clone()),
            ([_, _, ..], false) => {
                self.set_top_variable(1, item.clone());
                self.set_top_variable(2, index);
            }
        }
        let variables = self.variables.len();
        let flow = self.inner_walk(&item, &range.body)?;
        self.variables.truncate(variables);
        Ok(flow != Flow::Break)
    }

    fn template_call(&mut self, dot: &Operand<'a>, call: &'a TemplateCall) -> Executed<()> {
        self.place = Place::Template(call);
        let Some((name, tree)) = self.trees.get_key_value(&call.name) else {
            return self.error(format!("template {} not defined", quoted(call.name.as_bytes())));
        };
        if self.template_depth >= TEMPLATE_DEPTH_MAX {
            return self.error(format!("exceeded maximum template depth ({TEMPLATE_DEPTH_MAX})"));
        }
        let dot = match &call.pipe {
            Some(pipe) => self.pipe(dot, pipe)?,
            None => Operand::NIL,
        };
        // A template sees no variables but its own.
        let outer_variables = std::mem::take(&mut self.variables);
        let outer_root = std::mem::replace(&mut self.root, dot.clone());
        let (outer_name, outer_place) = (std::mem::replace(&mut self.name, name), self.place);
        self.template_depth += 1;
        self.inner_walk(&dot, &tree.nodes)?;
        self.template_depth -= 1;
        self.variables = outer_variables;
        self.root = outer_root;
        self.name = outer_name;
        self.place = outer_place;
        Ok(())
    }

    fn variable(&self, name: &str) -> Executed<Operand<'a>> {
        match self.variables.iter().rev().find(|(known, _)| *known == name) {
            Some((_, value)) => Ok(value.clone()),
            None if name == "$" => Ok(self.root.clone()),
            None => self.error(format!("undefined variable: {name}")),
        }
    }

    fn set_variable(&mut self, name: &str, value: Operand<'a>) -> Executed<()> {
        match self.variables.iter_mut().rev().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None if name == "$" => self.root = value,
            None => return self.error(format!("undefined variable: {name}")),
        }
        Ok(())
    }

    /// The variable declared last, or `from_top − 1` before it.
    fn set_top_variable(&mut self, from_top: usize, value: Operand<'a>) {
        let at = self.variables.len().checked_sub(from_top);
        if let Some((_, known)) = at.and_then(|at| self.variables.get_mut(at)) {
            *known = value;
        }
    }
}
