//! Names in other spellings: `snakecase`, `kebabcase`, `camelcase`.

use super::Function;
use super::Parameter::Text;
use crate::template::unicode::{
    chars, decode, is_letter, is_number, is_punctuation, is_upper, push_char, to_lower, to_upper,
};

pub(super) static SPRIG: &[Function] = &[
    Function::text("snakecase", &[Text], |call, out| {
        push_connected(out, call.bytes(0), '_');
        Ok(())
    }),
    Function::text("kebabcase", &[Text], |call, out| {
        push_connected(out, call.bytes(0), '-');
        Ok(())
    }),
    Function::text("camelcase", &[Text], |call, out| {
        push_pascal(out, call.bytes(0));
        Ok(())
    }),
];

fn is_connector(c: char) -> bool {
    c == '-' || c == '_' || c.is_whitespace()
}

/// Letters that belong to words of either case.
fn is_alphabet(c: char) -> bool {
    is_letter(c) && !is_ideographic(c)
}

/// Chinese characters, which have no case.
fn is_ideographic(c: char) -> bool {
    matches!(c, '\u{4e00}'..='\u{9fcc}' | '\u{3400}'..='\u{4d85}' | '\u{20000}'..='\u{2b81d}')
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    None,
    Number,
    Upper,
    Alphabet,
    Connector,
    Punctuation,
    Other,
}

/// The first word of a text: capitals that stand before a capitalised word end before its capital.
fn next_word(text: &[u8]) -> (Kind, &[u8], &[u8]) {
    let Some((first, width)) = decode(text) else { return (Kind::None, b"", b"") };
    let run = |from: usize, belongs: &dyn Fn(char) -> bool| {
        let rest = &text[from..];
        from + chars(rest).find(|(_, c, _)| !belongs(*c)).map_or(rest.len(), |(at, _, _)| at)
    };
    let is_small = |c: char| is_alphabet(c) && !is_upper(c);
    let (kind, end) = match first {
        c if is_connector(c) => (Kind::Connector, run(width, &is_connector)),
        c if is_punctuation(c) => (Kind::Punctuation, run(width, &is_punctuation)),
        c if is_upper(c) => {
            let capitals = run(width, &is_upper);
            let follows = decode(&text[capitals..]).map(|(c, _)| c);
            let end = match follows {
                Some(c) if capitals > width && is_alphabet(c) => {
                    capitals - crate::template::unicode::decode_last(&text[..capitals]).map_or(0, |(_, width)| width)
                }
                Some(c) if capitals == width && is_alphabet(c) => run(width, &is_small),
                _ => capitals,
            };
            (Kind::Upper, end)
        }
        c if is_alphabet(c) => (Kind::Alphabet, run(width, &is_small)),
        c if is_number(c) => (Kind::Number, run(width, &is_number)),
        _ => {
            let belongs = |c: char| !is_connector(c) && !is_alphabet(c) && !is_number(c) && !is_punctuation(c);
            (Kind::Other, run(width, &belongs))
        }
    };
    let (word, rest) = text.split_at(end);
    (kind, word, rest)
}

fn push_word(out: &mut Vec<u8>, kind: Kind, word: &[u8], connector: char) {
    if !matches!(kind, Kind::Upper | Kind::Connector) {
        return out.extend_from_slice(word);
    }
    for (_, c, _) in chars(word) {
        push_char(
            out,
            if is_connector(c) {
                connector
            } else if is_upper(c) {
                to_lower(c)
            } else {
                c
            },
        );
    }
}

/// Words in lower case with a connector between them; numbers go with the word they belong to.
fn push_connected(out: &mut Vec<u8>, text: &[u8], connector: char) {
    let starts_word = |kind: Kind| !matches!(kind, Kind::None | Kind::Punctuation | Kind::Connector);
    let (mut kind, mut word, mut rest) = next_word(text);
    while !rest.is_empty() {
        if kind != Kind::Connector {
            push_word(out, kind, word, connector);
        }
        let (before, before_word) = (kind, word);
        (kind, word, rest) = next_word(rest);
        match before {
            Kind::Number => {
                while matches!(kind, Kind::Alphabet | Kind::Number) {
                    push_word(out, kind, word, connector);
                    (kind, word, rest) = next_word(rest);
                }
                if starts_word(kind) {
                    push_char(out, connector);
                }
            }
            Kind::Connector => push_word(out, before, before_word, connector),
            Kind::Punctuation => {}
            _ if kind != Kind::Number => {
                if !matches!(kind, Kind::Connector | Kind::Punctuation) {
                    push_char(out, connector);
                }
            }
            _ if rest.is_empty() => {}
            _ => {
                let number = word;
                (kind, word, rest) = next_word(rest);
                if kind != Kind::Alphabet {
                    // "Bld4Floor" is "bld4_floor".
                    push_word(out, Kind::Number, number, connector);
                    if !matches!(kind, Kind::Connector | Kind::Punctuation) {
                        push_char(out, connector);
                    }
                    continue;
                }
                // "HTTP2xx" is "http_2xx".
                push_char(out, connector);
                push_word(out, Kind::Number, number, connector);
                while matches!(kind, Kind::Alphabet | Kind::Number) {
                    push_word(out, kind, word, connector);
                    (kind, word, rest) = next_word(rest);
                }
                if starts_word(kind) {
                    push_char(out, connector);
                }
            }
        }
    }
    push_word(out, kind, word, connector);
}

/// Words without connectors, each with a capital; connectors before the first stay.
fn push_pascal(out: &mut Vec<u8>, text: &[u8]) {
    let mut rest = chars(text).map(|(_, c, _)| c).peekable();
    let mut last_connector = None;
    while let Some(c) = rest.next_if(|c| is_connector(*c)) {
        push_char(out, c);
        last_connector = Some(c);
    }
    let Some(first) = rest.next() else {
        // Of connectors only, Go writes the last one twice.
        return last_connector.into_iter().for_each(|c| push_char(out, c));
    };
    let mut first_is_upper = is_upper(first);
    let mut current = to_upper(first);
    for next in rest {
        let before = std::mem::replace(&mut current, next);
        if is_connector(next) && is_connector(before) {
            push_char(out, before);
            continue;
        }
        if is_connector(before) {
            first_is_upper = is_upper(next);
            current = to_upper(next);
            continue;
        }
        if first_is_upper {
            match is_upper(next) {
                true => current = to_lower(next),
                false => first_is_upper = false,
            }
        }
        push_char(out, before);
    }
    push_char(out, current);
}
