//! Messages become rows: labels by the configuration, the rest structured metadata. CPU-bound, pure.

use std::borrow::Cow;
use std::net::IpAddr;

use bytes::Bytes;
use chrono_tz::Tz;
use hashbrown::HashMap;

use super::message::Message;
use super::settings::{SyslogConfig, SyslogField};
use crate::ingest::gate::TenantGate;
use crate::ingest::validate::StreamHandle;
use crate::receive::decode::{PushOutcome, finish, outcome_of, text_of};
use crate::types::labels::Labels;
use crate::types::time::UnixNanos;

/// A message as it came.
#[derive(Debug, Clone)]
pub(super) struct Received {
    pub(super) bytes: Bytes,
    pub(super) from: IpAddr,
    pub(super) at: UnixNanos,
}

/// What messages become.
#[derive(Debug, Clone)]
pub(super) struct Rows {
    constants: Vec<(String, String)>,
    fields: Vec<(SyslogField, String)>,
    use_message_time: bool,
    zone: Tz,
}

impl Rows {
    pub(super) fn new(config: &SyslogConfig) -> Self {
        Rows {
            constants: config.labels.constants.clone().into_iter().collect(),
            fields: config.labels.fields.clone().into_iter().collect(),
            use_message_time: config.use_message_time,
            zone: config.timezone.parse().unwrap_or(Tz::UTC),
        }
    }

    /// Decodes and checks messages.
    pub(super) fn decode(&self, messages: &[Received], gate: &TenantGate) -> PushOutcome {
        let bytes = messages.iter().map(|message| message.bytes.len()).sum();
        let mut admission = gate.admission(bytes);
        let mut streams: HashMap<Vec<String>, StreamHandle> = HashMap::new();
        for received in messages {
            let text = text_of(&received.bytes);
            let message = Message::parse(&text, received.at, self.zone);
            let from = received.from.to_string();
            let values: Vec<String> = self.fields.iter().map(|(field, _)| value(*field, &message, &from)).collect();
            match streams.get(&values) {
                Some(stream) => admission.select(*stream),
                None => {
                    let varying = self.fields.iter().map(|(_, label)| label).zip(&values);
                    let constants = self.constants.iter().map(|(label, value)| (label, value));
                    let labels = Labels::from_pairs(
                        constants.chain(varying).map(|(label, value)| (label.as_str(), value.as_str())),
                    );
                    let stream = admission.stream(labels);
                    streams.insert(values, stream);
                }
            }
            let time = message.time.filter(|_| self.use_message_time).unwrap_or(received.at);
            let _ = admission.entry(time.0, message.text, &self.metadata(&message, &from));
        }
        outcome_of(finish(admission))
    }

    fn metadata<'m>(&self, message: &'m Message<'_>, from: &'m str) -> Vec<(Cow<'m, str>, Cow<'m, str>)> {
        let is_label = |field| self.fields.iter().any(|(known, _)| *known == field);
        let mut pairs: Vec<(Cow<'m, str>, Cow<'m, str>)> = vec![("level".into(), message.level().into())];
        let fixed = [
            (SyslogField::Facility, "facility", Some(message.facility())),
            (SyslogField::Severity, "severity", Some(message.severity())),
            (SyslogField::Hostname, "hostname", message.hostname),
            (SyslogField::AppName, "app_name", message.app_name),
            (SyslogField::ProcId, "proc_id", message.proc_id),
            (SyslogField::MsgId, "msg_id", message.msg_id),
            (SyslogField::SourceIp, "source_ip", Some(from)),
        ];
        for (field, name, value) in fixed {
            if let Some(value) = value.filter(|_| !is_label(field)) {
                pairs.push((name.into(), value.into()));
            }
        }
        for (element, parameter, value) in &message.data {
            pairs.push((format!("sd_{element}_{parameter}").into(), Cow::Borrowed(value)));
        }
        pairs
    }
}

fn value(field: SyslogField, message: &Message<'_>, from: &str) -> String {
    let text = match field {
        SyslogField::Hostname => message.hostname.or(Some(from)),
        SyslogField::AppName => message.app_name,
        SyslogField::ProcId => message.proc_id,
        SyslogField::MsgId => message.msg_id,
        SyslogField::Facility => Some(message.facility()),
        SyslogField::Severity => Some(message.severity()),
        SyslogField::SourceIp => Some(from),
    };
    text.unwrap_or("").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::limits::Limits;
    use crate::receive::decode::tests::rows;

    const NOW: UnixNanos = UnixNanos(1_768_471_200_000_000_000);

    #[test]
    fn fields_are_labels_or_metadata() {
        let config = SyslogConfig::default();
        let received = |text: &str| Received {
            bytes: Bytes::copy_from_slice(text.as_bytes()),
            from: IpAddr::from([10, 0, 0, 9]),
            at: NOW,
        };
        let messages = [
            received(r#"<11>1 2026-01-15T10:00:00.000000005Z web nginx 7 ID1 [a@1 k="v"] failed"#),
            received("<14>from Python\0"),
            received("<13>Jan 15 10:00:00 web nginx: again"),
        ];
        let outcome = Rows::new(&config).decode(&messages, &TenantGate::alone(Limits::default(), NOW));
        let web = r#"{"app":"nginx","host":"web","job":"syslog","service_name":"nginx"}"#;
        assert_eq!(
            rows(&outcome),
            [
                format!(
                    r#"5 {web} error "failed" [facility=user,level=error,msg_id=ID1,proc_id=7,sd_a_1_k=v,severity=error,source_ip=10.0.0.9]"#
                ),
                r#"0 {"host":"10.0.0.9","job":"syslog","service_name":"syslog"} info "from Python" [facility=user,level=info,severity=informational,source_ip=10.0.0.9]"#.to_owned(),
                format!(r#"0 {web} info "again" [facility=user,level=info,severity=notice,source_ip=10.0.0.9]"#),
            ]
        );
    }

    #[test]
    fn streams_that_were_sound_are_survived() {
        use crate::receive::syslog::framing::Framer;

        let new = r#"<165>1 2026-01-15T10:00:00.003Z host app 123 ID47 [sd@1 k="v\"\]" l="é"][e@2] a text"#;
        let old = "<34>Jan 15 10:00:00 host app[123]: text";
        let sound = [
            format!("{} {new}{} {old}", new.len(), old.len()).into_bytes(),
            format!("{new}\n{old}\r\n<13>2026-01-15T10:00:00+00:00 h a: x\n").into_bytes(),
        ];
        let rows = Rows::new(&SyslogConfig::default());
        let gate = TenantGate::alone(Limits::default(), NOW);
        crate::receive::fuzz::survives(&sound, |stream| {
            let (mut framer, mut messages) = (Framer::new(200), Vec::new());
            'stream: for piece in stream.chunks(7) {
                framer.buffer.extend_from_slice(piece);
                loop {
                    match framer.next() {
                        Ok(Some(frame)) => {
                            assert!(frame.bytes.len() <= 200, "a message is cut at its limit");
                            messages.push(frame.bytes);
                        }
                        Ok(None) => break,
                        // The connection is closed here.
                        Err(_) => break 'stream,
                    }
                }
                assert!(framer.buffer.len() <= 200 + 16, "{} bytes are kept", framer.buffer.len());
            }
            messages.extend(framer.finish().map(|frame| frame.bytes));
            let received =
                |bytes: &Bytes| Received { bytes: bytes.clone(), from: IpAddr::from([10, 0, 0, 9]), at: NOW };
            let received: Vec<Received> = messages.iter().map(received).collect();
            if !received.is_empty() {
                crate::receive::fuzz::check(&rows.decode(&received, &gate));
            }
        });
    }
}
