//! The expressions of `| logfmt label="…"`: a key, or quoted ones.
//!
//! Source: Loki's scanner and grammar of logfmt expressions, with their words. A string ends at a quote, at `]` or where
//! the expression does; what is behind a key may be strings alone.

#[derive(Debug, PartialEq)]
enum Token {
    Field(String),
    Text(String),
}

/// The key that an expression names.
///
/// # Errors
/// Loki's words.
pub fn logfmt_key(expression: &str) -> Result<String, String> {
    let (tokens, unexpected) = tokens(expression);
    let mut tokens = tokens.into_iter();
    let mut key = match tokens.next() {
        Some(Token::Field(key) | Token::Text(key)) => key,
        None => return Err("syntax error: unexpected $end, expecting STRING or FIELD".to_owned()),
    };
    // Loki prints the list of keys with a format for one.
    let mut more = Vec::new();
    for token in tokens {
        match token {
            Token::Text(text) => more.push(format!("string={text}")),
            Token::Field(_) => return Err("syntax error: unexpected FIELD".to_owned()),
        }
    }
    if let Some(char) = unexpected {
        return Err(format!("unexpected char {char}"));
    }
    if !more.is_empty() {
        key.push_str(&format!("%!(EXTRA {})", more.join(", ")));
    }
    Ok(key)
}

/// The tokens up to the end, or up to a character that begins none.
fn tokens(expression: &str) -> (Vec<Token>, Option<char>) {
    let mut tokens = Vec::new();
    let mut rest = expression.split('\0').next().unwrap_or_default();
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\n']);
        let Some(first) = rest.chars().next() else { return (tokens, None) };
        if first == '"' {
            let text = &rest[1..];
            let end = text.find(['"', ']']);
            tokens.push(Token::Text(text[..end.unwrap_or(text.len())].to_owned()));
            rest = end.map_or("", |end| &text[end + 1..]);
        } else if first.is_ascii_alphabetic() || first == '_' {
            let end = rest.find(|char: char| !char.is_ascii_alphanumeric() && char != '_').unwrap_or(rest.len());
            tokens.push(Token::Field(rest[..end].to_owned()));
            rest = &rest[end..];
        } else {
            return (tokens, Some(first));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_what_is_none() {
        for (expression, key) in [
            ("key", Ok("key")),
            (" key ", Ok("key")),
            (r#""some key""#, Ok("some key")),
            (r#""open"#, Ok("open")),
            (r#"a "b""#, Ok("a%!(EXTRA string=b)")),
            ("b c", Err("syntax error: unexpected FIELD")),
            ("", Err("syntax error: unexpected $end, expecting STRING or FIELD")),
            ("a.b", Err("unexpected char .")),
            ("1a", Err("syntax error: unexpected $end, expecting STRING or FIELD")),
        ] {
            assert_eq!(logfmt_key(expression), key.map(str::to_owned).map_err(str::to_owned), "{expression}");
        }
    }
}
