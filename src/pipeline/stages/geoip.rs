//! `geoip`: says where an address is, from a MaxMind database.
//!
//! ```yaml
//! - geoip:
//!     db: /etc/GeoLite2-City.mmdb
//!     db_type: city               # or asn
//!     source: remote_addr         # an extracted value with the address
//! ```
//! Sets the labels `geoip_city_name`, `geoip_country_name`, `geoip_continent_name`, `geoip_continent_code`,
//! `geoip_postal_code`, `geoip_timezone`, `geoip_location_latitude`, `geoip_location_longitude`,
//! `geoip_subdivision_name`, `geoip_subdivision_code`; with `asn`, `geoip_autonomous_system_number` and
//! `geoip_autonomous_system_organization`. Put them into metadata: as labels they make many streams.

use std::net::IpAddr;

use maxminddb::{Reader, geoip2};
use serde_json::Value as Yaml;

use super::{done, each, source};
use crate::pipeline::body::{Body, Typing};
use crate::pipeline::entry::{LabelSet, Origin};
use crate::pipeline::error::StageError;
use crate::pipeline::{Stage, Tools};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Database {
    City,
    Asn,
}

pub(super) fn build(config: &Yaml, tools: &mut Tools<'_>) -> Result<Box<dyn Stage>, StageError> {
    let mut body = Body::new(config, Typing::Strict);
    let path = body.text("db").unwrap_or_default();
    let from = source(&mut body, "source cannot be empty");
    let kind = body.text("db_type").unwrap_or_default();
    done("geoip", body, tools)?;
    if path.is_empty() {
        return Err(StageError::new("db path cannot be empty"));
    }
    let from = from?;
    let kind = match kind.as_str() {
        "city" => Database::City,
        "asn" => Database::Asn,
        _ => return Err(StageError::new("db type should be either city or asn")),
    };
    let bytes = (tools.read_file)(&path).map_err(|error| StageError::new(format!("open {path}: {error}")))?;
    let reader = Reader::from_source(bytes).map_err(|error| StageError::new(format!("{path}: {error}")))?;
    Ok(each("geoip", move |entry, _| {
        let text = from.as_ref().and_then(|source| entry.extracted.get(source)).and_then(|value| value.to_text());
        let Some(address) = text.and_then(|text| text.parse::<IpAddr>().ok()) else { return };
        let set = |labels: &mut LabelSet, name: &'static str, value: Option<String>| {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                labels.set(name.into(), value.into(), Origin::Data);
            }
        };
        let labels = &mut entry.labels;
        let Ok(found) = reader.lookup(address) else { return };
        match kind {
            Database::City => {
                let Ok(Some(city)) = found.decode::<geoip2::City<'_>>() else { return };
                let text = |text: Option<&str>| text.map(str::to_owned);
                set(labels, "geoip_city_name", text(city.city.names.english));
                set(labels, "geoip_country_name", text(city.country.names.english));
                set(labels, "geoip_continent_name", text(city.continent.names.english));
                set(labels, "geoip_continent_code", text(city.continent.code));
                set(labels, "geoip_postal_code", text(city.postal.code));
                set(labels, "geoip_timezone", text(city.location.time_zone));
                if let (Some(latitude), Some(longitude)) = (city.location.latitude, city.location.longitude) {
                    set(labels, "geoip_location_latitude", Some(latitude.to_string()));
                    set(labels, "geoip_location_longitude", Some(longitude.to_string()));
                }
                // The last is the most specific.
                if let Some(part) = city.subdivisions.last() {
                    set(labels, "geoip_subdivision_name", text(part.names.english));
                    set(labels, "geoip_subdivision_code", text(part.iso_code));
                }
            }
            Database::Asn => {
                let Ok(Some(asn)) = found.decode::<geoip2::Asn<'_>>() else { return };
                let number = asn.autonomous_system_number.filter(|number| *number != 0);
                set(labels, "geoip_autonomous_system_number", number.map(|number| number.to_string()));
                let organization = asn.autonomous_system_organization.map(str::to_owned);
                set(labels, "geoip_autonomous_system_organization", organization);
            }
        }
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::pipeline::testing::{check, check_error};

    #[test]
    fn refused() {
        let check = |config: &str, words: &str| {
            check_error(&format!("- geoip: {config}"), &format!("invalid geoip stage config: {words}"))
        };
        check("{}", "db path cannot be empty");
        check("{db: x, source: ''}", "source cannot be empty");
        check("{db: x, source: ip}", "db type should be either city or asn");
        check("{db: /none.mmdb, source: ip, db_type: city}", "open /none.mmdb: *");
    }

    /// A value as MaxMind DB writes it (<https://maxmind.github.io/MaxMind-DB/>); numbers by the type of their name.
    fn encode(name: &str, value: &Value, out: &mut Vec<u8>) {
        let control = |kind: u8, size: usize, out: &mut Vec<u8>| {
            let (size, more) = if size < 29 { (size as u8, None) } else { (29, Some(size as u8 - 29)) };
            if kind < 8 {
                out.push(kind << 5 | size)
            } else {
                out.extend([size, kind - 7])
            }
            out.extend(more);
        };
        match value {
            Value::String(text) => {
                control(2, text.len(), out);
                out.extend(text.as_bytes());
            }
            Value::Number(number) if number.is_f64() => {
                control(3, 8, out);
                out.extend(number.as_f64().expect("a double").to_be_bytes());
            }
            Value::Number(number) => {
                let (kind, size) = match name {
                    "build_epoch" => (9, 8),
                    "node_count" | "autonomous_system_number" => (6, 4),
                    _ => (5, 2),
                };
                control(kind, size, out);
                out.extend(&number.as_u64().expect("unsigned").to_be_bytes()[8 - size..]);
            }
            Value::Array(items) => {
                control(11, items.len(), out);
                items.iter().for_each(|item| encode(name, item, out));
            }
            Value::Object(members) => {
                control(7, members.len(), out);
                for (name, value) in members {
                    encode(name, &json!(name), out);
                    encode(name, value, out);
                }
            }
            other => unreachable!("{other} is not in these databases"),
        }
    }

    /// A database that knows of addresses below 128.0.0.0 what `record` says, and nothing of others.
    fn database(kind: &str, record: &Value) -> Vec<u8> {
        let (nodes, separator) = (1_u32, 16);
        let mut bytes = Vec::new();
        for branch in [nodes + separator, nodes] {
            bytes.extend(&branch.to_be_bytes()[1..]);
        }
        bytes.extend([0; 16]);
        encode("", record, &mut bytes);
        bytes.extend(b"\xab\xcd\xefMaxMind.com");
        let about = json!({
            "node_count": nodes, "record_size": 24, "ip_version": 4, "database_type": kind, "languages": ["en"],
            "binary_format_major_version": 2, "binary_format_minor_version": 0, "build_epoch": 1_700_000_000,
            "description": {"en": "of a test"},
        });
        encode("", &about, &mut bytes);
        bytes
    }

    #[test]
    fn addresses_are_looked_up() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (city, asn) = (directory.path().join("city.mmdb"), directory.path().join("asn.mmdb"));
        let record = json!({
            "city": {"names": {"en": "Milton"}}, "country": {"names": {"en": "United States"}},
            "continent": {"code": "NA", "names": {"en": "North America"}}, "postal": {"code": "98354"},
            "location": {"latitude": 47.2513, "longitude": -122.3149, "time_zone": "America/Los_Angeles"},
            "subdivisions": [{"iso_code": "WA", "names": {"en": "Washington"}}],
        });
        std::fs::write(&city, database("GeoLite2-City", &record)).expect("written");
        let record = json!({"autonomous_system_number": 1221, "autonomous_system_organization": "Telstra Pty Ltd"});
        std::fs::write(&asn, database("GeoLite2-ASN", &record)).expect("written");
        let stages = |path: &std::path::Path, kind: &str| {
            format!(
                "- regex: {{expression: '(?P<ip>\\S+)'}}\n- geoip: {{db: {}, source: ip, db_type: {kind}}}",
                path.display()
            )
        };
        check(
            &stages(&city, "city"),
            "1.2.3.4",
            "0 {geoip_city_name=\"Milton\", geoip_continent_code=\"NA\", geoip_continent_name=\"North America\", \
             geoip_country_name=\"United States\", geoip_location_latitude=\"47.2513\", \
             geoip_location_longitude=\"-122.3149\", geoip_postal_code=\"98354\", \
             geoip_subdivision_code=\"WA\", geoip_subdivision_name=\"Washington\", \
             geoip_timezone=\"America/Los_Angeles\"} 1.2.3.4\nip=1.2.3.4",
        );
        check(
            &stages(&asn, "asn"),
            "127.1.1.1",
            "0 {geoip_autonomous_system_number=\"1221\", \
             geoip_autonomous_system_organization=\"Telstra Pty Ltd\"} 127.1.1.1\nip=127.1.1.1",
        );
        // Nothing is known, and nothing is an address.
        check(&stages(&city, "city"), "200.1.1.1", "0 {} 200.1.1.1\nip=200.1.1.1");
        check(&stages(&city, "city"), "nowhere", "0 {} nowhere\nip=nowhere");
    }
}
