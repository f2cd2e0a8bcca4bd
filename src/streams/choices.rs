//! What selectors chose, kept: the streams of a tenant never change and only grow in number, so that a selector is asked
//! of each stream once.
//!
//! ```text
//! selector ─▶ kept flags of streams 0..n │ asked of streams n.. ─▶ flags of all, kept
//! ```
//!
//! Bounded by [`CHOICES_BYTES_MAX`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of kept choices of all tenants together: a byte a stream and selector.
const CHOICES_BYTES_MAX: u64 = 32 << 20;
/// Bytes of a choice beside its flags and text.
const CHOICE_BYTES: usize = 128;

/// The choices of all tenants. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Choices {
    kept: moka::sync::Cache<String, Arc<[bool]>>,
    asked: Arc<Asked>,
}

#[derive(Debug, Default)]
struct Asked {
    hits: AtomicU64,
    misses: AtomicU64,
}

/// What the choices hold and did since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChoicesStats {
    pub bytes: u64,
    pub hits: u64,
    pub misses: u64,
}

impl Default for Choices {
    fn default() -> Self {
        let weigh = |text: &String, flags: &Arc<[bool]>| {
            u32::try_from(text.len() + flags.len() + CHOICE_BYTES).unwrap_or(u32::MAX)
        };
        let kept = moka::sync::Cache::builder().max_capacity(CHOICES_BYTES_MAX).weigher(weigh).build();
        Choices { kept, asked: Arc::default() }
    }
}

impl Choices {
    /// One flag a stream of tenant number `tenant`, of `count` streams. `ask` is given from which stream on it is to answer.
    pub(super) fn of(
        &self,
        tenant: usize,
        selector: &str,
        count: usize,
        ask: impl FnOnce(usize) -> Vec<bool>,
    ) -> Arc<[bool]> {
        let key = format!("{tenant} {selector}");
        let known = self.kept.get(&key).unwrap_or_default();
        let outcome = if known.len() >= count { &self.asked.hits } else { &self.asked.misses };
        outcome.fetch_add(1, Ordering::Relaxed);
        if known.len() >= count {
            return known;
        }
        let later = ask(known.len());
        let all: Arc<[bool]> = known.iter().copied().chain(later).collect();
        self.kept.insert(key, all.clone());
        all
    }

    pub fn stats(&self) -> ChoicesStats {
        ChoicesStats {
            bytes: self.kept.weighted_size(),
            hits: self.asked.hits.load(Ordering::Relaxed),
            misses: self.asked.misses.load(Ordering::Relaxed),
        }
    }
}
