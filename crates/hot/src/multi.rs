//! Many look-ups at once, so that their waits for memory overlap.
//!
//! Probes go in groups through four passes: find the home bucket and ask for its line; match the
//! fragment and ask for the row; the same in the alternate bucket, for the few whose entry is a guest;
//! verify, copy and hand over. While one group is in a pass, the groups behind it are in the passes
//! before, so that every line has about a group's worth of work to arrive in.

use thermae_formats::hot_layout::index::{BucketHeader, LANES, entry, entry_position, fragment_of};

use crate::bucket::Snapshot;
use crate::error::Corruption;
use crate::lookup::{Lookup, Place, Probe, Seen, Verdict, look_up, verify_row};
use crate::map::Map;
use crate::prefetch::prefetch;
use crate::reader::HotReader;
use crate::row::RowBuf;

/// Probes in a group: about as many as a core can have lines under way.
const GROUP: usize = 16;
const PASSES: usize = 4;
/// Probes between the first and the last pass.
const WINDOW: usize = GROUP * PASSES;
const LINE_WORDS: usize = 8;

/// What is known of a probe between passes. Positions are 0 while unknown.
#[derive(Debug, Clone, Copy, Default)]
struct Track {
    bucket: usize,
    alternate: usize,
    row: usize,
}

/// Looks all probes up and hands each answer to `sink` with the probe's index, in order.
///
/// A probe's `table` says which of `readers` to ask; one that names none is answered
/// [`Lookup::Corrupt`]. The row inside a [`Lookup::Found`] lies in `buffer` until `sink` returns.
pub fn multi_get(
    readers: &[HotReader],
    probes: &[Probe<'_>],
    buffer: &mut RowBuf,
    mut sink: impl FnMut(usize, Lookup<'_>),
) {
    let mut tracks = [Track::default(); WINDOW];
    let groups = probes.len().div_ceil(GROUP);
    let range = |group: usize| group * GROUP..((group + 1) * GROUP).min(probes.len());
    for step in 0..groups + PASSES - 1 {
        if step < groups {
            for index in range(step) {
                tracks[index % WINDOW] = find_bucket(readers, &probes[index]);
            }
        }
        if let Some(group) = step.checked_sub(1).filter(|&group| group < groups) {
            for index in range(group) {
                match_home(readers, &probes[index], &mut tracks[index % WINDOW]);
            }
        }
        if let Some(group) = step.checked_sub(2).filter(|&group| group < groups) {
            for index in range(group) {
                match_alternate(readers, &probes[index], &mut tracks[index % WINDOW]);
            }
        }
        if let Some(group) = step.checked_sub(3) {
            for index in range(group) {
                let probe = &probes[index];
                let seen = deliver(readers, probe, tracks[index % WINDOW], buffer);
                sink(index, seen.with(&buffer.words, probe.key.len()));
            }
        }
    }
}

#[inline]
fn map_of<'a>(readers: &'a [HotReader], probe: &Probe<'_>) -> Option<&'a Map> {
    readers.get(probe.table as usize).map(HotReader::map)
}

#[inline]
fn find_bucket(readers: &[HotReader], probe: &Probe<'_>) -> Track {
    let Some(map) = map_of(readers, probe) else { return Track::default() };
    let Ok(place) = Place::find(map, probe.row_hash) else { return Track::default() };
    prefetch(map.words(), place.home_bucket());
    Track { bucket: place.home_bucket(), alternate: place.alternate_bucket(), row: 0 }
}

#[inline]
fn match_home(readers: &[HotReader], probe: &Probe<'_>, track: &mut Track) {
    let Some(map) = map_of(readers, probe) else { return };
    let Some(snapshot) = Snapshot::load(map.words(), track.bucket) else { return };
    track.row = matching_row(&snapshot, probe.row_hash);
    if track.row != 0 {
        prefetch_row(map, track.row);
        track.alternate = 0;
    } else if may_have_guest(snapshot.header, probe.row_hash) {
        prefetch(map.words(), track.alternate);
    } else {
        track.alternate = 0;
    }
}

#[inline]
fn match_alternate(readers: &[HotReader], probe: &Probe<'_>, track: &mut Track) {
    if track.alternate == 0 {
        return;
    }
    let Some(map) = map_of(readers, probe) else { return };
    let Some(snapshot) = Snapshot::load(map.words(), track.alternate) else { return };
    track.row = matching_row(&snapshot, probe.row_hash);
    if track.row != 0 {
        prefetch_row(map, track.row);
    }
}

/// The common case is one copy; whatever else it may be, the careful path finds out.
#[inline]
fn deliver(readers: &[HotReader], probe: &Probe<'_>, track: Track, buffer: &mut RowBuf) -> Seen {
    let Some(map) = map_of(readers, probe) else {
        return Seen::Corrupt(Corruption::at(0, "the table number of a probe"));
    };
    if track.row != 0
        && let Verdict::Mine(length) = verify_row(map, track.row, probe, &mut buffer.words)
    {
        return Seen::Found(length);
    }
    look_up(map, probe, &mut buffer.words)
}

#[inline]
fn may_have_guest(header: BucketHeader, row_hash: u64) -> bool {
    header.may_have_guest(fragment_of(row_hash))
}

/// Position of the row in the first lane whose fragment matches, without a branch for each lane.
#[inline]
fn matching_row(snapshot: &Snapshot, row_hash: u64) -> usize {
    let wanted = entry(fragment_of(row_hash), false, 0);
    let mut matches = 0u32;
    for (lane, &word) in snapshot.lanes.iter().enumerate() {
        matches |= u32::from((word ^ wanted) >> 36 == 0) << lane;
    }
    let lane = matches.trailing_zeros() as usize;
    if lane < LANES { entry_position(snapshot.lanes[lane]) as usize } else { 0 }
}

#[inline]
fn prefetch_row(map: &Map, row: usize) {
    prefetch(map.words(), row);
    prefetch(map.words(), row + LINE_WORDS);
}
