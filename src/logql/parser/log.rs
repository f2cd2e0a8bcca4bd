//! Selectors and pipelines.

use super::{Kind, Parsed, Parser, float};
use crate::logql::ast::{
    CompareOp, FieldExtraction, FormatSource, LabelFilter, LabelFormat, LabelSelector, LineFilter, LineFilterOp,
    LineMatch, MatchOp, Matcher, Stage, UnwrapConversion,
};
use crate::logql::literals::rounded_bytes;
use crate::logql::validate::{check_matcher, check_pattern, check_regexp};

const MATCH_OPS: &[&str] = &["=", "=~", "!~", "!="];
const UNWRAP_TAKES: &[&str] = &["IDENTIFIER", "BYTES_CONV", "DURATION_CONV", "DURATION_SECONDS_CONV"];

/// How two label filters were joined: decides what binds first.
#[derive(Clone, Copy, PartialEq)]
enum Join {
    Or,
    And,
    /// `,` or nothing.
    Loose,
}

impl Parser {
    /// `{a="b", …}`
    pub(super) fn selector(&mut self) -> Parsed<Vec<Matcher>> {
        self.expect("{")?;
        let mut matchers = Vec::new();
        if self.take("}") {
            return Ok(matchers);
        }
        matchers.push(self.matcher(&["IDENTIFIER", "}"])?);
        loop {
            if self.take("}") {
                return Ok(matchers);
            }
            if !self.take(",") {
                return self.unexpected(&["}", ","]);
            }
            matchers.push(self.matcher(&["IDENTIFIER"])?);
        }
    }

    fn matcher(&mut self, expected: &[&str]) -> Parsed<Matcher> {
        let name = self.identifier(expected)?;
        let op = self.match_op()?;
        let value = self.text(&["STRING"])?;
        let matcher = Matcher { name, op, value };
        check_matcher(&matcher)?;
        Ok(matcher)
    }

    fn match_op(&mut self) -> Parsed<MatchOp> {
        let op = match self.peek() {
            Kind::Symbol("=") => MatchOp::Equal,
            Kind::Symbol("!=") => MatchOp::NotEqual,
            Kind::Symbol("=~") => MatchOp::Regex,
            Kind::Symbol("!~") => MatchOp::NotRegex,
            _ => return self.unexpected(MATCH_OPS),
        };
        self.advance();
        Ok(op)
    }

    /// Stages up to something that is none. Inside a range aggregation, with unwraps.
    pub(super) fn pipeline(&mut self, allow_unwrap: bool) -> Parsed<Vec<Stage>> {
        let mut stages = Vec::new();
        loop {
            if let Some(op) = self.line_filter_op() {
                self.line_filter(op, &mut stages)?;
                continue;
            }
            if !self.take("|") {
                return Ok(stages);
            }
            if allow_unwrap && self.take("unwrap") {
                stages.push(self.unwrap()?);
                while self.take("|") {
                    stages.push(Stage::LabelFilter(self.label_filter(None)?));
                }
                return Ok(stages);
            }
            stages.push(self.stage()?);
        }
    }

    fn line_filter_op(&self) -> Option<LineFilterOp> {
        match self.peek() {
            Kind::Symbol("|=") => Some(LineFilterOp::Contains),
            Kind::Symbol("!=") => Some(LineFilterOp::NotContains),
            Kind::Symbol("|~") => Some(LineFilterOp::Regex),
            Kind::Symbol("!~") => Some(LineFilterOp::NotRegex),
            Kind::Symbol("|>") => Some(LineFilterOp::Pattern),
            Kind::Symbol("!>") => Some(LineFilterOp::NotPattern),
            _ => None,
        }
    }

    /// One filter; alternatives of a negative one are filters of their own, for each of them refuses lines.
    fn line_filter(&mut self, op: LineFilterOp, stages: &mut Vec<Stage>) -> Parsed<()> {
        self.advance();
        let mut any_of = vec![self.line_match()?];
        while self.take("or") {
            any_of.push(self.line_match()?);
        }
        let is_negative = matches!(op, LineFilterOp::NotContains | LineFilterOp::NotRegex | LineFilterOp::NotPattern);
        if is_negative {
            stages.extend(any_of.into_iter().map(|one| Stage::LineFilter(LineFilter { op, any_of: vec![one] })));
        } else {
            stages.push(Stage::LineFilter(LineFilter { op, any_of }));
        }
        Ok(())
    }

    fn line_match(&mut self) -> Parsed<LineMatch> {
        if self.take("ip") {
            return self.parenthesised_text().map(LineMatch::Ip);
        }
        self.text(&["STRING", "ip"]).map(LineMatch::Text)
    }

    fn parenthesised_text(&mut self) -> Parsed<String> {
        self.expect("(")?;
        let text = self.text(&["STRING"])?;
        self.expect(")")?;
        Ok(text)
    }

    fn stage(&mut self) -> Parsed<Stage> {
        let symbol = match self.peek() {
            Kind::Identifier(_) | Kind::Symbol("(") => return self.label_filter(None).map(Stage::LabelFilter),
            Kind::Symbol(symbol) => *symbol,
            _ => return self.unexpected(&[]),
        };
        if !matches!(
            symbol,
            "json"
                | "logfmt"
                | "regexp"
                | "pattern"
                | "unpack"
                | "line_format"
                | "label_format"
                | "decolorize"
                | "drop"
                | "keep"
        ) {
            return self.unexpected(&[]);
        }
        self.advance();
        Ok(match symbol {
            "json" => Stage::Json { fields: self.extractions()? },
            "logfmt" => self.logfmt()?,
            "regexp" => {
                let pattern = self.text(&["STRING"])?;
                check_regexp(&pattern)?;
                Stage::Regexp { pattern }
            }
            "pattern" => {
                let pattern = self.text(&["STRING"])?;
                check_pattern(&pattern)?;
                Stage::Pattern { pattern }
            }
            "unpack" => Stage::Unpack,
            "line_format" => Stage::LineFormat { template: self.text(&["STRING"])? },
            "label_format" => Stage::LabelFormat { formats: self.label_formats()? },
            "decolorize" => Stage::Decolorize,
            "drop" => Stage::Drop { labels: self.label_selectors()? },
            _ => Stage::Keep { labels: self.label_selectors()? },
        })
    }

    fn logfmt(&mut self) -> Parsed<Stage> {
        let (mut strict, mut keep_empty) = (false, false);
        while let Kind::Flag(flag) = self.peek() {
            match flag.as_str() {
                "--strict" => strict = true,
                _ => keep_empty = true,
            }
            self.advance();
        }
        Ok(Stage::Logfmt { strict, keep_empty, fields: self.extractions()? })
    }

    /// `a, b="c"`, possibly none.
    fn extractions(&mut self) -> Parsed<Vec<FieldExtraction>> {
        let mut fields = Vec::new();
        if !matches!(self.peek(), Kind::Identifier(_)) {
            return Ok(fields);
        }
        loop {
            let label = self.identifier(&["IDENTIFIER"])?;
            let expression = if self.take("=") { self.text(&["STRING"])? } else { label.clone() };
            fields.push(FieldExtraction { label, expression });
            if !self.take(",") {
                return Ok(fields);
            }
        }
    }

    fn label_formats(&mut self) -> Parsed<Vec<LabelFormat>> {
        let mut formats = Vec::new();
        loop {
            let label = self.identifier(&["IDENTIFIER"])?;
            self.expect("=")?;
            let source = match self.peek() {
                Kind::Identifier(from) => FormatSource::Rename(from.clone()),
                Kind::Text(template) => FormatSource::Template(template.clone()),
                _ => return self.unexpected(&["IDENTIFIER", "STRING"]),
            };
            self.advance();
            formats.push(LabelFormat { label, source });
            if !self.take(",") {
                return Ok(formats);
            }
        }
    }

    fn label_selectors(&mut self) -> Parsed<Vec<LabelSelector>> {
        let mut selectors = Vec::new();
        loop {
            let name = self.identifier(&["IDENTIFIER"])?;
            // A line filter cannot follow a name without a matcher: its operator is the matcher's.
            selectors.push(if matches!(self.peek(), Kind::Symbol("=" | "=~" | "!~" | "!=")) {
                let op = self.match_op()?;
                let value = self.text(&["STRING"])?;
                let matcher = Matcher { name, op, value };
                check_matcher(&matcher)?;
                LabelSelector::Matcher(matcher)
            } else {
                LabelSelector::Name(name)
            });
            if !self.take(",") {
                return Ok(selectors);
            }
        }
    }

    fn unwrap(&mut self) -> Parsed<Stage> {
        let conversion = match self.peek() {
            Kind::Symbol("BYTES_CONV") => Some(UnwrapConversion::Bytes),
            Kind::Symbol("DURATION_CONV") => Some(UnwrapConversion::Duration),
            Kind::Symbol("DURATION_SECONDS_CONV") => Some(UnwrapConversion::DurationSeconds),
            _ => None,
        };
        if conversion.is_none() {
            return Ok(Stage::Unwrap { conversion, label: self.identifier(UNWRAP_TAKES)? });
        }
        self.advance();
        self.expect("(")?;
        let label = self.identifier(&["IDENTIFIER"])?;
        self.expect(")")?;
        Ok(Stage::Unwrap { conversion, label })
    }

    /// Label filters and what joins them. `before` is the join this one stands behind.
    ///
    /// Source: Loki's grammar gives `or` and `and` a precedence and `,` and juxtaposition none, so
    /// behind these everything that follows binds first.
    fn label_filter(&mut self, before: Option<Join>) -> Parsed<LabelFilter> {
        self.deeper(|parser| {
            let mut left = parser.one_label_filter()?;
            loop {
                let join = match parser.peek() {
                    Kind::Symbol("or") => Join::Or,
                    Kind::Symbol("and") => Join::And,
                    Kind::Symbol("," | "(") | Kind::Identifier(_) => Join::Loose,
                    _ => return Ok(left),
                };
                let ends_here = match before {
                    Some(Join::Or) => join == Join::Or,
                    Some(Join::And) => join != Join::Loose,
                    Some(Join::Loose) | None => false,
                };
                if ends_here {
                    return Ok(left);
                }
                if !matches!(parser.peek(), Kind::Symbol("(") | Kind::Identifier(_)) {
                    parser.advance();
                }
                let right = parser.label_filter(Some(join))?;
                left = match join {
                    Join::Or => LabelFilter::Or(Box::new(left), Box::new(right)),
                    Join::And | Join::Loose => LabelFilter::And(Box::new(left), Box::new(right)),
                };
            }
        })
    }

    fn one_label_filter(&mut self) -> Parsed<LabelFilter> {
        if self.take("(") {
            let inner = self.label_filter(None)?;
            if !self.take(")") {
                return self.unexpected(&[]);
            }
            return Ok(inner);
        }
        let label = self.identifier(&["IDENTIFIER", "("])?;
        let (op, compare) = match self.peek() {
            Kind::Symbol("=") => (Some(MatchOp::Equal), CompareOp::Equal),
            Kind::Symbol("!=") => (Some(MatchOp::NotEqual), CompareOp::NotEqual),
            Kind::Symbol(symbol @ ("=~" | "!~")) => {
                let op = if *symbol == "=~" { MatchOp::Regex } else { MatchOp::NotRegex };
                self.advance();
                let value = self.text(&["STRING"])?;
                let matcher = Matcher { name: label, op, value };
                check_matcher(&matcher)?;
                return Ok(LabelFilter::Text(matcher));
            }
            Kind::Symbol("==") => (None, CompareOp::Equal),
            Kind::Symbol(">") => (None, CompareOp::Greater),
            Kind::Symbol(">=") => (None, CompareOp::GreaterOrEqual),
            Kind::Symbol("<") => (None, CompareOp::Less),
            Kind::Symbol("<=") => (None, CompareOp::LessOrEqual),
            _ => return self.unexpected(&[]),
        };
        self.advance();
        match (self.peek().clone(), op) {
            (Kind::Text(value), Some(op)) => {
                self.advance();
                Ok(LabelFilter::Text(Matcher { name: label, op, value }))
            }
            (Kind::Symbol("ip"), Some(op)) => {
                self.advance();
                Ok(LabelFilter::Ip { label, op, pattern: self.parenthesised_text()? })
            }
            (Kind::Duration(nanos), _) => {
                self.advance();
                Ok(LabelFilter::Duration { label, op: compare, nanos })
            }
            (Kind::Bytes(bytes), _) => {
                self.advance();
                Ok(LabelFilter::Bytes { label, op: compare, bytes: rounded_bytes(bytes) })
            }
            (Kind::Number(_) | Kind::Symbol("+" | "-"), _) => {
                let value = self.literal()??;
                Ok(LabelFilter::Number { label, op: compare, value })
            }
            _ => self.unexpected(&[]),
        }
    }

    /// A number with an optional sign; inside, an error about its digits.
    pub(super) fn literal(&mut self) -> Parsed<Parsed<f64>> {
        let negative = self.take("-");
        if !negative {
            self.take("+");
        }
        let text = self.number(&["NUMBER"])?;
        let value = float(&text).map(|value| if negative { -value } else { value });
        Ok(value.ok_or_else(|| {
            super::ParseError::about(format!(
                "unable to parse literal as a float: strconv.ParseFloat: parsing {text:?}: invalid syntax"
            ))
        }))
    }
}
