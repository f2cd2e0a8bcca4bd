//! Prometheus's functions in alerts. Answers are Prometheus's.

use super::check_alert as check;

#[test]
fn language() {
    check(
        "{{ $labels.foo }} {{ .Labels.foo }} {{ $value }} {{ .Value }} {{ $externalLabels.cluster }} {{ $externalURL }}",
        "blip blip 1234.5 1234.5 c1 http://prom.example:9090/prefix",
    );
    check("{{ $labels.missing }}| {{ .ExternalURL }}", "| http://prom.example:9090/prefix");
    check(
        "{{ .Nope }}",
        r#"error: template: __alert_x:1:115: executing "__alert_x" at <.Nope>: can't evaluate field Nope in type struct { Labels map[string]string; ExternalLabels map[string]string; ExternalURL string; Value interface {} }"#,
    );
    check(
        "{{ .Value.x }}",
        r#"error: template: __alert_x:1:121: executing "__alert_x" at <.Value.x>: can't evaluate field x in type interface {}"#,
    );
    check(
        r#"{{ printf "%.2f" $value }} {{ if gt $value 1000.0 }}high{{ end }} {{ printf "%T %T" $value $labels }}"#,
        "1234.50 high float64 map[string]string",
    );
    check("{{ nofunc }}", r#"error: template: __alert_x:1: function "nofunc" not defined"#);
}

#[test]
fn functions() {
    check(
        r#"{{ humanize 1234567.891 }} {{ humanize 0.000123 }} {{ humanize 0.0 }} {{ humanize "12.5" }} {{ humanize -1500.0 }} {{ humanize 1e30 }}"#,
        "1.235M 123u 0 12.5 -1.5k 1e+06Y",
    );
    check(
        r#"{{ humanize "x" }}"#,
        r#"error: template: __alert_x:1:115: executing "__alert_x" at <humanize "x">: error calling humanize: strconv.ParseFloat: parsing "x": invalid syntax"#,
    );
    check("{{ humanize1024 1048576.0 }} {{ humanize1024 0.5 }} {{ humanizePercentage 0.1234 }}", "1Mi 0.5 12.34%");
    check(
        "{{ humanizeDuration 90061.5 }} {{ humanizeDuration 3600.0 }} {{ humanizeDuration 61.0 }} {{ humanizeDuration 1.5 }} {{ humanizeDuration 0.0015 }} {{ humanizeDuration 0.0 }} {{ humanizeDuration -62.5 }}",
        "1d 1h 1m 1s 1h 0m 0s 1m 1s 1.5s 1.5ms 0s -1m 2s",
    );
    check(
        "{{ humanizeTimestamp 1700000000.123 }} {{ (toTime 1700000000.0).Year }} {{ toTime 1.5 }} {{ toDuration 90.5 }}",
        "2023-11-14 22:13:20.122 +0000 UTC 2023 1970-01-01 00:00:01.5 +0000 UTC 1m30.5s",
    );
    check(
        "{{ toTime 1e30 }}",
        r#"error: template: __alert_x:1:115: executing "__alert_x" at <toTime 1e30>: error calling toTime: 1e+30 cannot be represented as a nanoseconds timestamp since it overflows int64"#,
    );
    check(
        r#"{{ toUpper "aé" }} {{ toLower "AÉ" }} {{ title "foo bar-baz o'neil 1st a.b" }} {{ match "^b" "blip" }} {{ reReplaceAll "(l)" "<$1>" $labels.foo }}"#,
        "AÉ aé Foo Bar-Baz O'neil 1St A.b true b<l>ip",
    );
    check(
        r#"{{ match "(" "x" }}"#,
        r#"error: template: __alert_x:1:115: executing "__alert_x" at <match "(" "x">: error calling match: error parsing regexp: missing closing ): `(`"#,
    );
    check(
        r#"{{ reReplaceAll "(" "x" "y" }}"#,
        r#"error: template: __alert_x:1:115: executing "__alert_x" at <reReplaceAll "(" "x" "y">: error calling reReplaceAll: regexp: Compile(`(`): error parsing regexp: missing closing ): `(`"#,
    );
    check(
        r#"{{ stripPort "a:80" }} {{ stripPort "[::1]:80" }} {{ stripPort "a" }} {{ stripDomain "host.example.com:9090" }} {{ stripDomain "1.2.3.4:80" }} {{ stripDomain "host.example.com" }} {{ stripDomain "::1" }}"#,
        "a ::1 a host:9090 1.2.3.4:80 host ::1",
    );
    check(
        r#"{{ graphLink "up{a=\"b\"}" }} {{ tableLink "up" }} {{ pathPrefix }} {{ externalURL }} {{ urlQueryEscape "a b" }} {{ safeHtml "<b>" }}"#,
        "/graph?g0.expr=up%7Ba%3D%22b%22%7D&g0.tab=0 /graph?g0.expr=up&g0.tab=1 /prefix http://prom.example:9090/prefix a+b <b>",
    );
    check(
        r#"{{ parseDuration "1h30m" }} {{ parseDuration "-5m" }} {{ parseDuration "1d" }} {{ parseDuration "0" }}"#,
        "5400 -300 86400 0",
    );
    check(
        r#"{{ parseDuration "5" }}"#,
        r#"error: template: __alert_x:1:115: executing "__alert_x" at <parseDuration "5">: error calling parseDuration: not a valid duration string: "5""#,
    );
    check(
        r#"{{ parseDuration "1m1h" }}"#,
        r#"error: template: __alert_x:1:115: executing "__alert_x" at <parseDuration "1m1h">: error calling parseDuration: not a valid duration string: "1m1h""#,
    );
    check(
        r#"{{ parseDuration "5x" }}"#,
        r#"error: template: __alert_x:1:115: executing "__alert_x" at <parseDuration "5x">: error calling parseDuration: unknown unit "x" in duration "5x""#,
    );
    check(r#"{{ range query "up" }}{{ .Labels.instance }}={{ .Value }} {{ end }}"#, "b:80=21.5 a=1e+06 ");
    check(
        r#"{{ with query "up" }}{{ . | first | value }} {{ . | first | label "job" }} {{ first . | strvalue }}{{ end }}"#,
        "21.5 x sv",
    );
    check(r#"{{ range sortByLabel "instance" (query "up") }}{{ .Labels.instance }} {{ end }}"#, "a b:80 ");
    check(
        r#"{{ query "none" | first }}"#,
        r#"error: template: __alert_x:1:130: executing "__alert_x" at <first>: error calling first: first() called on vector with no elements"#,
    );
    check(
        r#"{{ query "bad" }}"#,
        r#"error: template: __alert_x:1:115: executing "__alert_x" at <query "bad">: error calling query: no such query"#,
    );
    check(r#"{{ first (query "up") }}"#, "{map[__value__:sv instance:b:80 job:x] 21.5}");
    check(
        "{{ first 1 }}",
        r#"error: template: __alert_x:1:121: executing "__alert_x" at <1>: can't handle 1 for arg of type template.queryResult"#,
    );
    check(
        r#"{{ len (query "up") }} {{ if query "none" }}a{{ else }}b{{ end }} {{ args 1 "a" }} {{ printf "%T %T" (query "up") (query "up" | first) }}"#,
        "2 b map[arg0:1 arg1:a] template.queryResult *template.sample",
    );
    check(
        r#"{{ label "x" nil }}"#,
        r#"error: template: __alert_x:1:115: executing "__alert_x" at <label "x" nil>: error calling label: runtime error: invalid memory address or nil pointer dereference"#,
    );
    check("{{ now }}", "1.700000000123e+09");
}
