//! What is wrong with a template and where, in Go's words, and comparisons.

use super::check_loki as check;

#[test]
fn lexing() {
    check("{{", "error: template: line:1: unclosed action");
    check("{{.foo", "error: template: line:1: unclosed action");
    check("{{.foo\n", "error: template: line:2: unclosed action started at line:1");
    check("a\n{{.foo\n", "error: template: line:3: unclosed action started at line:2");
    check("{{/* x", "error: template: line:1: unclosed comment");
    check("{{/* x */ }}", "error: template: line:1: comment ends before closing delimiter");
    check(r#"{{"abc"#, "error: template: line:1: unterminated quoted string");
    check("{{`abc", "error: template: line:1: unterminated raw quoted string");
    check("{{'a", "error: template: line:1: unterminated character constant");
    check("{{\"a\nb\"}}", "error: template: line:1: unterminated quoted string");
    check("{{(.foo}}", "error: template: line:1: unclosed left paren");
    check("{{.foo)}}", "error: template: line:1: unexpected right paren");
    check("{{((1)}}", "error: template: line:1: unclosed left paren");
    check("{{#}}", r##"error: template: line:1: unexpected "#" in command"##);
    check("{{.foo #}}", r##"error: template: line:1: unexpected "#" in operand"##);
    check("{{a b}}", r#"error: template: line:1: function "a" not defined"#);
    check("{{$x+1}}", "error: template: line:1: bad character U+002B '+'");
    check("{{.foo+1}}", "error: template: line:1: bad character U+002B '+'");
    check("{{1a}}", r#"error: template: line:1: bad number syntax: "1a""#);
    check("{{1.2.3}}", r#"error: template: line:1: unexpected ".3" in operand"#);
    check("{{é}}", r#"error: template: line:1: function "é" not defined"#);
    check("{{.é}}", "");
    check("{{€}}", "error: template: line:1: unrecognized character in action: U+20AC '€'");
    check("{{\u{1}}}", "error: template: line:1: unrecognized character in action: U+0001");
    check("{{.foo:}}", "error: template: line:1: expected :=");
    check("{{a:=1}}", r#"error: template: line:1: function "a" not defined"#);
    check("{{1+2}}", r#"error: template: line:1: bad number syntax: "1+2""#);
    check("{{..}}", "error: template: line:1: unexpected <.> in operand");
    check("{{.foo..bar}}", "error: template: line:1: unexpected <.> in operand");
    check("{{true.x}}", r#"error: template: line:1: unexpected . after term "true""#);
    check("{{1.x}}", r#"error: template: line:1: bad number syntax: "1.x""#);
    check("{{nil.x}}", r#"error: template: line:1: unexpected . after term "nil""#);
    check("{{..foo}}", r#"error: template: line:1: unexpected . after term ".""#);
}

#[test]
fn parsing() {
    check("{{}}", "error: template: line:1: missing value for command");
    check("{{ }}", "error: template: line:1: missing value for command");
    check("{{|}}", r#"error: template: line:1: unexpected "|" in command"#);
    check("{{.foo|}}", "blip");
    check("{{.foo | | len}}", r#"error: template: line:1: unexpected "|" in command"#);
    check("{{()}}", "error: template: line:1: missing value for parenthesized pipeline");
    check("{{nofunc}}", r#"error: template: line:1: function "nofunc" not defined"#);
    check("{{nofunc .foo}}", r#"error: template: line:1: function "nofunc" not defined"#);
    check("{{.foo | nofunc}}", r#"error: template: line:1: function "nofunc" not defined"#);
    check("{{.foo,}}", r#"error: template: line:1: unexpected "," in operand"#);
    check("{{.foo .bar,}}", r#"error: template: line:1: unexpected "," in operand"#);
    check("{{if .foo}}\n{{end}}\n{{nofunc}}", r#"error: template: line:3: function "nofunc" not defined"#);
    check(r#"{{"%d"}} {{no%dfunc}}"#, "error: template: line:1: bad character U+0025 '%'");
    check("{{$x = 1}}", r#"error: template: line:1:7: executing "line" at <1>: undefined variable: $x"#);
    check("{{$x := 1 := 2}}", r#"error: template: line:1: unexpected ":=" in operand"#);
    check("{{:=}}", r#"error: template: line:1: unexpected ":=" in command"#);
    check("{{end .foo}}", r#"error: template: line:1: unexpected ".foo" in end"#);
    check("{{else if}}", "error: template: line:1: unexpected {{else}}");
    check("{{if .foo}}{{template}}{{end}}", r#"error: template: line:1: unexpected "}}" in template clause"#);
    check("{{with}}{{end}}", "error: template: line:1: missing value for with");
    check("{{range}}{{end}}", "error: template: line:1: missing value for range");
    check("{{if true}}{{end}}{{end}}", "error: template: line:1: unexpected {{end}}");
    check("{{break}}", "error: template: line:1: {{break}} outside {{range}}");
    check("{{define}}", r#"error: template: line:1: unexpected "}}" in define clause"#);
    check(
        r#"{{template "a" "b" "c"}}"#,
        r#"error: template: line:1:11: executing "line" at <{{template "a" "b" "c"}}>: template "a" not defined"#,
    );
    check(r#"{{env "HOME"}}"#, r#"error: template: line:1: function "env" not defined"#);
}

#[test]
fn executing() {
    check(
        "a\n  {{.foo.bar}}",
        r#"error: template: line:2:8: executing "line" at <.foo.bar>: can't evaluate field bar in type string"#,
    );
    check(
        "{{ .foo.bar.baz }}",
        r#"error: template: line:1:7: executing "line" at <.foo.bar.baz>: can't evaluate field bar in type string"#,
    );
    check("{{len 3}}", r#"error: template: line:1:2: executing "line" at <len 3>: error calling len: len of type int"#);
    check(
        "{{len nil}}",
        r#"error: template: line:1:2: executing "line" at <len nil>: error calling len: reflect: call of reflect.Value.Type on zero Value"#,
    );
    check(
        r#"{{len (fromJson "null")}}"#,
        r#"error: template: line:1:2: executing "line" at <len (fromJson "null")>: error calling len: reflect: call of reflect.Value.Type on zero Value"#,
    );
    check(
        "{{index .foo 9}}",
        r#"error: template: line:1:2: executing "line" at <index .foo 9>: error calling index: index out of range: 9"#,
    );
    check(
        "{{index .foo 4}}",
        r#"error: template: line:1:2: executing "line" at <index .foo 4>: error calling index: reflect: string index out of range"#,
    );
    check(
        r#"{{index .foo "a"}}"#,
        r#"error: template: line:1:2: executing "line" at <index .foo "a">: error calling index: cannot index slice/array with type string"#,
    );
    check(
        "{{index .foo nil}}",
        r#"error: template: line:1:2: executing "line" at <index .foo nil>: error calling index: cannot index slice/array with nil"#,
    );
    check(
        "{{index nil 1}}",
        r#"error: template: line:1:2: executing "line" at <index nil 1>: error calling index: index of untyped nil"#,
    );
    check(
        "{{index 1 1}}",
        r#"error: template: line:1:2: executing "line" at <index 1 1>: error calling index: can't index item of type int"#,
    );
    check(
        "{{index . 1}}",
        r#"error: template: line:1:2: executing "line" at <index . 1>: error calling index: value has type int; should be string"#,
    );
    check(
        r#"{{index (fromJson "[1]") 0 0}}"#,
        r#"error: template: line:1:2: executing "line" at <index (fromJson "[1]") 0 0>: error calling index: can't index item of type float64"#,
    );
    check(
        r#"{{index (fromJson "[null]") 0 0}}"#,
        r#"error: template: line:1:2: executing "line" at <index (fromJson "[null]") 0 0>: error calling index: index of nil pointer"#,
    );
    check(r#"{{index (fromJson .json) "n"}}"#, "<no value>");
    check(r#"{{index (fromJson .json) "a" "b" 2}}"#, "x");
    check(r#"{{index . "foo"}} {{index . "nope"}}|"#, "blip |");
    check("{{slice .foo 1 3}} {{slice .foo 1}} {{slice .foo}}", "li lip blip");
    check(
        "{{slice .foo 3 1}}",
        r#"error: template: line:1:2: executing "line" at <slice .foo 3 1>: error calling slice: invalid slice index: 3 > 1"#,
    );
    check(
        "{{slice .foo 1 9}}",
        r#"error: template: line:1:2: executing "line" at <slice .foo 1 9>: error calling slice: index out of range: 9"#,
    );
    check(
        "{{slice .foo 1 2 3}}",
        r#"error: template: line:1:2: executing "line" at <slice .foo 1 2 3>: error calling slice: cannot 3-index slice a string"#,
    );
    check(
        "{{slice .foo 1 2 3 4}}",
        r#"error: template: line:1:2: executing "line" at <slice .foo 1 2 3 4>: error calling slice: too many slice indexes: 4"#,
    );
    check(
        "{{slice nil}}",
        r#"error: template: line:1:2: executing "line" at <slice nil>: error calling slice: slice of untyped nil"#,
    );
    check(
        "{{slice 1}}",
        r#"error: template: line:1:2: executing "line" at <slice 1>: error calling slice: can't slice item of type int"#,
    );
    check(r#"{{slice (fromJson "[1,2,3]") 1 2}}"#, "[2]");
    check("{{ToUpper 1}}", r#"error: template: line:1:10: executing "line" at <1>: expected string; found 1"#);
    check("{{ToUpper nil}}", r#"error: template: line:1:10: executing "line" at <nil>: cannot assign nil to string"#);
    check(
        "{{ToUpper .}}",
        r#"error: template: line:1:10: executing "line" at <.>: wrong type for value; expected string; got map[string]string"#,
    );
    check(
        "{{ToUpper}}",
        r#"error: template: line:1:2: executing "line" at <ToUpper>: wrong number of args for ToUpper: want 1 got 0"#,
    );
    check(
        "{{ToUpper .foo .bar}}",
        r#"error: template: line:1:2: executing "line" at <ToUpper>: wrong number of args for ToUpper: want 1 got 2"#,
    );
    check(
        "{{.foo | ToUpper .bar}}",
        r#"error: template: line:1:9: executing "line" at <ToUpper>: wrong number of args for ToUpper: want 1 got 2"#,
    );
    check(
        r#"{{trunc "a" .foo}}"#,
        r#"error: template: line:1:8: executing "line" at <"a">: expected integer; found "a""#,
    );
    check("{{trunc 1.5 .foo}}", r#"error: template: line:1:8: executing "line" at <1.5>: expected integer; found 1.5"#);
    check("{{trunc (int64 1) .foo}}", r#"error: template: line:1: function "int64" not defined"#);
    check(
        "{{trunc .num .foo}}",
        r#"error: template: line:1:8: executing "line" at <.num>: wrong type for value; expected int; got string"#,
    );
    check(
        r#"{{ToUpper (fromJson "null")}}"#,
        r#"error: template: line:1:20: executing "line" at <"null">: invalid value; expected string"#,
    );
    check(
        r#"{{ToUpper (index (fromJson "[null]") 0)}}"#,
        r#"error: template: line:1:37: executing "line" at <0>: invalid value; expected string"#,
    );
    check(
        "{{ToUpper (fromJson .json).n}}",
        r#"error: template: line:1:20: executing "line" at <.json>: wrong type for value; expected string; got interface {}"#,
    );
    check(
        "{{unixEpoch 1}}",
        r#"error: template: line:1:12: executing "line" at <1>: can't handle 1 for arg of type time.Time"#,
    );
    check(
        "{{unixEpoch .ts}}",
        r#"error: template: line:1:12: executing "line" at <.ts>: wrong type for value; expected time.Time; got string"#,
    );
    check("{{printf 1}}", r#"error: template: line:1:9: executing "line" at <1>: expected string; found 1"#);
    check(
        "{{printf}}",
        r#"error: template: line:1:2: executing "line" at <printf>: wrong number of args for printf: want at least 1 got 0"#,
    );
    check(
        r#"{{round 1 "x"}}"#,
        r#"error: template: line:1:10: executing "line" at <"x">: expected integer; found "x""#,
    );
    check(
        "{{call 1}}",
        r#"error: template: line:1:2: executing "line" at <call 1>: error calling call: non-function 1 of type int"#,
    );
    check(
        "{{call nil}}",
        r#"error: template: line:1:2: executing "line" at <call nil>: error calling call: call of nil"#,
    );
    check(
        "{{call .foo 1}}",
        r#"error: template: line:1:2: executing "line" at <call .foo 1>: error calling call: non-function .foo of type string"#,
    );
    check(
        "{{(fromJson .json).a.b.c}}",
        r#"error: template: line:1:12: executing "line" at <.json>: can't evaluate field c in type interface {}"#,
    );
    check(
        "{{(fromJson .json).nope.x}}|",
        r#"error: template: line:1:12: executing "line" at <.json>: nil pointer evaluating interface {}.x"#,
    );
    check(
        "{{(fromJson .json).n.x}}",
        r#"error: template: line:1:12: executing "line" at <.json>: nil pointer evaluating interface {}.x"#,
    );
    check(
        "{{print (fromJson .json).n.x}}",
        r#"error: template: line:1:18: executing "line" at <.json>: nil pointer evaluating interface {}.x"#,
    );
    check(
        r#"{{(fromJson "1").x}}"#,
        r#"error: template: line:1:12: executing "line" at <"1">: can't evaluate field x in type float64"#,
    );
    check("{{nil | len}}", r#"error: template: line:1:2: executing "line" at <nil>: nil is not a command"#);
    check("{{(nil).x}}", r#"error: template: line:1:3: executing "line" at <nil>: nil is not a command"#);
    check(
        r#"{{template "x" nil}}{{define "x"}}{{.}}{{end}}"#,
        r#"error: template: line:1:15: executing "line" at <nil>: nil is not a command"#,
    );
    check(
        r#"{{define "t%d"}}{{len 1}}{{end}}{{template "t%d"}}"#,
        r#"error: template: line:1:18: executing "t%d" at <len 1>: error calling len: len of type int"#,
    );
    check(
        r#"{{"100%" | len | len}}"#,
        r#"error: template: line:1:17: executing "line" at <len>: error calling len: len of type int"#,
    );
}

#[test]
fn comparing() {
    check(r#"{{eq 1 1}} {{eq 1 2 1}} {{eq "a" "b"}} {{eq true true}} {{eq 1.5 1.5}}"#, "true true false true true");
    check(
        "{{eq 1 1.0}}",
        r#"error: template: line:1:2: executing "line" at <eq 1 1.0>: error calling eq: incompatible types for comparison: int and float64"#,
    );
    check(
        r#"{{eq 1 "1"}}"#,
        r#"error: template: line:1:2: executing "line" at <eq 1 "1">: error calling eq: incompatible types for comparison: int and string"#,
    );
    check(
        "{{eq .num 42}}",
        r#"error: template: line:1:2: executing "line" at <eq .num 42>: error calling eq: incompatible types for comparison: string and int"#,
    );
    check("{{eq (int .num) 42}}", "true");
    check("{{eq (int64 1) 1}} {{eq (index .foo 0) 98}}", r#"error: template: line:1: function "int64" not defined"#);
    check(r#"{{eq nil nil}} {{eq nil 1}} {{ne nil 1}} {{eq .missing ""}}"#, "true false true true");
    check(
        r#"{{eq (fromJson "[1]") (fromJson "[1]")}}"#,
        r#"error: template: line:1:2: executing "line" at <eq (fromJson "[1]") (fromJson "[1]")>: error calling eq: non-comparable type [%!s(float64=1)]: []interface {}"#,
    );
    check(
        "{{eq . .}}",
        "error: template: line:1:2: executing \"line\" at <eq . .>: error calling eq: non-comparable type map[bar:Hello, Wörld!  csv:a,b,,c date:2023-07-14T10:20:30.123456789+02:00 empty: flt:3.75 foo:blip html:<a href='x'>\"&\"</a> json:{\"a\":{\"b\":[1,2.5,\"x\",null,true]},\"list\":[3,1,2],\"n\":null,\"big\":1e21,\"int\":1000000} multi:one\ntwo neg:-7 num:42 ts:1650000000 tsms:1650000000123 uni:żółw ǆ ß 日本]: map[string]string",
    );
    check(
        r#"{{eq (fromJson "[1]") (fromJson "{}")}}"#,
        r#"error: template: line:1:2: executing "line" at <eq (fromJson "[1]") (fromJson "{}")>: error calling eq: non-comparable types [%!s(float64=1)]: []interface {}, map[string]interface {}: map[]"#,
    );
    check(r#"{{eq (fromJson "null") nil}}"#, "true");
    check(
        "{{eq 1}}",
        r#"error: template: line:1:2: executing "line" at <eq 1>: error calling eq: missing argument for comparison"#,
    );
    check(
        "{{eq}}",
        r#"error: template: line:1:2: executing "line" at <eq>: wrong number of args for eq: want at least 1 got 0"#,
    );
    check(r#"{{ne 1 2}} {{ne "a" "a"}}"#, "true false");
    check(r#"{{lt 1 2}} {{le 2 2}} {{gt "b" "a"}} {{ge 1.5 2.5}}"#, "true true true false");
    check(
        "{{lt 1 1.5}}",
        r#"error: template: line:1:2: executing "line" at <lt 1 1.5>: error calling lt: incompatible types for comparison: int and float64"#,
    );
    check(
        r#"{{lt "a" 1}}"#,
        r#"error: template: line:1:2: executing "line" at <lt "a" 1>: error calling lt: incompatible types for comparison: string and int"#,
    );
    check(
        "{{lt true false}}",
        r#"error: template: line:1:2: executing "line" at <lt true false>: error calling lt: invalid type for comparison"#,
    );
    check(
        "{{lt nil 1}}",
        r#"error: template: line:1:2: executing "line" at <lt nil 1>: error calling lt: invalid type for comparison"#,
    );
    check(
        r#"{{lt (fromJson "[]") 1}}"#,
        r#"error: template: line:1:2: executing "line" at <lt (fromJson "[]") 1>: error calling lt: invalid type for comparison"#,
    );
    check(
        "{{le 1i 1i}}",
        r#"error: template: line:1:2: executing "line" at <le 1i 1i>: error calling le: invalid type for comparison"#,
    );
    check(r#"{{not 1}} {{not ""}} {{not nil}} {{not .}}"#, "false true true false");
    check("{{eq __timestamp__ __timestamp__}} {{eq __timestamp__.Month 11}}", "true true");
}
