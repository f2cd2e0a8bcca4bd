//! Answers byte by byte, without `stats`.

use super::*;
use crate::query::StreamEntries;

fn encoded(answer: QueryAnswer, categorize: bool) -> String {
    let pieces = Pieces::new(answer, &QueryStats::default(), categorize);
    let all: Vec<u8> = pieces.flatten().collect();
    let text = String::from_utf8(all).expect("UTF-8");
    serde_json::from_str::<serde_json::Value>(&text).expect("JSON");
    let (result, _) = text.split_once(",\"stats\":").expect("stats at the end");
    result.strip_prefix("{\"status\":\"success\",\"data\":{").expect("the frame").to_owned()
}

fn entry(ts: i64, line: &str, metadata: &[(&str, &str)], parsed: &[(&str, &str)]) -> Entry {
    let labels = |pairs: &[(&str, &str)]| Labels::from_pairs(pairs.iter().copied());
    Entry { ts: UnixNanos(ts), line: line.to_owned(), metadata: labels(metadata), parsed: labels(parsed) }
}

#[test]
fn streams() {
    let streams = || {
        let labels = |name: &str| Labels::from_pairs([("a", name)]);
        let first = vec![entry(2, "<x> & \"y\"\n", &[("m", "<")], &[("p", "2")]), entry(1, "\u{2028}\u{1}ł", &[], &[])];
        QueryAnswer::Streams(vec![
            StreamEntries { labels: labels("b"), entries: first },
            StreamEntries { labels: labels("c"), entries: vec![entry(3, "", &[], &[("p", "1")])] },
        ])
    };
    assert_eq!(
        encoded(streams(), false),
        r#""resultType":"streams","result":[{"stream":{"a":"b"},"values":[["2","\u003cx\u003e \u0026 \"y\"\n"],["1","\u2028\u0001ł"]]},{"stream":{"a":"c"},"values":[["3",""]]}]"#
    );
    assert_eq!(
        encoded(streams(), true),
        r#""resultType":"streams","encodingFlags":["categorize-labels"],"result":[{"stream":{"a":"b"},"values":[["2","\u003cx\u003e \u0026 \"y\"\n",{"structuredMetadata":{"m":"<"},"parsed":{"p":"2"}}],["1","\u2028\u0001ł",{}]]},{"stream":{"a":"c"},"values":[["3","",{"parsed":{"p":"1"}}]]}]"#
    );
    assert_eq!(encoded(QueryAnswer::Streams(Vec::new()), false), r#""resultType":"streams","result":[]"#);
}

#[test]
fn samples() {
    let time = UnixNanos(4_000_000_000_000_000_000);
    assert_eq!(
        encoded(QueryAnswer::Vector { time, samples: vec![(Labels::default(), 2.0)] }, false),
        r#""resultType":"vector","result":[{"metric":{},"value":[4000000000,"2"]}]"#
    );
    assert_eq!(
        encoded(QueryAnswer::Scalar { time: UnixNanos(1_500_000_000), value: f64::INFINITY }, false),
        r#""resultType":"scalar","result":[1500,"+Inf"]"#
    );
}

#[test]
fn times_have_the_places_they_need() {
    let check = |nanos: i64, expected: &str| {
        let mut out = String::new();
        push_seconds(&mut out, UnixNanos(nanos));
        assert_eq!(out, expected, "{nanos}");
    };
    check(0, "0");
    check(1_768_471_260_000_000_000, "1768471260");
    check(1_768_471_260_050_999_999, "1768471260.05");
    check(1_000_000, "0.001");
    check(-1_500_000_000, "-1.5");
}

#[test]
fn a_long_answer_comes_in_pieces() {
    let line = "x".repeat(1000);
    let entries: Vec<Entry> = (0..500).map(|ts| entry(ts, &line, &[], &[])).collect();
    let stream = StreamEntries { labels: Labels::default(), entries };
    let pieces = Pieces::new(QueryAnswer::Streams(vec![stream]), &QueryStats::default(), false);
    let lengths: Vec<usize> = pieces.map(|piece| piece.len()).collect();
    assert_eq!(lengths.len(), 500 * 1007 / PIECE_BYTES + 1);
    assert!(lengths.iter().all(|length| *length < PIECE_BYTES + PIECE_SLACK_BYTES));
}
