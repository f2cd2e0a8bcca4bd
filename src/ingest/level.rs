//! `detected_level`: what level a line has, decided as Loki's distributor decides it.
//!
//! Order: a level already in the metadata (normalised) — a stream label — a metadata field — OTLP's
//! severity number — the line: JSON fields, logfmt keys, else the earliest word that names a level.
//! Nothing is allocated unless a line has upper-case letters and neither JSON nor logfmt decided.

use std::borrow::Cow;

use crate::types::labels::Labels;

/// Name of the metadata entry that carries the level.
pub const DETECTED_LEVEL: &str = "detected_level";
/// What a line without a recognisable level has.
const UNKNOWN: &str = "unknown";
/// How deep objects in a JSON line are searched (Loki's `log_level_from_json_max_depth`).
const JSON_DEPTH_MAX: usize = 2;

/// Names that carry a level when `log_level_fields` is not set, best first.
pub const DEFAULT_LEVEL_FIELDS: &[&str] = &[
    "level",
    "LEVEL",
    "Level",
    "log.level",
    "severity",
    "SEVERITY",
    "Severity",
    "SeverityText",
    "lvl",
    "LVL",
    "Lvl",
    "severity_text",
    "Severity_Text",
    "SEVERITY_TEXT",
];

/// Words looked for in a line, in the order in which ties are decided.
const LEVEL_WORDS: &[(&str, &str)] = &[
    ("trace", "trace"),
    ("debug", "debug"),
    ("fatal", "fatal"),
    ("critical", "critical"),
    ("error", "error"),
    ("err", "error"),
    ("warning", "warn"),
    ("warn", "warn"),
    ("info", "info"),
];

/// The level of a stream's rows when a label decides it.
pub fn from_labels(labels: &Labels, fields: &[String]) -> Option<String> {
    fields.iter().find_map(|field| labels.get(field)).map(|value| normalized(value).to_owned())
}

/// The level of one row whose stream labels do not decide it.
pub fn of_row<'a>(line: &'a str, metadata: &[(&'a str, &'a str)], fields: &[String]) -> &'a str {
    let named = |name: &str| metadata.iter().find(|(found, _)| *found == name).map(|(_, value)| *value);
    let of_field =
        |field: &String| metadata.iter().find(|(found, _)| is_name_of(found, field)).map(|(_, value)| *value);
    if let Some(value) = fields.iter().find_map(of_field) {
        return normalized(value);
    }
    if let Some(number) = named("severity_number").filter(|number| !number.is_empty()) {
        return from_severity_number(number);
    }
    from_line(line, fields)
}

/// Whether a name of metadata is a field's: dots are underscores there.
fn is_name_of(found: &str, field: &str) -> bool {
    let same = |(found, wanted): (u8, u8)| found == wanted || (found == b'_' && wanted == b'.');
    found.len() == field.len() && found.bytes().zip(field.bytes()).all(same)
}

/// The usual word for a level, in whatever case or short form; other words stay as they are.
pub fn normalized(level: &str) -> &str {
    known(level).unwrap_or(level)
}

fn known(level: &str) -> Option<&'static str> {
    let is = |word: &str| level.eq_ignore_ascii_case(word);
    let forms: &[(&[&str], &'static str)] = &[
        (&["trace", "trc"], "trace"),
        (&["debug", "dbg"], "debug"),
        (&["info", "inf", "information"], "info"),
        (&["warn", "wrn", "warning"], "warn"),
        (&["error", "err"], "error"),
        (&["critical"], "critical"),
        (&["fatal"], "fatal"),
    ];
    forms.iter().find(|(words, _)| words.iter().any(|word| is(word))).map(|(_, level)| *level)
}

/// Source: OpenTelemetry's severity numbers, four to a level.
fn from_severity_number(text: &str) -> &'static str {
    match text.parse::<i64>() {
        Err(_) => "info",
        Ok(0) => UNKNOWN,
        Ok(number) if number <= 4 => "trace",
        Ok(number) if number <= 8 => "debug",
        Ok(number) if number <= 12 => "info",
        Ok(number) if number <= 16 => "warn",
        Ok(number) if number <= 20 => "error",
        Ok(number) if number <= 24 => "fatal",
        Ok(_) => UNKNOWN,
    }
}

fn from_line(line: &str, fields: &[String]) -> &'static str {
    let found = if is_json(line) {
        json_level(line.as_bytes(), fields)
    } else if memchr::memchr(b'=', line.as_bytes()).is_some() {
        logfmt_level(line, fields)
    } else {
        None
    };
    found.and_then(|value| known(&value)).unwrap_or_else(|| from_words(line))
}

fn is_json(line: &str) -> bool {
    line.trim_start().starts_with('{') && line.trim_end().ends_with('}')
}

/// The first string under a level's name, in the order of the line, objects within objects included.
fn json_level<'a>(line: &'a [u8], fields: &[String]) -> Option<Cow<'a, str>> {
    let mut scan = JsonScan { bytes: line, at: 0 };
    scan.object(fields, 0).ok().flatten()
}

/// A scanner that stops at the first level or the first malformed byte.
struct JsonScan<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// The line is not JSON from here on.
struct Malformed;

impl<'a> JsonScan<'a> {
    fn object(&mut self, fields: &[String], depth: usize) -> Result<Option<Cow<'a, str>>, Malformed> {
        self.expect(b'{')?;
        if self.peek()? == b'}' {
            self.at += 1;
            return Ok(None);
        }
        loop {
            let (key, _) = self.string()?;
            self.expect(b':')?;
            match self.peek()? {
                b'"' => {
                    let (value, _) = self.string()?;
                    if fields.iter().any(|field| field.as_bytes() == key) {
                        return Ok(std::str::from_utf8(value).ok().map(Cow::Borrowed));
                    }
                }
                b'{' if depth + 1 < JSON_DEPTH_MAX => {
                    if let Some(found) = self.object(fields, depth + 1)? {
                        return Ok(Some(found));
                    }
                }
                b'{' | b'[' => self.skip_nested()?,
                _ => self.skip_scalar(),
            }
            match self.peek()? {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    return Ok(None);
                }
                _ => return Err(Malformed),
            }
        }
    }

    fn peek(&mut self) -> Result<u8, Malformed> {
        while let Some(byte) = self.bytes.get(self.at) {
            if !byte.is_ascii_whitespace() {
                return Ok(*byte);
            }
            self.at += 1;
        }
        Err(Malformed)
    }

    fn expect(&mut self, wanted: u8) -> Result<(), Malformed> {
        if self.peek()? != wanted {
            return Err(Malformed);
        }
        self.at += 1;
        Ok(())
    }

    /// The bytes between quotes as they are, and whether there were escapes.
    fn string(&mut self) -> Result<(&'a [u8], bool), Malformed> {
        self.expect(b'"')?;
        let start = self.at;
        let mut escaped = false;
        loop {
            let found = memchr::memchr2(b'"', b'\\', &self.bytes[self.at..]).ok_or(Malformed)?;
            self.at += found;
            if self.bytes[self.at] == b'"' {
                let text = &self.bytes[start..self.at];
                self.at += 1;
                return Ok((text, escaped));
            }
            escaped = true;
            self.at += 2;
            if self.at > self.bytes.len() {
                return Err(Malformed);
            }
        }
    }

    fn skip_nested(&mut self) -> Result<(), Malformed> {
        let mut depth = 0_usize;
        loop {
            match *self.bytes.get(self.at).ok_or(Malformed)? {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth = depth.checked_sub(1).ok_or(Malformed)?,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Ok(());
            }
        }
    }

    fn skip_scalar(&mut self) {
        while self
            .bytes
            .get(self.at)
            .is_some_and(|byte| !matches!(byte, b',' | b'}' | b']') && !byte.is_ascii_whitespace())
        {
            self.at += 1;
        }
    }
}

/// The value of the best-placed level key of a logfmt line.
fn logfmt_level<'a>(line: &'a str, fields: &[String]) -> Option<Cow<'a, str>> {
    let mut best: Option<(usize, &str)> = None;
    let bytes = line.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        while at < bytes.len() && bytes[at] <= b' ' {
            at += 1;
        }
        let key_start = at;
        while at < bytes.len() && bytes[at] > b' ' && bytes[at] != b'=' && bytes[at] != b'"' {
            at += 1;
        }
        let key = &line[key_start..at];
        if bytes.get(at) == Some(&b'"') {
            return best.map(|(_, value)| Cow::Borrowed(value));
        }
        if bytes.get(at) != Some(&b'=') {
            continue;
        }
        at += 1;
        let (value, next) = logfmt_value(line, at)?;
        at = next;
        let place = fields.iter().position(|field| field.eq_ignore_ascii_case(key));
        if let Some(place) = place.filter(|place| best.is_none_or(|(known, _)| *place < known)) {
            best = Some((place, value));
            if place == 0 {
                break;
            }
        }
    }
    best.map(|(_, value)| Cow::Borrowed(value))
}

/// The value that starts at `at` and where the scan goes on; `None` when it is cut off.
fn logfmt_value(line: &str, at: usize) -> Option<(&str, usize)> {
    let bytes = line.as_bytes();
    if bytes.get(at) != Some(&b'"') {
        let end = bytes[at..].iter().position(|byte| *byte <= b' ').map_or(bytes.len(), |found| at + found);
        return Some((&line[at..end], end));
    }
    let mut end = at + 1;
    while end < bytes.len() {
        match bytes[end] {
            b'"' => return Some((&line[at + 1..end], end + 1)),
            b'\\' => end += 2,
            _ => end += 1,
        }
    }
    None
}

/// The level whose word stands first in the line, between word boundaries.
fn from_words(line: &str) -> &'static str {
    let lower: Cow<'_, str> = if line.bytes().any(|byte| byte.is_ascii_uppercase() || byte >= 0x80) {
        line.to_lowercase().into()
    } else {
        line.into()
    };
    let mut first = lower.len();
    let mut level = UNKNOWN;
    for (word, named) in LEVEL_WORDS {
        if let Some(at) = bounded(&lower, word).filter(|at| *at < first) {
            first = at;
            level = named;
            if at == 0 {
                break;
            }
        }
    }
    level
}

fn bounded(line: &str, word: &str) -> Option<usize> {
    let bytes = line.as_bytes();
    memchr::memmem::find_iter(bytes, word).find(|at| {
        let left = at.checked_sub(1).is_none_or(|before| is_left_boundary(bytes[before]));
        left && bytes.get(at + word.len()).is_none_or(|after| is_right_boundary(*after))
    })
}

fn is_left_boundary(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'[' | b'(' | b'{' | b'"' | b'\'' | b'=' | b'|')
}

fn is_right_boundary(byte: u8) -> bool {
    is_left_boundary(byte) || matches!(byte, b']' | b')' | b'}' | b':' | b',' | b'!')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: &str) {
        let fields: Vec<String> = DEFAULT_LEVEL_FIELDS.iter().map(|field| (*field).to_owned()).collect();
        assert_eq!(of_row(line, &[], &fields), expected, "{line}");
    }

    #[test]
    fn ecs_names_the_level_in_metadata_and_in_lines() {
        let fields: Vec<String> = DEFAULT_LEVEL_FIELDS.iter().map(|field| (*field).to_owned()).collect();
        assert_eq!(of_row("an info line", &[("log_level", "ERROR")], &fields), "error");
        assert_eq!(of_row("an info line", &[("logxlevel", "ERROR")], &fields), "info");
        check(r#"{"message":"recovered from an error","log.level":"INFO"}"#, "info");
        check(r#"{"message":"recovered from an error","log":{"level":"WARN"}}"#, "warn");
    }

    #[test]
    fn json_lines() {
        check(r#"{"level":"ERR","msg":"x"}"#, "error");
        check(r#"{"msg":"an error","level":"info"}"#, "info");
        check(r#"{"a":{"level":"warning"}}"#, "warn");
        check(r#"{"a":{"b":{"level":"warn"}}}"#, "warn");
        check(r#"{"severity":"debug","level":"info"}"#, "debug");
        check(r#"{"level":30,"msg":"fatal"}"#, "fatal");
        check(r#"{"level":"bananas","msg":"nothing"}"#, "unknown");
        check(r#"  {"x":[{"level":"info"}],"lvl":"trc"} "#, "trace");
        check(r#"{"level":"info""#, "info");
    }

    #[test]
    fn logfmt_lines() {
        check("ts=1 level=warn msg=hi", "warn");
        check("severity=error level=info", "info");
        check(r#"msg="level=error" lvl=debug"#, "debug");
        check("a=b c=d", "unknown");
        check("LeVeL=Information x=y", "info");
    }

    #[test]
    fn words() {
        check("[ERROR] boom", "error");
        check("no level in terror", "unknown");
        check("misc:error", "unknown");
        check("debug: then error", "debug");
        check("an err happened", "error");
        check("", "unknown");
        check("warning! error", "warn");
    }

    #[test]
    fn labels_metadata_and_severity_numbers_come_first() {
        let fields: Vec<String> = vec!["level".to_owned(), "severity".to_owned()];
        let labels = Labels::from_pairs([("severity", "CRITICAL"), ("x", "y")]);
        assert_eq!(from_labels(&labels, &fields).as_deref(), Some("critical"));
        assert_eq!(from_labels(&Labels::default(), &fields), None);
        assert_eq!(of_row("error", &[("severity", "custom")], &fields), "custom");
        for (number, level) in [
            ("0", "unknown"),
            ("1", "trace"),
            ("9", "info"),
            ("17", "error"),
            ("24", "fatal"),
            ("25", "unknown"),
            ("x", "info"),
        ] {
            assert_eq!(of_row("line", &[("severity_number", number)], &fields), level, "{number}");
        }
    }
}
