//! A model of tables: the manifest itself says how many records they hold, so that whichever manifest
//! a crash leaves, it tells what the log need not have any more.

use thermae_formats::manifest::{Manifest, Tree};
use thermae_formats::table::{TableKind, TableRef};

use super::*;

/// Makes the tables of `manifest` hold the records 0 .. `rows`.
pub(super) fn hold(manifest: &mut Manifest, rows: u64, file_id: u64, shards: u16) {
    manifest.tables = vec![TableRef {
        file_id,
        kind: TableKind::Latest,
        bytes: 4096,
        rows,
        tombstones: 0,
        min_event_time: 0,
        max_event_time: 0,
        checksum: rows,
    }];
    let tree = |shard| Tree {
        shard,
        latest: vec![file_id],
        history: Vec::new(),
        checkpoint: 0,
        checkpoint_checksum: 0,
    };
    manifest.trees = (0..shards).map(tree).collect();
}

/// Records that the tables of `manifest` hold.
fn held(manifest: &Manifest) -> u64 {
    manifest.tables.first().map_or(0, |table| table.rows)
}

/// Receives what the log has beside the tables.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) held: u64,
    pub(super) replayed: Vec<u64>,
    /// Whether the open puts all of it into tables.
    pub(super) covers: bool,
    /// Shards of the new epoch.
    pub(super) shards: u16,
}

impl Replay for Tables {
    fn begin(&mut self, manifest: &Manifest) -> Result<(), String> {
        self.held = held(manifest);
        Ok(())
    }

    fn record(&mut self, record: &Record<'_>) -> Result<(), String> {
        self.replayed.push(seen(record).number);
        Ok(())
    }

    fn finish(&mut self, manifest: &Manifest) -> Result<Trees, String> {
        assert_eq!(held(manifest), self.held, "the same manifest as at the beginning");
        if !self.covers {
            return Ok(Trees::kept(manifest));
        }
        let mut next = manifest.clone();
        hold(&mut next, self.total(), manifest.next_file_id, self.shards);
        Ok(Trees {
            tables: next.tables,
            trees: next.trees,
            next_file_id: manifest.next_file_id + 1,
            covers_replayed: true,
        })
    }
}

impl Tables {
    /// Records in tables and log together: what the tables do not have, the log has without a gap.
    pub(super) fn total(&self) -> u64 {
        assert!(self.replayed.windows(2).all(|two| two[0] < two[1]), "{:?}", self.replayed);
        let behind: Vec<u64> =
            self.replayed.iter().copied().filter(|number| *number >= self.held).collect();
        let total = self.held + behind.len() as u64;
        assert_eq!(behind, (self.held..total).collect::<Vec<_>>(), "a gap in the log");
        total
    }
}

/// A log of one shard that is flushed into modelled tables.
pub(super) struct Model {
    pub(super) rig: Rig,
    pub(super) store: ManifestStore<SimEnv>,
    pub(super) tables: Tables,
    /// Every start that the log had.
    pub(super) starts: Vec<thermae_formats::manifest::LogStart>,
}

/// Opens the directory with the model as the receiver.
pub(super) fn open_tables(
    env: &SimEnv,
    covers: bool,
) -> (Result<Recovered<SimEnv>, LogError>, Tables) {
    let mut tables = Tables { covers, shards: 1, ..Tables::default() };
    let opened = open_directory_with(env, Path::new(DIR), 1, &options(), &mut tables);
    (opened, tables)
}

impl Model {
    pub(super) fn open(env: &SimEnv, covers: bool) -> Self {
        Self::try_open(env, covers).unwrap()
    }

    /// Opens; fails when the machine stops on the way.
    pub(super) fn try_open(env: &SimEnv, covers: bool) -> Result<Self, String> {
        let (recovered, tables) = open_tables(env, covers);
        let recovered = recovered.map_err(|error| error.to_string())?;
        let manifest = recovered.manifest.clone();
        let store = ManifestStore::new(env.clone(), Path::new(DIR), manifest);
        let store = store.map_err(|error| error.to_string())?;
        let ring = env.ring().map_err(|error| error.to_string())?;
        let replayed = Vec::new();
        let rig = Rig { env: env.clone(), ring, recovered, replayed, sent: vec![Vec::new()] };
        let mut model = Self { rig, store, tables, starts: Vec::new() };
        model.note_starts();
        Ok(model)
    }

    /// Turns once and checks what was given back. False when the machine has stopped.
    pub(super) fn turn(&mut self) -> bool {
        let is_alive = self.rig.turn(None);
        self.note_starts();
        let (freed, durable) =
            (self.rig.writer(0).stats().freed, self.rig.writer(0).progress().durable);
        let start = self.starts[freed as usize];
        assert!(start.batches <= durable, "freed {freed} with {durable} durable: {start:?}");
        let named = self.store.durable_start(0).unwrap();
        assert!(freed <= u64::from(named.start().segment), "below what the manifest names");
        is_alive
    }

    fn note_starts(&mut self) {
        let newest = self.rig.writer(0).start_covering(u64::MAX);
        if self.starts.last() != Some(&newest) {
            self.starts.push(newest);
        }
    }

    /// Appends the next records, submitting and turning whenever the log asks for it. False when
    /// the machine has stopped.
    pub(super) fn put(&mut self, count: u64, durable: bool) -> bool {
        for _ in 0..count {
            let number = self.tables.total() + self.rig.sent[0].len() as u64;
            while let Err(error) = self.rig.append(0, number) {
                assert!(error.is_backpressure(), "{number}: {error}");
                self.rig.submit(0, durable);
                if !self.turn() || self.rig.env.is_frozen() {
                    return false;
                }
            }
        }
        self.rig.submit(0, durable);
        true
    }

    /// Records that were promised as durable.
    pub(super) fn durable(&mut self) -> u64 {
        let durable = self.rig.writer(0).progress().durable;
        let sent = self.rig.sent[0].iter().filter(|(_, batch)| *batch <= durable).count();
        self.tables.total() + sent as u64
    }

    /// Puts everything that is written into the tables, and gives the log before it back.
    pub(super) fn flush(&mut self) -> Result<(), LogError> {
        let written = self.rig.writer(0).progress().written;
        let last = self.rig.sent[0].iter().rfind(|(_, batch)| *batch <= written).copied();
        let Some((number, batch)) = last else { return Ok(()) };
        let start = self.rig.writer(0).start_covering(batch);
        assert!(start.records <= self.rig.sent[0].len() as u64);
        let file_id = self.store.next_file_id();
        self.store.commit(|manifest| {
            hold(manifest, number + 1, file_id, 1);
            manifest.current[0].start = start;
        })?;
        let durable = self.store.durable_start(0).unwrap();
        assert_eq!(durable.start(), &start);
        self.rig.writer(0).free_before(&durable);
        Ok(())
    }

    /// Turns until nothing is left to do.
    pub(super) fn settle(&mut self) {
        for _ in 0..300 {
            self.rig.env.advance_us(1000);
            assert!(self.turn());
        }
    }
}
