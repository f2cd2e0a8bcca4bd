//! What is known of the lines of a row group without reading them: enough to say that a text is in none.
//!
//! ```text
//! values of each column    longest, the bytes they use; of id columns also filters ([`super::stretches`])
//! all but values of ids    a bitmap of its trigrams, in the footer
//! ```
//!
//! A text that is looked for is cut at `"`: no value has one unescaped, so a part lies within one value or within what
//! is between two values. Where there is logfmt it is cut at spaces and `=` too: values without quotes have none.
//! A row group has the text only if each part is in an id column or has all its trigrams set.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// Bits of a bitmap of trigrams.
const TRIGRAM_BITS: usize = 1 << 16;
const TRIGRAM_WORDS: usize = TRIGRAM_BITS / 64;

/// Which trigrams occur.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trigrams(Box<[u64]>);

/// What the values of a column in one row group are like.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ValueFacts {
    /// Bytes.
    pub(super) longest: u32,
    /// Bit n: some value has the byte n; 127 stands for all that are not ASCII.
    pub(super) bytes: u128,
}

/// What is known of one row group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::files) struct GroupFacts {
    /// Rows whose line is kept whole.
    pub(super) whole_rows: u64,
    /// Rows whose line was taken apart as logfmt; all others were as JSON.
    #[serde(default)]
    pub(super) logfmt_rows: u64,
    /// By id column, in the order of the columns.
    pub(super) ids: Vec<ValueFacts>,
    /// By other column, likewise; empty in files from before it was noted.
    #[serde(default)]
    pub(super) others: Vec<ValueFacts>,
    pub(super) trigrams: Trigrams,
    /// By id column: where in the file its filters are; empty in files from before there were any.
    #[serde(default)]
    pub(in crate::files) filters: Vec<Range<u64>>,
}

impl Default for Trigrams {
    fn default() -> Self {
        Trigrams(vec![0; TRIGRAM_WORDS].into_boxed_slice())
    }
}

#[inline]
fn bit_of(trigram: &[u8]) -> usize {
    let number = u32::from(trigram[0]) | u32::from(trigram[1]) << 8 | u32::from(trigram[2]) << 16;
    (number.wrapping_mul(0x9E37_79B1) >> 16) as usize
}

impl Trigrams {
    #[inline]
    pub(super) fn add(&mut self, text: &[u8]) {
        for trigram in text.windows(3) {
            let bit = bit_of(trigram);
            self.0[bit / 64] |= 1 << (bit % 64);
        }
    }

    fn has_all(&self, text: &[u8]) -> bool {
        text.windows(3).all(|trigram| {
            let bit = bit_of(trigram);
            self.0[bit / 64] >> (bit % 64) & 1 == 1
        })
    }
}

impl Serialize for Trigrams {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes: Vec<u8> = self.0.iter().flat_map(|word| word.to_le_bytes()).collect();
        serializer.serialize_str(&STANDARD.encode(lz4_flex::compress(&bytes)))
    }
}

impl<'de> Deserialize<'de> for Trigrams {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;

        let text = String::deserialize(deserializer)?;
        let packed = STANDARD.decode(text).map_err(D::Error::custom)?;
        let bytes = lz4_flex::decompress(&packed, TRIGRAM_BITS / 8).map_err(D::Error::custom)?;
        if bytes.len() != TRIGRAM_BITS / 8 {
            return Err(D::Error::custom("a bitmap of another size"));
        }
        let words =
            bytes.chunks_exact(8).map(|word| word.iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte)));
        Ok(Trigrams(words.collect()))
    }
}

impl ValueFacts {
    #[inline]
    pub(super) fn add(&mut self, value: &[u8]) {
        self.longest = self.longest.max(value.len() as u32);
        self.bytes = value.iter().fold(self.bytes, |bytes, byte| bytes | 1 << byte.min(&127));
    }

    /// What a value of the column can be that has `text` in it.
    pub(super) fn can_have(&self, text: &str) -> Occurrence {
        let spelled = text.bytes().all(|byte| self.bytes >> byte.min(127) & 1 == 1);
        match text.len().cmp(&(self.longest as usize)) {
            _ if !spelled => Occurrence::Never,
            std::cmp::Ordering::Greater => Occurrence::Never,
            std::cmp::Ordering::Equal => Occurrence::Whole,
            std::cmp::Ordering::Less => Occurrence::Part,
        }
    }
}

impl ValueFacts {
    /// Whether a value, its escapes resolved, can be `value`; none where escapes hide what values are.
    pub(super) fn may_be(&self, value: &str) -> Option<bool> {
        let has_escapes = self.bytes >> b'\\' & 1 == 1;
        (!has_escapes).then(|| self.can_have(value) != Occurrence::Never)
    }
}

/// How a text can occur in a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Occurrence {
    Never,
    /// Only as the whole value: filters tell.
    Whole,
    /// Within a longer value.
    Part,
}

/// Whether lines can have a text, as far as facts tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MayHave {
    No,
    Yes,
    /// By part of the text: (column, value) of which one must be in the filters of its column. All parts must be.
    IfInFilters(Vec<Vec<(u32, String)>>),
}

impl GroupFacts {
    /// Whether every line was taken apart.
    pub(super) fn is_split(&self) -> bool {
        self.whole_rows == 0
    }

    /// Whether a line of the row group can have `text`. `id_columns` are the places of the id columns.
    pub(super) fn may_have(&self, text: &str, id_columns: &[u32]) -> MayHave {
        let mut asked: Vec<Vec<(u32, String)>> = Vec::new();
        let has_logfmt = self.logfmt_rows > 0;
        let is_between = |character: char| character == '"' || (has_logfmt && matches!(character, ' ' | '='));
        for part in text.split(is_between).filter(|part| part.len() >= 3) {
            if self.trigrams.has_all(part.as_bytes()) {
                continue;
            }
            let mut of_part = Vec::new();
            let mut open = false;
            for (facts, column) in self.ids.iter().zip(id_columns) {
                match facts.can_have(part) {
                    Occurrence::Never => {}
                    Occurrence::Whole => of_part.push((*column, part.to_owned())),
                    Occurrence::Part => open = true,
                }
            }
            match (open, of_part.is_empty()) {
                (true, _) => {}
                (false, true) => return MayHave::No,
                (false, false) => asked.push(of_part),
            }
        }
        if asked.is_empty() { MayHave::Yes } else { MayHave::IfInFilters(asked) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_line_has_is_ruled_out() {
        let mut facts = GroupFacts { ids: vec![ValueFacts::default()], ..GroupFacts::default() };
        facts.trigrams.add(br#"{"message":"cache miss","trace_id":""}"#);
        facts.ids[0].add(b"00ab12ffee");
        let ask = |text: &str| facts.may_have(text, &[4]);
        assert_eq!(ask("cache"), MayHave::Yes);
        assert_eq!(ask("ca"), MayHave::Yes);
        assert_eq!(ask("zzyzx-never"), MayHave::No);
        assert_eq!(ask("cache hit"), MayHave::No);
        assert_eq!(ask("00ab12"), MayHave::Yes);
        assert_eq!(ask("00ab12ffee0"), MayHave::No);
        let asked = MayHave::IfInFilters(vec![vec![(4, "ffab12ffee".to_owned())]]);
        assert_eq!(ask("ffab12ffee"), asked);
        assert_eq!(ask(r#""trace_id":"ffab12ffee""#), asked);
        assert_eq!(ask(r#""trace_id":"ffab"#), MayHave::Yes);
        assert_eq!(ask(r#""nothing":"ffab"#), MayHave::No);
    }

    #[test]
    fn facts_are_read_as_written() {
        let mut facts =
            GroupFacts { whole_rows: 3, ids: vec![ValueFacts { longest: 4, bytes: 1 << 97 }], ..Default::default() };
        facts.trigrams.add("some łine".as_bytes());
        let text = serde_json::to_string(&facts).expect("serialised");
        assert_eq!(serde_json::from_str::<GroupFacts>(&text).expect("read"), facts);
    }
}
