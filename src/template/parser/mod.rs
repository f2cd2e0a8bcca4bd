//! Tokens to trees.
//!
//! ```text
//! template = (text | action | define)*
//! action   = "{{" (pipe | if | range | with | template | block | break | continue) "}}"
//! ```
//!
//! A `define` or `block` is a template of its own: its variables, and the tokens looked ahead, begin anew.
//!
//! Invariant: errors name the line of the token read last, as Go's do, which may be the one after the fault.
//! Errors: [`TemplateError::Parse`]; nesting beyond [`NESTING_MAX`] is one.

mod control;
mod pipeline;

use std::collections::BTreeMap;

use super::ast::{Node, Tree};
use super::error::TemplateError;
use super::functions::FunctionTable;
use super::lexer::{Lexer, Token, TokenKind};
use super::limits::NESTING_MAX;
use super::strconv::quote::{quoted, unquote};

type Parsed<T> = Result<T, TemplateError>;

/// The trees of a text by name: its own, and those it defines.
pub(super) fn parse(
    name: &str,
    text: &str,
    functions: &'static FunctionTable,
) -> Result<BTreeMap<String, Tree>, TemplateError> {
    let mut parser = Parser {
        name,
        functions,
        lexer: Lexer::new(text),
        state: TreeState::default(),
        trees: BTreeMap::new(),
        nesting: 0,
    };
    let tree = parser.template()?;
    parser.add(name.to_owned(), tree)?;
    Ok(parser.trees)
}

struct Parser<'t> {
    name: &'t str,
    functions: &'static FunctionTable,
    lexer: Lexer<'t>,
    state: TreeState<'t>,
    trees: BTreeMap<String, Tree>,
    nesting: usize,
}

/// What belongs to one template of the text.
struct TreeState<'t> {
    /// The token read last, and those put back before it.
    tokens: [Token<'t>; 3],
    /// How many of `tokens` are to be read again.
    peeked: usize,
    /// Names with their `$`.
    variables: Vec<String>,
    /// The line where the action being read began; 0 outside of actions.
    action_line: usize,
    range_depth: usize,
}

impl Default for TreeState<'_> {
    fn default() -> Self {
        TreeState {
            tokens: Default::default(),
            peeked: 0,
            variables: vec!["$".to_owned()],
            action_line: 0,
            range_depth: 0,
        }
    }
}

/// How a list of nodes ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ListEnd {
    End,
    Else,
}

impl std::fmt::Display for ListEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if *self == ListEnd::End { "{{end}}" } else { "{{else}}" })
    }
}

/// A node, or the end of the list it would be in.
enum Item {
    Node(Node),
    End(ListEnd),
}

impl<'t> Parser<'t> {
    fn next(&mut self) -> Token<'t> {
        match self.state.peeked.checked_sub(1) {
            Some(peeked) => self.state.peeked = peeked,
            None => self.state.tokens[0] = self.lexer.next_token(),
        }
        self.state.tokens[self.state.peeked].clone()
    }

    fn peek(&mut self) -> Token<'t> {
        if self.state.peeked == 0 {
            self.state.peeked = 1;
            self.state.tokens[0] = self.lexer.next_token();
        }
        self.state.tokens[self.state.peeked - 1].clone()
    }

    fn back_up(&mut self) {
        self.state.peeked += 1;
    }

    /// Puts `token` back before the one read last.
    fn back_up_two(&mut self, token: Token<'t>) {
        self.state.tokens[1] = token;
        self.state.peeked = 2;
    }

    /// Puts two back before the one read last.
    fn back_up_three(&mut self, first: Token<'t>, second: Token<'t>) {
        self.state.tokens[2] = first;
        self.state.tokens[1] = second;
        self.state.peeked = 3;
    }

    fn next_non_space(&mut self) -> Token<'t> {
        loop {
            let token = self.next();
            if token.kind != TokenKind::Space {
                return token;
            }
        }
    }

    fn peek_non_space(&mut self) -> Token<'t> {
        let token = self.next_non_space();
        self.back_up();
        token
    }

    fn error<T>(&self, fault: impl Into<String>) -> Parsed<T> {
        let line = self.state.tokens[0].line;
        Err(TemplateError::Parse { template: self.name.to_owned(), line, fault: fault.into() })
    }

    fn expect(&mut self, kind: TokenKind, context: &str) -> Parsed<Token<'t>> {
        let token = self.next_non_space();
        if token.kind == kind { Ok(token) } else { self.unexpected(&token, context) }
    }

    fn unexpected<T>(&self, token: &Token<'t>, context: &str) -> Parsed<T> {
        if token.kind != TokenKind::Error {
            return self.error(format!("unexpected {token} in {context}"));
        }
        let mut place = String::new();
        if self.state.action_line != 0 && self.state.action_line != token.line {
            // Not "action in action".
            let of_action = if token.fault.ends_with(" action") { "" } else { " in action" };
            place = format!("{of_action} started at {}:{}", self.name, self.state.action_line);
        }
        self.error(format!("{token}{place}"))
    }

    /// One more action or parenthesis is open, until [`Parser::leave`].
    fn enter(&mut self, fault: &str) -> Parsed<()> {
        if self.nesting >= NESTING_MAX {
            return self.error(fault);
        }
        self.nesting += 1;
        Ok(())
    }

    fn leave(&mut self) {
        self.nesting -= 1;
    }

    /// Keeps a tree unless it is empty and there is one of its name; two that are not empty are an error.
    fn add(&mut self, name: String, tree: Tree) -> Parsed<()> {
        match self.trees.get(&name) {
            Some(known) if !is_empty(&known.nodes) => {
                if !is_empty(&tree.nodes) {
                    let name = quoted(name.as_bytes());
                    return self.error(format!("template: multiple definition of template {name}"));
                }
            }
            _ => {
                self.trees.insert(name, tree);
            }
        }
        Ok(())
    }

    /// The whole text.
    fn template(&mut self) -> Parsed<Tree> {
        let mut nodes = Vec::new();
        while self.peek().kind != TokenKind::Eof {
            if self.peek().kind == TokenKind::LeftDelimiter {
                let delimiter = self.next();
                if self.next_non_space().kind == TokenKind::Define {
                    self.definition()?;
                    continue;
                }
                self.back_up_two(delimiter);
            }
            match self.text_or_action()? {
                Item::Node(node) => nodes.push(node),
                Item::End(end) => return self.error(format!("unexpected {end}")),
            }
        }
        Ok(Tree { nodes })
    }

    /// `{{define "name"}} … {{end}}`, its keyword read.
    fn definition(&mut self) -> Parsed<()> {
        const CONTEXT: &str = "define clause";
        let outer = std::mem::take(&mut self.state);
        let token = self.next_non_space();
        if !matches!(token.kind, TokenKind::String | TokenKind::RawString) {
            return self.unexpected(&token, CONTEXT);
        }
        let name = self.name_of(&token)?;
        self.expect(TokenKind::RightDelimiter, CONTEXT)?;
        let (nodes, end) = self.item_list()?;
        if end != ListEnd::End {
            return self.error(format!("unexpected {end} in {CONTEXT}"));
        }
        self.add(name, Tree { nodes })?;
        self.state = outer;
        Ok(())
    }

    fn name_of(&self, token: &Token<'t>) -> Parsed<String> {
        match unquote(token.text) {
            Some(name) => Ok(String::from_utf8_lossy(&name).into_owned()),
            None => self.error("invalid syntax"),
        }
    }

    /// Nodes up to `{{end}}` or `{{else}}`.
    fn item_list(&mut self) -> Parsed<(Vec<Node>, ListEnd)> {
        let mut nodes = Vec::new();
        while self.peek_non_space().kind != TokenKind::Eof {
            match self.text_or_action()? {
                Item::Node(node) => nodes.push(node),
                Item::End(end) => return Ok((nodes, end)),
            }
        }
        self.error("unexpected EOF")
    }

    fn text_or_action(&mut self) -> Parsed<Item> {
        let token = self.next_non_space();
        match token.kind {
            TokenKind::Text => Ok(Item::Node(Node::Text(token.text.to_owned()))),
            TokenKind::LeftDelimiter => {
                self.state.action_line = token.line;
                let item = self.action()?;
                self.state.action_line = 0;
                Ok(item)
            }
            _ => self.unexpected(&token, "input"),
        }
    }
}

/// Whether there is nothing but white space.
fn is_empty(nodes: &[Node]) -> bool {
    nodes.iter().all(|node| match node {
        Node::Text(text) => text.trim().is_empty(),
        _ => false,
    })
}
