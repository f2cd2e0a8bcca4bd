//! Pipelines: declarations, commands, operands, literals.

use std::sync::OnceLock;

use super::{Parsed, Parser};
use crate::template::ast::{Command, Expression, ExpressionKind, Number, Pipe};
use crate::template::lexer::{Token, TokenKind};
use crate::template::strconv::number::{parse_complex, parse_float, parse_int, parse_uint};
use crate::template::strconv::quote::{CharFault, quoted, unquote, unquote_char_literal};

impl<'t> Parser<'t> {
    /// Up to and with the token `end`.
    pub(super) fn pipeline(&mut self, context: &str, end: TokenKind) -> Parsed<Pipe> {
        let position = self.peek_non_space().position;
        let mut pipe = Pipe { position, is_assignment: false, variables: Vec::new(), commands: Vec::new() };
        self.declarations(&mut pipe, context)?;
        loop {
            let token = self.next_non_space();
            match token.kind {
                kind if kind == end => {
                    self.check_pipeline(&pipe, context)?;
                    return Ok(pipe);
                }
                TokenKind::Bool
                | TokenKind::CharConstant
                | TokenKind::Complex
                | TokenKind::Dot
                | TokenKind::Field
                | TokenKind::Identifier
                | TokenKind::Number
                | TokenKind::Nil
                | TokenKind::RawString
                | TokenKind::String
                | TokenKind::Variable
                | TokenKind::LeftParen => {
                    self.back_up();
                    let command = self.command()?;
                    pipe.commands.push(command);
                }
                _ => return self.unexpected(&token, context),
            }
        }
    }

    /// `$x :=`, `$x =` or `$i, $x :=`.
    fn declarations(&mut self, pipe: &mut Pipe, context: &str) -> Parsed<()> {
        loop {
            let variable = self.peek_non_space();
            if variable.kind != TokenKind::Variable {
                return Ok(());
            }
            self.next();
            // What stands right after it is needed again if it turns out to be an operand.
            let after = self.peek();
            let next = self.peek_non_space();
            let is_comma = next.kind == TokenKind::Char && next.text == ",";
            if !is_comma && !matches!(next.kind, TokenKind::Assign | TokenKind::Declare) {
                match after.kind {
                    TokenKind::Space => self.back_up_three(variable, after),
                    _ => self.back_up_two(variable),
                }
                return Ok(());
            }
            self.next_non_space();
            pipe.is_assignment |= next.kind == TokenKind::Assign;
            pipe.variables.push(variable.text.to_owned());
            self.state.variables.push(variable.text.to_owned());
            if !is_comma {
                return Ok(());
            }
            if context != "range" || pipe.variables.len() >= 2 {
                return self.error(format!("too many declarations in {context}"));
            }
            let follows = self.peek_non_space().kind;
            if !matches!(follows, TokenKind::Variable | TokenKind::RightDelimiter | TokenKind::RightParen) {
                return self.error("range can only initialize variables");
            }
        }
    }

    fn check_pipeline(&self, pipe: &Pipe, context: &str) -> Parsed<()> {
        if pipe.commands.is_empty() {
            return self.error(format!("missing value for {context}"));
        }
        for (at, command) in pipe.commands.iter().enumerate().skip(1) {
            let is_constant = matches!(
                command.arguments.first().map(|first| &first.kind),
                Some(
                    ExpressionKind::Bool(_)
                        | ExpressionKind::Dot
                        | ExpressionKind::Nil
                        | ExpressionKind::Number(_)
                        | ExpressionKind::Text { .. }
                )
            );
            if is_constant {
                return self.error(format!("non executable command in pipeline stage {}", at + 1));
            }
        }
        Ok(())
    }

    /// Operands up to `|` or what ends the pipeline.
    fn command(&mut self) -> Parsed<Command> {
        let position = self.peek_non_space().position;
        let mut arguments = Vec::new();
        loop {
            self.peek_non_space();
            if let Some(operand) = self.operand()? {
                arguments.push(operand);
            }
            let token = self.next();
            match token.kind {
                TokenKind::Space => continue,
                TokenKind::RightDelimiter | TokenKind::RightParen => self.back_up(),
                TokenKind::Pipe => {}
                _ => return self.unexpected(&token, "operand"),
            }
            break;
        }
        if arguments.is_empty() {
            return self.error("empty command");
        }
        Ok(Command { position, arguments, regex: OnceLock::new() })
    }

    /// A term and the fields after it.
    fn operand(&mut self) -> Parsed<Option<Expression>> {
        let Some(term) = self.term()? else { return Ok(None) };
        if self.peek().kind != TokenKind::Field {
            return Ok(Some(term));
        }
        let position = self.peek().position;
        let mut fields = Vec::new();
        while self.peek().kind == TokenKind::Field {
            let field = self.next();
            fields.push(field.text.trim_start_matches('.').to_owned());
        }
        let kind = match term.kind {
            ExpressionKind::Field(mut names) => {
                names.append(&mut fields);
                ExpressionKind::Field(names)
            }
            ExpressionKind::Variable(mut names) => {
                names.append(&mut fields);
                ExpressionKind::Variable(names)
            }
            ExpressionKind::Bool(_)
            | ExpressionKind::Text { .. }
            | ExpressionKind::Number(_)
            | ExpressionKind::Nil
            | ExpressionKind::Dot => {
                return self.error(format!("unexpected . after term {}", quoted(term.to_string().as_bytes())));
            }
            _ => ExpressionKind::Chain { of: Box::new(term), fields },
        };
        Ok(Some(Expression { position, kind }))
    }

    /// Nothing when no term follows.
    fn term(&mut self) -> Parsed<Option<Expression>> {
        let token = self.next_non_space();
        let kind = match token.kind {
            TokenKind::Identifier => match self.functions.get(token.text) {
                Some(function) => ExpressionKind::Function { name: token.text.to_owned(), function },
                None => return self.error(format!("function {} not defined", quoted(token.text.as_bytes()))),
            },
            TokenKind::Dot => ExpressionKind::Dot,
            TokenKind::Nil => ExpressionKind::Nil,
            TokenKind::Variable => {
                if !self.state.variables.iter().any(|known| known == token.text) {
                    return self.error(format!("undefined variable {}", quoted(token.text.as_bytes())));
                }
                ExpressionKind::Variable(vec![token.text.to_owned()])
            }
            TokenKind::Field => ExpressionKind::Field(vec![token.text.trim_start_matches('.').to_owned()]),
            TokenKind::Bool => ExpressionKind::Bool(token.text == "true"),
            TokenKind::CharConstant | TokenKind::Complex | TokenKind::Number => match number(&token) {
                Ok(number) => ExpressionKind::Number(number),
                Err(fault) => return self.error(fault),
            },
            TokenKind::LeftParen => {
                self.enter("max expression depth exceeded")?;
                let pipe = self.pipeline("parenthesized pipeline", TokenKind::RightParen)?;
                self.leave();
                return Ok(Some(Expression { position: pipe.position, kind: ExpressionKind::Pipe(Box::new(pipe)) }));
            }
            TokenKind::String | TokenKind::RawString => match unquote(token.text) {
                Some(text) => ExpressionKind::Text { quoted: token.text.to_owned(), text },
                None => return self.error("invalid syntax"),
            },
            _ => {
                self.back_up();
                return Ok(None);
            }
        };
        Ok(Some(Expression { position: token.position, kind }))
    }
}

/// A number as each type it fits.
fn number(token: &Token<'_>) -> Result<Number, String> {
    let text = token.text;
    let bytes = text.as_bytes();
    let mut number = Number { text: text.to_owned(), ..Number::default() };
    match token.kind {
        TokenKind::CharConstant => {
            let code = unquote_char_literal(text).map_err(|fault| match fault {
                CharFault::Syntax => "invalid syntax".to_owned(),
                CharFault::NotOne => format!("malformed character constant: {text}"),
            })?;
            number.integer = Some(code);
            number.unsigned = u64::try_from(code).ok();
            number.float = Some(code as f64);
            return Ok(number);
        }
        TokenKind::Complex => {
            return Ok(with_complex(number, parse_complex(bytes)?));
        }
        _ => {}
    }
    if let Some(imaginary) = bytes.strip_suffix(b"i")
        && let Ok(imaginary) = parse_float(imaginary)
    {
        return Ok(with_complex(number, (0.0, imaginary)));
    }
    number.unsigned = parse_uint(bytes, 0).ok();
    number.integer = parse_int(bytes, 0).ok();
    if number.integer == Some(0) {
        // −0 has no unsigned form but that of 0.
        number.unsigned = number.unsigned.or(Some(0));
    }
    number.float = number.integer.map(|n| n as f64).or(number.unsigned.map(|n| n as f64));
    if number.float.is_none()
        && let Ok(float) = parse_float(bytes)
    {
        if !text.contains(['.', 'e', 'E', 'p', 'P']) {
            return Err(format!("integer overflow: {}", quoted(bytes)));
        }
        number.float = Some(float);
        number.integer = exact_integer(float);
        number.unsigned = exact_unsigned(float);
    }
    match number.float {
        Some(_) => Ok(number),
        None => Err(format!("illegal number syntax: {}", quoted(bytes))),
    }
}

/// A complex number without imaginary part is also a real one.
fn with_complex(mut number: Number, (real, imaginary): (f64, f64)) -> Number {
    number.complex = Some((real, imaginary));
    if imaginary == 0.0 {
        number.float = Some(real);
        number.integer = exact_integer(real);
        number.unsigned = exact_unsigned(real);
    }
    number
}

/// The integer a float is; 2⁶³ converts to the least one in Go and does not compare equal.
fn exact_integer(float: f64) -> Option<i64> {
    let integer = float as i64;
    (integer as f64 == float && float < 9_223_372_036_854_775_808.0).then_some(integer)
}

fn exact_unsigned(float: f64) -> Option<u64> {
    let integer = float as u64;
    (integer as f64 == float && (0.0..18_446_744_073_709_551_616.0).contains(&float)).then_some(integer)
}
