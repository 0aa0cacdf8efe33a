//! What can go wrong, by what the caller does next.

use thermae_formats::hot_layout::header::HeaderError;

/// A map could not be made, or could not be believed.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// The operating system refused a step.
    #[error("hot map of {bytes} bytes: {step}: {source}")]
    System {
        /// What was being done.
        step: &'static str,
        /// Bytes of the map.
        bytes: u64,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The map would not fit this machine's memory.
    #[error(
        "hot map of {bytes} bytes is larger than this machine's {memory_bytes} bytes of memory: \
         ask for less"
    )]
    LargerThanMemory {
        /// Bytes asked for.
        bytes: u64,
        /// Bytes of memory.
        memory_bytes: u64,
    },
    /// The header was not believed.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The file behind the descriptor could be shortened under the reader's feet.
    #[error("the hot map's descriptor is not sealed against shrinking: not mapped")]
    NotSealed,
    /// A map of another store, shard or domain than expected.
    #[error("the hot map belongs to another {what} than the one asked for")]
    Foreign {
        /// What differs.
        what: &'static str,
    },
    /// The map lives on the heap and has no descriptor.
    #[error("this hot map lives on the heap and cannot be handed to another process")]
    NoDescriptor,
}

/// A row was refused because of space; nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("hot memory: {cause} (needs {needed_bytes} bytes, {free_bytes} free)")]
pub struct Full {
    /// Bytes of the slot that the row needs.
    pub needed_bytes: u64,
    /// Bytes in chunks that rows may still claim.
    pub free_bytes: u64,
    /// Why.
    pub cause: FullCause,
}

/// Why a row was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FullCause {
    /// No memory is left in the budget.
    #[error("the budget is used up")]
    Memory,
    /// No row of this size is taken at all.
    #[error("the row is larger than a row may be")]
    RowTooLarge,
}

/// A write that could not be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HotError {
    /// The reservation was made for a smaller row, or by another writer.
    #[error("the reservation is for {reserved_bytes} bytes, the row needs {needed_bytes}")]
    ReservationTooSmall {
        /// Slot bytes reserved.
        reserved_bytes: u64,
        /// Slot bytes needed.
        needed_bytes: u64,
    },
    /// The index of the map is damaged where the row belongs: rebuild the map from the log.
    #[error("hot index damaged: {0}")]
    Damaged(Corruption),
}

/// A damaged place in a map. What lies there was not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {position_bytes} of the hot map does not match its checksum")]
pub struct Corruption {
    /// Offset from the start of the map, in bytes.
    pub position_bytes: u64,
    /// What lies there.
    pub what: &'static str,
}

impl Corruption {
    pub(crate) fn at(word: usize, what: &'static str) -> Corruption {
        Corruption { position_bytes: word as u64 * 8, what }
    }
}
