//! Entries that are joined together, and what they have found so far: as many as a share of the memory holds.

use thermae_env::{Env, give_way};
use thermae_formats::{Projection, RowError};
use thermae_tiering::asof::{AsOfJoin, Asked, Found};
use thermae_tiering::spill::SortedReader;

use super::TrainingError;
use super::records::{Entry, NOT_FOUND, append_found};

/// What taking an entry takes, nanoseconds, about.
const ENTRY_NS: u32 = 50;

/// Entries of one set of join keys, sorted.
#[derive(Default)]
pub(super) struct SetRows {
    pub asked: Asked,
    /// The spine's row of each.
    pub rows: Vec<u64>,
}

/// Entries of a range of the entity hash, by set of join keys.
pub(super) struct Chunk {
    sets: Vec<SetRows>,
    /// Views that are joined by each set.
    views: Vec<usize>,
    most_bytes: usize,
}

impl Chunk {
    /// Without entries. `views`: how many are joined by each set.
    pub fn new(views: Vec<usize>, most_bytes: usize) -> Self {
        let sets = views.iter().map(|_| SetRows::default()).collect();
        Self { sets, views, most_bytes }
    }

    /// Takes the next entries in place of those that it has; how many.
    pub fn fill<E: Env>(&mut self, entries: &mut SortedReader<E>) -> Result<u64, TrainingError> {
        for set in &mut self.sets {
            set.asked.clear();
            set.rows.clear();
        }
        let (mut bytes, mut taken) = (0, 0);
        while let Some(record) = entries.peek().filter(|_| bytes < self.most_bytes) {
            give_way(ENTRY_NS);
            let entry = Entry::decode(record).ok_or(TrainingError::Record)?;
            let at = usize::from(entry.key_set);
            let set = self.sets.get_mut(at).ok_or(TrainingError::Record)?;
            set.asked.push(entry.entity_hash, entry.key, entry.time_us);
            set.rows.push(entry.row);
            bytes += self.entry_bytes(at, entry.key.len());
            taken += 1;
            entries.advance()?;
        }
        Ok(taken)
    }

    /// What an entry takes here and while it is joined. Memory that grows by doubling may be twice what is used.
    fn entry_bytes(&self, set: usize, key_bytes: usize) -> usize {
        let row = Asked::ROW_BYTES + key_bytes + size_of::<u64>() + AsOfJoin::ROW_BYTES;
        2 * (row + self.views[set] * size_of::<Place>())
    }

    /// Sets with their entries.
    pub fn sets(&self) -> impl Iterator<Item = (u16, &SetRows)> {
        (0..).zip(&self.sets)
    }
}

/// Where a finding lies; of no bytes where there is none.
#[derive(Clone, Copy, Default)]
struct Place {
    at: usize,
    bytes: u32,
}

/// What each of some rows has found in each of some views, as it goes into answers.
#[derive(Default)]
pub(super) struct Findings {
    places: Vec<Place>,
    bytes: Vec<u8>,
}

impl Findings {
    /// Nothing, for so many rows and views in all.
    pub fn begin(&mut self, count: usize) {
        self.bytes.clear();
        self.places.clear();
        self.places.resize(count, Place::default());
    }

    /// Puts a finding in the place of the one that is there.
    pub fn put(
        &mut self,
        number: usize,
        found: &Found<'_>,
        projection: &Projection,
    ) -> Result<(), RowError> {
        let place = &mut self.places[number];
        let was = std::mem::take(place);
        if was.at + was.bytes as usize == self.bytes.len() {
            self.bytes.truncate(was.at);
        }
        let at = self.bytes.len();
        append_found(found, projection, &mut self.bytes)?;
        // A row is bounded, far below 4 GiB.
        let bytes = (self.bytes.len() - at) as u32;
        *place = Place { at, bytes };
        if was.at < at && bytes <= was.bytes {
            self.bytes.copy_within(at.., was.at);
            self.bytes.truncate(at);
            *place = Place { at: was.at, bytes };
        }
        Ok(())
    }

    /// A finding.
    pub fn get(&self, number: usize) -> &[u8] {
        match self.places[number] {
            Place { bytes: 0, .. } => &NOT_FOUND,
            Place { at, bytes } => &self.bytes[at..at + bytes as usize],
        }
    }

    /// Bytes of findings, those that better ones have replaced included.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }
}
