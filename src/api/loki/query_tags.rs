//! `X-Query-Tags`: what a client says of its query, for the log.
//!
//! Source: Loki keeps letters, digits, `-`, `=`, `,` and spaces; a run of anything else becomes `_`. A tag without one
//! `=` is left out, names are lower case.

use axum::http::HeaderMap;

const HEADER: &str = "x-query-tags";
/// Bytes of a header that are looked at.
const BYTES_MAX: usize = 1_024;

/// The tags as `name=value` with `,` between them; empty without any.
pub(super) fn tags_of(headers: &HeaderMap) -> String {
    let Some(text) = headers.get(HEADER) else { return String::new() };
    let mut safe = String::new();
    for byte in text.as_bytes().iter().take(BYTES_MAX) {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'=' | b',' | b' ' => safe.push(char::from(*byte)),
            _ if safe.ends_with('_') => {}
            _ => safe.push('_'),
        }
    }
    let tags = safe.split(',').filter_map(|tag| {
        let mut parts = tag.split('=').filter(|part| !part.is_empty());
        match (parts.next(), parts.next(), parts.next()) {
            (Some(name), Some(value), None) => Some(format!("{}={value}", name.to_lowercase())),
            _ => None,
        }
    });
    tags.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_made_safe() {
        for (given, tags) in [
            ("Source=grafana,Dashboard=a b", "source=grafana,dashboard=a b"),
            ("Source=\"x\";drop", "source=_x_drop"),
            ("novalue,a=b=c,,d=e", "d=e"),
            ("", ""),
        ] {
            let headers = HeaderMap::from_iter([(HEADER.parse().expect("a name"), given.parse().expect("a value"))]);
            assert_eq!(tags_of(&headers), tags, "{given}");
        }
        assert_eq!(tags_of(&HeaderMap::new()), "");
    }
}
