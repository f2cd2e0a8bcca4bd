//! Regular expressions that are literals in disguise, as Loki recognises them.
//!
//! ```text
//! error            contains "error"     (label: equals "error")
//! (foo|bar)        contains "foo" or contains "bar"
//! .*foo.*          contains "foo"
//! warn|warning     contains "warn" or contains "warning"
//! .*               everything           .+  everything that is not empty
//! ```
//!
//! This is more than speed. Loki loses the anchors of label filters on the way (`x=~"5.*"` holds for `405`), and
//! an alternative that matches everything is left out beside others (`foo|` is `foo`). Both can be seen in answers,
//! so the recognition has the same reach: the shapes Go's parser gives to literals, groups, alternatives with common
//! beginnings, `.*` and `.+`; any other construct leaves the expression to the regex engine.

/// One way to match; a list of them matches when any does, and an empty list matches everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Alternative {
    Contains { text: String, fold: bool },
    Equals { text: String, fold: bool },
    NotEmpty,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Empty,
    Literal { text: Vec<char>, fold: bool },
    AnyStar,
    AnyPlus,
    Concat(Vec<Node>),
    Alternate(Vec<Node>),
    Capture(Box<Node>),
}

/// The alternatives `pattern` comes down to, or `None` when it needs a regex engine.
pub fn simplify(pattern: &str, is_label: bool) -> Option<Vec<Alternative>> {
    let mut parser = Parser { rest: pattern };
    let node = parser.alternation(false)?;
    if !parser.rest.is_empty() {
        return None;
    }
    of_node(node, is_label)
}

fn of_node(node: Node, is_label: bool) -> Option<Vec<Alternative>> {
    match node {
        Node::Empty | Node::AnyStar => Some(Vec::new()),
        Node::AnyPlus => Some(vec![Alternative::NotEmpty]),
        Node::Capture(inner) => of_node(*inner, is_label),
        Node::Literal { text, fold } if is_label => Some(vec![Alternative::Equals { text: spell(&text, fold), fold }]),
        Node::Literal { text, fold } => Some(vec![Alternative::Contains { text: spell(&text, fold), fold }]),
        Node::Concat(parts) => of_concat(parts, String::new()),
        Node::Alternate(ways) => {
            let mut all = Vec::new();
            for way in ways {
                all.extend(of_node(uncaptured(way), is_label)?);
            }
            Some(all)
        }
    }
}

/// At most three parts: one literal, any number of `.*`, and alternatives that continue the literal.
fn of_concat(parts: Vec<Node>, mut literal: String) -> Option<Vec<Alternative>> {
    let parts: Vec<Node> = parts.into_iter().map(uncaptured).filter(|part| *part != Node::Empty).collect();
    if parts.len() > 3 {
        return None;
    }
    let (mut has_literal, mut fold, mut found) = (false, false, None::<Vec<Alternative>>);
    for part in parts {
        match part {
            Node::Literal { .. } if has_literal => return None,
            Node::Literal { text, fold: folds } => {
                has_literal = true;
                fold = folds;
                literal.push_str(&spell(&text, folds));
            }
            Node::Alternate(ways) if !literal.is_empty() => {
                let mut all = found.take().unwrap_or_default();
                for way in ways {
                    all.extend(continued(way, &literal, fold)?);
                }
                found = Some(all);
            }
            Node::AnyStar => {}
            _ => return None,
        }
    }
    match found {
        Some(all) => Some(all),
        None if !literal.is_empty() => Some(vec![Alternative::Contains { text: literal, fold }]),
        None => None,
    }
}

fn continued(way: Node, literal: &str, fold: bool) -> Option<Vec<Alternative>> {
    if !fold && matches!(way, Node::Literal { fold: true, .. }) {
        return None;
    }
    let contains = |text: String| Some(vec![Alternative::Contains { text, fold }]);
    match way {
        Node::Empty | Node::AnyStar => contains(literal.to_owned()),
        Node::Literal { text, .. } => contains(format!("{literal}{}", spell(&text, fold))),
        Node::Concat(parts) => of_concat(parts, literal.to_owned()),
        _ => None,
    }
}

fn uncaptured(node: Node) -> Node {
    match node {
        Node::Capture(inner) => *inner,
        other => other,
    }
}

fn spell(text: &[char], fold: bool) -> String {
    text.iter().map(|c| if fold { c.to_ascii_lowercase() } else { *c }).collect()
}

struct Parser<'p> {
    rest: &'p str,
}

impl Parser<'_> {
    /// Alternatives up to `)` or the end.
    fn alternation(&mut self, mut fold: bool) -> Option<Node> {
        let mut ways = Vec::new();
        loop {
            ways.push(self.concat(&mut fold)?);
            match self.rest.strip_prefix('|') {
                Some(rest) => self.rest = rest,
                None => return alternate(ways),
            }
        }
    }

    fn concat(&mut self, fold: &mut bool) -> Option<Node> {
        let mut parts: Vec<Node> = Vec::new();
        while let Some(next) = self.rest.chars().next() {
            if next == '|' || next == ')' {
                break;
            }
            let Some(part) = self.atom(next, fold)? else { continue };
            if self.rest.starts_with(['*', '+', '?']) || starts_with_repeat(self.rest) {
                return None;
            }
            match (parts.last_mut(), part) {
                (Some(Node::Literal { text, fold }), Node::Literal { text: more, fold: more_fold })
                    if *fold == more_fold =>
                {
                    text.extend(more);
                }
                (_, part) => parts.push(part),
            }
        }
        let flat: Vec<Node> = parts
            .into_iter()
            .flat_map(|part| match part {
                Node::Concat(inner) => inner,
                other => vec![other],
            })
            .collect();
        Some(match flat.len() {
            0 => Node::Empty,
            1 => flat.into_iter().next()?,
            _ => Node::Concat(flat),
        })
    }

    /// One part; `Some(None)` is a flag for what follows.
    fn atom(&mut self, next: char, fold: &mut bool) -> Option<Option<Node>> {
        let after = &self.rest[next.len_utf8()..];
        match next {
            '.' => {
                let star = after.starts_with('*');
                let rest = after.strip_prefix(['*', '+'])?;
                self.rest = rest.strip_prefix('?').unwrap_or(rest);
                Some(Some(if star { Node::AnyStar } else { Node::AnyPlus }))
            }
            '(' => self.group(fold),
            '\\' => {
                let escaped = after.chars().next()?;
                self.rest = &after[escaped.len_utf8()..];
                let character = match escaped {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    'f' => '\u{c}',
                    'v' => '\u{b}',
                    'a' => '\u{7}',
                    c if c.is_ascii_punctuation() => c,
                    _ => return None,
                };
                literal(character, *fold).map(Some)
            }
            '[' => {
                let mut inside = after.chars();
                let character = inside.next().filter(|c| !matches!(c, '^' | '\\' | ']' | '['))?;
                self.rest = inside.as_str().strip_prefix(']')?;
                if *fold && character.is_alphabetic() {
                    return None;
                }
                Some(Some(Node::Literal { text: vec![character], fold: false }))
            }
            '^' | '$' | '*' | '+' | '?' => None,
            character => {
                self.rest = after;
                literal(character, *fold).map(Some)
            }
        }
    }

    fn group(&mut self, fold: &mut bool) -> Option<Option<Node>> {
        let inside = &self.rest[1..];
        let (body, folds, captures) = if let Some(body) = inside.strip_prefix("?:") {
            (body, *fold, false)
        } else if let Some(body) = inside.strip_prefix("?i:") {
            (body, true, false)
        } else if let Some(body) = inside.strip_prefix("?i)") {
            self.rest = body;
            *fold = true;
            return Some(None);
        } else if inside.starts_with('?') {
            return None;
        } else {
            (inside, *fold, true)
        };
        self.rest = body;
        let node = self.alternation(folds)?;
        self.rest = self.rest.strip_prefix(')')?;
        Some(Some(if captures { Node::Capture(Box::new(node)) } else { node }))
    }
}

fn literal(character: char, fold: bool) -> Option<Node> {
    if fold && !character.is_ascii() {
        return None;
    }
    let character = if fold { character.to_ascii_uppercase() } else { character };
    Some(Node::Literal { text: vec![character], fold })
}

/// `{2}`, `{2,}`, `{2,3}`; any other brace is a literal.
fn starts_with_repeat(text: &str) -> bool {
    let Some((inside, _)) = text.strip_prefix('{').and_then(|rest| rest.split_once('}')) else { return false };
    let (low, high) = inside.split_once(',').unwrap_or((inside, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    !low.is_empty() && digits(low) && digits(high)
}

/// Alternatives as Go's parser keeps them: flat, with common beginnings taken out.
fn alternate(ways: Vec<Node>) -> Option<Node> {
    if ways.len() == 1 {
        return ways.into_iter().next();
    }
    let flat: Vec<Node> = ways
        .into_iter()
        .flat_map(|way| match way {
            Node::Alternate(inner) => inner,
            other => vec![other],
        })
        .collect();
    if has_adjacent_characters(&flat) {
        return None;
    }
    let mut factored = factor(flat)?;
    if has_adjacent_characters(&factored) {
        return None;
    }
    factored.dedup_by(|next, last| *next == Node::Empty && *last == Node::Empty);
    if factored.len() == 1 { factored.pop() } else { Some(Node::Alternate(factored)) }
}

/// Two single characters beside each other become a character class, which is no literal.
fn has_adjacent_characters(ways: &[Node]) -> bool {
    let single = |node: &Node| matches!(node, Node::Literal { text, .. } if text.len() == 1);
    ways.windows(2).any(|pair| single(&pair[0]) && single(&pair[1]))
}

fn factor(ways: Vec<Node>) -> Option<Vec<Node>> {
    let mut out = Vec::new();
    let mut run: Vec<Node> = Vec::new();
    let (mut common, mut common_fold): (Vec<char>, bool) = (Vec::new(), false);
    for way in ways {
        let (text, fold) = match leading(&way) {
            Some((text, fold)) => (text.to_vec(), fold),
            None => (Vec::new(), false),
        };
        let same = common.iter().zip(&text).take_while(|(a, b)| a == b).count();
        if !run.is_empty() && fold == common_fold && same > 0 {
            common.truncate(same);
            run.push(way);
            continue;
        }
        close_run(&mut out, std::mem::take(&mut run), &common, common_fold)?;
        run.push(way);
        (common, common_fold) = (text, fold);
    }
    close_run(&mut out, run, &common, common_fold)?;
    Some(out)
}

fn close_run(out: &mut Vec<Node>, run: Vec<Node>, common: &[char], fold: bool) -> Option<()> {
    if run.len() < 2 {
        out.extend(run);
        return Some(());
    }
    let suffixes = run.into_iter().map(|way| without_leading(way, common.len())).collect();
    let suffix = alternate(suffixes)?;
    out.push(Node::Concat(vec![Node::Literal { text: common.to_vec(), fold }, suffix]));
    Some(())
}

fn leading(node: &Node) -> Option<(&[char], bool)> {
    match node {
        Node::Literal { text, fold } => Some((text, *fold)),
        Node::Concat(parts) => match parts.first() {
            Some(Node::Literal { text, fold }) => Some((text, *fold)),
            _ => None,
        },
        _ => None,
    }
}

fn without_leading(node: Node, count: usize) -> Node {
    match node {
        Node::Literal { text, .. } if text.len() <= count => Node::Empty,
        Node::Literal { text, fold } => Node::Literal { text: text[count..].to_vec(), fold },
        Node::Concat(mut parts) => {
            let first = without_leading(parts.remove(0), count);
            if first != Node::Empty {
                parts.insert(0, first);
            }
            if parts.len() == 1 { parts.remove(0) } else { Node::Concat(parts) }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, is_label: bool, want: &str) {
        let got = match simplify(pattern, is_label) {
            None => "regex".to_owned(),
            Some(ways) => ways
                .iter()
                .map(|way| match way {
                    Alternative::Contains { text, fold } => format!("{}{text}", if *fold { "~" } else { "" }),
                    Alternative::Equals { text, fold } => format!("={}{text}", if *fold { "~" } else { "" }),
                    Alternative::NotEmpty => "+".to_owned(),
                })
                .collect::<Vec<_>>()
                .join(" "),
        };
        assert_eq!(got, want, "{pattern}");
    }

    #[test]
    fn shapes() {
        check("foo", false, "foo");
        check("foo", true, "=foo");
        check("foo|bar", true, "=foo =bar");
        check("(foo|bar)", false, "foo bar");
        check("warn|warning", true, "warn warning");
        check("debug|deprecated|info", true, "debug deprecated =info");
        check("5.*", true, "5");
        check(".*foo.*", false, "foo");
        check(".*foo.*bar", false, "regex");
        check("foo|.*", false, "foo");
        check(".*", true, "");
        check("", false, "");
        check(".+", false, "+");
        check("(?i)Error", false, "~error");
        check("(?i)foo|bar", false, "~foo ~bar");
        check(r"a\.b", true, "=a.b");
        check("a[.]b", true, "=a.b");
        check("5..", true, "regex");
        check("^foo", false, "regex");
        check("a|b", true, "regex");
        check("foo?", false, "regex");
        check("a{2}", false, "regex");
        check("a{x", false, "a{x");
        check(r"\d+", false, "regex");
        check("bar(?:foo|baz)", false, "barfoo barbaz");
        check("foo(", false, "regex");
        check("python.*", true, "python");
        check("GET|PUT", true, "=GET =PUT");
        check("foo|ba", false, "foo ba");
        check("foo(ba|ar)", false, "fooba fooar");
        check("foo(ba|ar|)", false, "fooba fooar foo");
        check("foo.*|bar", true, "foo =bar");
    }
}
