//! JSON lines taken apart once for all rules of a tenant that read members of them.
//!
//! Each of these rules then parses a line of a few members in place of the whole one. Rules that look at lines otherwise see
//! whole lines.

use crate::files::fields::{Members, Narrower};
use crate::flow::leaf::LeafOperator;
use crate::streams::StreamRef;
use crate::types::rows::{NarrowedLines, Rows};

/// Aggregations that must read a line before it is narrowed for them: to take it apart costs about what one saves.
const READERS_MIN: usize = 2;

/// What is narrowed for the rules of one tenant, as long as they stay.
#[derive(Debug)]
pub(super) struct Narrowing {
    /// None where fewer rules than that read members.
    narrower: Option<Narrower>,
    /// By stream: whether enough rules choose it; none while it was not met.
    wanted: Vec<Option<bool>>,
}

impl Narrowing {
    pub(super) fn of<'l>(leaves: impl Iterator<Item = &'l LeafOperator>) -> Self {
        let members: Vec<Members> = leaves.filter_map(|leaf| leaf.members().cloned()).collect();
        let narrower = (members.len() >= READERS_MIN).then(|| Narrower::new(members));
        Narrowing { narrower, wanted: Vec::new() }
    }

    /// The narrowed lines of a batch; `leaves` are those it was made of.
    pub(super) fn lines<'l, L>(&mut self, rows: &Rows<'_>, leaves: impl Fn() -> L) -> Option<NarrowedLines>
    where
        L: Iterator<Item = &'l LeafOperator>,
    {
        let narrower = self.narrower.as_mut()?;
        let wanted = &mut self.wanted;
        let is_wanted = |row: usize| {
            let stream = rows.stream[row];
            let at = stream as usize;
            if wanted.len() <= at {
                wanted.resize(at + 1, None);
            }
            *wanted[at].get_or_insert_with(|| {
                let readers = leaves().filter(|leaf| leaf.members().is_some() && leaf.chooses(StreamRef(stream)));
                readers.take(READERS_MIN).count() == READERS_MIN
            })
        };
        match narrower.narrow(rows.line?, rows.len(), is_wanted) {
            Ok(lines) => Some(lines),
            Err(error) => {
                tracing::error!(%error, "lines were not narrowed; rules read whole ones");
                None
            }
        }
    }
}
