//! `${VAR}` and `${VAR:-default}` in a configuration file, as with Loki's `-config.expand-env=true`.
//!
//! An unset variable is empty; `$${` stands for `${`.

/// Replaces references; `lookup` gives a variable's value.
///
/// # Errors
/// The line of a reference without its `}`.
pub fn expand(text: &str, lookup: impl Fn(&str) -> Option<String>) -> Result<String, UnclosedReference> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let before = &rest[..at];
        if let Some(literal) = before.strip_suffix('$') {
            out.push_str(literal);
            out.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        out.push_str(before);
        let Some(length) = rest[at..].find('}') else {
            let line = text[..text.len() - rest.len() + at].matches('\n').count() + 1;
            return Err(UnclosedReference { line });
        };
        let reference = &rest[at + 2..at + length];
        let (name, default) = reference.split_once(":-").unwrap_or((reference, ""));
        match lookup(name) {
            Some(value) if !value.is_empty() => out.push_str(&value),
            _ => out.push_str(default),
        }
        rest = &rest[at + length + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: a reference ${{… without its closing brace")]
pub struct UnclosedReference {
    /// Counted from 1.
    pub line: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references() {
        let lookup =
            |name: &str| [("A", "1"), ("EMPTY", "")].into_iter().find(|(n, _)| *n == name).map(|(_, v)| v.to_owned());
        let check = |text: &str, expected: Result<&str, usize>| {
            assert_eq!(expand(text, lookup).map_err(|e| e.line), expected.map(str::to_owned), "{text}");
        };
        check("a: ${A}${A}", Ok("a: 11"));
        check("a: ${B}", Ok("a: "));
        check("a: ${B:-x:-y} ${A:-2}", Ok("a: x:-y 1"));
        check("a: ${EMPTY:-x}", Ok("a: x"));
        check("a: $${A} $A $", Ok("a: ${A} $A $"));
        check("a: 1\nb: ${A", Err(2));
    }
}
