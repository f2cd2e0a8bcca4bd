//! A line as words between delimiters.
//!
//! ```text
//! level=info msg="took 3ms"      words: level info msg took 3ms      skeleton: = ␠ =" ␠ "
//! ```
//!
//! Of a JSON line with a message only the message counts: the rest is `<_>` on both sides of it.

use std::ops::Range;
use std::sync::LazyLock;

use memchr::memmem::Finder;

/// What stands for a word that differs, as in LogQL's pattern filters.
pub const WILDCARD: &str = "<_>";
/// Longer lines have no template: looking at them costs more than it shows.
pub const LINE_BYTES_MAX: usize = 3000;
/// Words looked at; the rest of the line is one wildcard.
const WORDS_MAX: usize = 80;
/// Keys whose value is the message of a JSON line, the first found counts.
static MESSAGE_KEYS: LazyLock<[Finder<'static>; 5]> =
    LazyLock::new(|| ["\"message\":", "\"msg\":", "\"log\":", "\"content\":", "\"event\":"].map(Finder::new));
/// Bytes between words. Those inside paths, times, addresses and versions are not among them.
static DELIMITERS: [bool; 256] = {
    let mut table = [false; 256];
    let delimiters = b" \t\r\"'()[]{}<>,;=|!?`";
    let mut at = 0;
    while at < delimiters.len() {
        table[delimiters[at] as usize] = true;
        at += 1;
    }
    table
};

/// Words and the delimiters around them. Reused from line to line.
#[derive(Debug, Default, Clone)]
pub struct Tokens {
    /// Delimiters before the first word, between words, after the last: one more than words. A NUL ends each.
    skeleton: String,
    /// Words, as ranges of `text`.
    words: Vec<Range<usize>>,
    wild: Vec<bool>,
    text: String,
}

impl Tokens {
    /// Cuts a line; false when it has no template: it is long, of several lines, or has no word to tell it by.
    pub fn cut_line(&mut self, line: &str) -> bool {
        self.clear();
        if line.is_empty() || line.len() > LINE_BYTES_MAX || memchr::memchr2(b'\n', 0, line.as_bytes()).is_some() {
            return false;
        }
        match message_of(line) {
            Some((before, message)) => {
                self.push_word("", true);
                self.cut(&line[before..message.start]);
                self.cut(&line[message.clone()]);
                self.cut("\"");
                if message.end + 1 < line.len() {
                    self.push_word("", true);
                }
            }
            None => self.cut(line),
        }
        self.end();
        self.words().skip(self.form_words()).flatten().any(tells)
    }

    /// Cuts the text of a template, in which `<_>` are wildcards.
    pub fn cut_template(&mut self, template: &str) {
        self.clear();
        for (at, literal) in template.split(WILDCARD).enumerate() {
            if at > 0 {
                self.push_word("", true);
            }
            self.cut(literal);
        }
        self.end();
    }

    /// The delimiters: lines whose skeletons differ have different templates.
    pub(super) fn skeleton(&self) -> &str {
        &self.skeleton
    }

    /// Words at the front that every JSON line with a message has: `<_>"message":`.
    pub(super) fn form_words(&self) -> usize {
        let word = |at: usize| self.words.get(at).map(|word| &self.text[word.clone()]);
        if self.wild.first() == Some(&true) && word(2) == Some(":") { 3 } else { 0 }
    }

    /// Words, `None` for a wildcard.
    pub(super) fn words(&self) -> impl ExactSizeIterator<Item = Option<&str>> {
        self.words.iter().zip(&self.wild).map(|(word, wild)| (!wild).then(|| &self.text[word.clone()]))
    }

    fn clear(&mut self) {
        self.skeleton.clear();
        self.words.clear();
        self.wild.clear();
        self.text.clear();
    }

    fn cut(&mut self, text: &str) {
        let bytes = text.as_bytes();
        let run = |from: usize, of: bool| {
            let rest = &bytes[from..];
            from + rest.iter().position(|byte| DELIMITERS[*byte as usize] != of).unwrap_or(rest.len())
        };
        let mut at = 0;
        while at < bytes.len() {
            let word_end = run(at, false);
            if word_end > at {
                if self.words.len() == WORDS_MAX {
                    return;
                }
                self.push_word(&text[at..word_end], false);
            }
            at = run(word_end, true);
            self.skeleton.push_str(&text[word_end..at]);
        }
    }

    /// Begins a word after the delimiters so far. Words that touch are one wildcard.
    fn push_word(&mut self, word: &str, wild: bool) {
        let touches = !self.words.is_empty() && self.skeleton.ends_with('\0');
        if touches {
            *self.wild.last_mut().expect("there is a word before") = true;
            return;
        }
        if self.words.len() == WORDS_MAX {
            return;
        }
        let start = self.text.len();
        self.text.push_str(word);
        self.words.push(start..self.text.len());
        // `<name>` would be a named capture, which a pattern filter does not take.
        self.wild.push(wild || self.skeleton.ends_with('<'));
        self.skeleton.push('\0');
    }

    /// What is beyond the last word looked at becomes part of it.
    fn end(&mut self) {
        if self.words.len() == WORDS_MAX {
            let kept = self.skeleton.rfind('\0').map_or(0, |at| at + 1);
            self.skeleton.truncate(kept);
            *self.wild.last_mut().expect("as many as words") = true;
        }
    }
}

/// Whether a word can tell lines apart: ids, numbers and times cannot.
pub(super) fn tells(word: &str) -> bool {
    word.bytes().all(|byte| !byte.is_ascii_digit()) && word.chars().any(char::is_alphabetic)
}

/// The text of a template.
pub(super) fn text_of<'a>(skeleton: &str, words: impl Iterator<Item = Option<&'a str>>) -> String {
    let mut text = String::with_capacity(skeleton.len() * 4);
    let mut words = words;
    for (at, delimiters) in skeleton.split('\0').enumerate() {
        if at > 0 {
            text.push_str(words.next().flatten().unwrap_or(WILDCARD));
        }
        text.push_str(delimiters);
    }
    text
}

/// Where the key of a JSON line's message begins, and the range of its text without the quotes.
fn message_of(line: &str) -> Option<(usize, Range<usize>)> {
    if !line.starts_with('{') {
        return None;
    }
    MESSAGE_KEYS.iter().find_map(|key| {
        let at = key.find(line.as_bytes())?;
        let after = at + key.needle().len();
        let value = &line[after..];
        let blanks = value.len() - value.trim_start_matches(' ').len();
        let start = after + blanks + 1;
        if !value[blanks..].starts_with('"') {
            return None;
        }
        let length = end_of_string(&line.as_bytes()[start..])?;
        let words = value[blanks + 1..blanks + 1 + length].split(|c: char| c.is_ascii() && DELIMITERS[c as usize]);
        words.into_iter().any(tells).then_some((at, start..start + length))
    })
}

/// Length of a JSON string up to its closing quote.
fn end_of_string(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        match bytes[at] {
            b'"' => return Some(at),
            _ => at += 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: &str) {
        let mut tokens = Tokens::default();
        let text = tokens.cut_line(line).then(|| text_of(tokens.skeleton(), tokens.words()));
        assert_eq!(text.as_deref(), Some(expected), "{line}");
    }

    #[test]
    fn a_line_is_its_own_template_at_first() {
        check("GET /a/b?x=1 200", "GET /a/b?x=1 200");
        check("level=info msg=\"a b\" ", "level=info msg=\"a b\" ");
        check("  [x] ", "  [x] ");
        check("日本 x", "日本 x");
        check("user <admin> in", "user <<_>> in");
    }

    #[test]
    fn of_json_the_message_counts() {
        check(r#"{"a":1,"message":"took 3ms","b":2}"#, r#"<_>"message":"took 3ms"<_>"#);
        check(r#"{"msg": "a \"b\" c"}"#, r#"<_>"msg": "a \"b\" c"<_>"#);
        check(r#"{"message":"","a":"b"}"#, r#"{"message":"","a":"b"}"#);
        check(r#"{"message":"17","a":"b"}"#, r#"{"message":"17","a":"b"}"#);
        check(r#"{"message":"cut"#, r#"{"message":"cut"#);
        check(r#"{"a":1}"#, r#"{"a":1}"#);
    }

    #[test]
    fn long_lines_end_in_a_wildcard() {
        let line = "w ".repeat(200);
        let mut tokens = Tokens::default();
        assert!(tokens.cut_line(&line));
        let text = text_of(tokens.skeleton(), tokens.words());
        assert!(text.ends_with("w <_>"), "{text}");
        assert!(!tokens.cut_line(&"w ".repeat(2000)));
        assert!(!tokens.cut_line(""));
        assert!(!tokens.cut_line("two\nlines"));
        assert!(!tokens.cut_line("17 2026-01-15T10:00:00Z 0x1f"));
    }

    #[test]
    fn templates_are_read_back() {
        for template in ["GET <_> 200", r#"<_>"message":"took <_>"<_>"#, "<_> a", "user <<_>> in", "a <_>-x b"] {
            let mut tokens = Tokens::default();
            tokens.cut_template(template);
            let text = text_of(tokens.skeleton(), tokens.words());
            let expected = if template == "a <_>-x b" { "a <_> b" } else { template };
            assert_eq!(text, expected);
        }
    }
}
