//! Text to tokens, as Loki's lexer reads them: Go's scanner, with durations, sizes and ranges found in numbers.
//!
//! A token knows where it starts. Loki loses the line of tokens that it completes by looking ahead (`|=`, `5m`):
//! such tokens have line 0, and so have errors about them.

use super::error::ParseError;
use super::literals::{model_duration, parse_bytes, unquote};
use crate::types::go_time::parse_duration;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Identifier(String),
    Text(String),
    Number(String),
    /// Nanoseconds.
    Duration(i64),
    /// `[5m]`, nanoseconds.
    Range(i64),
    Bytes(u64),
    /// `--strict`
    Flag(String),
    /// Punctuation or keyword, by the name that errors show.
    Symbol(&'static str),
    /// What cannot be read; nothing comes after it. An error of grammar before it is the one to tell.
    Broken(ParseError),
    End,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) line: usize,
    pub(super) column: usize,
}

impl Kind {
    /// The name in `unexpected …`.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Kind::Identifier(_) => "IDENTIFIER",
            Kind::Text(_) => "STRING",
            Kind::Number(_) => "NUMBER",
            Kind::Duration(_) => "DURATION",
            Kind::Range(_) => "RANGE",
            Kind::Bytes(_) => "BYTES",
            Kind::Flag(_) => "FUNCTION_FLAG",
            Kind::Symbol(name) => name,
            Kind::Broken(_) | Kind::End => "$end",
        }
    }
}

/// Keywords and punctuation; errors show them as written.
const SYMBOLS: &[&str] = &[
    ",",
    ".",
    "{",
    "}",
    "=",
    "!=",
    "=~",
    "!~",
    "!>",
    "|=",
    "|~",
    "|>",
    "|",
    "unwrap",
    "(",
    ")",
    "by",
    "without",
    "bool",
    "[",
    "]",
    "label_replace",
    "offset",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "or",
    "and",
    "unless",
    "+",
    "-",
    "*",
    "/",
    "%",
    "^",
    "==",
    ">",
    ">=",
    "<",
    "<=",
    "json",
    "regexp",
    "logfmt",
    "unpack",
    "pattern",
    "label_format",
    "line_format",
    "ip",
    "decolorize",
    "drop",
    "keep",
];

/// Words that are functions only before `(`, `by` or `without`; errors show the second form.
const FUNCTIONS: &[(&str, &str)] = &[
    ("rate", "RATE"),
    ("rate_counter", "RATE_COUNTER"),
    ("count_over_time", "COUNT_OVER_TIME"),
    ("bytes_rate", "BYTES_RATE"),
    ("bytes_over_time", "BYTES_OVER_TIME"),
    ("avg_over_time", "AVG_OVER_TIME"),
    ("sum_over_time", "SUM_OVER_TIME"),
    ("min_over_time", "MIN_OVER_TIME"),
    ("max_over_time", "MAX_OVER_TIME"),
    ("stdvar_over_time", "STDVAR_OVER_TIME"),
    ("stddev_over_time", "STDDEV_OVER_TIME"),
    ("quantile_over_time", "QUANTILE_OVER_TIME"),
    ("first_over_time", "FIRST_OVER_TIME"),
    ("last_over_time", "LAST_OVER_TIME"),
    ("absent_over_time", "ABSENT_OVER_TIME"),
    ("vector", "VECTOR"),
    ("sum", "SUM"),
    ("avg", "AVG"),
    ("max", "MAX"),
    ("min", "MIN"),
    ("count", "COUNT"),
    ("stddev", "STDDEV"),
    ("stdvar", "STDVAR"),
    ("bottomk", "BOTTOMK"),
    ("topk", "TOPK"),
    ("sort", "SORT"),
    ("sort_desc", "SORT_DESC"),
    ("label_replace", "label_replace"),
    ("approx_topk", "APPROX_TOPK"),
    ("bytes", "BYTES_CONV"),
    ("duration", "DURATION_CONV"),
    ("duration_seconds", "DURATION_SECONDS_CONV"),
    ("ip", "ip"),
];

/// Splits a query into tokens; the last is `End` or `Broken`.
pub(super) fn tokens(query: &str) -> Vec<Token> {
    let mut lexer = Lexer { chars: query.chars().collect(), at: 0, line: 1, column: 0, last_line_chars: 0 };
    let mut tokens = Vec::new();
    loop {
        let token = lexer.next_token().unwrap_or_else(|error| Token {
            line: error.line,
            column: error.column,
            kind: Kind::Broken(error),
        });
        let is_last = matches!(token.kind, Kind::End | Kind::Broken(_));
        tokens.push(token);
        if is_last {
            return tokens;
        }
    }
}

pub(super) struct Lexer {
    pub(super) chars: Vec<char>,
    pub(super) at: usize,
    line: usize,
    /// Characters of this line passed.
    column: usize,
    last_line_chars: usize,
}

impl Lexer {
    pub(super) fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    pub(super) fn advance(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        if c == '\n' {
            self.line += 1;
            self.last_line_chars = self.column + 1;
            self.column = 0;
        } else {
            self.column += 1;
        }
        Some(c)
    }

    fn skip_blank(&mut self) {
        loop {
            match self.peek() {
                Some(' ' | '\t' | '\n' | '\r') => {
                    self.advance();
                }
                Some('#') => self.skip_line(),
                Some('/') if self.chars.get(self.at + 1) == Some(&'/') => self.skip_line(),
                Some('/') if self.chars.get(self.at + 1) == Some(&'*') => {
                    while self.peek().is_some() && !self.chars[self.at..].starts_with(&['*', '/']) {
                        self.advance();
                    }
                    self.advance();
                    self.advance();
                }
                _ => return,
            }
        }
    }

    fn skip_line(&mut self) {
        while self.peek().is_some_and(|c| c != '\n') {
            self.advance();
        }
    }

    /// Line and column, from 1, of the character that comes next; at the end, of the place behind the text.
    fn position(&self) -> (usize, usize) {
        if self.peek().is_none() && self.column == 0 {
            return (self.line - 1, self.last_line_chars);
        }
        (self.line, self.column + 1)
    }

    fn next_token(&mut self) -> Result<Token, ParseError> {
        self.skip_blank();
        let (line, column) = self.position();
        let token = |kind| Token { kind, line, column };
        let completed = |kind| Token { kind, line: 0, column };
        let Some(c) = self.peek() else {
            return Ok(token(Kind::End));
        };
        if c.is_alphabetic() || c == '_' {
            let word = self.take_while(|c| c.is_alphanumeric() || c == '_');
            return Ok(token(self.word(word)));
        }
        if c.is_ascii_digit() || (c == '.' && self.chars.get(self.at + 1).is_some_and(char::is_ascii_digit)) {
            let number = self.number().map_err(|message| ParseError { message, line, column })?;
            return Ok(
                match self
                    .duration_from(&number)
                    .map(Kind::Duration)
                    .or_else(|| self.bytes_from(&number).map(Kind::Bytes))
                {
                    Some(kind) => completed(kind),
                    None => token(Kind::Number(number)),
                },
            );
        }
        match c {
            '"' | '`' => return Ok(token(Kind::Text(self.text(c, line, column)?))),
            '[' => return self.range(column).map(completed),
            _ => {}
        }
        self.advance();
        if c == '-' {
            if let Some(flag) = self.flag() {
                return Ok(completed(Kind::Flag(flag)));
            }
            if let Some(nanos) = self.duration_from("-") {
                return Ok(completed(Kind::Duration(nanos)));
            }
        }
        if let Some(next) = self.peek() {
            let both: String = [c, next].iter().collect();
            if let Some(symbol) = SYMBOLS.iter().find(|symbol| **symbol == both) {
                self.advance();
                return Ok(completed(Kind::Symbol(symbol)));
            }
        }
        let alone = c.to_string();
        Ok(token(match SYMBOLS.iter().find(|symbol| **symbol == alone) {
            Some(symbol) => Kind::Symbol(symbol),
            None => Kind::Identifier(alone),
        }))
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let mut text = String::new();
        while let Some(c) = self.peek().filter(|c| wanted(*c)) {
            text.push(c);
            self.advance();
        }
        text
    }

    /// A word is a function before its parenthesis, a keyword, or an identifier.
    fn word(&self, word: String) -> Kind {
        let lower = word.to_lowercase();
        if let Some((_, name)) = FUNCTIONS.iter().find(|(function, _)| *function == lower) {
            return if self.before_parenthesis() { Kind::Symbol(name) } else { Kind::Identifier(word) };
        }
        match SYMBOLS.iter().find(|symbol| **symbol == lower) {
            Some(symbol) => Kind::Symbol(symbol),
            None => Kind::Identifier(word),
        }
    }

    /// Whether `(`, or `by (` or `without (`, comes next.
    fn before_parenthesis(&self) -> bool {
        let rest: String = self.chars[self.at..].iter().take(256).collect::<String>().to_lowercase();
        let rest = rest.trim_start();
        rest.starts_with('(')
            || ["by", "without"]
                .iter()
                .filter_map(|word| rest.strip_prefix(word))
                .any(|rest| rest.trim_start().starts_with('('))
    }

    /// What follows a number while it could be part of a unit.
    fn unit_after(&self, number: &str, is_unit: impl Fn(char) -> bool) -> Option<String> {
        let rest = self.chars[self.at..].iter().take_while(|c| c.is_numeric() || is_unit(**c) || **c == '.');
        let rest: String = rest.collect();
        (!rest.is_empty()).then(|| format!("{number}{rest}"))
    }

    fn accept(&mut self, number: &str, text: &str) {
        for _ in 0..text.chars().count() - number.chars().count() {
            self.advance();
        }
    }

    fn duration_from(&mut self, number: &str) -> Option<i64> {
        let text = self.unit_after(number, |c| matches!(c, 'n' | 'u' | 'µ' | 'm' | 's' | 'h' | 'd' | 'w' | 'y'))?;
        let nanos = model_duration(&text).ok().or_else(|| parse_duration(&text).ok())?;
        self.accept(number, &text);
        Some(nanos)
    }

    fn bytes_from(&mut self, number: &str) -> Option<u64> {
        let text = self.unit_after(number, |c| matches!(c, 'B' | 'i' | 'k' | 'K' | 'M' | 'G' | 'T' | 'P'))?;
        let bytes = parse_bytes(&text)?;
        self.accept(number, &text);
        Some(bytes)
    }

    fn flag(&mut self) -> Option<String> {
        let rest: String = self.chars[self.at..].iter().take_while(|c| c.is_alphabetic() || **c == '-').collect();
        let flag = format!("-{rest}");
        if !matches!(flag.as_str(), "--strict" | "--keep-empty") {
            return None;
        }
        for _ in 0..rest.len() {
            self.advance();
        }
        Some(flag)
    }

    fn range(&mut self, column: usize) -> Result<Kind, ParseError> {
        self.advance();
        let inside = self.take_while(|c| c != ']');
        let error = |message: String| ParseError { message, line: 0, column };
        if self.advance().is_none() {
            return Err(error("missing closing ']' in duration".to_owned()));
        }
        model_duration(&inside).map(Kind::Range).map_err(error)
    }

    fn text(&mut self, quote: char, line: usize, column: usize) -> Result<String, ParseError> {
        let error = |message: &str| ParseError { message: message.to_owned(), line, column };
        self.advance();
        let mut raw = String::new();
        loop {
            match self.advance() {
                None => return Err(error("literal not terminated")),
                Some('\n') if quote == '"' => return Err(error("literal not terminated")),
                Some(c) if c == quote => break,
                Some('\\') if quote == '"' => {
                    raw.push('\\');
                    raw.extend(self.advance());
                }
                Some('\r') if quote == '`' => {}
                Some(c) => raw.push(c),
            }
        }
        if quote == '`' {
            return Ok(raw);
        }
        unquote(&raw).ok_or_else(|| error("invalid syntax"))
    }
}
