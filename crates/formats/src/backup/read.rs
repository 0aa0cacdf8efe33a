//! Reading a backup: nothing is looked at before the checksum holds, and no count is believed beyond the
//! bytes that are there.

use xxhash_rust::xxh3::xxh3_64;

use std::collections::BTreeMap;

use super::{
    ArchiveTable, BACKUP_MAGIC, BACKUP_VERSION, Backup, BackupArchive, BackupError, BackupFile,
    pieces_of,
};
use crate::ViewId;
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
        if version == 0 || body[10..12] != [0; 2] {
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
        let mut backup = Self {
            taken_us,
            manifest: manifest_read,
            files: Vec::new(),
            archive: None,
            attachments: BTreeMap::new(),
        };
        for _ in 0..files {
            backup.files.push(file(&mut take).ok_or(short("the files"))?);
        }
        let has_archive = match version {
            1 => false,
            2 => true,
            _ => match take.u32().ok_or(short("the archive"))? {
                0 => false,
                1 => true,
                _ => return Err(BackupError::Field("archive")),
            },
        };
        if has_archive {
            backup.archive = Some(archive(&mut take).ok_or(short("the archive"))??);
        }
        if version == BACKUP_VERSION {
            backup.attachments = attachments(&mut take).ok_or(short("the attachments"))??;
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

/// The archive; `None` when the bytes end inside it.
fn archive(take: &mut Take<'_>) -> Option<Result<BackupArchive, BackupError>> {
    let id = take.bytes(16)?.try_into().map(u128::from_le_bytes).ok()?;
    let (mut views, mut tables) = (BTreeMap::new(), BTreeMap::new());
    for _ in 0..take.u32()? {
        let (view, before_us) = (ViewId(take.u32()?), take.i64()?);
        // Written in their order, each once.
        if views.last_key_value().is_some_and(|(last, _)| *last >= view) {
            return Some(Err(BackupError::Field("archive")));
        }
        views.insert(view, before_us);
    }
    for _ in 0..take.u32()? {
        let (path_bytes, commits, state_bytes) = (take.u32()?, take.u64()?, take.u64()?);
        let path = std::str::from_utf8(take.bytes(path_bytes as usize)?).map(str::to_owned);
        let state = take.bytes(usize::try_from(state_bytes).ok()?)?.to_vec();
        let Ok(path) = path else { return Some(Err(BackupError::Field("archive"))) };
        if tables.last_key_value().is_some_and(|(last, _)| *last >= path) {
            return Some(Err(BackupError::Field("archive")));
        }
        tables.insert(path, ArchiveTable { commits, state });
    }
    Some(Ok(BackupArchive { id, views, tables }))
}

/// The attachments: at least one, or there is none to say so; `None` when the bytes end inside them.
fn attachments(take: &mut Take<'_>) -> Option<Result<BTreeMap<String, Vec<u8>>, BackupError>> {
    let impossible = Some(Err(BackupError::Field("list of attachments")));
    let mut attachments = BTreeMap::new();
    let count = take.u32()?;
    for _ in 0..count {
        let (name_bytes, bytes) = (take.u32()?, take.u64()?);
        let name = std::str::from_utf8(take.bytes(name_bytes as usize)?).map(str::to_owned);
        let bytes = take.bytes(usize::try_from(bytes).ok()?)?.to_vec();
        let Ok(name) = name else { return impossible };
        // Written in their order, each once.
        if attachments.last_key_value().is_some_and(|(last, _)| *last >= name) {
            return impossible;
        }
        attachments.insert(name, bytes);
    }
    if count == 0 { impossible } else { Some(Ok(attachments)) }
}
