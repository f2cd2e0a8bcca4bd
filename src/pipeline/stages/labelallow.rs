//! `labelallow`: keeps only these labels.
//!
//! ```yaml
//! - labelallow: [job, level]
//! ```

use serde_json::Value as Yaml;

use super::each;
use super::labeldrop::names;
use crate::pipeline::Stage;
use crate::pipeline::error::StageError;

pub(super) fn build(config: &Yaml) -> Result<Box<dyn Stage>, StageError> {
    let names = names(config, "labelallow stage config cannot be empty")?;
    Ok(each("labelallow", move |entry, _| {
        entry.labels.retain(|name, _| names.iter().any(|allowed| allowed == name));
    }))
}

#[cfg(test)]
mod tests {
    use crate::pipeline::testing::{check_entry, check_error, entry};

    #[test]
    fn kept() {
        check_entry("- labelallow: [a]", entry(&[("a", "1"), ("b", "2")], "x"), "0 {a=\"1\"} x\nb=2");
        check_error("- labelallow: []", "invalid labelallow stage config: labelallow stage config cannot be empty");
    }
}
