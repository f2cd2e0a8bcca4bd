//! Columns become lines again: the reader's side.
//!
//! ```text
//! template ─┐
//! fields   ─┼─▶ the line, byte by byte                    all members
//! line     ─┘   {"status":200}                            some members: a line that says of them what the whole does
//! ```
//!
//! A narrowed line has the wanted members as they stand in the line, in their order. Where all of its values come
//! from dictionaries, equal lines are made once and rows refer to them by number.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, FixedSizeBinaryArray, Int32Array, StringArray, StringViewArray,
    UInt32Array, make_view,
};
use arrow::buffer::{Buffer, ScalarBuffer};
use arrow::datatypes::{Int32Type, UInt32Type};

use super::index::{FieldIndex, KnownTemplate};
use super::logfmt;
use super::packed::Form;
use super::sought::SoughtText;
use super::template::{Member, SLOT, Syntax};
use crate::files::FilesError;

/// Distinct combinations of dictionary values and templates that are numbered; with more, lines are made row by row.
const NUMBERED_MAX: usize = 1 << 17;
/// Bytes of lines after which a new buffer is begun: a view can point into the first 4 GiB of one.
const BLOCK_BYTES: usize = 4 << 20;

/// Which members of lines a reader needs.
#[derive(Clone)]
pub struct Members {
    /// Of which lines: those of another sort are needed whole.
    syntax: Option<Syntax>,
    wanted: Arc<dyn Fn(&Member) -> bool + Send + Sync>,
    /// Besides, those that may have one of these in a key or a value.
    texts: Arc<[String]>,
    /// One of them that every line which is not dropped has.
    required: Option<Arc<str>>,
}

impl std::fmt::Debug for Members {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Members").field("texts", &self.texts).finish_non_exhaustive()
    }
}

impl Members {
    /// None for themselves, of any lines.
    pub fn none() -> Self {
        Members { syntax: None, wanted: Arc::new(|_| false), texts: Arc::new([]), required: None }
    }

    /// Those that a parser of `syntax` needs.
    pub fn of(syntax: Syntax, wanted: impl Fn(&Member) -> bool + Send + Sync + 'static) -> Self {
        Members { syntax: Some(syntax), wanted: Arc::new(wanted), ..Members::none() }
    }

    /// The same, and every member of which a key or a value may have one of `texts`.
    ///
    /// Each text [`Members::confines`]: a line then has it exactly when its narrowed form has it.
    pub fn or_with(self, texts: Vec<String>) -> Self {
        Members { texts: texts.into(), ..self }
    }

    /// The same; a line without `text`, which is one of the texts, may be any line without it.
    pub fn requiring(self, text: Option<&str>) -> Self {
        Members { required: text.map(Arc::from), ..self }
    }

    /// Whether some of the members are enough of lines of `syntax`.
    pub(super) fn narrows(&self, syntax: Syntax) -> bool {
        let texts_fit = syntax == Syntax::Json || self.texts.iter().all(|text| logfmt::confines(text));
        texts_fit && self.syntax.is_none_or(|wanted| wanted == syntax)
    }

    /// Whether a member is wanted for itself, and not for a text it may have.
    pub(super) fn wants(&self, member: &Member) -> bool {
        (self.wanted)(member)
    }

    /// Whether a JSON line that has `text` has it inside of a key or a value.
    ///
    /// Without a quote in it, a text lies between two quotes of the line: inside of a string, or in what is outside of
    /// strings, which has few characters. There it lies in one value when it has no character that separates values.
    pub fn confines(text: &str) -> bool {
        let separates =
            |byte: u8| matches!(byte, b'{' | b'}' | b'[' | b']' | b':' | b',') || byte.is_ascii_whitespace();
        let in_value = |byte: u8| byte.is_ascii_digit() || b"+-.eEtrufalsn".contains(&byte);
        !text.bytes().any(|byte| matches!(byte, b'"' | 0))
            && (!text.bytes().any(separates) || !text.bytes().all(|byte| separates(byte) || in_value(byte)))
    }
}

/// How lines of one row group are made: what of each template, from which columns.
#[derive(Debug)]
pub(in crate::files) struct Recipe {
    /// By template: texts around slots, and the slots' places in `columns`.
    parts: Vec<Vec<Part>>,
    /// Places of the field columns that are read, ascending.
    columns: Vec<u32>,
    /// Their forms.
    forms: Vec<Option<Form>>,
    narrowed: bool,
    /// Lines without it need not be as they are.
    sought: Option<SoughtText>,
}

#[derive(Debug)]
pub(super) enum Part {
    Text(Box<str>),
    Value(usize),
}

/// The values of one column of a batch.
pub(super) enum Values<'a> {
    View(&'a StringViewArray),
    Packed(&'a FixedSizeBinaryArray, &'a Form),
    Coded(&'a Int32Array, &'a StringArray),
}

impl<'a> Values<'a> {
    fn of(array: &'a ArrayRef, form: Option<&'a Form>) -> Self {
        match (array.as_any_dictionary_opt(), form) {
            (Some(_), _) => {
                let coded = array.as_dictionary::<Int32Type>();
                Values::Coded(coded.keys(), coded.values().as_string())
            }
            (None, Some(form)) => Values::Packed(array.as_fixed_size_binary(), form),
            (None, None) => Values::View(array.as_string_view()),
        }
    }

    /// Appends the value of a row.
    #[inline]
    fn push(&self, row: usize, out: &mut Vec<u8>) {
        match self {
            Values::View(views) => out.extend_from_slice(views.value(row).as_bytes()),
            Values::Packed(packed, form) => form.unpack(packed.value(row), out),
            Values::Coded(keys, values) => {
                // A null has no code; its template has no slot for the column either.
                let code = keys.values()[row] as usize;
                if code < values.len() {
                    out.extend_from_slice(values.value(code).as_bytes());
                }
            }
        }
    }
}

impl Recipe {
    /// Whole lines.
    pub(in crate::files) fn whole(index: &FieldIndex) -> Self {
        let mut columns: Vec<u32> = index.templates().iter().flat_map(|template| template.columns.clone()).collect();
        columns.sort_unstable();
        columns.dedup();
        let parts = index.templates().iter().map(|template| {
            let mut parts = Vec::new();
            push_parts(&mut parts, &template.text, &template.columns, &columns);
            parts
        });
        let forms = index.forms(&columns);
        Recipe { parts: parts.collect(), columns, forms, narrowed: false, sought: None }
    }

    /// Lines with the wanted members alone, whole ones of the other syntax; none where a row group has whole lines, which
    /// are not narrowed.
    pub(in crate::files) fn narrowed(index: &FieldIndex, row_group: usize, members: &Members) -> Option<Self> {
        if !index.is_split(row_group) {
            return None;
        }
        let slots = |member: &Member| member.slots.start as usize..member.slots.end as usize;
        let templates = index.templates();
        let wanted_of = |template: &KnownTemplate| -> Vec<bool> {
            let may_have = |member: &Member, text: &str| index.member_may_have(row_group, template, member, text);
            let is_wanted =
                |member: &Member| (members.wanted)(member) || members.texts.iter().any(|text| may_have(member, text));
            template.members.iter().map(is_wanted).collect()
        };
        let wanted: Vec<Vec<bool>> = templates.iter().map(wanted_of).collect();
        let wanted_members = |at: usize| {
            let members = templates[at].members.iter().zip(&wanted[at]);
            members.filter(|(_, wanted)| **wanted).map(|(member, _)| member)
        };
        let slots_of = |at: usize| -> Vec<u32> {
            let template = &templates[at];
            match members.narrows(template.syntax) {
                true => wanted_members(at).flat_map(|member| template.columns[slots(member)].to_vec()).collect(),
                false => template.columns.clone(),
            }
        };
        let mut columns: Vec<u32> = (0..templates.len()).flat_map(slots_of).collect();
        columns.sort_unstable();
        columns.dedup();
        let parts_of =
            |(at, template): (usize, &KnownTemplate)| match (members.narrows(template.syntax), template.syntax) {
                (false, _) => {
                    let mut parts = Vec::new();
                    push_parts(&mut parts, &template.text, &template.columns, &columns);
                    parts
                }
                (true, Syntax::Json) => narrowed_parts(&template.text, wanted_members(at), &template.columns, &columns),
                (true, Syntax::Logfmt) => {
                    joined(pairs(&template.text, wanted_members(at), " ", &template.columns, &columns))
                }
            };
        let parts = templates.iter().enumerate().map(parts_of).collect();
        let required = members.required.as_deref();
        let sought =
            required.and_then(|text| Some(SoughtText::new(text, index.only_place(row_group, text, &columns)?)));
        let forms = index.forms(&columns);
        Some(Recipe { parts, columns, forms, narrowed: true, sought })
    }

    /// Places of the field columns that are read, ascending.
    pub(in crate::files) fn columns(&self) -> &[u32] {
        &self.columns
    }

    pub(in crate::files) fn is_narrowed(&self) -> bool {
        self.narrowed
    }

    /// The lines of a batch: a `StringViewArray`, or a dictionary of lines by `UInt32`.
    pub(in crate::files) fn lines(
        &self,
        template: &Int32Array,
        whole: Option<&StringViewArray>,
        fields: &[ArrayRef],
    ) -> Result<ArrayRef, FilesError> {
        let forms = self.forms.iter().map(Option::as_ref);
        let values: Vec<Values<'_>> = fields.iter().zip(forms).map(|(array, form)| Values::of(array, form)).collect();
        if self.narrowed
            && let Some(numbered) = self.numbered(template, &values)?
        {
            return Ok(numbered);
        }
        if let Some(sought) = &self.sought
            && let Some(rows) = sought.rows(&values[sought.column])
        {
            return self.picked(template, &values, &rows);
        }
        let mut lines = LineBuilder::default();
        for row in 0..template.len() {
            match (template.is_null(row), whole) {
                (true, Some(whole)) => lines.block.extend_from_slice(whole.value(row).as_bytes()),
                (true, None) => {}
                (false, _) => self.push_line(template.value(row), &values, row, &mut lines.block)?,
            }
            lines.end_line();
        }
        lines.finish()
    }

    /// The lines of some rows, and for all others a line with nothing in it.
    fn picked(&self, template: &Int32Array, values: &[Values<'_>], rows: &[usize]) -> Result<ArrayRef, FilesError> {
        let mut lines = LineBuilder::default();
        lines.block.extend_from_slice(b"{}");
        lines.end_line();
        let mut numbers = vec![0; template.len()];
        for row in rows {
            numbers[*row] = lines.views.len() as u32;
            self.push_line(template.value(*row), values, *row, &mut lines.block)?;
            lines.end_line();
        }
        Ok(Arc::new(DictionaryArray::<UInt32Type>::try_new(UInt32Array::from(numbers), lines.finish()?)?))
    }

    fn parts_of(&self, template: i32) -> Result<&[Part], FilesError> {
        let parts = usize::try_from(template).ok().and_then(|at| self.parts.get(at));
        parts.map(Vec::as_slice).ok_or(FilesError::NoTemplate { number: template })
    }

    #[inline]
    fn push_line(&self, template: i32, values: &[Values<'_>], row: usize, out: &mut Vec<u8>) -> Result<(), FilesError> {
        for part in self.parts_of(template)? {
            match part {
                Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                Part::Value(at) => values[*at].push(row, out),
            }
        }
        Ok(())
    }

    /// Lines by number, when all values are coded and few enough.
    fn numbered(&self, template: &Int32Array, values: &[Values<'_>]) -> Result<Option<ArrayRef>, FilesError> {
        let mut coded = Vec::with_capacity(values.len());
        let mut combinations = self.parts.len().max(1);
        for of_column in values {
            let Values::Coded(keys, texts) = of_column else { return Ok(None) };
            // One more for null.
            let width = texts.len() + 1;
            combinations = combinations.saturating_mul(width);
            coded.push((keys, width));
        }
        if combinations > NUMBERED_MAX {
            return Ok(None);
        }
        // Column by column: the loops have no branches where a column has no nulls.
        let mut combination_of: Vec<u32> = template.values().iter().map(|template| *template as u32).collect();
        for (keys, width) in &coded {
            let (null, width) = (*width as u32 - 1, *width as u32);
            let pairs = combination_of.iter_mut().zip(keys.values());
            match keys.nulls() {
                None => pairs.for_each(|(all, code)| *all = all.wrapping_mul(width).wrapping_add(*code as u32)),
                Some(nulls) => pairs.zip(nulls).for_each(|((all, code), is_valid)| {
                    let code = if is_valid { *code as u32 } else { null };
                    *all = all.wrapping_mul(width).wrapping_add(code);
                }),
            }
        }
        let mut number_of = vec![u32::MAX; combinations];
        let mut numbers: Vec<u32> = Vec::with_capacity(template.len());
        let mut lines = LineBuilder::default();
        for (row, combination) in combination_of.into_iter().enumerate() {
            let number = number_of.get_mut(combination as usize);
            let number = number.ok_or(FilesError::NoTemplate { number: template.value(row) })?;
            if *number == u32::MAX {
                *number = lines.views.len() as u32;
                self.push_line(template.value(row), values, row, &mut lines.block)?;
                lines.end_line();
            }
            numbers.push(*number);
        }
        let numbers = UInt32Array::from(numbers);
        Ok(Some(Arc::new(DictionaryArray::<UInt32Type>::try_new(numbers, lines.finish()?)?)))
    }
}

/// A JSON line of which `kept` stay, in the order of the template's `text`; `slots` are the columns of its slots, `columns` those
/// that are read.
pub(super) fn narrowed_parts<'m>(
    text: &str,
    kept: impl Iterator<Item = &'m Member>,
    slots: &[u32],
    columns: &[u32],
) -> Vec<Part> {
    // White space in front of an object makes a difference to one of the parsers.
    let opening = text.find('{').map_or(0, |at| at + 1);
    let mut parts = vec![Part::Text(text[..opening].into())];
    parts.extend(pairs(text, kept, ",", slots, columns));
    parts.push(Part::Text("}".into()));
    joined(parts)
}

/// Members as they stand, with `between` between them.
fn pairs<'m>(
    text: &str,
    kept: impl Iterator<Item = &'m Member>,
    between: &str,
    slots: &[u32],
    columns: &[u32],
) -> Vec<Part> {
    let mut parts = Vec::new();
    for (nth, member) in kept.enumerate() {
        if nth > 0 {
            parts.push(Part::Text(between.into()));
        }
        let of_member = &text[member.text.start as usize..member.text.end as usize];
        let slots = &slots[member.slots.start as usize..member.slots.end as usize];
        push_parts(&mut parts, of_member, slots, columns);
    }
    parts
}

fn push_parts(parts: &mut Vec<Part>, text: &str, slots: &[u32], columns: &[u32]) {
    let mut slots = slots.iter();
    for (at, piece) in text.split(SLOT).enumerate() {
        if at > 0
            && let Some(place) = slots.next().and_then(|slot| columns.binary_search(slot).ok())
        {
            parts.push(Part::Value(place));
        }
        if !piece.is_empty() {
            parts.push(Part::Text(piece.into()));
        }
    }
}

/// Neighbouring texts as one.
fn joined(parts: Vec<Part>) -> Vec<Part> {
    let mut all: Vec<Part> = Vec::with_capacity(parts.len());
    for part in parts {
        match (all.last_mut(), part) {
            (Some(Part::Text(before)), Part::Text(text)) => *before = format!("{before}{text}").into(),
            (_, part) => all.push(part),
        }
    }
    all
}

/// Lines while they are made.
#[derive(Default)]
pub(super) struct LineBuilder {
    done: Vec<Buffer>,
    /// What is appended here is of the line being made.
    pub(super) block: Vec<u8>,
    /// Where the line being made starts in the block.
    start: usize,
    views: Vec<u128>,
}

impl LineBuilder {
    pub(super) fn end_line(&mut self) {
        let view = make_view(&self.block[self.start..], self.done.len() as u32, self.start as u32);
        self.views.push(view);
        if self.block.len() >= BLOCK_BYTES {
            self.done.push(Buffer::from_vec(std::mem::take(&mut self.block)));
        }
        self.start = self.block.len();
    }

    pub(super) fn finish(mut self) -> Result<ArrayRef, FilesError> {
        self.done.push(Buffer::from_vec(self.block));
        Ok(Arc::new(StringViewArray::try_new(ScalarBuffer::from(self.views), self.done, None)?))
    }
}
