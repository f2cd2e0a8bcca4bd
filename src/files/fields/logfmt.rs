//! A logfmt line without its values, as [`super::template`] has it.
//!
//! ```text
//! level=info msg="a b" took=3ms
//! level=␀ msg="␀" took=␀            text; members are pairs, and what is between them is white space
//! ```
//!
//! A template only exists for lines of pairs alone that Loki's parser reads to their end without an error, with every
//! key once; a value has its text as it is, between quotes or without them.

use super::template::{Member, MemberKind, Parsed, SLOT, SLOTS_MAX, Syntax};

/// Whether a line that has `text` has it inside of a key or a value.
pub(super) fn confines(text: &str) -> bool {
    !text.bytes().any(|byte| byte <= b' ' || matches!(byte, b'=' | b'"'))
}

/// Takes a line apart; `None` when it has to stay whole.
pub(super) fn parse(line: &str) -> Option<Parsed> {
    let bytes = line.as_bytes();
    let mut parsed = Parsed { syntax: Syntax::Logfmt, ..Parsed::default() };
    let (mut at, mut copied) = (0, 0);
    while at < bytes.len() {
        let spaces = bytes[at..].iter().take_while(|byte| **byte == b' ').count();
        if spaces == 0 && at > 0 {
            return None;
        }
        at += spaces;
        if at == bytes.len() {
            break;
        }
        let key_at = at;
        at += bytes[at..].iter().take_while(|byte| in_key(**byte)).count();
        let key = &line[key_at..at];
        if key.is_empty() || bytes.get(at) != Some(&b'=') || parsed.paths.len() == SLOTS_MAX {
            return None;
        }
        at += 1;
        let (value, end) = value_at(bytes, at)?;
        parsed.text.push_str(&line[copied..key_at]);
        let text_start = parsed.text.len() as u32;
        parsed.text.push_str(&line[key_at..value.start]);
        parsed.text.push(SLOT);
        parsed.text.push_str(&line[value.end..end]);
        let slot = parsed.values.len() as u32;
        parsed.members.push(Member {
            key: key.to_owned(),
            kind: MemberKind::Scalar,
            text: text_start..parsed.text.len() as u32,
            slots: slot..slot + 1,
        });
        parsed.paths.push(key.to_owned());
        parsed.values.push(value.start as u32..value.end as u32);
        (at, copied) = (end, end);
    }
    parsed.text.push_str(&line[copied..]);
    (!parsed.values.is_empty()).then_some(parsed)
}

fn in_key(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_.-/:@".contains(&byte)
}

/// The text of the value at `at`, and where it ends with its quotes.
fn value_at(bytes: &[u8], at: usize) -> Option<(std::ops::Range<usize>, usize)> {
    if bytes.get(at) != Some(&b'"') {
        let end = plain_end(bytes, at)?;
        return Some((at..end, end));
    }
    let start = at + 1;
    let mut at = start;
    loop {
        match bytes.get(at)? {
            b'"' => return Some((start..at, at + 1)),
            b'\\' if bytes.get(at + 1).is_some_and(|escaped| b"\"\\/'bfnrt".contains(escaped)) => at += 2,
            b'\\' => return None,
            _ => at += 1,
        }
    }
}

/// Where the value at `at`, which has no quotes, ends; none where it is no value.
#[inline]
pub(super) fn plain_end(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = bytes.get(at..)?;
    let length = rest.iter().position(|byte| *byte <= b' ' || matches!(byte, b'=' | b'"')).unwrap_or(rest.len());
    matches!(rest.get(length), None | Some(0..=b' ')).then_some(at + length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::fields::template::match_pieces;

    #[test]
    fn a_line_is_its_text_and_its_values() {
        let line = r#" level=info  msg="a \"b\" ż=1" took= id=6ba7b810-9dad x.y="" "#;
        let parsed = parse(line).expect("pairs alone");
        assert_eq!(parsed.text, " level=\0  msg=\"\0\" took=\0 id=\0 x.y=\"\0\" ");
        let values: Vec<_> =
            parsed.values.iter().map(|range| &line[range.start as usize..range.end as usize]).collect();
        assert_eq!(values, ["info", r#"a \"b\" ż=1"#, "", "6ba7b810-9dad", ""]);
        assert_eq!(parsed.paths, ["level", "msg", "took", "id", "x.y"]);
        let text = &parsed.members[1].text;
        assert_eq!(&parsed.text[text.start as usize..text.end as usize], "msg=\"\0\"");
        let pieces: Vec<Box<str>> = parsed.text.split(SLOT).map(Box::from).collect();
        let mut found = Vec::new();
        // With escapes it is looked at whole.
        assert!(!match_pieces(&pieces, line, &mut found));
        let line = line.replace(r#"\"b\""#, "b");
        assert!(match_pieces(&pieces, &line, &mut found));
        assert_eq!(found, parse(&line).expect("pairs alone").values);
    }

    #[test]
    fn lines_that_stay_whole() {
        for line in [
            "",
            " ",
            "plain text",
            "flag a=1",
            "a=1 flag",
            "a=1\tb=2",
            "a=b=c",
            "a=b\"c",
            r#"a="b"c=1"#,
            r#"a="b"#,
            r#"a="\x""#,
            r#"a="\u0041""#,
            "=1",
            "ż=1",
            "[1]",
        ] {
            assert!(parse(line).is_none(), "{line}");
        }
    }

    #[test]
    fn another_kind_of_line_does_not_match() {
        let pieces: Vec<Box<str>> = ["a=", " b=\"", "\""].map(Box::from).to_vec();
        let mut found = Vec::new();
        assert!(match_pieces(&pieces, r#"a=x b="1 2""#, &mut found));
        for line in [r#"a=x b="1" "#, r#"a=x b=1"#, r#"a="x" b="1""#, r#"a=x=y b="1""#, r#"a=x  b="1""#, "a=x"] {
            assert!(!match_pieces(&pieces, line, &mut found), "{line}");
        }
    }
}
