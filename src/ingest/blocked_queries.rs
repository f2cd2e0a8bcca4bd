//! `limits_config.blocked_queries`: questions that a tenant may not ask.
//!
//! Source: Loki: the first rule with a hash decides alone; else a rule blocks what equals its pattern or matches it, of the
//! types and with the tags that it names.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::logql::go_regex::compile_go_regex;

/// One rule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BlockedQuery {
    /// The query, or a regular expression; empty: all.
    pub pattern: String,
    pub regex: bool,
    /// `metric`, `filter`, `limited`, and ours: `sql`, `promql`; none: all. A list, or words with commas.
    #[serde(deserialize_with = "words")]
    pub types: Vec<String>,
    /// FNV-32 of the query; 0: by its pattern.
    pub hash: u32,
    /// Of `X-Query-Tags`; a query must have all of them.
    pub tags: BTreeMap<String, String>,
}

fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Words {
        Text(String),
        List(Vec<String>),
    }
    Ok(match Words::deserialize(deserializer)? {
        Words::Text(text) => {
            text.split(',').map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect()
        }
        Words::List(list) => list,
    })
}

/// Whether a query is blocked; `tags` as `name=value`, with commas.
pub fn is_blocked(rules: &[BlockedQuery], query: &str, kind: &str, tags: &str) -> bool {
    for rule in rules {
        if rule.hash > 0 {
            return rule.hash == fnv32(query) && rule.applies(kind, tags);
        }
        let matches = rule.pattern.is_empty()
            || rule.pattern.trim() == query.trim()
            || (rule.regex && compile_go_regex(&rule.pattern).is_ok_and(|regex| regex.is_match(query)));
        if matches {
            return rule.applies(kind, tags);
        }
    }
    false
}

impl BlockedQuery {
    /// What is wrong with it.
    pub fn problem(&self) -> Option<String> {
        if !self.regex {
            return None;
        }
        compile_go_regex(&self.pattern).err().map(|error| format!("pattern: {error}"))
    }

    fn applies(&self, kind: &str, tags: &str) -> bool {
        let has = |name: &str, value: &str| {
            let pairs = tags.split(',').filter_map(|tag| tag.split_once('='));
            pairs.clone().any(|(tag, of_tag)| tag.eq_ignore_ascii_case(name) && of_tag.eq_ignore_ascii_case(value))
        };
        let is_of_type = self.types.is_empty() || self.types.iter().any(|one| one == kind);
        is_of_type && self.tags.iter().all(|(name, value)| has(name, value))
    }
}

/// Source: Go's `fnv.New32`.
fn fnv32(text: &str) -> u32 {
    text.bytes().fold(2_166_136_261, |hash: u32, byte| hash.wrapping_mul(16_777_619) ^ u32::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_block_what_they_name() {
        let check = |rules: &str, query: &str, kind: &str, tags: &str, expected: bool| {
            let rules: Vec<BlockedQuery> = serde_saphyr::from_str(rules).expect("rules");
            assert_eq!(is_blocked(&rules, query, kind, tags), expected, "{rules:?} {query} {kind}");
        };
        check("[]", "{a=\"b\"}", "limited", "", false);
        check("[{pattern: '{a=\"b\"}'}]", " {a=\"b\"} ", "limited", "", true);
        check("[{pattern: '{a=\"b\"}'}]", "{a=\"c\"}", "limited", "", false);
        check("[{pattern: '.*prod.*', regex: true}]", "{env=\"prod\"}", "metric", "", true);
        check("[{pattern: '.*prod.*'}]", "{env=\"prod\"}", "metric", "", false);
        check("[{types: 'metric,filter'}]", "x", "filter", "", true);
        check("[{types: [metric]}]", "x", "limited", "", false);
        check("[{tags: {Source: grafana}}]", "x", "limited", "source=Grafana,user=ana", true);
        check("[{tags: {source: grafana, user: ben}}]", "x", "limited", "source=grafana", false);
        check("[{hash: 1}, {}]", "x", "limited", "", false);
        check(&format!("[{{hash: {}}}]", fnv32("x")), "x", "limited", "", true);
        // As Go computes it.
        assert_eq!((fnv32(""), fnv32("a")), (0x811c_9dc5, 0x050c_5d7e));
    }
}
