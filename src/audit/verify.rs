//! Walks one chain and says what is wrong with it.
//!
//! ```text
//! rows, by time ─▶ Verifier::record ─▶ hash? number? linked to the one before? time of the row?
//! head, signed  ─▶ Verifier::finish ─▶ is the end there, and is it the one that was signed?
//! ```
//!
//! Retention takes old records away: a gap is no problem when all that is missing was past its period. A record says
//! when the one before it was written, so that is known without it.

use super::chain::{Link, NoRecord, open};
use crate::types::ids::TenantId;
use crate::types::time::UnixNanos;

/// Problems that are listed; more of them are only counted.
const PROBLEMS_LISTED_MAX: usize = 100;

/// What a chain is checked against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    pub tenant: TenantId,
    pub writer: String,
    /// The ends that are known from elsewhere: signed, or given by hand.
    pub heads: Vec<Link>,
    /// Records older than this are allowed to be gone.
    pub expired_before: Option<UnixNanos>,
}

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("the row of {at} is not as it was written: {why}")]
    Altered { at: String, why: NoRecord },
    #[error("records {from} to {to} are missing")]
    Missing { from: u64, to: u64 },
    #[error("record {seq} does not follow the one before it: one of them was exchanged")]
    Unlinked { seq: u64 },
    #[error("record {seq} is there twice, or not in its place")]
    Repeated { seq: u64 },
    #[error("record {seq} was written at {written}, but its row says {row}")]
    Moved { seq: u64, written: String, row: String },
    #[error("record {seq} is of writer {writer}: it was put here from another chain")]
    Foreign { seq: u64, writer: String },
    #[error("the chain ends with record {found}, but record {seq} was there: the end was cut off")]
    Truncated { seq: u64, found: u64 },
    #[error("record {seq} is not the one that was there: the chain was written anew")]
    Rewritten { seq: u64 },
    #[error("no head of this chain is kept: whether its end was cut off cannot be told")]
    NoHead,
}

/// What was found of one chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainReport {
    pub tenant: TenantId,
    pub writer: String,
    /// Records that are there.
    pub records: u64,
    /// Records that are gone because they were past their period.
    pub expired: u64,
    pub first: Option<Link>,
    pub last: Option<Link>,
    /// The first of them; see `problems_count`.
    pub problems: Vec<Problem>,
    pub problems_count: u64,
}

impl ChainReport {
    pub fn is_whole(&self) -> bool {
        self.problems_count == 0
    }
}

/// Walks a chain, record by record.
#[derive(Debug)]
pub struct Verifier {
    expected: Expected,
    report: ChainReport,
    /// The number that comes next.
    next: u64,
    /// The hash that the next record must name; none after a record that could not be read.
    prev: Option<String>,
    /// Which of the heads were met.
    met: Vec<bool>,
}

impl Verifier {
    pub fn new(expected: Expected) -> Self {
        let genesis = Link::genesis(&expected.writer, &expected.tenant);
        let report = ChainReport {
            tenant: expected.tenant.clone(),
            writer: expected.writer.clone(),
            records: 0,
            expired: 0,
            first: None,
            last: None,
            problems: Vec::new(),
            problems_count: 0,
        };
        let met = vec![false; expected.heads.len()];
        Verifier { expected, report, next: 1, prev: Some(genesis.hash), met }
    }

    /// The next row of the chain's stream, in the order of their times.
    pub fn record(&mut self, at: UnixNanos, line: &str) {
        self.report.records += 1;
        let opened = match open(line) {
            Ok(opened) => opened,
            Err(why) => {
                self.problem(Problem::Altered { at: super::event::rfc3339(at.0), why });
                // It takes a number, whichever: without its text nobody knows.
                self.next += 1;
                self.prev = None;
                return;
            }
        };
        let Link { seq, hash, at_ns } = opened.link.clone();
        if at_ns != at.0 {
            let (written, row) = (super::event::rfc3339(at_ns), super::event::rfc3339(at.0));
            self.problem(Problem::Moved { seq, written, row });
        }
        if opened.writer != self.expected.writer {
            self.problem(Problem::Foreign { seq, writer: opened.writer });
            return;
        }
        if seq < self.next {
            self.problem(Problem::Repeated { seq });
            return;
        }
        if seq > self.next {
            match self.is_expired(opened.prev_at_ns) {
                true => self.report.expired += seq - self.next,
                false => self.problem(Problem::Missing { from: self.next, to: seq - 1 }),
            }
        } else if self.prev.as_ref().is_some_and(|prev| *prev != opened.prev) {
            self.problem(Problem::Unlinked { seq });
        }
        for (head, met) in self.expected.heads.iter().zip(&mut self.met).filter(|(head, _)| head.seq == seq) {
            *met = true;
            if head.hash != hash {
                self.report.problems_count += 1;
                self.report.problems.push(Problem::Rewritten { seq });
            }
        }
        self.next = seq + 1;
        self.prev = Some(hash);
        self.report.first.get_or_insert_with(|| opened.link.clone());
        self.report.last = Some(opened.link);
    }

    pub fn finish(mut self) -> ChainReport {
        let found = self.next - 1;
        let unmet: Vec<Link> = self.expected.heads.iter().filter(|head| head.seq > found).cloned().collect();
        if let Some(head) = unmet.into_iter().max_by_key(|head| head.seq) {
            match self.is_expired(head.at_ns) {
                true => self.report.expired += head.seq - found,
                false => self.problem(Problem::Truncated { seq: head.seq, found }),
            }
        }
        if self.expected.heads.is_empty() {
            self.problem(Problem::NoHead);
        }
        self.report
    }

    fn is_expired(&self, at_ns: i64) -> bool {
        self.expected.expired_before.is_some_and(|before| at_ns < before.0)
    }

    fn problem(&mut self, problem: Problem) {
        self.report.problems_count += 1;
        if self.report.problems.len() < PROBLEMS_LISTED_MAX {
            self.report.problems.push(problem);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::Event;
    use super::*;

    type Row = (UnixNanos, String);

    /// Five records, a second apart, and the end after each.
    fn chain() -> (Vec<Row>, Vec<Link>) {
        let mut link = Link::genesis("w", &TenantId::single());
        let (mut rows, mut ends) = (Vec::new(), Vec::new());
        for at in 1..=5 {
            let event = Event { text: format!("query {at}"), ..Event::default() };
            rows.push(link.append("w", &event, UnixNanos(at * 1_000_000_000)));
            ends.push(link.clone());
        }
        (rows, ends)
    }

    fn problems(rows: &[Row], heads: &[Link], expired_before_s: Option<i64>) -> (Vec<String>, u64) {
        let mut verifier = Verifier::new(Expected {
            tenant: TenantId::single(),
            writer: "w".to_owned(),
            heads: heads.to_vec(),
            expired_before: expired_before_s.map(|seconds| UnixNanos(seconds * 1_000_000_000)),
        });
        rows.iter().for_each(|(at, line)| verifier.record(*at, line));
        let report = verifier.finish();
        (report.problems.iter().map(ToString::to_string).collect(), report.expired)
    }

    #[test]
    fn what_was_done_to_a_chain_shows() {
        let (rows, ends) = chain();
        let head = [ends[4].clone()];
        let check = |change: &dyn Fn(&mut Vec<Row>), expected: &[&str]| {
            let mut rows = rows.clone();
            change(&mut rows);
            assert_eq!(problems(&rows, &head, None).0, expected);
        };
        check(&|_| {}, &[]);
        check(
            &|rows| rows[2].1 = rows[2].1.replace("query 3", "query 9"),
            &["the row of 1970-01-01T00:00:03.000000000Z is not as it was written: its hash is not that of its text"],
        );
        check(&|rows| drop(rows.remove(2)), &["records 3 to 3 are missing"]);
        check(&|rows| drop(rows.remove(0)), &["records 1 to 1 are missing"]);
        check(&|rows| rows.truncate(3), &["the chain ends with record 3, but record 5 was there: the end was cut off"]);
        check(&Vec::clear, &["the chain ends with record 0, but record 5 was there: the end was cut off"]);
        check(&|rows| rows.push(rows[4].clone()), &["record 5 is there twice, or not in its place"]);
        check(&|rows| rows.swap(1, 2), &["records 2 to 2 are missing", "record 2 is there twice, or not in its place"]);
        check(
            &|rows| rows[1].0 = UnixNanos(7),
            &[
                "record 2 was written at 1970-01-01T00:00:02.000000000Z, but its row says 1970-01-01T00:00:00.000000007Z",
            ],
        );
    }

    #[test]
    fn a_forged_record_does_not_fit() {
        let (mut rows, ends) = chain();
        // Whoever knows how hashes are made writes the third anew, but not those that follow.
        let mut forged = ends[1].clone();
        rows[2] = forged.append("w", &Event::default(), UnixNanos(3_000_000_000));
        let expected = ["record 4 does not follow the one before it: one of them was exchanged"];
        assert_eq!(problems(&rows, &[ends[4].clone()], None).0, expected);
        // And those, too: the head tells.
        for row in &mut rows[3..] {
            *row = forged.append("w", &Event::default(), row.0);
        }
        let expected = ["record 5 is not the one that was there: the chain was written anew"];
        assert_eq!(problems(&rows, &[ends[4].clone()], None).0, expected);
        let expected = ["no head of this chain is kept: whether its end was cut off cannot be told"];
        assert_eq!(problems(&rows, &[], None).0, expected);
    }

    #[test]
    fn what_is_past_its_period_may_be_gone() {
        let (rows, ends) = chain();
        let head = [ends[4].clone()];
        assert_eq!(problems(&rows[3..], &head, Some(4)), (Vec::new(), 3));
        assert_eq!(problems(&rows[3..], &head, Some(3)).0, ["records 1 to 3 are missing"]);
        assert_eq!(problems(&[], &head, Some(6)), (Vec::new(), 5));
        // A file in the middle went before one that is older in part.
        let with_hole: Vec<Row> = [&rows[..1], &rows[3..]].concat();
        assert_eq!(problems(&with_hole, &head, Some(4)), (Vec::new(), 2));
    }
}
