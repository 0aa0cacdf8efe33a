//! Looks for bytes in everything that a data directory holds: the files as they are, and what lies
//! compressed in tables.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use thermae_env::{Env, File, OpenHow};
use thermae_formats::ViewId;
use thermae_formats::manifest::Manifest;
use thermae_tiering::table::{Scratch, Table};

/// Views whose rows are looked at in tables.
const VIEWS_MAX: u32 = 16;
const SCAN_BYTES: usize = 64 << 10;

/// Where any of `needles` lies in the directory of a stopped store.
///
/// # Errors
/// A file cannot be read.
pub fn find<E: Env>(env: &E, dir: &Path, needles: &[Vec<u8>]) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    for path in files(env, dir)? {
        let bytes = read(env, &path)?;
        for needle in needles.iter().filter(|needle| holds(&bytes, needle)) {
            found.push(format!("{}: {}", path.display(), needle.escape_ascii()));
        }
    }
    let manifest = Manifest::parse(&read(env, &dir.join("MANIFEST"))?).map_err(text)?;
    for table_ref in &manifest.tables {
        let table = Table::open(env, &dir.join("warm"), &manifest.store_id, table_ref);
        let table = Arc::new(table.map_err(text)?);
        let mut scratch = Scratch::new();
        for view in (0..VIEWS_MAX).map(ViewId) {
            let Some(mut rows) = table.view_rows(view, &(0..=u64::MAX), SCAN_BYTES) else {
                continue;
            };
            rows.advance(&mut scratch).map_err(text)?;
            while let Some((_, version)) = rows.peek() {
                let is_in = |needle: &&Vec<u8>| {
                    holds(version.key, needle) || holds(version.value, needle)
                };
                for needle in needles.iter().filter(is_in) {
                    let id = table_ref.file_id;
                    let what = needle.escape_ascii();
                    found.push(format!("table {id} as sequence {}: {what}", version.sequence));
                }
                rows.advance(&mut scratch).map_err(text)?;
            }
        }
    }
    Ok(found)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn holds(bytes: &[u8], needle: &[u8]) -> bool {
    // Most bytes of a segment are zeroes: the first byte is looked for first.
    let Some((first, rest)) = needle.split_first() else { return true };
    let mut at = 0;
    while let Some(next) = bytes[at..].iter().position(|byte| byte == first) {
        at += next + 1;
        if bytes[at..].starts_with(rest) {
            return true;
        }
    }
    false
}

fn files<E: Env>(env: &E, dir: &Path) -> Result<Vec<PathBuf>, String> {
    let mut all = Vec::new();
    for entry in env.list(dir).map_err(text)? {
        let path = dir.join(&entry.name);
        if entry.is_dir { all.extend(files(env, &path)?) } else { all.push(path) }
    }
    Ok(all)
}

fn read<E: Env>(env: &E, path: &Path) -> Result<Vec<u8>, String> {
    let file = env.open(path, OpenHow::READ).map_err(text)?;
    let mut bytes = vec![0; file.len_bytes().map_err(text)? as usize];
    let read = file.read_at(&mut bytes, 0).map_err(text)?;
    bytes.truncate(read);
    Ok(bytes)
}
