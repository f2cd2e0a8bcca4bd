//! `luhn`: masks numbers that can be those of payment cards, by their check digit. Alloy's stage, which Promtail lacks.
//!
//! ```yaml
//! - luhn:
//!     replacement: '**REDACTED**'
//!     min_length: 13            # digits
//!     delimiters: '- '          # characters that may stand between digits
//!     source: payload           # an extracted value; without it, the line
//! ```
//! `card 4032032513548443 ok` becomes `card **REDACTED** ok`.

use serde_json::Value as Yaml;

use super::{Input, done, each, source};
use crate::pipeline::body::{Body, Typing};
use crate::pipeline::entry::{Entry, Value};
use crate::pipeline::error::StageError;
use crate::pipeline::{Stage, Tools};

const LENGTH_DEFAULT: usize = 13;

pub(super) fn build(config: &Yaml, tools: &mut Tools<'_>) -> Result<Box<dyn Stage>, StageError> {
    let mut body = Body::new(config, Typing::Weak);
    let replacement = body.text("replacement").unwrap_or_else(|| "**REDACTED**".to_owned());
    let length = body.number("min_length").map_or(0, |length| length as usize);
    let delimiters = body.text("delimiters").unwrap_or_default();
    let from = source(&mut body, "empty source");
    done("luhn", body, tools)?;
    let (from, length) = (from?, if length == 0 { LENGTH_DEFAULT } else { length });
    Ok(each("luhn", move |entry, _| {
        let Entry { line, extracted, .. } = entry;
        let Some(input) = Input::of(line, extracted, from.as_ref()) else { return };
        let Some(masked) = masked(input.as_str(), &replacement, length, &delimiters) else { return };
        match &from {
            Some(source) => extracted.set(source, Value::text(masked)),
            None => *line = masked,
        }
    }))
}

/// The text without such numbers, if it has any.
fn masked(text: &str, replacement: &str, length: usize, delimiters: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let (mut out, mut copied, mut at) = (String::new(), 0, 0);
    while at < bytes.len() {
        if !bytes[at].is_ascii_digit() {
            at += 1;
            continue;
        }
        let start = at;
        let (mut digits, mut end) = (Vec::new(), at);
        for (offset, c) in text[start..].char_indices() {
            if let Some(digit) = c.to_digit(10) {
                digits.push(digit);
                end = start + offset + 1;
            } else if !delimiters.contains(c) {
                break;
            }
        }
        at = end;
        if digits.len() >= length && is_luhn(&digits) {
            out.push_str(&text[copied..start]);
            out.push_str(replacement);
            copied = end;
        }
    }
    (copied > 0).then(|| out + &text[copied..])
}

fn is_luhn(digits: &[u32]) -> bool {
    let weighted = digits.iter().rev().enumerate().map(|(at, digit)| match (at % 2, digit * 2) {
        (0, _) => *digit,
        (_, doubled) if doubled > 9 => doubled - 9,
        (_, doubled) => doubled,
    });
    weighted.sum::<u32>() % 10 == 0
}

#[cfg(test)]
mod tests {
    use crate::pipeline::testing::check;

    #[test]
    fn numbers() {
        let of = |config: &str, line: &str, expected: &str| {
            check(&format!("- luhn: {config}"), line, &format!("0 {{}} {expected}"))
        };
        of("{}", "My credit card number is 3530111333300000.", "My credit card number is **REDACTED**.");
        of("{}", "3530111333300001 12345674 é4032032513548443é", "3530111333300001 12345674 é**REDACTED**é");
        of("{replacement: X, min_length: 8}", "a 12345674 b", "a X b");
        of("{delimiters: '- '}", "no. 4032 0325-1354 8443, 1", "no. **REDACTED**, 1");
        of("{delimiters: '-'}", "4032-0325-1354-8443- x", "**REDACTED**- x");
    }
}
