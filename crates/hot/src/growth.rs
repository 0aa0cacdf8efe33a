//! How the index grows: a full segment gives some of its cells to another one.
//!
//! One new segment is filled by several full ones, each giving about a sixth. So segments stay between
//! three quarters and nearly full, whatever the number of rows: about 85% on average, where halving
//! segments would swing from 46 to 93% in step for all of them. A move touches one segment and some hundred entries,
//! never a row, and never the rest of the table.
//!
//! A move is copy, publish, clear: entries are copied to the receiving segment, then the directory cells
//! are pointed there, then the copies left behind are cleared. A reader that used the old segment and
//! missed finds the directory changed, and looks again.
//!
//! When segments have few cells left, the directory is doubled: cell `c` is copied to `c + 2^depth`, a
//! few with every new row, and then the depth is stepped. Readers of either depth find the same segment.

use std::sync::atomic::Ordering;

use thermae_formats::hot_layout::index::{
    BUCKET_WORDS, SEGMENT_BUCKETS, SEGMENT_ENTRIES, cell_of, entry_as_guest, entry_fragment,
    entry_is_guest, other_bucket,
};

use crate::arena::Arena;
use crate::bucket::Snapshot;
use crate::index::{Index, in_segment, move_across, remove_entry, set_depth};
use crate::map::Map;

/// A segment that is emptier than this and yet cannot take an entry holds colliding keys: giving cells
/// away would not help, so the entry goes to an overflow bucket.
const GROW_FROM_ENTRIES: usize = SEGMENT_ENTRIES * 7 / 10;
/// A receiving segment takes no more cells than this leaves room for.
const FILL_TO_ENTRIES: usize = SEGMENT_ENTRIES * 4 / 5;
/// A full segment gives at least one entry in so many.
const GIVE_ONE_IN: usize = 7;
/// Cells that a segment should have when it gives some away.
const CELLS_WANTED: usize = 7;
/// The directory is doubled when it has fewer cells than this for each segment.
const CELLS_PER_SEGMENT: usize = 10;
/// Cells copied with every new row while the directory is being doubled.
const COPY_CELLS: usize = 16;

impl Index {
    /// Moves some cells of `segment` to another segment. False if that is of no use or there is no
    /// memory for it beside what `promised` rows may need; then nothing has changed for readers.
    pub(crate) fn grow(
        &mut self,
        map: &Map,
        arena: &mut Arena,
        segment: usize,
        promised: usize,
    ) -> bool {
        if self.entries(map, segment) < GROW_FROM_ENTRIES {
            return false;
        }
        let mut cells = cells_of(map, segment, self.depth);
        if cells.len() < CELLS_WANTED && self.finish_doubling(map) {
            cells = cells_of(map, segment, self.depth);
        }
        let given = choose(&cells);
        if given.is_empty() {
            return false;
        }
        let moving = cells.iter().filter(|(cell, _)| given.contains(cell)).map(|cell| cell.1).sum();
        let Some(receiver) = self.receiver(map, arena, segment, moving, promised) else {
            return false;
        };
        let mine = |fragment: u32, depth| given.contains(&cell_of(fragment, depth));
        let mut entries = Vec::with_capacity(moving);
        visit_entries(map, segment, |bucket, home, lane, entry| {
            if mine(entry_fragment(entry), self.depth) {
                entries.push((bucket, home, lane, entry));
            }
        });
        let all_fit = entries.iter().all(|&(_, home, _, entry)| {
            self.put(map, receiver, home, entry_as_guest(entry, false))
        });
        if !all_fit {
            let mut copies = Vec::new();
            visit_entries(map, receiver, |bucket, home, lane, entry| {
                if mine(entry_fragment(entry), self.depth) {
                    copies.push((bucket, home, lane, entry));
                }
            });
            self.clear(map, receiver, &copies);
            return false;
        }
        for &cell in &given {
            self.set_cell(map, cell, receiver);
        }
        self.clear(map, segment, &entries);
        bring_guests_home(map, segment);
        self.moves += 1;
        self.begin_doubling();
        true
    }

    /// The segment that takes `moving` entries: the one being filled, or a new one.
    fn receiver(
        &mut self,
        map: &Map,
        arena: &mut Arena,
        giver: usize,
        moving: usize,
        promised: usize,
    ) -> Option<usize> {
        if let Some(filling) = self.filling
            && filling != giver
            && self.entries(map, filling) + moving <= FILL_TO_ENTRIES
        {
            return Some(filling);
        }
        if self.bucket_room(arena) < promised + 2 * SEGMENT_BUCKETS {
            return None;
        }
        let segment = self.take_segment(map, arena)?;
        self.segments += 1;
        self.filling = Some(segment);
        Some(segment)
    }

    fn clear(&mut self, map: &Map, segment: usize, entries: &[(usize, usize, usize, u64)]) {
        for &(bucket, home, lane, entry) in entries {
            remove_entry(map, segment + home * BUCKET_WORDS, bucket, lane, entry);
            if in_segment(segment, bucket) {
                self.add_entries(map, segment, -1);
            }
        }
    }

    fn begin_doubling(&mut self) {
        if self.copied.is_none() && self.segments * CELLS_PER_SEGMENT > 1 << self.depth {
            self.copied = Some(0);
        }
    }

    /// Copies a few cells if the directory is being doubled.
    pub(crate) fn step_doubling(&mut self, map: &Map) {
        if self.copied.is_some() {
            self.copy_cells(map, COPY_CELLS);
        }
    }

    /// Doubles the directory now. False if it cannot get any larger.
    fn finish_doubling(&mut self, map: &Map) -> bool {
        self.copied = self.copied.or(Some(0));
        self.copy_cells(map, usize::MAX)
    }

    /// Copies up to `count` cells to the upper half, and steps the depth once all are there.
    fn copy_cells(&mut self, map: &Map, count: usize) -> bool {
        if self.depth >= map.geometry.depth_max() {
            self.copied = None;
            return false;
        }
        let cells = 1 << self.depth;
        let begin = self.copied.unwrap_or(0);
        let end = begin.saturating_add(count).min(cells);
        (begin..end).for_each(|cell| copy_cell(map, cell, cell + cells));
        self.copied = Some(end);
        if end == cells {
            self.depth += 1;
            self.copied = None;
            set_depth(map, self.depth);
            return true;
        }
        false
    }
}

/// Points cell `to` at the segment that cell `from` points at.
pub(crate) fn copy_cell(map: &Map, from: usize, to: usize) {
    let (words, directory) = (map.words(), map.geometry.directory_word);
    let cell = words[directory + from].load(Ordering::Relaxed);
    words[directory + to].store(cell, Ordering::Release);
}

/// The cells of a segment that hold entries, with their numbers of entries.
fn cells_of(map: &Map, segment: usize, depth: u32) -> Vec<(usize, usize)> {
    let mut cells: Vec<(usize, usize)> = Vec::new();
    visit_entries(map, segment, |_, _, _, entry| {
        let cell = cell_of(entry_fragment(entry), depth);
        match cells.iter_mut().find(|(known, _)| *known == cell) {
            Some((_, count)) => *count += 1,
            None => cells.push((cell, 1)),
        }
    });
    cells
}

/// Cells to give away: enough for one entry in [`GIVE_ONE_IN`], never all of them. Pure.
fn choose(cells: &[(usize, usize)]) -> Vec<usize> {
    let total: usize = cells.iter().map(|(_, count)| count).sum();
    let (mut given, mut moving) = (Vec::new(), 0);
    for &(cell, count) in cells.iter().take(cells.len().saturating_sub(1)) {
        given.push(cell);
        moving += count;
        if moving * GIVE_ONE_IN >= total {
            break;
        }
    }
    given
}

/// Calls `visit(bucket position, home number, lane, entry)` for every entry of a segment.
fn visit_entries(map: &Map, segment: usize, mut visit: impl FnMut(usize, usize, usize, u64)) {
    let words = map.words();
    for number in 0..SEGMENT_BUCKETS {
        let mut bucket = segment + number * BUCKET_WORDS;
        while let Some(snapshot) = Snapshot::load(words, bucket) {
            for (lane, &entry) in snapshot.entries().iter().enumerate().filter(|lane| *lane.1 != 0)
            {
                let home = if entry_is_guest(entry) {
                    other_bucket(number, entry_fragment(entry))
                } else {
                    number
                };
                visit(bucket, home, lane, entry);
            }
            let Some(next) = snapshot.next() else { break };
            bucket = next;
        }
    }
}

/// Moves guests to their homes where those have room again, so that a look-up needs one bucket.
fn bring_guests_home(map: &Map, segment: usize) {
    for number in 0..SEGMENT_BUCKETS {
        let bucket = segment + number * BUCKET_WORDS;
        let Some(snapshot) = Snapshot::load(map.words(), bucket) else { continue };
        for (lane, &entry) in snapshot.entries().iter().enumerate() {
            if entry_is_guest(entry) {
                move_across(map, segment, number, lane, entry);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_a_seventh_and_never_all() {
        let even: Vec<(usize, usize)> = (0..12).map(|cell| (cell, 130)).collect();
        assert_eq!(choose(&even), [0, 1]);
        assert!(choose(&[(3, 1600)]).is_empty());
        assert_eq!(choose(&[(3, 10), (4, 1000)]), [3]);
        assert_eq!(choose(&[(3, 1000), (4, 10)]), [3]);
        assert!(choose(&[]).is_empty());
    }
}
