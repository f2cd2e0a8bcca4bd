//! What may come next: words of SQL, views, their columns, functions. Pure.

/// Words of statements that only read.
const KEYWORDS: &[&str] = &[
    "ALL",
    "AND",
    "AS",
    "ASC",
    "BETWEEN",
    "BY",
    "CASE",
    "CAST",
    "CROSS",
    "CURRENT",
    "DESC",
    "DISTINCT",
    "ELSE",
    "END",
    "EXCEPT",
    "EXISTS",
    "EXPLAIN",
    "FALSE",
    "FILTER",
    "FIRST",
    "FROM",
    "FULL",
    "GROUP",
    "HAVING",
    "ILIKE",
    "IN",
    "INNER",
    "INTERSECT",
    "INTERVAL",
    "IS",
    "JOIN",
    "LAST",
    "LEFT",
    "LIKE",
    "LIMIT",
    "NOT",
    "NULL",
    "NULLS",
    "OFFSET",
    "ON",
    "OR",
    "ORDER",
    "OUTER",
    "OVER",
    "PARTITION",
    "PRECEDING",
    "RIGHT",
    "ROWS",
    "SELECT",
    "THEN",
    "TRUE",
    "UNION",
    "USING",
    "VALUES",
    "WHEN",
    "WHERE",
    "WINDOW",
    "WITH",
    "WITHIN",
];

/// Functions that analysts of logs need most.
const FUNCTIONS: &[&str] = &[
    "approx_distinct",
    "approx_percentile_cont",
    "avg",
    "coalesce",
    "count",
    "csv",
    "date_bin",
    "date_trunc",
    "json_as_text",
    "json_get",
    "json_get_bool",
    "json_get_float",
    "json_get_int",
    "json_get_str",
    "lag",
    "lead",
    "left",
    "line_json",
    "line_pattern",
    "line_regexp",
    "logfmt",
    "logql",
    "logql_stages",
    "max",
    "median",
    "min",
    "now",
    "percentile_cont",
    "regexp_like",
    "regexp_match",
    "regexp_replace",
    "round",
    "row_number",
    "split_part",
    "stddev",
    "sum",
    "try_cast",
];

/// Commands of the shell.
pub(super) const COMMANDS: &[&str] = &["\\?", "\\d", "\\f", "\\q", "\\timing"];

/// Everything that can be completed.
#[derive(Debug, Default, Clone)]
pub(super) struct Words {
    /// Names of views, and of their columns.
    pub(super) names: Vec<String>,
}

impl Words {
    /// Where the word before `at` begins, and what it may become.
    pub(super) fn complete(&self, line: &str, at: usize) -> (usize, Vec<String>) {
        let before = &line[..line.floor_char_boundary(at)];
        if before.starts_with('\\') && !before.contains(' ') {
            return (0, COMMANDS.iter().filter(|c| c.starts_with(before)).map(|c| (*c).to_owned()).collect());
        }
        let start = before.rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).map_or(0, |at| at + 1);
        let word = &before[start..];
        if word.is_empty() || is_in_text(before) {
            return (start, Vec::new());
        }
        let fits = |candidate: &str| {
            candidate.len() > word.len()
                && candidate[..candidate.floor_char_boundary(word.len())].eq_ignore_ascii_case(word)
        };
        let is_upper = word.chars().all(|c| !c.is_ascii_lowercase());
        let keyword = |word: &&str| if is_upper { (*word).to_owned() } else { word.to_lowercase() };
        let mut found: Vec<String> = self.names.iter().filter(|name| fits(name)).cloned().collect();
        found.extend(FUNCTIONS.iter().filter(|name| fits(name)).map(|name| format!("{name}(")));
        found.extend(KEYWORDS.iter().filter(|name| fits(name)).map(keyword));
        found.sort_unstable();
        found.dedup();
        (start, found)
    }
}

/// Whether what follows is inside of quotes.
fn is_in_text(before: &str) -> bool {
    before.matches('\'').count() % 2 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_completed() {
        let words = Words { names: ["logs", "line", "labels"].map(str::to_owned).to_vec() };
        let check = |line: &str, start: usize, expected: &[&str]| {
            assert_eq!(
                words.complete(line, line.len()),
                (start, expected.iter().map(|word| (*word).to_owned()).collect()),
                "{line}"
            );
        };
        check("select * from lo", 14, &["logfmt(", "logql(", "logql_stages(", "logs"]);
        check("sel", 0, &["select"]);
        check("SEL", 0, &["SELECT"]);
        check("select li", 7, &["like", "limit", "line", "line_json(", "line_pattern(", "line_regexp("]);
        check("select json_get_s", 7, &["json_get_str("]);
        check("select * from logs where line = 'lo", 33, &[]);
        check("select ", 7, &[]);
        check("\\t", 0, &["\\timing"]);
        check("", 0, &[]);
    }
}
