//! `write_row` against `copy_row`: a copy is one whole row, and none is older than one seen before.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use loom::thread;
use thermae_formats::hot_layout::sequence_of;

use super::{SEED, check, sealed, zeros};
use crate::sync::AtomicU64;
use crate::words::{RowCopy, copy_row, write_row};

/// A slot that holds row 1.
fn slot() -> Arc<[AtomicU64]> {
    let words = zeros(6);
    assert!(write_row(&words, 0, &sealed(1, &[1], 0)));
    words
}

/// Writes row 2, which is longer, and row 3, which is not.
fn write_two(words: &[AtomicU64]) {
    assert!(write_row(words, 0, &sealed(2, &[2, 2], 0)));
    assert!(write_row(words, 0, &sealed(3, &[3], 0)));
}

/// The number of the row copied; 0 while it is being written.
fn copied(words: &[AtomicU64]) -> u64 {
    let mut buffer = Vec::new();
    match copy_row(words, 0, SEED, &mut buffer) {
        RowCopy::Whole(length) => {
            let number = sequence_of(buffer[0]);
            let whole = buffer[1..3].iter().chain(&buffer[4..length]).all(|&word| word == number);
            assert!(whole, "a torn row passed the checksum");
            number
        }
        RowCopy::Changing => 0,
        RowCopy::Damaged => panic!("a torn row passed the check of word 0"),
    }
}

#[test]
fn a_copy_is_whole_and_no_older_than_the_one_before() {
    check(|| {
        let words = slot();
        let seen = Arc::clone(&words);
        let reader = thread::spawn(move || {
            let first = copied(&seen);
            let second = copied(&seen);
            assert!(second == 0 || first <= second, "row {second} after row {first}");
        });
        write_two(&words);
        assert_eq!(copied(&words), 3);
        reader.join().unwrap();
    });
}

#[test]
fn a_copy_is_no_older_than_the_one_that_another_reader_tells_of() {
    check(|| {
        let words = slot();
        let told = zeros(1);
        let reader = thread::spawn({
            let (words, told) = (Arc::clone(&words), Arc::clone(&told));
            move || told[0].store(copied(&words), Ordering::Release)
        });
        let listener = thread::spawn({
            let (words, told) = (Arc::clone(&words), Arc::clone(&told));
            move || {
                let first = told[0].load(Ordering::Acquire);
                let second = copied(&words);
                assert!(second == 0 || first <= second, "row {second} after row {first}");
            }
        });
        assert!(write_row(&words, 0, &sealed(2, &[2], 0)));
        reader.join().unwrap();
        listener.join().unwrap();
    });
}
