//! Lines as they come, narrowed to the members that several readers want: taken apart once for all of them.
//!
//! ```text
//! line ─ like the last ones? ─▶ values by kind ─▶ {"level":"info","status":200}
//!      └ else parsed ─▶ a known kind, a new one, or not narrowed
//! ```
//!
//! What a narrowed line says of its members is what the whole line says: see the module above.

use std::collections::HashMap;
use std::ops::Range;

use arrow::array::AsArray;

use super::rebuild::{LineBuilder, Members, Part, narrowed_parts};
use super::template::{SLOT, match_pieces, parse};
use crate::files::FilesError;
use crate::types::rows::{Lines, NarrowedLines};

/// Kinds of lines that are kept apart; lines of further kinds are not narrowed.
const KINDS_MAX: usize = 256;
/// Bytes of a line of a kind that is remembered: as many as the texts of all kinds may take, a kilobyte each, is little.
const KIND_BYTES_MAX: usize = 16 << 10;
/// Kinds tried before a line is parsed.
const RECENT: usize = 4;

/// Narrows lines. It remembers the kinds of lines it has met.
#[derive(Debug)]
pub struct Narrower {
    /// Members that any of these want are kept.
    wanted: Vec<Members>,
    kinds: Vec<Kind>,
    by_text: HashMap<String, u32>,
    recent: Vec<u32>,
    values: Vec<Range<u32>>,
}

#[derive(Debug)]
struct Kind {
    /// The texts around its values.
    pieces: Vec<Box<str>>,
    /// What is kept of it; values are by their place in the line.
    parts: Vec<Part>,
}

impl Narrower {
    /// Keeps what any of `wanted` wants.
    pub fn new(wanted: Vec<Members>) -> Self {
        Narrower { wanted, kinds: Vec::new(), by_text: HashMap::new(), recent: Vec::new(), values: Vec::new() }
    }

    /// Narrows the rows that `is_wanted` names, where it can.
    ///
    /// # Errors
    /// Never for lines of a batch; the columns are checked all the same.
    pub fn narrow(
        &mut self,
        lines: Lines<'_>,
        rows: usize,
        mut is_wanted: impl FnMut(usize) -> bool,
    ) -> Result<NarrowedLines, FilesError> {
        let mut built = LineBuilder::default();
        let mut values = std::mem::take(&mut self.values);
        let narrowed: Vec<bool> = (0..rows)
            .map(|row| {
                let line = if is_wanted(row) { lines.value(row) } else { "" };
                let kind = self.kind_of(line, &mut values);
                if let Some(kind) = kind {
                    self.kinds[kind as usize].write(line, &values, &mut built.block);
                }
                built.end_line();
                kind.is_some()
            })
            .collect();
        self.values = values;
        Ok(NarrowedLines::new(built.finish()?.as_string_view().clone(), narrowed))
    }

    /// The kind of a line and its values; none when it stays as it is.
    fn kind_of(&mut self, line: &str, values: &mut Vec<Range<u32>>) -> Option<u32> {
        for (at, kind) in self.recent.iter().enumerate() {
            if match_pieces(&self.kinds[*kind as usize].pieces, line, values) {
                let kind = *kind;
                self.recent[..=at].rotate_right(1);
                return Some(kind);
            }
        }
        if line.is_empty() {
            return None;
        }
        let parsed = parse(line).filter(|parsed| self.wanted.iter().all(|wanted| wanted.narrows(parsed.syntax)))?;
        let kind = match self.by_text.get(&parsed.text) {
            Some(known) => *known,
            None if self.kinds.len() >= KINDS_MAX || parsed.text.len() > KIND_BYTES_MAX => return None,
            None => {
                let kind = self.kinds.len() as u32;
                let slots: Vec<u32> = (0..parsed.values.len() as u32).collect();
                let kept = parsed.members.iter().filter(|member| self.wanted.iter().any(|wanted| wanted.wants(member)));
                let parts = narrowed_parts(&parsed.text, kept, &slots, &slots);
                let pieces = parsed.text.split(SLOT).map(Box::from).collect();
                self.kinds.push(Kind { pieces, parts });
                self.by_text.insert(parsed.text, kind);
                kind
            }
        };
        *values = parsed.values;
        self.recent.insert(0, kind);
        self.recent.truncate(RECENT);
        Some(kind)
    }
}

impl Kind {
    #[inline]
    fn write(&self, line: &str, values: &[Range<u32>], out: &mut Vec<u8>) {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                Part::Value(at) => {
                    let Range { start, end } = values[*at];
                    out.extend_from_slice(&line.as_bytes()[start as usize..end as usize]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::StringViewArray;

    use super::*;
    use crate::files::fields::{Member, Syntax};

    fn narrow(narrower: &mut Narrower, lines: &[&str]) -> Vec<Option<String>> {
        let array = StringViewArray::from_iter_values(lines);
        let narrowed = narrower.narrow(Lines::Each(&array), lines.len(), |row| !lines[row].contains("skip"));
        let narrowed = narrowed.expect("sound columns");
        (0..lines.len()).map(|row| narrowed.value(row).map(str::to_owned)).collect()
    }

    #[test]
    fn what_any_reader_wants_is_kept_as_it_stands() {
        let named = |names: &'static [&'static str]| {
            Members::of(Syntax::Json, move |member: &Member| names.contains(&&*member.key))
        };
        let mut narrower = Narrower::new(vec![named(&["level"]), named(&["took", "user"])]);
        let lines = [
            r#" {"level": "in\"fo","m":"x y","took":1.50,"n":[1,{"level":2}]}"#,
            r#" {"level": "warn","m":"","took":2,"n":[]}"#,
            r#"{"m":"x","user":{"level":"inner","id":7}}"#,
            r#"{"m":"nothing wanted"}"#,
            r#"{"level":"a","level":"b"}"#,
            r#"{"level":"cut"#,
            r#"{"level":"skip"}"#,
            "plain",
            "",
        ];
        let expected = [
            Some(r#" {"level": "in\"fo","took":1.50}"#),
            Some(r#" {"level": "warn","took":2}"#),
            Some(r#"{"user":{"level":"inner","id":7}}"#),
            Some("{}"),
            None,
            None,
            None,
            None,
            None,
        ];
        // A second time all kinds are known.
        for _ in 0..2 {
            let found = narrow(&mut narrower, &lines);
            let found: Vec<Option<&str>> = found.iter().map(Option::as_deref).collect();
            assert_eq!(found, expected);
        }
        assert_eq!(narrower.kinds.len(), 4 - 1, "the first two lines are of one kind");
    }

    #[test]
    fn kinds_are_bounded() {
        let mut narrower = Narrower::new(vec![Members::of(Syntax::Json, |_| true)]);
        let lines: Vec<String> = (0..KINDS_MAX * 2).map(|at| format!(r#"{{"k{at}":1}}"#)).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let found = narrow(&mut narrower, &lines);
        assert_eq!((narrower.kinds.len(), found.iter().flatten().count()), (KINDS_MAX, KINDS_MAX));
    }
}
