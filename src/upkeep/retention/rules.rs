//! The rules of one tenant, compiled; which rows of a batch are past their period.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{Int64Type, UInt32Type};

use crate::catalog::RowPredicate;
use crate::files::Run;
use crate::ingest::limits::Limits;
use crate::logql::ast::LogExpr;
use crate::query::QueryError;
use crate::query::matchers::Selector;
use crate::query::removal::LogPredicate;
use crate::streams::{StreamRef, TenantStreams};
use crate::types::audit_stream::{LOGGER, LOGGER_LABEL, SERVICE, SERVICE_LABEL};
use crate::types::labels::Labels;
use crate::types::time::UnixNanos;
use crate::types::units::GoDuration;

/// Rows may stay longer by this part of their period, and at most so long, nanoseconds: fewer files are written anew.
const SLACK_PART: i64 = 8;
const SLACK_NS_MAX: i64 = 86_400_000_000_000;

/// A tenant's rules.
#[derive(Debug)]
pub struct Rules {
    rules: Vec<Rule>,
    streams: Arc<TenantStreams>,
}

/// One rule; the last is the tenant's own period.
#[derive(Debug)]
pub struct Rule {
    /// As an operator reads it.
    pub text: String,
    /// None: for ever.
    pub period_ns: Option<i64>,
    selector: Selector,
    priority: i64,
    /// Only rows that this chooses.
    only: Option<LogPredicate>,
}

/// What a run of one stream comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// No row is past its period.
    Kept,
    /// Some may be, by reading them; since when the oldest may be.
    Some { overdue_ns: i64 },
    /// All are.
    Expired,
}

impl Rules {
    /// The rules of a tenant's limits, and before them all that of audit records: theirs are not the tenant's to choose.
    pub fn compile(
        limits: &Limits,
        audit_period: GoDuration,
        streams: Arc<TenantStreams>,
    ) -> Result<Rules, QueryError> {
        let mut rules = Vec::new();
        for configured in &limits.retention_stream {
            let lines = configured.lines().map_err(QueryError::BadInput)?;
            let only = match lines.stages.is_empty() {
                true => None,
                false => {
                    let any_stream = LogExpr { matchers: Vec::new(), stages: lines.stages.clone() };
                    Some(LogPredicate::compile(&any_stream, streams.clone())?)
                }
            };
            let text = match &configured.only {
                Some(only) => format!("{} where {only}", configured.selector),
                None => configured.selector.clone(),
            };
            rules.push(Rule {
                text,
                period_ns: finite(configured.period.nanos()),
                selector: Selector::compile(&lines.matchers)?,
                priority: configured.priority,
                only,
            });
        }
        rules.sort_by_key(|rule| (std::cmp::Reverse(rule.priority), rule.period_ns.unwrap_or(i64::MAX)));
        let text = format!("{{{SERVICE_LABEL}=\"{SERVICE}\", {LOGGER_LABEL}=\"{LOGGER}\"}}");
        rules.insert(
            0,
            Rule {
                selector: Selector::compile(&crate::logql::parse_log(&text)?.matchers)?,
                text,
                period_ns: finite(audit_period.nanos()),
                priority: i64::MAX,
                only: None,
            },
        );
        rules.push(Rule {
            text: "retention_period".to_owned(),
            period_ns: finite(limits.retention_period.nanos()),
            selector: Selector::compile(&[])?,
            priority: i64::MIN,
            only: None,
        });
        Ok(Rules { rules, streams })
    }

    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Rows newer than this are kept whatever they are; none when all are.
    pub fn newest_cutoff(&self, now: UnixNanos) -> Option<UnixNanos> {
        let shortest = self.rules.iter().filter_map(|rule| rule.period_ns).min()?;
        Some(now.saturating_sub(shortest))
    }

    /// The rules that may choose rows of a stream, the first that does counts.
    fn chain(&self, labels: &Labels) -> Vec<usize> {
        let mut chain = Vec::new();
        for (at, rule) in self.rules.iter().enumerate().filter(|(_, rule)| rule.selector.matches(labels)) {
            chain.push(at);
            if rule.only.is_none() {
                break;
            }
        }
        chain
    }

    /// What the index alone tells of a run.
    pub fn fate(&self, run: &Run, now: UnixNanos) -> Fate {
        let chain = self.chain(&self.streams.get(run.stream).labels);
        let periods: Vec<Option<i64>> = chain.iter().map(|at| self.rules[*at].period_ns).collect();
        let is_past = |period: &Option<i64>, ts: UnixNanos| period.is_some_and(|ns| ts < now.saturating_sub(ns));
        if periods.iter().all(|period| is_past(period, run.ts_max)) {
            return Fate::Expired;
        }
        let overdue = |ns: i64| now.0.saturating_sub(ns).saturating_sub(run.ts_min.0).saturating_sub(slack(ns));
        match periods.iter().flatten().filter(|ns| run.ts_min < now.saturating_sub(**ns)).map(|ns| overdue(*ns)).max() {
            Some(overdue_ns) => Fate::Some { overdue_ns },
            None => Fate::Kept,
        }
    }

    /// The rule whose rows a run consists of, when the index alone tells.
    pub fn rule_of(&self, run: &Run) -> Option<usize> {
        let chain = self.chain(&self.streams.get(run.stream).labels);
        chain.first().copied().filter(|_| chain.len() == 1)
    }

    /// By row, the rule by which it is past its period; none for rows that stay. CPU-bound.
    pub fn expired(&self, rows: &RecordBatch, now: UnixNanos) -> Vec<Option<usize>> {
        let ts = rows.column(0).as_primitive::<Int64Type>().values();
        let streams = rows.column(1).as_primitive::<UInt32Type>().values();
        let mut chains: HashMap<u32, Vec<usize>> = HashMap::new();
        let mut chosen: HashMap<usize, BooleanBuffer> = HashMap::new();
        let mut expired = Vec::with_capacity(ts.len());
        for row in 0..ts.len() {
            let chain = chains
                .entry(streams[row])
                .or_insert_with(|| self.chain(&self.streams.get(StreamRef(streams[row])).labels));
            let counts = |at: &&usize| match &self.rules[**at].only {
                None => true,
                Some(only) => chosen.entry(**at).or_insert_with(|| only.choose(rows)).value(row),
            };
            let rule = chain.iter().find(counts).copied();
            expired
                .push(rule.filter(|at| self.rules[*at].period_ns.is_some_and(|ns| ts[row] < now.saturating_sub(ns).0)));
        }
        expired
    }
}

/// How much longer rows may stay than `period_ns`.
pub(super) fn slack(period_ns: i64) -> i64 {
    (period_ns / SLACK_PART).min(SLACK_NS_MAX)
}

fn finite(period_ns: i64) -> Option<i64> {
    (period_ns > 0).then_some(period_ns)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringViewArray, UInt32Array, new_null_array};
    use arrow::datatypes::DataType;

    use super::*;
    use crate::ingest::retention::StreamRetention;
    use crate::types::rows::{metadata_type, row_batch};

    const HOUR_NS: i64 = 3_600_000_000_000;

    fn rule(selector: &str, priority: i64, hours: i64, only: Option<&str>) -> StreamRetention {
        StreamRetention {
            selector: selector.to_owned(),
            priority,
            period: GoDuration(hours * HOUR_NS),
            only: only.map(str::to_owned),
        }
    }

    fn rules(hours: i64, of_streams: Vec<StreamRetention>, streams: &Arc<TenantStreams>) -> Rules {
        let limits =
            Limits { retention_period: GoDuration(hours * HOUR_NS), retention_stream: of_streams, ..Limits::default() };
        Rules::compile(&limits, GoDuration(0), streams.clone()).expect("good rules")
    }

    fn run(stream: StreamRef, from_h: i64, to_h: i64) -> Run {
        let at = |hours: i64| UnixNanos(hours * HOUR_NS);
        Run { stream, rows: 0..10, ts_min: at(from_h), ts_max: at(to_h), line_bytes: 100 }
    }

    #[test]
    fn the_highest_priority_counts_and_of_equals_the_shortest() {
        let streams = Arc::new(TenantStreams::default());
        let intern = |json: &str| streams.intern(json).expect("good labels");
        let (dev, audit, other) = (intern(r#"{"env":"dev"}"#), intern(r#"{"env":"dev","k":"audit"}"#), intern("{}"));
        let of_streams = vec![
            rule(r#"{env="dev"}"#, 1, 24, None),
            rule(r#"{env="dev"}"#, 1, 12, None),
            rule(r#"{k="audit"}"#, 2, 8760, None),
            rule(r#"{env=~".+"}"#, 0, 1, None),
        ];
        let rules = rules(720, of_streams, &streams);
        let now = UnixNanos(1_000 * HOUR_NS);
        let check = |stream, from_h, to_h, expected| assert_eq!(rules.fate(&run(stream, from_h, to_h), now), expected);
        check(dev, 980, 987, Fate::Expired);
        check(dev, 989, 999, Fate::Kept);
        check(dev, 980, 990, Fate::Some { overdue_ns: 8 * HOUR_NS - 12 * HOUR_NS / 8 });
        check(audit, 10, 20, Fate::Kept);
        check(other, 10, 279, Fate::Expired);
        check(other, 281, 300, Fate::Kept);
        assert_eq!(rules.newest_cutoff(now), Some(UnixNanos(999 * HOUR_NS)));
    }

    #[test]
    fn nothing_expires_without_a_period() {
        let streams = Arc::new(TenantStreams::default());
        let stream = streams.intern("{}").expect("good labels");
        let rules = rules(0, Vec::new(), &streams);
        assert_eq!(rules.newest_cutoff(UnixNanos(9)), None);
        assert_eq!(rules.fate(&run(stream, 0, 1), UnixNanos(i64::MAX)), Fate::Kept);
    }

    #[test]
    fn audit_records_have_a_period_of_their_own() {
        let streams = Arc::new(TenantStreams::default());
        let labels = crate::types::audit_stream::audit_stream("w").to_json();
        let (audit, other) = (streams.intern(&labels).expect("good"), streams.intern("{}").expect("good"));
        let limits = Limits {
            retention_period: GoDuration(HOUR_NS),
            retention_stream: vec![rule(r#"{service="millrace"}"#, 9, 1, None)],
            ..Limits::default()
        };
        let now = UnixNanos(1_000 * HOUR_NS);
        let fates = |hours: i64| {
            let rules = Rules::compile(&limits, GoDuration(hours * HOUR_NS), streams.clone()).expect("good rules");
            [audit, other].map(|stream| rules.fate(&run(stream, 980, 990), now))
        };
        assert_eq!(fates(0), [Fate::Kept, Fate::Expired]);
        assert_eq!(fates(5), [Fate::Expired, Fate::Expired]);
        assert_eq!(fates(30), [Fate::Kept, Fate::Expired]);
    }

    #[test]
    fn single_lines_have_periods_of_their_own() {
        let streams = Arc::new(TenantStreams::default());
        let stream = streams.intern(r#"{"service":"x"}"#).expect("good labels");
        let only = Some(r#"detected_level="debug""#);
        let rules = rules(48, vec![rule(r#"{service="x"}"#, 1, 2, only)], &streams);
        let now = UnixNanos(100 * HOUR_NS);
        assert!(matches!(rules.fate(&run(stream, 90, 97), now), Fate::Some { .. }));
        assert_eq!(rules.fate(&run(stream, 40, 51), now), Fate::Expired);
        let rows = row_batch(
            Int64Array::from(vec![50 * HOUR_NS, 97 * HOUR_NS, 97 * HOUR_NS, 99 * HOUR_NS]),
            UInt32Array::from(vec![stream.0; 4]),
            StringViewArray::from(vec![Some("info"), Some("debug"), Some("info"), Some("debug")]),
            StringViewArray::from(vec!["a", "b", "c", "d"]),
            new_null_array(&metadata_type(), 4).as_map().clone(),
        )
        .expect("good columns");
        assert_eq!(rules.expired(&rows, now), [Some(2), Some(1), None, None]);
        assert_eq!(rules.rules()[1].text, r#"{service="x"} where detected_level="debug""#);
        assert!(matches!(metadata_type(), DataType::Map(..)));
    }
}
