//! A LogQL selector with filters as a choice of rows: what deletes and retention remove, by the code that queries run.
//!
//! Source: Loki deletes what a query with line or label filters would return; without filters all rows of the streams,
//! whatever other stages there are.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::buffer::{BooleanBuffer, MutableBuffer};
use arrow::datatypes::UInt32Type;

use crate::catalog::RowPredicate;
use crate::logql::ast::{LogExpr, Stage};
use crate::logql::{self, ParseError};
use crate::query::QueryError;
use crate::query::matchers::Selector;
use crate::query::operators::rows::{RowProgram, RowRunner};
use crate::query::row::{Output, RowPipeline};
use crate::streams::TenantStreams;
use crate::types::audit_stream::is_audit_stream;
use crate::types::labels::Labels;
use crate::types::rows::{RowProjection, Rows};

/// The rows that a log query chooses, whatever their time.
#[derive(Debug, Clone)]
pub struct LogPredicate {
    selector: Selector,
    program: Option<RowProgram>,
    streams: Arc<TenantStreams>,
    /// Audit records are never chosen.
    spares_audit: bool,
}

impl LogPredicate {
    /// The predicate of a query's text, over the streams of one tenant.
    ///
    /// # Errors
    /// `BadInput` when it is no log query that can run.
    pub fn parse(text: &str, streams: Arc<TenantStreams>) -> Result<Self, QueryError> {
        let log = logql::parse_log(text)?;
        Self::compile(&log, streams)
    }

    pub fn compile(log: &LogExpr, streams: Arc<TenantStreams>) -> Result<Self, QueryError> {
        let selector = Selector::compile(&log.matchers)?;
        let program = match has_filter(log) {
            false => None,
            true => {
                let pipeline = RowPipeline::compile(&log.stages, Output::Log);
                let pipeline = Arc::new(pipeline.map_err(|error| QueryError::BadInput(error.to_string()))?);
                Some(RowProgram { pipeline, streams: streams.clone(), now_ns: 0, text: "".into() })
            }
        };
        Ok(LogPredicate { selector, program, streams, spares_audit: false })
    }

    /// Leaves audit records out: nobody asks them away.
    pub fn sparing_audit(self) -> Self {
        LogPredicate { spares_audit: true, ..self }
    }

    fn chooses(&self, labels: &Labels) -> bool {
        self.selector.matches(labels) && !(self.spares_audit && is_audit_stream(labels))
    }
}

/// Whether single rows are chosen, not whole streams.
///
/// # Errors
/// As Loki's parser.
pub fn text_has_filter(text: &str) -> Result<bool, ParseError> {
    Ok(has_filter(&logql::parse_log(text)?))
}

fn has_filter(log: &LogExpr) -> bool {
    log.stages.iter().any(|stage| matches!(stage, Stage::LineFilter(_) | Stage::LabelFilter(_)))
}

impl RowPredicate for LogPredicate {
    fn chooses_stream(&self, labels: &Labels) -> bool {
        self.chooses(labels)
    }

    fn reads(&self) -> Option<RowProjection> {
        self.program.is_some().then_some(RowProjection::ALL)
    }

    fn choose(&self, batch: &RecordBatch) -> BooleanBuffer {
        let streams = batch.column(1).as_primitive::<UInt32Type>().values();
        let mut last: Option<(u32, bool)> = None;
        let of_stream = BooleanBuffer::collect_bool(streams.len(), |row| match last {
            Some((stream, chosen)) if stream == streams[row] => chosen,
            _ => {
                let stream = self.streams.get(crate::streams::StreamRef(streams[row]));
                let chosen = self.chooses(&stream.labels);
                last = Some((streams[row], chosen));
                chosen
            }
        });
        let Some(program) = self.program.as_ref().filter(|_| of_stream.count_set_bits() > 0) else {
            return of_stream;
        };
        let rows = Rows::of(batch);
        let mut chosen = MutableBuffer::from_len_zeroed(batch.num_rows().div_ceil(8));
        let order = (0..rows.len()).filter(|row| of_stream.value(*row));
        let ran = RowRunner::new(program.clone()).run(&rows, order, |row, _| {
            chosen.as_slice_mut()[row / 8] |= 1 << (row % 8);
            Ok(())
        });
        debug_assert!(ran.is_ok(), "noting a row cannot fail");
        BooleanBuffer::new(chosen.into(), 0, batch.num_rows())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, MapBuilder, StringBuilder, StringViewArray, UInt32Array};

    use super::*;
    use crate::types::rows::{metadata_entry_fields, row_batch};

    fn rows(streams: &TenantStreams) -> RecordBatch {
        let (a, b) = (streams.intern(r#"{"app":"a"}"#).expect("good"), streams.intern(r#"{"app":"b"}"#).expect("good"));
        let names = arrow::array::MapFieldNames { entry: "key_value".into(), key: "key".into(), value: "value".into() };
        let mut metadata = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new())
            .with_values_field(metadata_entry_fields()[1].clone());
        for user in ["1", "2", "1", "1"] {
            metadata.keys().append_value("user");
            metadata.values().append_value(user);
            metadata.append(true).expect("one of each");
        }
        row_batch(
            Int64Array::from(vec![1, 2, 3, 4]),
            UInt32Array::from(vec![a.0, a.0, b.0, a.0]),
            StringViewArray::from(vec![Some("error"), None, Some("debug"), Some("debug")]),
            StringViewArray::from(vec!["x=1 one", "x=2 two", "x=1 three", "x=1 four"]),
            metadata.finish(),
        )
        .expect("good columns")
    }

    #[test]
    fn rows_are_chosen_as_queries_choose_them() {
        let streams = Arc::new(TenantStreams::default());
        let rows = rows(&streams);
        let check = |text: &str, expected: [bool; 4]| {
            let predicate = LogPredicate::parse(text, streams.clone()).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(predicate.choose(&rows).iter().collect::<Vec<_>>(), expected, "{text}");
        };
        check(r#"{app="a"}"#, [true, true, false, true]);
        check(r#"{app=~".+"} |= "one""#, [true, false, false, false]);
        check(r#"{app="a"} | user="1""#, [true, false, false, true]);
        check(r#"{app=~"a|b"} | detected_level="debug""#, [false, false, true, true]);
        check(r#"{app="a"} | logfmt | x="2""#, [false, true, false, false]);
        // Stages without a filter choose whole streams.
        check(r#"{app="a"} | logfmt"#, [true, true, false, true]);
        check("{}", [true; 4]);
    }

    #[test]
    fn audit_records_can_be_spared() {
        let streams = Arc::new(TenantStreams::default());
        let audit = crate::types::audit_stream::audit_stream("w");
        let all = LogPredicate::parse(r#"{service=~".+"}"#, streams).expect("good");
        assert!(all.chooses_stream(&audit));
        assert!(!all.sparing_audit().chooses_stream(&audit));
    }

    #[test]
    fn what_is_no_log_query_is_refused() {
        let streams = Arc::new(TenantStreams::default());
        for bad in [r#"rate({a="b"}[1m])"#, r#"{a="b""#, r#"{a="b"} |~ "(""#, ""] {
            assert!(LogPredicate::parse(bad, streams.clone()).is_err(), "{bad}");
        }
    }
}
