//! Stages in plain words.

use serde_json::Value as Yaml;

/// One line a stage, nested ones below theirs.
pub(super) fn explain(list: &[Yaml], depth: usize, out: &mut String) {
    for stage in list {
        let Some((name, body)) = stage.as_object().and_then(|map| map.iter().next()) else { continue };
        out.push_str(&format!("{}- {name}: {}\n", "  ".repeat(depth), words(name, body)));
        if let Some(nested) = body.get("stages").and_then(Yaml::as_array) {
            explain(nested, depth + 1, out);
        }
    }
}

fn words(name: &str, body: &Yaml) -> String {
    let text = |key: &str| match body.get(key) {
        None | Some(Yaml::Null) => None,
        Some(Yaml::String(text)) => Some(text.clone()),
        Some(other) => Some(other.to_string()),
    };
    let of = |key: &str| text(key).unwrap_or_default();
    let keys = |value: Option<&Yaml>| {
        let map = value.and_then(Yaml::as_object);
        map.map(|map| map.keys().cloned().collect::<Vec<_>>().join(", ")).unwrap_or_default()
    };
    let list = || {
        let items = body.as_array().into_iter().flatten().filter_map(Yaml::as_str);
        items.collect::<Vec<_>>().join(", ")
    };
    let from = text("source").map(|source| format!("the value {source}")).unwrap_or_else(|| "the line".to_owned());
    match name {
        "docker" => "the JSON that Docker wraps lines in is taken off; stream becomes a label.".to_owned(),
        "cri" => "Kubernetes' time, stream and flags are taken off, and cut lines joined.".to_owned(),
        "json" => format!("{} are taken out of {from}, which is JSON.", keys(body.get("expressions"))),
        "logfmt" => format!("{} are taken out of {from}, which is logfmt.", keys(body.get("mapping"))),
        "regex" => format!("named groups are taken out of {from} by {}.", of("expression")),
        "replace" => format!("in {from}, what {} matches becomes {:?}.", of("expression"), of("replace")),
        "template" => format!("{} becomes {:?}.", of("source"), of("template")),
        "timestamp" => format!("the line's time is {}, read as {}.", of("source"), of("format")),
        "output" => format!("{} becomes the line.", of("source")),
        "labels" => format!("{} become labels.", keys(Some(body))),
        "structured_metadata" | "non_indexed_labels" => format!("{} become metadata of the line.", keys(Some(body))),
        "static_labels" => format!("the labels {} are set.", keys(Some(body))),
        "labeldrop" => format!("the labels {} are taken away.", list()),
        "labelallow" => format!("only the labels {} stay.", list()),
        "tenant" => {
            let whose = text("value").or(text("label").map(|label| format!("the label {label}")));
            format!(
                "the line is that of the tenant {}.",
                whose.unwrap_or_else(|| format!("in the value {}", of("source")))
            )
        }
        "pack" => "labels go into the line.".to_owned(),
        "match" if text("action").as_deref() == Some("drop") => format!("lines of {} are dropped.", of("selector")),
        "match" => format!("only for lines of {}:", of("selector")),
        "drop" => {
            let mut conditions = Vec::new();
            conditions.extend(text("expression").map(|expression| format!("{from} matches {expression}")));
            conditions.extend(text("value").map(|value| format!("{from} is {value}")));
            conditions.extend(text("older_than").map(|age| format!("they are older than {age}")));
            conditions.extend(text("longer_than").map(|size| format!("they are longer than {size}")));
            if conditions.is_empty() {
                conditions.push(format!("{from} is there"));
            }
            format!("lines are dropped when {}.", conditions.join(" and "))
        }
        "limit" => format!("at most {} lines a second, {} at once.", of("rate"), of("burst")),
        "sampling" => format!("lines go on with a probability of {}.", of("rate")),
        "multiline" => format!("lines are joined to the last that matches {}.", of("firstline")),
        "decolorize" => "colours of terminals are taken out.".to_owned(),
        "metrics" => format!("{} are counted, on /metrics as promtail_custom_….", keys(Some(body))),
        "geoip" => format!("labels say where {} is.", of("source")),
        "eventlogmessage" => "keys of a Windows event are taken out of its message.".to_owned(),
        "luhn" => format!("payment card numbers in {from} are masked."),
        "pipeline" => "a group of stages.".to_owned(),
        _ => "**there is no such stage: the agent does not start.**".to_owned(),
    }
}
