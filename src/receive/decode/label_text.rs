//! Stream labels as text, `{a="b", c="d"}`, with the errors of Prometheus' parser.

use crate::types::labels::{Labels, push_go_quoted};

/// Why a text is no label set. `column` counts characters from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("couldn't parse labels: 1:{column}: parse error: {what}")]
pub(super) struct LabelTextError {
    column: usize,
    what: String,
}

/// The label set of a JSON object. Names are checked where they would stand in the text form.
pub(super) fn labels_of_map(mut pairs: Vec<(String, String)>) -> Result<Labels, LabelTextError> {
    pairs.sort();
    if pairs.iter().all(|(name, _)| is_name(name)) {
        return Ok(Labels::from_pairs(pairs));
    }
    let mut text = String::from("{");
    for (at, (name, value)) in pairs.iter().enumerate() {
        if at > 0 {
            text.push_str(", ");
        }
        text.push_str(name);
        text.push('=');
        push_go_quoted(&mut text, value);
    }
    text.push('}');
    parse_labels(&text)
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Parses `{name="value", …}`.
pub(super) fn parse_labels(text: &str) -> Result<Labels, LabelTextError> {
    let mut parser = Parser { chars: text.chars().collect(), at: 0 };
    let mut pairs: Vec<(String, String)> = Vec::new();
    parser.skip_space();
    match parser.peek() {
        Some('{') => parser.at += 1,
        Some(_) => return parser.unexpected("in label set, expected \"{\""),
        None => return parser.fail("unexpected end of input in label set, expected \"{\""),
    }
    loop {
        parser.skip_space();
        if parser.peek() == Some('}') {
            break;
        }
        let name = parser.name()?;
        parser.skip_space();
        match parser.peek() {
            Some('=') => parser.at += 1,
            Some(c) if is_inside(c) => return parser.unexpected("in label set, expected \"=\""),
            Some(c) => return parser.stray(c),
            None => return parser.fail("unexpected end of input in label set, expected \"=\""),
        }
        parser.skip_space();
        let value = parser.value()?;
        pairs.push((name, value));
        parser.skip_space();
        match parser.peek() {
            Some(',') => parser.at += 1,
            Some('}') => break,
            Some(c) if is_inside(c) => return parser.unexpected("in label set, expected \",\" or \"}\""),
            Some(c) => return parser.stray(c),
            None => return parser.fail("unexpected end of input inside braces"),
        }
    }
    parser.at += 1;
    parser.skip_space();
    if parser.peek().is_some() {
        return parser.unexpected("after label set");
    }
    Ok(Labels::from_pairs(pairs))
}

fn is_inside(c: char) -> bool {
    c.is_ascii_alphabetic() || matches!(c, '_' | '"' | '\'' | '`' | '{' | '}' | ',' | '=')
}

struct Parser {
    chars: Vec<char>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
    }

    fn fail<T>(&self, what: impl Into<String>) -> Result<T, LabelTextError> {
        Err(LabelTextError { column: self.at + 1, what: what.into() })
    }

    fn stray<T>(&self, c: char) -> Result<T, LabelTextError> {
        self.fail(format!("unexpected character inside braces: '{c}'"))
    }

    /// Names the token at this place.
    fn unexpected<T>(&self, context: &str) -> Result<T, LabelTextError> {
        let token = match self.peek() {
            Some(c) if c.is_ascii_alphabetic() || c == '_' => {
                let rest = self.chars[self.at..].iter().take_while(|c| c.is_ascii_alphanumeric() || **c == '_');
                format!("identifier \"{}\"", rest.collect::<String>())
            }
            Some('"' | '\'' | '`') => "string".to_owned(),
            Some(c) => format!("\"{c}\""),
            None => "end of input".to_owned(),
        };
        self.fail(format!("unexpected {token} {context}"))
    }

    fn name(&mut self) -> Result<String, LabelTextError> {
        match self.peek() {
            Some(c) if c.is_ascii_alphabetic() || c == '_' => {}
            Some(c) if is_inside(c) => return self.unexpected("in label set, expected identifier or \"}\""),
            Some(c) => return self.stray(c),
            None => return self.fail("unexpected end of input inside braces"),
        }
        let start = self.at;
        while self.peek().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_') {
            self.at += 1;
        }
        Ok(self.chars[start..self.at].iter().collect())
    }

    fn value(&mut self) -> Result<String, LabelTextError> {
        let quote = match self.peek() {
            Some(quote @ ('"' | '\'' | '`')) => quote,
            Some(c) if is_inside(c) => return self.unexpected("in label set, expected string"),
            Some(c) => return self.stray(c),
            None => return self.fail("unexpected end of input in label set, expected string"),
        };
        let start = self.at;
        self.at += 1;
        let mut value = String::new();
        loop {
            let Some(c) = self.peek() else {
                self.at = start;
                return self.fail("unterminated quoted string");
            };
            self.at += 1;
            match c {
                c if c == quote => return Ok(value),
                '\\' if quote != '`' => self.escape(quote, &mut value)?,
                '\n' if quote != '`' => {
                    self.at = start;
                    return self.fail("unterminated quoted string");
                }
                c => value.push(c),
            }
        }
    }

    /// What follows a backslash, as Go reads it.
    fn escape(&mut self, quote: char, value: &mut String) -> Result<(), LabelTextError> {
        let Some(c) = self.peek() else {
            return self.fail("escape sequence not terminated");
        };
        self.at += 1;
        let (digits, radix) = match c {
            'n' => return push(value, '\n'),
            't' => return push(value, '\t'),
            'r' => return push(value, '\r'),
            'a' => return push(value, '\x07'),
            'b' => return push(value, '\x08'),
            'f' => return push(value, '\x0c'),
            'v' => return push(value, '\x0b'),
            '\\' => return push(value, '\\'),
            c if c == quote => return push(value, c),
            'x' => (2, 16),
            'u' => (4, 16),
            'U' => (8, 16),
            '0'..='7' => {
                self.at -= 1;
                (3, 8)
            }
            _ => return self.fail(format!("unknown escape sequence U+{:04X} '{c}'", c as u32)),
        };
        let text: String = self.chars[self.at..].iter().take(digits).collect();
        match u32::from_str_radix(&text, radix).ok().filter(|_| text.len() == digits).and_then(char::from_u32) {
            Some(c) => {
                self.at += digits;
                push(value, c)
            }
            None => self.fail("escape sequence is an invalid Unicode code point"),
        }
    }
}

fn push(value: &mut String, c: char) -> Result<(), LabelTextError> {
    value.push(c);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_sets() {
        let check = |text: &str, expected: &str| match parse_labels(text) {
            Ok(labels) => assert_eq!(labels.to_string(), expected, "{text}"),
            Err(error) => assert_eq!(error.to_string(), expected, "{text}"),
        };
        check(r#"{b="2", a='1',}"#, r#"{a="1", b="2"}"#);
        check("{}", "{}");
        check(r#"{ a = `x\n` }"#, r#"{a="x\\n"}"#);
        check(r#"{a="\u00e9\x41\n"}"#, r#"{a="éA\n"}"#);
        check(
            "{a=b}",
            r#"couldn't parse labels: 1:4: parse error: unexpected identifier "b" in label set, expected string"#,
        );
        check(r#"{a-b="c"}"#, "couldn't parse labels: 1:3: parse error: unexpected character inside braces: '-'");
        check(r#"{1a="c"}"#, "couldn't parse labels: 1:2: parse error: unexpected character inside braces: '1'");
        check("{a=\"b", "couldn't parse labels: 1:4: parse error: unterminated quoted string");
        assert!(parse_labels("nothing").is_err());
        assert!(parse_labels("").is_err());
    }
}
