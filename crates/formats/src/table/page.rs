//! Bytes to and from the pages that every part of a table is made of.

use super::error::TableError;

/// `bytes`, if they are exactly `needed`.
pub(super) fn exactly<'a>(
    part: &'static str,
    bytes: &'a [u8],
    needed: u64,
) -> Result<&'a [u8], TableError> {
    let found = bytes.len() as u64;
    if found == needed { Ok(bytes) } else { Err(TableError::Length { part, needed, found }) }
}

/// Copies `field` to `at`.
pub(super) fn put(page: &mut [u8], at: usize, field: &[u8]) {
    page[at..at + field.len()].copy_from_slice(field);
}
