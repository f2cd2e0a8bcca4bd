//! Records of one partition become batches of rows, one a tenant, and a list of those that do not. CPU-bound, pure.
//!
//! ```text
//! raw, json        record ─▶ Mapping ─▶ tenant's Admission ─▶ one batch a tenant
//! loki_*, otlp_*   record ─▶ the decoder of that push ─▶ a batch a record
//! ```
//! An Admission runs the topic's stages and the tenant's.
//!
//! Invariant: every record is either in a batch, or rejected with a reason, or empty (a tombstone, a push of nothing).

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use hashbrown::HashMap;

use super::mapping::{Mapped, Mapping, Record, Unmapped};
use super::settings::Format;
use crate::ingest::gate::{IngestGates, TenantGate};
use crate::ingest::overrides::LimitsOf;
use crate::ingest::validate::{Admission, Discards, StreamHandle};
use crate::receive::decode::{BodyLimits, PushKind, PushOutcome, decode_record};
use crate::receive::door::Taken;
use crate::types::batch::LogBatch;
use crate::types::ids::TenantId;
use crate::types::time::UnixNanos;

/// Why records of a blocked tenant become nothing, as in Loki's metrics.
const BLOCKED: &str = "blocked_ingestion";
/// Why a record becomes nothing that shows a defect.
const DECODER_PANICKED: &str = "internal error while decoding";

/// What came of records.
#[derive(Debug, Default)]
pub struct Decoded {
    pub batches: Vec<(TenantId, LogBatch)>,
    pub rejected: Vec<Rejected>,
    /// Refused by limits, by tenant.
    pub discards: Vec<(TenantId, Discards)>,
    /// Lines and bytes taken, by tenant.
    pub taken: Vec<(TenantId, Taken)>,
    /// Records that a decoder panicked at: a defect.
    pub panics: u64,
}

/// A record that became nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Its place among the records.
    pub at: usize,
    pub reason: String,
}

/// Decodes with `decode`; where a defect of it panics, the records are decoded one by one, so that the poisoned one
/// becomes nothing alone and does not stop the partition.
pub fn surely(records: &[Record<'_>], decode: impl Fn(&[Record<'_>]) -> Decoded) -> Decoded {
    let attempt = |records: &[Record<'_>]| catch_unwind(AssertUnwindSafe(|| decode(records)));
    attempt(records).unwrap_or_else(|_| {
        let mut all = Decoded::default();
        for (at, record) in records.iter().enumerate() {
            let one = attempt(std::slice::from_ref(record)).unwrap_or_else(|_| Decoded {
                rejected: vec![Rejected { at: 0, reason: DECODER_PANICKED.to_owned() }],
                panics: 1,
                ..Decoded::default()
            });
            all.batches.extend(one.batches);
            all.rejected.extend(one.rejected.into_iter().map(|rejected| Rejected { at, ..rejected }));
            all.discards.extend(one.discards);
            all.taken.extend(one.taken);
            all.panics += one.panics;
        }
        all
    })
}

/// Decodes records of one partition.
pub fn decode(
    mapping: &Mapping,
    records: &[Record<'_>],
    limits: &LimitsOf,
    gates: &IngestGates,
    now: UnixNanos,
) -> Decoded {
    let gate_of = |tenant: &TenantId| gates.of(tenant, &limits.of(tenant), now).through(mapping.stages(tenant));
    match mapping.format {
        Format::Raw | Format::Json => decode_lines(mapping, records, &gate_of),
        Format::LokiJson => decode_pushes(PushKind::LokiJson, mapping, records, &gate_of),
        Format::LokiProtobuf => decode_pushes(PushKind::LokiProtobuf, mapping, records, &gate_of),
        Format::OtlpProtobuf => decode_pushes(PushKind::OtlpProtobuf, mapping, records, &gate_of),
    }
}

fn decode_pushes(
    kind: PushKind,
    mapping: &Mapping,
    records: &[Record<'_>],
    gate_of: &dyn Fn(&TenantId) -> TenantGate,
) -> Decoded {
    let mut decoded = Decoded::default();
    for (at, record) in records.iter().enumerate().filter(|(_, record)| !record.payload.is_empty()) {
        let tenant = match mapping.tenant(record, None) {
            Ok(tenant) => tenant,
            Err(Unmapped(reason)) => {
                decoded.rejected.push(Rejected { at, reason });
                continue;
            }
        };
        let gate = gate_of(&tenant);
        let PushOutcome { batch, answer, discards, lines, bytes } =
            decode_record(kind, record.payload, &gate, &BodyLimits::default());
        if let Err(refused) = answer {
            decoded.rejected.push(Rejected { at, reason: refused.text });
        }
        if !discards.0.is_empty() {
            decoded.discards.push((tenant.clone(), discards));
        }
        if let Some(batch) = batch {
            if gate.blocked().is_some() {
                decoded.rejected.push(Rejected { at, reason: BLOCKED.to_owned() });
            }
            decoded.take(&gate, batch, Taken { lines, bytes });
        }
    }
    decoded
}

impl Decoded {
    /// Takes a tenant's rows, unless the tenant is blocked.
    fn take(&mut self, gate: &TenantGate, batch: LogBatch, taken: Taken) {
        let tenant = gate.tenant_id().clone();
        if gate.blocked().is_some() {
            let mut discards = Discards::default();
            discards.add(BLOCKED, taken.lines, taken.bytes);
            self.discards.push((tenant, discards));
            return;
        }
        self.taken.push((tenant.clone(), taken));
        self.batches.push((tenant, batch));
    }
}

/// One tenant's lines of a batch.
struct OfTenant<'l> {
    admission: Admission<'l>,
    streams: HashMap<Box<[u8]>, StreamHandle>,
    /// The records of the entries so far.
    entered: Vec<usize>,
}

fn decode_lines(mapping: &Mapping, records: &[Record<'_>], gate_of: &dyn Fn(&TenantId) -> TenantGate) -> Decoded {
    let mut decoded = Decoded::default();
    // Records are read first, so that the gates of their tenants outlive the admissions that refer to them.
    let mut read: Vec<(usize, usize, Mapped<'_, '_>)> = Vec::with_capacity(records.len());
    let mut tenants: Vec<TenantGate> = Vec::new();
    for (at, record) in records.iter().enumerate().filter(|(_, record)| !record.payload.is_empty()) {
        let found = mapping.read(record).and_then(|mapped| Ok((mapping.tenant(record, Some(&mapped))?, mapped)));
        match found {
            Ok((tenant, mapped)) => {
                let place = tenants.iter().position(|gate| *gate.tenant_id() == tenant).unwrap_or_else(|| {
                    tenants.push(gate_of(&tenant));
                    tenants.len() - 1
                });
                read.push((at, place, mapped));
            }
            Err(Unmapped(reason)) => decoded.rejected.push(Rejected { at, reason }),
        }
    }
    let line_bytes = read.iter().map(|(_, _, mapped)| mapped.line().len()).sum::<usize>() / tenants.len().max(1);
    let mut of_tenants: Vec<OfTenant<'_>> = tenants
        .iter()
        .map(|gate| {
            let admission = gate.admission(line_bytes);
            OfTenant { admission, streams: HashMap::new(), entered: Vec::new() }
        })
        .collect();
    let mut key = Vec::new();
    let mut metadata: Vec<(Cow<'_, str>, Cow<'_, str>)> = Vec::new();
    for (at, place, mapped) in &read {
        let OfTenant { admission, streams, entered } = &mut of_tenants[*place];
        mapped.stream_key(&mut key);
        match streams.get(key.as_slice()) {
            Some(stream) => admission.select(*stream),
            None => {
                let stream = admission.stream(mapped.labels());
                streams.insert(key.as_slice().into(), stream);
            }
        }
        mapped.metadata(&mut metadata);
        let gate = &tenants[*place];
        let refused = admission.entry(mapped.time(gate.now()).0, mapped.line(), &metadata).err();
        if refused.is_none() {
            entered.push(*at);
        }
        if let Some(reason) = refused.or_else(|| gate.blocked().map(|_| BLOCKED)) {
            decoded.rejected.push(Rejected { at: *at, reason: reason.to_owned() });
        }
    }
    for (gate, of_tenant) in tenants.iter().zip(of_tenants) {
        match of_tenant.admission.finish() {
            Ok(admitted) => {
                let refused = admitted.refused_late.iter().filter(|_| gate.blocked().is_none());
                decoded.rejected.extend(refused.filter_map(|(number, reason)| {
                    let at = *of_tenant.entered.get(*number)?;
                    Some(Rejected { at, reason: (*reason).to_owned() })
                }));
                if !admitted.discards.0.is_empty() {
                    decoded.discards.push((gate.tenant_id().clone(), admitted.discards));
                }
                if let Some(batch) = admitted.batch {
                    decoded.take(gate, batch, Taken { lines: admitted.lines, bytes: admitted.bytes });
                }
            }
            Err(error) => {
                tracing::error!(%error, tenant = %gate.tenant_id(), "nothing of a tenant's records could be stored");
                let reason = error.to_string();
                decoded.rejected.retain(|rejected| !of_tenant.entered.contains(&rejected.at));
                decoded
                    .rejected
                    .extend(of_tenant.entered.iter().map(|at| Rejected { at: *at, reason: reason.clone() }));
            }
        }
    }
    decoded.rejected.sort_by_key(|rejected| rejected.at);
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::limits::Limits;
    use crate::receive::kafka::settings::TopicConfig;

    const NOW: UnixNanos = UnixNanos(1_768_471_200_000_000_000);

    fn record(payload: &[u8]) -> Record<'_> {
        let timestamp_ms = Some(NOW.0 / 1_000_000);
        Record { topic: "t", partition: 0, offset: 0, key: None, payload, headers: Vec::new(), timestamp_ms }
    }

    fn decode_with(config: &str, records: &[Record<'_>]) -> Decoded {
        let config: TopicConfig = serde_json::from_str(config).expect("well-formed");
        let mapping = Mapping::compile(&config, None).expect("compiles");
        decode(&mapping, records, &LimitsOf::new(Limits::default()), &IngestGates::default(), NOW)
    }

    fn decoded(config: &str, payloads: &[&str]) -> String {
        let records: Vec<Record<'_>> = payloads.iter().map(|payload| record(payload.as_bytes())).collect();
        let decoded = decode_with(config, &records);
        let batches = decoded.batches.iter().map(|(tenant, batch)| format!("{tenant}:{}", batch.rows()));
        let rejected = decoded.rejected.iter().map(|rejected| format!("#{} {}", rejected.at, rejected.reason));
        batches.chain(rejected).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn lines_are_batched_by_tenant_and_bad_ones_named() {
        let config = r#"{"topic":"t","format":"json","labels":{"fields":{"s":""}},"tenant":{"field":"org"}}"#;
        let payloads = [
            r#"{"org":"a","s":"1"}"#,
            "broken",
            r#"{"org":"b"}"#,
            "",
            r#"{"s":"no tenant"}"#,
            r#"{"org":"a","s":"2"}"#,
        ];
        assert_eq!(decoded(config, &payloads), "a:2; b:1; #1 not a JSON object; #4 it names no tenant");
    }

    #[test]
    fn limits_reject_single_records() {
        let config = r#"{"topic":"t","format":"json","timestamp":{"field":"ts"}}"#;
        let payloads = [r#"{"ts":"2020-01-01T00:00:00Z"}"#, r#"{"ts":"2026-01-15T10:00:00Z"}"#];
        assert_eq!(decoded(config, &payloads), "fake:1; #0 greater_than_max_sample_age");
    }

    #[test]
    fn stages_run_before_limits_and_each_record_is_accounted_for() {
        let stages = r#"[{"json":{"expressions":{"ts":"","s":""}}},{"timestamp":{"source":"ts","format":"RFC3339","action_on_failure":"skip"}},{"labels":{"s":""}},{"drop":{"source":"s","value":"no"}},{"replace":{"expression":"(pw=\\w+)","replace":"pw"}}]"#;
        let config = format!(r#"{{"topic":"t","labels":{{"topic":"topic"}},"pipeline_stages":{stages}}}"#);
        let payloads = [
            r#"{"ts":"2026-01-15T10:00:00Z","s":"a","m":"pw=x"}"#,
            r#"{"ts":"2020-01-01T00:00:00Z","s":"a"}"#,
            r#"{"s":"no"}"#,
            "plain pw=y",
            r#"{"ts":"2020-01-01T00:00:00Z","s":"b"}"#,
        ];
        let rejected = "#1 greater_than_max_sample_age; #4 greater_than_max_sample_age";
        assert_eq!(decoded(&config, &payloads), format!("fake:2; {rejected}"));
        let records: Vec<Record<'_>> = payloads.iter().map(|payload| record(payload.as_bytes())).collect();
        let (_, batch) = &decode_with(&config, &records).batches[0];
        let shown = arrow::util::pretty::pretty_format_batches(&[batch.record_batch().clone()]).expect("prints");
        let shown = shown.to_string();
        for part in [r#"{"s":"a","service_name":"unknown_service","topic":"t"}"#, r#""m":"pw"}"#, "plain pw "] {
            assert!(shown.contains(part), "{part}\n{shown}");
        }
        // Of pushes, too.
        let push = format!(r#"{{"streams":[{{"stream":{{"a":"b"}},"values":[["{}","pw=z"],["1","no"]]}}]}}"#, NOW.0);
        let config = format!(r#"{{"topic":"t","format":"loki_json","pipeline_stages":{stages}}}"#);
        let text = decoded(&config, &[&push]);
        assert!(
            text.starts_with(
                "fake:1; #0 entry for stream '{a=\"b\", service_name=\"unknown_service\"}' has timestamp too old"
            ),
            "{text}"
        );
    }

    #[test]
    fn pushes_are_decoded_record_by_record() {
        let push =
            format!(r#"{{"streams":[{{"stream":{{"a":"b"}},"values":[["{}","x"],["{}","y"]]}}]}}"#, NOW.0, NOW.0);
        let config = r#"{"topic":"t","format":"loki_json"}"#;
        let text = decoded(config, &[&push, "{", &push]);
        assert!(text.starts_with("fake:2; fake:2; #1 "), "{text}");
    }

    #[test]
    fn a_panicking_decoder_costs_one_record() {
        let records: Vec<Record<'_>> = [&b"a"[..], b"poison", b"b"].into_iter().map(record).collect();
        let decoded = surely(&records, |records| {
            assert!(records.iter().all(|record| record.payload != b"poison"), "a defect");
            decode_with(r#"{"topic":"t"}"#, records)
        });
        assert_eq!(decoded.rejected, [Rejected { at: 1, reason: DECODER_PANICKED.to_owned() }]);
        assert_eq!((decoded.batches.len(), decoded.panics), (2, 1));
    }

    #[test]
    fn records_that_were_sound_are_survived() {
        let push = format!(r#"{{"streams":[{{"stream":{{"a":"b"}},"values":[["{}","x"]]}}]}}"#, NOW.0);
        let document =
            br#"{"ts":"2026-01-15T10:00:00Z","s":"x","http":{"status":500,"list":[1,null]},"org":"t","m":"\u00e9\n"}"#;
        let fields = r#"{"topic":"t","format":"json","labels":{"fields":{"s":"","http.status":"","http":"h"}},"timestamp":{"field":"ts"},"tenant":{"field":"org"},"metadata":{"fields":{"http.list":""},"position":true},"message_field":"m"}"#;
        // resource_logs ─▶ scope_logs ─▶ log_records ─▶ body ─▶ text "x"
        let otlp = b"\x0a\x09\x12\x07\x12\x05\x2a\x03\x0a\x01x".to_vec();
        // streams ─▶ labels {a="b"}, entries ─▶ line "x"
        let loki = b"\x0a\x0e\x0a\x07{a=\"b\"}\x12\x03\x12\x01x".to_vec();
        let check = |config: &str, sound: &[Vec<u8>]| {
            crate::receive::fuzz::survives(sound, |payload| {
                let decoded = decode_with(config, &[record(payload)]);
                let taken: u64 = decoded.taken.iter().map(|(_, taken)| taken.lines).sum();
                let rows: usize = decoded.batches.iter().map(|(_, batch)| batch.rows()).sum();
                assert_eq!(rows as u64, taken);
                // A push may be of nothing; a line is something.
                let is_push = config.contains("loki_") || config.contains("otlp_") || payload.is_empty();
                assert!(is_push || rows > 0 || !decoded.rejected.is_empty(), "neither taken nor rejected");
            });
        };
        check(r#"{"topic":"t"}"#, &[b"a line".to_vec(), vec![0xff, 0xfe, b'x']]);
        check(fields, &[document.to_vec()]);
        check(r#"{"topic":"t","format":"loki_json"}"#, &[push.into_bytes()]);
        check(r#"{"topic":"t","format":"loki_protobuf"}"#, &[loki]);
        check(r#"{"topic":"t","format":"otlp_protobuf"}"#, &[otlp]);
    }

    #[test]
    fn absurd_times_are_answered_not_wrapped_around() {
        let config = r#"{"topic":"t","format":"json","timestamp":{"field":"ts"}}"#;
        for (ts, expected) in [
            ("-1", "#0 greater_than_max_sample_age"),
            ("\"9999-12-31T23:59:59Z\"", "fake:1"),
            ("\"0001-01-01T00:00:00Z\"", "fake:1"),
            ("9223372036854775807", "#0 too_far_in_future"),
            ("-9223372036854775808", "#0 greater_than_max_sample_age"),
            ("99999999999999999999999", "fake:1"),
            ("1e300", "fake:1"),
        ] {
            // A time that cannot be read is Kafka's, which is now.
            assert_eq!(decoded(config, &[&format!(r#"{{"ts":{ts}}}"#)]), expected, "{ts}");
        }
    }
}
