//! `static_labels`: labels that are always the same.
//!
//! ```yaml
//! - static_labels: {env: prod, empty: }     # an empty one is not set
//! ```

use serde_json::Value as Yaml;

use super::each;
use crate::pipeline::Stage;
use crate::pipeline::body::{Body, Typing};
use crate::pipeline::entry::{Origin, Text};
use crate::pipeline::error::StageError;

pub(super) fn build(config: &Yaml) -> Result<Box<dyn Stage>, StageError> {
    let mut body = Body::new(config, Typing::Strict);
    let pairs = body.whole_mapping();
    body.finish().map(drop)?;
    let pairs = pairs.ok_or("static_labels stage config cannot be empty")?;
    if let Some((name, _)) = pairs.iter().find(|(name, _)| name.is_empty()) {
        return Err(StageError::new(format!("invalid label name: {name}")));
    }
    let set = pairs.into_iter().filter(|(_, value)| !value.is_empty());
    let set: Vec<(Text, Text)> = set.map(|(name, value)| (name.into(), value.into())).collect();
    Ok(each("static_labels", move |entry, _| {
        for (name, value) in &set {
            entry.labels.set(name.clone(), value.clone(), Origin::Operator);
        }
    }))
}

#[cfg(test)]
mod tests {
    use crate::pipeline::testing::{check, check_error};

    #[test]
    fn set() {
        check("- static_labels: {a: x, b: }", "l", "0 {a=\"x\"} l");
        check_error(
            "- static_labels:",
            "invalid static_labels stage config: static_labels stage config cannot be empty",
        );
    }
}
