//! No template panics, overflows the stack or runs for long.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{LABELS, Row};
use crate::template::{
    MissingKey, Template, Text, Value, alert_data, alert_functions, loki_functions, promtail_functions,
};

/// What one template may take in a test; a debug build on a busy machine.
const TIME_MAX: Duration = Duration::from_secs(20);

/// Parses and executes with each table of functions; the answers of Loki's and Promtail's.
fn run_all(text: &str) -> (String, String) {
    let start = Instant::now();
    let mut loki = String::new();
    let ran = Template::parse("main", text, loki_functions()).and_then(|template| template.execute(&Row, &mut loki));
    let loki = ran.map_or_else(|error| error.to_string(), |()| loki);
    let mut promtail = String::new();
    let ran = Template::parse_with("main", text, promtail_functions(), MissingKey::NoValue).and_then(|template| {
        let root = Value::map(LABELS.iter().map(|(name, value)| (Text::from(*name), Value::text(*value))));
        template.execute_value(root, &Row, &mut promtail)
    });
    let promtail = ran.map_or_else(|error| error.to_string(), |()| promtail);
    let mut alert = String::new();
    let _ = Template::parse("main", text, alert_functions())
        .and_then(|template| template.execute_value(alert_data(LABELS, [], "", 1.0), &Row, &mut alert));
    assert!(start.elapsed() < TIME_MAX, "{:?} for {}", start.elapsed(), text.get(..200).unwrap_or(text));
    (loki, promtail)
}

fn nested(count: usize, open: &str, inside: &str, close: &str) -> String {
    format!("{}{inside}{}", open.repeat(count), close.repeat(count))
}

#[test]
fn what_is_too_much_is_an_error() {
    let check = |text: &str, expected: &str| {
        let (answer, _) = run_all(text);
        assert!(answer.ends_with(expected), "{text:.100}: {answer:.300}");
    };
    let too_long = "text is longer than 4194304 bytes";
    check("{{repeat 1000000000 \"x\"}}", too_long);
    check("{{repeat 9223372036854775807 \"xx\"}}", "strings: Repeat output length overflow");
    check("{{$x := .json}}{{range 100}}{{$x = print $x $x}}{{end}}", too_long);
    check("{{printf \"%1000000d%1000000d%1000000d%1000000d%1000000d\" 1 2 3 4 5}}", too_long);
    check("{{alignLeft 9223372036854775807 .foo}}", too_long);
    check("{{indent 100000 (repeat 100000 \"\\n\")}}", too_long);
    check("{{range 1000000000000}}{{end}}", "template takes more than 1000000 steps");
    check("{{range 100000}}{{range 100000}}{{end}}{{end}}", "template takes more than 1000000 steps");
    let bytes_too = "{{$x := repeat 1000000 \"ab\"}}{{range 100000}}{{$y := Trim $x \"c\"}}{{ToUpper $x | len}}{{end}}";
    check(bytes_too, "template takes more than 1000000 steps");
    check("{{range 100000}}{{repeat 1000 \"x\"}}{{end}}", "output is longer than 4194304 bytes");
    check("{{define \"t\"}}{{template \"t\"}}{{end}}{{template \"t\"}}", "exceeded maximum template depth (100)");
    check(&nested(10_000, "{{if 1}}", "", "{{end}}"), "max nesting depth exceeded");
    check(&format!("{{{{{}}}}}", nested(10_000, "(", "1", ")")), "max expression depth exceeded");
    check(&format!("{{{{fromJson \"{}{}\"}}}}", "[".repeat(5_000), "]".repeat(5_000)), "<no value>");
}

#[test]
fn what_is_deep_enough_for_anyone_fits_the_stack() {
    let inside = format!("{{{{print {}}}}}", nested(20, "(print ", "1", ")"));
    let recursive = format!("{}{{{{template \"t\" .}}}}{}", "{{if 1}}".repeat(20), "{{end}}".repeat(20));
    let texts = [
        nested(60, "{{if 1}}", "x", "{{end}}"),
        nested(40, "{{range 1}}", &inside, "{{end}}"),
        format!("{{{{{}}}}}", nested(60, "(", "1", ")")),
        format!("{{{{if 0}}}}{}{{{{end}}}}", "{{else if 0}}".repeat(5_000)),
        format!("{{{{.{}}}}}", "foo.".repeat(10_000) + "foo"),
        format!("{{{{.foo{}}}}}", " | print".repeat(10_000)),
        format!("{{{{define \"t\"}}}}{inside}{recursive}{{{{end}}}}{{{{template \"t\" .}}}}"),
        format!("{{{{fromJson \"{}{}\"}}}}", "[".repeat(190), "]".repeat(190)),
    ];
    for text in texts {
        run_all(&text);
    }
}

#[test]
fn values_that_share_or_hold_themselves() {
    let check = |text: &str, expected: &str| {
        let (_, answer) = run_all(text);
        assert!(answer.ends_with(expected), "{text}: {answer:.300}");
    };
    let too_deep = "value is nested deeper than 200";
    let too_many = "template takes more than 1000000 steps";
    check("{{$d := dict}}{{$_ := set $d \"d\" $d}}{{$d}}", too_deep);
    check("{{$d := dict}}{{$_ := set $d \"d\" $d}}{{toJson $d}}", too_deep);
    check("{{$d := dict}}{{$_ := set $d \"d\" $d}}{{deepEqual $d $d}}", too_deep);
    check("{{$x := list 1}}{{range 1000}}{{$x = list $x}}{{end}}", too_deep);
    check("{{$x := list}}{{range 90}}{{$x = list $x $x}}{{end}}{{deepEqual $x $x}}", too_many);
    check("{{$x := list}}{{range 90}}{{$x = list $x $x}}{{end}}{{deepCopy $x}}", too_many);
    check("{{$x := list}}{{range 90}}{{$x = list $x $x}}{{end}}{{$x}}", "text is longer than 4194304 bytes");
    check("{{until 1000000000}}", "list has more than 100000 items");
    // Dropped without recursion: each holds the next.
    let chain = "{{$c := dict}}{{range 30000}}{{$n := dict}}{{$_ := set $c \"n\" $n}}{{$c = $n}}{{end}}done";
    check(chain, "done");
}

/// Pieces that templates are made of, well-formed together or not.
const PIECES: &[&str] = &[
    "{{",
    "}}",
    "{{- ",
    " -}}",
    "if ",
    "{{else}}",
    "{{end}}",
    "{{else if ",
    "range ",
    "with ",
    "define \"t\"",
    "template \"t\" ",
    "block \"b\" .",
    "{{break}}",
    "{{continue}}",
    "nil",
    "true",
    "$x := ",
    "$x = ",
    "$i, $x := ",
    "$x",
    "$",
    "|",
    "(",
    ")",
    ".",
    ".foo",
    ".json",
    ".num",
    ".uni",
    ".foo.bar",
    "\"abc\"",
    "\"\\xff\"",
    "`raw`",
    "'c'",
    "1",
    "-1",
    "1.5",
    "0x1F",
    "1e3",
    "2i",
    "99999999999",
    "len ",
    "index ",
    "slice ",
    "printf ",
    "\"%v %d %s %q %x %5.2f %[2]*d\" ",
    "print ",
    "html ",
    "js ",
    "eq ",
    "lt ",
    "and ",
    "or ",
    "not ",
    "fromJson ",
    "trunc ",
    "substr ",
    "Replace ",
    "repeat 3 ",
    "indent 2 ",
    "title ",
    "regexReplaceAll \"(a)|b*\" ",
    "count \"\" ",
    "add ",
    "div ",
    "divf ",
    "round ",
    "date \"2006-01-02\" ",
    "toDate \"2006\" ",
    "unixToTime ",
    "__timestamp__",
    ".Format ",
    ".Add 5",
    "alignLeft 5 ",
    "b64dec ",
    "bytes ",
    "duration ",
    "default ",
    "int ",
    "list ",
    "dict ",
    "first ",
    "rest ",
    "set ",
    "until 5",
    "split \"\" ",
    "join ",
    "chunk 2 ",
    "merge ",
    "toJson ",
    "humanize ",
    "query \"up\"",
    "toTime ",
    "stripDomain ",
    "call ",
    "x",
    " ",
    "\n",
    "é",
    "/*",
    "*/",
    ",",
    ":=",
    "=",
    "\"",
    "\\",
];

/// Texts that make sense, to be cut and spliced.
const SEEDS: &[&str] = &[
    "{{if eq .foo \"blip\"}}{{.num | add 1}}{{else}}{{range $i, $e := (fromJson .json).list}}{{$i}}{{$e}}{{end}}{{end}}",
    "{{define \"t\"}}{{with $x := .foo}}{{$x | ToUpper | trunc 2}}{{end}}{{end}}{{template \"t\" .}}{{block \"b\" .num}}{{.}}{{end}}",
    "{{printf \"%-10s|%5.2f|%x|%q\" .foo 1.5 .uni .html}}{{ __timestamp__.Format \"2006-01-02T15:04:05Z07:00\" }}",
    "{{$d := dict \"a\" (list 1 2.5 nil)}}{{$_ := set $d \"b\" .foo}}{{toJson $d}}{{range $k, $v := $d}}{{$k}}{{$v}}{{end}}",
    "{{regexReplaceAll \"(?P<x>[a-z]+)\" .bar \"${x}-$0\"}}{{ Replace .csv \",\" \"\" -1 | substr 1 2 }}{{round 1.25 1}}",
    "{{ range query \"up\" }}{{ .Labels.instance | stripPort }}{{ .Value | humanize }}{{ end }}{{ $labels.foo }}",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_text(text in ".{0,200}") {
        run_all(&text);
    }

    #[test]
    fn any_pieces(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..25)) {
        run_all(&pieces.concat());
    }

    #[test]
    fn any_action(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..12)) {
        run_all(&format!("{{{{{}}}}}", pieces.concat()));
    }

    /// A sensible text with some bytes taken out and pieces put in.
    #[test]
    fn mutated(
        seed in prop::sample::select(SEEDS),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..4, prop::sample::select(PIECES)), 1..5),
    ) {
        let mut text: Vec<char> = seed.chars().collect();
        for (at, removed, piece) in edits {
            let at = at.index(text.len() + 1);
            let end = text.len().min(at + removed);
            text.splice(at..end, piece.chars());
        }
        run_all(&text.into_iter().collect::<String>());
    }
}
