//! Names of labels as Prometheus had them before UTF-8: `[a-zA-Z_][a-zA-Z0-9_]*`.

/// Whether a text is such a name.
pub fn is_label_name(name: &str) -> bool {
    let starts_well = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    starts_well && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Every other character becomes `_`; nothing becomes `_` too.
pub fn sanitized_label_name(text: &str) -> String {
    if text.is_empty() {
        return "_".to_owned();
    }
    let fits = |at: usize, c: char| c.is_ascii_alphabetic() || c == '_' || (at > 0 && c.is_ascii_digit());
    text.char_indices().map(|(at, c)| if fits(at, c) { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (text, valid, sanitized) in
            [("a_1", true, "a_1"), ("1a", false, "_a"), ("", false, "_"), ("a-b é", false, "a_b__"), ("_", true, "_")]
        {
            assert_eq!((is_label_name(text), sanitized_label_name(text).as_str()), (valid, sanitized), "{text}");
        }
    }
}
