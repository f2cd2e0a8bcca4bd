//! A long answer in pages: where the next begins, and what of it was there already. Pure.
//!
//! ```text
//! backward: [start … end) ─▶ page, oldest entry at t ─▶ [start … t+1) without the entries at t that were shown
//! ```

use std::collections::HashMap;

use crate::cli::source::{LogAsk, Shown};

/// Entries of a page at most: what servers allow.
const PAGE_ENTRIES_MAX: usize = 5000;

/// The pages of one query.
#[derive(Debug)]
pub(super) struct Pages<'a> {
    ask: LogAsk<'a>,
    /// 0: all.
    limit: usize,
    taken: usize,
    done: bool,
    /// Entries of the last time, shown so often: they come again with the next page.
    at_edge: HashMap<Shown, usize>,
}

impl<'a> Pages<'a> {
    /// `ask.limit` is the size of a page; `limit` that of the whole.
    pub(super) fn new(ask: LogAsk<'a>, limit: usize) -> Self {
        Pages { ask, limit, taken: 0, done: false, at_edge: HashMap::new() }
    }

    /// What to ask next; none at the end.
    pub(super) fn next_ask(&self) -> Option<LogAsk<'a>> {
        if self.done || self.ask.end <= self.ask.start {
            return None;
        }
        let again: usize = self.at_edge.values().sum();
        let left = if self.limit == 0 { self.ask.limit } else { self.limit - self.taken + again };
        Some(LogAsk { limit: self.ask.limit.min(left), ..self.ask })
    }

    /// What of a page is new.
    pub(super) fn take(&mut self, page: Vec<Shown>) -> Vec<Shown> {
        let asked = self.next_ask().map_or(0, |ask| ask.limit);
        let is_full = page.len() >= asked;
        let edge = page.last().map(|entry| entry.ts);
        let mut shown = self.at_edge.clone();
        let fresh: Vec<Shown> = page
            .into_iter()
            .filter(|entry| match shown.get_mut(entry) {
                Some(times) if *times > 0 => {
                    *times -= 1;
                    false
                }
                _ => true,
            })
            .collect();
        self.taken += fresh.len();
        self.done = !is_full || (self.limit > 0 && self.taken >= self.limit);
        let Some(edge) = edge.filter(|_| !self.done) else { return fresh };
        let previous = std::mem::take(&mut self.at_edge);
        if fresh.is_empty() {
            // A whole page of one time, all shown: a larger one reaches more of it, as far as servers allow.
            self.at_edge = previous;
            match self.ask.limit < PAGE_ENTRIES_MAX {
                true => self.ask.limit = (self.ask.limit * 2).min(PAGE_ENTRIES_MAX),
                false => self.step_over(edge),
            }
            return fresh;
        }
        // Entries at the edge that an earlier page showed are still in the way.
        self.at_edge = previous.into_iter().filter(|(entry, _)| entry.ts == edge).collect();
        for entry in fresh.iter().filter(|entry| entry.ts == edge) {
            *self.at_edge.entry(entry.clone()).or_default() += 1;
        }
        match self.ask.forward {
            true => self.ask.start = edge,
            false => self.ask.end = edge.saturating_add(1),
        }
        fresh
    }

    fn step_over(&mut self, edge: i64) {
        self.at_edge.clear();
        match self.ask.forward {
            true => self.ask.start = edge.saturating_add(1),
            false => self.ask.end = edge,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    pub(super) fn taken(&self) -> usize {
        self.taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::labels::Labels;

    /// Asks a store of these times, page by page; answers what came and how often was asked.
    fn read(times: &[i64], page: usize, limit: usize, forward: bool) -> (Vec<String>, usize) {
        let entry = |(at, ts): (usize, &i64)| Shown {
            ts: *ts,
            labels: Labels::default(),
            fields: Labels::default(),
            line: format!("{ts}.{at}"),
        };
        let mut all: Vec<Shown> = times.iter().enumerate().map(entry).collect();
        crate::cli::source::sort(&mut all, forward);
        let mut pages = Pages::new(LogAsk { query: "", start: 0, end: 100, limit: page, forward }, limit);
        let (mut found, mut asked) = (Vec::new(), 0);
        while let Some(ask) = pages.next_ask() {
            asked += 1;
            assert!(asked < 50, "no end");
            let inside = all.iter().filter(|entry| (ask.start..ask.end).contains(&entry.ts));
            let page: Vec<Shown> = inside.take(ask.limit).cloned().collect();
            found.extend(pages.take(page).into_iter().map(|entry| entry.line));
        }
        (found, asked)
    }

    #[test]
    fn every_entry_comes_once() {
        let check = |times: &[i64], page, limit, forward, expected: &[&str]| {
            let (found, _) = read(times, page, limit, forward);
            assert_eq!(found, expected, "{times:?} {page} {limit}");
        };
        check(&[1, 2, 3, 4, 5], 2, 0, true, &["1.0", "2.1", "3.2", "4.3", "5.4"]);
        check(&[1, 2, 3, 4, 5], 2, 0, false, &["5.4", "4.3", "3.2", "2.1", "1.0"]);
        check(&[1, 2, 3, 4, 5], 2, 3, false, &["5.4", "4.3", "3.2"]);
        check(&[1, 2, 2, 2, 3], 3, 0, true, &["1.0", "2.1", "2.2", "2.3", "3.4"]);
        check(&[1, 2, 2, 2, 3], 2, 4, true, &["1.0", "2.1", "2.2", "2.3"]);
        check(&[1, 2, 2, 2, 3], 2, 0, false, &["3.4", "2.1", "2.2", "2.3", "1.0"]);
        check(&[], 2, 0, true, &[]);
        check(&[7], 1, 0, false, &["7.0"]);
    }

    #[test]
    fn a_small_answer_is_one_page() {
        assert_eq!(read(&[1, 2], 1000, 30, false).1, 1);
        assert_eq!(read(&[1, 2, 3], 1000, 3, false).1, 1);
    }
}
