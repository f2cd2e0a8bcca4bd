//! What a file says of its fields, in its footer.
//!
//! ```text
//! key_value_metadata["millrace.fields"] = base64(lz4(json StoredFields))
//! ```

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parquet::file::metadata::ParquetMetaData;
use serde::{Deserialize, Serialize};

use super::columns::FieldColumn;
use super::facts::{GroupFacts, MayHave, Occurrence};
use super::packed::Form;
use super::split::Splitter;
use super::template::{Member, SLOT, Syntax, Template};

/// Key of the footer entry.
pub(in crate::files) const FOOTER_KEY: &str = "millrace.fields";
/// Decoded size beyond which a footer is refused.
const DECODED_BYTES_MAX: usize = 1 << 28;

#[derive(Debug, Serialize, Deserialize)]
struct StoredFields {
    columns: Vec<FieldColumn>,
    templates: Vec<Template>,
    groups: Vec<GroupFacts>,
}

/// The fields of a file.
#[derive(Debug)]
pub struct FieldIndex {
    columns: Vec<FieldColumn>,
    templates: Vec<KnownTemplate>,
    groups: Vec<GroupFacts>,
    /// Places of the id columns.
    ids: Vec<u32>,
    /// Place of each column among those of its sort: ids, others.
    place: Vec<usize>,
    bytes: usize,
}

/// A template that fits its columns.
#[derive(Debug)]
pub(super) struct KnownTemplate {
    pub(super) syntax: Syntax,
    pub(super) text: String,
    /// The column of each slot.
    pub(super) columns: Vec<u32>,
    pub(super) members: Vec<Member>,
}

/// The footer entry of a file that was written by `splitter`, with the facts of its row groups.
pub(in crate::files) fn encode(splitter: &Splitter, groups: Vec<GroupFacts>) -> String {
    let stored = StoredFields {
        columns: splitter.columns().columns.clone(),
        templates: splitter.templates().cloned().collect(),
        groups,
    };
    let json = serde_json::to_vec(&stored).expect("strings and integers always serialise");
    STANDARD.encode(lz4_flex::compress_prepend_size(&json))
}

impl FieldIndex {
    /// # Errors
    /// A text naming what is wrong.
    pub(in crate::files) fn decode(text: &str, metadata: &ParquetMetaData) -> Result<Self, String> {
        Self::decode_groups(text, metadata.num_row_groups())
    }

    pub(super) fn decode_groups(text: &str, row_groups: usize) -> Result<Self, String> {
        let packed = STANDARD.decode(text).map_err(|e| e.to_string())?;
        let size = packed.first_chunk::<4>().map_or(0, |size| u32::from_le_bytes(*size) as usize);
        if size > DECODED_BYTES_MAX {
            return Err(format!("claims {size} bytes, at most {DECODED_BYTES_MAX} are read"));
        }
        let json = lz4_flex::decompress_size_prepended(&packed).map_err(|e| e.to_string())?;
        let StoredFields { columns, templates, groups } = serde_json::from_slice(&json).map_err(|e| e.to_string())?;
        if groups.len() != row_groups {
            return Err(format!("tells of {} row groups, not {row_groups}", groups.len()));
        }
        let ids: Vec<u32> = columns.iter().zip(0..).filter(|(column, _)| column.id).map(|(_, at)| at).collect();
        let others = columns.len() - ids.len();
        let of_all = |noted: usize, columns: usize| noted == 0 || noted == columns;
        if groups.iter().any(|group| {
            group.ids.len() != ids.len()
                || !of_all(group.others.len(), others)
                || !of_all(group.filters.len(), ids.len())
        }) {
            return Err("its columns and their facts differ in number".to_owned());
        }
        let (mut next_id, mut next_other) = (0.., 0..);
        let place = columns.iter().filter_map(|c| if c.id { next_id.next() } else { next_other.next() }).collect();
        let templates = templates.into_iter().map(|t| KnownTemplate::of(t, columns.len())).collect::<Result<_, _>>()?;
        Ok(FieldIndex { columns, templates, groups, ids, place, bytes: json.len() * 2 })
    }

    pub fn columns(&self) -> &[FieldColumn] {
        &self.columns
    }

    /// The forms of some columns.
    pub(super) fn forms(&self, columns: &[u32]) -> Vec<Option<Form>> {
        columns.iter().map(|at| self.columns[*at as usize].form.clone()).collect()
    }

    pub(super) fn templates(&self) -> &[KnownTemplate] {
        &self.templates
    }

    /// Whether every line of a row group was taken apart.
    pub fn is_split(&self, row_group: usize) -> bool {
        self.groups[row_group].is_split()
    }

    /// Whether all `rows` lines of a row group were taken apart as logfmt.
    pub(in crate::files) fn is_logfmt(&self, row_group: usize, rows: u64) -> bool {
        self.groups[row_group].logfmt_rows == rows
    }

    /// Whether a value in a row group may have escapes, so that it is another text than what the line has.
    pub(in crate::files) fn has_escapes(&self, row_group: usize) -> bool {
        let group = &self.groups[row_group];
        let known = group.ids.iter().chain(&group.others);
        group.ids.len() + group.others.len() < self.columns.len()
            || known.into_iter().any(|facts| facts.bytes >> b'\\' & 1 == 1)
    }

    /// Where in the file the filters of column `column` in a row group are.
    pub(in crate::files) fn filters(&self, row_group: usize, column: u32) -> Option<Range<u64>> {
        let id = self.ids.iter().position(|at| *at == column)?;
        self.groups[row_group].filters.get(id).filter(|range| range.start <= range.end).cloned()
    }

    /// Whether a value of column `column` in a row group can be `value`, which needs no escapes. None: nobody knows.
    pub(in crate::files) fn value_may_be(&self, row_group: usize, column: usize, value: &str) -> Option<bool> {
        let id = self.ids.iter().position(|at| *at as usize == column)?;
        self.groups[row_group].ids[id].may_be(value)
    }

    /// Whether a value of column `column` in a row group can have `text` in it.
    fn value_may_have(&self, row_group: usize, column: u32, text: &str) -> bool {
        let (column, group) = (column as usize, &self.groups[row_group]);
        let facts = if self.columns[column].id { &group.ids } else { &group.others };
        let form = self.columns[column].form.as_ref();
        facts.get(self.place[column]).is_none_or(|facts| facts.can_have(text) != Occurrence::Never)
            && form.is_none_or(|form| form.can_have(text.as_bytes()))
    }

    /// Whether `member` of a template can have `text`, which has no quote, in its key or in a value.
    pub(super) fn member_may_have(
        &self,
        row_group: usize,
        template: &KnownTemplate,
        member: &Member,
        text: &str,
    ) -> bool {
        let of_text = &template.text[member.text.start as usize..member.text.end as usize];
        let slots = &template.columns[member.slots.start as usize..member.slots.end as usize];
        of_text.split(SLOT).any(|piece| piece.contains(text))
            || slots.iter().any(|column| self.value_may_have(row_group, *column, text))
    }

    /// The place in `columns` of the one column whose values may have `text`, when nothing else of the lines may.
    pub(super) fn only_place(&self, row_group: usize, text: &str, columns: &[u32]) -> Option<usize> {
        if self.templates.iter().any(|template| template.text.split(SLOT).any(|piece| piece.contains(text))) {
            return None;
        }
        let mut places =
            columns.iter().enumerate().filter(|(_, column)| self.value_may_have(row_group, **column, text));
        let (only, _) = places.next()?;
        places.next().is_none().then_some(only)
    }

    /// Whether lines of a row group can have `text` as a part.
    pub fn may_have(&self, row_group: usize, text: &str) -> MayHave {
        self.groups[row_group].may_have(text, &self.ids)
    }

    /// Memory, about.
    pub(in crate::files) fn memory_bytes(&self) -> usize {
        self.bytes
    }
}

impl KnownTemplate {
    fn of(template: Template, columns: usize) -> Result<Self, String> {
        let Template { syntax, text, columns: of_slots, members } = template;
        let slots = of_slots.len();
        let inside = |member: &Member| {
            let of_text = text.get(member.text.start as usize..member.text.end as usize);
            let (start, end) = (member.slots.start as usize, member.slots.end as usize);
            of_text.is_some_and(|part| part.matches(SLOT).count() == end.saturating_sub(start)) && end <= slots
        };
        if text.matches(SLOT).count() != slots
            || of_slots.iter().any(|at| *at as usize >= columns)
            || !members.iter().all(inside)
        {
            return Err("a template does not fit its columns".to_owned());
        }
        Ok(KnownTemplate { syntax, text, columns: of_slots, members })
    }
}
