//! Entries of a request on their way through stages: kept until the request is whole, then run, then checked.

use std::borrow::Cow;
use std::sync::Arc;

use super::stages::Stages;
use super::validate::STREAMS_MAX;
use crate::pipeline::{Entry, LabelSet, Origin, Receipt, StageError, TENANT_LABEL};
use crate::types::labels::Labels;
use crate::types::time::UnixNanos;

/// Bytes that the entries of one request may fill: short lines cost many times their length.
const STAGED_BYTES_MAX: usize = 512 << 20;
/// Bytes of an entry without its texts.
const ENTRY_BYTES: usize = size_of::<Entry>() + 64;
/// Bytes of a name and a value without the texts.
const PAIR_BYTES: usize = 64;

/// Which entry of the request one was, by its number; of joined entries each.
struct EntryNumber(usize);

/// See the module.
pub(super) struct Staging<'a> {
    stages: &'a [Arc<Stages>],
    /// Labels of the streams as they came, and whether they get a `service_name`.
    streams: Vec<(LabelSet, bool)>,
    current: usize,
    /// Entries whose streams get a `service_name`, and those whose streams do not.
    discovering: Vec<Entry>,
    as_they_are: Vec<Entry>,
    /// Taken so far, those that are refused too.
    entries: usize,
    bytes: usize,
}

/// An entry that left the stages.
pub(super) struct Staged {
    pub(super) entry: Entry,
    /// Whether its stream gets a `service_name`.
    pub(super) discovers_service: bool,
}

impl<'a> Staging<'a> {
    /// None when there are no stages.
    pub(super) fn new(stages: &'a [Arc<Stages>]) -> Option<Self> {
        (!stages.is_empty()).then(|| Staging {
            stages,
            streams: Vec::new(),
            current: 0,
            discovering: Vec::new(),
            as_they_are: Vec::new(),
            entries: 0,
            bytes: 0,
        })
    }

    /// The entries that follow are of this stream; its number.
    pub(super) fn stream(&mut self, labels: &Labels, discovers_service: bool) -> usize {
        self.current = self.streams.len();
        if self.current < STREAMS_MAX {
            self.streams.push((LabelSet::from_pairs(Origin::Data, labels.iter()), discovers_service));
        }
        self.current
    }

    pub(super) fn select(&mut self, stream: usize) {
        self.current = stream;
    }

    /// # Errors
    /// The reason why the entry is not taken: the request would fill the memory.
    pub(super) fn add(
        &mut self,
        ts_ns: i64,
        line: &str,
        metadata: &[(Cow<'_, str>, Cow<'_, str>)],
    ) -> Result<(), &'static str> {
        let Some((labels, discovers_service)) = self.streams.get(self.current) else { return Err("stream_limit") };
        let of_metadata = metadata.iter().map(|(name, value)| PAIR_BYTES + name.len() + value.len()).sum::<usize>();
        let bytes = ENTRY_BYTES + line.len() + of_metadata + labels.len() * PAIR_BYTES;
        if self.bytes + bytes > STAGED_BYTES_MAX {
            return Err("request_body_too_large");
        }
        let mut entry = Entry::new(labels.clone(), ts_ns, line);
        entry.metadata.extend(metadata.iter().map(|(name, value)| ((&**name).into(), (&**value).into())));
        entry.receipt = Receipt::of(Arc::new(EntryNumber(self.entries)));
        self.entries += 1;
        self.bytes += bytes;
        let list = if *discovers_service { &mut self.discovering } else { &mut self.as_they_are };
        list.push(entry);
        Ok(())
    }

    /// Runs all stages over what was added.
    pub(super) fn run(mut self, now: UnixNanos) -> Result<impl Iterator<Item = Staged>, StageError> {
        for list in [&mut self.discovering, &mut self.as_they_are] {
            if !list.is_empty() {
                for stages in self.stages {
                    stages.run(list, now)?;
                }
            }
        }
        let staged = |discovers_service| move |entry| Staged { entry, discovers_service };
        Ok(self.discovering.into_iter().map(staged(true)).chain(self.as_they_are.into_iter().map(staged(false))))
    }
}

impl Staged {
    /// The labels of its stream.
    pub(super) fn labels(&self) -> Labels {
        let shown = self.entry.labels.iter().filter(|(name, _)| ***name != *TENANT_LABEL);
        Labels::from_pairs(shown.map(|(name, value)| (&**name, &**value)))
    }

    pub(super) fn metadata(&self) -> Vec<(Cow<'_, str>, Cow<'_, str>)> {
        let pairs = self.entry.metadata.iter();
        pairs.map(|(name, value)| (Cow::Borrowed(&**name), Cow::Borrowed(&**value))).collect()
    }

    /// Which entries of the request it was.
    pub(super) fn numbers(&self) -> impl Iterator<Item = usize> {
        self.entry.receipt.held::<EntryNumber>().map(|number| number.0)
    }
}
