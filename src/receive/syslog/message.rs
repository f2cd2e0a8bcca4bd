//! One syslog message: RFC 5424, RFC 3164, and what else programs send. Pure; every text is some message.
//!
//! ```text
//! <165>1 2026-01-15T10:00:00.003Z host app 123 ID47 [sd@1 k="v"] text      5424
//! <34>Jan 15 10:00:00 host app[123]: text                                  3164
//! <13>2026-01-15T10:00:00+00:00 host app: text                             3164 with a time people can sort by
//! <14>text                                                                 Python's SysLogHandler, loggers in the small
//! ```
//!
//! Without a priority a message is user.notice, as RFC 3164 has it.

use std::borrow::Cow;

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, TimeZone};
use chrono_tz::Tz;

use crate::types::time::UnixNanos;

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
const SEVERITIES: [&str; 8] =
    ["emergency", "alert", "critical", "error", "warning", "notice", "informational", "debug"];
/// The level that a severity means elsewhere.
const LEVELS: [&str; 8] = ["critical", "critical", "critical", "error", "warn", "info", "info", "debug"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// user.notice
const PRIORITY_DEFAULT: u8 = 13;

/// A message, in place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Message<'m> {
    priority: u8,
    pub(super) time: Option<UnixNanos>,
    pub(super) hostname: Option<&'m str>,
    pub(super) app_name: Option<&'m str>,
    pub(super) proc_id: Option<&'m str>,
    pub(super) msg_id: Option<&'m str>,
    /// `(element, parameter, value)`; an element without parameters has one without name.
    pub(super) data: Vec<(&'m str, &'m str, Cow<'m, str>)>,
    pub(super) text: &'m str,
}

impl<'m> Message<'m> {
    pub(super) fn facility(&self) -> &'static str {
        FACILITIES.get(usize::from(self.priority >> 3)).copied().unwrap_or("unknown")
    }

    pub(super) fn severity(&self) -> &'static str {
        SEVERITIES[usize::from(self.priority & 7)]
    }

    pub(super) fn level(&self) -> &'static str {
        LEVELS[usize::from(self.priority & 7)]
    }

    /// Reads a message; `now` gives the year that RFC 3164 leaves out, `zone` the zone.
    pub(super) fn parse(text: &'m str, now: UnixNanos, zone: Tz) -> Self {
        let text = text.trim_end_matches(['\n', '\r', '\0']);
        let (priority, rest) = priority(text).unwrap_or((PRIORITY_DEFAULT, text));
        rfc5424(priority, rest).unwrap_or_else(|| rfc3164(priority, rest, now, zone))
    }
}

/// `<191>` and what follows it.
fn priority(text: &str) -> Option<(u8, &str)> {
    let (digits, rest) = text.strip_prefix('<')?.split_once('>')?;
    let is_number = (1..=3).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: u8 = digits.parse().ok().filter(|number| is_number && *number <= 191)?;
    Some((number, rest))
}

/// A token up to the next space, and what follows the space.
fn token(text: &str) -> Option<(&str, &str)> {
    text.split_once(' ').filter(|(token, _)| !token.is_empty())
}

fn given(text: &str) -> Option<&str> {
    (text != "-").then_some(text)
}

fn rfc5424(priority: u8, text: &str) -> Option<Message<'_>> {
    let (version, rest) = token(text)?;
    if version != "1" {
        return None;
    }
    let (time, rest) = token(rest)?;
    let (hostname, rest) = token(rest)?;
    let (app_name, rest) = token(rest)?;
    let (proc_id, rest) = token(rest)?;
    // Some senders leave out all that follows.
    let (msg_id, rest) = token(rest).unwrap_or((rest, "-"));
    let time = match given(time) {
        Some(time) => Some(rfc3339(time)?),
        None => None,
    };
    let (data, rest) = structured_data(rest)?;
    let text = rest.strip_prefix(' ').unwrap_or(rest);
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    Some(Message {
        priority,
        time,
        hostname: given(hostname),
        app_name: given(app_name),
        proc_id: given(proc_id),
        msg_id: given(msg_id),
        data,
        text,
    })
}

/// `-`, or `[id name="value" …][…]`; and what follows.
#[expect(clippy::type_complexity, reason = "the triple is what Message::data holds")]
fn structured_data(text: &str) -> Option<(Vec<(&str, &str, Cow<'_, str>)>, &str)> {
    if let Some(rest) = text.strip_prefix('-') {
        return Some((Vec::new(), rest));
    }
    let mut data = Vec::new();
    let mut rest = text;
    while let Some(element) = rest.strip_prefix('[') {
        let end = element.find([' ', ']'])?;
        let id = &element[..end];
        let mut inside = &element[end..];
        let mut is_bare = true;
        loop {
            inside = inside.trim_start_matches(' ');
            if let Some(after) = inside.strip_prefix(']') {
                rest = after;
                break;
            }
            let (name, after) = inside.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            data.push((id, name, value));
            is_bare = false;
            inside = after;
        }
        if is_bare {
            data.push((id, "", Cow::Borrowed("")));
        }
    }
    (rest.len() < text.len()).then_some((data, rest))
}

/// A value up to its closing quote, in which `\"`, `\\` and `\]` are escapes.
fn quoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut owned: Option<String> = None;
    let mut from = 0;
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                let value = match owned {
                    Some(mut owned) => {
                        owned.push_str(&text[from..at]);
                        Cow::Owned(owned)
                    }
                    None => Cow::Borrowed(&text[..at]),
                };
                return Some((value, &text[at + 1..]));
            }
            b'\\' if matches!(bytes.get(at + 1), Some(b'"' | b'\\' | b']')) => {
                owned.get_or_insert_default().push_str(&text[from..at]);
                from = at + 1;
                at += 2;
            }
            _ => at += 1,
        }
    }
    None
}

fn rfc3164(priority: u8, text: &str, now: UnixNanos, zone: Tz) -> Message<'_> {
    let bare = Message {
        priority,
        time: None,
        hostname: None,
        app_name: None,
        proc_id: None,
        msg_id: None,
        data: Vec::new(),
        text,
    };
    let Some((time, rest)) = leading_time(text, now, zone) else { return bare };
    let rest = rest.trim_start_matches(' ');
    // Local senders leave the host out: then the tag comes first, and ends with a colon.
    let (hostname, rest) = match token(rest) {
        Some((word, after)) if !word.ends_with(':') && !word.contains('[') => (Some(word), after),
        _ => (None, rest),
    };
    let (app_name, proc_id, text) = tag(rest).unwrap_or((None, None, rest));
    Message { time: Some(time), hostname, app_name, proc_id, text, ..bare }
}

/// `app[123]: ` or `app: `, and what follows.
fn tag(text: &str) -> Option<(Option<&str>, Option<&str>, &str)> {
    let end = text.find([':', '[', ' '])?;
    let (name, rest) = text.split_at(end);
    let (proc_id, rest) = match rest.strip_prefix('[') {
        Some(inside) => {
            let (id, after) = inside.split_once(']')?;
            (Some(id), after)
        }
        None => (None, rest),
    };
    let after = rest.strip_prefix(':').or_else(|| proc_id.map(|_| rest))?;
    if name.is_empty() {
        return None;
    }
    Some((Some(name), proc_id, after.strip_prefix(' ').unwrap_or(after)))
}

fn rfc3339(text: &str) -> Option<UnixNanos> {
    DateTime::parse_from_rfc3339(text).ok()?.timestamp_nanos_opt().map(UnixNanos)
}

/// A time at the beginning: RFC 3339, or `Jan 15 [2026] 10:00:00[.000]`.
fn leading_time(text: &str, now: UnixNanos, zone: Tz) -> Option<(UnixNanos, &str)> {
    if text.as_bytes().first()?.is_ascii_digit() {
        let (time, rest) = token(text)?;
        return Some((rfc3339(time)?, rest));
    }
    let mut rest = text;
    let mut word = || {
        let trimmed = rest.trim_start_matches(' ');
        let end = trimmed.find(' ').unwrap_or(trimmed.len());
        rest = &trimmed[end..];
        &trimmed[..end]
    };
    let name = word();
    let month = MONTHS.iter().position(|month| *month == name)? as u32 + 1;
    let day: u32 = word().parse().ok()?;
    let mut clock = word();
    let mut year: Option<i32> = None;
    if !clock.contains(':') {
        year = Some(clock.parse().ok()?);
        clock = word();
    }
    let clock = NaiveTime::parse_from_str(clock.trim_end_matches(':'), "%H:%M:%S%.f").ok()?;
    let this_year = DateTime::from_timestamp_nanos(now.0).with_timezone(&zone).year();
    let years = year.map_or([this_year - 1, this_year, this_year + 1], |year| [year; 3]);
    let at = |year: i32| {
        let local = NaiveDateTime::new(NaiveDate::from_ymd_opt(year, month, day)?, clock);
        zone.from_local_datetime(&local).earliest()?.timestamp_nanos_opt()
    };
    let nearest = years.into_iter().filter_map(at).min_by_key(|time| time.abs_diff(now.0))?;
    Some((UnixNanos(nearest), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-01-15T10:00:00Z
    const NOW: UnixNanos = UnixNanos(1_768_471_200_000_000_000);

    fn read(text: &str) -> String {
        let message = Message::parse(text, NOW, Tz::UTC);
        let time = message.time.map_or("-".to_owned(), |time| {
            DateTime::from_timestamp_nanos(time.0).to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
        });
        let or_none = |text: Option<&str>| text.unwrap_or("-").to_owned();
        let data: Vec<String> = message.data.iter().map(|(id, name, value)| format!("{id}.{name}={value}")).collect();
        format!(
            "{}.{} {time} {} {} {} {} [{}] {:?}",
            message.facility(),
            message.severity(),
            or_none(message.hostname),
            or_none(message.app_name),
            or_none(message.proc_id),
            or_none(message.msg_id),
            data.join(" "),
            message.text
        )
    }

    #[test]
    fn rfc_5424() {
        let check = |text: &str, expected: &str| assert_eq!(read(text), expected, "{text}");
        check(
            "<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \u{feff}'su root' failed for lonvick",
            "auth.critical 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 [] \"'su root' failed for lonvick\"",
        );
        check(
            r#"<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - [ex@32473 iut="3" q="a\"b\]c\\d\e"][bare] text"#,
            r#"local4.notice 2003-08-24T12:14:15.000003Z 192.0.2.1 myproc 8710 - [ex@32473.iut=3 ex@32473.q=a"b]c\d\e bare.=] "text""#,
        );
        check("<165>1 - - - - - -", "local4.notice - - - - - [] \"\"");
        check("<165>1 - h a p m", "local4.notice - h a p m [] \"\"");
        check("<14>1 not a time at all here", "user.informational - - - - - [] \"1 not a time at all here\"");
        check("<14>1 - h a p m [open x", "user.informational - - - - - [] \"1 - h a p m [open x\"");
    }

    #[test]
    fn rfc_3164() {
        let check = |text: &str, expected: &str| assert_eq!(read(text), expected, "{text}");
        check(
            "<34>Oct 11 22:14:15 mymachine su: 'su root' failed\n",
            "auth.critical 2025-10-11T22:14:15Z mymachine su - - [] \"'su root' failed\"",
        );
        check("<13>Jan  5 09:00:00 host cron[77]: ran", "user.notice 2026-01-05T09:00:00Z host cron 77 - [] \"ran\"");
        check("<13>Jan  5 09:00:00 cron[77]: ran", "user.notice 2026-01-05T09:00:00Z - cron 77 - [] \"ran\"");
        check("<13>Dec 31 23:59:59.5 h a: x", "user.notice 2025-12-31T23:59:59.500Z h a - - [] \"x\"");
        check("<13>Mar 1 2024 00:00:00: h a: x", "user.notice 2024-03-01T00:00:00Z h a - - [] \"x\"");
        check(
            "<13>2026-01-15T10:00:00.123456+02:00 host app: hello: world",
            "user.notice 2026-01-15T08:00:00.123456Z host app - - [] \"hello: world\"",
        );
        check("<13>Jan 15 10:00:00 host no tag here", "user.notice 2026-01-15T10:00:00Z host - - - [] \"no tag here\"");
    }

    #[test]
    fn whatever_is_sent_is_some_message() {
        let check = |text: &str, expected: &str| assert_eq!(read(text), expected, "{text}");
        check("<14>error: from Python\0", "user.informational - - - - - [] \"error: from Python\"");
        check("no priority", "user.notice - - - - - [] \"no priority\"");
        check("<192>x", "user.notice - - - - - [] \"<192>x\"");
        check("<>", "user.notice - - - - - [] \"<>\"");
        check("", "user.notice - - - - - [] \"\"");
        check("<13>Jan 32 10:00:00 h a: x", "user.notice - - - - - [] \"Jan 32 10:00:00 h a: x\"");
        check("<13>Jan", "user.notice - - - - - [] \"Jan\"");
    }

    #[test]
    fn times_without_a_zone_are_of_the_configured_one() {
        let zone: Tz = "Europe/Berlin".parse().expect("known");
        let message = Message::parse("<13>Jan 15 11:00:00 h a: x", NOW, zone);
        assert_eq!(message.time, Some(NOW));
        assert_eq!(message.level(), "info");
    }
}
