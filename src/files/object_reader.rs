//! Bytes of one file in an object store, as Parquet's readers ask for them, checked.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};

use super::blocks::BlockSums;

/// Bytes read from the end of a file at once: most footers with their indexes fit.
const FOOTER_PREFETCH_BYTES: u64 = 128 * 1024;

/// Reads ranges of one object whose size is known.
#[derive(Debug, Clone)]
pub struct ObjectReader {
    store: Arc<dyn ObjectStore>,
    location: Path,
    /// Bytes.
    size: u64,
    /// What is read is checked against these.
    sums: Option<Arc<BlockSums>>,
    /// The last bytes of the object, and where they begin.
    end: Option<(u64, Bytes)>,
}

impl ObjectReader {
    pub fn new(store: Arc<dyn ObjectStore>, location: Path, size: u64) -> Self {
        ObjectReader { store, location, size, sums: None, end: None }
    }

    /// A reader that answers an error where bytes are not those that were written.
    #[must_use]
    pub fn checked(self, sums: Option<Arc<BlockSums>>) -> Self {
        ObjectReader { sums, ..self }
    }

    /// A reader that has the end of the object already.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) async fn with_end(self) -> Result<Self> {
        let start = self.size.saturating_sub(FOOTER_PREFETCH_BYTES);
        let end = self.store.get_range(&self.location, start..self.size).await.map_err(failed)?;
        Ok(ObjectReader { end: Some((start, end)), ..self })
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        if let Some((start, end)) = &self.end
            && *start <= range.start
            && range.end <= start + end.len() as u64
        {
            return Ok(slice(end, *start, &range));
        }
        match &self.sums {
            None => self.store.get_range(&self.location, range).await.map_err(failed),
            Some(sums) => {
                let around = sums.around(&range);
                let bytes = self.store.get_range(&self.location, around.clone()).await.map_err(failed)?;
                self.check(sums, around.start, &bytes)?;
                Ok(slice(&bytes, around.start, &range))
            }
        }
    }

    async fn read_all(&self, ranges: Vec<Range<u64>>) -> Result<Vec<Bytes>> {
        let Some(sums) = &self.sums else {
            return self.store.get_ranges(&self.location, &ranges).await.map_err(failed);
        };
        let around = joined(ranges.iter().map(|range| sums.around(range)).collect());
        let read = self.store.get_ranges(&self.location, &around).await.map_err(failed)?;
        for (around, bytes) in around.iter().zip(&read) {
            self.check(sums, around.start, bytes)?;
        }
        let of_range = |range: &Range<u64>| {
            let at = around.partition_point(|around| around.start <= range.start) - 1;
            slice(&read[at], around[at].start, range)
        };
        Ok(ranges.iter().map(of_range).collect())
    }

    fn check(&self, sums: &BlockSums, start: u64, bytes: &[u8]) -> Result<()> {
        match sums.first_damaged(start, bytes) {
            None => Ok(()),
            Some(at) => Err(ParquetError::General(format!(
                "it is damaged after byte {at}: its checksum does not fit; `millrace doctor` says more"
            ))),
        }
    }
}

/// Ranges in order, those that touch made one.
fn joined(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

fn slice(bytes: &Bytes, start: u64, range: &Range<u64>) -> Bytes {
    let place = |at: u64| usize::try_from(at - start).unwrap_or(usize::MAX).min(bytes.len());
    bytes.slice(place(range.start)..place(range.end))
}

fn failed(error: object_store::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

impl AsyncFileReader for ObjectReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes>> {
        async move { self.read(range).await }.boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>>> {
        async move { self.read_all(ranges).await }.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>>> {
        async move {
            let size = self.size;
            let metadata = ParquetMetaDataReader::new()
                .with_page_index_policy(PageIndexPolicy::Optional)
                .with_prefetch_hint(usize::try_from(FOOTER_PREFETCH_BYTES).ok())
                .load_and_finish(self, size)
                .await?;
            Ok(Arc::new(metadata))
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_touch_become_one() {
        let check = |ranges: &[(u64, u64)], expected: &[(u64, u64)]| {
            let joined = joined(ranges.iter().map(|(start, end)| *start..*end).collect());
            assert_eq!(joined.iter().map(|range| (range.start, range.end)).collect::<Vec<_>>(), expected);
        };
        check(&[], &[]);
        check(&[(0, 10), (10, 20), (30, 40)], &[(0, 20), (30, 40)]);
        check(&[(30, 40), (0, 35), (2, 3)], &[(0, 40)]);
    }
}
