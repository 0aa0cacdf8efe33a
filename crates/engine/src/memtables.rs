//! The memtables of one shard: the one that is written, and those that are on their way to disk.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use thermae_formats::catalogue::ViewId;
use thermae_formats::version::Version;
use thermae_tiering::memtable::{Marks, Memtable};

/// What a memtable takes for a row beside its key and value: the head of its entry, times and flags of its
/// version, its slots in the index.
const ROW_BYTES: usize = 80;

/// Bytes that a memtable takes for a row, about.
pub fn memtable_bytes(key_bytes: usize, value_bytes: usize) -> usize {
    key_bytes + value_bytes + ROW_BYTES
}

/// A shard's memtables. A key's newest version lies in the newest of them that has the key.
pub struct Memtables {
    active: Memtable,
    /// Bytes at which one is frozen.
    full_bytes: usize,
    /// Oldest first: the order in which they become tables.
    frozen: VecDeque<Arc<Memtable>>,
    /// A copy of the one that is written as it is now, if there is one and somebody reads it.
    copy: Weak<Memtable>,
}

impl Memtables {
    /// Without a row; each is frozen at about `full_bytes`.
    pub fn new(full_bytes: usize) -> Self {
        Self {
            active: Memtable::of_about(full_bytes),
            full_bytes,
            frozen: VecDeque::new(),
            copy: Weak::new(),
        }
    }

    /// The one that is written.
    pub fn active(&mut self) -> &mut Memtable {
        self.copy = Weak::new();
        &mut self.active
    }

    /// The newest version of a key among all of them.
    pub fn newest(&self, view: ViewId, row_hash: u64, key: &[u8]) -> Option<Version<'_>> {
        let older = self.frozen.iter().rev().map(|memtable| &**memtable);
        std::iter::once(&self.active)
            .chain(older)
            .find_map(|memtable| memtable.newest(row_hash, key, view))
    }

    /// Asks for the memory where rows of these hashes are about to be noted.
    pub fn ask_for(&self, row_hashes: impl Iterator<Item = u64>) {
        self.active.ask_for(row_hashes);
    }

    /// Whether the one that is written holds no row.
    pub fn is_active_empty(&self) -> bool {
        self.active.is_empty()
    }

    /// Bytes in the one that is written.
    pub fn active_bytes(&self) -> usize {
        self.active.bytes()
    }

    /// Bytes in all of them.
    pub fn bytes(&self) -> usize {
        self.active.bytes() + self.frozen.iter().map(|memtable| memtable.bytes()).sum::<usize>()
    }

    /// Versions that flushes will write.
    pub fn rows(&self) -> usize {
        self.all().map(Memtable::rows).sum()
    }

    /// Oldest and newest event time in them, microseconds.
    pub fn event_times(&self) -> Option<(i64, i64)> {
        let times = self.all().filter_map(Memtable::event_times);
        times.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
    }

    fn all(&self) -> impl Iterator<Item = &Memtable> {
        std::iter::once(&self.active).chain(self.frozen.iter().map(|memtable| &**memtable))
    }

    /// The marks of each.
    pub fn marks(&self) -> impl Iterator<Item = Arc<Marks>> {
        self.all().map(|memtable| Arc::clone(memtable.marks()))
    }

    /// How many are on their way to disk.
    pub fn frozen(&self) -> usize {
        self.frozen.len()
    }

    /// Whether no row is held.
    pub fn is_empty(&self) -> bool {
        self.is_active_empty() && self.frozen.is_empty()
    }

    /// Ends the one that is written and begins another.
    pub fn freeze(&mut self) -> Arc<Memtable> {
        let next = Memtable::of_about(self.full_bytes);
        let full = Arc::new(std::mem::replace(self.active(), next));
        self.frozen.push_back(Arc::clone(&full));
        full
    }

    /// All of them as they are now, newest first; the one that is written as a copy, unless it is empty.
    pub fn cut(&mut self) -> Vec<Arc<Memtable>> {
        let copy = (!self.active.is_empty()).then(|| {
            self.copy.upgrade().unwrap_or_else(|| {
                let copy = Arc::new(self.active.clone());
                self.copy = Arc::downgrade(&copy);
                copy
            })
        });
        copy.into_iter().chain(self.frozen.iter().rev().cloned()).collect()
    }

    /// Lets the oldest frozen one go: its rows are in tables.
    pub fn release_oldest(&mut self) {
        self.frozen.pop_front();
    }
}
