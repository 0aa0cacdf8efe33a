//! `Open` against `Snapshot`: a bucket that stood still was copied as it was at one time.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use loom::thread;
use thermae_formats::hot_layout::index::BUCKET_WORDS;

use super::{check, zeros};
use crate::bucket::{Open, Snapshot, Standing};
use crate::sync::AtomicU64;

/// Changes two lanes at once, twice.
fn write_two(words: &[AtomicU64]) {
    for value in [1, 2] {
        let mut open = Open::new(words, 0).unwrap();
        open.set(0, value);
        open.set(6, value);
        open.close();
    }
}

/// What the two lanes hold; none if the bucket changed meanwhile.
fn pair(words: &[AtomicU64]) -> Option<u64> {
    let snapshot = Snapshot::load(words, 0).unwrap();
    match snapshot.standing(words, 0) {
        Standing::Whole => {
            assert_eq!(snapshot.lanes[0], snapshot.lanes[6], "half of a change");
            Some(snapshot.lanes[0])
        }
        Standing::Changing => None,
        Standing::Damaged => panic!("a race passed for damage"),
    }
}

#[test]
fn a_bucket_that_stood_still_holds_whole_changes_and_none_goes_back() {
    check(|| {
        let words = zeros(BUCKET_WORDS);
        let seen = Arc::clone(&words);
        let reader = thread::spawn(move || {
            let (first, second) = (pair(&seen), pair(&seen));
            assert!(second.is_none() || first <= second, "{second:?} after {first:?}");
        });
        write_two(&words);
        assert_eq!(pair(&words), Some(2));
        reader.join().unwrap();
    });
}

#[test]
fn a_change_that_another_reader_tells_of_is_seen() {
    check(|| {
        let words = zeros(BUCKET_WORDS);
        let told = zeros(1);
        let reader = thread::spawn({
            let (words, told) = (Arc::clone(&words), Arc::clone(&told));
            move || told[0].store(pair(&words).unwrap_or(0), Ordering::Release)
        });
        let listener = thread::spawn({
            let (words, told) = (Arc::clone(&words), Arc::clone(&told));
            move || {
                let first = told[0].load(Ordering::Acquire);
                let second = pair(&words);
                assert!(second.is_none_or(|second| first <= second), "{second:?} after {first}");
            }
        });
        write_two(&words);
        reader.join().unwrap();
        listener.join().unwrap();
    });
}
