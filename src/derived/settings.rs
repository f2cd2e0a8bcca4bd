//! Settings of the store of derived metrics.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::store::{Location, RequestLimits, StoreError};
use crate::types::units::{ByteSize, GoDuration};

/// `millrace.metrics`. See `config/default.yaml` for units and trade-offs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DerivedSettings {
    /// Where the table lies. None: `metrics` in the data directory.
    pub url: Option<String>,
    /// Settings of the store, by the names of `object_store`.
    pub options: BTreeMap<String, String>,
    /// How long samples stay only in memory and in the log.
    pub flush_max_age: GoDuration,
    /// How long samples stay in memory though they are in files.
    pub memory_window: GoDuration,
    pub memory_bytes_max: ByteSize,
    /// Series of one tenant in memory.
    pub series_max: usize,
    /// Whether `/prometheus/api/v1/write` takes samples of others.
    pub remote_write_receiver: bool,
    /// 0: for ever.
    pub retention: GoDuration,
    /// Parsed footers kept.
    pub index_cache_bytes: ByteSize,
    /// How far back the newest sample of a series counts in PromQL.
    pub lookback_delta: GoDuration,
    /// Samples that one query holds.
    pub query_max_samples: usize,
    pub query_timeout: GoDuration,
}

impl DerivedSettings {
    /// Where the table lies, beside `data_dir` unless it is told.
    ///
    /// # Errors
    /// When the URL cannot be read.
    pub fn location(&self, data_dir: &Path) -> Result<Location, StoreError> {
        match &self.url {
            Some(url) => Location::parse(url, &self.options, &RequestLimits::default()),
            None => Ok(Location::Directory(data_dir.join("metrics"))),
        }
    }
}

impl Default for DerivedSettings {
    fn default() -> Self {
        DerivedSettings {
            url: None,
            options: BTreeMap::new(),
            flush_max_age: GoDuration::from_secs(3_600),
            memory_window: GoDuration::from_secs(2 * 3_600),
            memory_bytes_max: ByteSize(256 << 20),
            series_max: 100_000,
            remote_write_receiver: false,
            retention: GoDuration::from_secs(0),
            index_cache_bytes: ByteSize(32 << 20),
            lookback_delta: GoDuration::from_secs(300),
            query_max_samples: 50_000_000,
            query_timeout: GoDuration::from_secs(120),
        }
    }
}
