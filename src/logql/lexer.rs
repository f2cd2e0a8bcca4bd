//! Text to tokens, as Loki's lexer reads them: Go's scanner, with durations, sizes and ranges found in numbers.
//!
//! A token knows where it starts. Loki loses the line of tokens that it completes by looking ahead (`|=`, `5m`):
//! such tokens have line 0, and so have errors about them.

use super::error::ParseError;
use crate::types::units::GoDuration;

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
            Kind::End => "$end",
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

/// Splits a query into tokens; the last is `End`.
pub(super) fn tokens(query: &str) -> Result<Vec<Token>, ParseError> {
    let mut lexer = Lexer { chars: query.chars().collect(), at: 0, line: 1, column: 0, last_line_chars: 0 };
    let mut tokens = Vec::new();
    loop {
        let token = lexer.next_token()?;
        let is_end = token.kind == Kind::End;
        tokens.push(token);
        if is_end {
            return Ok(tokens);
        }
    }
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
    line: usize,
    /// Characters of this line passed.
    column: usize,
    last_line_chars: usize,
}

impl Lexer {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn advance(&mut self) -> Option<char> {
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
            let number = self.number();
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

    fn number(&mut self) -> String {
        if self.chars[self.at] == '0' && matches!(self.chars.get(self.at + 1), Some('x' | 'X')) {
            return self.take_while(|c| c.is_ascii_alphanumeric());
        }
        let mut number = self.take_while(|c| c.is_ascii_digit() || c == '_');
        if self.peek() == Some('.') {
            number.push('.');
            self.advance();
            number.push_str(&self.take_while(|c| c.is_ascii_digit()));
        }
        if matches!(self.peek(), Some('e' | 'E')) {
            let sign = usize::from(matches!(self.chars.get(self.at + 1), Some('+' | '-')));
            if self.chars.get(self.at + 1 + sign).is_some_and(char::is_ascii_digit) {
                for _ in 0..=sign {
                    number.extend(self.advance());
                }
                number.push_str(&self.take_while(|c| c.is_ascii_digit()));
            }
        }
        number
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
        let duration: GoDuration = text.parse().ok()?;
        self.accept(number, &text);
        Some(duration.nanos())
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

/// Undoes Go's escapes.
pub(super) fn unquote(raw: &str) -> Option<String> {
    let mut out = String::with_capacity(raw.len());
    let mut bytes: Vec<u8> = Vec::new();
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            flush_bytes(&mut bytes, &mut out);
            out.push(c);
            continue;
        }
        let (digits, radix, first) = match chars.next()? {
            'a' => (0, 0, '\x07'),
            'b' => (0, 0, '\x08'),
            'f' => (0, 0, '\x0c'),
            'n' => (0, 0, '\n'),
            'r' => (0, 0, '\r'),
            't' => (0, 0, '\t'),
            'v' => (0, 0, '\x0b'),
            '\\' => (0, 0, '\\'),
            '"' => (0, 0, '"'),
            'x' => (2, 16, 'x'),
            'u' => (4, 16, 'u'),
            'U' => (8, 16, 'U'),
            digit @ '0'..='7' => (2, 8, digit),
            _ => return None,
        };
        if digits == 0 {
            flush_bytes(&mut bytes, &mut out);
            out.push(first);
            continue;
        }
        let mut text: String = chars.by_ref().take(digits).collect();
        if radix == 8 {
            text.insert(0, first);
        }
        if text.len() != digits + usize::from(radix == 8) {
            return None;
        }
        let code = u32::from_str_radix(&text, radix).ok()?;
        if matches!(first, 'u' | 'U') {
            flush_bytes(&mut bytes, &mut out);
            out.push(char::from_u32(code)?);
        } else {
            // Bytes given one by one may make one character together.
            bytes.push(u8::try_from(code).ok()?);
        }
    }
    flush_bytes(&mut bytes, &mut out);
    Some(out)
}

fn flush_bytes(bytes: &mut Vec<u8>, out: &mut String) {
    if !bytes.is_empty() {
        out.push_str(&String::from_utf8_lossy(bytes));
        bytes.clear();
    }
}

/// A size as go-humanize reads it: `KB` is 1000, `KiB` 1024.
pub(super) fn parse_bytes(text: &str) -> Option<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ',').unwrap_or(text.len());
    let number: f64 = text[..split].replace(',', "").parse().ok()?;
    let unit = text[split..].trim().to_ascii_lowercase();
    let (power, base) = match unit.as_str() {
        "" | "b" => (0, 1000.0_f64),
        "k" | "kb" => (1, 1000.0),
        "m" | "mb" => (2, 1000.0),
        "g" | "gb" => (3, 1000.0),
        "t" | "tb" => (4, 1000.0),
        "p" | "pb" => (5, 1000.0),
        "ki" | "kib" => (1, 1024.0),
        "mi" | "mib" => (2, 1024.0),
        "gi" | "gib" => (3, 1024.0),
        "ti" | "tib" => (4, 1024.0),
        "pi" | "pib" => (5, 1024.0),
        _ => return None,
    };
    let bytes = number * base.powi(power);
    (bytes < u64::MAX as f64).then_some(bytes as u64)
}

/// The value that a size keeps in Loki, where queries pass from part to part as text with one decimal:
/// `2KiB` arrives as `2.0kB`, 2000 bytes.
pub(super) fn rounded_bytes(bytes: u64) -> u64 {
    parse_bytes(&human_bytes(bytes)).unwrap_or(bytes)
}

/// A size as go-humanize prints it, without the space: `2.0kB`, `83MB`.
pub fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 10 {
        return format!("{bytes}B");
    }
    let power = ((bytes as f64).ln() / 1000.0_f64.ln()).floor();
    let value = (bytes as f64 / 1000.0_f64.powf(power) * 10.0 + 0.5).floor() / 10.0;
    let unit = UNITS[(power as usize).min(UNITS.len() - 1)];
    if value < 10.0 { format!("{value:.1}{unit}") } else { format!("{value:.0}{unit}") }
}

/// A range's duration as Prometheus reads it: whole numbers with units, largest first.
fn model_duration(text: &str) -> Result<i64, String> {
    const UNITS: &[(&str, i64)] = &[
        ("y", 31_536_000_000_000_000),
        ("w", 604_800_000_000_000),
        ("d", 86_400_000_000_000),
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
    ];
    let quoted = || format!("not a valid duration string: {text:?}");
    if text == "0" {
        return Ok(0);
    }
    if text.is_empty() {
        return Err("empty duration string".to_owned());
    }
    let mut nanos = 0_i64;
    let mut rest = text;
    let mut last_place = None;
    while !rest.is_empty() {
        if !rest.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(quoted());
        }
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number: i64 = rest[..digits].parse().map_err(|_| quoted())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        if letters == 0 {
            return Err(quoted());
        }
        let unit = &rest[..letters];
        let Some(place) = UNITS.iter().position(|(name, _)| *name == unit) else {
            return Err(format!("unknown unit {unit:?} in duration {text:?}"));
        };
        if last_place.is_some_and(|last| place <= last) {
            return Err(quoted());
        }
        last_place = Some(place);
        nanos = number
            .checked_mul(UNITS[place].1)
            .and_then(|part| nanos.checked_add(part))
            .ok_or_else(|| "duration out of range".to_owned())?;
        rest = &rest[letters..];
    }
    Ok(nanos)
}
