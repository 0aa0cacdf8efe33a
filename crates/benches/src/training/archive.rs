//! The same history in an archive: a copy of the loaded store archives all of it, and lets what is superseded leave.

use super::data::Sizes;
use super::load::{MEMORY_BYTES, definition};
use crate::warm::load::{PUBLISHED, rest, tiers};
use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use thermae_engine::cold::ArchiveOptions;
use thermae_engine::{Options, Store};
use thermae_tiering::cold::LocalObjects;

/// How long rows wait to be archived, microseconds: a bench waits for them.
const LAG_US: i64 = 1_000_000;
/// Archiving and leaving take no longer, for each million rows.
const PATIENCE_A_MILLION: Duration = Duration::from_secs(30);

/// What archiving came to.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Archived {
    /// Rows archived a second, reading them out of the tables included, on one thread.
    pub rows_per_s: f64,
    /// Bytes of the archive's files for a row.
    pub bytes_per_row: f64,
}

/// Options of a store with its archive in `archive`.
///
/// # Errors
/// The directory cannot be made.
pub fn options(archive: &Path) -> anyhow::Result<Options> {
    let objects = Arc::new(LocalObjects::new(archive)?);
    let archive = ArchiveOptions::new(objects).lagging(LAG_US);
    let archive = Some(archive);
    Ok(Options { memory_bytes: MEMORY_BYTES, spin_us: 0, archive, ..Options::default() })
}

/// Copies the store in `loaded` to `folder`, archives all of its history in `archive`, and has what may leave leave.
///
/// # Errors
/// The archive is in trouble, or does not come to its end.
pub fn fill(
    loaded: &Path,
    folder: &Path,
    archive: &Path,
    sizes: &Sizes,
) -> anyhow::Result<Archived> {
    copy(loaded, folder)?;
    std::fs::create_dir_all(archive)?;
    let store = Store::open_with(folder, options(archive)?)?;
    let handle = store.handle();
    let patience = PATIENCE_A_MILLION * (1 + sizes.history / 1_000_000) as u32;
    let (mut began, opened) = (None, Instant::now());
    let figures = loop {
        let figures = handle.stats().archive.unwrap_or_default();
        ensure!(figures.trouble.is_none(), "the archive is in trouble: {figures:?}");
        if figures.archived_rows > 0 && began.is_none() {
            began = Some((Instant::now(), figures.archived_rows));
        }
        if figures.archived_rows >= sizes.history {
            break figures;
        }
        ensure!(opened.elapsed() < patience, "archived no more: {figures:?}");
        std::thread::sleep(Duration::from_millis(20));
    };
    let (began, before) = began.context("nothing was archived")?;
    let rows = figures.archived_rows - before;
    let rows_per_s = rows as f64 / began.elapsed().as_secs_f64();
    store.apply(&[definition(1)])?;
    while tiers(handle)?.history.rows > 0 {
        ensure!(opened.elapsed() < 2 * patience, "rows do not leave: {:?}", tiers(handle)?);
        std::thread::sleep(PUBLISHED);
    }
    rest(handle, &folder.join("warm"))?;
    store.close()?;
    let bytes_per_row = figures.bytes as f64 / figures.rows.max(1) as f64;
    Ok(Archived { rows_per_s, bytes_per_row })
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
