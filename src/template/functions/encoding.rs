//! Base 64 and base 32.
//!
//! What cannot be decoded becomes the text of the error, as in Sprig.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Function;
use super::Parameter::Text;

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

pub(super) static SPRIG: &[Function] = &[
    Function::text("b64enc", &[Text], |call, out| {
        out.extend_from_slice(STANDARD.encode(call.bytes(0)).as_bytes());
        Ok(())
    }),
    Function::text("b64dec", &[Text], |call, out| {
        push_base64_decoded(out, call.bytes(0), false);
        Ok(())
    }),
    Function::text("b32enc", &[Text], |call, out| {
        push_base32(out, call.bytes(0));
        Ok(())
    }),
    Function::text("b32dec", &[Text], |call, out| {
        let start = out.len();
        if let Err(at) = push_base32_decoded(out, call.bytes(0)) {
            out.truncate(start);
            out.extend_from_slice(format!("illegal base32 data at input byte {at}").as_bytes());
        }
        Ok(())
    }),
];

/// `pads` completes a text whose padding is missing.
pub(super) fn push_base64_decoded(out: &mut Vec<u8>, text: &[u8], pads: bool) {
    let mut text = text.to_owned();
    if pads && text.len() % 4 > 1 {
        text.resize(text.len().next_multiple_of(4), b'=');
    }
    let start = out.len();
    if let Err(at) = decode_base64(out, &text) {
        out.truncate(start);
        out.extend_from_slice(format!("illegal base64 data at input byte {at}").as_bytes());
    }
}

fn base64_digit(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

/// Line ends are passed over; the error is the byte that Go names.
fn decode_base64(out: &mut Vec<u8>, text: &[u8]) -> Result<(), usize> {
    let is_line_end = |byte: u8| matches!(byte, b'\n' | b'\r');
    let skip = |at: usize| at + text[at..].iter().take_while(|byte| is_line_end(**byte)).count();
    let mut at = 0;
    loop {
        let (mut digits, mut count) = ([0_u8; 4], 0);
        while count < 4 {
            let Some(byte) = text.get(at).copied() else {
                return if count == 0 { Ok(()) } else { Err(at - count) };
            };
            at += 1;
            if let Some(digit) = base64_digit(byte) {
                digits[count] = digit;
                count += 1;
                continue;
            }
            if is_line_end(byte) {
                continue;
            }
            if byte != b'=' || count < 2 {
                return Err(at - 1);
            }
            if count == 2 {
                at = skip(at);
                match text.get(at) {
                    None => return Err(text.len()),
                    Some(b'=') => at += 1,
                    Some(_) => return Err(at - 1),
                }
            }
            at = skip(at);
            if at < text.len() {
                return Err(at);
            }
            break;
        }
        let number = digits.iter().fold(0_u32, |number, digit| number << 6 | u32::from(*digit));
        let [_, bytes @ ..] = number.to_be_bytes();
        out.extend_from_slice(&bytes[..count.saturating_sub(1)]);
        if count < 4 {
            return Ok(());
        }
    }
}

fn push_base32(out: &mut Vec<u8>, bytes: &[u8]) {
    for chunk in bytes.chunks(5) {
        let mut padded = [0_u8; 8];
        padded[3..3 + chunk.len()].copy_from_slice(chunk);
        let number = u64::from_be_bytes(padded);
        let digits = (chunk.len() * 8).div_ceil(5);
        for at in 0..8 {
            let digit = usize::try_from(number >> (35 - 5 * at) & 31).unwrap_or(0);
            out.push(if at < digits { BASE32[digit] } else { b'=' });
        }
    }
}

/// The error is the byte that Go names.
fn push_base32_decoded(out: &mut Vec<u8>, text: &[u8]) -> Result<(), usize> {
    // Line ends are taken out first, and places count without them.
    let text: Vec<u8> = text.iter().copied().filter(|byte| !matches!(byte, b'\n' | b'\r')).collect();
    let mut at = 0;
    while at < text.len() {
        let (mut number, mut count) = (0_u64, 0);
        let mut is_last = false;
        while count < 8 {
            let Some(byte) = text.get(at).copied() else { return Err(at - count) };
            at += 1;
            let left = text.len() - at;
            if byte == b'=' && count >= 2 && left < 8 {
                if left + count < 7 {
                    return Err(text.len());
                }
                let padding = text[at..].iter().take(7 - count);
                if let Some(bad) = padding.into_iter().position(|byte| *byte != b'=') {
                    return Err(at + bad - 1);
                }
                if matches!(count, 1 | 3 | 6) {
                    return Err(at - 1);
                }
                is_last = true;
                break;
            }
            let Some(digit) = BASE32.iter().position(|known| *known == byte) else { return Err(at - 1) };
            number = number << 5 | u64::try_from(digit).unwrap_or(0);
            count += 1;
        }
        number <<= 5 * (8 - count);
        out.extend_from_slice(&number.to_be_bytes()[3..3 + count * 5 / 8]);
        if is_last {
            break;
        }
    }
    Ok(())
}
