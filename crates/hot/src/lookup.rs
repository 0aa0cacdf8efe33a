//! One look-up, from row hash to a verified copy of the row.

use std::sync::atomic::Ordering;

use thermae_formats::hot_layout::header::DEPTH_WORD;
use thermae_formats::hot_layout::index::{
    BUCKET_WORDS, cell_of, entry_position, fragment_matches, fragment_of, home_of, other_bucket,
    unseal_word,
};

use crate::bucket::{Snapshot, Standing};
use crate::error::Corruption;
use crate::map::Map;
use crate::row::RowView;
use crate::sync::{AtomicU64, fence};
use crate::words::{RowCopy, copy_row};

/// Attempts before a look-up answers [`Lookup::Busy`]: some microseconds of a writer that is at work,
/// and soon over if the writer died with the row half written. A model needs no more than it takes to
/// tell damage from a race.
const ATTEMPTS: u32 = if cfg!(all(test, loom)) { 2 } else { 100 };

/// What is looked up.
#[derive(Debug, Clone, Copy)]
pub struct Probe<'a> {
    /// Which of the readers given to [`crate::multi_get`] holds the row.
    pub table: u32,
    /// `formats::hash::row_hash` of the entity and the view.
    pub row_hash: u64,
    /// The encoded entity key.
    pub key: &'a [u8],
    /// Schemas of the view: a row under another one belongs to another view.
    pub schema_ids: &'a [u16],
}

/// The answer to a [`Probe`].
#[derive(Debug, Clone, Copy)]
pub enum Lookup<'a> {
    /// The row, copied and verified. It may be a tombstone, and it may have expired.
    Found(RowView<'a>),
    /// At some time during the look-up the table held no such row. It may exist in a lower tier, unless
    /// [`crate::HotReader::stayed_complete`].
    Absent,
    /// Something on the way does not match its checksum; whether there is a row cannot be told.
    Corrupt(Corruption),
    /// The writer was changing the row all the while, or died doing so: ask the row's owner.
    Busy,
}

/// A row that was found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hit {
    /// Words of the row in the buffer.
    pub(crate) length: usize,
    pub(crate) position: usize,
}

/// [`Lookup`] before the row is borrowed from the buffer.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Seen {
    Found(Hit),
    Absent,
    Corrupt(Corruption),
    Busy,
}

impl Seen {
    /// The answer, its row borrowed from `buffer`.
    #[inline]
    pub(crate) fn with<'a>(self, buffer: &'a [u64], key_bytes: usize) -> Lookup<'a> {
        match self {
            Seen::Found(hit) => {
                let row = buffer.get(..hit.length).and_then(|words| RowView::new(words, key_bytes));
                row.map_or(Lookup::Absent, Lookup::Found)
            }
            Seen::Absent => Lookup::Absent,
            Seen::Corrupt(corruption) => Lookup::Corrupt(corruption),
            Seen::Busy => Lookup::Busy,
        }
    }
}

/// Looks one probe up; the row, if found, is in `buffer`.
pub(crate) fn look_up(map: &Map, probe: &Probe<'_>, buffer: &mut Vec<u64>) -> Seen {
    let mut damage_seen = false;
    for attempt in 0..ATTEMPTS {
        match Attempt::new(map, probe).run(buffer) {
            Ok(Some(hit)) => return Seen::Found(hit),
            Ok(None) => return Seen::Absent,
            Err(Doubt::Damaged(corruption)) if damage_seen => return Seen::Corrupt(corruption),
            Err(Doubt::Damaged(_)) => damage_seen = true,
            Err(Doubt::Changing) => {
                for _ in 0..1 << attempt.min(6) {
                    std::hint::spin_loop();
                }
            }
        }
    }
    Seen::Busy
}

/// Where the index says that a row hash belongs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) fragment: u32,
    /// Position of the segment.
    pub(crate) segment: usize,
    /// Number of the home bucket.
    pub(crate) home: usize,
    depth_word: u64,
    cell_word: u64,
    /// Position of the directory cell.
    pub(crate) cell: usize,
}

impl Place {
    /// Reads depth and directory cell.
    #[inline]
    pub(crate) fn find(map: &Map, row_hash: u64) -> Result<Place, Corruption> {
        let words = map.words();
        let fragment = fragment_of(row_hash);
        let depth_word = load(words, DEPTH_WORD);
        let depth = match unseal_word(depth_word) {
            Some(depth) if depth <= u64::from(map.geometry.depth_max()) => depth as u32,
            _ => return Err(Corruption::at(DEPTH_WORD, "the directory's depth")),
        };
        let cell = map.geometry.directory_word + cell_of(fragment, depth);
        let cell_word = load(words, cell);
        match unseal_word(cell_word) {
            Some(segment) => Ok(Place {
                fragment,
                segment: segment as usize,
                home: home_of(row_hash),
                depth_word,
                cell_word,
                cell,
            }),
            None => Err(Corruption::at(cell, "a directory cell")),
        }
    }

    /// Position of the home bucket.
    #[inline]
    pub(crate) fn home_bucket(&self) -> usize {
        self.segment + self.home * BUCKET_WORDS
    }

    /// Position of the alternate bucket.
    #[inline]
    pub(crate) fn alternate_bucket(&self) -> usize {
        self.segment + other_bucket(self.home, self.fragment) * BUCKET_WORDS
    }

    fn still_holds(&self, words: &[AtomicU64]) -> bool {
        fence(Ordering::Acquire);
        load(words, self.cell) == self.cell_word && load(words, DEPTH_WORD) == self.depth_word
    }
}

#[inline]
fn load(words: &[AtomicU64], word: usize) -> u64 {
    words.get(word).map_or(0, |word| word.load(Ordering::Acquire))
}

/// Why an attempt gave no answer.
#[derive(Debug, Clone, Copy)]
enum Doubt {
    Changing,
    Damaged(Corruption),
}

/// One walk through the places where a row may be.
struct Attempt<'a> {
    map: &'a Map,
    probe: &'a Probe<'a>,
    changing: bool,
    damaged: Option<Corruption>,
}

impl<'a> Attempt<'a> {
    fn new(map: &'a Map, probe: &'a Probe<'a>) -> Attempt<'a> {
        Attempt { map, probe, changing: false, damaged: None }
    }

    /// The row, copied to `buffer`, or none if it is surely absent.
    fn run(mut self, buffer: &mut Vec<u64>) -> Result<Option<Hit>, Doubt> {
        let words = self.map.words();
        let place = Place::find(self.map, self.probe.row_hash).map_err(Doubt::Damaged)?;
        #[cfg(test)]
        crate::hooks::at_read();
        let home_bucket = place.home_bucket();
        let Some(home) = Snapshot::load(words, home_bucket) else {
            return Err(Doubt::Damaged(Corruption::at(place.cell, "a directory cell")));
        };
        if let Some(hit) = self.walk(home_bucket, home, place.fragment, buffer) {
            return Ok(Some(hit));
        }
        if home.header.may_have_guest(place.fragment) {
            let alternate_bucket = place.alternate_bucket();
            if let Some(alternate) = Snapshot::load(words, alternate_bucket)
                && let Some(hit) = self.walk(alternate_bucket, alternate, place.fragment, buffer)
            {
                return Ok(Some(hit));
            }
        }
        if self.changing || home.has_changed(words, home_bucket) || !place.still_holds(words) {
            return Err(Doubt::Changing);
        }
        self.damaged.map_or(Ok(None), |corruption| Err(Doubt::Damaged(corruption)))
    }

    /// Walks a bucket and the overflow buckets behind it.
    fn walk(
        &mut self,
        mut bucket: usize,
        mut snapshot: Snapshot,
        fragment: u32,
        buffer: &mut Vec<u64>,
    ) -> Option<Hit> {
        let words = self.map.words();
        // A chain visits a bucket once, so a longer walk than there are buckets is a loop.
        for _ in 0..words.len() / BUCKET_WORDS {
            for &entry in
                snapshot.entries().iter().filter(|&&lane| fragment_matches(lane, fragment))
            {
                let position = entry_position(entry) as usize;
                match self.verify(position, buffer) {
                    Verdict::Mine(length) => return Some(Hit { length, position }),
                    Verdict::Other => {}
                    Verdict::Changing => self.changing = true,
                    Verdict::Damaged => {
                        self.damaged = Some(Corruption::at(position, "a row"));
                    }
                }
            }
            match snapshot.standing(words, bucket) {
                Standing::Whole => {}
                Standing::Changing => self.changing = true,
                Standing::Damaged => {
                    self.damaged = Some(Corruption::at(bucket, "an index bucket"));
                    return None;
                }
            }
            bucket = snapshot.next()?;
            let Some(next) = Snapshot::load(words, bucket) else {
                self.damaged = Some(Corruption::at(bucket, "an overflow link"));
                return None;
            };
            snapshot = next;
        }
        self.damaged = Some(Corruption::at(bucket, "an overflow chain"));
        None
    }

    fn verify(&self, position: usize, buffer: &mut Vec<u64>) -> Verdict {
        verify_row(self.map, position, self.probe, buffer)
    }
}

/// What a row turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The row that was asked for, in so many words.
    Mine(usize),
    /// A whole row with another key, or of another view.
    Other,
    Changing,
    Damaged,
}

/// Compares keys; those of one word, the most common ones, without a call.
#[inline]
fn same_key(a: &[u8], b: &[u8]) -> bool {
    match (<[u8; 8]>::try_from(a), <[u8; 8]>::try_from(b)) {
        (Ok(a), Ok(b)) => u64::from_ne_bytes(a) == u64::from_ne_bytes(b),
        _ => a == b,
    }
}

/// Whether the probe's view has this schema; nearly always it is the newest, the last.
#[inline]
fn names(probe: &Probe<'_>, schema_id: u16) -> bool {
    probe.schema_ids.last() == Some(&schema_id) || probe.schema_ids.contains(&schema_id)
}

/// Copies the row at `position` and compares it with the probe.
#[inline]
pub(crate) fn verify_row(
    map: &Map,
    position: usize,
    probe: &Probe<'_>,
    buffer: &mut Vec<u64>,
) -> Verdict {
    match copy_row(map.words(), position, map.info.hash_seed, buffer) {
        RowCopy::Whole(length) if is_mine(&buffer[..length], probe) => Verdict::Mine(length),
        RowCopy::Whole(_) => Verdict::Other,
        RowCopy::Damaged => Verdict::Damaged,
        RowCopy::Changing => Verdict::Changing,
    }
}

/// Whether the whole row in `words` is the one that was asked for.
#[inline]
pub(crate) fn is_mine(words: &[u64], probe: &Probe<'_>) -> bool {
    // No closure: it was not always taken in line.
    let Some(row) = RowView::new(words, probe.key.len()) else { return false };
    same_key(row.key(), probe.key) && names(probe, row.schema_id())
}
