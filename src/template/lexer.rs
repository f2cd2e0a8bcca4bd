//! Text to tokens, one at a time, as the parser asks for them.
//!
//! ```text
//! text {{- .a | f "x" -}} text      text, "{{", field, space, "|", …, "}}", text
//!     ╰─ a trim marker takes the spaces of the text beside it
//! ```
//!
//! Errors are a token; the parser words where they occurred.

use super::strconv::quote::quoted;
use super::unicode::{is_digit, is_letter, is_print};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum TokenKind {
    Error,
    Bool,
    /// Printable ASCII of no other kind: a comma, for one.
    Char,
    CharConstant,
    Complex,
    Assign,
    Declare,
    #[default]
    Eof,
    Field,
    Identifier,
    LeftDelimiter,
    LeftParen,
    Number,
    Pipe,
    RawString,
    RightDelimiter,
    RightParen,
    Space,
    String,
    Text,
    Variable,
    Dot,
    // Keywords.
    Block,
    Break,
    Continue,
    Define,
    Else,
    End,
    If,
    Nil,
    Range,
    Template,
    With,
}

impl TokenKind {
    fn of_keyword(word: &str) -> Option<Self> {
        Some(match word {
            "block" => TokenKind::Block,
            "break" => TokenKind::Break,
            "continue" => TokenKind::Continue,
            "define" => TokenKind::Define,
            "else" => TokenKind::Else,
            "end" => TokenKind::End,
            "if" => TokenKind::If,
            "nil" => TokenKind::Nil,
            "range" => TokenKind::Range,
            "template" => TokenKind::Template,
            "with" => TokenKind::With,
            _ => return None,
        })
    }

    fn is_keyword(self) -> bool {
        use TokenKind::*;
        matches!(self, Dot | Block | Break | Continue | Define | Else | End | If | Nil | Range | Template | With)
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Token<'t> {
    pub(super) kind: TokenKind,
    /// Bytes before it in the text.
    pub(super) position: usize,
    pub(super) text: &'t str,
    /// The line it starts in; the first is 1.
    pub(super) line: usize,
    /// What is wrong, of an error token.
    pub(super) fault: String,
}

/// As Go names a token in its errors.
impl std::fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.kind {
            TokenKind::Eof => f.write_str("EOF"),
            TokenKind::Error => f.write_str(&self.fault),
            kind if kind.is_keyword() => write!(f, "<{}>", self.text),
            _ if self.text.len() > 10 => {
                let end = self.text.char_indices().nth(10).map_or(self.text.len(), |(at, _)| at);
                write!(f, "{}...", quoted(&self.text.as_bytes()[..end]))
            }
            _ => f.write_str(&quoted(self.text.as_bytes())),
        }
    }
}

const LEFT_DELIMITER: &str = "{{";
const RIGHT_DELIMITER: &str = "}}";
const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];
/// A dash and the space that belongs to it.
const TRIM_MARKER_BYTES: usize = 2;

pub(super) struct Lexer<'t> {
    text: &'t str,
    position: usize,
    start: usize,
    line: usize,
    start_line: usize,
    paren_depth: usize,
    is_inside_action: bool,
}

impl<'t> Lexer<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Lexer { text, position: 0, start: 0, line: 1, start_line: 1, paren_depth: 0, is_inside_action: false }
    }

    pub(super) fn next_token(&mut self) -> Token<'t> {
        if self.is_inside_action { self.inside_action() } else { self.text_or_delimiter() }
    }

    fn rest(&self) -> &'t str {
        &self.text[self.position..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn advance(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.position += c.len_utf8();
        self.line += usize::from(c == '\n');
        Some(c)
    }

    fn accept(&mut self, wanted: &str) -> bool {
        let is_wanted = self.peek().is_some_and(|c| wanted.contains(c));
        if is_wanted {
            self.advance();
        }
        is_wanted
    }

    fn accept_run(&mut self, wanted: &str) {
        while self.accept(wanted) {}
    }

    fn token(&mut self, kind: TokenKind) -> Token<'t> {
        let text = &self.text[self.start..self.position];
        let token = Token { kind, position: self.start, text, line: self.start_line, fault: String::new() };
        self.start = self.position;
        self.start_line = self.line;
        token
    }

    /// Leaves out what was passed over without `advance`.
    fn ignore(&mut self) {
        self.line += newlines(&self.text[self.start..self.position]);
        self.start = self.position;
        self.start_line = self.line;
    }

    /// Ends the tokens: an empty text is left.
    fn error(&mut self, fault: impl Into<String>) -> Token<'t> {
        let token = Token {
            kind: TokenKind::Error,
            position: self.start,
            text: "",
            line: self.start_line,
            fault: fault.into(),
        };
        self.text = "";
        self.position = 0;
        self.start = 0;
        token
    }

    fn text_or_delimiter(&mut self) -> Token<'t> {
        loop {
            let Some(length) = self.rest().find(LEFT_DELIMITER) else {
                self.position = self.text.len();
                if self.position > self.start {
                    self.line += newlines(&self.text[self.start..self.position]);
                    return self.token(TokenKind::Text);
                }
                return self.token(TokenKind::Eof);
            };
            if length > 0 {
                let delimiter_at = self.position + length;
                let text = &self.text[self.start..delimiter_at];
                let is_trimmed = has_left_trim_marker(&self.text[delimiter_at + LEFT_DELIMITER.len()..]);
                let kept = if is_trimmed { text.trim_end_matches(SPACES).len() } else { text.len() };
                self.position = self.start + kept;
                self.line += newlines(&self.text[self.start..self.position]);
                let token = self.token(TokenKind::Text);
                self.position = delimiter_at;
                self.ignore();
                if !token.text.is_empty() {
                    return token;
                }
            }
            if let Some(token) = self.left_delimiter() {
                return token;
            }
        }
    }

    /// Nothing when it opened a comment, which is passed over.
    fn left_delimiter(&mut self) -> Option<Token<'t>> {
        self.position += LEFT_DELIMITER.len();
        let marker = if has_left_trim_marker(self.rest()) { TRIM_MARKER_BYTES } else { 0 };
        if self.rest()[marker..].starts_with("/*") {
            self.position += marker;
            self.ignore();
            return self.comment();
        }
        let token = self.token(TokenKind::LeftDelimiter);
        self.is_inside_action = true;
        self.position += marker;
        self.ignore();
        self.paren_depth = 0;
        Some(token)
    }

    fn comment(&mut self) -> Option<Token<'t>> {
        let Some(length) = self.rest()[2..].find("*/") else { return Some(self.error("unclosed comment")) };
        self.position += 2 + length + 2;
        let Some(is_trimmed) = self.right_delimiter_follows() else {
            return Some(self.error("comment ends before closing delimiter"));
        };
        self.line += newlines(&self.text[self.start..self.position]);
        self.start = self.position;
        self.start_line = self.line;
        if is_trimmed {
            self.position += TRIM_MARKER_BYTES;
        }
        self.position += RIGHT_DELIMITER.len();
        if is_trimmed {
            self.position += spaces(self.rest());
        }
        self.ignore();
        None
    }

    /// Whether `}}` follows, and whether with a trim marker.
    fn right_delimiter_follows(&self) -> Option<bool> {
        let rest = self.rest();
        if has_right_trim_marker(rest) && rest[TRIM_MARKER_BYTES..].starts_with(RIGHT_DELIMITER) {
            return Some(true);
        }
        rest.starts_with(RIGHT_DELIMITER).then_some(false)
    }

    fn right_delimiter(&mut self) -> Token<'t> {
        let is_trimmed = self.right_delimiter_follows() == Some(true);
        if is_trimmed {
            self.position += TRIM_MARKER_BYTES;
            self.ignore();
        }
        self.position += RIGHT_DELIMITER.len();
        let token = self.token(TokenKind::RightDelimiter);
        if is_trimmed {
            self.position += spaces(self.rest());
            self.ignore();
        }
        self.is_inside_action = false;
        token
    }

    fn inside_action(&mut self) -> Token<'t> {
        if self.right_delimiter_follows().is_some() {
            return match self.paren_depth {
                0 => self.right_delimiter(),
                _ => self.error("unclosed left paren"),
            };
        }
        let Some(c) = self.peek() else { return self.error("unclosed action") };
        match c {
            c if SPACES.contains(&c) => return self.space(),
            '+' | '-' | '0'..='9' => return self.number(),
            '.' => {
                let is_number = self.rest().as_bytes().get(1).is_none_or(u8::is_ascii_digit);
                if is_number {
                    return self.number();
                }
            }
            c if is_alphanumeric(c) => return self.identifier(),
            _ => {}
        }
        self.advance();
        match c {
            '.' => self.field_or_variable(TokenKind::Field),
            '$' => self.field_or_variable(TokenKind::Variable),
            '=' => self.token(TokenKind::Assign),
            ':' if self.advance() == Some('=') => self.token(TokenKind::Declare),
            ':' => self.error("expected :="),
            '|' => self.token(TokenKind::Pipe),
            '"' => self.quoted('"', TokenKind::String, "unterminated quoted string"),
            '\'' => self.quoted('\'', TokenKind::CharConstant, "unterminated character constant"),
            '`' => {
                while let Some(c) = self.advance() {
                    if c == '`' {
                        return self.token(TokenKind::RawString);
                    }
                }
                self.error("unterminated raw quoted string")
            }
            '(' => {
                self.paren_depth += 1;
                self.token(TokenKind::LeftParen)
            }
            ')' => match self.paren_depth.checked_sub(1) {
                Some(depth) => {
                    self.paren_depth = depth;
                    self.token(TokenKind::RightParen)
                }
                None => self.error("unexpected right paren"),
            },
            c if c.is_ascii() && is_print(c) => self.token(TokenKind::Char),
            c => self.error(format!("unrecognized character in action: {}", named(c))),
        }
    }

    /// The last space of a run belongs to a trim marker that follows it.
    fn space(&mut self) -> Token<'t> {
        let count = spaces(self.rest());
        let after = self.position + count;
        let before_last = &self.text[after - 1..];
        let is_marker =
            has_right_trim_marker(before_last) && before_last[TRIM_MARKER_BYTES..].starts_with(RIGHT_DELIMITER);
        if is_marker && count == 1 {
            return self.right_delimiter();
        }
        for _ in 0..count - usize::from(is_marker) {
            self.advance();
        }
        self.token(TokenKind::Space)
    }

    fn identifier(&mut self) -> Token<'t> {
        while self.peek().is_some_and(is_alphanumeric) {
            self.advance();
        }
        let word = &self.text[self.start..self.position];
        if let Some(fault) = self.bad_character() {
            return fault;
        }
        let kind = match TokenKind::of_keyword(word) {
            Some(keyword) => keyword,
            None if matches!(word, "true" | "false") => TokenKind::Bool,
            None => TokenKind::Identifier,
        };
        self.token(kind)
    }

    /// The `.` or `$` has been read.
    fn field_or_variable(&mut self, kind: TokenKind) -> Token<'t> {
        if self.at_terminator() {
            return self.token(if kind == TokenKind::Variable { kind } else { TokenKind::Dot });
        }
        while self.peek().is_some_and(is_alphanumeric) {
            self.advance();
        }
        match self.bad_character() {
            Some(fault) => fault,
            None => self.token(kind),
        }
    }

    /// An error unless a name may end here.
    fn bad_character(&mut self) -> Option<Token<'t>> {
        if self.at_terminator() {
            return None;
        }
        let c = self.peek()?;
        Some(self.error(format!("bad character {}", named(c))))
    }

    fn at_terminator(&self) -> bool {
        let Some(c) = self.peek() else { return true };
        SPACES.contains(&c)
            || matches!(c, '.' | ',' | '|' | ':' | ')' | '(')
            || self.rest().starts_with(RIGHT_DELIMITER)
    }

    /// A string or character constant whose opening quote has been read; its escapes are the parser's.
    fn quoted(&mut self, quote: char, kind: TokenKind, unterminated: &str) -> Token<'t> {
        loop {
            match self.advance() {
                Some('\\') if self.peek().is_some_and(|c| c != '\n') => {
                    self.advance();
                }
                Some(c) if c == quote => return self.token(kind),
                None | Some('\\' | '\n') => {
                    return self.error(unterminated);
                }
                Some(_) => {}
            }
        }
    }

    /// Takes some texts that are no number; the parser will notice.
    fn number(&mut self) -> Token<'t> {
        let is_number = self.scan_number();
        if is_number && !self.peek().is_some_and(|c| matches!(c, '+' | '-')) {
            return self.token(TokenKind::Number);
        }
        if is_number && self.scan_number() && self.text[..self.position].ends_with('i') {
            return self.token(TokenKind::Complex);
        }
        let text = &self.text[self.start..self.position];
        self.error(format!("bad number syntax: {}", quoted(text.as_bytes())))
    }

    fn scan_number(&mut self) -> bool {
        const DECIMAL: &str = "0123456789_";
        const HEX: &str = "0123456789abcdefABCDEF_";
        self.accept("+-");
        let mut digits = DECIMAL;
        if self.accept("0") {
            if self.accept("xX") {
                digits = HEX;
            } else if self.accept("oO") {
                digits = "01234567_";
            } else if self.accept("bB") {
                digits = "01_";
            }
        }
        self.accept_run(digits);
        if self.accept(".") {
            self.accept_run(digits);
        }
        let has_exponent = digits == DECIMAL && self.accept("eE") || digits == HEX && self.accept("pP");
        if has_exponent {
            self.accept("+-");
            self.accept_run(DECIMAL);
        }
        self.accept("i");
        if self.peek().is_some_and(is_alphanumeric) {
            self.advance();
            return false;
        }
        true
    }
}

fn newlines(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'\n').count()
}

fn spaces(text: &str) -> usize {
    text.len() - text.trim_start_matches(SPACES).len()
}

fn is_space_byte(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

fn has_left_trim_marker(text: &str) -> bool {
    matches!(text.as_bytes(), [b'-', space, ..] if is_space_byte(*space))
}

fn has_right_trim_marker(text: &str) -> bool {
    matches!(text.as_bytes(), [space, b'-', ..] if is_space_byte(*space))
}

fn is_alphanumeric(c: char) -> bool {
    c == '_' || is_letter(c) || is_digit(c)
}

/// A character as Go's `%#U`: `U+0024 '$'`.
fn named(c: char) -> String {
    let code = u32::from(c);
    if is_print(c) { format!("U+{code:04X} '{c}'") } else { format!("U+{code:04X}") }
}
