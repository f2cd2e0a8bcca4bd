//! `labeldrop`: takes labels away.
//!
//! ```yaml
//! - labeldrop: [filename, pod]
//! ```

use serde_json::Value as Yaml;

use super::each;
use crate::pipeline::Stage;
use crate::pipeline::error::StageError;

/// A stage whose settings are a list of names.
pub(super) fn names(config: &Yaml, empty: &str) -> Result<Vec<String>, StageError> {
    let names: Vec<String> = match config {
        Yaml::Array(items) => items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect(),
        Yaml::Null => Vec::new(),
        _ => return Err(StageError::new("1 error(s) decoding:\n\n* '': source data must be an array or slice")),
    };
    if names.is_empty() { Err(StageError::new(empty)) } else { Ok(names) }
}

pub(super) fn build(config: &Yaml) -> Result<Box<dyn Stage>, StageError> {
    let names = names(config, "labeldrop stage config cannot be empty")?;
    Ok(each("labeldrop", move |entry, _| {
        for name in &names {
            entry.labels.remove(name);
        }
    }))
}

#[cfg(test)]
mod tests {
    use crate::pipeline::testing::{check_entry, check_error, entry};

    #[test]
    fn dropped() {
        check_entry("- labeldrop: [a, none]", entry(&[("a", "1"), ("b", "2")], "x"), "0 {b=\"2\"} x\na=1");
        check_error("- labeldrop: []", "invalid labeldrop stage config: labeldrop stage config cannot be empty");
    }
}
