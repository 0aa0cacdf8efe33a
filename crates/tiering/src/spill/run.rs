//! One sorted sequence of records: in memory, or in blocks of a file.

use thermae_env::{Env, File};
use thermae_formats::hash::checksum32;

use super::dir::SpillFile;
use super::{SpillDir, SpillError, lead_of};

/// Bytes before a record: its length.
const FRAME_BYTES: usize = 4;
/// Records that are asked for together.
pub(super) const TOGETHER: usize = 16;

/// Records one after the other, each after its length.
#[derive(Default)]
pub(super) struct Arena(pub(super) Vec<u8>);

/// Where a record lies in an arena, and what decides nearly every comparison.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) lead: u64,
    at: usize,
}

/// A block of a run's file.
pub(super) struct Block {
    /// Lead of its first record.
    lead: u64,
    offset_bytes: u64,
    bytes: usize,
    checksum: u32,
}

/// Sorted records.
pub(super) enum Run<E: Env> {
    Memory(Arena, Vec<Place>),
    File(SpillFile<E>, Vec<Block>),
}

/// Writes a run's file, records in order.
pub(super) struct RunWriter<E: Env> {
    file: SpillFile<E>,
    blocks: Vec<Block>,
    pending: Arena,
    lead: u64,
    end_bytes: u64,
    block_bytes: usize,
}

/// Where a reader stands in a run.
#[derive(Default)]
pub(super) struct Cursor {
    /// The next place, or the next block.
    next: usize,
    /// The first place that has not been asked for yet.
    asked: usize,
    /// The block of a file that is being read, and where the present record and the next one begin in it.
    block: Arena,
    present: usize,
    at: usize,
}

impl Arena {
    /// Bytes that a record takes.
    pub fn framed_bytes(record: &[u8]) -> usize {
        FRAME_BYTES + record.len()
    }

    pub fn push(&mut self, record: &[u8]) -> Place {
        debug_assert!(u32::try_from(record.len()).is_ok(), "a record of {} bytes", record.len());
        let at = self.0.len();
        self.0.extend_from_slice(&(record.len() as u32).to_le_bytes());
        self.0.extend_from_slice(record);
        Place { lead: lead_of(record), at }
    }

    pub fn record(&self, place: Place) -> &[u8] {
        self.record_at(place.at)
    }

    /// Asks for the memory of records that are about to be read one by one, so that the waits for it overlap:
    /// in the order of a sort nearly each is a wait of its own.
    pub fn ask_for(&self, places: &[Place]) {
        let bytes = |place: &Place| {
            let line = 64;
            self.0.get(place.at).unwrap_or(&0) ^ self.0.get(place.at + line).unwrap_or(&0)
        };
        // Loads that nothing depends on overlap by themselves.
        std::hint::black_box(places.iter().map(bytes).fold(0, |all, byte| all ^ byte));
    }

    /// The record at an offset that was one's end, or 0; nothing at the end.
    fn record_at(&self, at: usize) -> &[u8] {
        let Some((frame, rest)) = self.0.get(at..).and_then(|rest| rest.split_first_chunk()) else {
            return &[];
        };
        rest.get(..u32::from_le_bytes(*frame) as usize).unwrap_or_default()
    }
}

impl<E: Env> Run<E> {
    /// A cursor before the first record whose lead is `least` or more, or some records earlier.
    pub fn begin(&self, least: u64) -> Cursor {
        let next = match self {
            Self::Memory(_, places) => places.partition_point(|place| place.lead < least),
            // Records of that lead may begin in the block before the first that begins with it.
            Self::File(_, blocks) => {
                blocks.partition_point(|block| block.lead < least).saturating_sub(1)
            }
        };
        Cursor { next, ..Cursor::default() }
    }

    /// Goes to the next record, and tells its lead; `None` at the end.
    pub fn advance(&self, cursor: &mut Cursor) -> Result<Option<u64>, SpillError> {
        match self {
            Self::Memory(arena, places) => {
                let Some(place) = places.get(cursor.next) else { return Ok(None) };
                if cursor.next >= cursor.asked {
                    cursor.asked = places.len().min(cursor.next + TOGETHER);
                    arena.ask_for(places.get(cursor.next..cursor.asked).unwrap_or_default());
                }
                cursor.next += 1;
                Ok(Some(place.lead))
            }
            Self::File(file, blocks) => {
                if cursor.at >= cursor.block.0.len() {
                    let Some(block) = blocks.get(cursor.next) else { return Ok(None) };
                    file.read(block, &mut cursor.block.0)?;
                    (cursor.next, cursor.at) = (cursor.next + 1, 0);
                }
                cursor.present = cursor.at;
                let record = cursor.block.record_at(cursor.present);
                cursor.at += Arena::framed_bytes(record);
                Ok(Some(lead_of(record)))
            }
        }
    }

    /// The record that a cursor has gone to.
    pub fn present<'c>(&'c self, cursor: &'c Cursor) -> &'c [u8] {
        match self {
            Self::Memory(arena, places) => {
                let place = cursor.next.checked_sub(1).and_then(|at| places.get(at));
                place.map_or(&[], |place| arena.record(*place))
            }
            Self::File(..) => cursor.block.record_at(cursor.present),
        }
    }
}

impl<E: Env> SpillFile<E> {
    fn read(&self, block: &Block, into: &mut Vec<u8>) -> Result<(), SpillError> {
        into.resize(block.bytes, 0);
        let read = self.file.read_at(into, block.offset_bytes);
        let read = read.map_err(|source| SpillError::io("read", &self.path, 0, source))?;
        if read != block.bytes || checksum32(into) != block.checksum {
            let (path, offset_bytes) = (self.path.clone(), block.offset_bytes);
            return Err(SpillError::Damaged { path, offset_bytes });
        }
        Ok(())
    }
}

impl<E: Env> RunWriter<E> {
    pub fn create(dir: &SpillDir<E>, block_bytes: usize) -> Result<Self, SpillError> {
        let file = dir.create()?;
        let (blocks, pending) = (Vec::new(), Arena::default());
        Ok(Self { file, blocks, pending, lead: 0, end_bytes: 0, block_bytes })
    }

    pub fn push(&mut self, record: &[u8]) -> Result<(), SpillError> {
        let bytes = self.pending.0.len();
        if bytes > 0 && bytes + Arena::framed_bytes(record) > self.block_bytes {
            self.write_block()?;
        }
        let place = self.pending.push(record);
        if self.pending.0.len() == Arena::framed_bytes(record) {
            self.lead = place.lead;
        }
        Ok(())
    }

    pub fn finish(mut self) -> Result<Run<E>, SpillError> {
        self.write_block()?;
        Ok(Run::File(self.file, self.blocks))
    }

    fn write_block(&mut self) -> Result<(), SpillError> {
        let (bytes, offset_bytes) = (self.pending.0.len(), self.end_bytes);
        let written = self.file.file.write_all_at(&self.pending.0, offset_bytes);
        let path = &self.file.path;
        written.map_err(|source| SpillError::io("write", path, bytes as u64, source))?;
        let checksum = checksum32(&self.pending.0);
        self.blocks.push(Block { lead: self.lead, offset_bytes, bytes, checksum });
        self.end_bytes += bytes as u64;
        self.pending.0.clear();
        Ok(())
    }
}
