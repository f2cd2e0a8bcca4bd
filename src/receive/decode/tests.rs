use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int64Type, UInt32Type};
use proptest::prelude::*;

use super::*;
use crate::ingest::limits::Limits;
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
