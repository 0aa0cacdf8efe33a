//! Ours.

use super::{Engine, Reader, Setting, Sink, built_version, setting};
use crate::process::folder_bytes;
use crate::protocol::Loaded;
use crate::rows::{Answer, Rows, key};
use anyhow::ensure;
use std::path::{Path, PathBuf};
use thermae_benches::warm::{load, rows};
use thermae_engine::handle::Found;
use thermae_engine::{Options, Store};
use thermae_hot::RowBuf;

/// How it is set up: as `bench warm`, with everything else as it comes.
pub fn settings(memory_bytes: u64) -> Vec<Setting> {
    vec![
        setting(
            "memory_bytes",
            memory_bytes,
            "the budget of everything: hot table, memtables, queues, filters and indices",
        ),
        setting("cores", 1, "one shard, and one worker that flushes and merges"),
        setting(
            "spin_us",
            0,
            "the shard sleeps when it has nothing to do, so that processor time is work",
        ),
        setting("ack", "durable", "a batch is acknowledged when it is written to the device"),
    ]
}

/// Our store.
pub struct Ours {
    store: Store,
    rows: rows::Rows,
    folder: PathBuf,
}

impl Ours {
    /// A new store in `folder`.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(folder: &Path, memory_bytes: u64) -> anyhow::Result<Self> {
        let options = Options { memory_bytes, cores: 1, spin_us: 0, ..Options::default() };
        let store = Store::open_with(folder, options)?;
        let rows = rows::Rows::define(&store)?;
        Ok(Self { store, rows, folder: folder.to_path_buf() })
    }
}

impl Engine for Ours {
    fn version(&self) -> String {
        built_version("thermae-engine")
    }

    fn load(&self, _: &Rows, count: u64) -> anyhow::Result<Loaded> {
        let loaded = load::load(&self.store, &self.folder, &self.rows, count)?;
        let tiers = &loaded.tiers;
        Ok(Loaded {
            rows: count,
            acknowledged_s: count as f64 / loaded.rows_per_s,
            settled_s: loaded.settled_s,
            cpu_s: 0.0,
            table_bytes: tiers.latest.bytes + tiers.history.bytes,
            table_rows: tiers.latest.rows,
            folder_bytes: folder_bytes(&self.folder)?,
        })
    }

    fn reader(&self) -> Box<dyn Reader + '_> {
        Box::new(OurReader { ours: self, keys: Vec::new(), buf: RowBuf::default() })
    }

    fn close(self: Box<Self>) -> anyhow::Result<()> {
        Ok(self.store.close()?)
    }
}

struct OurReader<'a> {
    ours: &'a Ours,
    keys: Vec<[u8; 8]>,
    buf: RowBuf,
}

impl Reader for OurReader<'_> {
    fn read(&mut self, ids: &[u64], sink: &mut Sink<'_>) -> anyhow::Result<()> {
        self.keys.clear();
        self.keys.extend(ids.iter().map(|id| key(*id)));
        let Ours { store, rows, .. } = self.ours;
        let keys = rows::keys(store, &self.keys);
        let mut failed = None;
        store.handle().read(&rows.view, &keys, &mut self.buf, |at, found| match found {
            Found::Row(row) if !row.is_tombstone() && row.key == keys[at].bytes => {
                let answer = Answer {
                    event_time_us: row.event_time,
                    is_dense: row.is_dense(),
                    value: row.value,
                };
                sink(at, Some(answer));
            }
            Found::Absent => sink(at, None),
            other => failed = Some(format!("{other:?}")),
        })?;
        ensure!(failed.is_none(), "a look-up failed: {failed:?}");
        Ok(())
    }
}
