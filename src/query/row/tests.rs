//! Rows through pipelines: one line a case, as `labels | line` after the run.

use super::*;
use crate::logql::ast::*;
use crate::types::labels::Labels;

const JSON: fn() -> Stage = || Stage::Json { fields: vec![] };

fn logfmt(strict: bool, keep_empty: bool) -> Stage {
    Stage::Logfmt { strict, keep_empty, fields: vec![] }
}

fn fields(pairs: &[(&str, &str)]) -> Vec<FieldExtraction> {
    pairs.iter().map(|(l, e)| FieldExtraction { label: (*l).to_owned(), expression: (*e).to_owned() }).collect()
}

fn matcher(name: &str, op: MatchOp, value: &str) -> Matcher {
    Matcher { name: name.to_owned(), op, value: value.to_owned() }
}

fn text(name: &str, op: MatchOp, value: &str) -> LabelFilter {
    LabelFilter::Text(matcher(name, op, value))
}

fn is(name: &str, value: &str) -> Stage {
    Stage::LabelFilter(text(name, MatchOp::Equal, value))
}

fn number(name: &str, op: CompareOp, value: f64) -> LabelFilter {
    LabelFilter::Number { label: name.to_owned(), op, value }
}

fn line(op: LineFilterOp, any_of: &[&str]) -> Stage {
    let any_of = any_of.iter().map(|text| LineMatch::Text((*text).to_owned())).collect();
    Stage::LineFilter(LineFilter { op, any_of })
}

fn unwrap(label: &str, conversion: Option<UnwrapConversion>) -> Stage {
    Stage::Unwrap { conversion, label: label.to_owned() }
}

fn drop_names(names: &[&str]) -> Stage {
    Stage::Drop { labels: names.iter().map(|name| LabelSelector::Name((*name).to_owned())).collect() }
}

fn by(labels: &[&str]) -> Grouping {
    Grouping { without: false, labels: labels.iter().map(|label| (*label).to_owned()).collect() }
}

/// Runs `input` for the stream `{app="api", level="warn"}` with the metadata `trace_id="t1"`.
fn run(stages: &[Stage], output: Output<'_>, input: &str) -> String {
    let pipeline = RowPipeline::compile(stages, output).expect("compiles");
    let base = StreamBase::new(Labels::from_pairs([("app", "api"), ("level", "warn")]));
    let metadata = [("trace_id", "t1")];
    let mut state = RowState::new(0);
    // Twice: what the first run leaves behind must not show.
    let _ = state.run(&pipeline, &base, &metadata, 1, r#"{"left":"over","app":"z","o":{"a":1}"#);
    let Some(row) = state.run(&pipeline, &base, &metadata, 1, input) else { return "dropped".to_owned() };
    match output {
        Output::Log => {
            let mut out = String::new();
            row.for_each_label(|category, name, value| {
                let mark = ["", "m:", "p:"][category as usize];
                out.push_str(&format!("{mark}{name}={value} "));
            });
            let line = row.line();
            if line == input { out.trim_end().to_owned() } else { format!("{out}| {line}") }
        }
        Output::Metric { .. } => format!("{} {}", row.labels(), row.value()),
    }
}

fn check(stages: &[Stage], input: &str, want: &str) {
    let got = run(stages, Output::Log, input);
    assert_eq!(got.replacen("app=api level=warn m:trace_id=t1", "…", 1), want, "{stages:?} on {input}");
}

fn check_metric(stages: &[Stage], grouping: Option<&Grouping>, input: &str, want: &str) {
    assert_eq!(
        run(stages, Output::Metric { grouping, absent: false, merges: false }, input),
        want,
        "{stages:?} on {input}"
    );
}

#[test]
fn json_labels() {
    for (input, want) in [
        (r#"{"a":1,"b":"x","c":true,"d":null,"e":[1]}"#, "… p:a=1 p:b=x p:c=true"),
        (r#"{"a":{"b-c":{"d.e":1.50}},"9x":2,"x y":3}"#, "… p:a_b_c_d_e=1.50 p:_9x=2 p:x_y=3"),
        (r#"{"app":"z","trace_id":"t2","a":{"pp":1}}"#, "… p:app_extracted=z p:trace_id_extracted=t2 p:a_pp=1"),
        (r#"{"a":1,"a":2}"#, "… p:a=1"),
        (r#"{"a":"q\"\u00e9\n","k\"":1}"#, "… p:a=q\"é\n p:k_=1"),
        (r#"{"a":"\ud800"," ":1,"":2}"#, "… p:a="),
        ("{\"a\":\"x\u{fffd}y\"}", "… p:a=x y"),
        ("{}", "…"),
        (" { } trailing", "…"),
        (r#"{"a":1} trailing"#, "… p:a=1"),
        (r#"{"ż":1,"0":2}"#, "… p:_=1 p:_0=2"),
    ] {
        check(&[JSON()], input, want);
    }
}

#[test]
fn json_faults() {
    let object = "Value looks like object, but can't find closing '}' symbol";
    let string = "Value is string, but can't find closing '\"' symbol";
    let array = "Value is array, but can't find closing ']' symbol";
    for (input, labels, words) in [
        ("plain", "", object),
        ("", "", object),
        ("[1]", "", object),
        ("{", "", "Malformed JSON error"),
        (r#"{"a":1"#, "p:a=1 ", array),
        (r#"{"a":1,"#, "p:a=1 ", array),
        (r#"{"a":1,"b":"x"#, "p:a=1 ", string),
        (r#"{"a":1,"b":{"c":2"#, "p:a=1 ", object),
        (r#"{"a":1,"b":[1"#, "p:a=1 ", array),
        (r#"{"a":1,"b":nope}"#, "p:a=1 ", "Unknown value type"),
        (r#"{"a":1 "b":2}"#, "p:a=1 ", object),
        (r#"{"a" 1}"#, "", "Malformed JSON error"),
        (r#"{"a":}"#, "", "Unknown value type"),
        (r#"{"a":1,b:2}"#, "p:a=1 ", object),
        (r#"{"a\x":1}"#, "", "Encountered an invalid escape sequence in a string"),
        (r#"{"a":{"b":1,"c":},"d":1}"#, "p:a_b=1 ", "Unknown value type"),
    ] {
        let want = format!("… {labels}p:__error__=JSONParserErr p:__error_details__={words}");
        check(&[JSON()], input, &want);
    }
}

#[test]
fn json_depth_is_bounded() {
    let deep = format!("{}1{}", r#"{"a":"#.repeat(5000), "}".repeat(5000));
    check(&[JSON()], &deep, "…");
}

#[test]
fn filters_refuse_while_parsing() {
    // The filter sees the parsed value before `label_format` replaces it.
    let rename = Stage::LabelFormat {
        formats: vec![LabelFormat { label: "a".into(), source: FormatSource::Rename("b".into()) }],
    };
    check(&[JSON(), rename, is("a", "2")], r#"{"a":"1","b":"2"}"#, "dropped");
    check(
        &[JSON(), is("a", "1")],
        r#"{"a":"1","b":2"#,
        "… p:a=1 p:b=2 p:__error__=JSONParserErr p:__error_details__=Value is array, but can't find closing ']' symbol",
    );
    check(&[JSON(), is("a", "2")], r#"{"a":"1","b":2"#, "dropped");
}

#[test]
fn json_expressions() {
    let stage = |pairs: &[(&str, &str)]| Stage::Json { fields: fields(pairs) };
    for (pairs, input, want) in [
        (&[("x", "a.b"), ("y", "c")][..], r#"{"a":{"b":"v"},"c":2.50}"#, "… p:x=v p:y=2.50"),
        (&[("x", "no.such")], r#"{"a":1}"#, "… p:x="),
        (&[("app", "a")], r#"{"a":"q"}"#, "… p:app_extracted=q"),
        (&[("app", "nope")], r#"{"a":"q"}"#, "…"),
        (&[("x", "a")], r#"{"a":{"b":[1, 2]}}"#, r#"… p:x={"b":[1, 2]}"#),
        (&[("x", "a")], r#"{"a":null}"#, "… p:x="),
        (&[("x", "a")], "plain", "… p:__error__=JSONParserErr"),
        (&[("x", "a")], r#"{"b":1"#, "… p:x="),
        (
            &[("x", "a")],
            r#"{"a":"y"#,
            "… p:x= p:__error__=JSONParserErr p:__error_details__=Value is string, but can't find closing '\"' symbol",
        ),
    ] {
        check(&[stage(pairs)], input, want);
    }
}

#[test]
fn logfmt_labels() {
    let error = |position: usize, words: &str| {
        format!("p:__error__=LogfmtParserErr p:__error_details__=logfmt syntax error at pos {position} : {words}")
    };
    for (strict, keep_empty, input, want) in [
        (false, false, r#"a=1 b="x y" c= flag d=2"#, "… p:a=1 p:b=x y p:d=2".to_owned()),
        (false, true, r#"a=1 c= flag"#, "… p:a=1 p:c= p:flag=".to_owned()),
        (false, false, r#"a="q\"\u00e9" app=z 9k=v"#, "… p:a=q\"é p:app_extracted=z p:_9k=v".to_owned()),
        (false, false, r#"a=1 a=2"#, "… p:a=1".to_owned()),
        (false, false, r#"=x b=2 c"d=3 e=4=5 f=6"#, "… p:b=2 p:f=6".to_owned()),
        (true, false, r#"a=1 =x b=2"#, format!("… p:a=1 {}", error(5, "unexpected '='"))),
        (true, false, r#"a=x"y b=2"#, format!("… {}", error(4, "unexpected '\"'"))),
        (true, false, r#"a="x"#, format!("… {}", error(5, "unterminated quoted value"))),
        (true, false, r#"a="\x""#, format!("… {}", error(7, "invalid quoted value"))),
        (true, false, "a=1  ", "… p:a=1".to_owned()),
    ] {
        check(&[logfmt(strict, keep_empty)], input, &want);
    }
    let some =
        Stage::Logfmt { strict: false, keep_empty: false, fields: fields(&[("x", "b"), ("app", "c"), ("n", "n")]) };
    check(&[some], "a=1 b=2 c=3", "… p:x=2 p:n= p:app_extracted=3");
}

#[test]
fn regexp_and_pattern() {
    let regexp = |pattern: &str| Stage::Regexp { pattern: pattern.to_owned() };
    check(&[regexp(r"(?P<a>\w+)(-(?P<b>\d+))? (?P<app>.*)")], "x y", "… p:a=x p:b= p:app_extracted=y");
    check(&[regexp(r"(?P<a>\d+)")], "x", "…");
    let pattern = |pattern: &str| Stage::Pattern { pattern: pattern.to_owned() };
    check(&[pattern("<a> - <_> [<b>]")], "1 - 2 [3] 4", "… p:a=1 p:b=3");
    check(&[pattern("<a> - <b>|<c>")], "1 - 2", "… p:a=1 p:b=2");
    check(&[pattern("x<a>")], "y1", "…");
    check(&[pattern("<a>")], "", "…");
}

#[test]
fn unpacked_lines() {
    check(
        &[Stage::Unpack],
        r#"{"a":"x","n":1,"app":"z","_entry":"the \"line\""}"#,
        "… p:a=x p:app_extracted=z | the \"line\"",
    );
    check(&[Stage::Unpack], r#"{"a":"x"}"#, "…");
    check(
        &[Stage::Unpack],
        "x",
        "… p:__error__=JSONParserErr p:__error_details__=expecting json object(6), but it is not",
    );
    check(&[Stage::Unpack, logfmt(false, false)], r#"{"_entry":"k=v"}"#, "… p:k=v | k=v");
}

#[test]
fn label_filters() {
    let filter = Stage::LabelFilter;
    check(&[logfmt(false, false), filter(number("n", CompareOp::Greater, 4.0))], "n=5", "… p:n=5");
    check(&[logfmt(false, false), filter(number("n", CompareOp::Greater, 5.0))], "n=5", "dropped");
    check(&[logfmt(false, false), filter(number("m", CompareOp::NotEqual, 5.0))], "n=5", "dropped");
    let wrong = r#"p:__error__=LabelFilterErr p:__error_details__=strconv.ParseFloat: parsing "x": invalid syntax"#;
    check(&[logfmt(false, false), filter(number("n", CompareOp::Greater, 5.0))], "n=x", &format!("… p:n=x {wrong}"));
    check(&[filter(text("level", MatchOp::Regex, "wa.*"))], "", "…");
    // Loki loses the anchors here.
    check(&[filter(text("level", MatchOp::Regex, "ar.*"))], "", "…");
    check(&[filter(text("level", MatchOp::Regex, "ar."))], "", "dropped");
    check(&[filter(text("none", MatchOp::NotEqual, ""))], "", "dropped");
    check(&[filter(text("none", MatchOp::Regex, ".*"))], "", "…");
    let either =
        LabelFilter::Or(Box::new(text("level", MatchOp::Equal, "x")), Box::new(text("trace_id", MatchOp::Equal, "t1")));
    check(&[filter(either)], "", "…");
    let ip = LabelFilter::Ip { label: "a".into(), op: MatchOp::Equal, pattern: "10.0.0.0/8".into() };
    check(&[logfmt(false, false), filter(ip.clone())], "a=10.1.2.3:80", "… p:a=10.1.2.3:80");
    check(&[logfmt(false, false), filter(ip)], "b=10.1.2.3", "dropped");
    check(&[logfmt(true, false), is("__error__", "")], "a= =", "dropped");
    let took = LabelFilter::Duration { label: "d".into(), op: CompareOp::LessOrEqual, nanos: 1_500_000_000 };
    check(&[logfmt(false, false), filter(took)], "d=1.5s", "… p:d=1.5s");
    let size = LabelFilter::Bytes { label: "s".into(), op: CompareOp::Equal, bytes: 2048 };
    check(&[logfmt(false, false), filter(size)], "s=2KiB", "… p:s=2KiB");
}

#[test]
fn line_filters() {
    use LineFilterOp::{Contains, NotContains, NotRegex, Pattern, Regex};
    for (op, any_of, input, kept) in [
        (Contains, &["a"][..], "xax", true),
        (Contains, &["a", "b"], "xbx", true),
        (Contains, &["a", "b"], "xcx", false),
        (Contains, &["a", ""], "xcx", false),
        (Contains, &[""], "", true),
        (NotContains, &[""], "x", false),
        (NotContains, &["a", "b"], "xbx", false),
        (NotContains, &["a", "b"], "c", true),
        (Regex, &["(?i)ERR.r"], "an error", true),
        (Regex, &["(?i)ERROR"], "an eRRor", true),
        (Regex, &["foo|"], "bar", false),
        (Regex, &["a[12]", "slow.*x"], "slow and x", true),
        (NotRegex, &["a[12]"], "a2", false),
        (Pattern, &["<_> b", "c <_>"], "c d", true),
    ] {
        check(&[line(op, any_of)], input, if kept { "…" } else { "dropped" });
    }
    let ip = LineFilter { op: NotContains, any_of: vec![LineMatch::Ip("10.0.0.1".into())] };
    check(&[Stage::LineFilter(ip)], "at 10.0.0.1", "dropped");
}

#[test]
fn line_filters_move_before_decolorize() {
    let red = "\u{1b}[31mred\u{1b}[0m";
    check(&[Stage::Decolorize, line(LineFilterOp::Contains, &["[31m"])], red, "… | red");
    let field = Stage::LineFormat { template: "{{.level}}".into() };
    check(&[field, line(LineFilterOp::Contains, &["warn"])], "x", "… | warn");
}

#[test]
fn drop_and_keep() {
    check(&[JSON(), drop_names(&["level", "a", "trace_id"])], r#"{"a":1,"b":2}"#, "app=api p:b=2");
    check(&[drop_names(&["a"]), JSON()], r#"{"a":1}"#, "… p:a=1");
    check(&[JSON(), drop_names(&["a"]), JSON()], r#"{"a":1}"#, "…");
    let details = "Value looks like object, but can't find closing '}' symbol";
    check(&[JSON(), drop_names(&["__error__"])], "x", &format!("… p:__error_details__={details}"));
    check(&[JSON(), drop_names(&["__error__", "__error_details__"])], "x", "…");
    let valued = |name: &str, op, value: &str| LabelSelector::Matcher(matcher(name, op, value));
    check(&[Stage::Drop { labels: vec![valued("level", MatchOp::Regex, "w.*")] }], "x", "app=api m:trace_id=t1");
    check(&[Stage::Drop { labels: vec![valued("level", MatchOp::Equal, "x")] }], "x", "…");
    let keep = |labels| Stage::Keep { labels };
    check(&[JSON(), keep(vec![LabelSelector::Name("a".into())])], r#"{"a":1,"b":2}"#, "p:a=1");
    check(&[JSON(), keep(vec![valued("level", MatchOp::Equal, "warn")])], r#"{"a":1}"#, "level=warn");
}

#[test]
fn metric_labels() {
    let row = r#"{"status":200,"path":"/a","took":"1s"}"#;
    check_metric(&[JSON()], Some(&by(&["status"])), row, r#"{status="200"} 1"#);
    check_metric(&[JSON()], Some(&by(&[])), row, "{} 1");
    check_metric(
        &[JSON()],
        Some(&by(&["status", "app", "trace_id"])),
        row,
        r#"{app="api", status="200", trace_id="t1"} 1"#,
    );
    let without = Grouping { without: true, labels: vec!["path".into(), "app".into()] };
    check_metric(&[JSON()], Some(&without), row, r#"{level="warn", status="200", took="1s", trace_id="t1"} 1"#);
    // A fault after the last needed label is not seen.
    check_metric(&[JSON()], Some(&by(&["status"])), r#"{"status":200,"path":nope}"#, r#"{status="200"} 1"#);
    check_metric(&[JSON()], Some(&by(&["app_extracted"])), r#"{"app":"z"}"#, r#"{app_extracted="z"} 1"#);
    let details = r#"__error__="JSONParserErr", __error_details__="Unknown value type", app="api", level="warn""#;
    check_metric(&[JSON()], Some(&by(&["status"])), r#"{"path":nope}"#, &format!(r#"{{{details}, trace_id="t1"}} 1"#));
}

#[test]
fn unwrapped_values() {
    let row = "d=1500ms s=2KiB n=2.5 x=no empty=";
    let duration = Some(UnwrapConversion::Duration);
    let by_app = by(&["app"]);
    check_metric(&[logfmt(false, false), unwrap("n", None)], Some(&by_app), row, r#"{app="api"} 2.5"#);
    check_metric(&[logfmt(false, false), unwrap("d", duration)], Some(&by_app), row, r#"{app="api"} 1.5"#);
    check_metric(
        &[logfmt(false, false), unwrap("s", Some(UnwrapConversion::Bytes))],
        Some(&by_app),
        row,
        r#"{app="api"} 2048"#,
    );
    check_metric(&[logfmt(false, false), unwrap("gone", None)], Some(&by_app), row, "dropped");
    check_metric(&[logfmt(false, true), unwrap("empty", None)], Some(&by_app), row, "dropped");
    check_metric(
        &[logfmt(false, false), unwrap("n", None)],
        None,
        "n=1 m=2",
        r#"{app="api", level="warn", m="2", trace_id="t1"} 1"#,
    );
    check_metric(&[logfmt(false, false), unwrap("x", None), is("__error__", "")], Some(&by_app), row, "dropped");
    let faulty = r#"{__error__="SampleExtractionErr", __error_details__="strconv.ParseFloat: parsing \"no\": invalid syntax", app="api", level="warn", trace_id="t1", x="no"} 0"#;
    check_metric(&[logfmt(false, false), unwrap("x", None)], Some(&by_app), row, faulty);
}

#[test]
fn series_keys_tell_series_apart() {
    let pipeline = RowPipeline::compile(&[JSON()], Output::Log).expect("compiles");
    let base = StreamBase::new(Labels::from_pairs([("app", "api")]));
    let mut state = RowState::new(0);
    let mut key = |line: &str| {
        let mut key = Vec::new();
        state.run(&pipeline, &base, &[], 0, line).expect("kept").labels_key(&mut key);
        key
    };
    let first = key(r#"{"a":1,"b":2}"#);
    assert_eq!(first, key(r#"{"b":2,"a":1}"#));
    assert_ne!(first, key(r#"{"b":2,"a":12}"#));
    assert_ne!(first, key(r#"{"a":1}"#));
}
