//! Lines become columns: the writer's side.
//!
//! ```text
//! line ─ like the last ones? ─▶ values by template ─▶ template number, views of the values in their columns
//!      └ else parsed ─▶ a known template, a new one, or the whole line
//! ```
//!
//! Values are views of the lines' own buffers: nothing but packed ids is copied. Work for a line of a known kind is one walk over it.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, FixedSizeBinaryArray, Int32Array, StringViewArray, make_view, new_null_array};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, ScalarBuffer};

use super::columns::{FieldColumn, FieldColumns};
use super::facts::{GroupFacts, Trigrams, ValueFacts};
use super::noted::Noted;
use super::packed::Form;
use super::stretches::{IdFilters, STRETCH_ROWS, hash_of};
use super::template::{Parsed, SLOT, Syntax, Template, match_pieces, parse};
use crate::files::FilesError;

/// Kinds of lines a file keeps apart; lines of further kinds stay whole.
const TEMPLATES_MAX: usize = 1_024;
/// Kinds that were not let in and are remembered as such.
const REFUSED_MAX: usize = 1_024;
/// Kinds tried before a line is parsed.
const RECENT: usize = 4;

/// Takes the lines of one file apart.
#[derive(Debug)]
pub(in crate::files) struct Splitter {
    columns: FieldColumns,
    by_path: HashMap<String, OfPath>,
    /// How each column is noted.
    places: Vec<Place>,
    templates: Vec<Known>,
    /// Template numbers by text; none for kinds that stay whole.
    by_text: HashMap<String, Option<u32>>,
    recent: Vec<u32>,
    values: Vec<Range<u32>>,
    facts: GroupFacts,
    /// By id column.
    ids: Vec<Ids>,
    /// Rows of the stretch that is open.
    stretch_rows: usize,
    /// By other column: values that are in the facts of this row group.
    noted: Vec<Noted>,
    /// Templates whose text is in the trigrams of this row group.
    in_facts: Vec<bool>,
}

/// The columns of one path.
#[derive(Debug, Clone, Copy)]
struct OfPath {
    plain: u32,
    /// That of the values which have its form.
    packed: Option<u32>,
}

/// The ids of a column in this row group.
#[derive(Debug, Default)]
struct Ids {
    /// Of the stretch that is open.
    hashes: Vec<u64>,
    filters: IdFilters,
}

/// Place of a column among those of its sort.
#[derive(Debug, Clone, Copy)]
enum Place {
    Id(usize),
    Other(usize),
}

#[derive(Debug)]
struct Known {
    template: Template,
    pieces: Vec<Box<str>>,
    /// Slots whose column is packed.
    packed: Vec<usize>,
    /// The template of lines of the same text with a value of another form, once there is one.
    plain: Option<u32>,
}

/// The columns that lines became.
#[derive(Debug)]
pub(in crate::files) struct SplitLines {
    /// Null where the line stayed whole.
    pub(in crate::files) template: ArrayRef,
    /// Null where it did not.
    pub(in crate::files) line: ArrayRef,
    /// In the order of the columns.
    pub(in crate::files) fields: Vec<ArrayRef>,
}

/// One column of a batch while it is filled.
struct Filling {
    values: FillingValues,
    valid: Vec<bool>,
}

enum FillingValues {
    Views(Vec<u128>),
    /// By row, all of one width.
    Packed(Vec<u8>, usize),
}

impl Filling {
    fn new(column: &FieldColumn, rows: usize) -> Self {
        let values = match column.form.as_ref().map(Form::width) {
            Some(width) => FillingValues::Packed(vec![0; rows * width], width),
            None => FillingValues::Views(vec![0; rows]),
        };
        Filling { values, valid: vec![false; rows] }
    }

    fn finish(self, lines: &StringViewArray) -> Result<ArrayRef, FilesError> {
        let nulls = Some(NullBuffer::new(BooleanBuffer::collect_bool(self.valid.len(), |row| self.valid[row])));
        Ok(match self.values {
            FillingValues::Views(views) => {
                let buffers = lines.data_buffers().to_vec();
                Arc::new(StringViewArray::try_new(ScalarBuffer::from(views), buffers, nulls)?)
            }
            FillingValues::Packed(bytes, width) => {
                Arc::new(FixedSizeBinaryArray::try_new(width as i32, Buffer::from_vec(bytes), nulls)?)
            }
        })
    }
}

impl Splitter {
    pub(in crate::files) fn new(columns: FieldColumns) -> Self {
        let mut by_path: HashMap<String, OfPath> = HashMap::new();
        for (column, at) in columns.columns.iter().zip(0..) {
            // The column without a form comes first.
            let of_path = by_path.entry(column.path.clone()).or_insert(OfPath { plain: at, packed: None });
            if column.form.is_some() {
                of_path.packed = Some(at);
            }
        }
        let (mut ids, mut others) = (0, 0);
        let place = |id: bool| {
            let (next, place): (_, fn(usize) -> Place) =
                if id { (&mut ids, Place::Id) } else { (&mut others, Place::Other) };
            *next += 1;
            place(*next - 1)
        };
        let places: Vec<Place> = columns.columns.iter().map(|column| column.id).map(place).collect();
        let mut splitter = Splitter {
            columns,
            by_path,
            places,
            noted: (0..others).map(|_| Noted::default()).collect(),
            ids: (0..ids).map(|_| Ids::default()).collect(),
            stretch_rows: 0,
            templates: Vec::new(),
            by_text: HashMap::new(),
            recent: Vec::new(),
            values: Vec::new(),
            facts: GroupFacts::default(),
            in_facts: Vec::new(),
        };
        splitter.take_facts();
        splitter
    }

    pub(in crate::files) fn columns(&self) -> &FieldColumns {
        &self.columns
    }

    pub(super) fn templates(&self) -> impl Iterator<Item = &Template> {
        self.templates.iter().map(|known| &known.template)
    }

    /// What is known of the lines split since the last call, and by id column the bytes of its filters.
    pub(in crate::files) fn take_facts(&mut self) -> (GroupFacts, Vec<Vec<u8>>) {
        self.end_stretch();
        let filters = self.ids.iter_mut().map(|ids| std::mem::take(&mut ids.filters).encode()).collect();
        let others = self.noted.len();
        let fresh = GroupFacts {
            whole_rows: 0,
            logfmt_rows: 0,
            ids: vec![ValueFacts::default(); self.places.len() - others],
            others: vec![ValueFacts::default(); others],
            trigrams: Trigrams::default(),
            filters: Vec::new(),
        };
        self.noted.iter_mut().for_each(Noted::clear);
        self.in_facts.iter_mut().for_each(|known| *known = false);
        (std::mem::replace(&mut self.facts, fresh), filters)
    }

    fn end_stretch(&mut self) {
        if self.stretch_rows > 0 {
            self.ids.iter_mut().for_each(|ids| ids.filters.end_stretch(&mut ids.hashes));
        }
        self.stretch_rows = 0;
    }

    /// Splits the lines of one batch.
    pub(in crate::files) fn split(&mut self, lines: &StringViewArray) -> Result<SplitLines, FilesError> {
        let rows = lines.len();
        let mut template: Vec<Option<i32>> = Vec::with_capacity(rows);
        let mut whole: Vec<bool> = Vec::with_capacity(rows);
        let mut filling: Vec<Option<Filling>> = self.columns.columns.iter().map(|_| None).collect();
        let mut values = std::mem::take(&mut self.values);
        for (row, view) in lines.views().iter().enumerate() {
            if self.stretch_rows == STRETCH_ROWS {
                self.end_stretch();
            }
            self.stretch_rows += 1;
            let line = lines.value(row);
            let kind = self.kind_of(line, &mut values);
            let kind = kind.and_then(|kind| self.pack(kind, row, rows, line, &values, &mut filling));
            template.push(kind.map(|kind| kind as i32));
            whole.push(kind.is_none());
            let Some(kind) = kind else {
                self.facts.whole_rows += 1;
                self.facts.trigrams.add(line.as_bytes());
                continue;
            };
            self.note(kind, line, &values);
            // A line of up to 12 bytes has no buffer, and neither have its values.
            let (block, offset) = ((*view >> 64) as u32, (*view >> 96) as u32);
            for (column, range) in self.templates[kind as usize].template.columns.iter().zip(&values) {
                let of_column = filling[*column as usize]
                    .get_or_insert_with(|| Filling::new(&self.columns.columns[*column as usize], rows));
                if let FillingValues::Views(views) = &mut of_column.values {
                    let value = &line.as_bytes()[range.start as usize..range.end as usize];
                    let at = if value.len() > 12 { offset + range.start } else { 0 };
                    views[row] = make_view(value, block, at);
                }
                of_column.valid[row] = true;
            }
        }
        self.values = values;
        let nulls = NullBuffer::new(BooleanBuffer::collect_bool(rows, |row| whole[row]));
        let line = StringViewArray::try_new(lines.views().clone(), lines.data_buffers().to_vec(), Some(nulls))?;
        let fields = filling.into_iter().zip(&self.columns.columns).map(|(of_column, column)| match of_column {
            Some(of_column) => of_column.finish(lines),
            None => Ok(new_null_array(&column.written_type(), rows)),
        });
        let fields = fields.collect::<Result<Vec<_>, FilesError>>()?;
        Ok(SplitLines { template: Arc::new(Int32Array::from(template)), line: Arc::new(line), fields })
    }

    /// The template of a line and its values; none when it stays whole.
    fn kind_of(&mut self, line: &str, values: &mut Vec<Range<u32>>) -> Option<u32> {
        for (at, kind) in self.recent.iter().enumerate() {
            if match_pieces(&self.templates[*kind as usize].pieces, line, values) {
                let kind = *kind;
                self.recent[..=at].rotate_right(1);
                return Some(kind);
            }
        }
        let parsed = parse(line)?;
        let kind = match self.by_text.get(&parsed.text) {
            Some(known) => *known,
            None => self.admit(&parsed),
        }?;
        *values = parsed.values;
        self.recent.insert(0, kind);
        self.recent.truncate(RECENT);
        Some(kind)
    }

    /// Packs the values of a line that are to be; answers the kind that it is, another one where a value has another
    /// form.
    fn pack(
        &mut self,
        kind: u32,
        row: usize,
        rows: usize,
        line: &str,
        values: &[Range<u32>],
        filling: &mut [Option<Filling>],
    ) -> Option<u32> {
        let known = &self.templates[kind as usize];
        let fits = known.packed.iter().all(|slot| {
            let at = known.template.columns[*slot] as usize;
            let column = &self.columns.columns[at];
            let (Some(form), Range { start, end }) = (&column.form, values[*slot].clone()) else { return false };
            let of_column = filling[at].get_or_insert_with(|| Filling::new(column, rows));
            let FillingValues::Packed(bytes, width) = &mut of_column.values else { return false };
            let out = &mut bytes[row * *width..(row + 1) * *width];
            let fits = form.pack(&line.as_bytes()[start as usize..end as usize], out);
            if !fits {
                out.fill(0);
            }
            fits
        });
        if fits { Some(kind) } else { self.plain(kind) }
    }

    /// The kind of lines like those of `kind` with no value packed.
    fn plain(&mut self, kind: u32) -> Option<u32> {
        let number = self.templates.len();
        let known = &mut self.templates[kind as usize];
        if known.plain.is_none() && number < TEMPLATES_MAX {
            known.plain = Some(number as u32);
            let mut template = known.template.clone();
            for slot in &known.packed {
                let column = &self.columns.columns[template.columns[*slot] as usize];
                template.columns[*slot] = self.by_path[&column.path].plain;
            }
            let pieces = known.pieces.clone();
            self.templates.push(Known { template, pieces, packed: Vec::new(), plain: None });
            self.in_facts.push(false);
        }
        self.templates[kind as usize].plain
    }

    /// A kind of line that was not met before.
    fn admit(&mut self, parsed: &Parsed) -> Option<u32> {
        let of_paths: Option<Vec<OfPath>> = parsed.paths.iter().map(|path| self.by_path.get(path).copied()).collect();
        let Some(of_paths) = of_paths.filter(|_| self.templates.len() < TEMPLATES_MAX) else {
            if self.by_text.len() < TEMPLATES_MAX + REFUSED_MAX {
                self.by_text.insert(parsed.text.clone(), None);
            }
            return None;
        };
        let number = self.templates.len() as u32;
        let packed = of_paths.iter().enumerate().filter(|(_, of_path)| of_path.packed.is_some()).map(|(slot, _)| slot);
        let packed = packed.collect();
        let columns = of_paths.iter().map(|of_path| of_path.packed.unwrap_or(of_path.plain)).collect();
        let template =
            Template { syntax: parsed.syntax, text: parsed.text.clone(), columns, members: parsed.members.clone() };
        let pieces = template.pieces().map(Box::from).collect();
        self.templates.push(Known { template, pieces, packed, plain: None });
        self.in_facts.push(false);
        self.by_text.insert(parsed.text.clone(), Some(number));
        Some(number)
    }

    /// Adds a line to the facts of the row group.
    #[inline]
    fn note(&mut self, kind: u32, line: &str, values: &[Range<u32>]) {
        let known = &self.templates[kind as usize];
        let facts = &mut self.facts;
        let is_logfmt = known.template.syntax == Syntax::Logfmt;
        facts.logfmt_rows += u64::from(is_logfmt);
        if !std::mem::replace(&mut self.in_facts[kind as usize], true) {
            known.template.text.split(SLOT).for_each(|piece| facts.trigrams.add(piece.as_bytes()));
        }
        let bytes = line.as_bytes();
        for ((column, range), piece) in known.template.columns.iter().zip(values).zip(&known.pieces) {
            let (start, end) = (range.start as usize, range.end as usize);
            let value = &bytes[start..end];
            // What is looked for may reach over the ends of a value without quotes.
            let around = match piece.ends_with('"') {
                true => value,
                false => &bytes[start.saturating_sub(2)..(end + 2).min(bytes.len())],
            };
            match self.places[*column as usize] {
                Place::Id(at) => {
                    facts.ids[at].add(value);
                    self.ids[at].hashes.push(hash_of(value));
                    // Texts are cut at the ends of logfmt's values.
                    if around.len() > value.len() && !is_logfmt {
                        facts.trigrams.add(around);
                    }
                }
                Place::Other(at) => {
                    if self.noted[at].is_new(around) {
                        facts.others[at].add(value);
                        facts.trigrams.add(around);
                    }
                }
            }
        }
    }
}
