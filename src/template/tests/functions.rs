//! The functions Loki registers. Answers are Loki's.

use super::check_loki as check;

#[test]
fn texts() {
    check(
        "{{ToLower .bar}}|{{ToUpper .bar}}|{{lower .uni}}|{{upper .uni}}|{{title .uni}}",
        "hello, wörld! |HELLO, WÖRLD! |żółw ǆ ß 日本|ŻÓŁW Ǆ ß 日本|Żółw ǅ ß 日本",
    );
    check(r#"{{title "hello wOrld foo_bar x.y d'art"}}"#, "Hello WOrld Foo_bar X.Y D'Art");
    check(
        r#"{{Replace "aaaa" "a" "b" 2}} {{Replace "aaaa" "a" "b" -1}} {{Replace "abc" "" "-" -1}} {{Replace "é日" "" "-" 2}}"#,
        "bbaa bbbb -a-b-c- -é-日",
    );
    check(r#"{{replace "a" "b" "banana"}} {{"banana" | replace "an" "AN"}}"#, "bbnbnb bANANa");
    check(
        r#"{{Trim "--x--" "-"}} {{TrimLeft "--x--" "-"}} {{TrimRight "--x--" "-"}} {{TrimPrefix "--x" "-"}} {{TrimSuffix "x--" "-"}} {{TrimSpace "  x\n"}}"#,
        "x x-- --x -x x- x",
    );
    check(r#"{{trim "  x "}}|{{trimAll "é-" "é-x-é"}}|{{trimPrefix "a" "abc"}}|{{trimSuffix "c" "abc"}}"#, "x|x|bc|ab");
    check(
        r#"{{trunc 3 .bar}}|{{trunc -3 "hello"}}|{{trunc 100 .foo}}|{{trunc 0 .foo}}|{{trunc 1 "é"}}"#,
        "Hel|llo|blip||�",
    );
    check(
        r#"{{substr 1 3 "hello"}} {{substr -1 3 "hello"}} {{substr 2 -1 "hello"}} {{substr 1 99 "hello"}}"#,
        "el hel llo ello",
    );
    check(
        r#"{{substr 3 1 "hello"}}"#,
        r#"error: template: line:1:2: executing "line" at <substr 3 1 "hello">: error calling substr: runtime error: slice bounds out of range [3:1]"#,
    );
    check(
        r#"{{substr 9 10 "hello"}}"#,
        r#"error: template: line:1:2: executing "line" at <substr 9 10 "hello">: error calling substr: runtime error: slice bounds out of range [9:5]"#,
    );
    check(
        r#"{{substr -1 9 "hello"}}"#,
        r#"error: template: line:1:2: executing "line" at <substr -1 9 "hello">: error calling substr: runtime error: slice bounds out of range [:9] with length 5"#,
    );
    check(
        r#"{{substr -1 -1 "hello"}}"#,
        r#"error: template: line:1:2: executing "line" at <substr -1 -1 "hello">: error calling substr: runtime error: slice bounds out of range [:-1]"#,
    );
    check(r#"{{contains "l" "hello"}} {{hasPrefix "he" "hello"}} {{hasSuffix "lo" "hello"}}"#, "true true true");
    check("{{indent 2 .multi}}|{{nindent 2 .multi}}", "  one\n  two|\n  one\n  two");
    check(r#"{{repeat 3 "ab"}}|{{repeat 0 "ab"}}|"#, "ababab||");
    check(
        r#"{{repeat -1 "a"}}"#,
        r#"error: template: line:1:2: executing "line" at <repeat -1 "a">: error calling repeat: strings: negative Repeat count"#,
    );
    check(
        r#"{{indent -1 "a"}}"#,
        r#"error: template: line:1:2: executing "line" at <indent -1 "a">: error calling indent: strings: negative Repeat count"#,
    );
    check(
        r#"{{alignLeft 6 .foo}}|{{alignRight 6 .foo}}|{{alignLeft 2 .foo}}|{{alignRight 2 .foo}}|{{alignLeft -1 .foo}}|{{alignRight 2 "日本語"}}"#,
        "blip  |  blip|bl|ip|blip|本語",
    );
    check(
        r#"{{b64enc "Hello"}} {{b64dec "SGVsbG8="}} {{b64dec "SGVsbG8"}} {{b64dec "!"}} {{b64dec "A"}} {{b64dec "SGVs=bG8="}}"#,
        "SGVsbG8= Hello Hello illegal base64 data at input byte 0 illegal base64 data at input byte 0 illegal base64 data at input byte 4",
    );
    check(r#"{{urlencode "a b&é"}} {{urldecode "a+b%26%C3%A9"}}"#, "a+b%26%C3%A9 a b&é");
    check(
        r#"{{urldecode "%zz"}}"#,
        r#"error: template: line:1:2: executing "line" at <urldecode "%zz">: error calling urldecode: invalid URL escape "%zz""#,
    );
    check("{{__line__}} {{__line__ | len}}", "the line 8");
    check(r#"{{printf "%s%s" (trunc 1 "é") (substr 1 2 "é")}}"#, "é");
}

#[test]
fn regexes() {
    check(r#"{{regexReplaceAll "(l+)(o?)" "hello" "[$1|$2]"}}"#, "he[ll|o]");
    check(r#"{{regexReplaceAll "(?P<x>l+)" "hello" "${x}$x"}}"#, "hellllo");
    check(
        r#"{{regexReplaceAll "l" "hello" "$0x"}} {{regexReplaceAll "(l)" "hello" "$1x"}} {{regexReplaceAll "(l)" "hello" "${1}x"}}"#,
        "heo heo helxlxo",
    );
    check(
        r#"{{regexReplaceAll "a*" "baac" "x"}} {{regexReplaceAll "" "abc" "-"}} {{regexReplaceAll "^" "abc" "-"}}"#,
        "xbxcx -a-b-c- -abc",
    );
    check(
        r#"{{regexReplaceAll "l" "hello" "$$"}} {{regexReplaceAll "l" "hello" "$"}} {{regexReplaceAll "l" "hello" "${"}} {{regexReplaceAll "l" "hello" "$-"}}"#,
        "he$$o he$$o he${${o he$-$-o",
    );
    check(
        r#"{{regexReplaceAll "(" "hello" "x"}}"#,
        r#"error: template: line:1:2: executing "line" at <regexReplaceAll "(" "hello" "x">: error calling regexReplaceAll: error parsing regexp: missing closing ): `(`"#,
    );
    check(r#"{{regexReplaceAllLiteral "(l)" "hello" "$1"}}"#, "he$1$1o");
    check(r#"{{count "l" "hello"}} {{count "a*" "baac"}} {{count "" "abc"}}"#, "2 3 4");
    check(
        r#"{{count "[" "a"}}"#,
        r#"error: template: line:1:2: executing "line" at <count "[" "a">: error calling count: error parsing regexp: missing closing ]: `[`"#,
    );
    check(r#"{{.foo | regexReplaceAll "i(.)" .num}}"#, "42");
    check(r#"{{ .bar | regexReplaceAllLiteral "(?i)WÖRLD" .foo }}"#, "blip");
}

#[test]
fn numbers() {
    check(
        r#"{{add 1 2 3}} {{add}} {{add .num "0x10" 1.9 true nil}} {{sub 5 7}} {{mul 2 3 4}} {{div 7 2}} {{div -7 2}} {{mod 7 3}} {{mod -7 3}}"#,
        "6 0 60 -2 24 3 -3 1 -1",
    );
    check(
        "{{div 1 0}}",
        r#"error: template: line:1:2: executing "line" at <div 1 0>: error calling div: runtime error: integer divide by zero"#,
    );
    check(
        "{{mod 1 0}}",
        r#"error: template: line:1:2: executing "line" at <mod 1 0>: error calling mod: runtime error: integer divide by zero"#,
    );
    check(
        r#"{{div 1 "x"}}"#,
        r#"error: template: line:1:2: executing "line" at <div 1 "x">: error calling div: runtime error: integer divide by zero"#,
    );
    check("{{add 9223372036854775807 1}} {{div -9223372036854775808 -1}}", "-9223372036854775808 -9223372036854775808");
    check(
        r#"{{addf 0.1 0.2}} {{subf 1 0.9}} {{mulf 1.1 1.1}} {{divf 1 3}} {{divf 10 4}} {{addf}} {{addf "1.5" 1}}"#,
        "0.3 0.1 1.21 0.3333333333333333 2.5 0 2.5",
    );
    check(
        "{{divf 1 0}}",
        r#"error: template: line:1:2: executing "line" at <divf 1 0>: error calling divf: decimal division by 0"#,
    );
    check(
        "{{addf 1e308 1e308}} {{divf 2 3}} {{divf 1 3 3}} {{mulf 1e200 1e200}}",
        "+Inf 0.6666666666666667 0.1111111111111111 +Inf",
    );
    check(
        r#"{{addf "Inf"}}"#,
        r#"error: template: line:1:2: executing "line" at <addf "Inf">: error calling addf: Cannot create a Decimal from +Inf"#,
    );
    check(r#"{{max 1 5 3}} {{min 4 2 9}} {{maxf 1.5 2.5}} {{minf 1 "0.5"}} {{max .num .neg}}"#, "5 2 2.5 0.5 42");
    check(
        "{{ceil 1.2}} {{floor -1.2}} {{round 1.25 1}} {{round 123.456 -1}} {{round 2.5 0}} {{round -2.5 0}} {{round 1.234 2 0.3}}",
        "2 -2 1.3 120 3 -3 1.24",
    );
    check(
        r#"{{int "12.9"}} {{int "010"}} {{int "x"}} {{int 3.99}} {{int true}} {{int nil}} {{int "1e3"}} {{int "0x1F"}} {{int "-.5"}} {{int 1e30}}"#,
        "12 8 0 3 1 0 0 31 0 -9223372036854775808",
    );
    check(r#"{{float64 "1.5"}} {{float64 "x"}} {{float64 3}} {{float64 "0x1p4"}} {{float64 "1_0"}}"#, "1.5 0 3 16 10");
    check(r#"{{printf "%T %T %T" (add 1) (int 1) (addf 1)}}"#, "int64 int float64");
    check(
        r#"{{bytes "1.5MiB"}} {{bytes "2KB"}} {{bytes "10"}} {{bytes "1,000 kB"}} {{bytes "3 gib"}}"#,
        "1.572864e+06 2000 10 1e+06 3.221225472e+09",
    );
    check(
        r#"{{bytes "x"}}"#,
        r#"error: template: line:1:2: executing "line" at <bytes "x">: error calling bytes: strconv.ParseFloat: parsing "": invalid syntax"#,
    );
    check(
        r#"{{bytes "1 zb"}}"#,
        r#"error: template: line:1:2: executing "line" at <bytes "1 zb">: error calling bytes: unhandled size name: zb"#,
    );
    check(
        r#"{{bytes "99EiB"}}"#,
        r#"error: template: line:1:2: executing "line" at <bytes "99EiB">: error calling bytes: too large: 99EiB"#,
    );
    check(r#"{{duration "1h30m0.5s"}} {{duration_seconds "1ms"}} {{duration "-2m"}}"#, "5400.5 0.001 -120");
    check(
        r#"{{duration "x"}}"#,
        r#"error: template: line:1:2: executing "line" at <duration "x">: error calling duration: time: invalid duration "x""#,
    );
    check(
        r#"{{duration "5"}}"#,
        r#"error: template: line:1:2: executing "line" at <duration "5">: error calling duration: time: missing unit in duration "5""#,
    );
    check(
        r#"{{duration "5d"}}"#,
        r#"error: template: line:1:2: executing "line" at <duration "5d">: error calling duration: time: unknown unit "d" in duration "5d""#,
    );
    check(
        r#"{{default "d" .empty}} {{default "d" .foo}} {{default 1 0}} {{default "d" nil}} {{default "d"}} {{.missing | default "x"}}"#,
        "d blip 1 d d x",
    );
}

#[test]
fn times() {
    check("{{__timestamp__}}", "2023-11-14 22:13:20.123456789 +0000 UTC");
    check(
        r#"{{__timestamp__ | date "2006-01-02T15:04:05.000Z07:00"}} {{date "Mon Jan _2 3:04PM MST 06" __timestamp__}}"#,
        "2023-11-14T22:13:20.123Z Tue Nov 14 10:13PM UTC 23",
    );
    check(
        "{{__timestamp__ | unixEpoch}} {{__timestamp__ | unixEpochMillis}} {{__timestamp__ | unixEpochNanos}}",
        "1700000000 1700000000123 1700000000123456789",
    );
    check(
        "{{__timestamp__.Year}} {{__timestamp__.Month}} {{__timestamp__.Day}} {{__timestamp__.Weekday}} {{__timestamp__.YearDay}} {{__timestamp__.Unix}}",
        "2023 November 14 Tuesday 318 1700000000",
    );
    check(
        r#"{{__timestamp__.Format "02/Jan/2006"}} {{(__timestamp__.Add 3600000000000).Format "15:04"}} {{__timestamp__.Nanosecond}}"#,
        "14/Nov/2023 23:13 123456789",
    );
    check(
        r#"{{unixToTime .ts}} {{unixToTime .tsms}} {{unixToTime "19373"}} {{unixToTime "1650000000123456"}} {{unixToTime "1650000000123456789"}}"#,
        "2022-04-15 05:20:00 +0000 UTC 2022-04-15 05:20:00.123 +0000 UTC 2023-01-16 00:00:00 +0000 UTC 2022-04-15 05:20:00.123456 +0000 UTC 2022-04-15 05:20:00.123456789 +0000 UTC",
    );
    check(
        r#"{{unixToTime "x"}}"#,
        r#"error: template: line:1:2: executing "line" at <unixToTime "x">: error calling unixToTime: unable to parse time 'x': strconv.ParseInt: parsing "x": invalid syntax"#,
    );
    check(
        r#"{{unixToTime "123"}}"#,
        r#"error: template: line:1:2: executing "line" at <unixToTime "123">: error calling unixToTime: unable to parse time '123': %!w(<nil>)"#,
    );
    check(
        r#"{{toDate "2006-01-02" "2023-02-30"}} {{toDate "2006-01-02" "2023-02-28"}} {{toDate "2006-01-02T15:04:05Z07:00" .date}}"#,
        "0001-01-01 00:00:00 +0000 UTC 2023-02-28 00:00:00 +0000 UTC 2023-07-14 10:20:30.123456789 +0200 +0200",
    );
    check(
        r#"{{toDateInZone "2006-01-02 15:04:05" "Europe/Warsaw" "2023-07-14 10:20:30"}} {{toDateInZone "2006-01-02" "Nope" "2023-07-14"}}"#,
        "2023-07-14 10:20:30 +0200 CEST 2023-07-14 00:00:00 +0000 UTC",
    );
    check(
        r#"{{toDateInZone "2006-01-02 15:04 MST" "America/New_York" "2023-01-14 10:20 EST"}}"#,
        "2023-01-14 10:20:00 -0500 EST",
    );
    check(
        r#"{{(toDateInZone "2006-01-02 15:04:05" "Europe/Warsaw" "2023-03-26 02:30:00").UTC}}"#,
        "2023-03-26 01:30:00 +0000 UTC",
    );
    check(
        r#"{{(toDate "2006-01-02" "2023-01-31").AddDate 0 1 0}} {{((unixToTime .ts).Sub (toDate "2006-01-02" "2022-04-15")).Hours}}"#,
        "2023-03-03 00:00:00 +0000 UTC 5.333333333333333",
    );
    check(
        r#"{{date "2006" (int .ts)}} {{date "2006-01-02" 0}} {{date "2006-01-02" (int64 .ts)}}"#,
        r#"error: template: line:1: function "int64" not defined"#,
    );
    check(
        "{{__timestamp__.Zone}}",
        r#"error: template: line:1:2: executing "line" at <__timestamp__>: invalid function signature for Zone: second return value should be error; is int"#,
    );
    check(
        "{{__timestamp__.Date}}",
        r#"error: template: line:1:2: executing "line" at <__timestamp__>: function Date has 3 return values; should be 1 or 2"#,
    );
    check(
        "{{__timestamp__.wall}}",
        r#"error: template: line:1:2: executing "line" at <__timestamp__>: wall is an unexported field of struct type time.Time"#,
    );
    check(
        "{{__timestamp__.Nope}}",
        r#"error: template: line:1:2: executing "line" at <__timestamp__>: can't evaluate field Nope in type time.Time"#,
    );
    check(
        "{{__timestamp__.Format}}",
        r#"error: template: line:1:2: executing "line" at <__timestamp__>: wrong number of args for Format: want 1 got 0"#,
    );
    check(
        "{{__timestamp__.Format 1}}",
        r#"error: template: line:1:23: executing "line" at <1>: expected string; found 1"#,
    );
    check(
        r#"{{printf "%T %T %T %#v" __timestamp__ __timestamp__.Month (__timestamp__.Sub __timestamp__) __timestamp__}}"#,
        "time.Time time.Month time.Duration time.Date(2023, time.November, 14, 22, 13, 20, 123456789, time.Local)",
    );
    check(
        "{{__timestamp__.Location}} {{__timestamp__.IsZero}} {{__timestamp__.Truncate 86400000000000}} {{__timestamp__.Round 1000000000}}",
        "UTC false 2023-11-14 00:00:00 +0000 UTC 2023-11-14 22:13:20 +0000 UTC",
    );
}
