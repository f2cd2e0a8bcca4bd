//! Go's own answers (from Go 1.26's `regexp`) as a table.

use super::compile_go_regex;

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
    check("a|+?", "missing argument to repetition operator: `+?`");
    check("a**", "invalid nested repetition operator: `**`");
    check("a{2}{3}?", "invalid nested repetition operator: `{2}{3}?`");
    check("[z-a]", "invalid character class range: `z-a`");
    check("[[:foo:]]", "invalid character class range: `[:foo:]`");
    check(r"\p{Foo}", r"invalid character class range: `\p{Foo}`");
    check("x{1001}", "invalid repeat count: `{1001}`");
    check("x{3,2}", "invalid repeat count: `{3,2}`");
    check("(x{100}){11}", "invalid repeat count: `{11}`");
    check(r"\y", r"invalid escape sequence: `\y`");
    check(r"\1", r"invalid escape sequence: `\1`");
    check(r"\x{110000}", r"invalid escape sequence: `\x{110000`");
    check("a\\", "trailing backslash at end of expression: ``");
    check("(?x)a b", "invalid or unsupported Perl syntax: `(?x`");
    check("(?=a)", "invalid or unsupported Perl syntax: `(?=`");
    check("(?P<na-me>a)", "invalid named capture: `(?P<na-me>`");
    check("(?P<name", "invalid named capture: `(?P<name`");
    check(&format!("{}a{}", "(".repeat(1001), ")".repeat(1001)), &{
        format!("expression nests too deeply: `{}a{}`", "(".repeat(1001), ")".repeat(1001))
    });
}

#[test]
fn gos_own_syntax_matches() {
    let check = |pattern: &str, text: &str, expected: bool| {
        assert_eq!(compile_go_regex(pattern).expect(pattern).is_match(text), expected, "{pattern} on {text}");
    };
    check(r"^\Qa.b\E$", "a.b", true);
    check(r"^\Qa.b\E$", "axb", false);
    check(r"^\Qab\E+$", "abb", true);
    check("[[]", "[", true);
    check("[a&&b]", "&", true);
    check("[]a]", "]", true);
    check("[a-]", "-", true);
    check("[[:alpha:]]+", "ab", true);
    check("[[:^alpha:]]", "a", false);
    check("(?i)TIMEOUT", "a timeout", true);
    check("(?i:a)b", "AB", false);
    check(r"(?P<x>\d+)", "12", true);
    check(r"^\w+$", "zażółć", false);
    check(r"^[\w-]+$", "a-b", true);
    check(r"^\W$", "ż", true);
    check(r"\bżółw", "a żółw", false);
    check(r"[^\s]", " \t", false);
    check(r#"{"a": {"b"}"#, r#"{"a": {"b"}"#, true);
    check("a{,3}", "a{,3}", true);
    check("a*{", "{", true);
    check("a(?i)*$", "aa", true);
    check("a$b", "a$b", false);
    check("^b", "a\nb", false);
    check("(?m)^b", "a\nb", true);
    check(r"\x{41}\102\103", "ABC", true);
    check(r"^\p{Greek}\P{^Lu}$", "αΒ", true);
    check("", "anything", true);
}

#[test]
fn groups_have_gos_names() {
    let regex = compile_go_regex("(?P<1>a)(b)(?<n>c)(?P<n>d)").expect("compiles");
    assert_eq!(regex.capture_names().collect::<Vec<_>>(), [None, Some("1"), None, Some("n"), Some("n")]);
    let captures = regex.captures("abcd").expect("matches");
    assert_eq!(regex.named(&captures, "n").map(|found| found.as_str()), Some("c"));
    assert_eq!(regex.named(&captures, "m"), None);
}
