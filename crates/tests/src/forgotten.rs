//! Looks for bytes in everything that a data directory and an archive hold: the files as they are, and what lies
//! compressed in tables and Parquet files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use thermae_env::{Env, File, OpenHow};
use thermae_formats::ViewId;
use thermae_formats::manifest::Manifest;
use thermae_tiering::cold::Objects;
use thermae_tiering::table::{Scratch, Table};

/// Views whose rows are looked at in tables.
const VIEWS_MAX: u32 = 16;
const SCAN_BYTES: usize = 64 << 10;

/// Where any of `needles` lies in the directory of a stopped store.
///
/// # Errors
/// A file cannot be read.
pub fn find<E: Env>(env: &E, dir: &Path, needles: &[Vec<u8>]) -> Result<Vec<String>, String> {
    let mut found = find_in_files(env, dir, needles)?;
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
                let in_value = held(version.value, needles);
                for needle in held(version.key, needles).chain(in_value) {
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

/// Where any of `needles` lies in the files of a directory, as they are.
///
/// # Errors
/// A file cannot be read.
pub fn find_in_files<E: Env>(
    env: &E,
    dir: &Path,
    needles: &[Vec<u8>],
) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    for path in files(env, dir)? {
        let bytes = read(env, &path)?;
        for needle in held(&bytes, needles) {
            found.push(format!("{}: {}", path.display(), needle.escape_ascii()));
        }
    }
    Ok(found)
}

/// A row of a Parquet file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ArchivedRow {
    /// The object that it lies in.
    pub object: String,
    /// Its partition.
    pub partition: u16,
    /// Its sequence.
    pub sequence: u64,
}

/// Where any of `needles` lies in the objects of an archive, as they are or decoded; and every row of theirs, also of
/// objects that no table names.
///
/// # Errors
/// A file does not decode.
pub fn find_in_archive(
    objects: &dyn Objects,
    needles: &[Vec<u8>],
) -> Result<(Vec<String>, Vec<ArchivedRow>), String> {
    let (mut found, mut rows) = (Vec::new(), Vec::new());
    for listed in objects.list("", "").map_err(text)? {
        let (object, bytes) = (listed.path.clone(), objects.get(&listed.path).map_err(text)?);
        let mut note = |bytes: &[u8]| {
            let held = held(bytes, needles);
            found.extend(held.map(|needle| format!("{object}: {}", needle.escape_ascii())));
        };
        note(&bytes);
        if !object.ends_with(".parquet") {
            continue;
        }
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(text)?;
        for batch in reader.build().map_err(text)? {
            let batch = batch.map_err(text)?;
            for column in batch.columns() {
                let mut parts = vec![column.to_data()];
                while let Some(part) = parts.pop() {
                    part.buffers().iter().for_each(|buffer| note(buffer.as_slice()));
                    parts.extend(part.child_data().iter().cloned());
                }
            }
            if object.ends_with(".checkpoint.parquet") {
                // Of the table's log: names and times of files, no rows.
                continue;
            }
            let column = |name: &str| batch.column_by_name(name).ok_or(format!("no {name}"));
            let sequences = column("sequence")?.as_primitive_opt::<Int64Type>();
            let partitions = column("partition")?.as_primitive_opt::<Int32Type>();
            let (Some(sequences), Some(partitions)) = (sequences, partitions) else {
                return Err(format!("{object}: sequence and partition are no integers"));
            };
            rows.extend(sequences.values().iter().zip(partitions.values()).map(
                |(sequence, partition)| ArchivedRow {
                    object: object.clone(),
                    partition: *partition as u16,
                    sequence: *sequence as u64,
                },
            ));
        }
    }
    Ok((found, rows))
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Those of `needles` that lie in `bytes`, once for each place.
fn held<'a>(bytes: &'a [u8], needles: &'a [Vec<u8>]) -> impl Iterator<Item = &'a Vec<u8>> {
    // Most bytes of a file begin none of them.
    let mut begins = [false; 256];
    for first in needles.iter().filter_map(|needle| needle.first()) {
        begins[usize::from(*first)] = true;
    }
    let places = (0..bytes.len()).filter(move |at| begins[usize::from(bytes[*at])]);
    places.flat_map(move |at| needles.iter().filter(move |needle| bytes[at..].starts_with(needle)))
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
