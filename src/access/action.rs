//! What a role may do.

use serde::{Deserialize, Serialize};

/// One kind of thing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Ask: LogQL, SQL, labels, tail, dashboards.
    Read,
    /// Push lines.
    Write,
    /// Take more out at once than a screen holds: files of rows, answers without a limit.
    Export,
    /// Ask for lines to be deleted.
    Delete,
    /// Change rules and alerts.
    Rules,
    /// See and change the server itself: settings, log level, running queries of others.
    Admin,
    /// Read `/metrics`.
    Metrics,
    /// See who asked what: the stream of audit records, which no other action shows.
    Audit,
}

impl Action {
    pub const ALL: [Action; 8] = [
        Action::Read,
        Action::Write,
        Action::Export,
        Action::Delete,
        Action::Rules,
        Action::Admin,
        Action::Metrics,
        Action::Audit,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Action::Read => "read",
            Action::Write => "write",
            Action::Export => "export",
            Action::Delete => "delete",
            Action::Rules => "rules",
            Action::Admin => "admin",
            Action::Metrics => "metrics",
            Action::Audit => "audit",
        }
    }
}

/// A set of actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Actions(u8);

impl Actions {
    pub const ALL: Actions = Actions(0xff);

    pub fn of(actions: &[Action]) -> Self {
        Actions(actions.iter().fold(0, |bits, action| bits | 1 << *action as u8))
    }

    pub fn has(self, action: Action) -> bool {
        self.0 & (1 << action as u8) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_hold_what_was_put_in() {
        let set = Actions::of(&[Action::Read, Action::Delete]);
        let held: Vec<_> = Action::ALL.into_iter().filter(|action| set.has(*action)).collect();
        assert_eq!(held, [Action::Read, Action::Delete]);
        assert!(Action::ALL.into_iter().all(|action| Actions::ALL.has(action)));
    }
}
