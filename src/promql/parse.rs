//! Text to syntax tree, by `promql-parser`, within limits that keep its recursion and ours shallow.

use promql_parser::parser::{self, Expr, Prettier};

use super::error::PromqlError;
use super::matchers::Matcher;

/// Bytes of a query: a screen full of PromQL is a few KiB.
const QUERY_BYTES_MAX: usize = 128 << 10;
/// Operators, brackets and commas of a query outside strings: each may nest the tree by one level.
const QUERY_OPERATORS_MAX: usize = 2_000;
/// Characters of a line that `format` fills.
const LINE_CHARS_MAX: usize = 100;

/// # Errors
/// `BadQuery` with Prometheus' prefix `parse error`.
pub(super) fn parse(text: &str) -> Result<Expr, PromqlError> {
    refuse_large(text)?;
    parser::parse(text).map_err(|reason| PromqlError::BadQuery(format!("parse error: {reason}")))
}

/// A selector alone, such as `up{job="x"}`: what `match[]` holds.
///
/// # Errors
/// `BadQuery` for any other expression.
pub fn parse_matchers(text: &str) -> Result<Vec<Matcher>, PromqlError> {
    match parse(text)? {
        Expr::VectorSelector(selector) => selector_matchers(&selector),
        _ => Err(PromqlError::BadQuery(format!("parse error: {text:?} is no series selector"))),
    }
}

/// The query, laid out.
///
/// # Errors
/// `BadQuery` when it does not parse.
pub fn format(text: &str) -> Result<String, PromqlError> {
    Ok(parse(text)?.pretty(0, LINE_CHARS_MAX))
}

/// Matchers of a selector, its name among them.
pub(super) fn selector_matchers(selector: &parser::VectorSelector) -> Result<Vec<Matcher>, PromqlError> {
    if !selector.matchers.or_matchers.is_empty() {
        return Err(PromqlError::BadQuery("parse error: unexpected \"or\" in label matching".to_owned()));
    }
    let name = selector.name.iter().map(|name| Ok(Matcher::equal(crate::types::sample::METRIC_NAME, name)));
    name.chain(selector.matchers.matchers.iter().map(Matcher::of)).collect()
}

fn refuse_large(text: &str) -> Result<(), PromqlError> {
    let too_large = |what: &str| Err(PromqlError::BadQuery(format!("parse error: the query has more than {what}")));
    if text.len() > QUERY_BYTES_MAX {
        return too_large(&format!("{QUERY_BYTES_MAX} bytes"));
    }
    if operators(text) > QUERY_OPERATORS_MAX {
        return too_large(&format!("{QUERY_OPERATORS_MAX} operators, brackets and commas"));
    }
    Ok(())
}

/// Counts what may nest, outside strings.
fn operators(text: &str) -> usize {
    let mut count = 0;
    let mut quote: Option<u8> = None;
    let mut escaped = false;
    for byte in text.bytes() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(open) if byte == b'\\' && open != b'`' => escaped = true,
            Some(open) if byte == open => quote = None,
            Some(_) => {}
            None if matches!(byte, b'"' | b'\'' | b'`') => quote = Some(byte),
            None if b"([{,+-*/%^<>=!@:".contains(&byte) => count += 1,
            None => {}
        }
    }
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let is_operator = |word: &&str| {
        ["and", "or", "unless", "atan2", "offset", "bool", "on", "ignoring"]
            .iter()
            .any(|op| word.eq_ignore_ascii_case(op))
    };
    count + words.filter(is_operator).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn deep_and_long_queries_are_refused() {
        for text in ["(".repeat(3_000), "-".repeat(3_000) + "1", "a or ".repeat(3_000) + "a", "x".repeat(200_000)] {
            assert!(parse(&text).is_err(), "{}", &text[..20]);
        }
        assert!(parse(&("a + ".repeat(900) + "a")).is_ok());
    }

    #[test]
    fn strings_hold_no_operators() {
        assert_eq!(operators(r#"a{b="((((\"((", c=~'((', d=`\`}"#), 6);
    }

    proptest! {
        #[test]
        fn noise_never_panics(text in "[-+*/%^(){}\\[\\]a-z0-9.\"'`=~!<>@: ,\\\\]{0,40}") {
            let _ = parse(&text);
        }

        #[test]
        fn words_in_any_order_never_panic(words in proptest::collection::vec(prop::sample::select(WORDS), 0..12)) {
            let _ = parse(&words.concat());
        }
    }

    const WORDS: &[&str] = &[
        "a",
        "sum",
        "by",
        "(",
        ")",
        "[5m]",
        "[5m:1m]",
        "[",
        "]",
        ":",
        "offset ",
        "1h",
        " @ ",
        "start()",
        "end()",
        "{",
        "}",
        "b",
        "=~",
        "\"x\"",
        "\"",
        "'\\x'",
        "rate",
        "+",
        "-",
        " or ",
        " and ",
        "on",
        "group_left",
        "bool ",
        "1e999",
        "0x",
        "NaN",
        "99999999999y",
        ",",
        " ",
        "quantile",
        "label_replace",
        "topk",
    ];
}
