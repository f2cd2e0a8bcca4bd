//! Regular expressions as Go (RE2) reads them, on the `regex` crate.
//!
//! Differences are translated (`\Q…\E`, `\z`) or refused in Go's words (look-arounds, set operations in
//! classes, `(?x)`); what both have, both read alike.

use regex::{Regex, RegexBuilder};
use regex_syntax::ast::{Ast, ErrorKind, parse::Parser};

/// A compiled expression.
pub type GoRegex = Regex;

/// Compiled size beyond which an expression is refused.
const PROGRAM_BYTES_MAX: usize = 10 << 20;
/// Largest repeat count that Go takes.
const REPEAT_MAX: u32 = 1000;

/// Compiles `pattern`; the error is Go's text, `error parsing regexp: …`.
pub fn compile_go_regex(pattern: &str) -> Result<GoRegex, String> {
    let translated = translate(pattern)?;
    let error = |words: String| format!("error parsing regexp: {words}");
    // Places in errors are those of the pattern as it was written.
    let written = Parser::new().parse(pattern).err();
    let ast = Parser::new().parse(&translated).map_err(|e| {
        let e = written.unwrap_or(e);
        error(go_words(pattern, e.kind(), e.span().start.offset, e.span().end.offset))
    })?;
    check(&ast, pattern).map_err(error)?;
    RegexBuilder::new(&translated).size_limit(PROGRAM_BYTES_MAX).build().map_err(|e| match e {
        regex::Error::CompiledTooBig(_) => error("expression too large".to_owned()),
        other => error(other.to_string().lines().last().unwrap_or("invalid").trim().to_owned()),
    })
}

/// Go's syntax to the crate's.
fn translate(pattern: &str) -> Result<String, String> {
    let mut out = String::with_capacity(pattern.len());
    let mut rest = pattern;
    let mut in_class = 0_usize;
    while let Some(c) = rest.chars().next() {
        if let Some(quoted) = rest.strip_prefix("\\Q") {
            let end = quoted.find("\\E").unwrap_or(quoted.len());
            out.push_str(&regex_syntax::escape(&quoted[..end]));
            rest = quoted[end..].strip_prefix("\\E").unwrap_or("");
            continue;
        }
        if c == '\\' {
            let mut after = rest[1..].chars();
            let Some(next) = after.next() else {
                return Err("error parsing regexp: trailing backslash at end of expression: ``".to_owned());
            };
            // Go knows no word-start, word-end or half-boundary escapes.
            if matches!(next, '<' | '>') || (next == 'b' && after.as_str().starts_with('{')) {
                return Err(format!("error parsing regexp: invalid escape sequence: `\\{next}`"));
            }
            let length = 1 + next.len_utf8();
            match next {
                'C' => out.push_str("(?s:.)"),
                // Go's classes and word boundaries are of ASCII.
                'w' | 'W' | 'd' | 'D' | 's' | 'S' => {
                    let members = match next.to_ascii_lowercase() {
                        'w' => "0-9A-Za-z_",
                        'd' => "0-9",
                        _ => r"\t\n\f\r ",
                    };
                    let negated = if next.is_ascii_uppercase() { "^" } else { "" };
                    match (in_class > 0, negated) {
                        (true, "") => out.push_str(members),
                        _ => out.push_str(&format!("[{negated}{members}]")),
                    }
                }
                'b' | 'B' if in_class == 0 => out.push_str(&format!(r"(?-u:\{next})")),
                // The crate refuses escapes of letters it has no use for, Go those of all: leave them to it.
                _ => out.push_str(&rest[..length]),
            }
            rest = &rest[length..];
            continue;
        }
        if in_class == 0
            && let Some(flags) = rest.strip_prefix("(?")
        {
            // Flags of the crate that Go does not have.
            let letters = flags.split([')', ':', '<', 'P']).next().unwrap_or("");
            if let Some(at) = letters.find(['x', 'u', 'R']) {
                return Err(format!(
                    "error parsing regexp: invalid or unsupported Perl syntax: `(?{}`",
                    &letters[..=at]
                ));
            }
        }
        match c {
            '[' if in_class == 0 => {
                in_class = 1;
                // A `]` right at the start is a member.
                let head = if rest[1..].starts_with('^') { 2 } else { 1 };
                out.push_str(&rest[..head]);
                rest = &rest[head..];
                if rest.starts_with(']') {
                    out.push_str("\\]");
                    rest = &rest[1..];
                }
                continue;
            }
            // Go has no nested classes: a bracket inside is a member, unless it names a POSIX class.
            '[' if !rest.starts_with("[:") => out.push_str("\\["),
            '[' => {
                let end = rest.find(":]").map_or(rest.len(), |end| end + 2);
                out.push_str(&rest[..end]);
                rest = &rest[end..];
                continue;
            }
            ']' if in_class > 0 => {
                in_class = 0;
                out.push(c);
            }
            // Set operations of the crate are members in Go.
            '&' | '~' if in_class > 0 => {
                out.push('\\');
                out.push(c);
            }
            '-' if in_class > 0 && rest.starts_with("--") => {
                out.push_str("\\-");
            }
            c => out.push(c),
        }
        rest = &rest[c.len_utf8()..];
    }
    Ok(out)
}

/// What the crate takes and Go does not.
fn check(ast: &Ast, pattern: &str) -> Result<(), String> {
    struct Checker<'a>(&'a str);
    impl regex_syntax::ast::Visitor for Checker<'_> {
        type Output = ();
        type Err = String;
        fn finish(self) -> Result<(), String> {
            Ok(())
        }
        fn visit_pre(&mut self, ast: &Ast) -> Result<(), String> {
            use regex_syntax::ast::{RepetitionKind, RepetitionRange};
            if let Ast::Repetition(repetition) = ast
                && let RepetitionKind::Range(range) = &repetition.op.kind
            {
                let most = match range {
                    RepetitionRange::Exactly(n) | RepetitionRange::AtLeast(n) => *n,
                    RepetitionRange::Bounded(_, n) => *n,
                };
                if most > REPEAT_MAX {
                    let span = repetition.op.span;
                    let text = self.0.get(span.start.offset..span.end.offset).unwrap_or(self.0);
                    return Err(format!("invalid repeat count: `{text}`"));
                }
            }
            Ok(())
        }
    }
    regex_syntax::ast::visit(ast, Checker(pattern))
}

/// The crate's error in Go's words.
fn go_words(pattern: &str, kind: &ErrorKind, start: usize, end: usize) -> String {
    let at = |from: usize, to: usize| pattern.get(from..to.min(pattern.len())).unwrap_or(pattern);
    match kind {
        ErrorKind::GroupUnclosed => format!("missing closing ): `{pattern}`"),
        ErrorKind::GroupUnopened => format!("unexpected ): `{pattern}`"),
        ErrorKind::ClassUnclosed => format!("missing closing ]: `{}`", at(start, pattern.len())),
        ErrorKind::ClassRangeInvalid => format!("invalid character class range: `{}`", at(start, end)),
        ErrorKind::RepetitionMissing => {
            format!("missing argument to repetition operator: `{}`", at(start, end.max(start + 1)))
        }
        ErrorKind::RepetitionCountInvalid => format!("invalid repeat count: `{}`", at(start, end)),
        ErrorKind::EscapeUnexpectedEof => "trailing backslash at end of expression: ``".to_owned(),
        ErrorKind::EscapeUnrecognized | ErrorKind::UnsupportedBackreference => {
            format!("invalid escape sequence: `{}`", at(start, end))
        }
        ErrorKind::GroupNameEmpty | ErrorKind::GroupNameInvalid | ErrorKind::GroupNameUnexpectedEof => {
            let from = pattern[..start.min(pattern.len())].rfind("(?").unwrap_or(start);
            format!("invalid named capture: `{}`", at(from, pattern.len()))
        }
        ErrorKind::GroupNameDuplicate { .. } => format!("duplicate capture group name: `{}`", at(start, end)),
        ErrorKind::UnsupportedLookAround | ErrorKind::FlagUnrecognized => {
            let from = pattern[..start.min(pattern.len())].rfind("(?").unwrap_or(start);
            format!("invalid or unsupported Perl syntax: `{}`", at(from, end.max(from + 3)))
        }
        other => format!("{other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_gos() {
        let check = |pattern: &str, expected: &str| {
            let error = compile_go_regex(pattern).expect_err(pattern);
            assert_eq!(error, format!("error parsing regexp: {expected}"), "{pattern}");
        };
        check("(", "missing closing ): `(`");
        check("^(?:()$", "missing closing ): `^(?:()$`");
        check("a)", "unexpected ): `a)`");
        check("[a", "missing closing ]: `[a`");
        check("*", "missing argument to repetition operator: `*`");
        check("[z-a]", "invalid character class range: `z-a`");
        check("x{1001}", "invalid repeat count: `{1001}`");
        check(r"\y", r"invalid escape sequence: `\y`");
        check(r"a\<b", r"invalid escape sequence: `\<`");
        check("(?x)a b", "invalid or unsupported Perl syntax: `(?x`");
    }

    #[test]
    fn gos_own_syntax_matches() {
        let check = |pattern: &str, text: &str, expected: bool| {
            assert_eq!(compile_go_regex(pattern).expect(pattern).is_match(text), expected, "{pattern} on {text}");
        };
        check(r"^\Qa.b\E$", "a.b", true);
        check(r"^\Qa.b\E$", "axb", false);
        check("[[]", "[", true);
        check("[a&&b]", "&", true);
        check("[]a]", "]", true);
        check("[[:alpha:]]+", "ab", true);
        check("(?i)TIMEOUT", "a timeout", true);
        check(r"(?P<x>\d+)", "12", true);
        check(r"^\w+$", "zażółć", false);
        check(r"^[\w-]+$", "a-b", true);
        check(r"^\W$", "ż", true);
        check(r"\bżółw", "a żółw", false);
        check(r"[^\s]", " \t", false);
    }
}
