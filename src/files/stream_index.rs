//! The stream index of a file: which rows belong to which stream, written into the Parquet footer.
//!
//! ```text
//! key_value_metadata["millrace.streams"] = base64(lz4(json StoredStreams))
//! ```
//!
//! Row ranges are in file order: run i starts where run i-1 ends. Formatted and parsed here only.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// Key of the footer entry.
pub(super) const FOOTER_KEY: &str = "millrace.streams";

/// Decoded size beyond which a footer is refused: about a million streams in one file.
const DECODED_BYTES_MAX: usize = 1 << 30;

/// Columns of equal length, one entry a run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct StoredStreams {
    pub(super) labels: Vec<String>,
    pub(super) rows: Vec<u32>,
    pub(super) ts_min: Vec<i64>,
    pub(super) ts_max: Vec<i64>,
    pub(super) line_bytes: Vec<u64>,
}

impl StoredStreams {
    /// Begins a run whose first row is at `ts`.
    pub(super) fn begin(&mut self, labels: &str, ts: i64) {
        self.labels.push(labels.to_owned());
        self.rows.push(0);
        self.ts_min.push(ts);
        self.ts_max.push(ts);
        self.line_bytes.push(0);
    }

    /// Adds rows to the last run; the newest is at `ts_max`.
    pub(super) fn extend(&mut self, rows: u32, ts_max: i64, line_bytes: u64) {
        if let (Some(of_run), Some(last), Some(bytes)) =
            (self.rows.last_mut(), self.ts_max.last_mut(), self.line_bytes.last_mut())
        {
            *of_run += rows;
            *last = ts_max;
            *bytes += line_bytes;
        }
    }

    pub(super) fn encode(&self) -> String {
        let json = serde_json::to_vec(self).expect("strings and integers always serialise");
        STANDARD.encode(lz4_flex::compress_prepend_size(&json))
    }

    /// # Errors
    /// A text naming what is wrong.
    pub(super) fn decode(text: &str) -> Result<Self, String> {
        let packed = STANDARD.decode(text).map_err(|e| e.to_string())?;
        let size = packed.first_chunk::<4>().map_or(0, |size| u32::from_le_bytes(*size) as usize);
        if size > DECODED_BYTES_MAX {
            return Err(format!("claims {size} bytes, at most {DECODED_BYTES_MAX} are read"));
        }
        let json = lz4_flex::decompress_size_prepended(&packed).map_err(|e| e.to_string())?;
        let stored: StoredStreams = serde_json::from_slice(&json).map_err(|e| e.to_string())?;
        let lengths = [stored.rows.len(), stored.ts_min.len(), stored.ts_max.len(), stored.line_bytes.len()];
        if lengths.iter().any(|length| *length != stored.labels.len()) {
            return Err("its columns differ in length".to_owned());
        }
        Ok(stored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let stored = StoredStreams {
            labels: vec![r#"{"a":"1"}"#.to_owned(), r#"{"a":"2"}"#.to_owned()],
            rows: vec![3, 4],
            ts_min: vec![-5, 0],
            ts_max: vec![9, 10],
            line_bytes: vec![100, 0],
        };
        assert_eq!(StoredStreams::decode(&stored.encode()), Ok(stored.clone()));
        assert!(StoredStreams::decode("not base64!").is_err());
        let uneven = StoredStreams { rows: vec![1], ..stored };
        assert!(StoredStreams::decode(&uneven.encode()).is_err());
    }
}
