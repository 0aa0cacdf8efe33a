//! Rows as words: copying one while its owner may be writing it, and writing one while it is read.
//!
//! This is a seqlock per row slot. Word 0 holds sequence, flags and a generation whose lowest bit says
//! "being written". Every access is atomic, so there is no data race to reason away; what has to be
//! argued is that a copy which passes the checks is one whole row. The protocol is the one of Boehm,
//! "Can seqlocks get along with programming language memory models?" (2012), figure 6:
//!
//! * writer: word 0 := odd (relaxed); **release fence**; other words (relaxed); word 0 := even (release).
//! * reader: w := word 0 (**acquire**); other words (relaxed); **acquire fence**; word 0 = w again?
//!
//! Say the reader got some word of a later write W than the one that stored w. That word was stored after
//! W's release fence and loaded before the reader's acquire fence, so the fences synchronise, and the
//! reader's second load sees W's odd word 0 or something newer: it differs from w. Say the reader got a
//! word older than the write that stored w: impossible, since the first load acquires what that write
//! released. So an even, unchanged word 0 means that all words belong to one write. Word 0 also holds the
//! sequence number, so it does not come back to the same value when the generation wraps.
//!
//! A slot that was freed and given to another size class breaks the protocol (the reader's word 0 may
//! now be the middle of another row). Then the checksum decides, which is bound to the position and to
//! the store's seed; and the entry that led to the slot has changed, which `lookup.rs` notices.
//!
//! A writer that dies in the middle leaves an odd word 0. Readers then answer `Busy`, for good, and go
//! elsewhere; no reader ever waits for it without bound.

use std::sync::atomic::Ordering;

use thermae_formats::hot_layout::{
    ROW_HEADER_WORDS, WRITE_IN_PROGRESS, body_words_of, checksum_of, row_checksum, unstamped,
};

use crate::sync::{AtomicU64, fence};

/// What came of copying a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowCopy {
    /// The buffer holds so many words of one write, and their checksum holds.
    Whole(usize),
    /// The words are of one write as far as word 0 tells, and their checksum does not hold.
    Damaged,
    /// Somebody is writing the slot.
    Changing,
}

/// Copies the row at `position` into `buffer`, which grows to the largest row seen. The copy's words 0
/// and 3 are unstamped: nobody needs generation and checksum once they have been compared.
#[inline(always)]
pub(crate) fn copy_row(
    words: &[AtomicU64],
    position: usize,
    hash_seed: u64,
    buffer: &mut Vec<u64>,
) -> RowCopy {
    let Some((head, rest)) =
        words.get(position..).and_then(|row| row.split_first_chunk::<ROW_HEADER_WORDS>())
    else {
        return RowCopy::Damaged;
    };
    let word0 = head[0].load(Ordering::Acquire);
    if word0 & WRITE_IN_PROGRESS != 0 {
        return RowCopy::Changing;
    }
    let word3 = head[3].load(Ordering::Relaxed);
    let body_words = body_words_of(word3);
    let Some(body) = rest.get(..body_words) else { return RowCopy::Damaged };
    let length = ROW_HEADER_WORDS + body_words;
    if buffer.len() < length {
        grow(buffer, length);
    }
    let copy = &mut buffer[..length];
    let Some((head_copy, body_copy)) = copy.split_first_chunk_mut::<ROW_HEADER_WORDS>() else {
        return RowCopy::Damaged;
    };
    (head_copy[0], head_copy[3]) = unstamped(word0, word3);
    head_copy[1] = head[1].load(Ordering::Relaxed);
    head_copy[2] = head[2].load(Ordering::Relaxed);
    copy_body(body, body_copy);
    fence(Ordering::Acquire);
    if head[0].load(Ordering::Relaxed) != word0 {
        return RowCopy::Changing;
    }
    if row_checksum(copy, position as u64, hash_seed) != checksum_of(word3) {
        return RowCopy::Damaged;
    }
    RowCopy::Whole(length)
}

#[cold]
fn grow(buffer: &mut Vec<u64>, length: usize) {
    buffer.resize(length, 0);
}

/// Atomic loads are not vectorised, so the loop is unrolled by hand.
#[inline]
fn copy_body(body: &[AtomicU64], copy: &mut [u64]) {
    let (fours, rest) = body.as_chunks::<4>();
    let (four_copies, rest_copy) = copy.as_chunks_mut::<4>();
    for (to, from) in four_copies.iter_mut().zip(fours) {
        *to = std::array::from_fn(|word| from[word].load(Ordering::Relaxed));
    }
    for (to, from) in rest_copy.iter_mut().zip(rest) {
        *to = from.load(Ordering::Relaxed);
    }
}

/// Writes `row` to the slot at `position`; a reader sees the old row, "being written", or the new one.
///
/// `row[0]` is taken without its generation; the slot's own goes on counting. The caller owns the slot
/// and has checked that the row fits it. Returns whether the slot lies inside the map.
pub(crate) fn write_row(words: &[AtomicU64], position: usize, row: &[u64]) -> bool {
    let (Some(slot), Some((&first, rest))) =
        (words.get(position..position + row.len()), row.split_first())
    else {
        return false;
    };
    let Some((head, body)) = slot.split_first() else { return false };
    let odd = head.load(Ordering::Relaxed) | WRITE_IN_PROGRESS;
    head.store(odd, Ordering::Relaxed);
    fence(Ordering::Release);
    for (word, &value) in body.iter().zip(rest) {
        word.store(value, Ordering::Relaxed);
    }
    let generation = odd.wrapping_add(1) & 0xFF;
    head.store(first & !0xFF | generation, Ordering::Release);
    true
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use thermae_formats::hot_layout::{word0, word3};

    const SEED: u64 = 99;

    fn heap(words: usize) -> Vec<AtomicU64> {
        (0..words).map(|_| AtomicU64::new(0)).collect()
    }

    fn sealed(sequence: u64, body: &[u64], position: usize) -> Vec<u64> {
        let mut row = vec![word0(sequence, 0, 0), sequence, sequence, 0];
        row.extend_from_slice(body);
        row[3] = word3(0, 1, body.len() as u16);
        let sum = row_checksum(&row, position as u64, SEED);
        row[3] = word3(sum, 1, body.len() as u16);
        row
    }

    #[test]
    fn a_row_comes_back_and_its_generation_counts() {
        let (words, mut buffer) = (heap(32), Vec::new());
        for round in 1..300u64 {
            let row = sealed(round, &[round; 5], 8);
            assert!(write_row(&words, 8, &row));
            assert_eq!(copy_row(&words, 8, SEED, &mut buffer), RowCopy::Whole(9));
            assert_eq!(words[8].load(Ordering::Relaxed) & 0xFF, (round * 2) & 0xFF);
            assert_eq!(buffer[4..9], [round; 5]);
        }
    }

    #[test]
    fn a_row_being_written_is_never_returned() {
        let (words, mut buffer) = (heap(32), Vec::new());
        write_row(&words, 8, &sealed(1, &[1, 2], 8));
        words[8].fetch_or(WRITE_IN_PROGRESS, Ordering::Relaxed);
        assert_eq!(copy_row(&words, 8, SEED, &mut buffer), RowCopy::Changing);
        let next = sealed(2, &[3, 4], 8);
        assert!(write_row(&words, 8, &next), "the next write repairs what a dead one left");
        assert_eq!(copy_row(&words, 8, SEED, &mut buffer), RowCopy::Whole(6));
    }

    #[test]
    fn any_flipped_bit_is_found() {
        let (words, mut buffer) = (heap(32), Vec::new());
        write_row(&words, 8, &sealed(1, &[1, 2], 8));
        for word in 8..14 {
            for bit in 0..64 {
                words[word].fetch_xor(1 << bit, Ordering::Relaxed);
                let found = copy_row(&words, 8, SEED, &mut buffer);
                let generation = word == 8 && bit < 8;
                assert!(
                    generation || found == RowCopy::Damaged,
                    "word {word} bit {bit}: {found:?}"
                );
                words[word].fetch_xor(1 << bit, Ordering::Relaxed);
            }
        }
    }

    #[test]
    fn positions_outside_the_map_are_refused() {
        let (words, mut buffer) = (heap(16), Vec::new());
        assert_eq!(copy_row(&words, 14, SEED, &mut buffer), RowCopy::Damaged);
        assert_eq!(copy_row(&words, 1 << 40, SEED, &mut buffer), RowCopy::Damaged);
        assert!(!write_row(&words, 14, &sealed(1, &[1, 2], 14)));
        words[3].store(word3(0, 0, u16::MAX), Ordering::Relaxed);
        assert_eq!(copy_row(&words, 0, SEED, &mut buffer), RowCopy::Damaged);
    }

    #[test]
    fn concurrent_copies_are_whole() {
        let rounds = if cfg!(miri) { 200 } else { 200_000 };
        let words = heap(64);
        let done = AtomicBool::new(false);
        write_row(&words, 8, &sealed(1, &[1; 6], 8));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let (mut buffer, mut last) = (Vec::new(), 0);
                    while !done.load(Ordering::Relaxed) {
                        match copy_row(&words, 8, SEED, &mut buffer) {
                            RowCopy::Whole(length) => {
                                assert!(buffer[4..length].iter().all(|&word| word == buffer[1]));
                                assert!(buffer[1] >= last, "went back in time");
                                last = buffer[1];
                            }
                            RowCopy::Changing => std::hint::spin_loop(),
                            RowCopy::Damaged => panic!("a torn row passed the generation check"),
                        }
                    }
                });
            }
            for round in 2..rounds {
                write_row(&words, 8, &sealed(round, &[round; 6], 8));
            }
            done.store(true, Ordering::Relaxed);
        });
    }
}
