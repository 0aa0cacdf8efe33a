//! Many look-ups at once, so that their waits for memory overlap.
//!
//! Each probe goes through four passes: find the home bucket and ask for its line; match the fragment
//! and ask for the row; see how long the row is and ask for the rest of it, or look into the alternate
//! bucket for the few whose entry is a guest; verify, copy and hand over. While a probe is in a pass, the
//! one [`AHEAD`] probes behind it is in the pass before, so that every line has that many probes' worth of
//! work to arrive in.

use std::sync::atomic::Ordering;

use thermae_formats::hot_layout::header::DEPTH_WORD;
use thermae_formats::hot_layout::index::{
    BUCKET_WORDS, BucketHeader, FRAGMENT_SHIFT, LANES, cell_of, entry, entry_position, fragment_of,
    home_of, other_bucket, sealed_value,
};
use thermae_formats::hot_layout::{ROW_HEADER_WORDS, body_words_of};

use crate::error::Corruption;
use crate::lookup::{Lookup, Probe, Seen, is_mine, look_up};
use crate::map::Map;
use crate::prefetch::prefetch;
use crate::reader::HotReader;
use crate::row::{RowBuf, RowView};
use crate::sync::AtomicU64;
use crate::words::{RowCopy, copy_row};

/// Probes between one pass and the next: their lines arrive meanwhile, and fit the nearest cache.
const AHEAD: usize = 8;
/// Probes between the first and the last pass.
const WINDOW: usize = 4 * AHEAD;
/// Rows that one [`HotWriter::ask_for`](crate::HotWriter::ask_for) asks for at most.
pub const ASKED_ROWS: usize = WINDOW;
const LINE_WORDS: usize = 8;
/// Word of a row's header that has its length.
const LENGTH_WORD: usize = 3;
/// Words of a row that are asked for before they are copied: what follows comes by itself, line after line.
const PREFETCHED_WORDS: usize = 16 * LINE_WORDS;

/// A probe between passes, and what is known of it. Positions are 0 while unknown.
#[derive(Debug, Clone, Copy)]
struct Track<'k> {
    probe: Probe<'k>,
    bucket: usize,
    row: usize,
}

impl Track<'_> {
    const NONE: Self = Track {
        probe: Probe { table: u32::MAX, row_hash: 0, key: &[], schema_ids: &[] },
        bucket: 0,
        row: 0,
    };
}

/// Looks all probes up and hands each answer to `sink` with the probe's index, in order.
///
/// A probe's `table` says which of `readers` to ask; one that names none is answered
/// [`Lookup::Corrupt`]. The row inside a [`Lookup::Found`] lies in `buffer` until `sink` returns.
pub fn multi_get<'k>(
    readers: &[HotReader],
    probes: impl ExactSizeIterator<Item = Probe<'k>>,
    buffer: &mut RowBuf,
    mut sink: impl FnMut(usize, &Lookup<'_>),
) {
    let count = probes.len();
    let mut probes = probes.fuse();
    // A lone probe has nothing to overlap with.
    let ahead = if count == 1 { 0 } else { AHEAD };
    let mut tracks = [Track::NONE; WINDOW];
    for step in 0..count + 3 * ahead {
        if let Some(probe) = probes.next() {
            let track = &mut tracks[step % WINDOW];
            track.bucket =
                map_of(readers, &probe).map_or(0, |map| find_bucket(map, probe.row_hash));
            track.row = 0;
            track.probe = probe;
        }
        let second = step.wrapping_sub(ahead);
        if second < count {
            let track = &mut tracks[second % WINDOW];
            if let Some(map) = map_of(readers, &track.probe) {
                match_home(map, track);
            }
        }
        let third = step.wrapping_sub(2 * ahead);
        if third < count {
            let track = &mut tracks[third % WINDOW];
            if let Some(map) = map_of(readers, &track.probe) {
                match_alternate(map, track);
            }
        }
        let last = step.wrapping_sub(3 * ahead);
        if last < count {
            let Track { probe, row, .. } = &tracks[last % WINDOW];
            let length = deliver(readers, probe, *row, buffer);
            let row = RowView::new(&buffer.words[..length], probe.key.len());
            let answer = match row {
                Some(row) => Lookup::Found(row),
                None => carefully(readers, probe, buffer),
            };
            sink(last, &answer);
        }
    }
}

/// Asks for the lines of up to [`ASKED_ROWS`] rows.
pub(crate) fn ask_for(map: &Map, row_hashes: impl Iterator<Item = u64>) {
    let mut tracks = [Track::NONE; ASKED_ROWS];
    let mut asked = 0;
    for (track, row_hash) in tracks.iter_mut().zip(row_hashes) {
        track.probe.row_hash = row_hash;
        track.bucket = find_bucket(map, row_hash);
        asked += 1;
    }
    tracks[..asked].iter_mut().for_each(|track| match_home(map, track));
    tracks[..asked].iter_mut().for_each(|track| match_alternate(map, track));
}

#[inline]
fn map_of<'a>(readers: &'a [HotReader], probe: &Probe<'_>) -> Option<&'a Map> {
    readers.get(probe.table as usize).map(HotReader::map)
}

/// The home bucket by what depth word and directory cell say now. Nothing is checked: where they are
/// damaged or changing the row is not found, and the careful path finds out why.
#[inline]
fn find_bucket(map: &Map, row_hash: u64) -> usize {
    let words = map.words();
    let depth = load(words, DEPTH_WORD) as u32 % u64::BITS;
    let cell = map.geometry.directory_word + cell_of(fragment_of(row_hash), depth);
    let segment = sealed_value(load(words, cell)) as usize;
    let bucket = segment + home_of(row_hash) * BUCKET_WORDS;
    prefetch(words, bucket);
    bucket
}

#[inline]
fn load(words: &[AtomicU64], word: usize) -> u64 {
    words.get(word).map_or(0, |word| word.load(Ordering::Acquire))
}

#[inline]
fn match_home(map: &Map, track: &mut Track<'_>) {
    let probe = &track.probe;
    let Some((header, row)) = match_bucket(map.words(), track.bucket, probe.row_hash) else {
        return;
    };
    let fragment = fragment_of(probe.row_hash);
    track.row = row;
    if row != 0 {
        prefetch_row(map, row);
    } else if header.may_have_guest(fragment) {
        let home = home_of(probe.row_hash);
        let segment = track.bucket - home * BUCKET_WORDS;
        track.bucket = segment + other_bucket(home, fragment) * BUCKET_WORDS;
        prefetch(map.words(), track.bucket);
    } else {
        track.bucket = 0;
    }
}

#[inline]
fn match_alternate(map: &Map, track: &mut Track<'_>) {
    let probe = &track.probe;
    if track.row != 0 {
        return prefetch_rest(map, track.row);
    }
    if track.bucket == 0 {
        return;
    }
    if let Some((_, row)) = match_bucket(map.words(), track.bucket, probe.row_hash) {
        track.row = row;
        prefetch_row(map, row);
    }
}

/// A bucket's header, and the position in the first lane whose fragment matches (0: none).
#[inline]
fn match_bucket(
    words: &[AtomicU64],
    bucket: usize,
    row_hash: u64,
) -> Option<(BucketHeader, usize)> {
    let words = words.get(bucket..)?.first_chunk::<BUCKET_WORDS>()?;
    let header = BucketHeader(words[0].load(Ordering::Acquire));
    let wanted = entry(fragment_of(row_hash), false, 0);
    // From the last lane to the first, a conditional move each and no branch.
    let mut found = 0;
    for lane in (1..=LANES).rev() {
        let word = words[lane].load(Ordering::Relaxed);
        found = if (word ^ wanted) >> FRAGMENT_SHIFT == 0 { word } else { found };
    }
    Some((header, entry_position(found) as usize))
}

#[inline]
fn prefetch_row(map: &Map, row: usize) {
    prefetch(map.words(), row);
    prefetch(map.words(), row + LINE_WORDS);
}

/// Asks for the lines behind those of [`prefetch_row`], as far as the row goes by what its header says.
#[inline]
fn prefetch_rest(map: &Map, row: usize) {
    let words = map.words();
    let row_words = ROW_HEADER_WORDS + body_words_of(load(words, row + LENGTH_WORD));
    // The row begins anywhere in a line: its last word may lie one further.
    let end = row + row_words.min(PREFETCHED_WORDS);
    for word in (row + 2 * LINE_WORDS..end + LINE_WORDS - 1).step_by(LINE_WORDS) {
        prefetch(words, word.min(end - 1));
    }
}

/// Copies the row that was found and says how many words of the buffer it is; 0 if it is not there,
/// not whole or not the one that was asked for: then the careful path finds out what is.
fn deliver(readers: &[HotReader], probe: &Probe<'_>, row: usize, buffer: &mut RowBuf) -> usize {
    let Some(map) = map_of(readers, probe).filter(|_| row != 0) else { return 0 };
    match copy_row(map.words(), row, map.info.hash_seed, &mut buffer.words) {
        RowCopy::Whole(length) if is_mine(&buffer.words[..length], probe) => {
            map.touch(row);
            length
        }
        _ => 0,
    }
}

/// One probe, with every check and retry.
#[cold]
#[inline(never)]
fn carefully<'b>(readers: &[HotReader], probe: &Probe<'_>, buffer: &'b mut RowBuf) -> Lookup<'b> {
    match map_of(readers, probe) {
        Some(map) => {
            let seen = look_up(map, probe, &mut buffer.words);
            if let Seen::Found(hit) = seen {
                map.touch(hit.position);
            }
            seen.with(&buffer.words, probe.key.len())
        }
        None => Lookup::Corrupt(Corruption::at(0, "the table number of a probe")),
    }
}
