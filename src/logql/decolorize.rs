//! `| decolorize`, and the stage of that name: takes ANSI colour sequences out of the line.

use std::sync::LazyLock;

use regex::Regex;

/// The sequences Loki removes: an escape or CSI character, then a string ended by BEL, or parameters and a letter.
static ANSI: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(concat!(
        r"[\x1B\u{9B}][\[\]()#;?]*",
        r"(?:(?:(?:[a-zA-Z0-9]*(?:;[a-zA-Z0-9]*)*)?\x07)",
        r"|(?:(?:[0-9]{1,4}(?:;[0-9]{0,4})*)?[0-9A-PRZcf-ntqry=><~]))"
    ))
    .expect("a constant expression")
});

/// Writes `line` without sequences to `out`; false when there are none and `out` was left alone.
pub fn decolorize(line: &str, out: &mut String) -> bool {
    let plain = memchr::memchr2(0x1b, 0x9b, line.as_bytes()).is_none();
    if plain || !ANSI.is_match(line) {
        return false;
    }
    out.clear();
    let mut from = 0;
    for found in ANSI.find_iter(line) {
        out.push_str(&line[from..found.start()]);
        from = found.end();
    }
    out.push_str(&line[from..]);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_go() {
        for (line, want) in [
            ("\u{1b}[31mred\u{1b}[0m", Some("red")),
            ("\u{1b}[1;32;40mx\u{1b}[Ky", Some("xy")),
            ("plain [31m", None),
            ("\u{9b}31mx", Some("x")),
        ] {
            let mut out = String::new();
            assert_eq!(decolorize(line, &mut out).then_some(out.as_str()), want, "{line}");
        }
    }
}
