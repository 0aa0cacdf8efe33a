//! Reading a manifest: nothing is looked at before the checksum holds, nothing is allocated before
//! the length fits the counts.

use xxhash_rust::xxh3::xxh3_64;

use super::{
    CurrentLog, LogStart, MANIFEST_MAGIC, MANIFEST_VERSION, Manifest, ManifestError, SealedLog,
    Tree, read_v1,
};
use crate::bytes_at::{u16_at, u64_at};
use crate::table::{TableKind, TableRef};
use crate::take::Take;

/// Bytes before the lists.
const FIXED_BYTES: usize = 80;
/// Shortest manifest of any version: the fixed part of version 1 and a checksum.
const LEAST_BYTES: usize = 64;
/// Bytes of an entry: present log, sealed log, table, tree, file id in a tree.
const ENTRY_BYTES: [u64; 5] = [40, 80, 64, 32, 8];

impl Manifest {
    /// Verifies and reads a manifest: `bytes` is the whole file.
    ///
    /// # Errors
    /// The bytes are not what a writer writes.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let found = bytes.len();
        if found < LEAST_BYTES {
            return Err(ManifestError::Length { needed: LEAST_BYTES as u64, found });
        }
        if bytes[..8] != MANIFEST_MAGIC {
            return Err(ManifestError::Magic);
        }
        let version = u16_at(bytes, 8);
        if version > MANIFEST_VERSION {
            return Err(ManifestError::NewerVersion(version));
        }
        let (body, checksum) = bytes.split_at(found - 8);
        if xxh3_64(body) != u64_at(checksum, 0) {
            return Err(ManifestError::Checksum);
        }
        let manifest = match version {
            1 => read_v1::read(body)?,
            MANIFEST_VERSION => read(body, found)?,
            _ => return Err(ManifestError::Field("version")),
        };
        manifest.check()?;
        Ok(manifest)
    }
}

fn read(body: &[u8], found: usize) -> Result<Manifest, ManifestError> {
    let mut take = Take::new(body);
    let short = ManifestError::Length { needed: FIXED_BYTES as u64 + 8, found };
    let (mut manifest, counts) = fixed(&mut take).ok_or(short)?;
    let lists = counts.iter().zip(ENTRY_BYTES).map(|(count, bytes)| u64::from(*count) * bytes);
    let needed = FIXED_BYTES as u64 + lists.sum::<u64>() + 8;
    if needed != found as u64 {
        return Err(ManifestError::Length { needed, found });
    }
    lists_of(&mut manifest, counts, &mut take).ok_or(ManifestError::Field("list of trees"))??;
    match manifest.to_bytes()[..body.len()] == *body {
        true => Ok(manifest),
        false => Err(ManifestError::Field("reserved space")),
    }
}

/// The fixed part, and the lengths of the lists.
fn fixed(take: &mut Take<'_>) -> Option<(Manifest, [u32; 5])> {
    take.bytes(10)?;
    let (partitions, epoch, store_id) = (take.u16()?, take.u32()?, take.id()?);
    let (hash_seed, segment_bytes, next_file_id) = (take.u64()?, take.u64()?, take.u64()?);
    let counts = [take.u32()?, take.u32()?, take.u32()?, take.u32()?, take.u32()?];
    let manifest = Manifest {
        store_id,
        hash_seed,
        partitions,
        segment_bytes,
        epoch,
        covered_epoch: take.u32()?,
        current: Vec::new(),
        sealed: Vec::new(),
        next_file_id,
        tables: Vec::new(),
        trees: Vec::new(),
    };
    Some((manifest, counts))
}

/// Reads the lists; `None` when the trees' lists are longer than the file ids that follow them.
fn lists_of(
    manifest: &mut Manifest,
    [current, sealed, tables, trees, _]: [u32; 5],
    take: &mut Take<'_>,
) -> Option<Result<(), ManifestError>> {
    for _ in 0..current {
        let (shard, segment) = (take.u32()? as u16, take.u32()?);
        manifest.current.push(CurrentLog { shard, start: start(segment, take)? });
    }
    for _ in 0..sealed {
        manifest.sealed.push(sealed_log(take)?);
    }
    for _ in 0..tables {
        match table(take)? {
            Ok(table) => manifest.tables.push(table),
            Err(error) => return Some(Err(error)),
        }
    }
    let mut lengths = Vec::new();
    for _ in 0..trees {
        let (shard, _, latest, history) =
            (take.u32()? as u16, take.u32()?, take.u32()?, take.u32()?);
        let (checkpoint, checkpoint_checksum) = (take.u64()?, take.u64()?);
        let (none, also_none) = (Vec::new(), Vec::new());
        lengths.push((latest, history));
        manifest.trees.push(Tree {
            shard,
            latest: none,
            history: also_none,
            checkpoint,
            checkpoint_checksum,
        });
    }
    for (tree, (latest, history)) in manifest.trees.iter_mut().zip(lengths) {
        tree.latest = ids(latest, take)?;
        tree.history = ids(history, take)?;
    }
    (take.left() == 0).then_some(Ok(()))
}

fn start(segment: u32, take: &mut Take<'_>) -> Option<LogStart> {
    let (salt, batches, records, chain) = (take.u64()?, take.u64()?, take.u64()?, take.u64()?);
    Some(LogStart { segment, salt, batches, records, chain })
}

fn sealed_log(take: &mut Take<'_>) -> Option<SealedLog> {
    let (epoch, shard, segment, segments) =
        (take.u32()?, take.u32()? as u16, take.u32()?, take.u32()?);
    let start = start(segment, take)?;
    let (end_offset, batches, records, chain) =
        (take.u64()?, take.u64()?, take.u64()?, take.u64()?);
    Some(SealedLog { epoch, shard, start, segments, end_offset, batches, records, chain })
}

fn table(take: &mut Take<'_>) -> Option<Result<TableRef, ManifestError>> {
    let (file_id, kind, bytes) = (take.u64()?, take.u64()?, take.u64()?);
    let (rows, tombstones) = (take.u64()?, take.u64()?);
    let (min_event_time, max_event_time, checksum) = (take.i64()?, take.i64()?, take.u64()?);
    let kind = match kind {
        1 => TableKind::Latest,
        2 => TableKind::History,
        _ => return Some(Err(ManifestError::Field("list of tables"))),
    };
    Some(Ok(TableRef {
        file_id,
        kind,
        bytes,
        rows,
        tombstones,
        min_event_time,
        max_event_time,
        checksum,
    }))
}

/// The next `count` file ids, if they are there.
fn ids(count: u32, take: &mut Take<'_>) -> Option<Vec<u64>> {
    let bytes = take.bytes((count as usize).checked_mul(8)?)?;
    Some(bytes.chunks_exact(8).map(|id| u64_at(id, 0)).collect())
}
