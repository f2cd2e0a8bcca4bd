//! What a query asks and what it answers, before HTTP words are put on it.

use crate::access::Scope;
use crate::query::matrix::Series;
use crate::types::labels::Labels;
use crate::types::time::UnixNanos;

/// A LogQL question.
#[derive(Debug, Clone)]
pub struct QueryRequest {
    /// Who asks, and what they may see.
    pub scope: Scope,
    pub text: String,
    pub kind: QueryKind,
    /// Entries of a log query, over all its streams; positive.
    pub limit: usize,
    pub direction: Direction,
    /// Labels of an entry are told apart by where they come from, and streams are keyed by stream labels alone.
    pub categorize: bool,
    /// How the answer may be cut and kept; `None` computes it whole.
    pub splitting: Option<Splitting>,
    /// Series the answer may have; 0 means no limit.
    pub series_max: usize,
    /// After this the query ends with an error.
    pub timeout: std::time::Duration,
}

/// How a range query is cut at aligned times, and which parts are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Splitting {
    /// Width of a part; positive.
    pub interval_ns: i64,
    /// Parts that reach closer to now than this are not kept: rows still come there.
    pub freshness_ns: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QueryKind {
    /// Logs: `start ≤ ts < end`. Metrics: steps `start, start + step, … ≤ end`.
    Range {
        start: UnixNanos,
        end: UnixNanos,
        step_ns: i64,
        interval_ns: i64,
    },
    Instant {
        time: UnixNanos,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    Forward,
    Backward,
}

#[derive(Debug, Clone)]
pub enum QueryAnswer {
    /// Streams sorted by labels; entries in the direction asked for.
    Streams(Vec<StreamEntries>),
    /// Series sorted by labels; points of a series: (ns of the step, value).
    Matrix {
        steps: crate::query::matrix::Steps,
        series: Vec<Series>,
    },
    /// Samples at `time`, in order.
    Vector {
        time: UnixNanos,
        samples: Vec<(Labels, f64)>,
    },
    Scalar {
        time: UnixNanos,
        value: f64,
    },
}

#[derive(Debug, Clone)]
pub struct StreamEntries {
    pub labels: Labels,
    pub entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub ts: UnixNanos,
    pub line: String,
    /// Empty unless `categorize` was asked for.
    pub metadata: Labels,
    /// Empty unless `categorize` was asked for.
    pub parsed: Labels,
}

/// What a query cost.
#[derive(Debug, Clone, Copy, Default)]
pub struct QueryStats {
    /// Bytes of lines looked at.
    pub bytes_processed: u64,
    pub lines_processed: u64,
    pub entries_returned: u64,
    pub exec_seconds: f64,
    pub files_read: u64,
    pub row_groups_read: u64,
    /// Row groups of read files that the time range, the streams or the limit made unnecessary.
    pub row_groups_skipped: u64,
}
