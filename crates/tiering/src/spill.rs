//! Records sorted as bytes, within a bound of memory whatever their number.
//!
//! Records that fit into memory are sorted there. Of more, each memory full is sorted and written to a file
//! of its own, a *run*, and the runs are merged as they are read, all records or those of a range
//! ([`Sorted::read`]); more runs than may be read at once are merged to fewer first. What order means is the
//! business of whoever encodes the records.
//!
//! Spill files are nobody's truth. They are not synced, they vanish with their last reader, and what a
//! killed process left goes at the next start ([`SpillDir::clear`]). Where their blocks lie and what they hold
//! as a checksum stays in memory, so a block that reads back otherwise is an error, never a record.

mod bytes;
mod dir;
mod error;
mod read;
mod run;
mod sort;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;

pub use bytes::{SpillBytes, SpillBytesReader};
pub use dir::SpillDir;
pub use error::SpillError;
pub use read::SortedReader;
pub use sort::{Sorted, Sorter};

/// Shares of memory of one sort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that records may take before they become a run; a record larger than that is taken alone.
    pub memory_bytes: usize,
    /// Bytes of a block of a run, the unit of reading and writing; a larger record has a block to itself.
    pub block_bytes: usize,
    /// Runs that may be read at a time, a block of memory each; at least 2.
    pub fan_in: usize,
}

/// The leading eight bytes of a record as a number of the same order; absent bytes count as zeroes.
fn lead_of(record: &[u8]) -> u64 {
    let mut lead = [0; 8];
    let bytes = record.len().min(8);
    lead[..bytes].copy_from_slice(&record[..bytes]);
    u64::from_be_bytes(lead)
}
