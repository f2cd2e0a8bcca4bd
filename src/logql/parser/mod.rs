//! The parser: recursive descent over tokens, one file a part of the grammar.
//!
//! Each place that can fail names what it would have taken, in the order of Loki's tokens; as Loki's
//! generated parser does, more than four are not listed.

mod log;
mod metric;

use super::ast::{Expr, LogExpr, Matcher, MetricExpr};
use super::error::ParseError;
use super::lexer::{Kind, Token, tokens};
use super::validate::validate;

/// Longest query, bytes (exclusive).
const QUERY_BYTES_MAX: usize = 131_072;
/// Deepest nesting of parentheses and operators: keeps hostile input off the stack.
const DEPTH_MAX: usize = 256;

/// Parses and validates a query.
pub fn parse(query: &str) -> Result<Expr, ParseError> {
    let (expr, unfit) = parse_unvalidated(query)?;
    unfit.map_or(Ok(()), Err)?;
    validate(&expr)?;
    Ok(expr)
}

/// Parses a bare selector, as the series and label endpoints take it.
///
/// With `need_selective`, a selector must have a matcher that the empty string does not pass.
pub fn parse_matchers(text: &str, need_selective: bool) -> Result<Vec<Matcher>, ParseError> {
    let (expr, _) = parse_unvalidated(text)?;
    if need_selective {
        validate(&expr)?;
    }
    match expr {
        Expr::Log(log) if log.stages.is_empty() => Ok(log.matchers),
        _ => Err(ParseError::about("only label matchers are supported")),
    }
}

/// Parses a log query whose selector may choose everything, as the delete endpoint takes it.
pub fn parse_log(text: &str) -> Result<LogExpr, ParseError> {
    match parse_unvalidated(text)? {
        (Expr::Log(log), None) => Ok(log),
        (_, Some(fault)) => Err(fault),
        (Expr::Metric(_), None) => Err(ParseError::about("only log selector is supported")),
    }
}

/// Parses a selector with line filters, as Promtail's `match` stage takes it; it may select everything.
///
/// The stages of the answer may be others than line filters: it is for the caller to refuse them.
pub fn parse_line_selector(text: &str) -> Result<LogExpr, ParseError> {
    match parse_unvalidated(text)? {
        (Expr::Log(log), None) => Ok(log),
        (_, Some(fault)) => Err(fault),
        (Expr::Metric(_), None) => Err(ParseError::about("only a selector with line filters is supported")),
    }
}

/// The tree, and the first thing in it that fits the grammar but not its operation.
fn parse_unvalidated(query: &str) -> Result<(Expr, Option<ParseError>), ParseError> {
    if query.len() >= QUERY_BYTES_MAX {
        return Err(ParseError::about(format!("input size too long ({} > {QUERY_BYTES_MAX})", query.len())));
    }
    let mut parser = Parser { tokens: tokens(query), at: 0, depth: 0, unfit: None };
    let expr = parser.expression(0)?;
    if parser.peek() != &Kind::End {
        return parser.unexpected(&[]);
    }
    Ok((expr, parser.unfit))
}

pub(super) struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    /// See [`Parser::or_unfit`].
    unfit: Option<ParseError>,
}

pub(super) type Parsed<T> = Result<T, ParseError>;

impl Parser {
    fn peek(&self) -> &Kind {
        &self.tokens[self.at].kind
    }

    fn peek_second(&self) -> &Kind {
        &self.tokens[(self.at + 1).min(self.tokens.len() - 1)].kind
    }

    fn advance(&mut self) {
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
    }

    fn is(&self, symbol: &str) -> bool {
        matches!(self.peek(), Kind::Symbol(name) if *name == symbol)
    }

    fn take(&mut self, symbol: &str) -> bool {
        let found = self.is(symbol);
        if found {
            self.advance();
        }
        found
    }

    fn expect(&mut self, symbol: &'static str) -> Parsed<()> {
        if self.take(symbol) { Ok(()) } else { self.unexpected(&[symbol]) }
    }

    fn unexpected<T>(&self, expected: &[&str]) -> Parsed<T> {
        let token = &self.tokens[self.at];
        if let Kind::Broken(error) = &token.kind {
            return Err(error.clone());
        }
        let mut message = format!("syntax error: unexpected {}", token.kind.name());
        if (1..=4).contains(&expected.len()) {
            message.push_str(", expecting ");
            message.push_str(&expected.join(" or "));
        }
        Err(ParseError { message, line: token.line, column: token.column })
    }

    /// Keeps an error about operations that do not fit together for the end: Loki tells those of grammar first.
    fn or_unfit(&mut self, checked: Parsed<MetricExpr>) -> MetricExpr {
        checked.unwrap_or_else(|error| {
            self.unfit.get_or_insert(error);
            MetricExpr::VectorLiteral(f64::NAN)
        })
    }

    fn identifier(&mut self, expected: &[&str]) -> Parsed<String> {
        let Kind::Identifier(name) = self.peek() else {
            return self.unexpected(expected);
        };
        let name = name.clone();
        self.advance();
        Ok(name)
    }

    fn text(&mut self, expected: &[&str]) -> Parsed<String> {
        let Kind::Text(text) = self.peek() else {
            return self.unexpected(expected);
        };
        let text = text.clone();
        self.advance();
        Ok(text)
    }

    fn number(&mut self, expected: &[&str]) -> Parsed<String> {
        let Kind::Number(number) = self.peek() else {
            return self.unexpected(expected);
        };
        let number = number.clone();
        self.advance();
        Ok(number)
    }

    /// Runs `inner` one level deeper.
    fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(ParseError::about(format!("the query is nested deeper than {DEPTH_MAX} levels")));
        }
        let parsed = inner(self);
        self.depth -= 1;
        parsed
    }

    /// `(a, b)`, possibly empty.
    fn label_list(&mut self) -> Parsed<Vec<String>> {
        self.expect("(")?;
        let mut labels = Vec::new();
        if self.take(")") {
            return Ok(labels);
        }
        labels.push(self.identifier(&["IDENTIFIER", ")"])?);
        loop {
            if self.take(")") {
                return Ok(labels);
            }
            if !self.take(",") {
                return self.unexpected(&[",", ")"]);
            }
            labels.push(self.identifier(&["IDENTIFIER"])?);
        }
    }
}

/// A number as Go's `strconv.ParseFloat` reads it.
fn float(text: &str) -> Option<f64> {
    let decimal = text.chars().all(|c| c.is_ascii_digit() || matches!(c, '_' | '.' | 'e' | 'E' | '+' | '-'));
    decimal.then(|| text.replace('_', "").parse().ok()).flatten()
}
