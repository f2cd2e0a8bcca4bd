//! One Parquet file of the table, and the name it has on the store and in the log.
//!
//! ```text
//! store: tenant=a%2Ab/date=2026-01-15/part-<name>.parquet      Hive's escapes in directory names
//! log:   tenant=a%252Ab/date=2026-01-15/part-<name>.parquet    a URI: each % escaped once more
//! tier:  s3://cold/logs/tenant=a%252Ab/…                       one that moved: where it lies now
//! ```
//!
//! A name that ends in `-x` and 16 hexadecimal digits carries the XXH3 of the file's bytes, so that whoever has the
//! file can tell whether it is whole.

use chrono::{Days, NaiveDate};
use object_store::path::Path;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use xxhash_rust::xxh3::xxh3_64;

use crate::files::row_file::FinishedFile;
use crate::store::location_of_url;
use crate::types::ids::{IngestSeq, TenantId};
use crate::types::time::UnixNanos;

/// What Hive-style directory names escape, of the characters a tenant id may have.
const DIRECTORY_ESCAPES: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'!').remove(b'-').remove(b'_').remove(b'.').remove(b'(').remove(b')');
/// What a path in the log escapes.
const URI_ESCAPES: &AsciiSet = &DIRECTORY_ESCAPES.remove(b'/').remove(b'=').remove(b'*').remove(b'\'');

/// A file of one tenant and one UTC day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFile {
    /// Relative to the table's root, as on the store; made by [`DataFile::path_for`].
    pub path: String,
    pub tenant: TenantId,
    /// UTC days since 1970-01-01.
    pub day: i32,
    pub bytes: u64,
    pub rows: u64,
    /// Event time of the oldest row.
    pub ts_min: UnixNanos,
    /// Event time of the newest row, inside.
    pub ts_max: UnixNanos,
    /// When its newest rows came in.
    pub seq: IngestSeq,
    /// CRC-32 (IEEE) of its bytes; none when another writer made it.
    pub crc32: Option<u32>,
    /// Whether its lines are squeezed as hard as they will be.
    pub squeezed: bool,
}

impl DataFile {
    /// A file that is to be written.
    pub fn new(tenant: TenantId, day: i32, path: String, seq: IngestSeq) -> Self {
        let (ts_min, ts_max) = (UnixNanos::MAX, UnixNanos::MIN);
        DataFile { path, tenant, day, bytes: 0, rows: 0, ts_min, ts_max, seq, crc32: None, squeezed: false }
    }

    /// Notes what was written.
    pub fn describe(&mut self, finished: &FinishedFile) {
        self.bytes = finished.bytes;
        self.rows = finished.rows;
        self.ts_min = finished.ts_min;
        self.ts_max = finished.ts_max;
        self.crc32 = Some(finished.crc32);
        self.squeezed = finished.squeezed;
    }

    /// Path of a new file. `name` is unique: letters, digits, `-`.
    pub fn path_for(tenant: &TenantId, day: i32, name: &str) -> String {
        let tenant = utf8_percent_encode(tenant.as_str(), DIRECTORY_ESCAPES);
        format!("tenant={tenant}/date={}/part-{name}.parquet", date_text(day))
    }

    /// Path of a new file that carries the checksum of its content.
    pub fn path_with_checksum(tenant: &TenantId, day: i32, name: &str, content: &[u8]) -> String {
        Self::path_for(tenant, day, &format!("{name}-x{:016x}", xxh3_64(content)))
    }

    /// XXH3 of the content, if the name carries it.
    pub fn checksum(&self) -> Option<u64> {
        let digits = self.path.strip_suffix(".parquet")?.rsplit_once("-x")?.1;
        if digits.len() == 16 { u64::from_str_radix(digits, 16).ok() } else { None }
    }

    /// Whether `content` is that of the file, as far as its name and the table tell.
    pub fn has_checksum_of(&self, content: &[u8]) -> bool {
        self.checksum().is_none_or(|checksum| checksum == xxh3_64(content))
            && self.crc32.is_none_or(|crc32| crc32 == crc32fast::hash(content))
    }

    /// The UTC day as `2026-01-15`.
    pub fn date(&self) -> String {
        date_text(self.day)
    }

    /// Path below the root of wherever it lies: a file that moves to a tier keeps it.
    pub fn relative_path(&self) -> &str {
        match (self.path.contains("://"), self.path.find("/tenant=")) {
            (true, Some(at)) => &self.path[at + 1..],
            _ => &self.path,
        }
    }

    /// Where the file is in the store of the table at `root`.
    pub fn location(&self, root: &Path) -> Path {
        place(root, &self.path).expect("paths are made by path_for or checked when read from the log")
    }
}

/// `root/relative`, or the place of a full URL in a tier; `None` when a part is empty, `.` or `..`.
pub(super) fn place(root: &Path, relative: &str) -> Option<Path> {
    if let Some(in_tier) = location_of_url(relative) {
        return in_tier.ok();
    }
    let full = if root.as_ref().is_empty() { relative.to_owned() } else { format!("{root}/{relative}") };
    if relative.is_empty() || relative.split('/').any(str::is_empty) {
        return None;
    }
    Path::parse(full).ok()
}

/// `2026-01-15`, the partition value of a day.
pub(super) fn date_text(day: i32) -> String {
    let epoch = NaiveDate::default();
    let days = Days::new(u64::from(day.unsigned_abs()));
    let date = if day < 0 { epoch.checked_sub_days(days) } else { epoch.checked_add_days(days) };
    date.expect("days of i64 nanoseconds are within chrono's 262,000 years").to_string()
}

/// Reads what [`date_text`] wrote.
pub(super) fn day_of(date: &str) -> Option<i32> {
    let date: NaiveDate = date.parse().ok()?;
    i32::try_from(date.signed_duration_since(NaiveDate::default()).num_days()).ok()
}

/// A store path as the log writes it.
pub(super) fn to_uri(path: &str) -> String {
    match path.split_once("://") {
        Some((scheme, rest)) => format!("{scheme}://{}", utf8_percent_encode(rest, URI_ESCAPES)),
        None => utf8_percent_encode(path, URI_ESCAPES).to_string(),
    }
}

/// Reads what [`to_uri`] or another Delta writer wrote.
pub(super) fn from_uri(uri: &str) -> Option<String> {
    percent_decode_str(uri).decode_utf8().ok().map(|path| path.into_owned())
}
