//! The layout of the hot table: one map per shard and access domain, the same bytes in every process.
//!
//! ```text
//! map      0         4 KiB                                        a multiple of 64 KiB          end
//!          +---------+-----------------+-------------------------+-----------+-----------+-----+
//!          | header  | directory       | chunk table             | chunk 0   | chunk 1   | ... |
//!          | (4 KiB) | 8 B a cell      | 32 B a chunk            | (64 KiB)  | (64 KiB)  |     |
//!          +---------+-----------------+-------------------------+-----------+-----------+-----+
//!
//! chunk    is free, or four index segments, or slots of one size class, or part of one large row
//!
//! segment  256 buckets of one cache line                                    16 KiB
//! bucket   +--------+---------+---------+---------+---------+---------+---------+---------+
//!  64 B    | header | entry 0 | entry 1 | entry 2 | entry 3 | entry 4 | entry 5 | entry 6 |
//!          +--------+---------+---------+---------+---------+---------+---------+---------+
//!
//!          63       48 47      32 31      30       24 23                                  0
//! header   +----------+----------+--------+----------+------------------------------------+
//!          | parity   | version  | chained| guests   | filter of entries kept elsewhere   |
//!          +----------+----------+--------+----------+------------------------------------+
//! entry    +--------------------------------+-------+-------------------------------------+
//!          | fragment of the row hash (28)  | guest | position of the row, words (35)     |
//!          +--------------------------------+-------+-------------------------------------+
//!          63                             36    35   34                                   0
//!
//! row      word 0   sequence (48)                          | flags (8)      | generation (8)
//! slot     word 1   event time, us UTC
//!          word 2   created time, us UTC (NO_TIME: none)
//!          word 3   checksum (32)          | schema id (16) | words of the body (16)
//!          word 4.. body: [expire_at, us, 8 B] key ++ value, padded with zeros to 8 B
//! ```
//!
//! A look-up reads the directory cell, one bucket (a second one for the few entries that did not fit
//! their first), and the row: two lines of memory for most rows, plus the row's tail. Ten float32 under
//! an int64 key make a slot of 32 + 8 + 40 = 80 bytes, without slack. Beside key and values a row costs
//! 32 bytes and its share of the index: 64 / 7 / load, 10.9 bytes at the usual load of 84%.
//!
//! Everything is little-endian, and a *position* counts 8-byte words from the start of the map.
//! `docs/formats/hot.md` says what each field means and how a reader trusts what it read.

pub mod classes;
pub mod header;
pub mod index;

use xxhash_rust::xxh3::xxh3_64;
use zerocopy::IntoBytes;

/// Bytes of a word, the unit of every position.
pub const WORD_BYTES: usize = 8;
/// Bytes of a chunk, the unit in which memory is given to a size class or to the index.
pub const CHUNK_BYTES: usize = 64 * 1024;
/// Words of a chunk.
pub const CHUNK_WORDS: usize = CHUNK_BYTES / WORD_BYTES;
/// Words of a row's header.
pub const ROW_HEADER_WORDS: usize = 4;
/// Bytes of a row's header.
pub const ROW_HEADER_BYTES: usize = ROW_HEADER_WORDS * WORD_BYTES;
/// Most words of a row's body (it is kept in 16 bits).
pub const BODY_WORDS_MAX: usize = 65_535;
/// Most bytes of a row's body: expiry, key and value together.
pub const BODY_BYTES_MAX: usize = BODY_WORDS_MAX * WORD_BYTES;
/// Bits of a position: a map spans at most 2^35 words, 256 GiB.
pub const POSITION_BITS: u32 = 35;
/// Largest map in bytes.
pub const MAP_BYTES_MAX: u64 = 1 << (POSITION_BITS + 3);
/// Bits of a sequence number.
pub const SEQUENCE_BITS: u32 = 48;

/// Row flag: the row is a tombstone; its value is empty.
pub const FLAG_TOMBSTONE: u8 = 1;
/// Row flag: every feature is present and the value has no null bitmap.
pub const FLAG_DENSE: u8 = 2;
/// Row flag: the body begins with an absolute expiry, 8 bytes, microseconds UTC.
pub const FLAG_HAS_EXPIRE: u8 = 4;

/// The flags of a row that is a tombstone or not, dense or not, and ends by itself or not.
pub const fn row_flags(is_tombstone: bool, is_dense: bool, has_expire: bool) -> u8 {
    (is_tombstone as u8 * FLAG_TOMBSTONE)
        | (is_dense as u8 * FLAG_DENSE)
        | (has_expire as u8 * FLAG_HAS_EXPIRE)
}

/// Lowest bit of word 0: a write to the slot is in progress.
pub const WRITE_IN_PROGRESS: u64 = 1;
/// The generation in word 0.
pub const GENERATION_MASK: u64 = 0xFF;

const _: () =
    assert!(cfg!(target_endian = "little"), "the hot map is read in place: little-endian only");
const _: () = assert!(ROW_HEADER_BYTES == 32);
const _: () = assert!(ROW_HEADER_BYTES + 8 + 40 == 80, "int64 key and ten float32: no slack");
const _: () = assert!(BODY_BYTES_MAX == 524_280);
const _: () = assert!(SEQUENCE_BITS + u8::BITS + u8::BITS == u64::BITS);
const _: () = assert!(BODY_WORDS_MAX == u16::MAX as usize);
const _: () = assert!(CHUNK_WORDS == 8192 && MAP_BYTES_MAX == 256 << 30);

/// Bytes of a row's body before padding.
#[inline]
pub const fn body_bytes(key_bytes: usize, value_bytes: usize, has_expire: bool) -> usize {
    key_bytes + value_bytes + if has_expire { WORD_BYTES } else { 0 }
}

/// Words of a whole row (header and padded body) whose body has `body_bytes` bytes.
#[inline]
pub const fn row_words(body_bytes: usize) -> usize {
    ROW_HEADER_WORDS + body_bytes.div_ceil(WORD_BYTES)
}

/// Word 0 of a row. `sequence` keeps its low 48 bits.
#[inline]
pub const fn word0(sequence: u64, flags: u8, generation: u8) -> u64 {
    sequence << 16 | (flags as u64) << 8 | generation as u64
}

/// Sequence number in word 0.
#[inline]
pub const fn sequence_of(word0: u64) -> u64 {
    word0 >> 16
}

/// Row flags in word 0.
#[inline]
pub const fn flags_of(word0: u64) -> u8 {
    (word0 >> 8) as u8
}

/// Word 3 of a row.
#[inline]
pub const fn word3(checksum: u32, schema_id: u16, body_words: u16) -> u64 {
    (checksum as u64) << 32 | (schema_id as u64) << 16 | body_words as u64
}

/// Checksum in word 3.
#[inline]
pub const fn checksum_of(word3: u64) -> u32 {
    (word3 >> 32) as u32
}

/// Schema id in word 3.
#[inline]
pub const fn schema_id_of(word3: u64) -> u16 {
    (word3 >> 16) as u16
}

/// Words of the body in word 3.
#[inline]
pub const fn body_words_of(word3: u64) -> usize {
    (word3 & 0xFFFF) as usize
}

/// Bytes of a copied row or body, in the order in which they lie in the map.
#[inline]
pub fn bytes_of(words: &[u64]) -> &[u8] {
    words.as_bytes()
}

/// Words 0 and 3 of a row without what its checksum leaves out: generation and checksum.
#[inline]
pub const fn unstamped(word0: u64, word3: u64) -> (u64, u64) {
    (word0 & !GENERATION_MASK, word3 & 0xFFFF_FFFF)
}

/// Checksum of a row at `position`, whose words 0 and 3 are [`unstamped`].
///
/// It is bound to the position and to the store's seed. So an index entry that points at another place
/// is found out, and bytes inside a value can never pass for a row, however they were chosen.
#[inline]
pub fn row_checksum(row: &[u64], position: u64, hash_seed: u64) -> u32 {
    xxh3_64(row.as_bytes()) as u32 ^ position_mask(position, hash_seed)
}

/// The part of a checksum that names the place: a finaliser over seed and position.
#[inline]
const fn position_mask(position: u64, hash_seed: u64) -> u32 {
    let mut mixed = (hash_seed ^ position).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed ^= mixed >> 32;
    mixed = mixed.wrapping_mul(0xD6E8_FEB8_6659_FD93);
    (mixed >> 32) as u32
}

/// Folds a word to 16 bits so that each bit of it counts in one bit of the result.
///
/// Buckets, directory cells and the depth word carry this fold: one flipped bit always shows.
#[inline]
pub const fn fold16(word: u64) -> u16 {
    let half = word ^ (word >> 32);
    (half ^ (half >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_take_apart_what_they_put_together() {
        let zero = word0(0xFFFF_FFFF_FFFF, FLAG_DENSE | FLAG_HAS_EXPIRE, 0xFE);
        assert_eq!((sequence_of(zero), flags_of(zero)), (0xFFFF_FFFF_FFFF, 6));
        let three = word3(0xDEAD_BEEF, 0xABCD, 65_535);
        assert_eq!((checksum_of(three), schema_id_of(three)), (0xDEAD_BEEF, 0xABCD));
        assert_eq!(body_words_of(three), BODY_WORDS_MAX);
    }

    #[test]
    fn checksum_sees_every_bit_but_the_stamps() {
        let sum = |row: &[u64; 6], position, seed| {
            let mut row = *row;
            (row[0], row[3]) = unstamped(row[0], row[3]);
            row_checksum(&row, position, seed)
        };
        let row = [word0(7, 2, 4), 11, 12, word3(0, 9, 2), 13, 14];
        for word in 0..row.len() {
            for bit in 0..64 {
                let mut changed = row;
                changed[word] ^= 1 << bit;
                let left_out = (word == 0 && bit < 8) || (word == 3 && bit >= 32);
                let same = sum(&changed, 77, 5) == sum(&row, 77, 5);
                assert_eq!(same, left_out, "word {word} bit {bit}");
            }
        }
        assert_ne!(sum(&row, 78, 5), sum(&row, 77, 5));
        assert_ne!(sum(&row, 77, 6), sum(&row, 77, 5));
    }

    #[test]
    fn golden_checksum() {
        let row = [word0(1, 0, 0), 2, 3, word3(0, 4, 1), 5];
        assert_eq!(row_checksum(&row, 6, 7), GOLDEN);
    }

    /// Never changes within a version of the layout; that of version 1 was the same.
    const GOLDEN: u32 = 0x8DAA_A451;
}
