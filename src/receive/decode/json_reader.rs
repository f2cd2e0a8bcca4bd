//! A reader over JSON text that hands out strings without copying them when they have no escapes.

use std::borrow::Cow;

/// Objects and arrays nested deeper than this are refused.
const DEPTH_MAX: usize = 128;

/// The text is not JSON, or not of the shape asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::receive) struct JsonError {
    pub(in crate::receive) expected: &'static str,
    pub(in crate::receive) at: usize,
}

pub(in crate::receive) type JsonResult<T> = Result<T, JsonError>;

#[derive(Debug, Clone)]
pub(in crate::receive) struct JsonReader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> JsonReader<'a> {
    pub(in crate::receive) fn new(text: &'a str) -> Self {
        JsonReader { text, at: 0 }
    }

    pub(in crate::receive) fn fail<T>(&self, expected: &'static str) -> JsonResult<T> {
        Err(JsonError { expected, at: self.at })
    }

    /// The next byte that is no white space.
    pub(in crate::receive) fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    pub(in crate::receive) fn expect(&mut self, byte: u8, expected: &'static str) -> JsonResult<()> {
        if self.peek() != Some(byte) {
            return self.fail(expected);
        }
        self.at += 1;
        Ok(())
    }

    /// Takes `null` if it is next.
    pub(in crate::receive) fn take_null(&mut self) -> bool {
        let is_null = self.peek().is_some() && self.text[self.at..].starts_with("null");
        if is_null {
            self.at += 4;
        }
        is_null
    }

    /// Calls `member` with each key; it must read the value.
    pub(in crate::receive) fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, Cow<'a, str>) -> JsonResult<()>,
    ) -> JsonResult<()> {
        self.expect(b'{', "{")?;
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            let key = self.string()?;
            self.expect(b':', ":")?;
            member(self, key)?;
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return self.fail(", or }"),
            }
        }
    }

    /// Calls `item` before each item; it must read it.
    pub(in crate::receive) fn array(&mut self, mut item: impl FnMut(&mut Self) -> JsonResult<()>) -> JsonResult<()> {
        self.expect(b'[', "[")?;
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            item(self)?;
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return self.fail(", or ]"),
            }
        }
    }

    /// A string; borrowed when it has no escapes.
    pub(in crate::receive) fn string(&mut self) -> JsonResult<Cow<'a, str>> {
        self.expect(b'"', "a string")?;
        let start = self.at;
        let found = memchr::memchr2(b'"', b'\\', &self.text.as_bytes()[start..]);
        let Some(found) = found else {
            return self.fail("the end of a string");
        };
        self.at = start + found;
        if self.text.as_bytes()[self.at] == b'"' {
            self.at += 1;
            return Ok(Cow::Borrowed(&self.text[start..self.at - 1]));
        }
        let mut owned = String::new();
        self.at = start;
        self.escaped_rest(&mut owned)?;
        Ok(Cow::Owned(owned))
    }

    /// As [`JsonReader::string`], into `scratch` when there are escapes: for values read by the million.
    pub(in crate::receive) fn string_into<'s>(&mut self, scratch: &'s mut String) -> JsonResult<&'s str>
    where
        'a: 's,
    {
        self.expect(b'"', "a string")?;
        let start = self.at;
        let Some(found) = memchr::memchr2(b'"', b'\\', &self.text.as_bytes()[start..]) else {
            return self.fail("the end of a string");
        };
        if self.text.as_bytes()[start + found] == b'"' {
            self.at = start + found + 1;
            return Ok(&self.text[start..start + found]);
        }
        scratch.clear();
        self.escaped_rest(scratch)?;
        Ok(scratch)
    }

    /// Unescapes up to the closing quote.
    fn escaped_rest(&mut self, out: &mut String) -> JsonResult<()> {
        let bytes = self.text.as_bytes();
        loop {
            let Some(found) = memchr::memchr2(b'"', b'\\', &bytes[self.at..]) else {
                return self.fail("the end of a string");
            };
            out.push_str(&self.text[self.at..self.at + found]);
            self.at += found + 1;
            if bytes[self.at - 1] == b'"' {
                return Ok(());
            }
            let plain = match bytes.get(self.at) {
                Some(b'"') => '"',
                Some(b'\\') => '\\',
                Some(b'/') => '/',
                Some(b'n') => '\n',
                Some(b't') => '\t',
                Some(b'r') => '\r',
                Some(b'b') => '\u{8}',
                Some(b'f') => '\u{c}',
                Some(b'u') => {
                    self.at += 1;
                    out.push(self.unicode()?);
                    continue;
                }
                _ => return self.fail("an escape"),
            };
            out.push(plain);
            self.at += 1;
        }
    }

    /// The character after `\u`; lone surrogates become U+FFFD.
    fn unicode(&mut self) -> JsonResult<char> {
        let high = self.hex4()?;
        if !(0xd800..0xdc00).contains(&high) {
            return Ok(char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        if !self.text[self.at..].starts_with("\\u") {
            return Ok(char::REPLACEMENT_CHARACTER);
        }
        let before = self.at;
        self.at += 2;
        let low = self.hex4()?;
        if !(0xdc00..0xe000).contains(&low) {
            self.at = before;
            return Ok(char::REPLACEMENT_CHARACTER);
        }
        let code = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
        Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn hex4(&mut self) -> JsonResult<u32> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4);
        let is_hex = digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        match digits.filter(|_| is_hex).and_then(|digits| std::str::from_utf8(digits).ok()) {
            Some(digits) => {
                self.at += 4;
                Ok(u32::from_str_radix(digits, 16).unwrap_or(0xfffd))
            }
            None => self.fail("four hexadecimal digits"),
        }
    }

    /// Passes over any value. Answers its text.
    pub(in crate::receive) fn skip(&mut self) -> JsonResult<&'a str> {
        self.peek();
        let start = self.at;
        self.skip_value(0)?;
        Ok(&self.text[start..self.at])
    }

    fn skip_value(&mut self, depth: usize) -> JsonResult<()> {
        if depth > DEPTH_MAX {
            return self.fail("fewer nested values");
        }
        match self.peek() {
            Some(b'"') => {
                let mut scratch = String::new();
                self.string_into(&mut scratch).map(|_| ())
            }
            Some(b'{') => self.object(|reader, _| reader.skip_value(depth + 1)),
            Some(b'[') => self.array(|reader| reader.skip_value(depth + 1)),
            Some(_) => {
                let rest = &self.text.as_bytes()[self.at..];
                let end =
                    rest.iter().position(|byte| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r'));
                let word = &self.text[self.at..self.at + end.unwrap_or(rest.len())];
                if !is_scalar(word) {
                    return self.fail("a value");
                }
                self.at += word.len();
                Ok(())
            }
            None => self.fail("a value"),
        }
    }
}

fn is_scalar(word: &str) -> bool {
    matches!(word, "true" | "false" | "null")
        || (word.starts_with(|c: char| c == '-' || c.is_ascii_digit()) && word.parse::<f64>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_unescaped() {
        let check = |text: &str, expected: &str| {
            assert_eq!(JsonReader::new(text).string().as_deref(), Ok(expected), "{text}");
            let mut scratch = String::new();
            assert_eq!(JsonReader::new(text).string_into(&mut scratch), Ok(expected), "{text}");
        };
        check(r#""plain""#, "plain");
        check(r#""a\"b\\c\/\n\t\r\b\f""#, "a\"b\\c/\n\t\r\u{8}\u{c}");
        check(r#""\u00e9\ud83d\ude00\ud83d x""#, "é😀\u{fffd} x");
    }

    #[test]
    fn what_is_no_json_is_an_error() {
        for text in ["\"open", r#""\x""#, r#""\u12g4""#, "", "{", "[1,", "nope", "{\"a\" 1}", "01x"] {
            assert!(JsonReader::new(text).skip().is_err(), "{text}");
        }
        let deep = "[".repeat(100_000);
        assert!(JsonReader::new(&deep).skip().is_err());
    }
}
