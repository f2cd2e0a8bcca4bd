//! Patterns of `| pattern` and `|>`: literals between captures `<name>` and `<_>`.

/// A parsed pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinePattern {
    pub parts: Vec<PatternPart>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PatternPart {
    Literal(String),
    /// `None` is `<_>`.
    Capture(Option<String>),
}

impl LinePattern {
    /// For `| pattern`: at least one named capture, none next to another, no name twice.
    ///
    /// # Errors
    /// Loki's words.
    pub fn parser(text: &str) -> Result<Self, String> {
        let pattern = LinePattern { parts: parts(text) };
        let mut names: Vec<&str> = Vec::new();
        pattern.refuse_neighbours()?;
        for part in &pattern.parts {
            if let PatternPart::Capture(Some(name)) = part {
                if names.contains(&name.as_str()) {
                    return Err(format!("duplicate capture name ({name}): invalid expression"));
                }
                names.push(name);
            }
        }
        if names.is_empty() {
            return Err("at least one capture is required".to_owned());
        }
        Ok(pattern)
    }

    /// For `|>` and `!>`: unnamed captures only.
    ///
    /// # Errors
    /// Loki's words.
    pub fn filter(text: &str) -> Result<Self, String> {
        let pattern = LinePattern { parts: parts(text) };
        pattern.refuse_neighbours()?;
        let named = pattern.parts.iter().find_map(|part| match part {
            PatternPart::Capture(Some(name)) => Some(name),
            _ => None,
        });
        match named {
            Some(_) => Err("named captures are not allowed".to_owned()),
            None => Ok(pattern),
        }
    }

    fn refuse_neighbours(&self) -> Result<(), String> {
        let text = |part: &PatternPart| match part {
            PatternPart::Capture(name) => Some(format!("<{}>", name.as_deref().unwrap_or("_"))),
            PatternPart::Literal(_) => None,
        };
        for pair in self.parts.windows(2) {
            if let (Some(first), Some(second)) = (text(&pair[0]), text(&pair[1])) {
                return Err(format!("found consecutive capture '{first}{second}': invalid expression"));
            }
        }
        Ok(())
    }
}

/// `<name>` is a capture where `name` is an identifier; every other character is literal.
fn parts(text: &str) -> Vec<PatternPart> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some((name, after)) =
            rest.strip_prefix('<').and_then(|inner| inner.split_once('>')).filter(|(name, _)| is_name(name))
        {
            if !literal.is_empty() {
                parts.push(PatternPart::Literal(std::mem::take(&mut literal)));
            }
            parts.push(PatternPart::Capture((name != "_").then(|| name.to_owned())));
            rest = after;
            continue;
        }
        literal.push(c);
        rest = &rest[c.len_utf8()..];
    }
    if !literal.is_empty() {
        parts.push(PatternPart::Literal(literal));
    }
    parts
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parsers_and_filters() {
        assert_eq!(LinePattern::parser("<_>"), Err("at least one capture is required".to_owned()));
        assert_eq!(
            LinePattern::parser("<a><b>"),
            Err("found consecutive capture '<a><b>': invalid expression".to_owned())
        );
        assert!(LinePattern::parser("<a> <a>").is_err());
        let pattern = LinePattern::parser("<ip> <1x> - [<_>]").expect("valid");
        assert_eq!(pattern.parts[0], PatternPart::Capture(Some("ip".to_owned())));
        assert_eq!(pattern.parts[1], PatternPart::Literal(" <1x> - [".to_owned()));
        assert_eq!(pattern.parts.len(), 4);
        assert!(LinePattern::filter("a <b>").is_err());
        assert!(LinePattern::filter("a <_> b").is_ok());
    }
}
