//! `look_up` against every change of the index: a row that is there throughout is never said to be
//! absent, and no race passes for damage.

use std::sync::Arc;

use loom::thread;
use thermae_formats::hot_layout::header::{COMPLETE_WORD, DEPTH_MIN, Geometry, MapInfo};
use thermae_formats::hot_layout::index::{
    BUCKET_WORDS, FRAGMENT_BITS, LINK_LANE, cell_of, entry, entry_as_guest, other_bucket,
};
use thermae_formats::hot_layout::{ROW_HEADER_WORDS, WORD_BYTES, sequence_of};

use super::{SEED, check, sealed};
use crate::evict::say_complete;
use crate::growth::copy_cell;
use crate::index::{edit, link, move_across, point_cell, put_free, remove_entry, set_depth};
use crate::lookup::{Lookup, Probe, Seen, look_up};
use crate::map::Map;
use crate::reader::HotReader;
use crate::row::RowBuf;
use crate::words::write_row;

// The table: depth, completeness, directory, two segments that are cut short after two buckets, two rows.
const DIRECTORY: usize = COMPLETE_WORD + 1;
const CELLS: usize = 2 << DEPTH_MIN;
const SEGMENT: usize = DIRECTORY + CELLS;
const OTHER_SEGMENT: usize = SEGMENT + 2 * BUCKET_WORDS;
const ROW: usize = OTHER_SEGMENT + 2 * BUCKET_WORDS;
const OTHER_ROW: usize = ROW + ROW_WORDS;
const ROW_WORDS: usize = ROW_HEADER_WORDS + 1;
const MAP_WORDS: usize = OTHER_ROW + ROW_WORDS;

const HOME: usize = 0;
const ALTERNATE: usize = 1;
/// Cell of the row while the directory is small, and once it was doubled.
const CELL: usize = 0;
const DOUBLED_CELL: usize = CELL + (1 << DEPTH_MIN);
const KEY: u64 = 7;

/// A fragment that belongs to the cells and buckets above.
fn fragment() -> u32 {
    let belongs = |&fragment: &u32| {
        cell_of(fragment, DEPTH_MIN + 1) == DOUBLED_CELL
            && other_bucket(HOME, fragment) == ALTERNATE
    };
    (0..1 << FRAGMENT_BITS).find(belongs).unwrap()
}

/// A table that holds row 1 under an entry in this lane of its home.
fn table(fragment: u32, lane: usize) -> Map {
    let info = MapInfo {
        map_bytes: (MAP_WORDS * WORD_BYTES) as u64,
        hash_seed: SEED,
        store_id: 1,
        epoch: 1,
        shard: 0,
        shards: 1,
        domain: 0,
    };
    let geometry = Geometry {
        map_words: MAP_WORDS,
        directory_word: DIRECTORY,
        directory_cells: CELLS,
        table_word: MAP_WORDS,
        arena_word: SEGMENT,
        chunks: 0,
    };
    let map = Map::on_heap(info, geometry);
    set_depth(&map, DEPTH_MIN);
    point_cell(&map, CELL, SEGMENT);
    assert!(write_row(map.words(), ROW, &sealed(1, &[KEY], ROW)));
    edit(&map, SEGMENT, SEGMENT, |_, at| at.set(lane, entry(fragment, false, ROW as u64)));
    map
}

/// The number of the row found; none if the look-up was not left in peace.
fn found(map: &Map, fragment: u32) -> Option<u64> {
    let row_hash = u64::from(fragment) << (u64::BITS - FRAGMENT_BITS) | HOME as u64;
    let key = KEY.to_ne_bytes();
    let probe = Probe { table: 0, row_hash, key: &key, schema_ids: &[1] };
    let mut buffer = Vec::new();
    match look_up(map, &probe, &mut buffer) {
        Seen::Found(_) => Some(sequence_of(buffer[0])),
        Seen::Busy => None,
        Seen::Absent => panic!("a row that is there was said to be absent"),
        Seen::Corrupt(corruption) => panic!("a race passed for damage: {corruption}"),
    }
}

/// Looks the row up while `change` (given map, fragment and entry) is made to the table.
fn check_change(lane: usize, change: impl Fn(&Map, u32, u64) + Send + Sync + 'static) {
    let fragment = fragment();
    check(move || {
        let map = Arc::new(table(fragment, lane));
        let seen = Arc::clone(&map);
        let reader = thread::spawn(move || {
            found(&seen, fragment);
        });
        change(&map, fragment, entry(fragment, false, ROW as u64));
        assert!(found(&map, fragment).is_some());
        reader.join().unwrap();
    });
}

#[test]
fn a_row_is_found_while_its_entry_moves_between_its_buckets() {
    check_change(0, |map, _, entry| {
        assert!(move_across(map, SEGMENT, HOME, 0, entry));
        assert!(move_across(map, SEGMENT, ALTERNATE, 0, entry_as_guest(entry, true)));
    });
}

#[test]
fn a_row_is_found_while_its_cell_moves_to_another_segment() {
    check_change(0, |map, _, entry| {
        assert!(put_free(map, OTHER_SEGMENT, HOME, entry));
        point_cell(map, CELL, OTHER_SEGMENT);
        remove_entry(map, SEGMENT, SEGMENT, 0, entry);
    });
}

#[test]
fn a_row_is_found_while_its_entry_moves_to_an_overflow_bucket() {
    check_change(LINK_LANE, |map, fragment, old| {
        let new = entry(!fragment, false, OTHER_ROW as u64);
        link(map, SEGMENT, SEGMENT, OTHER_SEGMENT, [old, new]);
    });
}

#[test]
fn a_row_is_found_while_the_directory_doubles() {
    check_change(0, |map, _, _| {
        copy_cell(map, CELL, DOUBLED_CELL);
        set_depth(map, DEPTH_MIN + 1);
    });
}

#[test]
fn a_row_is_found_while_another_takes_its_place() {
    check_change(0, |map, fragment, _| {
        assert!(write_row(map.words(), OTHER_ROW, &sealed(2, &[KEY], OTHER_ROW)));
        edit(map, SEGMENT, SEGMENT, |_, at| {
            at.set(0, entry(fragment, false, OTHER_ROW as u64));
        });
        assert_eq!(found(map, fragment), Some(2));
    });
}

#[test]
fn an_evicted_row_is_not_taken_for_one_that_does_not_exist() {
    let fragment = fragment();
    check(move || {
        let map = Arc::new(table(fragment, 0));
        say_complete(&map, true);
        let seen = HotReader::new(Arc::clone(&map));
        let reader = thread::spawn(move || {
            let row_hash = u64::from(fragment) << (u64::BITS - FRAGMENT_BITS) | HOME as u64;
            let key = KEY.to_ne_bytes();
            let probe = Probe { table: 0, row_hash, key: &key, schema_ids: &[1] };
            let before = seen.completeness();
            let mut buffer = RowBuf::default();
            let is_absent = matches!(seen.get(&probe, &mut buffer), Lookup::Absent);
            assert!(!is_absent || !seen.stayed_complete(before), "taken for not existing");
        });
        // Evicted, and back again: the table is complete before and after.
        let entry = entry(fragment, false, ROW as u64);
        say_complete(&map, false);
        remove_entry(&map, SEGMENT, SEGMENT, 0, entry);
        edit(&map, SEGMENT, SEGMENT, |_, at| at.set(0, entry));
        say_complete(&map, true);
        reader.join().unwrap();
    });
}
