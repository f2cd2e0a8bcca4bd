//! The language: text, constants, pipelines, branches, ranges, templates. Answers are Go's.

use super::check_loki as check;

#[test]
fn text_and_trim_markers() {
    check("plain", "plain");
    check("{{.foo}}", "blip");
    check("a {{.foo}} b", "a blip b");
    check("a {{- .foo -}} b", "ablipb");
    check("a  \n\t{{- .foo -}}\n  b", "ablipb");
    check("{{- .foo}}x", "blipx");
    check("{{.foo -}}   y", "blipy");
    check("{{-3}}", "-3");
    check("{{- 3}}", "3");
    check("{{3-}}", r#"error: template: line:1: bad number syntax: "3-""#);
    check("{{ -3 -}} x", "-3x");
    check("a{{/* c */}}b", "ab");
    check("a {{- /* c */ -}} b", "ab");
    check("{{/* a\nb */}}c", "c");
    check(r#"{{"{{"}}"#, "{{");
    check("}} {", "}} {");
    check("{{.foo}}{{\"\n\"}}{{`\n`}}", "error: template: line:1: unterminated quoted string");
    check("{{ .foo\n}}", "blip");
}

#[test]
fn constants() {
    check("{{1}} {{-2}} {{+3}} {{0x1F}} {{0b101}} {{0o17}} {{017}} {{1_000}}", "1 -2 3 31 5 15 15 1000");
    check(
        "{{1.5}} {{.5}} {{1e3}} {{1e6}} {{123456789.0}} {{0x1p4}} {{1e21}} {{100000.0}} {{1000000.0}}",
        "1.5 0.5 1000 1e+06 1.23456789e+08 16 1e+21 100000 1e+06",
    );
    check(r"{{'a'}} {{'\n'}} {{'é'}} {{'\x41'}} {{'\101'}} {{'\u00e9'}}", "97 10 233 65 65 233");
    check("{{true}} {{false}}", "true false");
    check(r#"{{"a\tb\\\"\u00e9\x41"}}"#, "a\tb\\\"éA");
    check(r#"{{`raw "x" \t`}}"#, r#"raw "x" \t"#);
    check("{{1i}} {{1+2i}} {{-1.5-2i}}", "(0+1i) (1+2i) (-1.5-2i)");
    check("{{9223372036854775807}}", "9223372036854775807");
    check(
        "{{9223372036854775808}}",
        r#"error: template: line:1:2: executing "line" at <9223372036854775808>: 9223372036854775808 overflows int"#,
    );
    check("{{99999999999999999999}}", r#"error: template: line:1: integer overflow: "99999999999999999999""#);
    check("{{1e400}}", r#"error: template: line:1: illegal number syntax: "1e400""#);
    check("{{nil}}", r#"error: template: line:1:2: executing "line" at <nil>: nil is not a command"#);
    check("{{print nil}}", "<nil>");
    check("{{0x}}", r#"error: template: line:1: illegal number syntax: "0x""#);
    check("{{089}}", r#"error: template: line:1: integer overflow: "089""#);
    check("{{1__0}}", r#"error: template: line:1: illegal number syntax: "1__0""#);
    check("{{'ab'}}", "error: template: line:1: malformed character constant: 'ab'");
    check(r#"{{"\q"}}"#, "error: template: line:1: invalid syntax");
}

#[test]
fn pipelines_and_variables() {
    check("{{.foo | ToUpper}}", "BLIP");
    check("{{.foo | ToUpper | len}}", "4");
    check("{{(.foo)}}", "blip");
    check("{{(len .foo) | add 1}}", "5");
    check("{{$x := .foo}}{{$x}}", "blip");
    check("{{$x := 1}}{{$x = 2}}{{$x}}", "2");
    check("{{$x := 1}}{{if true}}{{$x = 2}}{{$x := 3}}{{end}}{{$x}}", "2");
    check(r#"{{$x := .foo | ToUpper}}{{printf "%s" $x}}"#, "BLIP");
    check("{{$.foo}} {{with .num}}{{$.foo}}{{.}}{{end}}", "blip blip42");
    check(r#"{{$ = "new"}}{{$}}"#, "new");
    check("{{$x}}", r#"error: template: line:1: undefined variable "$x""#);
    check(
        "{{.foo.bar}}",
        r#"error: template: line:1:6: executing "line" at <.foo.bar>: can't evaluate field bar in type string"#,
    );
    check("{{.missing}}|", "|");
    check(
        "{{.missing.x}}",
        r#"error: template: line:1:10: executing "line" at <.missing.x>: can't evaluate field x in type string"#,
    );
    check(
        "{{(.foo).x}}",
        r#"error: template: line:1:3: executing "line" at <.foo>: can't evaluate field x in type string"#,
    );
    check(
        "{{.foo 1}}",
        r#"error: template: line:1:2: executing "line" at <.foo>: foo is not a method but has arguments"#,
    );
    check(
        "{{1 | .foo}}",
        r#"error: template: line:1:6: executing "line" at <.foo>: foo is not a method but has arguments"#,
    );
    check(
        "{{(1) 2}}",
        r#"error: template: line:1:2: executing "line" at <(1) 2>: can't give argument to non-function 1"#,
    );
    check(
        "{{$x := 1}}{{$x 2}}",
        r#"error: template: line:1:13: executing "line" at <$x>: can't give argument to non-function $x"#,
    );
    check("{{$x, $y := 1}}", "error: template: line:1: too many declarations in command");
    check("{{if $x := .foo}}{{$x}}{{end}}", "blip");
    check("{{1 | 2}}", "error: template: line:1: non executable command in pipeline stage 2");
    check(r#"{{.foo | "x"}}"#, "error: template: line:1: non executable command in pipeline stage 2");
    check(
        "{{len}}",
        r#"error: template: line:1:2: executing "line" at <len>: wrong number of args for len: want 1 got 0"#,
    );
    check(
        "{{.foo | len | len}}",
        r#"error: template: line:1:15: executing "line" at <len>: error calling len: len of type int"#,
    );
}

#[test]
fn branches() {
    check("{{if .foo}}yes{{end}}", "yes");
    check("{{if .missing}}yes{{else}}no{{end}}", "no");
    check("{{if 0}}a{{else if .foo}}b{{else}}c{{end}}", "b");
    check(
        r#"{{if 0.0}}a{{else if ""}}b{{else if nil}}c{{end}}"#,
        r#"error: template: line:1:36: executing "line" at <nil>: nil is not a command"#,
    );
    check("{{if not .empty}}e{{end}}", "e");
    check("{{if and .foo .num}}both{{end}}", "both");
    check("{{if or .empty .foo}}{{or .empty .foo}}{{end}}", "blip");
    check("{{and 1 0 .foo.bar}} {{or 1 .foo.bar}}", "0 1");
    check(r#"{{and .foo}} {{or "" ""}}|{{and "" 1}}|"#, "blip ||");
    check(r#"{{1 | and 2}} {{0 | or ""}}"#, "1 0");
    check("{{with .foo}}{{.}}{{end}}", "blip");
    check("{{with .empty}}a{{else}}b{{.foo}}{{end}}", "bblip");
    check("{{with .empty}}a{{else with .num}}n{{.}}{{else}}c{{end}}", "n42");
    check("{{with $x := .foo}}{{$x}}{{.}}{{end}}", "blipblip");
    check(r#"{{if eq .foo "blip"}}eq{{end}}"#, "eq");
    check("{{if .json}}{{with fromJson .json}}{{.int}}{{end}}{{end}}", "1e+06");
    check("{{if}}x{{end}}", "error: template: line:1: missing value for if");
    check("{{if .foo}}x", "error: template: line:1: unexpected EOF");
    check("{{else}}x", "error: template: line:1: unexpected {{else}}");
    check("{{if .foo}}x{{else}}y{{else}}z{{end}}", "error: template: line:1: expected end; found {{else}}");
    check("{{end}}", "error: template: line:1: unexpected {{end}}");
    check("{{if .foo}}{{else if}}{{end}}", "error: template: line:1: missing value for if");
}

#[test]
fn ranges() {
    check("{{range (fromJson .json).list}}{{.}},{{end}}", "3,1,2,");
    check("{{range $i, $e := (fromJson .json).list}}{{$i}}={{$e}} {{end}}", "0=3 1=1 2=2 ");
    check("{{range $e := (fromJson .json).list}}{{$e}}{{end}}", "312");
    check(r#"{{range $k, $v := fromJson "{\"b\":1,\"a\":[2]}"}}{{$k}}:{{$v}} {{end}}"#, "a:[2] b:1 ");
    check("{{range 3}}{{.}}{{end}} {{range $i := 3}}{{$i}}{{end}}", "012 012");
    check("{{range 0}}a{{else}}none{{end}}", "none");
    check("{{range -1}}a{{else}}none{{end}}", "none");
    check(
        "{{range $i, $j := 3}}{{end}}",
        r#"error: template: line:1:18: executing "line" at <3>: can't use 3 to iterate over more than one variable"#,
    );
    check(
        "{{range .missing}}{{end}}",
        r#"error: template: line:1:8: executing "line" at <.missing>: range can't iterate over "#,
    );
    check("{{range nil}}{{end}}", r#"error: template: line:1:8: executing "line" at <nil>: nil is not a command"#);
    check(r#"{{range (fromJson "null")}}a{{else}}b{{end}}"#, "b");
    check(r#"{{range (fromJson "[]")}}a{{else}}b{{end}}"#, "b");
    check("{{range 10}}{{if eq . 3}}{{break}}{{end}}{{.}}{{end}}", "012");
    check("{{range 4}}{{if eq . 1}}{{continue}}{{end}}{{.}}{{end}}", "023");
    check("{{range 2}}{{range 3}}{{if eq . 1}}{{break}}{{end}}{{.}}{{end}};{{end}}", "0;0;");
    check("{{$x := 0}}{{range $x = 3}}{{end}}{{$x}}", "2");
    check("{{$i := 0}}{{$e := 0}}{{range $i, $e = (fromJson .json).list}}{{end}}{{$i}}{{$e}}", "22");
    check("{{range 2}}{{range 0}}{{else}}{{break}}{{end}}x{{end}}", "xx");
    check("{{range 2}}{{range 0}}{{else}}{{continue}}{{end}}x{{end}}|", "|");
    check(
        "{{range $i, $e := 3.5}}{{end}}",
        r#"error: template: line:1:18: executing "line" at <3.5>: range can't iterate over 3.5"#,
    );
    check(
        "{{range 1.5}}{{end}}",
        r#"error: template: line:1:8: executing "line" at <1.5>: range can't iterate over 1.5"#,
    );
    check(
        "{{range .foo}}x{{end}}",
        r#"error: template: line:1:8: executing "line" at <.foo>: range can't iterate over blip"#,
    );
    check(
        "{{range true}}x{{end}}",
        r#"error: template: line:1:8: executing "line" at <true>: range can't iterate over true"#,
    );
    check("{{break}}", "error: template: line:1: {{break}} outside {{range}}");
    check("{{continue}}", "error: template: line:1: {{continue}} outside {{range}}");
    check("{{range 3}}{{break 1}}{{end}}", r#"error: template: line:1: unexpected "1" in {{break}}"#);
    check("{{range $i, := 3}}{{end}}", "error: template: line:1: range can only initialize variables");
    check("{{range $i, 3}}{{end}}", "error: template: line:1: range can only initialize variables");
    check("{{range $a, $b, $c := .}}{{end}}", "error: template: line:1: too many declarations in range");
    check(
        r#"{{range $i := int64 2}}{{printf "%T" $i}}{{end}}"#,
        r#"error: template: line:1: function "int64" not defined"#,
    );
    check(r#"{{len .}} {{range $k, $v := .}}{{if eq $k "num"}}{{$v}}{{end}}{{end}}"#, "14 42");
}

#[test]
fn templates() {
    check(r#"{{define "t"}}[{{.}}]{{end}}{{template "t" .foo}}{{template "t"}}"#, "[blip][<no value>]");
    check(r#"{{template "t" .num}}{{define "t"}}{{$}}{{end}}"#, "42");
    check(r#"{{define `r`}}raw{{end}}{{template "r"}}"#, "raw");
    check(r#"{{block "b" .foo}}<{{.}}>{{end}}"#, "<blip>");
    check(r#"{{block "b" .foo}}<{{.}}>{{end}}{{template "b" 1}}"#, "<blip><1>");
    check(r#"{{define "t"}}{{end}}{{define "t"}}x{{end}}{{template "t"}}"#, "x");
    check(
        r#"{{define "t"}}1{{end}}{{define "t"}}2{{end}}"#,
        r#"error: template: line:1: template: multiple definition of template "t""#,
    );
    check(r#"{{define "line"}}whole{{end}}"#, "whole");
    check(r#"{{$x := 1}}{{define "t"}}{{$x}}{{end}}"#, r#"error: template: line:1: undefined variable "$x""#);
    check(
        r#"{{template "nope"}}"#,
        r#"error: template: line:1:11: executing "line" at <{{template "nope"}}>: template "nope" not defined"#,
    );
    check("{{template nope}}", r#"error: template: line:1: unexpected "nope" in template clause"#);
    check("{{template .foo}}", r#"error: template: line:1: unexpected ".foo" in template clause"#);
    check("{{define t}}{{end}}", r#"error: template: line:1: unexpected "t" in define clause"#);
    check(r#"{{define "t" 1}}{{end}}"#, r#"error: template: line:1: unexpected "1" in define clause"#);
    check(r#"{{if 1}}{{define "t"}}{{end}}{{end}}"#, "error: template: line:1: unexpected <define> in command");
    check(r#"{{define "t"}}{{else}}{{end}}"#, "error: template: line:1: unexpected {{else}} in define clause");
    check(r#"{{block "b"}}{{end}}"#, "error: template: line:1: missing value for block clause");
    check("a\n{{block \"b\" .}}{{else}}{{end}}", "error: template: line:2: unexpected {{else}} in block clause");
    check(
        r#"{{define "t"}}{{.x}}{{end}}{{template "t" 1}}"#,
        r#"error: template: line:1:16: executing "t" at <.x>: can't evaluate field x in type int"#,
    );
    check(
        r#"{{define "a"}}{{if .}}{{template "a" (index . 0)}}.{{end}}{{end}}{{template "a" (fromJson "[[[]]]")}}"#,
        "..",
    );
}
