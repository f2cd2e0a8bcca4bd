use std::io::Read;
use std::sync::LazyLock;

use proptest::prelude::*;

use super::ast::*;
use super::*;

fn corpus() -> Vec<serde_json::Value> {
    let corpus: &[u8] = include_bytes!("../../tests/golden/dev.jsonl.gz");
    let mut text = String::new();
    flate2::read::GzDecoder::new(corpus).read_to_string(&mut text).expect("gzip");
    text.lines().map(|line| serde_json::from_str(line).expect("a case")).collect()
}

static QUERIES: LazyLock<Vec<String>> = LazyLock::new(|| {
    corpus().iter().filter_map(|case| case["params"].get("query")?.as_str().map(str::to_owned)).collect()
});

/// Every query of the recorded corpus: what Loki took parses, what it could not parse gives its very text.
#[test]
fn the_recorded_queries_parse_or_fail_as_they_did() {
    let mut seen = 0;
    for case in corpus() {
        let Some(query) = case["params"].get("query").and_then(|query| query.as_str()) else { continue };
        let body = case["body"].as_str().unwrap_or_default();
        let parsed = parse(query);
        seen += 1;
        match case["status"].as_u64() {
            Some(200) => assert!(parsed.is_ok(), "{query}: {}", parsed.expect_err("refused")),
            // Stages are compiled later, with their own tests.
            _ if body.starts_with("parse error") && !body.contains("stage '") => {
                assert_eq!(parsed.map_err(|error| error.to_string()), Err(body.trim().to_owned()), "{query}");
            }
            _ => {}
        }
    }
    assert!(seen > 250, "{seen}");
}

fn check_error(query: &str, expected: &str) {
    assert_eq!(parse(query).map_err(|error| error.to_string()), Err(expected.to_owned()), "{query}");
}

#[test]
fn errors_have_lokis_words_and_places() {
    check_error("", "parse error : syntax error: unexpected $end");
    check_error("{bad", "parse error at line 1, col 5: syntax error: unexpected $end, expecting = or =~ or !~ or !=");
    check_error("{a=\"b\"}\n| json |", "parse error at line 2, col 9: syntax error: unexpected $end");
    check_error("rate({a=\"b\"}[5m]) by (x)", "parse error : grouping not allowed for rate aggregation");
    check_error(
        "sum(rate({a=\"b\"}[5m])) by",
        "parse error at line 1, col 26: syntax error: unexpected $end, expecting (",
    );
    check_error("topk(0, rate({a=\"b\"}[5m]))", "parse error : invalid parameter (must be greater than 0) topk(0");
    check_error(
        "1 and rate({a=\"b\"}[5m])",
        "parse error : unexpected literal for left leg of logical/set binary operation (and): 1.000000",
    );
    assert!(parse(&"(".repeat(100_000)).is_err());
}

#[test]
fn matchers_alone() {
    assert_eq!(parse_matchers(r#"{a="b",c!~"d"}"#, true).expect("valid").len(), 2);
    assert!(parse_matchers("{a!=\"b\"}", false).is_ok());
    assert!(parse_matchers("{a!=\"b\"}", true).is_err());
    assert!(parse_matchers("{a=\"b\"} | json", true).is_err());
}

#[test]
fn precedence() {
    let check = |query: &str, expected: &str| {
        assert_eq!(print(&parse(query).expect(query)), expected, "{query}");
    };
    check("2 ^ 3 % 5 * vector(2)", "(3 * vector(2))");
    check("vector(1) + vector(2) * vector(3) ^ vector(4)", "(vector(1) + (vector(2) * (vector(3) ^ vector(4))))");
    check("vector(1) ^ vector(2) ^ vector(3)", "(vector(1) ^ (vector(2) ^ vector(3)))");
    check("vector(1) or vector(2) and vector(3)", "(vector(1) or (vector(2) and vector(3)))");
    check("-1 * vector(1)", "(-1 * vector(1))");
    check(r#"{a="b"} | x="1" or y="2" and z="3""#, r#"{a="b"} | ( x="1" or ( y="2" , z="3" ) )"#);
    check(r#"{a="b"} | x="1", y="2" or z="3""#, r#"{a="b"} | ( x="1" , ( y="2" or z="3" ) )"#);
    check("rate({a=\"b\"}[5m] offset -5m)", "rate({a=\"b\"}[5m] offset -5m0s)");
    check(
        "sum by(x)(rate({a=\"b\"} | unwrap y | z=\"1\" [5m]))",
        "sum by (x)(rate({a=\"b\"} | unwrap y | z=\"1\"[5m]))",
    );
    check("rate({a=\"b\"}[5m] | json)", "rate({a=\"b\"} | json[5m])");
}

#[test]
fn format_query() {
    let query = "sum by(level)(rate({service=\"inference-gateway\",environment=~\"lab|staging\"}|=\"timeout\"|json|line_format\"{{.path}}\"[5m]))/ignoring(level)group_left()sum(rate({service=\"inference-gateway\"}[5m]))";
    let expected = "  sum by (level)(\n    rate(\n      {service=\"inference-gateway\", environment=~\"lab|staging\"}\n        |= \"timeout\"\n        | json\n        | line_format \"{{.path}}\" [5m]\n    )\n  )\n/ ignoring (level) group_left\n  sum(rate({service=\"inference-gateway\"}[5m]))";
    assert_eq!(format(&parse(query).expect("valid")), expected);
}

fn name() -> impl Strategy<Value = String> + Clone {
    "[a-z_][a-z0-9_]{0,6}".prop_filter("no keyword", |name| {
        parse_matchers(&format!("{{{name}=\"x\"}}"), false).is_ok()
            && parse(&format!("{{a=\"b\"}} | {name}=\"x\"")).is_ok()
    })
}

fn text() -> impl Strategy<Value = String> {
    "[ -~\\n\\té日]{0,8}"
}

fn matcher() -> impl Strategy<Value = Matcher> {
    let op = prop_oneof![Just(MatchOp::Equal), Just(MatchOp::NotEqual)];
    (name(), op, text()).prop_map(|(name, op, value)| Matcher { name, op, value })
}

fn label_filter() -> impl Strategy<Value = LabelFilter> {
    let compare = prop_oneof![
        Just(CompareOp::Greater),
        Just(CompareOp::Equal),
        Just(CompareOp::NotEqual),
        Just(CompareOp::LessOrEqual)
    ];
    let leaf = prop_oneof![
        matcher().prop_map(LabelFilter::Text),
        (name(), compare.clone(), -1000_i32..1000).prop_map(|(label, op, value)| LabelFilter::Number {
            label,
            op,
            value: f64::from(value) / 4.0
        }),
        (name(), compare.clone(), 1_i64..100_000).prop_map(|(label, op, seconds)| LabelFilter::Duration {
            label,
            op,
            nanos: seconds * 1_000_000_000
        }),
        (name(), compare, any::<u32>()).prop_map(|(label, op, bytes)| LabelFilter::Bytes {
            label,
            op,
            bytes: literals::rounded_bytes(u64::from(bytes))
        }),
    ];
    leaf.prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(left, right)| LabelFilter::And(Box::new(left), Box::new(right))),
            (inner.clone(), inner).prop_map(|(left, right)| LabelFilter::Or(Box::new(left), Box::new(right))),
        ]
    })
}

fn stage() -> impl Strategy<Value = Stage> {
    let fields = proptest::collection::vec(
        (name(), Just("a.b".to_owned())).prop_map(|(label, expression)| FieldExtraction { label, expression }),
        0..3,
    )
    .boxed();
    let op = prop_oneof![Just(LineFilterOp::Contains), Just(LineFilterOp::NotContains), Just(LineFilterOp::Pattern)];
    let line_match =
        prop_oneof![3 => text().prop_map(LineMatch::Text), 1 => Just(LineMatch::Ip("10.0.0.0/8".to_owned()))];
    prop_oneof![
        (op, proptest::collection::vec(line_match, 1..3)).prop_map(|(op, mut any_of)| {
            // Alternatives of a negative filter parse to filters of their own.
            any_of.truncate(if op == LineFilterOp::NotContains { 1 } else { any_of.len() });
            Stage::LineFilter(LineFilter { op, any_of })
        }),
        fields.clone().prop_map(|fields| Stage::Json { fields }),
        (any::<bool>(), any::<bool>(), fields).prop_map(|(strict, keep_empty, fields)| Stage::Logfmt {
            strict,
            keep_empty,
            fields
        }),
        Just(Stage::Regexp { pattern: r"(?P<x>\w+)".to_owned() }),
        Just(Stage::Pattern { pattern: "<x> - <_>".to_owned() }),
        Just(Stage::Unpack),
        Just(Stage::Decolorize),
        label_filter().prop_map(Stage::LabelFilter),
        text().prop_map(|template| Stage::LineFormat { template }),
        (name(), name()).prop_map(|(label, from)| Stage::LabelFormat {
            formats: vec![LabelFormat { label, source: FormatSource::Rename(from) }]
        }),
        proptest::collection::vec(
            prop_oneof![name().prop_map(LabelSelector::Name), matcher().prop_map(LabelSelector::Matcher)],
            1..3
        )
        .prop_map(|labels| Stage::Drop { labels }),
    ]
}

fn log_expr() -> impl Strategy<Value = LogExpr> {
    (proptest::collection::vec(matcher(), 0..2), proptest::collection::vec(stage(), 0..4))
        .prop_map(|(mut matchers, stages)| {
            matchers.push(Matcher { name: "app".to_owned(), op: MatchOp::Equal, value: "x".to_owned() });
            LogExpr { matchers, stages }
        })
        // `drop a != "b"` is a matcher to Loki, never a name before a line filter.
        .prop_filter("a name before !=", |log| {
            log.stages.windows(2).all(|pair| {
                !matches!(pair, [Stage::Drop { labels }, Stage::LineFilter(filter)]
                if filter.op == LineFilterOp::NotContains && matches!(labels.last(), Some(LabelSelector::Name(_))))
            })
        })
}

fn metric_expr() -> impl Strategy<Value = MetricExpr> {
    let grouping = proptest::option::of(
        (any::<bool>(), proptest::collection::vec(name(), 1..3))
            .prop_map(|(without, labels)| Grouping { without, labels }),
    )
    .boxed();
    let range =
        (log_expr(), 1_i64..10_000, prop_oneof![Just(0_i64), 1_i64..5_000]).prop_map(|(log, range_s, offset_s)| {
            MetricExpr::Range(RangeAggregation {
                op: RangeOp::CountOverTime,
                param: None,
                log,
                range_ns: range_s * 1_000_000_000,
                offset_ns: offset_s * 1_000_000_000,
                grouping: None,
            })
        });
    let leaf = prop_oneof![4 => range, 1 => Just(MetricExpr::VectorLiteral(2.5))];
    leaf.prop_recursive(3, 6, 2, move |inner| {
        let matching = proptest::option::of(
            (
                any::<bool>(),
                proptest::collection::vec(name(), 0..2),
                // Without a list, a `(` that follows would be read as one, by Loki too.
                prop_oneof![Just(Group::None), proptest::collection::vec(name(), 1..3).prop_map(Group::Left)],
            )
                .prop_map(|(on, labels, group)| VectorMatching { on, labels, group }),
        );
        prop_oneof![
            (inner.clone(), grouping.clone()).prop_map(|(inner, grouping)| MetricExpr::Vector(VectorAggregation {
                op: VectorOp::Sum,
                param: None,
                inner: Box::new(inner),
                grouping
            })),
            (inner.clone(), inner.clone(), matching, any::<bool>()).prop_map(|(left, right, matching, return_bool)| {
                MetricExpr::Binary(BinaryExpr {
                    op: BinaryOp::Compare(CompareOp::Less),
                    left: Box::new(left),
                    right: Box::new(right),
                    return_bool,
                    matching,
                })
            }),
            inner.prop_map(|inner| MetricExpr::LabelReplace {
                inner: Box::new(inner),
                dst: "d".to_owned(),
                replacement: "$1".to_owned(),
                src: "s".to_owned(),
                regex: "(.*)".to_owned()
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_printed_log_query_parses_to_the_same_tree(log in log_expr()) {
        let expr = Expr::Log(log);
        prop_assert_eq!(parse(&print(&expr)), Ok(expr.clone()), "{}", print(&expr));
    }

    #[test]
    fn a_printed_metric_query_parses_to_the_same_tree(metric in metric_expr()) {
        let expr = Expr::Metric(metric);
        prop_assert_eq!(parse(&print(&expr)), Ok(expr.clone()), "{}", print(&expr));
        // Readable text leaves out parentheses, as Loki's does: it parses, but nested operations may group anew.
        prop_assert!(parse(&format(&expr)).is_ok(), "{}", format(&expr));
    }

    /// Recorded queries, a piece of each replaced by a piece of another.
    #[test]
    fn spliced_queries_never_panic(a in any::<prop::sample::Index>(), b in any::<prop::sample::Index>(),
                                   cuts in any::<[prop::sample::Index; 4]>()) {
        let (a, b): (Vec<char>, Vec<char>) = (a.get(&QUERIES).chars().collect(), b.get(&QUERIES).chars().collect());
        let piece = |text: &[char], from: &prop::sample::Index, to: &prop::sample::Index| {
            let (from, to) = (from.index(text.len() + 1), to.index(text.len() + 1));
            (from.min(to), from.max(to))
        };
        let (from, to) = piece(&a, &cuts[0], &cuts[1]);
        let (start, end) = piece(&b, &cuts[2], &cuts[3]);
        let spliced: String = a[..from].iter().chain(&b[start..end]).chain(&a[to..]).collect();
        if let Ok(expr) = parse(&spliced) {
            prop_assert!(parse(&print(&expr)).is_ok(), "{spliced} printed as {}", print(&expr));
        }
    }

    #[test]
    fn noise_never_panics(text in "[a-z{}()|=~!\"`\\[\\]0-9 .,+-]{0,40}") {
        let _ = parse(&text);
    }
}
