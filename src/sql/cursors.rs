//! Cursors: one result, asked for in pages, of the snapshot it began with.
//!
//! ```text
//! open ─▶ page ─▶ page ─▶ … ─▶ last page (closed)        no page asked for in `idle_max` → closed
//! ```
//!
//! Invariant: a cursor belongs to who opened it; others do not learn that it is there.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use parking_lot::Mutex;
use uuid::Uuid;

/// Open cursors of all callers; each holds a snapshot and two batches.
pub const CURSORS_MAX: usize = 64;
/// How long a cursor waits for its next page.
const IDLE_MAX: Duration = Duration::from_secs(300);

/// An open cursor, taken out while a page is read.
pub struct Cursor<T> {
    pub rows: SendableRecordBatchStream,
    /// Rows of the last batch that the page before had no room for.
    rest: Option<RecordBatch>,
    /// What lasts as long as the cursor, such as its place among running queries.
    pub held: T,
}

/// All open cursors. Cheap to clone.
pub struct Cursors<T>(Arc<Mutex<HashMap<Uuid, Waiting<T>>>>);

struct Waiting<T> {
    owner: String,
    since: Instant,
    /// None while a page is read.
    cursor: Option<Cursor<T>>,
}

/// Why there is no page.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CursorError {
    #[error("no such cursor: it was closed, read to its end, or waited longer than {} s", IDLE_MAX.as_secs())]
    Unknown,
    #[error("a page of this cursor is being read")]
    Busy,
    #[error("{CURSORS_MAX} cursors are open: read them to their end or close some")]
    TooMany,
}

impl<T> Cursor<T> {
    pub fn new(rows: SendableRecordBatchStream, held: T) -> Self {
        Cursor { rows, rest: None, held }
    }

    /// The next `rows_max` rows; fewer only at the end.
    pub async fn page(&mut self, rows_max: usize) -> Result<Vec<RecordBatch>, DataFusionError> {
        let mut page = Vec::new();
        let mut room = rows_max;
        while room > 0 {
            let batch = match self.rest.take() {
                Some(rest) => rest,
                None => match self.rows.next().await {
                    Some(batch) => batch?,
                    None => break,
                },
            };
            if batch.num_rows() > room {
                self.rest = Some(batch.slice(room, batch.num_rows() - room));
                page.push(batch.slice(0, room));
                room = 0;
            } else {
                room -= batch.num_rows();
                page.push(batch);
            }
        }
        Ok(page)
    }
}

impl<T> Cursors<T> {
    /// Makes a cursor known under a name nobody can guess.
    pub fn open(&self, owner: &str, cursor: Cursor<T>) -> Result<Uuid, CursorError> {
        let mut open = self.0.lock();
        let now = Instant::now();
        open.retain(|_, waiting| waiting.cursor.is_none() || now.duration_since(waiting.since) < IDLE_MAX);
        if open.len() >= CURSORS_MAX {
            return Err(CursorError::TooMany);
        }
        let id = Uuid::new_v4();
        open.insert(id, Waiting { owner: owner.to_owned(), since: now, cursor: Some(cursor) });
        Ok(id)
    }

    /// Takes a cursor out to read a page; [`Cursors::put_back`] or [`Cursors::close`] comes next.
    pub fn take(&self, owner: &str, id: Uuid) -> Result<Cursor<T>, CursorError> {
        let mut open = self.0.lock();
        let waiting = open.get_mut(&id).filter(|waiting| waiting.owner == owner).ok_or(CursorError::Unknown)?;
        if waiting.cursor.is_some() && waiting.since.elapsed() >= IDLE_MAX {
            open.remove(&id);
            return Err(CursorError::Unknown);
        }
        waiting.cursor.take().ok_or(CursorError::Busy)
    }

    pub fn put_back(&self, id: Uuid, cursor: Cursor<T>) {
        if let Some(waiting) = self.0.lock().get_mut(&id) {
            waiting.since = Instant::now();
            waiting.cursor = Some(cursor);
        }
    }

    pub fn close(&self, owner: &str, id: Uuid) -> Result<(), CursorError> {
        let mut open = self.0.lock();
        match open.get(&id) {
            Some(waiting) if waiting.owner == owner => {
                open.remove(&id);
                Ok(())
            }
            _ => Err(CursorError::Unknown),
        }
    }
}

impl<T> Clone for Cursors<T> {
    fn clone(&self) -> Self {
        Cursors(self.0.clone())
    }
}

impl<T> Default for Cursors<T> {
    fn default() -> Self {
        Cursors(Arc::default())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array};
    use datafusion::physical_plan::stream::RecordBatchStreamAdapter;

    use super::*;

    fn cursor(rows: i64) -> Cursor<()> {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
        let batch = RecordBatch::try_from_iter([("n", column)]).expect("a batch");
        let batches = [Ok(batch.slice(0, 3)), Ok(batch.slice(3, batch.num_rows() - 3))];
        Cursor::new(Box::pin(RecordBatchStreamAdapter::new(batch.schema(), futures::stream::iter(batches))), ())
    }

    #[tokio::test]
    async fn pages_are_full_until_the_end() {
        let mut cursor = cursor(10);
        let mut sizes = Vec::new();
        for _ in 0..4 {
            let page = cursor.page(4).await.expect("rows");
            sizes.push(page.iter().map(RecordBatch::num_rows).sum::<usize>());
        }
        assert_eq!(sizes, [4, 4, 2, 0]);
    }

    #[test]
    fn a_cursor_is_its_owners_alone() {
        let cursors = Cursors::default();
        let id = cursors.open("ana", cursor(5)).expect("room");
        assert_eq!(cursors.take("bob", id).err(), Some(CursorError::Unknown));
        assert_eq!(cursors.close("bob", id), Err(CursorError::Unknown));
        let taken = cursors.take("ana", id).expect("there");
        assert_eq!(cursors.take("ana", id).err(), Some(CursorError::Busy));
        cursors.put_back(id, taken);
        assert!(cursors.take("ana", id).is_ok());
        assert_eq!(cursors.close("ana", id), Ok(()));
        assert_eq!(cursors.take("ana", id).err(), Some(CursorError::Unknown));
        for _ in 0..CURSORS_MAX {
            cursors.open("ana", cursor(5)).expect("room");
        }
        assert_eq!(cursors.open("ana", cursor(5)), Err(CursorError::TooMany));
    }
}
