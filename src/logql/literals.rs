//! Literals as Go reads them: escapes of strings, sizes, durations of ranges.

/// Undoes Go's escapes.
pub(super) fn unquote(raw: &str) -> Option<String> {
    let mut out = String::with_capacity(raw.len());
    let mut bytes: Vec<u8> = Vec::new();
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            flush_bytes(&mut bytes, &mut out);
            out.push(c);
            continue;
        }
        let (digits, radix, first) = match chars.next()? {
            'a' => (0, 0, '\x07'),
            'b' => (0, 0, '\x08'),
            'f' => (0, 0, '\x0c'),
            'n' => (0, 0, '\n'),
            'r' => (0, 0, '\r'),
            't' => (0, 0, '\t'),
            'v' => (0, 0, '\x0b'),
            '\\' => (0, 0, '\\'),
            '"' => (0, 0, '"'),
            'x' => (2, 16, 'x'),
            'u' => (4, 16, 'u'),
            'U' => (8, 16, 'U'),
            digit @ '0'..='7' => (2, 8, digit),
            _ => return None,
        };
        if digits == 0 {
            flush_bytes(&mut bytes, &mut out);
            out.push(first);
            continue;
        }
        let mut text: String = chars.by_ref().take(digits).collect();
        if radix == 8 {
            text.insert(0, first);
        }
        if text.len() != digits + usize::from(radix == 8) {
            return None;
        }
        let code = u32::from_str_radix(&text, radix).ok()?;
        if matches!(first, 'u' | 'U') {
            flush_bytes(&mut bytes, &mut out);
            out.push(char::from_u32(code)?);
        } else {
            // Bytes given one by one may make one character together.
            bytes.push(u8::try_from(code).ok()?);
        }
    }
    flush_bytes(&mut bytes, &mut out);
    Some(out)
}

fn flush_bytes(bytes: &mut Vec<u8>, out: &mut String) {
    if !bytes.is_empty() {
        out.push_str(&String::from_utf8_lossy(bytes));
        bytes.clear();
    }
}

/// A size as go-humanize reads it: `KB` is 1000, `KiB` 1024.
pub(super) fn parse_bytes(text: &str) -> Option<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ',').unwrap_or(text.len());
    let number: f64 = text[..split].replace(',', "").parse().ok()?;
    let unit = text[split..].trim().to_ascii_lowercase();
    let (power, base) = match unit.as_str() {
        "" | "b" => (0, 1000.0_f64),
        "k" | "kb" => (1, 1000.0),
        "m" | "mb" => (2, 1000.0),
        "g" | "gb" => (3, 1000.0),
        "t" | "tb" => (4, 1000.0),
        "p" | "pb" => (5, 1000.0),
        "ki" | "kib" => (1, 1024.0),
        "mi" | "mib" => (2, 1024.0),
        "gi" | "gib" => (3, 1024.0),
        "ti" | "tib" => (4, 1024.0),
        "pi" | "pib" => (5, 1024.0),
        _ => return None,
    };
    let bytes = number * base.powi(power);
    (bytes < u64::MAX as f64).then_some(bytes as u64)
}

/// The value that a size keeps in Loki, where queries pass from part to part as text with one decimal:
/// `2KiB` arrives as `2.0kB`, 2000 bytes.
pub(super) fn rounded_bytes(bytes: u64) -> u64 {
    parse_bytes(&human_bytes(bytes)).unwrap_or(bytes)
}

/// A size as go-humanize prints it, without the space: `2.0kB`, `83MB`.
pub fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 10 {
        return format!("{bytes}B");
    }
    let power = ((bytes as f64).ln() / 1000.0_f64.ln()).floor();
    let value = (bytes as f64 / 1000.0_f64.powf(power) * 10.0 + 0.5).floor() / 10.0;
    let unit = UNITS[(power as usize).min(UNITS.len() - 1)];
    if value < 10.0 { format!("{value:.1}{unit}") } else { format!("{value:.0}{unit}") }
}

/// A range's duration as Prometheus reads it: whole numbers with units, largest first.
pub(super) fn model_duration(text: &str) -> Result<i64, String> {
    const UNITS: &[(&str, i64)] = &[
        ("y", 31_536_000_000_000_000),
        ("w", 604_800_000_000_000),
        ("d", 86_400_000_000_000),
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
    ];
    let quoted = || format!("not a valid duration string: {text:?}");
    if text == "0" {
        return Ok(0);
    }
    if text.is_empty() {
        return Err("empty duration string".to_owned());
    }
    let mut nanos = 0_i64;
    let mut rest = text;
    let mut last_place = None;
    while !rest.is_empty() {
        if !rest.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(quoted());
        }
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number: i64 = rest[..digits].parse().map_err(|_| quoted())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        if letters == 0 {
            return Err(quoted());
        }
        let unit = &rest[..letters];
        let Some(place) = UNITS.iter().position(|(name, _)| *name == unit) else {
            return Err(format!("unknown unit {unit:?} in duration {text:?}"));
        };
        if last_place.is_some_and(|last| place <= last) {
            return Err(quoted());
        }
        last_place = Some(place);
        nanos = number
            .checked_mul(UNITS[place].1)
            .and_then(|part| nanos.checked_add(part))
            .ok_or_else(|| "duration out of range".to_owned())?;
        rest = &rest[letters..];
    }
    Ok(nanos)
}
