//! Which fields a template reads, by Loki's rules.

use crate::template::{Template, loki_functions};

#[test]
fn only_field() {
    let check = |template: &str, expected: Option<&str>| {
        let parsed = Template::parse("line", template, loki_functions()).expect(template);
        assert_eq!(parsed.only_field(), expected, "{template}");
    };
    check("{{.foo}}", Some("foo"));
    check("{{ .foo }}", Some("foo"));
    check("{{- .foo -}}", Some("foo"));
    check("{{- /* c */ -}} {{- .foo}}", Some("foo"));
    check("{{.żółw}}", Some("żółw"));
    check("{{$x := .foo}}", Some("foo"));
    check("{{.foo}} ", None);
    check("{{.foo.bar}}", None);
    check("{{.foo | ToUpper}}", None);
    check("{{(.foo)}}", None);
    check("{{.}}", None);
    check("{{$.foo}}", None);
    check("foo", None);
    check("", None);
}

#[test]
fn listed_fields() {
    let check = |template: &str, expected: &str| {
        let parsed = Template::parse("line", template, loki_functions()).expect(template);
        assert_eq!(parsed.listed_fields().join(" "), expected, "{template}");
    };
    check("{{.foo}} {{.bar}} {{.foo}}", "foo bar");
    check("{{.a.b}}", "a b");
    check("{{$.a}} {{$x := .b}}{{$x.c}} {{(.d).e}} {{ToUpper .f}}", "b f");
    check("{{if .a}}{{.b}}{{else if .c}}{{.d}}{{else}}{{.e}}{{end}}", "a b c d e");
    check("{{with .a}}{{.b}}{{else with .c}}{{.d}}{{end}}", "a b c d");
    check("{{range $i, $e := .a}}{{.b}}{{else}}{{.c}}{{end}}", "a b c");
    check("{{printf \"%s\" (print (.a | ToUpper) .b)}}", "a b");
    check("{{define \"t\"}}{{.a}}{{end}}{{template \"t\" .b}}", "");
    check("{{/* .a */}}{{\".b\"}}{{`{{.c}}`}}", "");
    check("{{eq .a 1.5}}", "a");
}
