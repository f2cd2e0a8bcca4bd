//! YAML as Promtail's files are read: `yes`, `no`, `on`, `y` and their kin are texts, only `true` and `false` flags.

use serde_json::Value;

/// Reads a document into a tree; an empty one is null.
///
/// # Errors
/// Where and why it is no YAML.
pub fn parse(text: &str) -> Result<Value, String> {
    let options = serde_saphyr::options! { strict_booleans: true };
    if text.trim().is_empty() {
        return Ok(Value::Null);
    }
    serde_saphyr::from_str_with_options(text, options).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_no_flags() {
        let tree = parse("y: no\nn: true\non: 1").expect("good");
        assert_eq!(tree.to_string(), r#"{"y":"no","n":true,"on":1}"#);
        assert_eq!(parse(" \n"), Ok(Value::Null));
        assert!(parse("a: [").is_err());
    }
}
