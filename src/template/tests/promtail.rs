//! Promtail's functions and its missing keys. Answers are those of Go with Sprig.

use super::check_promtail as check;

#[test]
fn language() {
    check("{{.missing}} {{.missing.x}} {{.foo}}", "<no value> <no value> blip");
    check("{{if .missing}}a{{else}}b{{end}} {{print .missing}} {{len .foo}}", "b <nil> 4");
    check(
        "{{.foo.x}}",
        r#"error: template: pipeline_template:1:6: executing "pipeline_template" at <.foo.x>: can't evaluate field x in type interface {}"#,
    );
    check(
        "{{ToUpper .missing}}",
        r#"error: template: pipeline_template:1:10: executing "pipeline_template" at <.missing>: invalid value; expected string"#,
    );
    check(r#"{{range $k, $v := dict "b" 1 "a" 2}}{{$k}}{{$v}} {{end}}"#, "a2 b1 ");
}

#[test]
fn functions() {
    check(
        r#"{{list 1 "a" nil 2.5}} {{list}} {{first (list 1 2)}} {{last (list 1 2)}} {{rest (list 1 2 3)}} {{initial (list 1 2 3)}} {{first (list)}}"#,
        "[1 a <nil> 2.5] [] 1 2 [2 3] [1 2] <no value>",
    );
    check(
        r#"{{append (list 1) 2}} {{prepend (list 1) 2}} {{concat (list 1) (list 2)}} {{reverse (list 1 2)}} {{uniq (list 1 1 "1")}} {{without (list 1 2 3) 2}} {{compact (list 0 1 "" "a")}}"#,
        "[1 2] [2 1] [1 2] [2 1] [1 1] [1 3] [1 a]",
    );
    check(
        r#"{{has 1 (list 1 2)}} {{has "1" (list 1 2)}} {{slice (list 1 2 3) 1}} {{slice (list 1 2 3) 0 2}} {{chunk 2 (list 1 2 3)}} {{until 3}} {{untilStep 10 0 -3}} {{seq 3}} {{seq 2 -1}}"#,
        "true false [2 3] [1 2] [[1 2] [3]] [0 1 2] [10 7 4 1] 1 2 3 2 1 0 -1",
    );
    check(
        "{{first 1}}",
        r#"error: template: pipeline_template:1:2: executing "pipeline_template" at <first 1>: error calling first: Cannot find first on type int"#,
    );
    check(
        "{{first nil}}",
        r#"error: template: pipeline_template:1:2: executing "pipeline_template" at <first nil>: error calling first: runtime error: invalid memory address or nil pointer dereference"#,
    );
    check(
        "{{slice (list 1 2) 5}}",
        r#"error: template: pipeline_template:1:2: executing "pipeline_template" at <slice (list 1 2) 5>: error calling slice: reflect.Value.Slice: slice index out of bounds"#,
    );
    check(
        "{{chunk 0 (list 1)}}",
        r#"error: template: pipeline_template:1:2: executing "pipeline_template" at <chunk 0 (list 1)>: error calling chunk: runtime error: makeslice: len out of range"#,
    );
    check(
        r#"{{join "-" (list 1 "a" nil)}} {{splitList "," .csv}} {{split "," .csv}} {{splitn "," 2 .csv}} {{sortAlpha (list "b" "a" 3)}} {{toStrings (list 1 nil 2)}} {{join "," "x"}}"#,
        "1-a [a b  c] map[_0:a _1:b _2: _3:c] map[_0:a _1:b,,c] [3 a b] [1 2] x",
    );
    check(
        r#"{{dict "a" 1 "b"}} {{get (dict "a" 1) "a"}}|{{get (dict) "a"}}| {{hasKey (dict "a" 1) "a"}} {{keys (dict "b" 1)}} {{values (dict "a" 1)}} {{pluck "a" (dict "a" 1) (dict "a" 2)}}"#,
        "map[a:1 b:] 1|| true [b] [1] [1 2]",
    );
    check(
        r#"{{$d := dict "a" 1}}{{$_ := set $d "b" 2}}{{$_ := unset $d "a"}}{{$d}} {{pick (dict "a" 1 "b" 2) "a"}} {{omit (dict "a" 1 "b" 2) "a"}}"#,
        "map[b:2] map[a:1] map[b:2]",
    );
    check(
        r#"{{merge (dict "a" 1 "c" "") (dict "a" 2 "b" 3 "c" 4)}} {{mergeOverwrite (dict "a" 1) (dict "a" 2)}} {{dig "a" "b" "d" (dict "a" (dict "b" 5))}} {{dig "a" "x" "d" (dict "a" (dict))}}"#,
        "map[a:1 b:3 c:4] map[a:2] 5 d",
    );
    check(
        r#"{{set nil "a" 1}}"#,
        r#"error: template: pipeline_template:1:2: executing "pipeline_template" at <set nil "a" 1>: error calling set: assignment to entry in nil map"#,
    );
    check(
        r#"{{dig "a" "b" "d" 1}}"#,
        r#"error: template: pipeline_template:1:2: executing "pipeline_template" at <dig "a" "b" "d" 1>: error calling dig: interface conversion: interface {} is int, not map[string]interface {}"#,
    );
    check(
        r#"{{get .foo "a"}}"#,
        r#"error: template: pipeline_template:1:6: executing "pipeline_template" at <.foo>: wrong type for value; expected map[string]interface {}; got string"#,
    );
    check(
        r#"{{toJson (dict "a" (list 1 2.5 "<é>" nil true))}} {{toRawJson (list "<&>")}} {{fromJson .json | toJson}} {{mustToJson 1e21}} {{toJson 1e-7}}"#,
        r#"{"a":[1,2.5,"\u003cé\u003e",null,true]} ["<&>"] {"a":{"b":[1,2.5,"x",null,true]},"big":1e+21,"int":1000000,"list":[3,1,2],"n":null} 1e+21 1e-7"#,
    );
    check(r#"{{toPrettyJson (dict "a" (list 1) "b" (dict))}}"#, "{\n  \"a\": [\n    1\n  ],\n  \"b\": {}\n}");
    check(
        r#"{{mustFromJson "{\"a\"}"}}"#,
        r#"error: template: pipeline_template:1:2: executing "pipeline_template" at <mustFromJson "{\"a\"}">: error calling mustFromJson: invalid character '}' after object key"#,
    );
    check(
        r#"{{mustFromJson "[1"}}"#,
        r#"error: template: pipeline_template:1:2: executing "pipeline_template" at <mustFromJson "[1">: error calling mustFromJson: unexpected end of JSON input"#,
    );
    check(
        r#"{{typeOf 1}} {{typeOf (list)}} {{kindOf (dict)}} {{kindIs "string" .foo}} {{typeIs "string" .foo}} {{typeIsLike "int" 1}} {{deepEqual (list 1) (list 1)}} {{deepEqual 1 1.0}} {{kindOf nil}}"#,
        "int []interface {} map true true true true false invalid",
    );
    check(
        r#"{{ternary "y" "n" true}} {{coalesce "" 0 "x"}} {{empty ""}} {{empty .foo}} {{all 1 ""}} {{any 0 "a"}} {{default "d" .missing}}"#,
        "y x true false false true d",
    );
    check(
        r#"{{quote "a\"b" 1 nil}} {{squote "a" 1}} {{cat "a" 1 nil true}} {{plural "one" "many" 1}} {{plural "one" "many" 2}} {{toString 1.5}} {{atoi "12x"}} {{atoi "12"}} {{int64 "7"}} {{toDecimal "755"}}"#,
        r#""a\"b" "1" 'a' '1' a 1 true one many 1.5 0 12 7 493"#,
    );
    check(
        r#"{{abbrev 8 "hello world"}} {{abbrevboth 5 10 "1234 5678 9123"}} {{initials "First Try"}} {{nospace "a b c"}} {{untitle "Hello World"}} {{swapcase "Hello World"}} {{wrap 5 "hello big world"}} {{wrapWith 3 "|" "abcdefgh"}}"#,
        "hello... ...5678... FT abc hello world hELLO wORLD hello\nbig\nworld abc|def|gh",
    );
    check(
        r#"{{snakecase "HTTPStatusCode"}} {{kebabcase "FirstName2x"}} {{camelcase "http_server_id"}} {{snakecase "Bld4Floor"}}"#,
        "http_status_code first-name-2x HttpServerId bld4_floor",
    );
    check(
        r#"{{sha1sum "a"}} {{sha256sum "a"}} {{adler32sum "abc"}}"#,
        "86f7e437faa5a7fce15d1ddcb9eaeaea377667b8 ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb 38600999",
    );
    check(
        r#"{{sha512sum "a"}}"#,
        "1f40fc92da241694750979ee6cf582f2d5d7d28e18335de05abc54d0560e0f5302860c652bf08d560252aa5e74210546f369fbbbce8c12cfc7957b2652fe9a75",
    );
    check(
        r#"{{Hash "salt" "a"}} {{Sha2Hash "salt" "a"}}"#,
        "fa7355eddced2ec6cc2f8d8730b8563bec5f170cc796197d028b3b27b0969867 c48e22d109fbdc9ea9d09115591b16133717abf8f0faad86b3656f23f0a8de5b",
    );
    check(
        r#"{{b32enc "Hello"}} {{b32dec "JBSWY3DP"}} {{b32dec "1"}} {{b64dec "SGVsbG8"}}"#,
        "JBSWY3DP Hello illegal base32 data at input byte 0 illegal base64 data at input byte 4",
    );
    check(
        r#"{{regexMatch "^b" .foo}} {{regexFind "[a-z]" "1b2c"}} {{regexFindAll "[a-z]" "1b2c" -1}} {{regexSplit "[0-9]" "a1b2c" -1}} {{regexReplaceAll "(l)" .foo "<$1>"}} {{regexQuoteMeta "a.b"}} {{regexMatch "(" "a"}}"#,
        r"true b [b c] [a b c] b<l>ip a\.b false",
    );
    check(
        r#"{{regexFind "(" "a"}}"#,
        r#"error: template: pipeline_template:1:2: executing "pipeline_template" at <regexFind "(" "a">: error calling regexFind: regexp: Compile(`(`): error parsing regexp: missing closing ): `(`"#,
    );
    check(
        r#"{{mustRegexFind "(" "a"}}"#,
        r#"error: template: pipeline_template:1:2: executing "pipeline_template" at <mustRegexFind "(" "a">: error calling mustRegexFind: error parsing regexp: missing closing ): `(`"#,
    );
    check(
        r#"{{regexReplaceAll "(" "a" "b"}}"#,
        r#"error: template: pipeline_template:1:2: executing "pipeline_template" at <regexReplaceAll "(" "a" "b">: error calling regexReplaceAll: regexp: Compile(`(`): error parsing regexp: missing closing ): `(`"#,
    );
    check(
        r#"{{duration 90}} {{duration "3661"}} {{durationRound "2h10m5s"}} {{dateInZone "15:04 MST" 0 "Europe/Paris"}} {{htmlDate 0}} {{dateModify "-1h" (toDate "2006-01-02" "2023-05-05")}}"#,
        "0s 1h1m1s 2h 01:00 CET 1970-01-01 2023-05-04 23:00:00 +0000 UTC",
    );
    check(
        r#"{{base "/a/b.c"}} {{dir "/a/b.c"}} {{clean "/a/../b//c"}} {{ext "x.tar.gz"}} {{isAbs "/a"}}"#,
        "b.c /a /b/c .gz true",
    );
    check(
        r#"{{fail "no %d"}}"#,
        r#"error: template: pipeline_template:1:2: executing "pipeline_template" at <fail "no %d">: error calling fail: no %d"#,
    );
    check(r#"{{add1 1}} {{add1f 1.5}} {{biggest 1 3}} {{trimall "-" "-a-"}} {{hello}}"#, "2 2.5 3 a Hello!");
}
