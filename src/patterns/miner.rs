//! Finds the templates of lines, one by one, with a bounded number of them.

use hashbrown::HashMap;

use super::tokens::{Tokens, tells, text_of};

/// Templates of one miner; lines that would need more have none.
pub const TEMPLATES_MAX: usize = 300;
/// Part of the words that tell templates apart which two lines must share to have one template.
const SHARED_MIN: f64 = 0.5;

/// Templates by what they have in common.
#[derive(Debug, Default)]
pub struct Miner {
    templates: Vec<Template>,
    /// Numbers of the templates with one skeleton, by number of the skeleton.
    alike: Vec<Vec<u32>>,
    skeletons: HashMap<Box<str>, u32>,
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
        let alike = match self.skeletons.get(tokens.skeleton()) {
            Some(skeleton) => &mut self.alike[*skeleton as usize],
            None if self.templates.len() == TEMPLATES_MAX => return None,
            None => {
                self.skeletons.insert(tokens.skeleton().into(), self.alike.len() as u32);
                self.alike.push(Vec::new());
                self.alike.last_mut()?
            }
        };
        let mut best: Option<(f64, u32)> = None;
        for at in alike.iter().copied() {
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
            self.templates[at as usize].generalise(tokens);
            return Some(at as usize);
        }
        if self.templates.len() == TEMPLATES_MAX {
            return None;
        }
        let at = self.templates.len();
        alike.push(at as u32);
        let words = tokens.words().map(|word| word.map(Box::from)).collect();
        self.templates.push(Template { skeleton: tokens.skeleton().into(), words });
        Some(at)
    }

    /// Texts by number, as they are now.
    pub fn texts(&self) -> Vec<String> {
        let text = |template: &Template| text_of(&template.skeleton, template.words.iter().map(Option::as_deref));
        self.templates.iter().map(text).collect()
    }
}

impl Template {
    /// Whether the tokens match as they are.
    fn covers(&self, tokens: &Tokens) -> bool {
        self.words.iter().zip(tokens.words()).all(|(own, word)| own.is_none() || own.as_deref() == word)
    }

    /// Which part of the telling words is equal.
    fn shared(&self, tokens: &Tokens) -> f64 {
        let (mut equal, mut telling) = (0, 0);
        for (own, word) in self.words.iter().zip(tokens.words()).skip(tokens.form_words()) {
            match (own.as_deref(), word) {
                // A wildcard at the edge of a message is part of the form, not of the text.
                (None, None) => {}
                (None, Some(word)) if !tells(word) => {}
                (Some(own), Some(word)) if !tells(own) && !tells(word) => {}
                (Some(own), Some(word)) if own == word => {
                    equal += 1;
                    telling += 1;
                }
                _ => telling += 1,
            }
        }
        // Without a telling word, of two templates: they are as alike as can be said.
        if telling == 0 { 1.0 } else { f64::from(equal) / f64::from(telling) }
    }

    fn generalise(&mut self, tokens: &Tokens) {
        for (own, word) in self.words.iter_mut().zip(tokens.words()) {
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
        let messages = [r#"{"message":"GET /a 200"}"#, r#"{"message":"POST /b 500"}"#, r#"{"message":"GET /b 500"}"#];
        check(&messages, &[r#"<_>"message":"GET <_> <_>"<_>"#, r#"<_>"message":"POST /b 500"<_>"#]);
        check(
            &[r#"{"n":1,"message":"took 3ms"}"#, r#"{"n":2,"message":"took 4ms"}"#, r#"{"message":"ready"}"#],
            &[r#"<_>"message":"took <_>"<_>"#, r#"<_>"message":"ready"<_>"#],
        );
    }

    #[test]
    fn there_are_never_too_many() {
        let lines: Vec<String> = (0..TEMPLATES_MAX + 5).map(|at| "x,".repeat(at + 1)).collect();
        let (miner, given) = mine(lines.iter().map(String::as_str));
        assert_eq!(miner.texts().len(), 80, "longer ones are alike from the eightieth word on");
        assert!(given.iter().all(Option::is_some));
        let words: Vec<String> = (0..TEMPLATES_MAX + 5)
            .map(|at| format!("{}{}", char::from(b'a' + (at % 26) as u8), "z".repeat(at / 26)))
            .collect();
        let (miner, given) = mine(words.iter().map(String::as_str));
        assert_eq!(miner.texts().len(), TEMPLATES_MAX);
        assert_eq!(given.iter().filter(|given| given.is_none()).count(), 5);
    }
}
