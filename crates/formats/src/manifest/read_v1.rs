//! Version 1 of the manifest: logs only, each from its batch 1.

use super::{CurrentLog, LogStart, Manifest, ManifestError, SealedLog};
use crate::take::Take;

const FIXED_BYTES: u64 = 56;
const CURRENT_BYTES: u64 = 16;
const SEALED_BYTES: u64 = 56;

/// Reads the bytes before the checksum, which holds.
pub(super) fn read(body: &[u8]) -> Result<Manifest, ManifestError> {
    let found = body.len() + 8;
    let mut take = Take::new(body);
    let short = ManifestError::Length { needed: FIXED_BYTES + 8, found };
    let (mut manifest, current, sealed) = fixed(&mut take).ok_or(short)?;
    let needed =
        FIXED_BYTES + CURRENT_BYTES * u64::from(current) + SEALED_BYTES * u64::from(sealed) + 8;
    if needed != found as u64 {
        return Err(ManifestError::Length { needed, found });
    }
    let reserved = ManifestError::Field("reserved space");
    for _ in 0..current {
        manifest.current.push(current_log(&manifest, &mut take).ok_or_else(|| reserved.clone())?);
    }
    for _ in 0..sealed {
        manifest.sealed.push(sealed_log(&manifest, &mut take).ok_or_else(|| reserved.clone())?);
    }
    Ok(manifest)
}

fn fixed(take: &mut Take<'_>) -> Option<(Manifest, u32, u32)> {
    take.bytes(10)?;
    let (partitions, epoch, store_id) = (take.u16()?, take.u32()?, take.id()?);
    let manifest = Manifest {
        store_id,
        hash_seed: take.u64()?,
        partitions,
        segment_bytes: take.u64()?,
        epoch,
        covered_epoch: 0,
        current: Vec::new(),
        sealed: Vec::new(),
        next_file_id: 1,
        tables: Vec::new(),
        trees: Vec::new(),
    };
    Some((manifest, take.u32()?, take.u32()?))
}

/// A present log; `None` when its reserved space is not zero.
fn current_log(manifest: &Manifest, take: &mut Take<'_>) -> Option<CurrentLog> {
    let (shard, salt) = (small(take.u64()?)?, take.u64()?);
    let start = LogStart::first(&manifest.store_id, manifest.epoch, shard, salt);
    Some(CurrentLog { shard, start })
}

/// A sealed log; `None` when its reserved space is not zero.
fn sealed_log(manifest: &Manifest, take: &mut Take<'_>) -> Option<SealedLog> {
    let (epoch, shard) = (take.u32()?, small(u64::from(take.u32()?))?);
    let segments = u32::try_from(take.u64()?).ok()?;
    let start = LogStart::first(&manifest.store_id, epoch, shard, take.u64()?);
    let (end_offset, batches, records, chain) =
        (take.u64()?, take.u64()?, take.u64()?, take.u64()?);
    Some(SealedLog { epoch, shard, start, segments, end_offset, batches, records, chain })
}

fn small(word: u64) -> Option<u16> {
    u16::try_from(word).ok()
}
