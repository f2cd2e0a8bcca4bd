//! Actions that steer: `if`, `with`, `range`, `template`, `block`, `break`, `continue`, `else`, `end`.

use super::{Item, ListEnd, Parsed, Parser};
use crate::template::ast::{Branch, Node, Pipe, Range, TemplateCall, Tree};
use crate::template::lexer::{Token, TokenKind};

impl<'t> Parser<'t> {
    /// What follows `{{`.
    pub(super) fn action(&mut self) -> Parsed<Item> {
        let token = self.next_non_space();
        let node = match token.kind {
            TokenKind::Block => self.nested(Self::block)?,
            TokenKind::Break => self.loop_exit("{{break}}", Node::Break)?,
            TokenKind::Continue => self.loop_exit("{{continue}}", Node::Continue)?,
            TokenKind::Else => return self.else_end(),
            TokenKind::End => {
                self.expect(TokenKind::RightDelimiter, "end")?;
                return Ok(Item::End(ListEnd::End));
            }
            TokenKind::If => Node::If(self.nested(|parser| parser.branch("if", TokenKind::If))?),
            TokenKind::With => Node::With(self.nested(|parser| parser.branch("with", TokenKind::With))?),
            TokenKind::Range => self.nested(Self::range)?,
            TokenKind::Template => self.template_call()?,
            _ => {
                self.back_up();
                // Variables stay until the end of what is around the action.
                Node::Action(self.pipeline("command", TokenKind::RightDelimiter)?)
            }
        };
        Ok(Item::Node(node))
    }

    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.enter("max nesting depth exceeded")?;
        let parsed = parse(self)?;
        self.leave();
        Ok(parsed)
    }

    fn loop_exit(&mut self, written: &str, node: Node) -> Parsed<Node> {
        let token = self.next_non_space();
        if token.kind != TokenKind::RightDelimiter {
            return self.unexpected(&token, written);
        }
        if self.state.range_depth == 0 {
            return self.error(format!("{written} outside {{{{range}}}}"));
        }
        Ok(node)
    }

    fn else_end(&mut self) -> Parsed<Item> {
        // Those after "else" are left for the branch it belongs to.
        if !matches!(self.peek_non_space().kind, TokenKind::If | TokenKind::With) {
            self.expect(TokenKind::RightDelimiter, "else")?;
        }
        Ok(Item::End(ListEnd::Else))
    }

    fn branch(&mut self, context: &str, keyword: TokenKind) -> Parsed<Branch> {
        let variables = self.state.variables.len();
        let mut arms = Vec::new();
        let otherwise = loop {
            let pipe = self.pipeline(context, TokenKind::RightDelimiter)?;
            let (nodes, end) = self.item_list()?;
            arms.push((pipe, nodes));
            if end == ListEnd::End {
                break None;
            }
            // `{{else if x}}` goes on with the same branch and the same `{{end}}`.
            if self.peek().kind != keyword {
                break Some(self.otherwise()?);
            }
            self.next();
        };
        self.state.variables.truncate(variables);
        Ok(Branch { arms, otherwise })
    }

    fn range(&mut self) -> Parsed<Node> {
        let variables = self.state.variables.len();
        let pipe = self.pipeline("range", TokenKind::RightDelimiter)?;
        self.state.range_depth += 1;
        let (body, end) = self.item_list()?;
        self.state.range_depth -= 1;
        let otherwise = if end == ListEnd::Else { Some(self.otherwise()?) } else { None };
        self.state.variables.truncate(variables);
        Ok(Node::Range(Range { pipe, body, otherwise }))
    }

    /// The nodes between `{{else}}` and `{{end}}`.
    fn otherwise(&mut self) -> Parsed<Vec<Node>> {
        let (nodes, end) = self.item_list()?;
        match end {
            ListEnd::End => Ok(nodes),
            ListEnd::Else => self.error(format!("expected end; found {end}")),
        }
    }

    /// `{{block "name" pipe}} … {{end}}`: a template defined and called where it stands.
    fn block(&mut self) -> Parsed<Node> {
        const CONTEXT: &str = "block clause";
        let token = self.next_non_space();
        let name = self.template_name(&token, CONTEXT)?;
        let pipe = self.pipeline(CONTEXT, TokenKind::RightDelimiter)?;
        let outer = std::mem::take(&mut self.state);
        let (nodes, end) = self.item_list()?;
        if end != ListEnd::End {
            // Go reports it as the outer template's, at the line it had read before the block.
            self.state = outer;
            return self.error(format!("unexpected {end} in {CONTEXT}"));
        }
        self.add(name.clone(), Tree { nodes })?;
        self.state = outer;
        Ok(Node::Template(TemplateCall { position: token.position, name, pipe: Some(pipe) }))
    }

    fn template_call(&mut self) -> Parsed<Node> {
        const CONTEXT: &str = "template clause";
        let token = self.next_non_space();
        let name = self.template_name(&token, CONTEXT)?;
        let pipe: Option<Pipe> = match self.next_non_space().kind {
            TokenKind::RightDelimiter => None,
            _ => {
                self.back_up();
                Some(self.pipeline(CONTEXT, TokenKind::RightDelimiter)?)
            }
        };
        Ok(Node::Template(TemplateCall { position: token.position, name, pipe }))
    }

    fn template_name(&mut self, token: &Token<'t>, context: &str) -> Parsed<String> {
        match token.kind {
            TokenKind::String | TokenKind::RawString => self.name_of(token),
            _ => self.unexpected(token, context),
        }
    }
}
