//! Where one statement ends and the next begins. Pure.

/// The statements of a text, without those that are only space and comments.
pub(super) fn split(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        let end = end_of_first(rest);
        let statement = &rest[..end.unwrap_or(rest.len())];
        if !without_comments(statement).is_empty() {
            found.push(statement.trim().to_owned());
        }
        match end {
            Some(end) => rest = &rest[end + 1..],
            None => return found,
        }
    }
}

/// Whether a text ends with a finished statement, or says nothing.
pub(super) fn is_finished(text: &str) -> bool {
    let mut rest = text;
    while let Some(end) = end_of_first(rest) {
        rest = &rest[end + 1..];
    }
    without_comments(rest).is_empty()
}

/// The statement with tables of CSV in front of it.
pub(super) fn with_tables(statement: &str, tables: &[(String, String)]) -> String {
    if tables.is_empty() {
        return statement.to_owned();
    }
    let table =
        |(name, text): &(String, String)| format!("{name} AS (SELECT * FROM csv('{}'))", text.replace('\'', "''"));
    let tables: Vec<String> = tables.iter().map(table).collect();
    let tables = tables.join(", ");
    let body = &statement[start_of_words(statement)..];
    let word = |text: &str, word: &str| {
        let is_word =
            text.len() > word.len() && text[..text.floor_char_boundary(word.len())].eq_ignore_ascii_case(word);
        is_word && text[word.len()..].starts_with(|c: char| c.is_whitespace())
    };
    if word(body, "explain") {
        return format!("{} {}", &body[..7], with_prefix(&body[7..], &tables, word));
    }
    with_prefix(body, &tables, word)
}

fn with_prefix(body: &str, tables: &str, word: impl Fn(&str, &str) -> bool) -> String {
    let body = body.trim_start();
    if !word(body, "with") {
        return format!("WITH {tables} {body}");
    }
    let rest = body[4..].trim_start();
    match word(rest, "recursive") {
        true => format!("WITH RECURSIVE {tables}, {}", rest[9..].trim_start()),
        false => format!("WITH {tables}, {rest}"),
    }
}

/// Where a statement's first word begins: after space and comments.
fn start_of_words(text: &str) -> usize {
    let mut at = 0;
    loop {
        let rest = &text[at..];
        let space = rest.len() - rest.trim_start().len();
        match comment(&rest[space..]) {
            Some(length) => at += space + length,
            None => return at + space,
        }
    }
}

fn without_comments(text: &str) -> &str {
    &text[start_of_words(text)..]
}

/// The first `;` outside of texts and comments.
fn end_of_first(text: &str) -> Option<usize> {
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        at += match c {
            ';' => return Some(at),
            '\'' | '"' => quoted(rest, c),
            '$' => dollar_quoted(rest).unwrap_or(1),
            _ => comment(rest).unwrap_or(c.len_utf8()),
        };
    }
    None
}

/// The length of a text in quotes; to the end when it is not closed.
fn quoted(text: &str, quote: char) -> usize {
    text[1..].find(quote).map_or(text.len(), |end| end + 2)
}

/// `$tag$ … $tag$`.
fn dollar_quoted(text: &str) -> Option<usize> {
    let end = text[1..].find('$')? + 2;
    let tag = &text[..end];
    let is_tag = tag[1..end - 1].chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let starts_with_digit = tag[1..].starts_with(|c: char| c.is_ascii_digit());
    if !is_tag || starts_with_digit {
        return None;
    }
    Some(text[end..].find(tag).map_or(text.len(), |at| end + at + tag.len()))
}

fn comment(text: &str) -> Option<usize> {
    if text.starts_with("--") {
        return Some(text.find('\n').map_or(text.len(), |end| end + 1));
    }
    text.starts_with("/*").then(|| text.find("*/").map_or(text.len(), |end| end + 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_end_where_they_end() {
        let check = |text: &str, expected: &[&str], finished: bool| {
            assert_eq!(split(text), expected, "{text}");
            assert_eq!(is_finished(text), finished, "{text}");
        };
        check("", &[], true);
        check("select 1", &["select 1"], false);
        check("select 1; select 2 ;", &["select 1", "select 2"], true);
        check("select ';'; select \";\"", &["select ';'", "select \";\""], false);
        check("select 'it''s; x';", &["select 'it''s; x'"], true);
        check("-- a; b\nselect 1; -- the end", &["-- a; b\nselect 1"], true);
        check("/* ; */ select 1", &["/* ; */ select 1"], false);
        check("select $$a;b$$; select $1", &["select $$a;b$$", "select $1"], false);
        check("select 'żółć;", &["select 'żółć;"], false);
        check("-- nothing", &[], true);
    }

    #[test]
    fn tables_stand_before_the_statement() {
        let tables = [("t".to_owned(), "a\nit's\n".to_owned())];
        let check = |statement: &str, expected: &str| {
            let expected = expected.replace('@', "t AS (SELECT * FROM csv('a\nit''s\n'))");
            assert_eq!(with_tables(statement, &tables), expected, "{statement}");
        };
        check("select 1", "WITH @ select 1");
        check("-- x\n with a as (select 1) select 2", "WITH @, a as (select 1) select 2");
        check("WITH RECURSIVE a as (select 1) select 2", "WITH RECURSIVE @, a as (select 1) select 2");
        check("explain select 1", "explain WITH @ select 1");
        check("select within", "WITH @ select within");
        assert_eq!(with_tables("select 1", &[]), "select 1");
    }
}
