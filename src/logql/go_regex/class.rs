//! Classes of characters: `[a-z]`, `[[:alpha:]]`, `\d`, `\p{Greek}`.

use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, Hir, HirKind};

use super::escape::parse_escape;
use super::parse::Refusal;

const INVALID_RANGE: &str = "invalid character class range";

/// General categories, which Go takes by their short names; scripts it takes by their full ones.
const CATEGORIES: &[&str] = &[
    "C", "Cc", "Cf", "Cn", "Co", "Cs", "L", "LC", "Ll", "Lm", "Lo", "Lt", "Lu", "M", "Mc", "Me", "Mn", "N", "Nd", "Nl",
    "No", "P", "Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "S", "Sc", "Sk", "Sm", "So", "Z", "Zl", "Zp", "Zs",
];

/// A class in the crate's syntax.
pub(super) fn write_class(class: ClassUnicode) -> String {
    Hir::class(Class::Unicode(class)).to_string()
}

/// The bracketed class that `text` begins with, and what follows.
pub(super) fn parse_class(text: &str, fold: bool) -> Result<(ClassUnicode, &str), Refusal> {
    let (is_negated, mut rest) = match text[1..].strip_prefix('^') {
        Some(rest) => (true, rest),
        None => (false, &text[1..]),
    };
    let mut class = ClassUnicode::empty();
    let mut is_first = true;
    // A `]` right at the start is a member.
    while is_first || !rest.starts_with(']') {
        is_first = false;
        if let Some((named, after)) = parse_posix_class(rest, fold)? {
            class.union(&named);
            rest = after;
        } else if let Some((named, after)) = parse_unicode_class(rest, fold)? {
            class.union(&named);
            rest = after;
        } else if let Some((named, after)) = parse_perl_class(rest, fold) {
            class.union(&named);
            rest = after;
        } else {
            let (range, after) = parse_range(rest, text)?;
            if let Some(range) = range {
                class.union(&folded(ClassUnicode::new([range]), fold));
            }
            rest = after;
        }
    }
    if is_negated {
        class.negate();
    }
    Ok((class, &rest[1..]))
}

/// `a` or `a-z`; `None` when there are only surrogates in it, which no text holds.
fn parse_range<'p>(text: &'p str, class: &str) -> Result<(Option<ClassUnicodeRange>, &'p str), Refusal> {
    let (low, rest) = parse_member(text, class)?;
    let (high, rest) = match rest.strip_prefix('-') {
        // `[a-]` is `a` and `-`.
        Some(after) if !after.is_empty() && !after.starts_with(']') => parse_member(after, class)?,
        _ => (low, rest),
    };
    if high < low {
        return Err(Refusal::new(INVALID_RANGE, &text[..text.len() - rest.len()]));
    }
    let low = (low..=high).find_map(char::from_u32);
    let high = low.and_then(|low| (u32::from(low)..=high).rev().find_map(char::from_u32));
    Ok((low.zip(high).map(|(low, high)| ClassUnicodeRange::new(low, high)), rest))
}

fn parse_member<'p>(text: &'p str, class: &str) -> Result<(u32, &'p str), Refusal> {
    match text.chars().next() {
        None => Err(Refusal::new("missing closing ]", class)),
        Some('\\') => parse_escape(text),
        Some(c) => Ok((u32::from(c), &text[c.len_utf8()..])),
    }
}

/// `\d`, `\D`, `\s`, `\S`, `\w` or `\W`, all of ASCII.
pub(super) fn parse_perl_class(text: &str, fold: bool) -> Option<(ClassUnicode, &str)> {
    let letter = *text.strip_prefix('\\')?.as_bytes().first()?;
    let members: &[(char, char)] = match letter.to_ascii_lowercase() {
        b'd' => &[('0', '9')],
        b's' => &[('\t', '\n'), ('\u{c}', '\r'), (' ', ' ')],
        b'w' => &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')],
        _ => return None,
    };
    Some((group(members, letter.is_ascii_uppercase(), fold), &text[2..]))
}

/// `[:alpha:]` or `[:^alpha:]`, inside a class.
fn parse_posix_class(text: &str, fold: bool) -> Result<Option<(ClassUnicode, &str)>, Refusal> {
    let Some(end) = text.strip_prefix("[:").and_then(|inside| inside.find(":]")) else { return Ok(None) };
    let (whole, after) = text.split_at(end + 4);
    let name = &whole[2..whole.len() - 2];
    let (is_negated, name) = match name.strip_prefix('^') {
        Some(name) => (true, name),
        None => (false, name),
    };
    let members: &[(char, char)] = match name {
        "alnum" => &[('0', '9'), ('A', 'Z'), ('a', 'z')],
        "alpha" => &[('A', 'Z'), ('a', 'z')],
        "ascii" => &[('\0', '\x7f')],
        "blank" => &[('\t', '\t'), (' ', ' ')],
        "cntrl" => &[('\0', '\x1f'), ('\x7f', '\x7f')],
        "digit" => &[('0', '9')],
        "graph" => &[('!', '~')],
        "lower" => &[('a', 'z')],
        "print" => &[(' ', '~')],
        "punct" => &[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')],
        "space" => &[('\t', '\r'), (' ', ' ')],
        "upper" => &[('A', 'Z')],
        "word" => &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')],
        "xdigit" => &[('0', '9'), ('A', 'F'), ('a', 'f')],
        _ => return Err(Refusal::new(INVALID_RANGE, whole)),
    };
    Ok(Some((group(members, is_negated, fold), after)))
}

/// `\pL`, `\p{Greek}`, `\P{Lu}` or `\p{^Lu}`.
pub(super) fn parse_unicode_class(text: &str, fold: bool) -> Result<Option<(ClassUnicode, &str)>, Refusal> {
    let Some(rest) = text.strip_prefix(r"\p").or_else(|| text.strip_prefix(r"\P")) else { return Ok(None) };
    let invalid = |about: &str| Refusal::new(INVALID_RANGE, about);
    let (name, after) = match rest.strip_prefix('{') {
        Some(inside) => inside.split_once('}').ok_or_else(|| invalid(text))?,
        None => rest.split_at(rest.chars().next().map_or(0, char::len_utf8)),
    };
    let whole = &text[..text.len() - after.len()];
    let (name, is_turned) = match name.strip_prefix('^') {
        Some(name) => (name, true),
        None => (name, false),
    };
    let class = unicode_class(name).ok_or_else(|| invalid(whole))?;
    let mut class = folded(class, fold);
    if text.starts_with(r"\P") != is_turned {
        class.negate();
    }
    Ok(Some((class, after)))
}

fn unicode_class(name: &str) -> Option<ClassUnicode> {
    // Surrogates: no text holds any.
    if name == "Cs" {
        return Some(ClassUnicode::empty());
    }
    let property = if name == "Any" {
        r"\p{Any}".to_owned()
    } else if CATEGORIES.contains(&name) {
        format!(r"\p{{gc={name}}}")
    } else {
        let is_full_name = name.len() > 2
            && name.starts_with(|c: char| c.is_ascii_uppercase())
            && name.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_');
        is_full_name.then(|| format!(r"\p{{sc={name}}}"))?
    };
    match regex_syntax::parse(&property).ok()?.into_kind() {
        HirKind::Class(Class::Unicode(class)) => Some(class),
        _ => None,
    }
}

fn group(members: &[(char, char)], is_negated: bool, fold: bool) -> ClassUnicode {
    let ranges = members.iter().map(|(low, high)| ClassUnicodeRange::new(*low, *high));
    let mut class = folded(ClassUnicode::new(ranges), fold);
    if is_negated {
        class.negate();
    }
    class
}

fn folded(mut class: ClassUnicode, fold: bool) -> ClassUnicode {
    if fold {
        class.case_fold_simple();
    }
    class
}
