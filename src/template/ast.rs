//! The tree of a template.
//!
//! ```text
//! Tree ─▶ Node* = text | action (Pipe) | branch (Pipe, nodes, …) | template (name, Pipe) | break | continue
//! Pipe = [$a, $b :=] Command ("|" Command)*        Command = Expression*
//! ```
//!
//! Everything that an error can be about prints as Go prints it.

use std::fmt;
use std::sync::OnceLock;

use super::functions::Function;
use super::regex_cache::CompiledRegex;
use super::strconv::quote::quoted;

/// The nodes of one template.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) nodes: Vec<Node>,
}

#[derive(Debug)]
pub(super) enum Node {
    Text(String),
    Action(Pipe),
    If(Branch),
    With(Branch),
    Range(Range),
    Template(TemplateCall),
    Break,
    Continue,
}

/// `if` or `with` and what follows it with `else if` or `else with`.
#[derive(Debug)]
pub(super) struct Branch {
    /// At least one.
    pub(super) arms: Vec<(Pipe, Vec<Node>)>,
    pub(super) otherwise: Option<Vec<Node>>,
}

#[derive(Debug)]
pub(super) struct Range {
    pub(super) pipe: Pipe,
    pub(super) body: Vec<Node>,
    pub(super) otherwise: Option<Vec<Node>>,
}

#[derive(Debug)]
pub(super) struct TemplateCall {
    pub(super) position: usize,
    pub(super) name: String,
    pub(super) pipe: Option<Pipe>,
}

#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) position: usize,
    /// `=` rather than `:=`.
    pub(super) is_assignment: bool,
    /// Names with their `$`.
    pub(super) variables: Vec<String>,
    /// At least one.
    pub(super) commands: Vec<Command>,
}

#[derive(Debug)]
pub(super) struct Command {
    pub(super) position: usize,
    /// At least one.
    pub(super) arguments: Vec<Expression>,
    /// The first regular expression that the command's function compiled.
    pub(super) regex: OnceLock<CompiledRegex>,
}

#[derive(Debug)]
pub(super) struct Expression {
    pub(super) position: usize,
    pub(super) kind: ExpressionKind,
}

#[derive(Debug)]
pub(super) enum ExpressionKind {
    Bool(bool),
    Number(Number),
    Text {
        /// As written.
        quoted: String,
        text: Vec<u8>,
    },
    Dot,
    Nil,
    /// `.a.b`
    Field(Vec<String>),
    /// `$x.a`: the name with its `$`, then fields.
    Variable(Vec<String>),
    Function {
        name: String,
        function: &'static Function,
    },
    /// `(…).a` or `f.a`
    Chain {
        of: Box<Expression>,
        fields: Vec<String>,
    },
    Pipe(Box<Pipe>),
}

/// A number as each of the types it fits.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Number {
    /// As written.
    pub(super) text: String,
    pub(super) integer: Option<i64>,
    pub(super) unsigned: Option<u64>,
    pub(super) float: Option<f64>,
    pub(super) complex: Option<(f64, f64)>,
}

/// What an error is about.
#[derive(Clone, Copy)]
pub(super) enum Place<'a> {
    Start,
    Pipe(&'a Pipe),
    Command(&'a Command),
    Expression(&'a Expression),
    Template(&'a TemplateCall),
}

impl Place<'_> {
    /// Bytes of the text before it.
    pub(super) fn position(&self) -> Option<usize> {
        match self {
            Place::Start => None,
            Place::Pipe(pipe) => Some(pipe.position),
            Place::Command(command) => Some(command.position),
            Place::Expression(expression) => Some(expression.position),
            Place::Template(call) => Some(call.position),
        }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Start => Ok(()),
            Place::Pipe(pipe) => pipe.fmt(f),
            Place::Command(command) => command.fmt(f),
            Place::Expression(expression) => expression.fmt(f),
            Place::Template(call) => call.fmt(f),
        }
    }
}

impl fmt::Display for TemplateCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{{template {}", quoted(self.name.as_bytes()))?;
        if let Some(pipe) = &self.pipe {
            write!(f, " {pipe}")?;
        }
        f.write_str("}}")
    }
}

impl fmt::Display for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.variables.is_empty() {
            write_joined(f, &self.variables, ", ")?;
            f.write_str(if self.is_assignment { " = " } else { " := " })?;
        }
        write_joined(f, &self.commands, " | ")
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, argument) in self.arguments.iter().enumerate() {
            if at > 0 {
                f.write_str(" ")?;
            }
            argument.write_in_parens(f)?;
        }
        Ok(())
    }
}

impl Expression {
    fn write_in_parens(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ExpressionKind::Pipe(pipe) => write!(f, "({pipe})"),
            _ => write!(f, "{self}"),
        }
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ExpressionKind::Bool(value) => value.fmt(f),
            ExpressionKind::Number(number) => f.write_str(&number.text),
            ExpressionKind::Text { quoted, .. } => f.write_str(quoted),
            ExpressionKind::Dot => f.write_str("."),
            ExpressionKind::Nil => f.write_str("nil"),
            ExpressionKind::Field(names) => names.iter().try_for_each(|name| write!(f, ".{name}")),
            ExpressionKind::Variable(names) => write_joined(f, names, "."),
            ExpressionKind::Function { name, .. } => f.write_str(name),
            ExpressionKind::Chain { of, fields } => {
                of.write_in_parens(f)?;
                fields.iter().try_for_each(|name| write!(f, ".{name}"))
            }
            ExpressionKind::Pipe(pipe) => pipe.fmt(f),
        }
    }
}

fn write_joined(f: &mut fmt::Formatter<'_>, items: &[impl fmt::Display], separator: &str) -> fmt::Result {
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            f.write_str(separator)?;
        }
        item.fmt(f)?;
    }
    Ok(())
}
