//! JSON to values: `fromJson`, `mustFromJson`.
//!
//! Objects are `map[string]interface {}`, arrays `[]interface {}`, all numbers floats. A number too large for a
//! float is nil where it stands, and the rest is kept: that is what Go leaves behind beside its error.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::Parameter::Text as TextParameter;
use super::{CallError, Function};
use crate::template::limits::VALUE_DEPTH_MAX;
use crate::template::strconv::number::parse_float;
use crate::template::text::Text;
use crate::template::unicode::{decode, push_char};
use crate::template::value::{Element, Map, Operand, Value};

pub(super) static SPRIG: &[Function] = &[
    Function::value("fromJson", &[TextParameter], |call| {
        call.charge_bytes(call.bytes(0).len())?;
        Ok(Operand::boxed(parse(call.bytes(0)).map_or(Value::Nil, |(value, _)| value)))
    }),
    Function::value("mustFromJson", &[TextParameter], |call| {
        call.charge_bytes(call.bytes(0).len())?;
        match parse(call.bytes(0)) {
            Ok((value, None)) => Ok(Operand::boxed(value)),
            Ok((_, Some(words))) | Err(words) => Err(CallError::Failed(words)),
        }
    }),
];

/// The value of a text and what was wrong with a number in it; or why it is no JSON, in Go's words.
fn parse<'a>(text: &[u8]) -> Result<(Value<'a>, Option<String>), String> {
    let mut parser = Parser { text, at: 0, depth: 0, bad_number: None };
    let value = parser.value()?;
    parser.skip_spaces();
    match parser.peek() {
        None => Ok((value, parser.bad_number)),
        Some(_) => Err(parser.unexpected("after top-level value")),
    }
}

struct Parser<'t> {
    text: &'t [u8],
    at: usize,
    depth: usize,
    bad_number: Option<String>,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip_spaces(&mut self) {
        while self.peek().is_some_and(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// The next byte does not fit, or there is none.
    fn unexpected(&self, context: &str) -> String {
        let quoted = match self.peek() {
            None => return "unexpected end of JSON input".to_owned(),
            Some(b'\'') => r"'\''".to_owned(),
            Some(b'"') => "'\"'".to_owned(),
            // A byte for a character, as Go takes it.
            Some(byte) => {
                let mut text = Vec::new();
                push_char(&mut text, char::from(byte));
                format!("'{}'", crate::template::strconv::quote::quoted(&text).trim_matches('"'))
            }
        };
        format!("invalid character {quoted} {context}")
    }

    fn value<'a>(&mut self) -> Result<Value<'a>, String> {
        self.skip_spaces();
        match self.peek() {
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::array),
            Some(b'"') => Ok(Value::Text(self.string()?)),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Nil),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(self.unexpected("looking for beginning of value")),
        }
    }

    fn nested<'a>(&mut self, parse: fn(&mut Self) -> Result<Value<'a>, String>) -> Result<Value<'a>, String> {
        if self.depth >= VALUE_DEPTH_MAX - 1 {
            return Err("exceeded max depth".to_owned());
        }
        self.depth += 1;
        self.at += 1;
        let value = parse(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn object<'a>(&mut self) -> Result<Value<'a>, String> {
        let mut entries = BTreeMap::new();
        let mut context = "looking for beginning of object key string";
        loop {
            self.skip_spaces();
            match self.peek() {
                Some(b'}') if entries.is_empty() => break,
                Some(b'"') => {}
                _ => return Err(self.unexpected(context)),
            }
            let key = self.string()?;
            self.skip_spaces();
            if self.peek() != Some(b':') {
                return Err(self.unexpected("after object key"));
            }
            self.at += 1;
            let value = self.value()?;
            entries.insert(key, value);
            self.skip_spaces();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                _ => return Err(self.unexpected("after object key:value pair")),
            }
            context = "looking for beginning of object key string";
        }
        self.at += 1;
        Ok(Value::Map(Rc::new(Map::new(Element::Any, entries))))
    }

    fn array<'a>(&mut self) -> Result<Value<'a>, String> {
        let mut items = Vec::new();
        self.skip_spaces();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Value::list(items, Element::Any));
        }
        loop {
            items.push(self.value()?);
            self.skip_spaces();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => break,
                _ => return Err(self.unexpected("after array element")),
            }
        }
        self.at += 1;
        Ok(Value::list(items, Element::Any))
    }

    fn word<'a>(&mut self, word: &str, value: Value<'a>) -> Result<Value<'a>, String> {
        for wanted in word.bytes() {
            if self.peek() != Some(wanted) {
                return Err(self.unexpected(&format!("in literal {word} (expecting '{}')", char::from(wanted))));
            }
            self.at += 1;
        }
        Ok(value)
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        self.at - start
    }

    fn number<'a>(&mut self) -> Result<Value<'a>, String> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ if self.digits() == 0 => return Err(self.unexpected("in numeric literal")),
            _ => {}
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return Err(self.unexpected("after decimal point in numeric literal"));
            }
        }
        if self.peek().is_some_and(|byte| matches!(byte, b'e' | b'E')) {
            self.at += 1;
            if self.peek().is_some_and(|byte| matches!(byte, b'+' | b'-')) {
                self.at += 1;
            }
            if self.digits() == 0 {
                return Err(self.unexpected("in exponent of numeric literal"));
            }
        }
        let number = &self.text[start..self.at];
        match parse_float(number) {
            Ok(float) => Ok(Value::Float(float)),
            Err(_) => {
                let words = || {
                    let number = String::from_utf8_lossy(number);
                    format!("json: cannot unmarshal number {number} into Go value of type float64")
                };
                self.bad_number.get_or_insert_with(words);
                Ok(Value::Nil)
            }
        }
    }

    /// A string whose opening quote is next.
    fn string<'a>(&mut self) -> Result<Text<'a>, String> {
        self.at += 1;
        let mut out = Vec::new();
        loop {
            let Some((c, width)) = decode(&self.text[self.at..]) else {
                return Err(self.unexpected("in string literal"));
            };
            match c {
                '"' => {
                    self.at += 1;
                    return Ok(out.into());
                }
                '\\' => self.escape(&mut out)?,
                '\0'..' ' => return Err(self.unexpected("in string literal")),
                c => {
                    self.at += width;
                    push_char(&mut out, c);
                }
            }
        }
    }

    fn escape(&mut self, out: &mut Vec<u8>) -> Result<(), String> {
        self.at += 1;
        let plain = match self.peek() {
            Some(byte @ (b'"' | b'\\' | b'/')) => byte,
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => {
                self.at += 1;
                let first = self.hex4()?;
                // A pair of surrogates is one character; one alone is none.
                let rest = &self.text[self.at..];
                let second = match (first, rest) {
                    (0xd800..0xdc00, [b'\\', b'u', digits @ ..]) => {
                        hex_of(digits).filter(|second| second >> 10 == 0x37)
                    }
                    _ => None,
                };
                let code = match second {
                    Some(second) => {
                        self.at += 6;
                        0x10000 + ((first & 0x3ff) << 10) + (second & 0x3ff)
                    }
                    None => first,
                };
                push_char(out, char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                return Ok(());
            }
            _ => return Err(self.unexpected("in string escape code")),
        };
        self.at += 1;
        out.push(plain);
        Ok(())
    }

    fn hex4(&mut self) -> Result<u32, String> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            let Some(digit) = digit else {
                return Err(self.unexpected("in \\u hexadecimal character escape"));
            };
            code = code * 16 + digit;
            self.at += 1;
        }
        Ok(code)
    }
}

fn hex_of(digits: &[u8]) -> Option<u32> {
    let digits = digits.get(..4)?;
    digits.iter().try_fold(0, |code, byte| Some(code * 16 + char::from(*byte).to_digit(16)?))
}
