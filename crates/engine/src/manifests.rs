//! The manifest as the workers of all shards change it.

use std::io;
use std::sync::Arc;

use thermae_env::Env;
use thermae_formats::manifest::{Manifest, Tree};
use thermae_tiering::WarmError;
use thermae_tiering::tree::{Commit, TreeEdit, Unnamed};

use crate::log::{LogError, LogStart, ManifestStore};

/// A share in the manifest of an open directory.
pub struct Manifests<E: Env>(pub Arc<ManifestStore<E>>);

impl<E: Env> Commit for Manifests<E> {
    type LogStart = LogStart;

    fn next_file_id(&self) -> u64 {
        self.0.next_file_id()
    }

    fn commit(&self, edit: &TreeEdit<LogStart>) -> Result<Unnamed, WarmError> {
        let mut unnamed = Unnamed::default();
        let committed = self.0.commit(|manifest| {
            unnamed = apply(manifest, edit, manifest.current.len());
            let log = manifest.current.get_mut(usize::from(edit.shard));
            if let (Some(start), Some(log)) = (&edit.log_start, log) {
                log.start = *start;
            }
        });
        committed.map(|()| unnamed).map_err(warm_error)
    }
}

fn warm_error(error: LogError) -> WarmError {
    match error {
        LogError::Io { action, path, source } => WarmError::Io { what: action, path, source },
        LogError::DiskFull { path, needed_bytes } => WarmError::DiskFull { path, needed_bytes },
        error => WarmError::Io {
            what: "commit to",
            path: "MANIFEST".into(),
            source: io::Error::other(error),
        },
    }
}

/// Changes the trees of a manifest by the edit of one of `shards`, each of which has a tree afterwards;
/// returns the files that nothing names any more.
pub fn apply<L>(manifest: &mut Manifest, edit: &TreeEdit<L>, shards: usize) -> Unnamed {
    let mut unnamed = Unnamed::default();
    manifest.tables.extend(edit.add.iter().copied());
    manifest.tables.sort_unstable_by_key(|table| table.file_id);
    manifest.tables.dedup_by_key(|table| table.file_id);
    while manifest.trees.len() < shards {
        let shard = manifest.trees.len() as u16;
        let (latest, history) = (Vec::new(), Vec::new());
        let none = Tree { shard, latest, history, checkpoint: 0, checkpoint_checksum: 0 };
        manifest.trees.push(none);
    }
    if let Some(tree) = manifest.trees.get_mut(usize::from(edit.shard)) {
        tree.latest.clone_from(&edit.latest);
        tree.history.clone_from(&edit.history);
        if let Some((file_id, checksum)) = edit.checkpoint {
            if tree.checkpoint != 0 && tree.checkpoint != file_id {
                unnamed.checkpoints.push(tree.checkpoint);
            }
            (tree.checkpoint, tree.checkpoint_checksum) = (file_id, checksum);
        }
    }
    let trees = &manifest.trees;
    let is_named = |file_id: &u64| {
        trees.iter().any(|tree| tree.latest.contains(file_id) || tree.history.contains(file_id))
    };
    unnamed.tables = edit.remove.iter().copied().filter(|file_id| !is_named(file_id)).collect();
    manifest.tables.retain(|table| is_named(&table.file_id));
    unnamed
}
