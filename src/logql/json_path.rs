//! The expressions of `| json a="b.c[0]"`: fields and indices, down from the top of the line.

/// One step down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JsonPathStep {
    Key(String),
    Index(usize),
}

/// Parses `b.c[0]`, `["x y"].z`.
///
/// # Errors
/// Loki's words, without the expression they are about.
pub fn parse_json_path(text: &str) -> Result<Vec<JsonPathStep>, String> {
    let tokens = tokens(text)?;
    let mut steps = Vec::new();
    let mut at = 0;
    let unexpected = |at: usize, expected: &str| {
        let name = tokens.get(at).map_or("$end", Token::name);
        let list = if expected.is_empty() { String::new() } else { format!(", expecting {expected}") };
        Err(format!("syntax error: unexpected {name}{list}"))
    };
    loop {
        match tokens.get(at) {
            Some(Token::Field(name))
                if steps.is_empty() || matches!(tokens.get(at.wrapping_sub(1)), Some(Token::Dot)) =>
            {
                steps.push(JsonPathStep::Key(name.clone()));
                at += 1;
            }
            Some(Token::Open) => {
                match tokens.get(at + 1) {
                    Some(Token::Text(key)) => steps.push(JsonPathStep::Key(key.clone())),
                    Some(Token::Index(index)) => steps.push(JsonPathStep::Index(*index)),
                    _ => return unexpected(at + 1, "STRING or INDEX"),
                }
                if !matches!(tokens.get(at + 2), Some(Token::Close)) {
                    return unexpected(at + 2, "RSB");
                }
                at += 3;
            }
            _ if steps.is_empty() => return unexpected(at, "LSB or FIELD"),
            _ => return unexpected(at, ""),
        }
        match tokens.get(at) {
            None => return Ok(steps),
            Some(Token::Dot) => {
                at += 1;
                if !matches!(tokens.get(at), Some(Token::Field(_))) {
                    return unexpected(at, "FIELD");
                }
            }
            Some(Token::Open) => {}
            Some(_) => return unexpected(at, "LSB or DOT"),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Dot,
    Open,
    Close,
    Text(String),
    Field(String),
    Index(usize),
}

impl Token {
    fn name(&self) -> &'static str {
        match self {
            Token::Dot => "DOT",
            Token::Open => "LSB",
            Token::Close => "RSB",
            Token::Text(_) => "STRING",
            Token::Field(_) => "FIELD",
            Token::Index(_) => "INDEX",
        }
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_whitespace() => {}
            '.' => tokens.push(Token::Dot),
            '[' => tokens.push(Token::Open),
            ']' => tokens.push(Token::Close),
            '"' => {
                let mut key = String::new();
                loop {
                    match chars.next() {
                        None => return Err("syntax error: unexpected $end".to_owned()),
                        Some('"') => break,
                        Some('\\') => key.extend(chars.next()),
                        Some(c) => key.push(c),
                    }
                }
                tokens.push(Token::Text(key));
            }
            c if c.is_ascii_digit() && matches!(tokens.last(), Some(Token::Open)) => {
                let mut number = c.to_string();
                while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                    number.push(digit);
                }
                tokens.push(Token::Index(number.parse().map_err(|_| format!("index {number} is out of range"))?));
            }
            c if c.is_alphanumeric() || c == '_' => {
                let mut name = c.to_string();
                while let Some(next) = chars.next_if(|c| c.is_alphanumeric() || matches!(c, '_' | '-')) {
                    name.push(next);
                }
                tokens.push(Token::Field(name));
            }
            other => return Err(format!("unexpected char {other}")),
        }
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let key = |name: &str| JsonPathStep::Key(name.to_owned());
        assert_eq!(parse_json_path("b.c[0]"), Ok(vec![key("b"), key("c"), JsonPathStep::Index(0)]));
        assert_eq!(parse_json_path(r#"["x y"].z"#), Ok(vec![key("x y"), key("z")]));
        assert_eq!(parse_json_path(r#"a["b"][12]"#), Ok(vec![key("a"), key("b"), JsonPathStep::Index(12)]));
        assert_eq!(parse_json_path("b..c"), Err("syntax error: unexpected DOT, expecting FIELD".to_owned()));
        assert!(parse_json_path("").is_err());
        assert!(parse_json_path("a[").is_err());
        assert!(parse_json_path("a b").is_err());
    }
}
