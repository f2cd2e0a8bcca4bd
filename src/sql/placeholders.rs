//! `?` of JDBC and ODBC as the numbered parameters of Postgres.
//!
//! `where a = ? and b < ?` becomes `where a = $1 and b < $2`; a `?` behind a value or before a text is Postgres' operator for
//! JSON and stays, and so does one in a text or a comment.

use std::borrow::Cow;

use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

/// The statement with its parameters numbered; as it is when it cannot be read, or numbers them already.
pub fn numbered(text: &str) -> Cow<'_, str> {
    if !text.contains('?') {
        return Cow::Borrowed(text);
    }
    let Ok(tokens) = Tokenizer::new(&PostgreSqlDialect {}, text).with_unescape(false).tokenize() else {
        return Cow::Borrowed(text);
    };
    if tokens.iter().any(|token| matches!(token, Token::Placeholder(name) if name.starts_with('$'))) {
        return Cow::Borrowed(text);
    }
    let (mut out, mut number, mut after_value) = (String::with_capacity(text.len() + 8), 0, false);
    for (at, token) in tokens.iter().enumerate() {
        let next = tokens[at + 1..].iter().find(|token| !matches!(token, Token::Whitespace(_)));
        match token {
            Token::Question if !after_value && !next.is_some_and(is_text) => {
                number += 1;
                out.push_str(&format!("${number}"));
                after_value = true;
            }
            Token::Whitespace(_) => out.push_str(&token.to_string()),
            token => {
                out.push_str(&token.to_string());
                after_value = is_value(token);
            }
        }
    }
    Cow::Owned(out)
}

/// Whether a value ends with the token; names that are keywords too may be none.
fn is_value(token: &Token) -> bool {
    match token {
        Token::Word(word) => word.keyword == Keyword::NoKeyword || word.quote_style.is_some(),
        Token::Number(..) | Token::RParen | Token::RBracket => true,
        token => is_text(token),
    }
}

fn is_text(token: &Token) -> bool {
    matches!(token, Token::SingleQuotedString(_) | Token::EscapedStringLiteral(_) | Token::DollarQuotedString(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_numbered_and_operators_are_left() {
        let check = |text: &str, expected: &str| assert_eq!(numbered(text), expected, "{text}");
        check("select 1", "select 1");
        check("select ? + 1, ? || '!'", "select $1 + 1, $2 || '!'");
        check("where labels['a'] = ? AND b IN (?, ?) limit ?", "where labels['a'] = $1 AND b IN ($2, $3) limit $4");
        check("select '?' -- ?\n, \"a?\" where b like ?", "select '?' -- ?\n, \"a?\" where b like $1");
        check("where line ? 'key' and (line) ? 'key'", "where line ? 'key' and (line) ? 'key'");
        check("where a = $1 and b = ?", "where a = $1 and b = ?");
        check("select 'it''s', ?::int", "select 'it''s', $1::int");
        check("select ' ?", "select ' ?");
    }
}
