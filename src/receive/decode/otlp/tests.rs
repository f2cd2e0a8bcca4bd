use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyOf;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

use super::*;
use crate::ingest::limits::Limits;
use crate::receive::decode::tests::rows;
use crate::receive::fuzz;
use crate::types::time::UnixNanos;

const NOW: UnixNanos = UnixNanos(1_768_471_200_000_000_000);

fn text(text: &str) -> AnyOf {
    AnyOf::StringValue(text.to_owned())
}

fn pair(key: &str, value: AnyOf) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn map(members: Vec<KeyValue>) -> AnyOf {
    AnyOf::KvlistValue(KeyValueList { values: members })
}

fn record(body: AnyOf) -> LogRecord {
    LogRecord { time_unix_nano: NOW.0 as u64, body: Some(AnyValue { value: Some(body) }), ..LogRecord::default() }
}

fn request(resource: Vec<KeyValue>, records: Vec<LogRecord>) -> ExportLogsServiceRequest {
    let scope = InstrumentationScope {
        name: "lib".to_owned(),
        version: "1.2".to_owned(),
        attributes: vec![pair("scope.kind", text("k"))],
        dropped_attributes_count: 2,
    };
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(Resource { attributes: resource, ..Resource::default() }),
            scope_logs: vec![ScopeLogs { scope: Some(scope), log_records: records, schema_url: String::new() }],
            schema_url: String::new(),
        }],
    }
}

fn decoded(limits: Limits, content_type: &str, body: Vec<u8>) -> PushOutcome {
    let gate = TenantGate::alone(limits, NOW);
    let request = OtlpRequest { content_type: Some(content_type), content_encoding: None, body: body.into() };
    decode_otlp(&request, &gate, &BodyLimits::default())
}

/// The rows of a request, which are the same in both of its forms.
fn rows_of(limits: Limits, request: &ExportLogsServiceRequest) -> Vec<String> {
    let protobuf = decoded(limits.clone(), "application/x-protobuf", request.encode_to_vec());
    let json = decoded(limits, "application/json", serde_json::to_vec(request).expect("JSON"));
    assert_eq!(protobuf.answer, Ok(()));
    assert_eq!((rows(&json), &json.answer), (rows(&protobuf), &protobuf.answer));
    rows(&protobuf)
}

#[test]
fn attributes_become_labels_and_metadata_as_in_loki() {
    let resource = vec![
        pair("service.name", text("checkout")),
        pair("k8s.pod.name", text("pod-1")),
        pair("host.name", text("h")),
        pair("empty", text("")),
    ];
    let full = LogRecord {
        observed_time_unix_nano: 7,
        severity_number: 17,
        severity_text: "Error".to_owned(),
        attributes: vec![
            pair("http.status", AnyOf::IntValue(503)),
            pair(
                "user",
                map(vec![pair("id", text("u")), pair("tags", map(vec![pair("a b", AnyOf::BoolValue(true))]))]),
            ),
            pair(
                "list",
                AnyOf::ArrayValue(ArrayValue {
                    values: vec![AnyValue { value: Some(text("x")) }, AnyValue { value: None }],
                }),
            ),
            pair("event_name", text("not this")),
        ],
        dropped_attributes_count: 3,
        flags: 1,
        trace_id: vec![0xab; 16],
        span_id: vec![0; 8],
        event_name: "paid".to_owned(),
        ..record(text("card declined"))
    };
    let structured = record(map(vec![
        pair("z", AnyOf::DoubleValue(1.5)),
        pair("a", text("<b>")),
        pair("n", AnyOf::BytesValue(vec![1, 2])),
    ]));
    let without_time =
        LogRecord { time_unix_nano: 0, observed_time_unix_nano: NOW.0 as u64 + 9, ..record(AnyOf::IntValue(5)) };
    let scope = "scope_dropped_attributes_count=2,scope_kind=k,scope_name=lib,scope_version=1.2";
    let labels = r#"{"k8s_pod_name":"pod-1","service_name":"checkout"}"#;
    assert_eq!(
        rows_of(Limits::default(), &request(resource, vec![full, structured, without_time])),
        [
            format!(
                r#"0 {labels} error "card declined" [dropped_attributes_count=3,event_name=paid,flags=1,host_name=h,http_status=503,list=["x",null],observed_timestamp=7,{scope},severity_number=17,severity_text=Error,trace_id=abababababababababababababababab,user_id=u,user_tags_a_b=true]"#
            ),
            format!(r#"0 {labels} unknown "{{\"a\":\"<b>\",\"n\":\"AQI=\",\"z\":1.5}}" [host_name=h,{scope}]"#),
            format!(r#"9 {labels} unknown "5" [host_name=h,{scope}]"#),
        ]
    );
}

#[test]
fn services_without_a_name_and_rules_of_a_tenant() {
    let resource = || vec![pair("container.name", text("c")), pair("host.name", text("h")), pair("secret", text("s"))];
    let labels = |limits: Limits, resource: Vec<KeyValue>| {
        let level = LogRecord {
            severity_text: "WARN".to_owned(),
            attributes: vec![pair("shard", text("7"))],
            ..record(text("x"))
        };
        rows_of(limits, &request(resource, vec![level])).remove(0)
    };
    let row = labels(Limits::default(), resource());
    assert!(row.starts_with(r#"0 {"container_name":"c","service_name":"c"} warn "#), "{row}");
    let row = labels(Limits::default(), vec![pair("service.name", text(""))]);
    assert!(row.starts_with(r#"0 {"service_name":"unknown_service"} "#), "{row}");
    let otlp_config = serde_json::from_str(
        r#"{"resource_attributes": {"ignore_defaults": true, "attributes_config": [{"action": "index_label", "attributes": ["host.name"]}, {"action": "drop", "regex": "sec.*"}]},
            "log_attributes": [{"action": "index_label", "attributes": ["shard"]}], "scope_attributes": [{"action": "drop", "regex": ".*"}], "severity_text_as_label": true}"#,
    )
    .expect("valid");
    let limits = Limits { otlp_config, ..Limits::default() };
    let mut named = resource();
    named.push(pair("service.name", text("n")));
    assert_eq!(
        labels(limits, named),
        r#"0 {"host_name":"h","severity_text":"WARN","shard":"7"} warn "x" [container_name=c,scope_dropped_attributes_count=2,scope_name=lib,scope_version=1.2,service_name=n,severity_text=WARN]"#
    );
}

#[test]
fn bad_requests_are_refused() {
    let check = |content_type: &str, body: &[u8], status: u16, start: &str| {
        let refused = decoded(Limits::default(), content_type, body.to_vec()).answer.expect_err("bad");
        assert_eq!(refused.status, status, "{refused}");
        assert!(refused.text.starts_with(start), "{refused}");
    };
    check("text/plain", b"{}", 400, "content type: text/plain is not supported");
    check("application/json; charset=utf-8", b"{}", 400, "content type: ");
    check("application/json", b"{}", 422, "error at least one valid stream");
    check("application/json", b"{", 400, "ReadObject: expect a string");
    check(
        "application/json",
        br#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"traceId":"zz"}]}]}]}"#,
        400,
        "ReadObject: expect hex",
    );
    check(
        "application/json",
        br#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"traceId":"00ff"}]}]}]}"#,
        400,
        "trace_id: invalid length",
    );
    check("application/x-protobuf", b"", 422, "error at least one valid stream");
    check("application/x-protobuf", b"\x0a\xff", 400, "");
    let deep = (0..200).fold(text("x"), |inner, _| map(vec![pair("m", inner)]));
    let body = request(vec![pair("deep", deep)], vec![record(text("x"))]).encode_to_vec();
    check("application/x-protobuf", &body, 400, "an attribute is nested deeper");
    let nameless = request(vec![pair("", text("x"))], vec![]).encode_to_vec();
    check("application/x-protobuf", &nameless, 400, "symbolizer lookup: label name is empty");
}

#[test]
fn encodings_of_the_contract() {
    use std::io::Write;

    let body = request(vec![pair("service.name", text("s"))], vec![record(text("line"))]).encode_to_vec();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&body).expect("in memory");
    let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
    lz4.write_all(&body).expect("in memory");
    let encoded = [
        ("", body.clone()),
        ("gzip", gzip.finish().expect("in memory")),
        ("zstd", zstd::encode_all(&body[..], 1).expect("in memory")),
        ("lz4", lz4.finish().expect("in memory")),
    ];
    let push = |encoding, body: Vec<u8>, limits: &BodyLimits| {
        let request = OtlpRequest {
            content_type: Some("application/x-protobuf"),
            content_encoding: Some(encoding),
            body: body.into(),
        };
        decode_otlp(&request, &TenantGate::alone(Limits::default(), NOW), limits)
    };
    for (encoding, body) in encoded {
        assert_eq!(push(encoding, body.clone(), &BodyLimits::default()).lines, 1, "{encoding}");
        let cut = push(encoding, body[..body.len() / 2].to_vec(), &BodyLimits::default());
        assert_eq!(cut.answer.expect_err("cut").status, 400, "{encoding}");
        let tight = BodyLimits { inflated_bytes_max: 10, compressed_bytes_max: 1 << 20 };
        let expected = if encoding.is_empty() { Ok(()) } else { Err(413) };
        assert_eq!(push(encoding, body, &tight).answer.map_err(|error| error.status), expected, "{encoding}");
    }
    let refused = push("br", body, &BodyLimits::default()).answer.expect_err("unknown");
    assert_eq!(refused.text, "unsupported content encoding br: only gzip, lz4 and zstd are supported");
}

#[test]
fn requests_that_were_sound_are_survived() {
    let nested = map(vec![
        pair("list", AnyOf::ArrayValue(ArrayValue { values: vec![AnyValue { value: Some(text("x")) }] })),
        pair("d", AnyOf::DoubleValue(1.5)),
        pair("b", AnyOf::BytesValue(vec![1, 2])),
    ]);
    let full = LogRecord {
        severity_number: 17,
        severity_text: "Error".to_owned(),
        attributes: vec![pair("user", nested.clone()), pair("n", AnyOf::IntValue(-5))],
        trace_id: vec![0xab; 16],
        span_id: vec![1; 8],
        ..record(nested)
    };
    let whole = request(vec![pair("service.name", text("s"))], vec![full, record(text("line"))]);
    fuzz::survives(&[whole.encode_to_vec()], |body| {
        fuzz::check(&decoded(Limits::default(), "application/x-protobuf", body.to_vec()));
    });
    fuzz::survives(&[serde_json::to_vec(&whole).expect("JSON")], |body| {
        fuzz::check(&decoded(Limits::default(), "application/json", body.to_vec()));
    });
}
