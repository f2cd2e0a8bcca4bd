//! Escapes of one character: `\n`, `\x41`, `\x{10FFFF}`, `\101`, `\.`.

use super::parse::Refusal;

/// Reads the escape that `text` begins with: its code point (surrogates included) and what follows.
pub(super) fn parse_escape(text: &str) -> Result<(u32, &str), Refusal> {
    let mut rest = text[1..].chars();
    let Some(c) = rest.next() else {
        return Err(Refusal::new("trailing backslash at end of expression", ""));
    };
    let after = rest.as_str();
    let code = match c {
        '0'..='7' if c == '0' || after.starts_with(|c| matches!(c, '0'..='7')) => {
            let digits = 1 + after.bytes().take(2).take_while(|b| matches!(b, b'0'..=b'7')).count();
            let code = text[1..1 + digits].bytes().fold(0, |code, digit| code * 8 + u32::from(digit - b'0'));
            return Ok((code, &text[1 + digits..]));
        }
        'x' => return parse_hex(text),
        'a' => 7,
        'f' => 12,
        'n' => 10,
        'r' => 13,
        't' => 9,
        'v' => 11,
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => u32::from(c),
        _ => return Err(refused(text, after)),
    };
    Ok((code, after))
}

/// `\x41` or `\x{10FFFF}`; an error names what was read up to the fault.
fn parse_hex(text: &str) -> Result<(u32, &str), Refusal> {
    let mut rest = text[2..].chars();
    match rest.next() {
        None => Err(refused(text, "")),
        Some('{') => {
            let (mut code, mut digits) = (0, 0);
            for c in rest.by_ref() {
                match c.to_digit(16) {
                    Some(value) => code = code * 16 + value,
                    None if c == '}' && digits > 0 => return Ok((code, rest.as_str())),
                    None => break,
                }
                if code > u32::from(char::MAX) {
                    break;
                }
                digits += 1;
            }
            Err(refused(text, rest.as_str()))
        }
        Some(high) => {
            let low = rest.next();
            match (high.to_digit(16), low.and_then(|low| low.to_digit(16))) {
                (Some(high), Some(low)) => Ok((high * 16 + low, rest.as_str())),
                _ => Err(refused(text, rest.as_str())),
            }
        }
    }
}

fn refused(text: &str, after: &str) -> Refusal {
    Refusal::new("invalid escape sequence", &text[..text.len() - after.len()])
}
