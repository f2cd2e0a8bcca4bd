use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int64Type, UInt32Type};
use proptest::prelude::*;

use super::*;
use crate::ingest::limits::Limits;
use crate::receive::fuzz;
use crate::types::time::UnixNanos;

const NOW: UnixNanos = UnixNanos(1_768_471_200_000_000_000);

fn push(content_type: &str, body: Vec<u8>) -> PushOutcome {
    let request =
        PushRequest { content_type: Some(content_type), content_encoding: None, body: body.into(), legacy: false };
    decode_push(&request, &TenantGate::alone(Limits::default(), NOW), &BodyLimits::default())
}

/// Rows as text, one a line: time, labels, level, line, metadata.
pub(in crate::receive) fn rows(outcome: &PushOutcome) -> Vec<String> {
    let Some(batch) = &outcome.batch else { return Vec::new() };
    let batch = batch.record_batch();
    let labels = batch.column(1).as_dictionary::<UInt32Type>();
    let names = labels.values().as_string::<i32>();
    let metadata = batch.column(4).as_map();
    (0..batch.num_rows())
        .map(|row| {
            let pairs = metadata.value(row);
            let pairs: Vec<String> = (0..pairs.len())
                .map(|at| {
                    format!(
                        "{}={}",
                        pairs.column(0).as_string::<i32>().value(at),
                        pairs.column(1).as_string::<i32>().value(at)
                    )
                })
                .collect();
            let ts = batch.column(0).as_primitive::<Int64Type>().value(row) - NOW.0;
            let level = batch.column(2).as_string_view().value(row);
            let line = batch.column(3).as_string_view().value(row);
            format!("{ts} {} {level} {line:?} [{}]", names.value(labels.keys().value(row) as usize), pairs.join(","))
        })
        .collect()
}

#[test]
fn json_rows_arrive_with_service_level_and_metadata() {
    let body = format!(
        r#"{{"x":[1,{{}}],"streams":[{{"values":[["{0}","say \"hi\" error"],["{0}","{{\"level\":\"warn\"}}",{{"trace-id":"t","a":""}}]],"stream":{{"service":"s","n":5}}}},{{"stream":{{"a":"b"}},"values":null}}]}}"#,
        NOW.0 + 5
    );
    let outcome = push("application/json", body.into_bytes());
    assert_eq!(outcome.answer, Ok(()));
    assert_eq!(
        rows(&outcome),
        [
            r#"5 {"n":"5","service":"s","service_name":"s"} error "say \"hi\" error" []"#,
            r#"5 {"n":"5","service":"s","service_name":"s"} warn "{\"level\":\"warn\"}" [trace_id=t]"#,
        ]
    );
}

#[test]
fn malformed_bodies_keep_nothing() {
    for body in [
        "",
        "{",
        "[]",
        r#"{"streams":5}"#,
        r#"{"streams":[{"stream":{"a":"b"},"values":[[5,"l"]]}]}"#,
        r#"{"streams":[{"stream":{"a":"b"},"values":[["5",5]]}]}"#,
        r#"{"streams":[{"stream":{"a":"b"},"values":[["5","l","x"]]}]}"#,
        r#"{"streams":[{"stream":{"a":"b"},"values":[["5","l",{"n":1}]]}]}"#,
    ] {
        let outcome = push("application/json", body.as_bytes().to_vec());
        assert_eq!(outcome.answer.map_err(|error| error.status), Err(400), "{body}");
        assert!(outcome.batch.is_none(), "{body}");
    }
    for body in [r#"{"streams":[]}"#, "{}", r#"{"streams":null}"#] {
        assert_eq!(
            push("application/json", body.as_bytes().to_vec()).answer.map_err(|error| error.status),
            Err(422),
            "{body}"
        );
    }
}

#[derive(prost::Message)]
struct ProtoPush {
    #[prost(message, repeated, tag = "1")]
    streams: Vec<ProtoStream>,
}

#[derive(prost::Message)]
struct ProtoStream {
    #[prost(string, tag = "1")]
    labels: String,
    #[prost(message, repeated, tag = "2")]
    entries: Vec<ProtoEntry>,
}

#[derive(prost::Message)]
struct ProtoEntry {
    #[prost(message, optional, tag = "1")]
    timestamp: Option<ProtoTime>,
    #[prost(string, tag = "2")]
    line: String,
    #[prost(message, repeated, tag = "3")]
    metadata: Vec<ProtoPair>,
}

#[derive(prost::Message)]
struct ProtoTime {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

#[derive(prost::Message)]
struct ProtoPair {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

fn proto_body(lines: &[(u32, String, String)]) -> Vec<u8> {
    let entry = |(age, line, trace): &(u32, String, String)| {
        let ts = NOW.0 - i64::from(*age);
        ProtoEntry {
            timestamp: Some(ProtoTime { seconds: ts / 1_000_000_000, nanos: (ts % 1_000_000_000) as i32 }),
            line: line.clone(),
            metadata: vec![ProtoPair { name: "trace".to_owned(), value: trace.clone() }],
        }
    };
    let stream = ProtoStream { labels: r#"{a="b\"c"}"#.to_owned(), entries: lines.iter().map(entry).collect() };
    let bytes = prost::Message::encode_to_vec(&ProtoPush { streams: vec![stream] });
    snap::raw::Encoder::new().compress_vec(&bytes).expect("small")
}

fn json_body(lines: &[(u32, String, String)]) -> Vec<u8> {
    let values: Vec<_> = lines
        .iter()
        .map(|(age, line, trace)| serde_json::json!([(NOW.0 - i64::from(*age)).to_string(), line, {"trace": trace}]))
        .collect();
    serde_json::json!({"streams": [{"stream": {"a": "b\"c"}, "values": values}]}).to_string().into_bytes()
}

proptest! {
    #[test]
    fn json_and_protobuf_of_the_same_entries_are_the_same_rows(lines: Vec<(u32, String, String)>) {
        let (json, proto) = (push("application/json", json_body(&lines)), push("application/x-protobuf", proto_body(&lines)));
        prop_assert_eq!(&json.answer, &proto.answer);
        prop_assert_eq!(rows(&json), rows(&proto));
        prop_assert_eq!(json.lines, lines.len() as u64);
    }

    #[test]
    fn damaged_bodies_never_panic(lines in proptest::collection::vec((0_u32..9, ".{0,8}", ".{0,4}"), 0..3), cut: prop::sample::Index, at: prop::sample::Index, byte: u8) {
        for (kind, mut body) in [("application/json", json_body(&lines)), ("application/x-protobuf", proto_body(&lines))] {
            let place = at.index(body.len());
            body[place] = byte;
            body.truncate(cut.index(body.len()) + 1);
            let _ = push(kind, body.clone());
            let _ = push("application/x-protobuf", snap::raw::Encoder::new().compress_vec(&body).expect("small"));
        }
    }
}

fn snapped(body: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(body).expect("small")
}

/// Metadata, escapes, two streams, no streams.
fn sound_json() -> Vec<Vec<u8>> {
    let lines = [(5, "say \"hi\" \u{e9}\n".to_owned(), "t1".to_owned()), (9, String::new(), "t2".to_owned())];
    let now = NOW.0;
    let two = format!(
        r#"{{"streams":[{{"values":[["{now}","a",{{"k":"v"}}]],"stream":{{"a":"b","n":5}}}},{{"stream":{{"c":"d\u00e9"}},"values":[["{now}","{{\"level\":\"warn\"}}"]]}}],"x":[1,{{}}]}}"#
    );
    vec![json_body(&lines), two.into_bytes(), br#"{"streams":[]}"#.to_vec()]
}

#[test]
fn loki_json_that_was_sound_is_survived() {
    let legacy =
        br#"{"streams":[{"labels":"{a=\"b\", c=`d`}","entries":[{"ts":"2026-01-15T10:00:00.5Z","line":"x"}]}]}"#;
    let mut sound = sound_json();
    sound.push(legacy.to_vec());
    let gate = TenantGate::alone(Limits::default(), NOW);
    fuzz::survives(&sound, |body| {
        for legacy in [false, true] {
            let request = PushRequest {
                content_type: Some("application/json"),
                content_encoding: None,
                body: Bytes::copy_from_slice(body),
                legacy,
            };
            fuzz::check(&decode_push(&request, &gate, &BodyLimits::default()));
        }
    });
}

#[test]
fn loki_protobuf_that_was_sound_is_survived() {
    let lines = [(5, "a line".to_owned(), "t1".to_owned()), (9, String::new(), "t2".to_owned())];
    let outside = proto_body(&lines);
    let inside = snap::raw::Decoder::new().decompress_vec(&outside).expect("sound");
    fuzz::survives(&[outside], |body| fuzz::check(&push("application/x-protobuf", body.to_vec())));
    fuzz::survives(&[inside], |body| fuzz::check(&push("application/x-protobuf", snapped(body))));
}

#[test]
fn times_at_the_ends_of_their_range_are_answered() {
    let limits = Limits { reject_old_samples: false, ..Limits::default() };
    let gate = TenantGate::alone(limits, NOW);
    for (time, is_taken) in
        [(i64::MIN, true), (-1, true), (0, true), (i64::MAX, false), (4_000_000_000_000_000_000, false)]
    {
        let body = format!(r#"{{"streams":[{{"stream":{{"a":"b"}},"values":[["{time}","x"]]}}]}}"#);
        let request = PushRequest {
            content_type: Some("application/json"),
            content_encoding: None,
            body: body.into(),
            legacy: false,
        };
        let outcome = decode_push(&request, &gate, &BodyLimits::default());
        assert_eq!(
            (outcome.batch.is_some(), outcome.answer.is_ok()),
            (is_taken, is_taken),
            "{time}: {:?}",
            outcome.answer
        );
    }
    for time in ["9223372036854775808", "-9223372036854775809", "1e18", "", " 1", "0x1"] {
        let body = format!(r#"{{"streams":[{{"stream":{{"a":"b"}},"values":[["{time}","x"]]}}]}}"#);
        let answer = push("application/json", body.into_bytes()).answer.map_err(|error| error.status);
        assert_eq!(answer, Err(400), "{time}");
    }
}
