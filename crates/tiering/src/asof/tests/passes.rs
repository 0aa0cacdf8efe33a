//! How the history is passed over: by steps, by seeks, and what becomes of errors.

use super::super::*;
use super::history::{Answer, Row, Rows, find_all};

/// Two versions of each of `entities` entities, at 10 and 20.
fn history(entities: u64) -> Rows {
    let row = |entity_hash, time| Row { entity_hash, ..Row::new(time, time, entity_hash) };
    Rows::new((0..entities).flat_map(|hash| [row(hash, 10), row(hash, 20)]).collect())
}

const TERMS: Terms = Terms { ttl_us: 0, as_of_known: false };

fn spine(hashes: impl Iterator<Item = u64>) -> Vec<(u64, Vec<u8>, i64)> {
    hashes.map(|hash| (hash, b"k".to_vec(), 15)).collect()
}

fn pass(mut source: Rows, asked: impl Iterator<Item = u64>) -> (Rows, usize) {
    let spine = spine(asked);
    let mut found = 0;
    for ((hash, ..), answer) in spine.iter().zip(find_all(&mut source, &spine, TERMS).unwrap()) {
        match answer {
            Answer::Present(sequence) if sequence == *hash => found += 1,
            other => assert_eq!(other, Answer::NotFound, "{hash}"),
        }
    }
    (source, found)
}

#[test]
fn a_dense_spine_seeks_its_first_row_alone() {
    let (source, found) = pass(history(1_000), 0..1_000);
    assert_eq!((found, source.seeks), (1_000, 1));
    assert!(source.advances < 2_000, "{}", source.advances);
}

#[test]
fn a_sparse_spine_reads_a_bounded_number_of_versions_a_row() {
    let (source, found) = pass(history(100_000), (0..100).map(|at| at * 1_000));
    assert_eq!((found, source.seeks), (100, 100));
    assert!(source.advances <= 100 * (PATIENCE as usize + 2), "{}", source.advances);
}

#[test]
fn keys_that_are_not_there_are_not_found_before_between_and_behind_the_others() {
    let odd = |hash: u64| Row { entity_hash: 2 * hash + 1, ..Row::new(1, 1, 2 * hash + 1) };
    let (source, found) = pass(Rows::new((0..500).map(odd).collect()), 0..2_000);
    assert_eq!((found, source.at_end()), (500, true));
    let (_, found) = pass(Rows::new(Vec::new()), 0..3);
    assert_eq!(found, 0);
}

#[test]
fn a_source_that_fails_in_the_middle_fails_the_join() {
    for (step, fails_after) in [(1, 900), (1_000, 500), (1_000, 505)] {
        let mut source = history(20_000);
        source.fails_after = Some(fails_after);
        let error = find_all(&mut source, &spine((0..20_000).step_by(step)), TERMS).err();
        assert_eq!(error, Some(format!("the disk is gone after {fails_after} moves")));
    }
}

#[test]
fn each_part_is_passed_over_once_whatever_lies_in_it() {
    let parts = 7;
    let (source, found) = pass(history(700).in_parts(parts), 0..700);
    assert_eq!((found, source.seeks), (700, parts));
    assert!(source.advances <= 1_400, "{}", source.advances);
    // Few rows of a long spine have versions in each part: the others are left out, not looked at one by one. Every
    // other part is too new for all of them, and not looked at either.
    let (source, found) = pass(history(100).in_parts(50), 0..100_000);
    assert_eq!((found, source.seeks), (100, 25));
}
