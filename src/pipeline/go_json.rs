//! JSON as Go's encoder writes it: `<`, `>`, `&` and the line separators escaped.

use serde_json::Value;

/// Appends a quoted text.
pub(super) fn push_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\x1f' => {
                out.push_str(&format!("\\u{:04x}", c as u32));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Appends a value; numbers are 64-bit floats, as Go reads them.
pub(super) fn push_value(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Number(number) => push_number(out, number.as_f64().unwrap_or(0.0)),
        Value::String(text) => push_text(out, text),
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                push_value(out, item);
            }
            out.push(']');
        }
        Value::Object(map) => {
            out.push('{');
            for (at, (name, item)) in map.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                push_text(out, name);
                out.push(':');
                push_value(out, item);
            }
            out.push('}');
        }
    }
}

/// Without exponent from 10⁻⁶ to 10²¹, as `encoding/json`.
fn push_number(out: &mut String, number: f64) {
    let size = number.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{number:e}");
        out.push_str(&text.replace('e', if text.contains("e-") { "e" } else { "e+" }));
    } else {
        out.push_str(&number.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_as_go_writes() {
        let check = |text: &str, expected: &str| {
            let mut out = String::new();
            push_value(&mut out, &serde_json::from_str(text).expect("JSON"));
            assert_eq!(out, expected);
        };
        check(r#"{"a":[1,2.50,"<&>",null,true],"b":{}}"#, r#"{"a":[1,2.5,"\u003c\u0026\u003e",null,true],"b":{}}"#);
        check("[1e21,1e-7,123456789012,-0.5]", "[1e+21,1e-7,123456789012,-0.5]");
        check(r#""\u0001\n\"é""#, r#""\u0001\n\"é""#);
    }
}
