//! `pack`: puts labels into the line, so that they make no streams; LogQL's `unpack` takes them out again.
//!
//! ```yaml
//! - pack: {labels: [pod, container], ingest_timestamp: true}
//! ```
//! The line becomes `{"container":"c","pod":"p","_entry":"the line"}`, and the labels are gone. With
//! `ingest_timestamp`, the default, the entry's time is now: packed streams would otherwise be out of order.

use serde_json::Value as Yaml;

use super::{done, each};
use crate::pipeline::body::{Body, Typing};
use crate::pipeline::error::StageError;
use crate::pipeline::go_json;
use crate::pipeline::{Stage, Tools};

pub(super) fn build(config: &Yaml, tools: &mut Tools<'_>) -> Result<Box<dyn Stage>, StageError> {
    let mut body = Body::new(config, Typing::Weak);
    let mut wanted = body.texts("labels").unwrap_or_default();
    let ingest_timestamp = body.flag("ingest_timestamp").unwrap_or(true);
    done("pack", body, tools)?;
    wanted.sort();
    wanted.dedup();
    Ok(each("pack", move |entry, now_ns| {
        let mut line = String::with_capacity(entry.line.len() + 64);
        line.push('{');
        for name in &wanted {
            let Some(value) = entry.extracted.get(name).and_then(|value| value.to_text()) else { continue };
            go_json::push_text(&mut line, name);
            line.push(':');
            go_json::push_text(&mut line, &value);
            line.push(',');
            entry.labels.remove(name);
        }
        line.push_str("\"_entry\":");
        go_json::push_text(&mut line, &entry.line);
        line.push('}');
        entry.line = line;
        if ingest_timestamp {
            entry.ts_ns = now_ns;
        }
    }))
}

#[cfg(test)]
mod tests {
    use crate::pipeline::testing::{check_entry, entry};

    #[test]
    fn packed() {
        check_entry("- pack: {labels: []}", entry(&[("foo", "bar")], "x"), r#"0 {foo="bar"} {"_entry":"x"}"#);
        check_entry(
            "- pack: {labels: [foo, bar, none], ingest_timestamp: false}",
            entry(&[("foo", "bar"), ("bar", "b<"), ("keep", "k")], "test \"line\""),
            "0 {keep=\"k\"} {\"bar\":\"b\\u003c\",\"foo\":\"bar\",\"_entry\":\"test \\\"line\\\"\"}\nbar=b< foo=bar",
        );
    }
}
