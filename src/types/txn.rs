//! How far a source of rows has come in the table: what makes a commit of them land once.
//!
//! ```text
//! step { app_id, after, to }   the table has recorded `after` for app_id ─ commit ─▶ it has recorded `to`
//! ```

use std::sync::Arc;

/// One step of one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TxnStep {
    /// Who steps; Delta calls it the application of a `txn`.
    pub app_id: Arc<str>,
    pub after: After,
    /// What is recorded afterwards: a log sequence number, an offset.
    pub to: i64,
}

/// What must be recorded before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// Anything lower: a source that nobody else writes.
    AnyLower,
    /// This and nothing else: a source that may change hands.
    Exactly(Option<i64>),
}

/// Why a step does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misstep {
    /// It was taken already.
    Taken,
    /// Another took this source further, or back.
    Elsewhere,
}

impl TxnStep {
    /// Whether the step can be taken when `recorded` stands in the table.
    pub fn check(&self, recorded: Option<i64>) -> Result<(), Misstep> {
        if recorded == Some(self.to) && self.after != After::Exactly(Some(self.to)) {
            return Err(Misstep::Taken);
        }
        match self.after {
            After::AnyLower if recorded.is_some_and(|recorded| recorded > self.to) => Err(Misstep::Taken),
            After::Exactly(expected) if expected != recorded => Err(Misstep::Elsewhere),
            _ => Ok(()),
        }
    }

    /// Both steps as one; none when `next` does not begin where this one ends.
    pub fn then(&self, next: &TxnStep) -> Option<TxnStep> {
        let follows = self.app_id == next.app_id
            && match next.after {
                After::AnyLower => self.to <= next.to,
                After::Exactly(after) => after == Some(self.to),
            };
        follows.then(|| TxnStep { to: next.to, ..self.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(after: After, to: i64) -> TxnStep {
        TxnStep { app_id: "a".into(), after, to }
    }

    #[test]
    fn steps_are_taken_once_and_in_order() {
        let check = |after, to, recorded, expected| {
            assert_eq!(step(after, to).check(recorded), expected, "{after:?} to {to} when {recorded:?}");
        };
        check(After::AnyLower, 5, None, Ok(()));
        check(After::AnyLower, 5, Some(4), Ok(()));
        check(After::AnyLower, 5, Some(5), Err(Misstep::Taken));
        check(After::AnyLower, 5, Some(6), Err(Misstep::Taken));
        check(After::Exactly(None), 5, None, Ok(()));
        check(After::Exactly(None), 5, Some(3), Err(Misstep::Elsewhere));
        check(After::Exactly(Some(3)), 5, Some(3), Ok(()));
        check(After::Exactly(Some(3)), 5, Some(5), Err(Misstep::Taken));
        check(After::Exactly(Some(3)), 5, Some(4), Err(Misstep::Elsewhere));
        check(After::Exactly(Some(3)), 5, None, Err(Misstep::Elsewhere));
    }

    #[test]
    fn steps_that_follow_each_other_are_one() {
        let first = step(After::Exactly(None), 5);
        assert_eq!(first.then(&step(After::Exactly(Some(5)), 9)), Some(step(After::Exactly(None), 9)));
        assert_eq!(first.then(&step(After::Exactly(Some(4)), 9)), None);
        assert_eq!(first.then(&TxnStep { app_id: "b".into(), ..step(After::Exactly(Some(5)), 9) }), None);
    }
}
