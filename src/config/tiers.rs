//! Settings of tiers, and of the cache of what is read of buckets.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::files::tier_plan::Level;
use crate::logql::selector::LabelSelector;
use crate::store::{CacheLimits, Location, StoreError, TierPlace};
use crate::types::units::{ByteSize, GoDuration};

/// Where files move as they age, warmest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TiersConfig {
    pub levels: Vec<TierLevel>,
}

/// One colder place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TierLevel {
    pub name: String,
    /// A directory or a bucket.
    pub url: String,
    #[serde(default)]
    pub options: BTreeMap<String, String>,
    /// Age of the newest row of a file at which it moves here.
    pub after: GoDuration,
    /// Streams with ages of their own; the first that fits counts.
    #[serde(default)]
    pub classes: Vec<TierClass>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TierClass {
    /// `{service="audit"}`
    pub selector: String,
    pub after: GoDuration,
}

/// How much is kept of what was read of buckets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BlockCacheConfig {
    pub memory_bytes: ByteSize,
    /// None: nothing on disk.
    pub directory: Option<PathBuf>,
    pub disk_bytes: ByteSize,
}

impl Default for BlockCacheConfig {
    fn default() -> Self {
        BlockCacheConfig { memory_bytes: ByteSize(64 << 20), directory: None, disk_bytes: ByteSize(10 << 30) }
    }
}

impl Config {
    /// The places of the tiers, warmest first.
    ///
    /// # Errors
    /// A URL that is none.
    pub fn tier_places(&self) -> Result<Vec<TierPlace>, StoreError> {
        let limits = self.millrace.table.limits();
        let place = |level: &TierLevel| {
            let location = Location::parse(&level.url, &level.options, &limits)?;
            Ok(TierPlace { name: level.name.clone(), location })
        };
        self.millrace.tiers.levels.iter().map(place).collect()
    }

    /// What is wrong with the tiers, a line each.
    pub(super) fn tier_problems(&self) -> Vec<String> {
        let levels = &self.millrace.tiers.levels;
        let mut problems = Vec::new();
        let mut earlier = GoDuration(0);
        for (at, level) in levels.iter().enumerate() {
            let mut say = |problem: String| problems.push(format!("millrace.tiers.levels[{at}]: {problem}"));
            if level.name.is_empty() || levels[..at].iter().any(|other| other.name == level.name) {
                say("name: each has one of its own".to_owned());
            }
            if level.after.0 <= 0 || level.after.0 < earlier.0 {
                say("after: more than 0, and not less than of the level before".to_owned());
            }
            earlier = level.after;
            for class in &level.classes {
                if let Err(error) = LabelSelector::parse(&class.selector) {
                    say(format!("{}: {error}", class.selector));
                }
            }
        }
        problems.extend(self.tier_places().err().map(|error| format!("millrace.tiers: {error}")));
        problems
    }

    /// The levels, to decide with.
    pub fn tier_levels(&self) -> Result<Vec<Level>, String> {
        let places = self.tier_places().map_err(|error| error.to_string())?;
        let level = |(level, place): (&TierLevel, &TierPlace)| {
            let classes =
                level.classes.iter().map(|class| Ok((LabelSelector::parse(&class.selector)?.0, class.after.nanos())));
            Ok(Level {
                name: level.name.clone(),
                url: place.location.file_url(),
                after_ns: level.after.nanos(),
                classes: classes.collect::<Result<_, String>>()?,
            })
        };
        self.millrace.tiers.levels.iter().zip(&places).map(level).collect()
    }

    /// The bounds of the cache.
    pub fn cache_limits(&self) -> CacheLimits {
        let cache = &self.millrace.cache;
        CacheLimits {
            memory_bytes: cache.memory_bytes.0,
            directory: cache.directory.clone(),
            disk_bytes: cache.disk_bytes.0,
        }
    }
}
