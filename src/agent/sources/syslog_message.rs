//! Messages of syslog, RFC 5424 and RFC 3164, and how they lie in a stream of bytes.
//!
//! ```text
//! 5424: <165>1 2003-10-11T22:14:15.003Z host app 1234 ID47 [id name="value"] text
//! 3164: <34>Oct 11 22:14:15 host app[123]: text
//! stream: octets counted ("57 <165>1 …") or ended by a line break
//! ```

use crate::types::go_time::{self, RFC3339_NANO};

const SEVERITIES: [&str; 8] =
    ["emergency", "alert", "critical", "error", "warning", "notice", "informational", "debug"];
const FACILITIES: [&str; 24] = [
    "kern",
    "user",
    "mail",
    "daemon",
    "auth",
    "syslog",
    "lpr",
    "news",
    "uucp",
    "cron",
    "authpriv",
    "ftp",
    "ntp",
    "security",
    "console",
    "solaris-cron",
    "local0",
    "local1",
    "local2",
    "local3",
    "local4",
    "local5",
    "local6",
    "local7",
];

/// A message taken apart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Message {
    pub(super) severity: Option<&'static str>,
    pub(super) facility: Option<&'static str>,
    /// Nanoseconds since the Unix epoch.
    pub(super) time_ns: Option<i64>,
    pub(super) hostname: Option<String>,
    pub(super) app_name: Option<String>,
    pub(super) proc_id: Option<String>,
    pub(super) msg_id: Option<String>,
    /// `(id, name, value)`
    pub(super) structured_data: Vec<(String, String, String)>,
    pub(super) text: String,
}

impl Message {
    /// Reads a message of RFC 5424.
    pub(super) fn rfc5424(text: &str) -> Option<Message> {
        let mut message = Message::default();
        let rest = message.priority(text)?.strip_prefix("1 ")?;
        let (time, rest) = rest.split_once(' ')?;
        message.time_ns = match time {
            "-" => None,
            time => Some(go_time::parse(RFC3339_NANO, time).ok()?.unix_nanos()),
        };
        let mut rest = rest;
        for place in [&mut message.hostname, &mut message.app_name, &mut message.proc_id, &mut message.msg_id] {
            let (value, after) = rest.split_once(' ')?;
            *place = (value != "-").then(|| value.to_owned());
            rest = after;
        }
        let rest = message.structured(rest)?;
        let text = rest.strip_prefix(' ').unwrap_or(rest);
        message.text = text.strip_prefix('\u{feff}').unwrap_or(text).to_owned();
        Some(message)
    }

    /// Reads a message of RFC 3164, as far as it is one.
    pub(super) fn rfc3164(text: &str, now_ns: i64) -> Option<Message> {
        let mut message = Message::default();
        let rest = message.priority(text)?;
        let (time, rest) = match rest.get(..15) {
            Some(time) => (go_time::parse("Jan _2 15:04:05", time).ok(), rest.get(15..)?),
            None => (None, rest),
        };
        let Some(time) = time else {
            message.text = rest.to_owned();
            return Some(message);
        };
        let year = go_time::GoTime::from_unix_nanos(now_ns, go_time::Zone::Utc).date().year;
        message.time_ns = Some(time.add_date(year, 0, 0).unix_nanos());
        let (host, rest) = rest.strip_prefix(' ')?.split_once(' ')?;
        message.hostname = Some(host.to_owned());
        let Some((tag, rest)) = rest.split_once(": ") else {
            message.text = rest.to_owned();
            return Some(message);
        };
        match tag.strip_suffix(']').and_then(|tag| tag.split_once('[')) {
            Some((app, id)) => (message.app_name, message.proc_id) = (Some(app.to_owned()), Some(id.to_owned())),
            None => message.app_name = Some(tag.to_owned()),
        }
        message.text = rest.to_owned();
        Some(message)
    }

    fn priority<'t>(&mut self, text: &'t str) -> Option<&'t str> {
        let (number, rest) = text.strip_prefix('<')?.split_once('>')?;
        let number: usize = number.parse().ok().filter(|number| *number < 192)?;
        self.severity = SEVERITIES.get(number % 8).copied();
        self.facility = FACILITIES.get(number / 8).copied();
        Some(rest)
    }

    fn structured<'t>(&mut self, text: &'t str) -> Option<&'t str> {
        if let Some(rest) = text.strip_prefix('-') {
            return Some(rest);
        }
        let mut rest = text;
        while let Some(element) = rest.strip_prefix('[') {
            let end = element.find([' ', ']'])?;
            let id = &element[..end];
            rest = &element[end..];
            while let Some(pair) = rest.strip_prefix(' ') {
                let (name, value) = pair.split_once("=\"")?;
                let mut read = String::new();
                let mut chars = value.char_indices();
                let end = loop {
                    match chars.next()? {
                        (at, '"') => break at,
                        (_, '\\') => match chars.next()?.1 {
                            c @ ('"' | '\\' | ']') => read.push(c),
                            c => read.extend(['\\', c]),
                        },
                        (_, c) => read.push(c),
                    }
                };
                self.structured_data.push((id.to_owned(), name.to_owned(), read));
                rest = &value[end + 1..];
            }
            rest = rest.strip_prefix(']')?;
        }
        (rest.len() < text.len()).then_some(rest)
    }
}

/// Takes whole messages out of a stream; what is left begins the next.
///
/// Errors: a message longer than `longest` bytes: the stream cannot be followed any more.
pub(super) fn frames(buffer: &mut Vec<u8>, longest: usize) -> Result<Vec<String>, ()> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < buffer.len() {
        let rest = &buffer[at..];
        if rest[0].is_ascii_digit() {
            let Some(space) = rest.iter().take(8).position(|byte| *byte == b' ') else {
                if rest.len() > 8 {
                    return Err(());
                }
                break;
            };
            let length = std::str::from_utf8(&rest[..space]).ok().and_then(|digits| digits.parse::<usize>().ok());
            let length = length.filter(|length| *length <= longest).ok_or(())?;
            let Some(message) = rest.get(space + 1..space + 1 + length) else { break };
            found.push(String::from_utf8_lossy(message).into_owned());
            at += space + 1 + length;
        } else if rest[0] == b'\n' || rest[0] == b'\0' {
            at += 1;
        } else {
            let Some(end) = rest.iter().position(|byte| *byte == b'\n' || *byte == b'\0') else {
                if rest.len() > longest {
                    return Err(());
                }
                break;
            };
            found.push(String::from_utf8_lossy(&rest[..end]).trim_end_matches('\r').to_owned());
            at += end + 1;
        }
    }
    buffer.drain(..at);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc5424() {
        let text = r#"<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [exampleSDID@32473 iut="3" eventSource="App\"x\]"][b c="d"] An event"#;
        let message = Message::rfc5424(text).expect("good");
        assert_eq!((message.severity, message.facility), (Some("notice"), Some("local4")));
        assert_eq!(message.time_ns, Some(1_065_910_455_003_000_000));
        assert_eq!(
            (
                message.hostname.as_deref(),
                message.app_name.as_deref(),
                message.proc_id.as_deref(),
                message.msg_id.as_deref()
            ),
            (Some("mymachine.example.com"), Some("evntslog"), None, Some("ID47"))
        );
        let data: Vec<(&str, &str, &str)> = message
            .structured_data
            .iter()
            .map(|(id, name, value)| (id.as_str(), name.as_str(), value.as_str()))
            .collect();
        assert_eq!(
            data,
            [("exampleSDID@32473", "iut", "3"), ("exampleSDID@32473", "eventSource", "App\"x]"), ("b", "c", "d")]
        );
        assert_eq!(message.text, "An event");
        assert_eq!(Message::rfc5424("<34>1 - - - - - - \u{feff}x").expect("good").text, "x");
        for bad in ["", "x", "<999>1 - - - - - - x", "<1>2 - - - - - - x", "<1>1 now - - - - - x", "<1>1 - - - - - x"] {
            assert_eq!(Message::rfc5424(bad), None, "{bad}");
        }
    }

    #[test]
    fn rfc3164() {
        let message = Message::rfc3164("<34>Oct 11 22:14:15 mymachine su[230]: failed: x", 1_065_910_455_000_000_000)
            .expect("good");
        assert_eq!(
            (message.hostname.as_deref(), message.app_name.as_deref(), message.proc_id.as_deref()),
            (Some("mymachine"), Some("su"), Some("230"))
        );
        assert_eq!((message.text.as_str(), message.time_ns), ("failed: x", Some(1_065_910_455_000_000_000)));
        assert_eq!(Message::rfc3164("<34>whatever", 0).expect("good").text, "whatever");
    }

    #[test]
    fn messages_in_a_stream() {
        let mut buffer = b"5 <1>1 <2>two\n\n10 <3".to_vec();
        assert_eq!(frames(&mut buffer, 100), Ok(vec!["<1>1 ".to_owned(), "<2>two".to_owned()]));
        assert_eq!(buffer, b"10 <3");
        buffer.extend_from_slice(b">three45");
        assert_eq!(frames(&mut buffer, 100), Ok(vec!["<3>three45".to_owned()]));
        assert_eq!(frames(&mut b"999 x".to_vec(), 100), Err(()));
        assert_eq!(frames(&mut vec![b'x'; 101], 100), Err(()));
    }
}
