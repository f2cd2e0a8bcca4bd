//! Series met by one partition: each label set has a dense number, found without allocating.

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

use crate::query::row::Row;
use crate::types::labels::Labels;

/// Interns the label sets that rows come out of the pipeline with.
#[derive(Debug, Default)]
pub struct SeriesTable {
    numbers: HashTable<u32>,
    keys: Vec<Box<[u8]>>,
    labels: Vec<Labels>,
    key: Vec<u8>,
    bytes: usize,
}

impl SeriesTable {
    /// The number of the series this row belongs to.
    pub fn of(&mut self, row: &mut Row<'_>) -> u32 {
        let mut key = std::mem::take(&mut self.key);
        row.labels_key(&mut key);
        let number = self.number(&key, || row.labels());
        self.key = key;
        number
    }

    /// Takes over the series of another table: their numbers here, by their numbers there.
    pub fn absorb(&mut self, other: &SeriesTable) -> Vec<u32> {
        other.keys.iter().zip(&other.labels).map(|(key, labels)| self.number(key, || labels.clone())).collect()
    }

    /// Takes over one series of another table: its number here.
    pub fn take_over(&mut self, other: &SeriesTable, number: u32) -> u32 {
        let at = number as usize;
        self.number(&other.keys[at], || other.labels[at].clone())
    }

    pub fn labels(&self, number: u32) -> &Labels {
        &self.labels[number as usize]
    }

    /// Memory, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn number(&mut self, key: &[u8], labels: impl FnOnce() -> Labels) -> u32 {
        let hash = xxh3_64(key);
        if let Some(number) = self.numbers.find(hash, |number| *self.keys[*number as usize] == *key) {
            return *number;
        }
        let number = u32::try_from(self.keys.len()).expect("memory ends before 2^32 series do");
        self.keys.push(key.into());
        self.labels.push(labels());
        self.bytes += key.len() * 2 + 128;
        let keys = &self.keys;
        self.numbers.insert_unique(hash, number, |number| xxh3_64(&keys[*number as usize]));
        number
    }
}
