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
    use crate::pipeline::testing::check_error;

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
}
