//! Finds the templates of lines, one by one, with a bounded number of them.
//!
//! ```text
//! skeleton ─▶ first telling word (GET, POST, …; of too many: any) ─▶ templates ─▶ the one that shares most words
//! ```

use hashbrown::HashMap;

use super::tokens::{Tokens, tells, text_of};

/// Templates of one miner; lines that would need more have none.
pub const TEMPLATES_MAX: usize = 300;
/// Part of the words that tell templates apart which two lines must share to have one template.
const SHARED_MIN: f64 = 0.4;
/// First words of one skeleton that are told apart; further ones share their templates.
const FIRST_WORDS_MAX: u32 = 24;

/// Templates by what they have in common.
#[derive(Debug, Default)]
pub struct Miner {
    templates: Vec<Template>,
    /// Numbers of the templates with one skeleton and one first word.
    groups: Vec<Vec<u32>>,
    /// Numbers of groups by skeleton and first word.
    by_start: HashMap<Box<str>, u32>,
    /// First words by skeleton.
    first_words: HashMap<Box<str>, u32>,
    /// Scratch for the key of a group.
    key: String,
}

#[derive(Debug)]
struct Template {
    skeleton: Box<str>,
    /// `None` where lines differ.
    words: Vec<Option<Box<str>>>,
}

impl Miner {
    /// The number of the template of these tokens, which may become more general by it; `None` when there are too many.
    pub fn add(&mut self, tokens: &Tokens) -> Option<usize> {
        let group = self.group_of(tokens)?;
        let mut best: Option<(f64, u32)> = None;
        for at in self.groups[group].iter().copied() {
            let template = &self.templates[at as usize];
            if template.covers(tokens) {
                return Some(at as usize);
            }
            let shared = template.shared(tokens);
            if shared >= SHARED_MIN && best.is_none_or(|(most, _)| shared > most) {
                best = Some((shared, at));
            }
        }
        if let Some((_, at)) = best {
            self.templates[at as usize].generalise(tokens.words());
            return Some(at as usize);
        }
        if self.templates.len() == TEMPLATES_MAX {
            return None;
        }
        let at = self.templates.len();
        self.groups[group].push(at as u32);
        let words = tokens.words().map(|word| word.map(Box::from)).collect();
        self.templates.push(Template { skeleton: tokens.skeleton().into(), words });
        Some(at)
    }

    /// Makes one of templates that a line can match both of; answers for each number the one that stands for it now.
    pub fn merge_overlapping(&mut self) -> Vec<usize> {
        let mut stands_for: Vec<usize> = (0..self.templates.len()).collect();
        for group in &mut self.groups {
            let mut at = 0;
            while at < group.len() {
                let own = group[at] as usize;
                let other = group[at + 1..]
                    .iter()
                    .position(|other| self.templates[own].overlaps(&self.templates[*other as usize]));
                let Some(other) = other else {
                    at += 1;
                    continue;
                };
                let gone = group.remove(at + 1 + other) as usize;
                let words = std::mem::take(&mut self.templates[gone].words);
                self.templates[own].generalise(words.iter().map(Option::as_deref));
                stands_for.iter_mut().filter(|stands| **stands == gone).for_each(|stands| *stands = own);
                // What it overlaps now may lie before it.
                at = 0;
            }
        }
        stands_for
    }

    /// Texts by number, as they are now.
    pub fn texts(&self) -> Vec<String> {
        let text = |template: &Template| text_of(&template.skeleton, template.words.iter().map(Option::as_deref));
        self.templates.iter().map(text).collect()
    }

    /// The group of these tokens, made if there is room for one.
    fn group_of(&mut self, tokens: &Tokens) -> Option<usize> {
        let first = tokens.words().skip(tokens.form_words()).flatten().find(|word| tells(word));
        self.key.clear();
        self.key.push_str(tokens.skeleton());
        let skeleton_end = self.key.len();
        // A word has no blank: no key is another's.
        self.key.push(' ');
        self.key.push_str(first.unwrap_or(""));
        if let Some(group) = self.by_start.get(self.key.as_str()) {
            return Some(*group as usize);
        }
        match self.first_words.get_mut(&self.key[..skeleton_end]) {
            Some(words) if *words >= FIRST_WORDS_MAX => self.key.truncate(skeleton_end),
            Some(words) => *words += 1,
            None => {
                self.first_words.insert(tokens.skeleton().into(), 1);
            }
        }
        if let Some(group) = self.by_start.get(self.key.as_str()) {
            return Some(*group as usize);
        }
        if self.templates.len() == TEMPLATES_MAX {
            return None;
        }
        self.by_start.insert(self.key.as_str().into(), self.groups.len() as u32);
        self.groups.push(Vec::new());
        Some(self.groups.len() - 1)
    }
}

impl Template {
    /// Whether the tokens match as they are.
    fn covers(&self, tokens: &Tokens) -> bool {
        self.words.iter().zip(tokens.words()).all(|(own, word)| own.is_none() || own.as_deref() == word)
    }

    /// Whether a line can match both.
    fn overlaps(&self, other: &Template) -> bool {
        let mut words = self.words.iter().zip(&other.words);
        self.skeleton == other.skeleton && words.all(|(own, word)| own.is_none() || word.is_none() || own == word)
    }

    /// Which part of the telling words is equal.
    fn shared(&self, tokens: &Tokens) -> f64 {
        let (mut equal, mut telling) = (0_u32, 0_u32);
        for (own, word) in self.words.iter().zip(tokens.words()).skip(tokens.form_words()) {
            match (own.as_deref(), word) {
                // A wildcard at the edge of a message is part of the form, not of the text.
                (None, None) => {}
                (None, Some(word)) if !tells(word) => {}
                (Some(own), Some(word)) if own == word => {
                    let is_text = u32::from(word.chars().any(char::is_alphabetic));
                    equal += is_text;
                    telling += is_text;
                }
                (Some(own), Some(word)) if !tells(own) && !tells(word) => {}
                _ => telling += 1,
            }
        }
        // Without a telling word, of two templates: they are as alike as can be said.
        if telling == 0 { 1.0 } else { f64::from(equal) / f64::from(telling) }
    }

    fn generalise<'a>(&mut self, words: impl Iterator<Item = Option<&'a str>>) {
        for (own, word) in self.words.iter_mut().zip(words) {
            if own.as_deref() != word {
                *own = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mine<'a>(lines: impl IntoIterator<Item = &'a str>) -> (Miner, Vec<Option<usize>>) {
        let (mut miner, mut tokens) = (Miner::default(), Tokens::default());
        let given = lines.into_iter().map(|line| if tokens.cut_line(line) { miner.add(&tokens) } else { None });
        let given = given.collect();
        (miner, given)
    }

    #[test]
    fn lines_that_share_most_words_share_a_template() {
        let check = |lines: &[&str], expected: &[&str]| {
            assert_eq!(mine(lines.iter().copied()).0.texts(), expected, "{lines:?}");
        };
        check(&["GET /a 200 in 3ms", "GET /b 200 in 4ms", "GET /c 500 in 9ms"], &["GET <_> <_> in <_>"]);
        check(&["cache hit", "cache miss", "shutting down"], &["cache <_>", "shutting down"]);
        check(&["a=1 b=2", "a=1 b=3", "a=1, b=3"], &["a=1 b=<_>", "a=1, b=3"]);
        check(&["user 17 logged in", "user 18 logged in", "user root logged in"], &["user <_> logged in"]);
        check(&["1", "2", "x"], &["x"]);
        check(&["in 1", "in 2", "1 in"], &["in <_>", "1 in"]);
        check(&["GET /a 200", "POST /a 200", "GET /b 500"], &["GET <_> <_>", "POST /a 200"]);
        check(
            &[r#"{"n":1,"message":"took 3ms"}"#, r#"{"n":2,"message":"took 4ms"}"#, r#"{"message":"ready"}"#],
            &[r#"<_>"message":"took <_>"<_>"#, r#"<_>"message":"ready"<_>"#],
        );
        let messages = [r#"{"message":"GET /a 200"}"#, r#"{"message":"POST /b 500"}"#, r#"{"message":"GET /b 500"}"#];
        check(&messages, &[r#"<_>"message":"GET <_> <_>"<_>"#, r#"<_>"message":"POST /b 500"<_>"#]);
    }

    #[test]
    fn templates_that_overlap_become_one() {
        let (mut miner, mut tokens) = (Miner::default(), Tokens::default());
        for template in ["GET <_> b c d e", "GET a <_> x y z", "GET a b q q q", "GET <_> <_> <_> r r"] {
            tokens.cut_template(template);
            miner.add(&tokens);
        }
        let texts = miner.texts();
        assert_eq!(texts, ["GET <_> b c d e", "GET a <_> x y z", "GET a b q q q", "GET <_> <_> <_> r r"]);
        assert_eq!(miner.merge_overlapping(), [0, 1, 2, 3], "no line matches two of them");
        tokens.cut_template("GET a <_> <_> <_> <_>");
        let at = miner.add(&tokens).expect("room");
        let stands_for = miner.merge_overlapping();
        assert!(stands_for.iter().all(|stands| *stands == stands_for[at]), "{stands_for:?}");
    }

    #[test]
    fn there_are_never_too_many() {
        let lines: Vec<String> = (0..TEMPLATES_MAX + 5).map(|at| "x,".repeat(at + 1)).collect();
        let (miner, given) = mine(lines.iter().map(String::as_str));
        assert_eq!(miner.texts().len(), 80, "longer ones are alike from the eightieth word on");
        assert!(given.iter().all(Option::is_some));
        let word = |at: usize| format!("{}{}", char::from(b'a' + (at % 26) as u8), "z".repeat(at / 26));
        let words: Vec<String> = (0..TEMPLATES_MAX + 5).map(word).collect();
        let (miner, given) = mine(words.iter().map(String::as_str));
        assert_eq!(miner.texts().len(), TEMPLATES_MAX);
        assert_eq!(given.iter().filter(|given| given.is_none()).count(), 5);
    }
}
