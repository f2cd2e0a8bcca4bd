//! What a process does about a lease, as a state machine: no clock, no store.
//!
//! ```text
//!            ┌───────────── look ◀──────────── put n+1 (if absent) ◀───────────┐
//!            ▼                                                                 │
//!   newest is n, another's ── the same n for a whole term ─▶ it may be taken ──┤
//!   newest is n, given back ───────────────────────────────▶ it is free ───────┤
//!   newest is n, ours ─▶ held for 3/4 of a term from when it was asked for ────┘ after a quarter of a term
//! ```
//!
//! A lease is a row of numbered objects that are never changed; whoever puts the next number has it. No clocks are
//! compared: a holder counts from before it asked, all others from when they saw what it put, which is later.
//!
//! Invariants, where clocks run equally fast within a fifth:
//! - two processes never hold it at one time;
//! - the number of a holder is greater than that of every earlier one, so that what an earlier one still does can be
//!   told from what its successor does, however long it was stopped in between.

use serde::{Deserialize, Serialize};

/// Time by the process's own clock, milliseconds.
pub(super) type Millis = u64;

/// What an object says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// A name that no other process has, nor this one after a restart.
    pub(super) holder: String,
    /// Which of the holder's attempts this is: one that was given up may land later, and must not be taken for another.
    pub(super) attempt: u64,
    /// Whether it was given back.
    #[serde(default)]
    pub(super) released: bool,
}

/// A process's part of the protocol.
#[derive(Debug, Clone)]
pub(super) struct Protocol {
    me: String,
    term: Millis,
    known: Known,
    /// A number that was asked for and of which it is not known whether it was had.
    asked: Option<Asked>,
    attempts: u64,
    /// When the newest number was looked for last.
    looked_at: Option<Millis>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Known {
    Nothing,
    /// The newest number is another's, seen since then.
    Others {
        number: u64,
        holder: String,
        since: Millis,
    },
    /// The newest number was given back; 0 when there never was one.
    Free {
        number: u64,
    },
    Mine {
        number: u64,
        until: Millis,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Asked {
    number: u64,
    attempt: u64,
    at: Millis,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// Ask for the newest number.
    Look,
    /// Put this number if there is none, then look.
    Put(u64),
    RestUntil(Millis),
}

impl Protocol {
    pub(super) fn new(me: String, term: Millis) -> Self {
        Protocol { me, term, known: Known::Nothing, asked: None, attempts: 0, looked_at: None }
    }

    pub(super) fn act(&self, now: Millis) -> Act {
        if self.asked.is_some() {
            return Act::Look;
        }
        match &self.known {
            Known::Nothing => Act::Look,
            Known::Free { number } => Act::Put(number + 1),
            Known::Others { number, since, .. } => {
                let taken_at = since.saturating_add(self.term);
                let look_at = self.looked_at.unwrap_or(0).saturating_add(self.term / 4).min(taken_at);
                match now {
                    now if now >= taken_at => Act::Put(number + 1),
                    now if now >= look_at => Act::Look,
                    _ => Act::RestUntil(look_at),
                }
            }
            Known::Mine { number, until } => match until.saturating_sub(self.term / 2) {
                renewed_at if now >= renewed_at => Act::Put(number + 1),
                renewed_at => Act::RestUntil(renewed_at),
            },
        }
    }

    /// A number is asked for from now on, with what is answered.
    pub(super) fn asks(&mut self, number: u64, now: Millis) -> Record {
        self.attempts += 1;
        self.asked = Some(Asked { number, attempt: self.attempts, at: now });
        Record { holder: self.me.clone(), attempt: self.attempts, released: false }
    }

    /// The newest number there is.
    pub(super) fn looked(&mut self, now: Millis, newest: Option<(u64, Record)>) {
        self.looked_at = Some(now);
        let asked = self.asked.take();
        let Some((number, record)) = newest else {
            self.known = Known::Free { number: 0 };
            return;
        };
        let had = asked.filter(|asked| {
            asked.number == number && asked.attempt == record.attempt && record.holder == self.me && !record.released
        });
        self.known = match (&self.known, had) {
            (_, Some(asked)) => Known::Mine { number, until: asked.at.saturating_add(self.term / 4 * 3) },
            (Known::Mine { number: mine, until }, None) if *mine == number => Known::Mine { number, until: *until },
            _ if record.released => Known::Free { number },
            (Known::Others { number: seen, since, .. }, None) if *seen == number => {
                Known::Others { number, holder: record.holder, since: *since }
            }
            _ => Known::Others { number, holder: record.holder, since: now },
        };
    }

    /// The number under which it is held.
    pub(super) fn held(&self, now: Millis) -> Option<u64> {
        match self.known {
            Known::Mine { number, until } if now < until => Some(number),
            _ => None,
        }
    }

    /// Who has it, as far as is known.
    pub(super) fn holder(&self, now: Millis) -> Option<&str> {
        match &self.known {
            Known::Mine { until, .. } if now < *until => Some(&self.me),
            Known::Others { holder, .. } => Some(holder),
            Known::Nothing | Known::Free { .. } | Known::Mine { .. } => None,
        }
    }

    /// Holds nothing from now on. Answers with what it is given back, if it is held.
    pub(super) fn give_back(&mut self, now: Millis) -> Option<(u64, Record)> {
        let held = self.held(now);
        (self.known, self.asked) = (Known::Nothing, None);
        self.attempts += 1;
        held.map(|number| (number + 1, Record { holder: self.me.clone(), attempt: self.attempts, released: true }))
    }
}
