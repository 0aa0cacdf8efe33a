//! Files of the warm directory, as a worker makes and removes them.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use thermae_env::{Env, File, OpenHow};
use thermae_formats::checkpoint::checkpoint_name;
use thermae_formats::table::{TableKind, table_name};

use crate::WarmError;
use crate::buffers::Buffers;
use crate::table::{Table, TableSpec, TableWriter};
use crate::tree::{Commit, Run};

/// Where tables go, and what binds them to the store.
#[derive(Clone, Debug)]
pub struct WarmFiles<E> {
    /// The door to the disk.
    pub env: E,
    /// The directory of tables and checkpoints.
    pub dir: PathBuf,
    /// Name of the store.
    pub store_id: [u8; 16],
    /// Seed of the entity hash.
    pub hash_seed: u64,
    /// How large the buffers of the work on them are.
    pub buffers: Buffers,
}

/// A file that is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Garbage {
    Table(u64),
    Checkpoint(u64),
}

/// Hands out numbers for new files and remembers them, so that a failed attempt can be cleared away.
pub(crate) struct Made<'a, C> {
    pub commit: &'a C,
    pub files: &'a mut Vec<Garbage>,
}

impl<C: Commit> Made<'_, C> {
    /// A writer of a new table.
    pub fn table<E: Env>(
        &mut self,
        files: &WarmFiles<E>,
        kind: TableKind,
        may_hold_stubs: bool,
    ) -> Result<TableWriter<E>, WarmError> {
        let file_id = self.commit.next_file_id();
        self.files.push(Garbage::Table(file_id));
        let (store_id, hash_seed) = (files.store_id, files.hash_seed);
        let spec = TableSpec { store_id, file_id, kind, hash_seed, may_hold_stubs };
        Ok(TableWriter::create(&files.env, &files.dir, spec)?.with_buffers(&files.buffers))
    }

    /// The number of a new checkpoint.
    pub fn checkpoint(&mut self) -> u64 {
        let file_id = self.commit.next_file_id();
        self.files.push(Garbage::Checkpoint(file_id));
        file_id
    }
}

impl<E: Env> WarmFiles<E> {
    /// Ends a table and opens it: what cannot be opened is never named.
    pub(crate) fn finish(&self, writer: TableWriter<E>) -> Result<Run<E>, WarmError> {
        let table_ref = writer.finish()?;
        let table = Table::open(&self.env, &self.dir, &self.store_id, &table_ref)?;
        Ok(Run { table_ref, table: Arc::new(table) })
    }

    /// Writes a checkpoint's file; durable, name and all, when this returns.
    pub(crate) fn write_checkpoint(&self, file_id: u64, bytes: &[u8]) -> Result<(), WarmError> {
        let path = self.dir.join(checkpoint_name(file_id));
        let part = self.dir.join(format!("{}.tmp", checkpoint_name(file_id)));
        let write = || -> io::Result<()> {
            let file = self.env.open(&part, OpenHow::CREATE)?;
            file.write_all_at(bytes, 0)?;
            file.sync_data()?;
            self.env.rename(&part, &path)?;
            self.env.sync_dir(&self.dir)
        };
        write().map_err(|source| WarmError::io("write checkpoint", &path, 0, source))
    }

    /// Removes a file and what an attempt to write it may have left; no error if there is none.
    pub(crate) fn remove(&self, garbage: Garbage) -> Result<(), WarmError> {
        let name = match garbage {
            Garbage::Table(file_id) => table_name(file_id),
            Garbage::Checkpoint(file_id) => checkpoint_name(file_id),
        };
        for path in [self.dir.join(format!("{name}.tmp")), self.dir.join(name)] {
            match self.env.remove(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(WarmError::io("remove", &path, 0, error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}
