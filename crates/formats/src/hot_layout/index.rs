//! The index of the hot table: how a row hash finds its bucket, and what the index's words hold.
//!
//! A row hash gives a *fragment* (its top 28 bits) and a *home* bucket (its low 8 bits). The low bits of
//! the fragment choose the directory *cell*; many cells share a segment, and the index grows by moving
//! cells to another segment. An entry that does not fit its home lies in the *alternate* bucket of the
//! same segment as a *guest*. Home, alternate and cell can all be told from the entry and the bucket
//! that it lies in, so the index grows without touching a row.

use super::{POSITION_BITS, fold16};

/// Words of a bucket: one cache line.
pub const BUCKET_WORDS: usize = 8;
/// Entries of a bucket.
pub const LANES: usize = BUCKET_WORDS - 1;
/// Buckets of a segment.
pub const SEGMENT_BUCKETS: usize = 256;
/// Words of a segment.
pub const SEGMENT_WORDS: usize = SEGMENT_BUCKETS * BUCKET_WORDS;
/// Bytes of a segment.
pub const SEGMENT_BYTES: usize = SEGMENT_WORDS * 8;
/// Entries of a segment.
pub const SEGMENT_ENTRIES: usize = SEGMENT_BUCKETS * LANES;
/// Bits of a fragment.
pub const FRAGMENT_BITS: u32 = 28;
/// Lane that holds the position of the next overflow bucket when the bucket is chained.
pub const LINK_LANE: usize = LANES - 1;
/// Guests counted exactly; a bucket that ever had so many keeps the count.
pub const GUESTS_MAX: u32 = 127;

/// Where a fragment begins in an entry.
pub const FRAGMENT_SHIFT: u32 = POSITION_BITS + 1;

const GUEST: u64 = 1 << POSITION_BITS;
const POSITION_MASK: u64 = GUEST - 1;
const FILTER_BITS: u32 = 24;
const FILTER_MASK: u64 = (1 << FILTER_BITS) - 1;
const GUESTS_SHIFT: u32 = FILTER_BITS;
const CHAINED: u64 = 1 << 31;
const VERSION_SHIFT: u32 = 32;
const VERSION_MASK: u64 = 0xFFFF << VERSION_SHIFT;
const PARITY_SHIFT: u32 = 48;
/// What a directory word or the depth word folds to; a word of zeros is not valid.
const WORD_FOLD: u16 = 0x7E5A;

const _: () = assert!(BUCKET_WORDS * 8 == 64 && SEGMENT_BYTES == 16 * 1024);
const _: () = assert!(super::CHUNK_WORDS.is_multiple_of(SEGMENT_WORDS) && SEGMENT_BUCKETS == 256);
const _: () = assert!(FRAGMENT_BITS + 1 + POSITION_BITS == 64);
const _: () = assert!(FILTER_BITS + 7 + 1 == VERSION_SHIFT && VERSION_SHIFT + 16 == PARITY_SHIFT);
const _: () = assert!(GUESTS_MAX == (1 << 7) - 1);

/// Fragment of a row hash.
#[inline]
pub const fn fragment_of(row_hash: u64) -> u32 {
    (row_hash >> (64 - FRAGMENT_BITS)) as u32
}

/// Home bucket of a row hash, a number inside its segment.
#[inline]
pub const fn home_of(row_hash: u64) -> usize {
    (row_hash & 0xFF) as usize
}

/// Directory cell of a fragment under a directory of 2^`depth` cells.
#[inline]
pub const fn cell_of(fragment: u32, depth: u32) -> usize {
    (fragment as u64 & ((1 << depth) - 1)) as usize
}

/// The other bucket of an entry: from home to alternate, and from alternate to home.
#[inline]
pub const fn other_bucket(bucket: usize, fragment: u32) -> usize {
    let step = (fragment.wrapping_mul(0x9E37_79B1) >> 24) as usize;
    bucket ^ if step == 0 { 0x80 } else { step }
}

/// An entry word. `position` is in words.
#[inline]
pub const fn entry(fragment: u32, guest: bool, position: u64) -> u64 {
    (fragment as u64) << FRAGMENT_SHIFT | if guest { GUEST } else { 0 } | position & POSITION_MASK
}

/// Fragment of an entry.
#[inline]
pub const fn entry_fragment(entry: u64) -> u32 {
    (entry >> FRAGMENT_SHIFT) as u32
}

/// Whether the entry lies in its alternate bucket.
#[inline]
pub const fn entry_is_guest(entry: u64) -> bool {
    entry & GUEST != 0
}

/// Position of the row, in words.
#[inline]
pub const fn entry_position(entry: u64) -> u64 {
    entry & POSITION_MASK
}

/// The entry with its guest mark set to `guest`.
#[inline]
pub const fn entry_as_guest(entry: u64, guest: bool) -> u64 {
    entry & !GUEST | if guest { GUEST } else { 0 }
}

/// Bits of `entry` that must equal [`entry`]`(fragment, _, _)` for the fragment to match.
#[inline]
pub const fn fragment_matches(entry: u64, fragment: u32) -> bool {
    // A free lane is 0 and position 0 is the map's header, so a zero fragment needs the second test.
    entry_fragment(entry) == fragment && entry != 0
}

/// The header word of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BucketHeader(pub u64);

impl BucketHeader {
    /// Whether the bucket is being changed: its version is odd.
    #[inline]
    pub const fn is_changing(self) -> bool {
        self.0 >> VERSION_SHIFT & 1 == 1
    }

    /// Whether the last lane holds the position of an overflow bucket.
    #[inline]
    pub const fn is_chained(self) -> bool {
        self.0 & CHAINED != 0
    }

    /// Whether an entry of this home and fragment may lie in its alternate bucket.
    #[inline]
    pub const fn may_have_guest(self, fragment: u32) -> bool {
        self.0 & guest_bit(fragment) != 0
    }

    /// Entries of this home that lie in their alternate buckets; [`GUESTS_MAX`] means that or more.
    #[inline]
    pub const fn guests(self) -> u32 {
        (self.0 >> GUESTS_SHIFT) as u32 & GUESTS_MAX
    }

    /// With one more guest of this fragment.
    #[must_use]
    pub const fn with_guest(self, fragment: u32) -> BucketHeader {
        let guests = self.guests();
        let more = if guests < GUESTS_MAX { 1u64 << GUESTS_SHIFT } else { 0 };
        self.changed_to((self.0 + more) | guest_bit(fragment))
    }

    /// With one guest fewer; the filter is emptied with the last.
    #[must_use]
    pub const fn without_guest(self) -> BucketHeader {
        match self.guests() {
            0 | GUESTS_MAX => self,
            1 => self.changed_to((self.0 - (1 << GUESTS_SHIFT)) & !FILTER_MASK),
            _ => self.changed_to(self.0 - (1 << GUESTS_SHIFT)),
        }
    }

    /// With the last lane marked as a link.
    #[must_use]
    pub const fn with_chain(self) -> BucketHeader {
        self.changed_to(self.0 | CHAINED)
    }

    /// With the version stepped: from stable to changing, or from changing to stable.
    #[must_use]
    pub const fn stepped(self) -> BucketHeader {
        let version = (self.0 & VERSION_MASK).wrapping_add(1 << VERSION_SHIFT) & VERSION_MASK;
        self.changed_to(self.0 & !VERSION_MASK | version)
    }

    /// With the parity adjusted for a lane that changed from `old` to `new`.
    #[must_use]
    pub const fn with_lane_changed(self, old: u64, new: u64) -> BucketHeader {
        BucketHeader(self.0 ^ ((fold16(old ^ new) as u64) << PARITY_SHIFT))
    }

    /// Takes new fields below the parity and keeps the bucket's parity right.
    const fn changed_to(self, word: u64) -> BucketHeader {
        let changed = (self.0 ^ word) & !(0xFFFF << PARITY_SHIFT);
        BucketHeader(self.0 ^ changed ^ ((fold16(changed) as u64) << PARITY_SHIFT))
    }
}

#[inline]
const fn guest_bit(fragment: u32) -> u64 {
    let hash = fragment.wrapping_mul(0x85EB_CA6B) >> 8;
    1 << ((hash as u64 * FILTER_BITS as u64) >> FILTER_BITS)
}

/// Whether the exclusive or of a bucket's eight words is that of an undamaged bucket.
#[inline]
pub const fn bucket_is_whole(exclusive_or: u64) -> bool {
    fold16(exclusive_or) == 0
}

/// A directory word (position of a segment) or the depth word, protected by its fold.
#[inline]
pub const fn seal_word(value: u64) -> u64 {
    let low = value & !(0xFFFF << 48);
    low | ((fold16(low) ^ WORD_FOLD) as u64) << 48
}

/// What a sealed word says, unchecked: for a reader that checks whatever it leads to.
#[inline]
pub const fn sealed_value(word: u64) -> u64 {
    word & !(0xFFFF << 48)
}

/// The value in a sealed word; none if the word is damaged or was never written.
#[inline]
pub const fn unseal_word(word: u64) -> Option<u64> {
    if fold16(word) == WORD_FOLD { Some(sealed_value(word)) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_bucket_is_another_and_comes_back() {
        for fragment in (0..1 << FRAGMENT_BITS).step_by(977) {
            for bucket in [0, 1, 77, 255] {
                let other = other_bucket(bucket, fragment);
                assert!(other < SEGMENT_BUCKETS && other != bucket);
                assert_eq!(other_bucket(other, fragment), bucket);
            }
        }
    }

    #[test]
    fn headers_keep_parity_through_every_change() {
        let mut lanes = [0u64; LANES];
        let mut header = BucketHeader(0);
        for step in 0..2000u64 {
            let lane = (step % 7) as usize;
            let new = entry((step * 7919) as u32 & 0xFFF_FFFF, step % 3 == 0, step * 31 + 1);
            header = header.stepped().with_lane_changed(lanes[lane], new);
            lanes[lane] = new;
            header =
                if step % 2 == 0 { header.with_guest(step as u32) } else { header.without_guest() };
            header = header.stepped();
            assert!(!header.is_changing());
            let all = lanes.iter().fold(header.0, |sum, lane| sum ^ lane);
            assert!(bucket_is_whole(all), "step {step}");
            assert!(!bucket_is_whole(all ^ 1 << (step % 64)));
        }
    }

    #[test]
    fn guests_are_counted_and_filtered() {
        let header = BucketHeader(0).with_guest(5).with_guest(6);
        assert!(header.may_have_guest(5) && header.may_have_guest(6));
        assert_eq!(header.without_guest().guests(), 1);
        assert!(!header.without_guest().without_guest().may_have_guest(5));
        let mut full = BucketHeader(0);
        for fragment in 0..300 {
            full = full.with_guest(fragment);
        }
        assert_eq!(full.guests(), GUESTS_MAX);
        assert_eq!(full.without_guest().guests(), GUESTS_MAX, "a saturated count stays");
    }

    #[test]
    fn sealed_words_show_any_flipped_bit() {
        let word = seal_word(0x7_FFFF_FFFF);
        assert_eq!(unseal_word(word), Some(0x7_FFFF_FFFF));
        assert_eq!(unseal_word(0), None);
        for bit in 0..64 {
            assert_eq!(unseal_word(word ^ 1 << bit), None, "bit {bit}");
        }
    }

    #[test]
    fn entries_take_apart_what_they_put_together() {
        let word = entry(0xFFF_FFFF, true, (1 << POSITION_BITS) - 1);
        assert_eq!(word, u64::MAX);
        let word = entry(0x123_4567, false, 99);
        assert_eq!((entry_fragment(word), entry_position(word)), (0x123_4567, 99));
        assert!(!entry_is_guest(word) && entry_is_guest(entry_as_guest(word, true)));
        assert!(fragment_matches(word, 0x123_4567) && !fragment_matches(0, 0));
    }
}
