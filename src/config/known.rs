//! The keys Loki knows, so that its configuration files start Millrace and misspelt ones do not.
//!
//! `known.txt` lists them by block; a `*` stands for anything below.

use std::collections::HashMap;
use std::sync::LazyLock;

/// Lists of people have at most this many wrong letters in a name they meant.
const TYPO_DISTANCE_MAX: usize = 3;

static KNOWN: LazyLock<HashMap<&'static str, Vec<(&'static str, bool)>>> =
    LazyLock::new(|| parse(include_str!("known.txt")));

/// What Loki makes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// A block: its keys are to be looked at.
    Block,
    /// A setting, or a block of which everything is accepted.
    Leaf,
    Unknown,
}

/// Looks at `key` of the block `block` (dotted; empty at the top).
pub fn look_up(block: &str, key: &str) -> Known {
    let path = join(block, key);
    if keys_of(block).any(|(name, _)| name == key) {
        return Known::Leaf;
    }
    let is_block = KNOWN
        .keys()
        .any(|known| known.strip_prefix(path.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')));
    if is_block { Known::Block } else { Known::Unknown }
}

/// The known name nearest to a misspelt `key` of `block`, from Loki's keys and `others`.
pub fn nearest<'a>(block: &str, key: &str, others: impl Iterator<Item = &'a str>) -> Option<String> {
    let blocks = KNOWN.keys().filter_map(|known| {
        let rest = if block.is_empty() { Some(*known) } else { known.strip_prefix(block)?.strip_prefix('.') };
        rest.and_then(|rest| rest.split('.').next())
    });
    keys_of(block)
        .map(|(name, _)| name)
        .chain(blocks)
        .map(str::to_owned)
        .chain(others.map(str::to_owned))
        .map(|name| (distance(key, &name), name))
        .filter(|(distance, _)| *distance <= TYPO_DISTANCE_MAX.min(key.len() / 2))
        .min()
        .map(|(_, name)| name)
}

pub fn join(block: &str, key: &str) -> String {
    if block.is_empty() { key.to_owned() } else { format!("{block}.{key}") }
}

fn keys_of(block: &str) -> impl Iterator<Item = (&'static str, bool)> {
    let block = if block.is_empty() { "." } else { block };
    KNOWN.get(block).into_iter().flatten().copied()
}

fn parse(text: &'static str) -> HashMap<&'static str, Vec<(&'static str, bool)>> {
    let mut known: HashMap<&str, Vec<(&str, bool)>> = HashMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((block, keys)) = line.split_once(':') else { continue };
        let keys = keys.split_whitespace().map(|key| (key.trim_end_matches('*'), key.ends_with('*')));
        known.entry(block).or_default().extend(keys);
    }
    known
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lokis_keys_are_known() {
        let check = |block, key, expected| assert_eq!(look_up(block, key), expected, "{block} {key}");
        check("", "auth_enabled", Known::Leaf);
        check("", "server", Known::Block);
        check("", "memberlist", Known::Leaf);
        check("ingester", "wal", Known::Block);
        check("ingester.wal", "dir", Known::Leaf);
        check("storage_config", "boltdb_shipper", Known::Leaf);
        check("compactor", "shared_store", Known::Leaf);
        check("ruler", "enable_alertmanager_v2", Known::Leaf);
        check("limits_config", "max_query_series", Known::Leaf);
        check("limits_config", "max_query_serie", Known::Unknown);
        check("", "serve", Known::Unknown);
    }

    #[test]
    fn a_misspelt_key_finds_its_name() {
        let check = |block, key, expected: Option<&str>| {
            assert_eq!(nearest(block, key, ["millrace"].into_iter()).as_deref(), expected, "{block} {key}");
        };
        check("limits_config", "max_query_serie", Some("max_query_series"));
        check("server", "http_listen_prot", Some("http_listen_port"));
        check("", "sever", Some("server"));
        check("", "milrace", Some("millrace"));
        check("ingester", "wall", Some("wal"));
        check("", "completely_else", None);
    }
}
