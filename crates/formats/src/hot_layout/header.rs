//! The header page of a hot map, its geometry, and the check of a header that somebody else wrote.
//!
//! ```text
//! word   0  magic                  word  16  directory depth, sealed (alone on its line: every
//!        1  version | header words           look-up reads it)
//!        2  map bytes              word  24  heartbeat, us UTC   25  applied batches
//!        3  hash seed                    26  state               27  generation
//!      4-5  store id                     28  completeness, odd: complete
//!        6  epoch                  word  32  rows                33  bytes in slots
//!        7  shard | shards << 32         34  segments            35  cell moves
//!        8  access domain                36  overflow buckets    37  evictions
//!        9  directory, position    words 40-47  marker of a clean stop (reserved): boot id (2),
//!       10  directory, cells                 build, applied, digest, 2 spare, checksum
//!       11  chunk table, position  words 48-511 spare, 0
//!       12  chunks
//!       13  first chunk, position
//!       14  spare, 0
//!       15  checksum of words 0-14
//! ```

use xxhash_rust::xxh3::xxh3_64;
use zerocopy::IntoBytes;

use super::index::seal_word;
use super::{CHUNK_BYTES, CHUNK_WORDS, MAP_BYTES_MAX, WORD_BYTES};

/// "THERMHOT", little-endian.
pub const MAGIC: u64 = u64::from_le_bytes(*b"THERMHOT");
/// Version of the layout that this build reads and writes.
pub const VERSION: u32 = 2;
/// Words of the header page.
pub const HEADER_WORDS: usize = 512;
/// Words of the header that never change while the map lives, its checksum included.
pub const STATIC_WORDS: usize = 16;
/// Smallest map in bytes.
pub const MAP_BYTES_MIN: u64 = 1 << 20;
/// A huge page in bytes.
pub const HUGE_PAGE_BYTES: u64 = 2 << 20;
/// Words of a chunk's record in the chunk table.
pub const CHUNK_RECORD_WORDS: usize = 4;
/// Directory cells set aside for each chunk, rounded up over the map to a power of two: the index of
/// the smallest useful rows takes a quarter of a map, and then a segment still has sixteen cells.
pub const CELLS_PER_CHUNK: usize = 16;
/// Depth with which a directory begins: 8 cells.
pub const DEPTH_MIN: u32 = 3;

/// Word of the sealed directory depth.
pub const DEPTH_WORD: usize = 16;
/// Word of the heartbeat, microseconds UTC.
pub const HEARTBEAT_WORD: usize = 24;
/// Word of the writer's count of applied batches.
pub const APPLIED_WORD: usize = 25;
/// Word of the map's state.
pub const STATE_WORD: usize = 26;
/// Word of the generation, set by the engine.
pub const GENERATION_WORD: usize = 27;
/// Word of the completeness: odd while the table has the newest row of every key, stepped whenever
/// that begins or ends. It only grows.
pub const COMPLETE_WORD: usize = 28;
/// Word of the number of rows.
pub const ROWS_WORD: usize = 32;
/// Word of the bytes in used slots.
pub const SLOT_BYTES_WORD: usize = 33;
/// Word of the number of index segments.
pub const SEGMENTS_WORD: usize = 34;
/// Word of the number of times that cells were moved.
pub const MOVES_WORD: usize = 35;
/// Word of the number of overflow buckets in use.
pub const OVERFLOW_WORD: usize = 36;
/// Word of the number of evicted rows.
pub const EVICTIONS_WORD: usize = 37;
/// First word of the marker of a clean stop (reserved).
pub const CLEAN_MARKER_WORD: usize = 40;

/// State: the writer is serving.
pub const STATE_LIVE: u64 = 1;
/// State: the writer has moved on; readers must let the map go.
pub const STATE_RETIRED: u64 = 2;
/// State: the writer stopped cleanly and the marker is valid (reserved).
pub const STATE_STOPPED: u64 = 3;

/// Chunk record, word 0: what the chunk holds in its low 8 bits, the size class above.
pub const CHUNK_FREE: u64 = 0;
/// The chunk holds index segments or overflow buckets.
pub const CHUNK_INDEX: u64 = 1;
/// The chunk holds slots of one class.
pub const CHUNK_SLOTS: u64 = 2;
/// The chunk begins one large row.
pub const CHUNK_RUN: u64 = 3;
/// The chunk continues the large row that began before it.
pub const CHUNK_RUN_TAIL: u64 = 4;
/// Chunk record, word 1: rows in it. Word 2: expiry bucket (reserved). Word 3: spare.
pub const CHUNK_LIVE_WORD: usize = 1;

const _: () = assert!(HEADER_WORDS * WORD_BYTES == 4096);
const _: () = assert!(DEPTH_WORD / 8 != HEARTBEAT_WORD / 8 && DEPTH_WORD >= STATIC_WORDS);
const _: () = assert!(CLEAN_MARKER_WORD > EVICTIONS_WORD && COMPLETE_WORD / 8 != ROWS_WORD / 8);

/// Why a header was not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The map is shorter than a header or than what the header claims.
    #[error("the hot map has {actual_bytes} bytes where {expected_bytes} were expected")]
    Size {
        /// Bytes that there are.
        actual_bytes: u64,
        /// Bytes that there should be.
        expected_bytes: u64,
    },
    /// It does not begin with the magic of a hot map.
    #[error("not a hot map: it begins with {found:#018x}")]
    Magic {
        /// The first word.
        found: u64,
    },
    /// A layout of another version.
    #[error(
        "hot map layout version {found}, this build reads version {VERSION}: use the same release"
    )]
    Version {
        /// The version found.
        found: u32,
    },
    /// The header's checksum does not fit its words.
    #[error("the header of the hot map is damaged: its checksum does not match")]
    Checksum,
    /// The header is whole, and what it says cannot be.
    #[error("the header of the hot map contradicts itself in {field}")]
    Geometry {
        /// The field that is wrong.
        field: &'static str,
    },
}

/// Where the parts of a map of some size lie. Positions and lengths in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Words of the whole map.
    pub map_words: usize,
    /// Position of directory cell 0.
    pub directory_word: usize,
    /// Cells that the directory can have, a power of two.
    pub directory_cells: usize,
    /// Position of the first chunk's record.
    pub table_word: usize,
    /// Position of the first chunk, a multiple of the chunk size.
    pub arena_word: usize,
    /// Number of chunks.
    pub chunks: usize,
}

/// Bytes of the map that is made where so many are given: whole huge pages, whole chunks where there is no room for one.
pub const fn whole_map_bytes(given_bytes: u64) -> u64 {
    let unit = if given_bytes >= HUGE_PAGE_BYTES { HUGE_PAGE_BYTES } else { CHUNK_BYTES as u64 };
    given_bytes / unit * unit
}

impl Geometry {
    /// Lays out a map of `map_bytes`, a multiple of the chunk size.
    pub fn plan(map_bytes: u64) -> Result<Geometry, HeaderError> {
        let wrong_size =
            HeaderError::Size { actual_bytes: map_bytes, expected_bytes: MAP_BYTES_MIN };
        if !(MAP_BYTES_MIN..=MAP_BYTES_MAX).contains(&map_bytes)
            || !map_bytes.is_multiple_of(CHUNK_BYTES as u64)
        {
            return Err(wrong_size);
        }
        let map_words = usize::try_from(map_bytes / WORD_BYTES as u64).map_err(|_| wrong_size)?;
        let chunks_at_most = map_words / CHUNK_WORDS;
        let directory_cells = (chunks_at_most * CELLS_PER_CHUNK).next_power_of_two();
        let table_word = HEADER_WORDS + directory_cells;
        let arena_word =
            (table_word + chunks_at_most * CHUNK_RECORD_WORDS).next_multiple_of(CHUNK_WORDS);
        let chunks = (map_words - arena_word) / CHUNK_WORDS;
        let directory_word = HEADER_WORDS;
        Ok(Geometry { map_words, directory_word, directory_cells, table_word, arena_word, chunks })
    }

    /// Deepest that the directory can get.
    #[inline]
    pub fn depth_max(&self) -> u32 {
        self.directory_cells.trailing_zeros()
    }

    /// Position of a chunk.
    #[inline]
    pub fn chunk_word(&self, chunk: usize) -> usize {
        self.arena_word + chunk * CHUNK_WORDS
    }

    /// Position of a chunk's record.
    #[inline]
    pub fn record_word(&self, chunk: usize) -> usize {
        self.table_word + chunk * CHUNK_RECORD_WORDS
    }
}

/// Who wrote a map, and of what it is a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapInfo {
    /// Bytes of the whole map.
    pub map_bytes: u64,
    /// Seed of the store's hashes; also binds the rows' checksums.
    pub hash_seed: u64,
    /// The store.
    pub store_id: u128,
    /// The opening of the store in which this map was made.
    pub epoch: u64,
    /// The shard whose rows these are.
    pub shard: u32,
    /// Number of shards.
    pub shards: u32,
    /// The access domain.
    pub domain: u64,
}

/// The static words of a header.
pub fn encode_header(info: &MapInfo, geometry: &Geometry) -> [u64; STATIC_WORDS] {
    let mut words = [0; STATIC_WORDS];
    words[0] = MAGIC;
    words[1] = u64::from(VERSION) | (HEADER_WORDS as u64) << 32;
    words[2] = info.map_bytes;
    words[3] = info.hash_seed;
    words[4] = info.store_id as u64;
    words[5] = (info.store_id >> 64) as u64;
    words[6] = info.epoch;
    words[7] = u64::from(info.shard) | u64::from(info.shards) << 32;
    words[8] = info.domain;
    words[9] = geometry.directory_word as u64;
    words[10] = geometry.directory_cells as u64;
    words[11] = geometry.table_word as u64;
    words[12] = geometry.chunks as u64;
    words[13] = geometry.arena_word as u64;
    words[15] = xxh3_64(words[..15].as_bytes());
    words
}

/// Checks the static words of a header against the size that the map really has.
///
/// Nothing is computed from a length before the checksum has been checked, and the geometry must be
/// exactly the one that this version plans for the size: an attacker can choose none of it.
pub fn decode_header(
    words: &[u64; STATIC_WORDS],
    actual_bytes: u64,
) -> Result<(MapInfo, Geometry), HeaderError> {
    if words[0] != MAGIC {
        return Err(HeaderError::Magic { found: words[0] });
    }
    let version = words[1] as u32;
    if version != VERSION {
        return Err(HeaderError::Version { found: version });
    }
    if words[15] != xxh3_64(words[..15].as_bytes()) {
        return Err(HeaderError::Checksum);
    }
    if words[2] != actual_bytes {
        return Err(HeaderError::Size { actual_bytes, expected_bytes: words[2] });
    }
    let info = MapInfo {
        map_bytes: words[2],
        hash_seed: words[3],
        store_id: u128::from(words[4]) | u128::from(words[5]) << 64,
        epoch: words[6],
        shard: words[7] as u32,
        shards: (words[7] >> 32) as u32,
        domain: words[8],
    };
    let geometry = Geometry::plan(actual_bytes)?;
    let expected = encode_header(&info, &geometry);
    const FIELDS: [&str; STATIC_WORDS] = [
        "magic",
        "version",
        "size",
        "seed",
        "store id",
        "store id",
        "epoch",
        "shards",
        "domain",
        "directory position",
        "directory cells",
        "chunk table position",
        "chunk count",
        "arena position",
        "spare word",
        "checksum",
    ];
    for (field, (found, wanted)) in FIELDS.iter().zip(words.iter().zip(&expected)) {
        if found != wanted {
            return Err(HeaderError::Geometry { field });
        }
    }
    if info.shards == 0 || info.shard >= info.shards {
        return Err(HeaderError::Geometry { field: "shards" });
    }
    Ok((info, geometry))
}

/// The sealed word for a directory of 2^`depth` cells.
pub fn depth_word(depth: u32) -> u64 {
    seal_word(u64::from(depth))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn sample() -> (MapInfo, Geometry) {
        let info = MapInfo {
            map_bytes: 4 << 20,
            hash_seed: 5,
            store_id: 6 << 64 | 7,
            epoch: 8,
            shard: 1,
            shards: 2,
            domain: 9,
        };
        (info, Geometry::plan(info.map_bytes).expect("a plan"))
    }

    #[test]
    fn parts_do_not_overlap_and_fill_the_map() {
        for map_bytes in [1 << 20, 4 << 20, 100 << 20, 24 << 30, MAP_BYTES_MAX] {
            let plan = Geometry::plan(map_bytes).expect("a plan");
            assert!(plan.directory_word >= HEADER_WORDS);
            assert!(plan.table_word >= plan.directory_word + plan.directory_cells);
            assert!(plan.arena_word >= plan.record_word(plan.chunks));
            assert_eq!(plan.chunk_word(plan.chunks), plan.map_words, "no tail");
            let around = plan.arena_word as u64 * 8;
            assert!(
                around <= 131_072 + map_bytes / 200,
                "{around} of {map_bytes} before the chunks"
            );
        }
        for (given, whole) in
            [(1 << 20, 1 << 20), ((1 << 20) + 65_537, (1 << 20) + 65_536), (5 << 20, 4 << 20)]
        {
            assert_eq!(whole_map_bytes(given), whole);
            assert!(Geometry::plan(whole).is_ok());
        }
        assert!(Geometry::plan(MAP_BYTES_MIN - 65_536).is_err());
        assert!(Geometry::plan(MAP_BYTES_MIN + 1).is_err());
        assert!(Geometry::plan(MAP_BYTES_MAX + 65_536).is_err());
    }

    #[test]
    fn header_round_trips() {
        let (info, plan) = sample();
        let words = encode_header(&info, &plan);
        assert_eq!(decode_header(&words, info.map_bytes), Ok((info, plan)));
    }

    #[test]
    fn any_flipped_bit_is_refused() {
        let (info, plan) = sample();
        let words = encode_header(&info, &plan);
        for word in 0..STATIC_WORDS {
            for bit in 0..64 {
                let mut hostile = words;
                hostile[word] ^= 1 << bit;
                assert!(decode_header(&hostile, info.map_bytes).is_err(), "word {word} bit {bit}");
            }
        }
    }

    #[test]
    fn a_header_with_a_right_checksum_and_a_wrong_geometry_is_refused() {
        let (info, plan) = sample();
        for word in 9..15 {
            let mut hostile = encode_header(&info, &plan);
            hostile[word] += 8;
            hostile[15] = xxh3_64(hostile[..15].as_bytes());
            let refused = decode_header(&hostile, info.map_bytes);
            assert!(matches!(refused, Err(HeaderError::Geometry { .. })), "{word}: {refused:?}");
        }
        let mut other = encode_header(&info, &plan);
        other[1] += 1;
        assert_eq!(decode_header(&other, info.map_bytes), Err(HeaderError::Version { found: 3 }));
        assert!(matches!(
            decode_header(&encode_header(&info, &plan), info.map_bytes / 2),
            Err(HeaderError::Size { .. })
        ));
    }
}
