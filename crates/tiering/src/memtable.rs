//! The newest rows of a shard in memory, until they are a table.
//!
//! A memtable only grows: bytes of versions in an arena, and an index to the newest version of each row.
//! Its shard alone writes it; a full one is frozen (nobody writes it any more) and read by the shard and
//! by the thread that flushes it alike.

mod arena;
mod index;
mod marks;
#[cfg(test)]
mod tests;

use std::ops::RangeInclusive;
use std::sync::Arc;

use thermae_formats::ViewId;
use thermae_formats::version::Version;

use arena::Arena;
pub use arena::Place;
use index::Index;
pub use marks::Marks;

/// Bytes of an entry before its version: entity hash, view, standing.
const HEAD_BYTES: usize = 13;
const STANDING_AT: usize = 12;
/// Bytes that sorting takes for each place that it returns, for as long as it lasts.
pub const SORT_BYTES_PER_ROW: usize = size_of::<Sorted>() + size_of::<Place>();

/// What a version is to its row, as far as this memtable knows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Newest = 0,
    Superseded = 1,
    /// Superseded in a view that keeps no history: as if it had never been.
    Dropped = 2,
}

/// What is sorted: enough to decide almost every comparison without a look at the arena.
type Sorted = (ViewId, u64, Place);

/// Versions in memory. A clone costs as much as copying its bytes.
#[derive(Clone)]
pub struct Memtable {
    arena: Arena,
    index: Index,
    /// Shared with readers, and with clones: those are of no more rows.
    marks: Arc<Marks>,
    latest_rows: usize,
    history_rows: usize,
    event_times: Option<(i64, i64)>,
}

impl Default for Memtable {
    fn default() -> Self {
        Self::new()
    }
}

impl Memtable {
    /// Without rows; some 8 KiB of index are taken.
    pub fn new() -> Self {
        Self::of_about(0)
    }

    /// The same, with marks for about as many bytes as will be in it.
    pub fn of_about(bytes: usize) -> Self {
        Self {
            arena: Arena::default(),
            index: Index::new(),
            marks: Arc::new(Marks::for_memtable(bytes)),
            latest_rows: 0,
            history_rows: 0,
            event_times: None,
        }
    }

    /// Heap bytes, the index and what is allocated but not used yet included; without its marks, of which a copy
    /// has none of its own.
    pub fn bytes(&self) -> usize {
        self.arena.bytes() + self.index.bytes()
    }

    /// Versions that a flush will write: newest and superseded ones.
    pub fn rows(&self) -> usize {
        self.latest_rows + self.history_rows
    }

    /// Oldest and newest event time of the versions that were put, microseconds; those of which a flush
    /// will write nothing included.
    pub fn event_times(&self) -> Option<(i64, i64)> {
        self.event_times
    }

    /// Whether a flush would write nothing.
    pub fn is_empty(&self) -> bool {
        self.rows() == 0
    }

    /// The newest version of a key, if this memtable has one; a tombstone is one too.
    pub fn newest(&self, row_hash: u64, key: &[u8], view: ViewId) -> Option<Version<'_>> {
        let place = self.index.get(row_hash, |place| is_row(&self.arena, place, view, key))?;
        Some(self.version(place).2)
    }

    /// Which rows it may have, as far as any thread can tell.
    pub fn marks(&self) -> &Arc<Marks> {
        &self.marks
    }

    /// Asks for the memory of the index where rows of these hashes are about to be noted, so that the
    /// waits for it overlap.
    pub fn ask_for(&self, row_hashes: impl Iterator<Item = u64>) {
        self.index.ask_for(row_hashes);
    }

    /// Asks for the memory of versions that are about to be read one by one.
    pub fn ask_for_versions(&self, places: &[Place]) {
        // Loads that nothing depends on overlap by themselves.
        let heads = places.iter().map(|place| self.arena.at(*place)[STANDING_AT]);
        std::hint::black_box(heads.fold(0, |all, head| all ^ head));
    }

    /// Notes a version that is now the newest of its key. The one that was becomes history, or nothing
    /// where the view keeps none.
    pub fn put_newest(
        &mut self,
        view: ViewId,
        entity_hash: u64,
        row_hash: u64,
        version: &Version<'_>,
        keeps_history: bool,
    ) {
        let place = self.push(view, entity_hash, version, Standing::Newest);
        self.marks.set(row_hash);
        let arena = &self.arena;
        let is_it = |other| is_row(arena, other, view, version.key);
        let Some(before) = self.index.set(row_hash, place, is_it) else {
            self.latest_rows += 1;
            return;
        };
        let standing = if keeps_history { Standing::Superseded } else { Standing::Dropped };
        self.history_rows += usize::from(keeps_history);
        self.arena.at_mut(before)[STANDING_AT] = standing as u8;
    }

    /// Notes a version that came after a newer one of its key: history only.
    pub fn put_late(&mut self, view: ViewId, entity_hash: u64, version: &Version<'_>) {
        self.push(view, entity_hash, version, Standing::Superseded);
        self.history_rows += 1;
    }

    /// The newest version of each key, in table order.
    pub fn latest_sorted(&self) -> Vec<Place> {
        self.sorted(Standing::Newest, self.latest_rows)
    }

    /// The superseded versions, in table order: those of one key newest first.
    pub fn history_sorted(&self) -> Vec<Place> {
        self.sorted(Standing::Superseded, self.history_rows)
    }

    /// The versions of one view in a range of entity hashes, in table order: the newest of each key, and
    /// the superseded ones too if asked for.
    pub fn view_sorted(
        &self,
        view: ViewId,
        hashes: &RangeInclusive<u64>,
        with_superseded: bool,
    ) -> Vec<Place> {
        let is_wanted = |standing| {
            standing == Standing::Newest as u8
                || (with_superseded && standing == Standing::Superseded as u8)
        };
        self.sorted_where(0, |standing, (of, hash)| {
            is_wanted(standing) && of == view && hashes.contains(&hash)
        })
    }

    /// The version at a place of this memtable, with its view and entity hash.
    pub fn version(&self, place: Place) -> (ViewId, u64, Version<'_>) {
        let (view, entity_hash) = head(self.arena.at(place));
        (view, entity_hash, version_at(&self.arena, place))
    }

    fn push(
        &mut self,
        view: ViewId,
        entity_hash: u64,
        version: &Version<'_>,
        standing: Standing,
    ) -> Place {
        let time = version.event_time;
        let (oldest, newest) = self.event_times.unwrap_or((time, time));
        self.event_times = Some((oldest.min(time), newest.max(time)));
        self.arena.push(HEAD_BYTES + version.encoded_bytes(), |out| {
            out.extend_from_slice(&entity_hash.to_le_bytes());
            out.extend_from_slice(&view.0.to_le_bytes());
            out.push(standing as u8);
            version.encode(out);
        })
    }

    fn sorted(&self, standing: Standing, rows: usize) -> Vec<Place> {
        self.sorted_where(rows, |found, _| found == standing as u8)
    }

    fn sorted_where(
        &self,
        rows: usize,
        is_wanted: impl Fn(u8, (ViewId, u64)) -> bool,
    ) -> Vec<Place> {
        let mut found: Vec<Sorted> = Vec::with_capacity(rows);
        let all = self.arena.places(|entry| HEAD_BYTES + decode(entry).encoded_bytes());
        for place in all {
            let entry = self.arena.at(place);
            let (view, entity_hash) = head(entry);
            if is_wanted(entry[STANDING_AT], (view, entity_hash)) {
                found.push((view, entity_hash, place));
            }
        }
        found.sort_unstable_by(|a, b| {
            (a.0, a.1).cmp(&(b.0, b.1)).then_with(|| {
                let (a, b) = (version_at(&self.arena, a.2), version_at(&self.arena, b.2));
                a.key.cmp(b.key).then(b.order().cmp(&a.order()))
            })
        });
        found.into_iter().map(|(_, _, place)| place).collect()
    }
}

fn head(entry: &[u8]) -> (ViewId, u64) {
    let mut hash = [0; 8];
    hash.copy_from_slice(&entry[..8]);
    let mut view = [0; 4];
    view.copy_from_slice(&entry[8..STANDING_AT]);
    (ViewId(u32::from_le_bytes(view)), u64::from_le_bytes(hash))
}

fn is_row(arena: &Arena, place: Place, view: ViewId, key: &[u8]) -> bool {
    head(arena.at(place)).0 == view && version_at(arena, place).key == key
}

fn version_at(arena: &Arena, place: Place) -> Version<'_> {
    decode(arena.at(place))
}

/// The version of an entry. Its bytes are this memtable's own, written by [`Version::encode`].
fn decode(entry: &[u8]) -> Version<'_> {
    match Version::split_first(&entry[HEAD_BYTES..]) {
        Ok((version, _)) => version,
        Err(error) => unreachable!("a memtable's own bytes do not read back: {error}"),
    }
}
