//! A shard's state beside its rows, as its tables carry it.

use std::path::{Path, PathBuf};

use thermae_env::{AlignedBuf, Env, File, OpenHow};
use thermae_formats::catalogue::CatalogueEntry;
use thermae_formats::checkpoint::{Checkpoint, CheckpointSchema, checkpoint_name};
use thermae_formats::manifest::Tree;
use thermae_formats::schema::FeatureView;
use thermae_formats::table::PAGE_BYTES;

use crate::catalogue::Catalogue;
use crate::error::Error;

/// Longest checkpoint that is read, in bytes.
const BYTES_MAX: u64 = 8 << 30;

/// The file of checkpoint `file_id`.
pub fn path(warm_dir: &Path, file_id: u64) -> PathBuf {
    warm_dir.join(checkpoint_name(file_id))
}

/// Reads the checkpoint that a tree of the manifest names.
///
/// # Errors
/// It is not there, or not what the manifest names.
pub fn read<E: Env>(
    env: &E,
    warm_dir: &Path,
    store_id: &[u8; 16],
    tree: &Tree,
) -> Result<Checkpoint, Error> {
    read_file(env, &path(warm_dir, tree.checkpoint), store_id, tree)
}

/// The same, wherever the file lies.
///
/// # Errors
/// As [`read`].
pub fn read_file<E: Env>(
    env: &E,
    path: &Path,
    store_id: &[u8; 16],
    tree: &Tree,
) -> Result<Checkpoint, Error> {
    let file = env.open(path, OpenHow::READ);
    let file = file.map_err(|source| Error::io(format!("reading {}", path.display()), source))?;
    read_opened(&file, path, store_id, tree)
}

/// The same of an open file, which may be one for direct reads.
///
/// # Errors
/// As [`read`].
pub fn read_opened(
    file: &impl File,
    path: &Path,
    store_id: &[u8; 16],
    tree: &Tree,
) -> Result<Checkpoint, Error> {
    let file_name = || path.display().to_string();
    let damaged = |what: String| Error::Corrupt { file: file_name(), offset: 0, what };
    let io = |source| Error::io(format!("reading {}", file_name()), source);
    let len = file.len_bytes().map_err(io)?;
    if len > BYTES_MAX {
        return Err(damaged(format!("{len} bytes are too many for a checkpoint")));
    }
    let mut pages = AlignedBuf::zeroed((len as usize).next_multiple_of(PAGE_BYTES));
    let read = file.read_at(&mut pages, 0).map_err(io)?;
    let bytes = pages.get(..read.min(len as usize)).unwrap_or_default();
    let (checkpoint, checksum) =
        Checkpoint::parse(bytes).map_err(|error| damaged(error.to_string()))?;
    let is_it = checksum == tree.checkpoint_checksum
        && checkpoint.file_id == tree.checkpoint
        && checkpoint.store_id == *store_id;
    if is_it { Ok(checkpoint) } else { Err(damaged("not the checkpoint of the manifest".into())) }
}

/// The schemas of a catalogue, for a checkpoint.
///
/// # Errors
/// A definition cannot be written as JSON, which the log would not have taken either.
pub fn schemas(catalogue: &Catalogue) -> Result<Vec<CheckpointSchema>, Error> {
    let schema = |schema: &std::sync::Arc<crate::catalogue::Schema>| {
        let json = schema.definition.to_json().map_err(|e| Error::Invalid(e.to_string()))?;
        Ok(CheckpointSchema { schema_id: schema.id, view_id: schema.view_id, json })
    };
    catalogue.schemas().map(schema).collect()
}

/// The catalogue that a checkpoint holds.
///
/// # Errors
/// A definition in it is none.
pub fn catalogue(checkpoint: &Checkpoint) -> Result<Catalogue, Error> {
    let mut catalogue = Catalogue::default();
    for schema in &checkpoint.catalogue {
        let invalid = |what: String| Error::Invalid(format!("a schema in a checkpoint: {what}"));
        let view = FeatureView::from_json(&schema.json).map_err(|e| invalid(e.to_string()))?;
        let (schema_id, view_id) = (schema.schema_id, schema.view_id);
        catalogue.add(&CatalogueEntry { schema_id, view_id, view })?;
    }
    Ok(catalogue.at_generation(checkpoint.generation))
}
