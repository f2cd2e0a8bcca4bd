//! Hosts and ports in one text: `host:80`, `[::1]:80`.

use core::net::IpAddr;

use super::strings::find;

/// Go's `net.SplitHostPort`; nothing where Go has an error.
pub(super) fn split_host_port(address: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = address.iter().rposition(|byte| *byte == b':')?;
    let port = &address[colon + 1..];
    let host = match address {
        [b'[', inside @ ..] => {
            let end = find(inside, b"]")?;
            if end + 2 != colon || find(&inside[..end], b"[").is_some() {
                return None;
            }
            &inside[..end]
        }
        _ => {
            let host = &address[..colon];
            if host.iter().any(|byte| matches!(byte, b':' | b'[' | b']')) {
                return None;
            }
            host
        }
    };
    if port.iter().any(|byte| matches!(byte, b'[' | b']')) { None } else { Some((host, port)) }
}

/// The first part of a host's name, with the port if there is one; addresses stay as they are.
pub(super) fn push_without_domain(out: &mut Vec<u8>, address: &[u8]) {
    let (host, port) = split_host_port(address).unwrap_or((address, b""));
    let is_address = std::str::from_utf8(host).is_ok_and(|host| host.parse::<IpAddr>().is_ok());
    if is_address {
        return out.extend_from_slice(address);
    }
    let name = host.split(|byte| *byte == b'.').next().unwrap_or_default();
    if port.is_empty() {
        return out.extend_from_slice(name);
    }
    let is_bracketed = name.contains(&b':');
    out.extend_from_slice(if is_bracketed { b"[" } else { b"" });
    out.extend_from_slice(name);
    out.extend_from_slice(if is_bracketed { b"]:" } else { b":" });
    out.extend_from_slice(port);
}
