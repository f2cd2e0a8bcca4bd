//! `ip("…")`: a single address, a range `a-b`, or a prefix `a/n`, for IPv4 and IPv6.
//!
//! A text matches when any address in it does. Where an address may begin is guessed from its first characters, then
//! all characters an address can have are taken; a run that is no address is skipped as a whole.
//!
//! Errors: `ip: invalid pattern: "…"`.

use std::net::IpAddr;

use super::compile::CompileError;
use crate::types::labels::push_go_quoted;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IpMatcher {
    /// Both ends included; of one family.
    Range(IpAddr, IpAddr),
}

impl IpMatcher {
    pub(super) fn parse(pattern: &str) -> Result<Self, CompileError> {
        if let Ok(address) = pattern.parse::<IpAddr>() {
            return Ok(IpMatcher::Range(address, address));
        }
        parse_prefix(pattern).or_else(|| parse_range(pattern)).ok_or_else(|| {
            let mut words = String::from("ip: invalid pattern: ");
            push_go_quoted(&mut words, pattern);
            CompileError::new(words)
        })
    }

    fn contains(self, address: IpAddr) -> bool {
        let IpMatcher::Range(low, high) = self;
        low.is_ipv4() == address.is_ipv4() && low <= address && address <= high
    }

    /// Whether an address in `text` matches.
    pub(super) fn finds_in(self, text: &str) -> bool {
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let length = if starts_like_ipv4(&bytes[at..]) {
                span(&bytes[at..], |byte| byte.is_ascii_digit() || byte == b'.')
            } else if starts_like_ipv6(&bytes[at..]) {
                span(&bytes[at..], |byte| byte.is_ascii_hexdigit() || byte == b':' || byte == b'.')
            } else {
                at += 1;
                continue;
            };
            if text[at..at + length].parse::<IpAddr>().is_ok_and(|address| self.contains(address)) {
                return true;
            }
            // The character after the run cannot begin an address either.
            at += length + 1;
        }
        false
    }
}

fn parse_prefix(pattern: &str) -> Option<IpMatcher> {
    let (address, bits_text) = pattern.rsplit_once('/')?;
    let address = address.parse::<IpAddr>().ok()?;
    let canonical = !bits_text.is_empty()
        && bits_text.bytes().all(|b| b.is_ascii_digit())
        && (bits_text.len() == 1 || !bits_text.starts_with('0'));
    let bits = bits_text.parse::<u32>().ok().filter(|_| canonical)?;
    match address {
        IpAddr::V4(address) if bits <= 32 => {
            let host = u32::MAX.checked_shr(bits).unwrap_or(0);
            let low = u32::from(address) & !host;
            Some(IpMatcher::Range(IpAddr::V4(low.into()), IpAddr::V4((low | host).into())))
        }
        IpAddr::V6(address) if bits <= 128 => {
            let host = u128::MAX.checked_shr(bits).unwrap_or(0);
            let low = u128::from(address) & !host;
            Some(IpMatcher::Range(IpAddr::V6(low.into()), IpAddr::V6((low | host).into())))
        }
        _ => None,
    }
}

fn parse_range(pattern: &str) -> Option<IpMatcher> {
    let (low, high) = pattern.split_once('-')?;
    let (low, high) = (low.parse::<IpAddr>().ok()?, high.parse::<IpAddr>().ok()?);
    (low.is_ipv4() == high.is_ipv4() && low <= high).then_some(IpMatcher::Range(low, high))
}

fn starts_like_ipv4(bytes: &[u8]) -> bool {
    bytes.len() > 3 && bytes[0].is_ascii_digit() && bytes[1..4].contains(&b'.')
}

fn starts_like_ipv6(bytes: &[u8]) -> bool {
    let at = |index: usize| bytes.get(index).copied().unwrap_or(0);
    if at(0) == b':' {
        return at(1) == b':' && at(2).is_ascii_hexdigit();
    }
    let digits = bytes.iter().take(5).take_while(|byte| byte.is_ascii_hexdigit()).count();
    (1..=4).contains(&digits) && at(digits) == b':'
}

fn span(bytes: &[u8], accepts: impl Fn(u8) -> bool) -> usize {
    bytes.iter().take_while(|byte| accepts(**byte)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_texts() {
        for (pattern, text, want) in [
            ("192.168.0.1", "from 192.168.0.1 to", true),
            ("192.168.0.1", "from 192.168.0.10 to", false),
            ("192.168.0.0/16", "x192.168.4.5:80", true),
            ("192.168.4.5/16", "192.168.200.1", true),
            ("10.0.0.1-10.0.0.9", "[10.0.0.9]", true),
            ("10.0.0.1-10.0.0.9", "[10.0.0.10]", false),
            ("2001:db8::/32", "addr=2001:db8::1 ok", true),
            ("::1", "at ::1", true),
            ("0.0.0.0/0", "no address 1.2.3", false),
            ("0.0.0.0/0", "1.2.3.4.5", false),
            ("0.0.0.0/0", "", false),
        ] {
            assert_eq!(IpMatcher::parse(pattern).expect(pattern).finds_in(text), want, "{pattern} in {text}");
        }
        for bad in ["x", "1.2.3.4/33", "10.0.0.9-10.0.0.1", "1.2.3.4/08", "1.2.3.4-::1"] {
            let error = IpMatcher::parse(bad).expect_err(bad).to_string();
            assert_eq!(error, format!("ip: invalid pattern: {bad:?}"));
        }
    }
}
