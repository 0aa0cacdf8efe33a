//! One version, looked up in a file.

use std::sync::Arc;

use thermae_formats::version::Version;

use super::objects::Objects;
use super::{ColdError, ColdFile, ColdScan};
use crate::merge::{SeekSource, Source};

/// Looks for the version of a key with this event time, created time and sequence, and gives it to `keep`. Its bloom
/// filters may tell that the file does not have it; else the rows between two fences are fetched.
///
/// # Errors
/// The object store fails, or the file is damaged.
pub fn find_version<R>(
    objects: &Arc<dyn Objects>,
    file: &Arc<ColdFile>,
    entity_hash: u64,
    key: &[u8],
    order: (i64, i64, u64),
    keep: impl FnOnce(&Version<'_>) -> R,
) -> Result<Option<R>, ColdError> {
    if !file.may_hold(entity_hash, key)? {
        return Ok(None);
    }
    let mut scan = ColdScan::from_hash(Arc::clone(objects), Arc::clone(file), entity_hash)?;
    scan.seek(entity_hash, key)?;
    while let Some((_, hash, version)) = scan.peek() {
        // The versions of a key stand from the newest to the oldest.
        if hash != entity_hash || version.key != key || version.order() < order {
            break;
        }
        if version.order() == order {
            return Ok(Some(keep(&version)));
        }
        scan.advance()?;
    }
    Ok(None)
}
