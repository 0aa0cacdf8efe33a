//! Why bytes are no table.

use thiserror::Error;

use super::sizes::{TABLE_VERSION, TABLE_VERSION_STUBS};
use crate::version::VersionError;

/// Why bytes are no part of a table. Offsets count from the start of the part named.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TableError {
    /// The bytes given are fewer, or more, than the part has.
    #[error("the {part} has {needed} bytes, {found} are there")]
    Length {
        /// Part of the file.
        part: &'static str,
        /// Bytes that it has.
        needed: u64,
        /// Bytes given.
        found: u64,
    },
    /// Not a table.
    #[error("the {0} has not the magic of a table")]
    Magic(&'static str),
    /// A table of another format.
    #[error("table format version {0}, this build knows {TABLE_VERSION} and {TABLE_VERSION_STUBS}")]
    Version(u16),
    /// The bytes are not what was written there.
    #[error("the {0}'s checksum does not hold")]
    Checksum(&'static str),
    /// The part verifies but holds what no writer writes.
    #[error("the {part}'s {field} is impossible (byte {at})")]
    Field {
        /// Part of the file.
        part: &'static str,
        /// Field of it.
        field: &'static str,
        /// Offset of the field in the part.
        at: usize,
    },
    /// A row of a block is none.
    #[error("at byte {at} of a block's rows: {source}")]
    Row {
        /// Offset in the rows, decompressed.
        at: usize,
        /// What is wrong there.
        source: VersionError,
    },
}

/// Shorthand for [`TableError::Field`].
pub(super) const fn impossible(part: &'static str, field: &'static str, at: usize) -> TableError {
    TableError::Field { part, field, at }
}
