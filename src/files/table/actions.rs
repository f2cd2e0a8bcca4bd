//! Lines of a Delta commit: one JSON object a line, each with one action. No I/O.
//!
//! ```text
//! {"commitInfo":{…}} {"txn":{…}} {"add":{…}} {"remove":{…}}      and once, in version 0: protocol, metaData
//! ```
//!
//! The same structures are written into checkpoints, one action a row.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::data_file::{DataFile, date_text, day_of, from_uri, place, to_uri};
use super::schema::TableSchema;
use super::sum;
use super::{Change, OPERATION_OPTIMIZE, TableError};
use crate::types::ids::{IngestSeq, TenantId};
use crate::types::time::{NANOS_PER_MILLI, UnixNanos};
use crate::types::txn::TxnStep;

/// Newest Delta protocol this program reads and writes: no column mapping, no deletion vectors.
const READER_VERSION: i32 = 1;
const WRITER_VERSION: i32 = 2;

/// Newest form of the table's files and of their footers that this program reads and writes; it is in the table's
/// configuration. A table without it has the first.
///
/// | format | |
/// |---|---|
/// | 1 | every file has its lines whole |
/// | 2 | lines that are JSON may be in columns of their fields, and `line` null |
/// | 3 | ids in such columns may be packed |
/// | 4 | lines that are logfmt may be in such columns too |
const FORMAT: u32 = 4;
const FORMAT_KEY: &str = "millrace.format";
/// Tag of a file: its ingest sequence.
const TAG_SEQ: &str = "millrace.seq";
/// Tag of a file: the CRC-32 of its bytes.
const TAG_CRC32: &str = "millrace.crc32";
/// Tag of a file whose lines are squeezed as hard as they will be.
const TAG_SQUEEZED: &str = "millrace.squeezed";

/// One line; exactly one field is there. Unknown actions leave all empty and are skipped.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Action {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) commit_info: Option<CommitInfo>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) txn: Option<TxnAction>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) add: Option<Add>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) remove: Option<Remove>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) meta_data: Option<MetaData>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) protocol: Option<Protocol>,
}

/// Who wrote a commit; other writers may leave all of it out.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CommitInfo {
    #[serde(default)]
    timestamp: i64,
    #[serde(default)]
    operation: String,
    #[serde(default)]
    operation_parameters: BTreeMap<String, serde_json::Value>,
    #[serde(default)]
    is_blind_append: Option<bool>,
    #[serde(default)]
    engine_info: Option<String>,
    /// Unique to a commit: tells a commit that landed, though the store reported a failure, from another's.
    #[serde(default)]
    pub(super) txn_id: Option<String>,
    /// CRC-32 of the commit, as [`sum`] puts it there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    millrace_crc32: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TxnAction {
    pub(super) app_id: String,
    pub(super) version: i64,
    /// Milliseconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) last_updated: Option<i64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Add {
    pub(super) path: String,
    pub(super) partition_values: BTreeMap<Cow<'static, str>, Option<String>>,
    pub(super) size: i64,
    /// Milliseconds since the epoch.
    pub(super) modification_time: i64,
    pub(super) data_change: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) stats: Option<String>,
    /// What Millrace knows beyond Delta; other engines carry it along.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tags: Option<BTreeMap<Cow<'static, str>, Option<String>>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Remove {
    pub(super) path: String,
    /// Milliseconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) deletion_timestamp: Option<i64>,
    #[serde(default)]
    pub(super) data_change: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) extended_file_metadata: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) partition_values: Option<BTreeMap<Cow<'static, str>, Option<String>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) size: Option<i64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MetaData {
    pub(super) id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    format: Format,
    schema_string: String,
    partition_columns: Vec<String>,
    #[serde(default)]
    configuration: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    created_time: Option<i64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Format {
    provider: String,
    #[serde(default)]
    options: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Protocol {
    min_reader_version: i32,
    min_writer_version: i32,
}

/// The part of `add.stats` that matters here; other engines skip files by it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stats {
    num_records: u64,
    min_values: TsStats,
    max_values: TsStats,
    null_count: TsStats,
}

#[derive(Debug, Serialize, Deserialize)]
struct TsStats {
    ts_ns: i64,
}

impl CommitInfo {
    pub(super) fn new(now: UnixNanos, operation: &str, is_blind_append: bool, txn_id: &str) -> Self {
        CommitInfo {
            timestamp: millis(now),
            operation: operation.to_owned(),
            operation_parameters: BTreeMap::new(),
            is_blind_append: Some(is_blind_append),
            engine_info: Some(concat!("millrace/", env!("CARGO_PKG_VERSION")).to_owned()),
            txn_id: Some(txn_id.to_owned()),
            millrace_crc32: Some(sum::NONE_YET.to_owned()),
        }
    }
}

impl Action {
    pub(super) fn add(file: &DataFile, modified_ms: i64, data_change: bool) -> Self {
        let stats = Stats {
            num_records: file.rows,
            min_values: TsStats { ts_ns: file.ts_min.0 },
            max_values: TsStats { ts_ns: file.ts_max.0 },
            null_count: TsStats { ts_ns: 0 },
        };
        let add = Add {
            path: to_uri(&file.path),
            partition_values: partition_values(file),
            size: signed(file.bytes),
            modification_time: modified_ms,
            data_change,
            stats: Some(serde_json::to_string(&stats).expect("integers always serialise")),
            tags: tags_of(file),
        };
        Action { add: Some(add), ..Action::default() }
    }

    pub(super) fn remove(file: &DataFile, deleted_ms: i64, data_change: bool) -> Self {
        let remove = Remove {
            path: to_uri(&file.path),
            deletion_timestamp: Some(deleted_ms),
            data_change,
            extended_file_metadata: Some(true),
            partition_values: Some(partition_values(file)),
            size: Some(signed(file.bytes)),
        };
        Action { remove: Some(remove), ..Action::default() }
    }

    pub(super) fn txn(app_id: String, version: i64, last_updated: Option<i64>) -> Self {
        Action { txn: Some(TxnAction { app_id, version, last_updated }), ..Action::default() }
    }

    /// Appends the action as one line.
    pub(super) fn push_line(&self, out: &mut Vec<u8>) {
        serde_json::to_writer(&mut *out, self).expect("strings and integers always serialise, and memory takes them");
        out.push(b'\n');
    }
}

impl Add {
    /// The file this action names.
    ///
    /// # Errors
    /// A text naming what no writer of this program writes.
    pub(super) fn file(&self) -> Result<DataFile, String> {
        let path = decoded_path(&self.path)?;
        let value = |name: &'static str| {
            let value = self.partition_values.get(name).and_then(Option::as_deref);
            value.ok_or_else(|| format!("file {path} has no partition value {name}"))
        };
        let tenant = TenantId::parse(value("tenant")?).map_err(|e| format!("file {path}: {e}"))?;
        let day = day_of(value("date")?).ok_or_else(|| format!("file {path} has a bad date"))?;
        let stats = self.stats.as_deref().ok_or_else(|| format!("file {path} has no stats"))?;
        let stats: Stats = serde_json::from_str(stats).map_err(|e| format!("stats of file {path}: {e}"))?;
        let bytes = u64::try_from(self.size).map_err(|_| format!("file {path} has a negative size"))?;
        let (ts_min, ts_max) = (UnixNanos(stats.min_values.ts_ns), UnixNanos(stats.max_values.ts_ns));
        let tag = |name: &str| self.tags.as_ref()?.get(name)?.as_deref();
        let seq = IngestSeq(tag(TAG_SEQ).and_then(|text| text.parse().ok()).unwrap_or(0));
        let crc32 = tag(TAG_CRC32).and_then(|text| text.parse().ok());
        let squeezed = tag(TAG_SQUEEZED) == Some("true");
        Ok(DataFile { tenant, day, bytes, rows: stats.num_records, ts_min, ts_max, path, seq, crc32, squeezed })
    }
}

impl Remove {
    /// The path as on the store.
    pub(super) fn file_path(&self) -> Result<String, String> {
        decoded_path(&self.path)
    }
}

/// Body of a commit.
pub(super) fn encode_commit(
    info: &CommitInfo,
    add: &[DataFile],
    remove: &[DataFile],
    txns: &[TxnStep],
    now: UnixNanos,
) -> Vec<u8> {
    let now_ms = millis(now);
    let data_change = info.operation != OPERATION_OPTIMIZE;
    let mut out = Vec::with_capacity(512 * (1 + add.len() + remove.len()));
    Action { commit_info: Some(info.clone()), ..Action::default() }.push_line(&mut out);
    for step in txns {
        Action::txn(step.app_id.to_string(), step.to, Some(now_ms)).push_line(&mut out);
    }
    for file in remove {
        Action::remove(file, now_ms, data_change).push_line(&mut out);
    }
    for file in add {
        Action::add(file, now_ms, data_change).push_line(&mut out);
    }
    sum::seal(out)
}

/// Body of version 0.
pub(super) fn encode_creation(now: UnixNanos, table_id: &str, schema: &TableSchema) -> Vec<u8> {
    let info = CommitInfo::new(now, "CREATE TABLE", true, table_id);
    let protocol = Protocol { min_reader_version: READER_VERSION, min_writer_version: WRITER_VERSION };
    let meta_data = MetaData {
        id: table_id.to_owned(),
        name: Some(schema.name.to_owned()),
        description: None,
        format: Format { provider: "parquet".to_owned(), options: BTreeMap::new() },
        schema_string: schema.to_json(),
        partition_columns: vec!["tenant".to_owned(), "date".to_owned()],
        configuration: BTreeMap::from([(FORMAT_KEY.to_owned(), FORMAT.to_string())]),
        created_time: Some(millis(now)),
    };
    let mut out = Vec::new();
    Action { commit_info: Some(info), ..Action::default() }.push_line(&mut out);
    Action { protocol: Some(protocol), ..Action::default() }.push_line(&mut out);
    Action { meta_data: Some(meta_data), ..Action::default() }.push_line(&mut out);
    sum::seal(out)
}

/// Body of the commit that brings a table of an older format to this one; none when it has it already.
pub(super) fn encode_upgrade(
    now: UnixNanos,
    txn_id: &str,
    meta_data: &MetaData,
    schema: &TableSchema,
) -> Option<Vec<u8>> {
    let format = meta_data.configuration.get(FORMAT_KEY).and_then(|format| format.parse().ok()).unwrap_or(1);
    if format >= FORMAT {
        return None;
    }
    let mut upgraded = MetaData { schema_string: schema.to_json(), ..meta_data.clone() };
    upgraded.configuration.insert(FORMAT_KEY.to_owned(), FORMAT.to_string());
    let mut out = Vec::new();
    let info = CommitInfo::new(now, "UPGRADE", true, txn_id);
    Action { commit_info: Some(info), ..Action::default() }.push_line(&mut out);
    Action { meta_data: Some(upgraded), ..Action::default() }.push_line(&mut out);
    Some(sum::seal(out))
}

/// Lines of a commit. Every writer says at least who it is, so an empty one was torn by a power loss.
///
/// # Errors
/// A text naming what is wrong.
pub(super) fn decode_commit(body: &[u8]) -> Result<Vec<Action>, String> {
    let actions = decode(body)?;
    if sum::fits(body) { Ok(actions) } else { Err("its checksum does not fit".to_owned()) }
}

/// Lines of actions.
///
/// # Errors
/// A text naming the bad line.
pub(super) fn decode(body: &[u8]) -> Result<Vec<Action>, String> {
    let lines = body.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.trim_ascii().is_empty());
    let read = |(at, line)| serde_json::from_slice(line).map_err(|e| format!("line {}: {e}", at + 1));
    let actions: Vec<Action> = lines.map(read).collect::<Result<_, _>>()?;
    if actions.is_empty() { Err("it is empty".to_owned()) } else { Ok(actions) }
}

/// Refuses a table that a newer writer upgraded.
pub(super) fn check_protocol(action: &Action) -> Result<(), TableError> {
    if let Some(format) = action.meta_data.as_ref().and_then(|meta_data| meta_data.configuration.get(FORMAT_KEY))
        && format.parse::<u32>().map_or(true, |format| format > FORMAT)
    {
        return Err(TableError::Newer { format: format.clone(), known: FORMAT });
    }
    match &action.protocol {
        Some(p) if p.min_reader_version > READER_VERSION || p.min_writer_version > WRITER_VERSION => {
            Err(TableError::Unsupported { reader: p.min_reader_version, writer: p.min_writer_version })
        }
        _ => Ok(()),
    }
}

/// Files that a commit added and removed.
pub(super) fn change_of(version: u64, actions: Vec<Action>) -> Result<Change, String> {
    let mut change = Change { version, added: Vec::new(), removed: Vec::new(), rows_stay: true, txns: Vec::new() };
    for action in actions {
        change.txns.extend(action.txn.map(|txn| (txn.app_id.into(), txn.version)));
        if let Some(add) = action.add {
            change.rows_stay &= !add.data_change;
            change.added.push(add.file()?);
        }
        if let Some(remove) = action.remove {
            change.rows_stay &= !remove.data_change;
            change.removed.push(remove.file_path()?);
        }
    }
    Ok(change)
}

/// A name of a partition column or of a tag, without a copy of those that are known.
pub(super) fn known_name(name: &str) -> Cow<'static, str> {
    let known = ["tenant", "date", TAG_SEQ, TAG_CRC32, TAG_SQUEEZED].into_iter().find(|known| *known == name);
    known.map_or_else(|| Cow::Owned(name.to_owned()), Cow::Borrowed)
}

/// Milliseconds since the epoch.
pub(super) fn millis(at: UnixNanos) -> i64 {
    at.0.div_euclid(NANOS_PER_MILLI)
}

fn tags_of(file: &DataFile) -> Option<BTreeMap<Cow<'static, str>, Option<String>>> {
    let seq = (file.seq != IngestSeq::default()).then(|| (Cow::Borrowed(TAG_SEQ), Some(file.seq.to_string())));
    let crc32 = file.crc32.map(|crc32| (Cow::Borrowed(TAG_CRC32), Some(crc32.to_string())));
    let squeezed = file.squeezed.then(|| (Cow::Borrowed(TAG_SQUEEZED), Some("true".to_owned())));
    let tags: BTreeMap<_, _> = seq.into_iter().chain(crc32).chain(squeezed).collect();
    (!tags.is_empty()).then_some(tags)
}

fn partition_values(file: &DataFile) -> BTreeMap<Cow<'static, str>, Option<String>> {
    let tenant = (Cow::Borrowed("tenant"), Some(file.tenant.as_str().to_owned()));
    BTreeMap::from([tenant, (Cow::Borrowed("date"), Some(date_text(file.day)))])
}

fn decoded_path(uri: &str) -> Result<String, String> {
    let path = from_uri(uri).ok_or_else(|| format!("path {uri} is not UTF-8"))?;
    match place(&object_store::path::Path::default(), &path) {
        Some(_) => Ok(path),
        None => Err(format!("path {uri} does not stay inside the table")),
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
