//! The writer's side of the index: finding, placing, moving and removing entries.
//!
//! An entry goes to its home bucket; failing that to its alternate, as a guest; failing that one entry of
//! either bucket is moved to *its* other bucket to make room; failing that the segment gives cells away
//! (`growth.rs`); failing that the home bucket gets an overflow bucket. The last always works while
//! there is a free bucket of memory, and it is what makes a reserved row certain to be taken: with keys
//! chosen to collide in every bit of their hash, the index gets slow in proportion to their number and
//! stays right.

use std::sync::atomic::Ordering;

use thermae_formats::hot_layout::CHUNK_WORDS;
use thermae_formats::hot_layout::header::{DEPTH_MIN, DEPTH_WORD, depth_word};
use thermae_formats::hot_layout::index::{
    BUCKET_WORDS, LINK_LANE, SEGMENT_BUCKETS, SEGMENT_WORDS, entry, entry_as_guest, entry_fragment,
    entry_is_guest, entry_position, fragment_matches, other_bucket, seal_word,
};

use crate::arena::Arena;
use crate::bucket::{Open, Snapshot, Standing};
use crate::error::Corruption;
use crate::lookup::{Place, Probe, Verdict, verify_row};
use crate::map::Map;

/// Segments in a chunk.
const SEGMENTS_PER_CHUNK: usize = CHUNK_WORDS / SEGMENT_WORDS;

/// What the writer remembers of the index.
pub(crate) struct Index {
    /// Entries of each segment, by the place in the arena where it might lie.
    entries: Vec<u16>,
    pub(crate) segments: usize,
    /// The segment that takes cells from full ones, until it has its share.
    pub(crate) filling: Option<usize>,
    spare_segments: Vec<usize>,
    spare_buckets: Vec<usize>,
    pub(crate) overflow_buckets: usize,
    pub(crate) index_chunks: usize,
    pub(crate) depth: u32,
    /// Cells already copied to the upper half of a directory that is being doubled.
    pub(crate) copied: Option<usize>,
    /// Times that cells were moved.
    pub(crate) moves: u64,
}

/// Where an entry lies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Located {
    pub(crate) place: Place,
    /// Position of the bucket.
    pub(crate) bucket: usize,
    pub(crate) lane: usize,
    pub(crate) entry: u64,
}

impl Index {
    /// Builds an empty index of one segment. None if the arena has no chunk for it.
    pub(crate) fn new(map: &Map, arena: &mut Arena) -> Option<Index> {
        let mut index = Index {
            entries: vec![0; map.geometry.chunks * SEGMENTS_PER_CHUNK],
            segments: 0,
            filling: None,
            spare_segments: Vec::new(),
            spare_buckets: Vec::new(),
            overflow_buckets: 0,
            index_chunks: 0,
            depth: DEPTH_MIN,
            copied: None,
            moves: 0,
        };
        let segment = index.take_segment(map, arena)?;
        index.segments = 1;
        for cell in 0..1 << DEPTH_MIN {
            index.set_cell(map, cell, segment);
        }
        set_depth(map, DEPTH_MIN);
        Some(index)
    }

    /// Overflow buckets that could be had: the last resort of every row still to be placed.
    pub(crate) fn bucket_room(&self, arena: &Arena) -> usize {
        let segments = self.spare_segments.len() + arena.free_chunks() * SEGMENTS_PER_CHUNK;
        self.spare_buckets.len() + segments * SEGMENT_BUCKETS
    }

    /// Entries in the segment at a position, overflow buckets not counted.
    pub(crate) fn entries(&self, map: &Map, segment: usize) -> usize {
        usize::from(self.entries[ordinal(map, segment)])
    }

    pub(crate) fn add_entries(&mut self, map: &Map, segment: usize, change: isize) {
        let count = &mut self.entries[ordinal(map, segment)];
        *count = count.saturating_add_signed(change as i16);
    }

    /// Points a directory cell at a segment, in both halves of a directory that is being doubled.
    pub(crate) fn set_cell(&self, map: &Map, cell: usize, segment: usize) {
        point_cell(map, cell, segment);
        #[cfg(test)]
        crate::hooks::at_write();
        if self.copied.is_some_and(|copied| cell < copied) {
            point_cell(map, cell + (1 << self.depth), segment);
        }
    }

    /// Finds the entry of a row; a damaged row on the way is passed over.
    pub(crate) fn locate(
        &self,
        map: &Map,
        probe: &Probe<'_>,
        buffer: &mut Vec<u64>,
    ) -> Result<Option<Located>, Corruption> {
        let mut found = None;
        let place = Place::find(map, probe.row_hash)?;
        visit_candidates(map, &place, |located| {
            let position = entry_position(located.entry) as usize;
            let mine = matches!(verify_row(map, position, probe, buffer), Verdict::Mine(_));
            if mine {
                found = Some(located);
            }
            mine
        })?;
        Ok(found)
    }

    /// Finds the entry that leads to a position, by the hash of the row that lies there.
    pub(crate) fn locate_position(
        &self,
        map: &Map,
        row_hash: u64,
        position: usize,
    ) -> Result<Option<Located>, Corruption> {
        let mut found = None;
        visit_candidates(map, &Place::find(map, row_hash)?, |located| {
            let leads_there = entry_position(located.entry) as usize == position;
            if leads_there {
                found = Some(located);
            }
            leads_there
        })?;
        Ok(found)
    }

    /// Entries of this row hash whose rows do not verify.
    pub(crate) fn damaged(
        &self,
        map: &Map,
        row_hash: u64,
        buffer: &mut Vec<u64>,
    ) -> Result<Vec<Located>, Corruption> {
        let mut damaged = Vec::new();
        let probe = Probe { table: 0, row_hash, key: &[], schema_ids: &[] };
        visit_candidates(map, &Place::find(map, row_hash)?, |located| {
            let position = entry_position(located.entry) as usize;
            if verify_row(map, position, &probe, buffer) == Verdict::Damaged {
                damaged.push(located);
            }
            false
        })?;
        Ok(damaged)
    }

    /// Adds the entry of a new row. `promised` rows beside this one must still find a bucket.
    /// False only if the caller made no reservation, or the directory is damaged.
    pub(crate) fn insert(
        &mut self,
        map: &Map,
        arena: &mut Arena,
        row_hash: u64,
        position: usize,
        promised: usize,
    ) -> bool {
        self.step_doubling(map);
        for _ in 0..3 {
            let Ok(place) = Place::find(map, row_hash) else { return false };
            let new = entry(place.fragment, false, position as u64);
            if self.put(map, place.segment, place.home, new) {
                return true;
            }
            if !self.grow(map, arena, place.segment, promised) {
                break;
            }
        }
        let Ok(place) = Place::find(map, row_hash) else { return false };
        self.put_behind(map, arena, &place, entry(place.fragment, false, position as u64))
    }

    /// Puts `new` (not marked as a guest) into its home or alternate bucket, or makes room there.
    pub(crate) fn put(&mut self, map: &Map, segment: usize, home: usize, new: u64) -> bool {
        let other = other_bucket(home, entry_fragment(new));
        let done = put_free(map, segment, home, new)
            || [home, other].into_iter().any(|bucket| make_room(map, segment, bucket))
                && put_free(map, segment, home, new);
        if done {
            self.add_entries(map, segment, 1);
        }
        done
    }

    /// Puts `new` into the overflow buckets behind its home.
    fn put_behind(&mut self, map: &Map, arena: &mut Arena, place: &Place, new: u64) -> bool {
        let words = map.words();
        let home_bucket = place.home_bucket();
        let mut bucket = home_bucket;
        let last = loop {
            let Some(snapshot) = Snapshot::load(words, bucket) else { return false };
            if let Some(lane) = snapshot.free_lane() {
                edit(map, home_bucket, bucket, |_, at| at.set(lane, new));
                self.add_entries(map, place.segment, isize::from(bucket == home_bucket));
                return true;
            }
            match snapshot.next() {
                Some(next) => bucket = next,
                None => break snapshot,
            }
        };
        let Some(behind) = self.take_bucket(map, arena) else { return false };
        link(map, home_bucket, bucket, behind, [last.lanes[LINK_LANE], new]);
        self.overflow_buckets += 1;
        if bucket == home_bucket {
            self.add_entries(map, place.segment, -1);
        }
        true
    }

    /// Points the entry at another position.
    pub(crate) fn replace(&self, map: &Map, located: &Located, position: usize) {
        let new =
            entry(entry_fragment(located.entry), entry_is_guest(located.entry), position as u64);
        edit(map, located.place.home_bucket(), located.bucket, |_, at| at.set(located.lane, new));
    }

    /// Removes the entry.
    pub(crate) fn remove(&mut self, map: &Map, located: &Located) {
        let home_bucket = located.place.home_bucket();
        remove_entry(map, home_bucket, located.bucket, located.lane, located.entry);
        if in_segment(located.place.segment, located.bucket) {
            self.add_entries(map, located.place.segment, -1);
        }
    }

    /// A segment of empty buckets, from memory that nobody uses.
    pub(crate) fn take_segment(&mut self, map: &Map, arena: &mut Arena) -> Option<usize> {
        if self.spare_segments.is_empty() {
            let chunk = arena.take_index_chunk(map)?;
            self.index_chunks += 1;
            let segments = (0..SEGMENTS_PER_CHUNK).rev();
            self.spare_segments.extend(segments.map(|number| chunk + number * SEGMENT_WORDS));
        }
        let segment = self.spare_segments.pop()?;
        for word in &map.words()[segment..segment + SEGMENT_WORDS] {
            word.store(0, Ordering::Relaxed);
        }
        Some(segment)
    }

    fn take_bucket(&mut self, map: &Map, arena: &mut Arena) -> Option<usize> {
        if self.spare_buckets.is_empty() {
            let segment = self.take_segment(map, arena)?;
            let buckets = (0..SEGMENT_BUCKETS).rev();
            self.spare_buckets.extend(buckets.map(|number| segment + number * BUCKET_WORDS));
        }
        self.spare_buckets.pop()
    }
}

fn ordinal(map: &Map, segment: usize) -> usize {
    (segment - map.geometry.arena_word) / SEGMENT_WORDS
}

/// Whether a bucket is one of the segment's own.
pub(crate) fn in_segment(segment: usize, bucket: usize) -> bool {
    (segment..segment + SEGMENT_WORDS).contains(&bucket)
}

/// Changes the bucket at `at` with the versions of it and of the home bucket odd meanwhile. `change`
/// gets the home and the bucket; they are handed over as one if they are one.
pub(crate) fn edit(
    map: &Map,
    home: usize,
    at: usize,
    change: impl FnOnce(Option<&mut Open<'_>>, &mut Open<'_>),
) {
    let words = map.words();
    let mut home_open = if home == at { None } else { Open::new(words, home) };
    let Some(mut at_open) = Open::new(words, at) else { return };
    change(home_open.as_mut(), &mut at_open);
    at_open.close();
    if let Some(home_open) = home_open {
        home_open.close();
    }
}

/// Tells readers how many cells the directory has.
pub(crate) fn set_depth(map: &Map, depth: u32) {
    map.words()[DEPTH_WORD].store(depth_word(depth), Ordering::Release);
}

/// Points one directory cell at a segment.
pub(crate) fn point_cell(map: &Map, cell: usize, segment: usize) {
    let word = map.geometry.directory_word + cell;
    map.words()[word].store(seal_word(segment as u64), Ordering::Release);
}

/// Makes the last lane of `last` the link to the empty bucket `behind`, which gets `entries`: the one
/// that lay in that lane, and a new one. They are there first, so that a reader finds the old one in one
/// place or the other.
pub(crate) fn link(map: &Map, home: usize, last: usize, behind: usize, entries: [u64; 2]) {
    edit(map, behind, behind, |_, at| {
        entries.into_iter().enumerate().for_each(|(lane, entry)| at.set(lane, entry));
    });
    edit(map, home, last, |_, at| {
        at.set(LINK_LANE, behind as u64);
        at.set_header(|header| header.with_chain());
    });
}

/// Removes an entry from a lane, wherever the bucket lies.
pub(crate) fn remove_entry(map: &Map, home: usize, bucket: usize, lane: usize, entry: u64) {
    edit(map, home, bucket, |home, at| {
        at.set(lane, 0);
        if entry_is_guest(entry)
            && let Some(home) = home
        {
            home.set_header(|header| header.without_guest());
        }
    });
}

/// Puts `new` into a free lane of its home, or else of its alternate bucket.
pub(crate) fn put_free(map: &Map, segment: usize, home: usize, new: u64) -> bool {
    let words = map.words();
    let home_bucket = segment + home * BUCKET_WORDS;
    let fragment = entry_fragment(new);
    if let Some(lane) = Snapshot::load(words, home_bucket).and_then(|home| home.free_lane()) {
        edit(map, home_bucket, home_bucket, |_, at| at.set(lane, new));
        return true;
    }
    let other = segment + other_bucket(home, fragment) * BUCKET_WORDS;
    if let Some(lane) = Snapshot::load(words, other).and_then(|other| other.free_lane()) {
        edit(map, home_bucket, other, |home, at| {
            at.set(lane, entry_as_guest(new, true));
            if let Some(home) = home {
                home.set_header(|header| header.with_guest(fragment));
            }
        });
        return true;
    }
    false
}

/// Frees a lane of a full bucket by moving one of its entries to that entry's other bucket: a guest
/// home if one can go, otherwise anybody; and if nobody can go at once, after making room there.
fn make_room(map: &Map, segment: usize, bucket: usize) -> bool {
    let words = map.words();
    let Some(full) = Snapshot::load(words, segment + bucket * BUCKET_WORDS) else { return false };
    for guests in [true, false] {
        for (lane, &entry) in full.entries().iter().enumerate() {
            if entry_is_guest(entry) == guests && move_across(map, segment, bucket, lane, entry) {
                return true;
            }
        }
    }
    for (lane, &entry) in full.entries().iter().enumerate() {
        let other = other_bucket(bucket, entry_fragment(entry));
        let Some(next) = Snapshot::load(words, segment + other * BUCKET_WORDS) else { continue };
        let moved = next.entries().iter().enumerate().any(|(next_lane, &next_entry)| {
            other_bucket(other, entry_fragment(next_entry)) != bucket
                && move_across(map, segment, other, next_lane, next_entry)
        });
        if moved && move_across(map, segment, bucket, lane, entry) {
            return true;
        }
    }
    false
}

/// Moves an entry to its other bucket if that has a free lane.
pub(crate) fn move_across(
    map: &Map,
    segment: usize,
    bucket: usize,
    lane: usize,
    entry: u64,
) -> bool {
    let words = map.words();
    let (fragment, guest) = (entry_fragment(entry), entry_is_guest(entry));
    let from = segment + bucket * BUCKET_WORDS;
    let to = segment + other_bucket(bucket, fragment) * BUCKET_WORDS;
    let Some(free) = Snapshot::load(words, to).and_then(|to| to.free_lane()) else { return false };
    edit(map, from, to, |from, to| {
        let Some(from) = from else { return };
        to.set(free, entry_as_guest(entry, !guest));
        from.set(lane, 0);
        if guest {
            to.set_header(|header| header.without_guest());
        } else {
            from.set_header(|header| header.with_guest(fragment));
        }
    });
    true
}

/// Calls `visit` for every entry whose fragment matches, until it says that it is done.
fn visit_candidates(
    map: &Map,
    place: &Place,
    mut visit: impl FnMut(Located) -> bool,
) -> Result<(), Corruption> {
    let words = map.words();
    for mut bucket in [place.home_bucket(), place.alternate_bucket()] {
        // A chain visits a bucket once, so a longer walk than there are buckets is a loop.
        for _ in 0..words.len() / BUCKET_WORDS {
            let Some(snapshot) = Snapshot::load(words, bucket) else {
                return Err(Corruption::at(bucket, "an index link"));
            };
            if snapshot.standing(words, bucket) != Standing::Whole {
                return Err(Corruption::at(bucket, "an index bucket"));
            }
            for (lane, &entry) in snapshot.entries().iter().enumerate() {
                if fragment_matches(entry, place.fragment)
                    && visit(Located { place: *place, bucket, lane, entry })
                {
                    return Ok(());
                }
            }
            match snapshot.next() {
                Some(next) => bucket = next,
                None => break,
            }
        }
    }
    Ok(())
}
