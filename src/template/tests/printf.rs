//! Verbs, flags and plain printing. Answers are Go's.

use super::check_loki as check;

#[test]
fn verbs() {
    check(r#"{{printf "%v %v %v %v" 1 "a" 1.5 true}}"#, "1 a 1.5 true");
    check(r#"{{printf "%d|%5d|%-5d|%05d|%+d|% d" 42 42 42 42 42 42}}"#, "42|   42|42   |00042|+42| 42");
    check(
        r#"{{printf "%x|%X|%#x|%o|%O|%b|%#b|%c|%q|%U|%#U" 255 255 255 8 8 5 5 233 233 233 233}}"#,
        "ff|FF|0xff|10|0o10|101|0b101|é|'é'|U+00E9|U+00E9 'é'",
    );
    check(
        r#"{{printf "%f|%.2f|%8.3f|%-8.1f|%08.2f|%+.1f" 3.14159 3.14159 3.14159 3.14159 3.14159 3.14159}}"#,
        "3.141590|3.14|   3.142|3.1     |00003.14|+3.1",
    );
    check(
        r#"{{printf "%e|%E|%g|%G|%.3g|%#g" 123456.789 123456.789 1e21 1e-7 1234.5678 1.0}}"#,
        "1.234568e+05|1.234568E+05|1e+21|1E-07|1.23e+03|1.00000",
    );
    check(r#"{{printf "%x|%X|%.2x|%b" 1.5 1.5 3.14159 1.5}}"#, "0x1.8p+00|0X1.8P+00|0x1.92p+01|6755399441055744p-52");
    check(
        r#"{{printf "%s|%10s|%-10s|%.2s|%q|%x|% x|%#x" "héllo" "héllo" "héllo" "héllo" "héllo" "hi" "hi" "hi"}}"#,
        r#"héllo|     héllo|héllo     |hé|"héllo"|6869|68 69|0x6869"#,
    );
    check(
        r#"{{printf "%q|%+q|%#q|%#q" "a\tb\x00é\u2028" "é" "a`b" "plain"}}"#,
        r#""a\tb\x00é\u2028"|"\u00e9"|"a`b"|`plain`"#,
    );
    check(r#"{{printf "%t|%5t|%-6t|" true false true}}"#, "true|false|true  |");
    check(
        r#"{{printf "%T %T %T %T %T %T" 1 "a" 1.5 true nil (int64 1)}}"#,
        r#"error: template: line:1: function "int64" not defined"#,
    );
    check(
        r#"{{printf "%T %T %T" (fromJson "[1]") (fromJson "{}") .}}"#,
        "[]interface {} map[string]interface {} map[string]string",
    );
    check(
        r#"{{printf "%v %v" (fromJson "[1,\"a\",null,{\"b\":2}]") (fromJson "{\"z\":1,\"a\":[true]}")}}"#,
        "[1 a <nil> map[b:2]] map[a:[true] z:1]",
    );
    check(
        r#"{{printf "%#v %#v" (fromJson "[1,\"a\",null]") (fromJson "{\"z\":1}")}}"#,
        r#"[]interface {}{1, "a", interface {}(nil)} map[string]interface {}{"z":1}"#,
    );
    check(
        r#"{{printf "%+v %s %d" (fromJson "[1]") (fromJson "[\"a\"]") (fromJson "[1.5]")}}"#,
        "[1] [a] [%!d(float64=1.5)]",
    );
    check(
        r#"{{printf "%d" "a"}} {{printf "%s" 5}} {{printf "%t" 1}} {{printf "%d" nil}} {{printf "%s" nil}} {{printf "%v" nil}}"#,
        "%!d(string=a) %!s(int=5) %!t(int=1) %!d(<nil>) %!s(<nil>) <nil>",
    );
    check(
        r#"{{printf "%d %d" 1}} {{printf "%d" 1 2 "x"}} {{printf "x" nil}}"#,
        "1 %!d(MISSING) 1%!(EXTRA int=2, string=x) x%!(EXTRA <nil>)",
    );
    check(
        r#"{{printf "%[2]d %[1]d" 1 2}} {{printf "%[3]d" 1}} {{printf "%[x]d" 1}} {{printf "%[1]d %d" 1 2}}"#,
        "2 1 %!d(BADINDEX) %!d(BADINDEX) 1 2",
    );
    check(r#"{{printf "%*d|%-*d|%.*f" 5 42 5 42 2 3.14159}}"#, "   42|42   |3.14");
    check(r#"{{printf "%*d" "a" 1}} {{printf "%.*f" -1 1.5}}"#, "%!(BADWIDTH)1 %!(BADPREC)1.500000");
    check(
        r#"{{printf "%"}} {{printf "%%"}} {{printf "%!"}} {{printf "%z" 1}} {{printf "%5%"}} {{printf "%-"}}"#,
        "%!(NOVERB) % %!!(MISSING) %!z(int=1) % %!(NOVERB)",
    );
    check(
        r#"{{printf "%v" 1e6}} {{printf "%v" 123456.0}} {{printf "%v" 0.00001}} {{printf "%v" 1.0}}"#,
        "1e+06 123456 1e-05 1",
    );
    check(r#"{{printf "%6.2f%%" 12.3456}}"#, " 12.35%");
    check(r#"{{printf "%w" "x"}} {{printf "%p" "x"}}"#, "%!w(string=x) %!p(string=x)");
    check(
        r#"{{printf "%v %d %s" __timestamp__.Month __timestamp__.Month __timestamp__.Weekday}}"#,
        "November 11 Tuesday",
    );
    check(r#"{{printf "%v" 1+2i}} {{printf "%.1f" 1+2i}}"#, "(1+2i) (1.0+2.0i)");
    check(
        r#"{{printf "%08d|%+08d|% 08d" -42 42 42}} {{printf "%.5d|%8.5d|%-8.3d|" 42 42 42}} {{printf "%.0d|" 0}}"#,
        "-0000042|+0000042| 0000042 00042|   00042|042     | |",
    );
    check(r#"{{printf "%10.3v|%-10v|" "abcdef" "ab"}}"#, "       abc|ab        |");
    check(
        r#"{{printf "%x" "日本"}} {{printf "%c" 0x1F600}} {{printf "%c" -1}} {{printf "%q" 0x110000}}"#,
        "e697a5e69cac 😀 � '�'",
    );
}

#[test]
fn printing() {
    check(r#"{{print 1 2 "a" "b" 3 nil}}"#, "1 2ab3 <nil>");
    check("{{print}}|{{println}}|", "|\n|");
    check(r#"{{println 1 "a" nil}}"#, "1 a <nil>\n");
    check(r#"{{print "a" 1 2 "b"}}"#, "a1 2b");
    check(
        "{{.}}",
        "map[bar:Hello, Wörld!  csv:a,b,,c date:2023-07-14T10:20:30.123456789+02:00 empty: flt:3.75 foo:blip html:<a href='x'>\"&\"</a> json:{\"a\":{\"b\":[1,2.5,\"x\",null,true]},\"list\":[3,1,2],\"n\":null,\"big\":1e21,\"int\":1000000} multi:one\ntwo neg:-7 num:42 ts:1650000000 tsms:1650000000123 uni:żółw ǆ ß 日本]",
    );
    check(r#"{{fromJson "{\"b\":[1,null],\"a\":\"x\"}"}}"#, "map[a:x b:[1 <nil>]]");
    check("{{fromJson .json}}", "map[a:map[b:[1 2.5 x <nil> true]] big:1e+21 int:1e+06 list:[3 1 2] n:<nil>]");
    check(r#"{{fromJson "null"}} {{fromJson "nope"}} {{fromJson ""}}"#, "<no value> <no value> <no value>");
    check(r#"{{fromJson "1"}} {{fromJson "\"a\\u00e9\\ud83d\\ude00\\ud800\""}} {{fromJson "true"}}"#, "1 aé😀� true");
    check(
        r#"{{fromJson "[1e999,2]"}} {{fromJson "{\"a\":1,\"a\":2}"}} {{fromJson "[1,]"}}"#,
        "[<nil> 2] map[a:2] <no value>",
    );
    check(
        r#"{{html .html}} {{html 1 "<"}} {{html nil}}"#,
        "&lt;a href=&#39;x&#39;&gt;&#34;&amp;&#34;&lt;/a&gt; 1&lt; &lt;no value&gt;",
    );
    check(
        r#"{{js .html}} {{js "a\n\u2028é\x00"}}"#,
        r#"\u003Ca href\u003D\'x\'\u003E\"\u0026\"\u003C/a\u003E a\u000A\u2028é\u0000"#,
    );
    check(r#"{{urlquery "a b&c=d/é~"}}"#, "a+b%26c%3Dd%2F%C3%A9~");
    check(r#"{{index .foo 0}} {{printf "%T" (index .foo 0)}}"#, "98 uint8");
}
