//! Reading a backup: nothing is looked at before the checksum holds, and no count is believed beyond the
//! bytes that are there.

use xxhash_rust::xxh3::xxh3_64;

use super::{BACKUP_MAGIC, BACKUP_VERSION, Backup, BackupError, BackupFile, pieces_of};
use crate::bytes_at::{u16_at, u64_at};
use crate::manifest::Manifest;
use crate::take::Take;

/// Bytes before the manifest.
const FIXED_BYTES: usize = 32;

impl Backup {
    /// Verifies and reads a backup: `bytes` is the whole file.
    ///
    /// # Errors
    /// The bytes are not what a writer writes.
    pub fn parse(bytes: &[u8]) -> Result<Self, BackupError> {
        let found = bytes.len();
        let short = |what| BackupError::Length { what, found };
        if found < FIXED_BYTES + 8 {
            return Err(short("the fixed fields"));
        }
        if bytes[..8] != BACKUP_MAGIC {
            return Err(BackupError::Magic);
        }
        let version = u16_at(bytes, 8);
        if version > BACKUP_VERSION {
            return Err(BackupError::NewerVersion(version));
        }
        let (body, checksum) = bytes.split_at(found - 8);
        if xxh3_64(body) != u64_at(checksum, 0) {
            return Err(BackupError::Checksum);
        }
        if version != BACKUP_VERSION || body[10..12] != [0; 2] {
            return Err(BackupError::Field("version"));
        }
        let mut take = Take::new(&body[12..]);
        let (files, taken_us, manifest) = fixed(&mut take).ok_or(short("the fixed fields"))?;
        let manifest = manifest.and_then(|bytes| take.bytes(bytes)).ok_or(short("the manifest"))?;
        let manifest_read = Manifest::parse(manifest)?;
        // A manifest of an older version would be written differently: a backup has the present one.
        if manifest_read.to_bytes() != manifest {
            return Err(BackupError::Field("manifest"));
        }
        let mut backup = Self { taken_us, manifest: manifest_read, files: Vec::new() };
        for _ in 0..files {
            backup.files.push(file(&mut take).ok_or(short("the files"))?);
        }
        if take.left() > 0 {
            return Err(short("the fields"));
        }
        backup.check()?;
        Ok(backup)
    }
}

/// How many files there are, when it was taken, and bytes of the manifest.
fn fixed(take: &mut Take<'_>) -> Option<(u32, i64, Option<usize>)> {
    let (files, taken_us, manifest) = (take.u32()?, take.i64()?, take.u64()?);
    Some((files, taken_us, usize::try_from(manifest).ok()))
}

/// The next file; `None` when the bytes end inside it.
fn file(take: &mut Take<'_>) -> Option<BackupFile> {
    let (file_id, bytes) = (take.u64()?, take.u64()?);
    let checksums_bytes = usize::try_from(pieces_of(bytes)).ok()?.checked_mul(8)?;
    let checksums = take.bytes(checksums_bytes)?;
    let pieces = checksums.chunks_exact(8).map(|piece| u64_at(piece, 0)).collect();
    Some(BackupFile { file_id, bytes, pieces })
}
