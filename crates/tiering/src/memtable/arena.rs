//! Append-only bytes in chunks: what was written never moves, and growing copies nothing.

use std::num::NonZeroU32;

/// Bytes of the first chunks. Later ones are a quarter of all before, up to [`MOST_CHUNK_BYTES`], so that
/// what is not used yet is never a large part of the whole.
const FIRST_CHUNK_BYTES: usize = 4 << 10;
/// Bytes of a chunk in the long run: what 16 bits of [`ALIGN_BYTES`] can name.
const MOST_CHUNK_BYTES: usize = ALIGN_BYTES << 16;
/// Entries begin at multiples of this, so that 32 bits name a place.
const ALIGN_BYTES: usize = 8;

/// Where an entry begins: the chunk's number above, the offset in it (in units of 8 bytes) below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(NonZeroU32);

impl Place {
    /// One more than the bits, so that an empty slot of the index costs no byte of its own.
    fn new(chunk: usize, offset: usize) -> Self {
        let bits = (chunk as u32) << 16 | (offset / ALIGN_BYTES) as u32;
        Self(NonZeroU32::MIN.saturating_add(bits))
    }

    fn bits(self) -> u32 {
        self.0.get() - 1
    }

    fn chunk(self) -> usize {
        (self.bits() >> 16) as usize
    }

    fn offset(self) -> usize {
        (self.bits() & 0xFFFF) as usize * ALIGN_BYTES
    }
}

/// The chunks. Fewer than 65,536 of them: 32 GiB, far above any memtable's budget.
#[derive(Clone, Default)]
pub(super) struct Arena {
    chunks: Vec<Vec<u8>>,
    /// The chunk that ordinary entries go to; long ones have one each of their own.
    open: usize,
    /// Sum of the chunks' capacities.
    bytes: usize,
}

impl Arena {
    /// Heap bytes, what is not used yet included.
    pub fn bytes(&self) -> usize {
        self.bytes + self.chunks.capacity() * size_of::<Vec<u8>>()
    }

    /// Appends an entry of at most `most_bytes`, which `write` appends to the chunk it is given.
    pub fn push(&mut self, most_bytes: usize, write: impl FnOnce(&mut Vec<u8>)) -> Place {
        let at = self.room_for(most_bytes);
        let chunk = &mut self.chunks[at];
        let begin = chunk.len().next_multiple_of(ALIGN_BYTES);
        chunk.resize(begin, 0);
        write(chunk);
        Place::new(at, begin)
    }

    /// A chunk with room for an entry and its alignment.
    fn room_for(&mut self, most_bytes: usize) -> usize {
        let needed = most_bytes + ALIGN_BYTES;
        if needed > MOST_CHUNK_BYTES / 4 {
            return self.add_chunk(needed);
        }
        let left = self.chunks.get(self.open).map_or(0, |chunk| chunk.capacity() - chunk.len());
        if left < needed {
            let most = (self.bytes / 4).clamp(FIRST_CHUNK_BYTES, MOST_CHUNK_BYTES);
            self.open = self.add_chunk(most.max(needed));
        }
        self.open
    }

    fn add_chunk(&mut self, bytes: usize) -> usize {
        let chunk = Vec::with_capacity(bytes);
        self.bytes += chunk.capacity();
        self.chunks.push(chunk);
        self.chunks.len() - 1
    }

    /// The bytes from `place` to the end of its chunk.
    pub fn at(&self, place: Place) -> &[u8] {
        &self.chunks[place.chunk()][place.offset()..]
    }

    /// The same, to be changed.
    pub fn at_mut(&mut self, place: Place) -> &mut [u8] {
        &mut self.chunks[place.chunk()][place.offset()..]
    }

    /// Every entry's place, in the order of writing inside a chunk; `len_of` says how long the entry is
    /// that the bytes begin with.
    pub fn places(&self, len_of: impl Fn(&[u8]) -> usize) -> impl Iterator<Item = Place> {
        self.chunks.iter().enumerate().flat_map(move |(number, chunk)| {
            let len_of = &len_of;
            let mut next = 0;
            let mut found = Vec::new();
            while next < chunk.len() {
                found.push(Place::new(number, next));
                next += len_of(&chunk[next..]).next_multiple_of(ALIGN_BYTES);
            }
            found
        })
    }
}
