//! A layout cut into elements: the parts of Go's reference time `Mon Jan 2 15:04:05 MST 2006` and text between them.

/// One element of a layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    LongMonth,
    ShortMonth,
    Month,
    ZeroMonth,
    LongWeekday,
    ShortWeekday,
    Day,
    SpaceDay,
    ZeroDay,
    SpaceYearDay,
    ZeroYearDay,
    Hour,
    Hour12,
    ZeroHour12,
    Minute,
    ZeroMinute,
    Second,
    ZeroSecond,
    LongYear,
    ShortYear,
    UpperPm,
    LowerPm,
    ZoneName,
    Offset(Offset),
    Fraction(Fraction),
}

/// How an offset from UTC is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Offset {
    /// `Z` stands for UTC.
    pub(super) z_for_utc: bool,
    pub(super) colons: bool,
    pub(super) minutes: bool,
    pub(super) seconds: bool,
}

/// A fraction of a second: `.000` or `,999`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fraction {
    pub(super) digits: usize,
    /// Written with nines: zeros at the end are left out.
    pub(super) trims_zeros: bool,
    pub(super) separator: u8,
}

/// The text before the first element, the element as written, and what follows.
pub(super) struct Chunk<'l> {
    pub(super) prefix: &'l [u8],
    pub(super) element: Option<Element>,
    pub(super) written: &'l [u8],
    pub(super) rest: &'l [u8],
}

pub(super) fn next_chunk(layout: &[u8]) -> Chunk<'_> {
    for start in 0..layout.len() {
        if let Some((element, skipped, length)) = element_at(&layout[start..]) {
            let start = start + skipped;
            let (written, rest) = layout[start..].split_at(length);
            return Chunk { prefix: &layout[..start], element: Some(element), written, rest };
        }
    }
    Chunk { prefix: layout, element: None, written: b"", rest: b"" }
}

/// The element that `text` begins with: bytes of plain text before it, and its length.
fn element_at(text: &[u8]) -> Option<(Element, usize, usize)> {
    use Element::*;
    let found = |element: Element, length: usize| Some((element, 0, length));
    let has = |prefix: &[u8]| text.starts_with(prefix);
    // `Jan` of `January` and `Mon` of `Month` are plain text.
    let lower_case_follows = text.get(3).is_some_and(u8::is_ascii_lowercase);
    match text.first()? {
        b'J' if has(b"January") => found(LongMonth, 7),
        b'J' if has(b"Jan") && !lower_case_follows => found(ShortMonth, 3),
        b'M' if has(b"Monday") => found(LongWeekday, 6),
        b'M' if has(b"Mon") && !lower_case_follows => found(ShortWeekday, 3),
        b'M' if has(b"MST") => found(ZoneName, 3),
        b'0' => match text.get(1)? {
            b'1' => found(ZeroMonth, 2),
            b'2' => found(ZeroDay, 2),
            b'3' => found(ZeroHour12, 2),
            b'4' => found(ZeroMinute, 2),
            b'5' => found(ZeroSecond, 2),
            b'6' => found(ShortYear, 2),
            b'0' if has(b"002") => found(ZeroYearDay, 3),
            _ => None,
        },
        b'1' if has(b"15") => found(Hour, 2),
        b'1' => found(Month, 1),
        b'2' if has(b"2006") => found(LongYear, 4),
        b'2' => found(Day, 1),
        // A literal underscore and the year.
        b'_' if has(b"_2006") => Some((LongYear, 1, 4)),
        b'_' if has(b"_2") => found(SpaceDay, 2),
        b'_' if has(b"__2") => found(SpaceYearDay, 3),
        b'3' => found(Hour12, 1),
        b'4' => found(Minute, 1),
        b'5' => found(Second, 1),
        b'P' if has(b"PM") => found(UpperPm, 2),
        b'p' if has(b"pm") => found(LowerPm, 2),
        b'-' | b'Z' => offset_at(text).map(|(offset, length)| (Offset(offset), 0, length)),
        b'.' | b',' => fraction_at(text).map(|fraction| (Fraction(fraction), 0, 1 + fraction.digits)),
        _ => None,
    }
}

fn offset_at(text: &[u8]) -> Option<(Offset, usize)> {
    let (first, digits) = text.split_first()?;
    let offset = |colons, minutes, seconds| Offset { z_for_utc: *first == b'Z', colons, minutes, seconds };
    let forms: [(&[u8], Offset); 5] = [
        (b"070000", offset(false, true, true)),
        (b"07:00:00", offset(true, true, true)),
        (b"0700", offset(false, true, false)),
        (b"07:00", offset(true, true, false)),
        (b"07", offset(false, false, false)),
    ];
    forms.into_iter().find(|(form, _)| digits.starts_with(form)).map(|(form, offset)| (offset, 1 + form.len()))
}

fn fraction_at(text: &[u8]) -> Option<Fraction> {
    let (separator, digits) = text.split_first()?;
    let digit = *digits.first().filter(|digit| matches!(digit, b'0' | b'9'))?;
    let count = digits.iter().take_while(|byte| **byte == digit).count();
    // Only all-alike digits are a fraction.
    if digits.get(count).is_some_and(u8::is_ascii_digit) {
        return None;
    }
    Some(Fraction { digits: count, trims_zeros: digit == b'9', separator: *separator })
}
