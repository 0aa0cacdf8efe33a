//! Takes records in any order and makes runs of them.

use std::ops::RangeInclusive;
use std::sync::Arc;

use thermae_env::{Env, give_way};

use super::read::SortedReader;
use super::run::{Arena, Place, Run, RunWriter, TOGETHER};
use super::{Limits, SpillDir, SpillError};

/// What comparing two records takes, nanoseconds, about.
const COMPARE_NS: u32 = 20;

/// A sort that takes records.
pub struct Sorter<E: Env> {
    dir: SpillDir<E>,
    limits: Limits,
    arena: Arena,
    places: Vec<Place>,
    runs: Vec<Arc<Run<E>>>,
}

/// Records that can be read in order, any number of times and by several threads.
pub struct Sorted<E: Env> {
    runs: Vec<Arc<Run<E>>>,
}

impl<E: Env> Sorter<E> {
    /// Without records; takes no memory and makes no file yet.
    pub fn new(dir: &SpillDir<E>, limits: Limits) -> Self {
        let (arena, places, runs) = (Arena::default(), Vec::new(), Vec::new());
        Self { dir: dir.clone(), limits, arena, places, runs }
    }

    /// Takes a record of less than 4 GiB. Records are told apart by their bytes alone; equal ones are all
    /// kept.
    ///
    /// # Errors
    /// Memory is full and a run cannot be written. The sort is of no use then.
    pub fn push(&mut self, record: &[u8]) -> Result<(), SpillError> {
        if !self.has_room(record) && !self.places.is_empty() {
            self.spill()?;
        }
        let place = self.arena.push(record);
        self.places.push(place);
        Ok(())
    }

    /// Ends the sort. Either all records are in memory or none is, so that what is sorted later has the
    /// memory of what did not fit.
    ///
    /// # Errors
    /// A run cannot be written, or runs not be merged to as few as may be read at once.
    pub fn finish(mut self) -> Result<Sorted<E>, SpillError> {
        // No run is empty: each has a first record to be merged by.
        if self.runs.is_empty() && !self.places.is_empty() {
            self.sort();
            self.runs.push(Arc::new(Run::Memory(self.arena, self.places)));
            return Ok(Sorted { runs: self.runs });
        }
        if !self.places.is_empty() {
            self.spill()?;
        }
        let Self { dir, limits, runs, .. } = self;
        Sorted { runs }.merged(&dir, limits)
    }

    /// Heap bytes, what is allocated but not used yet included.
    pub fn memory_bytes(&self) -> usize {
        self.arena.0.capacity() + self.places.capacity() * size_of::<Place>()
    }

    /// Makes room for a record within the limit, if there is any: memory doubles until it meets the limit.
    fn has_room(&mut self, record: &[u8]) -> bool {
        let limit = self.limits.memory_bytes;
        let places_bytes = self.places.capacity() * size_of::<Place>();
        let left = limit.saturating_sub(places_bytes);
        if !grow(&mut self.arena.0, Arena::framed_bytes(record), left) {
            return false;
        }
        let left = limit.saturating_sub(self.arena.0.capacity()) / size_of::<Place>();
        grow(&mut self.places, 1, left)
    }

    fn sort(&mut self) {
        let arena = &self.arena;
        self.places.sort_unstable_by(|a, b| {
            // Millions of records are sorted in one call.
            give_way(COMPARE_NS);
            a.lead.cmp(&b.lead).then_with(|| arena.record(*a).cmp(arena.record(*b)))
        });
    }

    fn spill(&mut self) -> Result<(), SpillError> {
        self.sort();
        let mut writer = RunWriter::create(&self.dir, self.limits.block_bytes)?;
        for places in self.places.chunks(TOGETHER) {
            self.arena.ask_for(places);
            for place in places {
                writer.push(self.arena.record(*place))?;
            }
        }
        self.runs.push(Arc::new(writer.finish()?));
        self.arena.0.clear();
        self.places.clear();
        if self.memory_bytes() > self.limits.memory_bytes {
            // A record larger than the limit does not keep its memory.
            self.arena = Arena::default();
        }
        Ok(())
    }
}

/// Makes room for `more` items, within `most` in all; says whether there is.
fn grow<T>(items: &mut Vec<T>, more: usize, most: usize) -> bool {
    let needed = items.len() + more;
    if needed <= items.capacity() {
        return true;
    }
    let wanted = needed.max(2 * items.capacity()).min(most);
    if wanted < needed {
        return false;
    }
    items.reserve_exact(wanted - items.len());
    true
}

impl<E: Env> Sorted<E> {
    /// The records of several sorts as one.
    ///
    /// # Errors
    /// There are more runs than may be read at once, and they cannot be merged.
    pub fn union(
        parts: impl IntoIterator<Item = Self>,
        dir: &SpillDir<E>,
        limits: Limits,
    ) -> Result<Self, SpillError> {
        let runs = parts.into_iter().flat_map(|part| part.runs).collect();
        Self { runs }.merged(dir, limits)
    }

    /// The records whose leading eight bytes, as a big-endian number, lie in a range.
    ///
    /// # Errors
    /// A run cannot be read.
    pub fn read(&self, leads: RangeInclusive<u64>) -> Result<SortedReader<E>, SpillError> {
        SortedReader::new(&self.runs, leads)
    }

    /// Whether records lie in files.
    pub fn is_spilled(&self) -> bool {
        self.runs.iter().any(|run| matches!(**run, Run::File(..)))
    }

    /// Runs that are read at a time.
    pub fn runs(&self) -> usize {
        self.runs.len()
    }

    /// The same in at most as many runs as may be read at once.
    fn merged(mut self, dir: &SpillDir<E>, limits: Limits) -> Result<Self, SpillError> {
        let fan_in = limits.fan_in.max(2);
        while self.runs.len() > fan_in {
            let some: Vec<_> = self.runs.drain(..fan_in).collect();
            let mut reader = SortedReader::new(&some, 0..=u64::MAX)?;
            let mut writer = RunWriter::create(dir, limits.block_bytes)?;
            while let Some(record) = reader.peek() {
                writer.push(record)?;
                reader.advance()?;
            }
            self.runs.push(Arc::new(writer.finish()?));
        }
        Ok(self)
    }
}
