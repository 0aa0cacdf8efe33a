//! Reading and replacing the MANIFEST; the one that all shards of an open directory share.

mod shared;

use std::io;
use std::path::{Path, PathBuf};

use thermae_env::{Env, File, OpenHow};
use thermae_formats::manifest::{Manifest, ManifestError};

use super::error::is_disk_full;
use super::{LogError, MANIFEST};

pub use shared::{DurableStart, ManifestStore, WARM, file_id, first_file_id};

/// Longest manifest that is read or written, in bytes: over half a million logs and tables.
const MAX_BYTES: u64 = 64 << 20;

/// Path of the manifest of a data directory.
pub(super) fn manifest_path(dir: &Path) -> PathBuf {
    dir.join(MANIFEST)
}

/// Reads and verifies the manifest; `None` when there is none.
pub(super) fn read<E: Env>(env: &E, dir: &Path) -> Result<Option<Manifest>, LogError> {
    let path = manifest_path(dir);
    let file = match env.open(&path, OpenHow::READ) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(LogError::io("open", &path, error)),
    };
    let len = file.len_bytes().map_err(|e| LogError::io("measure", &path, e))?;
    if len > MAX_BYTES {
        return Err(LogError::damaged(&path, 0, format!("{len} bytes are too many")));
    }
    let mut bytes = vec![0; len as usize];
    let read = file.read_at(&mut bytes, 0).map_err(|e| LogError::io("read", &path, e))?;
    bytes.truncate(read);
    match Manifest::parse(&bytes) {
        Ok(manifest) => Ok(Some(manifest)),
        Err(error @ ManifestError::NewerVersion(_)) => {
            Err(LogError::NewerVersion { path, what: error.to_string() })
        }
        Err(error) => Err(LogError::damaged(&path, 0, error)),
    }
}

/// How many shards a directory was opened with last: opened with as many again, its tables stay as they are.
///
/// # Errors
/// There is no manifest, or it cannot be read.
pub fn shards_of<E: Env>(env: &E, dir: &Path) -> Result<usize, LogError> {
    let missing = || LogError::NoManifest { path: manifest_path(dir) };
    let manifest = read(env, dir)?.ok_or_else(missing)?;
    Ok(manifest.trees.len().max(manifest.current.len()).max(1))
}

/// Replaces the manifest, durably: afterwards a crash finds the new one, before it the old one.
pub(super) fn commit<E: Env>(env: &E, dir: &Path, manifest: &Manifest) -> Result<(), LogError> {
    let path = manifest_path(dir);
    let making = dir.join("MANIFEST.tmp");
    let bytes = manifest.to_bytes();
    if bytes.len() as u64 > MAX_BYTES {
        return Err(LogError::Manifest(format!("{} bytes are too many", bytes.len())));
    }
    let written = (|| {
        if env.exists(&making)? {
            env.remove(&making)?;
        }
        let file = env.open(&making, OpenHow::CREATE)?;
        file.write_all_at(&bytes, 0)?;
        file.sync_data()?;
        env.rename(&making, &path)?;
        env.sync_dir(dir)
    })();
    written.map_err(|error| match is_disk_full(&error) {
        true => LogError::DiskFull { path, needed_bytes: bytes.len() as u64 },
        false => LogError::io("replace", &path, error),
    })
}
