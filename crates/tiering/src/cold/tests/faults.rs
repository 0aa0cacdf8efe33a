//! An object store that fails in every way that one can, by a seed; and what must hold all the same: nothing
//! lost, nothing doubled, nothing half there.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use thermae_formats::hash::{entity_hash, partition_of};
use thermae_formats::hot_layout::FLAG_DENSE;
use thermae_formats::{CatalogueEntry, NO_TIME, RowLayout, SchemaId, Value};

use super::rows::*;
use crate::cold::plan::LogPolicy;
use crate::cold::{
    Archive, Batch, ColdError, ColdScan, Columns, Committed, Definition, Listed, MemoryObjects,
    ObjectError, Objects, PutNew, Snapshot, table_path,
};
use crate::merge::Source;
use crate::testing::Rng;

/// Runs of the campaign; a longer one is for `THERMAE_COLD_RUNS`.
const RUNS: u64 = 2_000;
const THREADS: usize = 4;
const STEPS: u64 = 6;
const KEYS: u64 = 12;
/// A checkpoint is due all the time, and nothing before it stays: a handle that was not used for a while has lost
/// the commits after its own.
const LOG: LogPolicy = LogPolicy { checkpoint_commits: 1, keep_us: 0, removed_us: i64::MAX };

/// Passes calls on, or fails by its seed.
struct Faulty {
    inner: Arc<MemoryObjects>,
    rng: Mutex<Rng>,
    /// One call in so many fails in some way.
    one_in: u64,
    /// Calls until nothing works any more, as after a crash.
    calls_left: Mutex<u64>,
}

/// What becomes of one call.
#[derive(Clone, Copy)]
enum Fate {
    Works,
    /// 500 or 503: it was not done.
    FailsBefore,
    /// A timeout, or a reset: it was done, and the answer is lost.
    FailsAfter,
    /// The answer comes cut short.
    Truncated,
}

impl Faulty {
    fn fate(&self) -> Result<Fate, ObjectError> {
        let mut calls_left = self.calls_left.lock().unwrap();
        if *calls_left == 0 {
            return Err(ObjectError::Refused("the process is dead".to_owned()));
        }
        *calls_left -= 1;
        let mut rng = self.rng.lock().unwrap();
        if !rng.one_in(self.one_in) {
            return Ok(Fate::Works);
        }
        Ok([Fate::FailsBefore, Fate::FailsAfter, Fate::Truncated][rng.below(3) as usize])
    }

    fn around<T>(&self, call: impl FnOnce() -> Result<T, ObjectError>) -> Result<T, ObjectError> {
        match self.fate()? {
            Fate::FailsBefore => Err(ObjectError::NoAnswer("503".to_owned())),
            Fate::FailsAfter => call().and(Err(ObjectError::NoAnswer("reset".to_owned()))),
            Fate::Works | Fate::Truncated => call(),
        }
    }

    fn cut(&self, bytes: Bytes, fate: Fate) -> Bytes {
        match fate {
            Fate::Truncated => {
                bytes.slice(..self.rng.lock().unwrap().below(bytes.len() as u64 + 1) as usize)
            }
            _ => bytes,
        }
    }
}

impl Objects for Faulty {
    fn put_new(&self, path: &str, bytes: Bytes) -> Result<PutNew, ObjectError> {
        self.around(|| self.inner.put_new(path, bytes))
    }

    fn replace(&self, path: &str, bytes: Bytes) -> Result<(), ObjectError> {
        self.around(|| self.inner.replace(path, bytes))
    }

    fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, ObjectError> {
        let fate = self.fate()?;
        match fate {
            Fate::FailsBefore | Fate::FailsAfter => Err(ObjectError::NoAnswer("503".to_owned())),
            _ => Ok(self.cut(self.inner.get_range(path, range)?, fate)),
        }
    }

    fn get(&self, path: &str) -> Result<Bytes, ObjectError> {
        self.get_range(path, 0..u64::MAX)
    }

    fn list(&self, prefix: &str, after: &str) -> Result<Vec<Listed>, ObjectError> {
        self.around(|| self.inner.list(prefix, after))
    }

    fn delete(&self, path: &str) -> Result<(), ObjectError> {
        self.around(|| self.inner.delete(path))
    }
}

/// What was written to the store, which the archive must come to hold.
pub struct World {
    rows: Vec<Owned>,
    next_sequences: BTreeMap<u16, u64>,
    columns: Arc<Columns>,
    entry: CatalogueEntry,
    layout: RowLayout,
}

impl World {
    pub fn new() -> Self {
        let view = small_view();
        let entry = CatalogueEntry { schema_id: SchemaId(3), view_id: VIEW, view: view.clone() };
        let layout = RowLayout::new(&view.features).unwrap();
        let (rows, next_sequences) = (Vec::new(), BTreeMap::new());
        Self { rows, next_sequences, columns: columns(&view), entry, layout }
    }

    pub fn table(&self) -> String {
        table_path(&self.entry.view, SchemaId(3))
    }

    pub fn definition(&self) -> Definition<'_> {
        Definition { columns: &self.columns, entry: &self.entry }
    }

    pub fn write(&mut self, rng: &mut Rng) {
        for _ in 0..1 + rng.below(12) {
            let key = key(&self.entry.view, rng.below(KEYS));
            let hash = entity_hash(&key, STORE.hash_seed);
            let partition = partition_of(hash, STORE.partitions);
            let sequence = self.next_sequences.entry(partition).or_default();
            let event = (15_000 + rng.below(3) as i64) * DAY_US + rng.below(5) as i64;
            let values =
                [Value::Float32(1.5), Value::Int64(*sequence as i64), Value::String("x".into())];
            let mut value = Vec::new();
            assert!(self.layout.encode(&values, &mut value).unwrap());
            let (schema_id, flags) = (SchemaId(3), FLAG_DENSE);
            let times = (event, NO_TIME, NO_TIME);
            self.rows.push(Owned {
                hash,
                schema_id,
                flags,
                sequence: *sequence,
                times,
                key,
                value,
            });
            *sequence += 1;
        }
    }

    /// All rows that are flushed and not archived in `snapshot`, perhaps of some partitions only.
    pub fn batch(&self, snapshot: &Snapshot, rng: &mut Rng) -> Batch {
        let take_all = rng.one_in(2);
        let advances: BTreeMap<u16, (u64, u64)> = self
            .next_sequences
            .iter()
            .map(|(partition, next)| (*partition, (snapshot.archived(*partition), *next)))
            .filter(|(_, (from, to))| from < to && (take_all || rng.one_in(2)))
            .collect();
        let mut batch = Batch::new(STORE, &self.columns, advances);
        for row in &self.rows {
            batch.push(row.hash, &row.version());
        }
        batch
    }

    /// The rows that a snapshot says are archived.
    pub fn archived(&self, snapshot: &Snapshot) -> BTreeSet<(u16, u64)> {
        let place = |row: &Owned| (partition_of(row.hash, STORE.partitions), row.sequence);
        let places = self.rows.iter().map(place);
        places.filter(|(partition, sequence)| *sequence < snapshot.archived(*partition)).collect()
    }

    /// Reads the table without faults: its rows are those that it says are archived, each once, as written.
    pub fn check(&self, objects: &Arc<MemoryObjects>) -> Snapshot {
        let objects: Arc<dyn Objects> = objects.clone();
        let snapshot = Snapshot::load(&*objects, &self.table(), STORE).unwrap();
        let archive = Archive::new(Arc::clone(&objects), snapshot.clone(), open_files());
        let mut found = BTreeSet::new();
        for file in snapshot.files() {
            let open = archive.open(file, &|_| Some(Arc::clone(&self.columns))).unwrap();
            let mut scan = ColdScan::new(Arc::clone(&objects), open).unwrap();
            while let Some((_, hash, version)) = scan.peek() {
                let place = (partition_of(hash, STORE.partitions), version.sequence);
                assert!(found.insert(place), "{place:?} is there twice");
                let is_it = |row: &&Owned| row.hash == hash && row.sequence == version.sequence;
                let written = self.rows.iter().find(|row| is_it(row) && row.key == version.key);
                assert_eq!(written, Some(&Owned::of(hash, &version)));
                scan.advance().unwrap();
            }
        }
        assert_eq!(found, self.archived(&snapshot));
        snapshot
    }
}

/// One process's life: until it is done or dies. It knows the table twice: what one handle commits, the other
/// learns only when it commits itself, as another process would.
pub fn live(world: &World, objects: Arc<dyn Objects>, rng: &mut Rng) -> Result<(), ColdError> {
    let snapshot = Snapshot::load(&*objects, &world.table(), STORE)?;
    let mut handles = [
        Archive::new(Arc::clone(&objects), snapshot.clone(), open_files()),
        Archive::new(objects, snapshot, open_files()),
    ];
    for _ in 0..3 {
        let archive = &mut handles[rng.below(2) as usize];
        match rng.below(5) {
            0 | 1 => archive_some(world, archive, rng)?,
            2 => merge_a_day(world, archive, rng)?,
            3 => drop(archive.checkpoint(&LOG, 4_000)?),
            _ => drop(archive.sweep(&|_, _| true)?),
        }
    }
    Ok(())
}

/// An attempt whose answer was lost is repeated: as it was, or from what the table says by then.
fn archive_some(world: &World, archive: &mut Archive, rng: &mut Rng) -> Result<(), ColdError> {
    let batch = world.batch(archive.snapshot(), rng);
    if batch.advances().is_empty() || archive.archive(&batch, world.definition(), 1_000).is_ok() {
        return Ok(());
    }
    let again = if rng.one_in(2) { batch } else { world.batch(archive.snapshot(), rng) };
    if !again.advances().is_empty() {
        archive.archive(&again, world.definition(), 2_000)?;
    }
    Ok(())
}

fn merge_a_day(world: &World, archive: &mut Archive, rng: &mut Rng) -> Result<(), ColdError> {
    let day = 15_000 + rng.below(3) as i32;
    let of_day = archive.snapshot().files().filter(|file| file.day == day);
    let paths: Vec<_> = of_day.map(|file| file.path.clone()).collect();
    if paths.len() > 1 {
        let columns_of = |_| Some(Arc::clone(&world.columns));
        archive.rewrite(&paths, &columns_of, world.definition(), &|_| true, false, 3_000)?;
    }
    Ok(())
}

fn run(seed: u64) -> u64 {
    let mut rng = Rng::new(seed);
    let mut world = World::new();
    let inner = Arc::new(MemoryObjects::default());
    let mut deaths = 0;
    for step in 0..STEPS {
        world.write(&mut rng);
        let objects = Arc::new(Faulty {
            inner: Arc::clone(&inner),
            rng: Mutex::new(Rng::new(seed * STEPS + step)),
            one_in: 3 + rng.below(30),
            calls_left: Mutex::new(if rng.one_in(2) { rng.below(40) } else { u64::MAX }),
        });
        deaths += u64::from(live(&world, objects, &mut rng).is_err());
        if rng.one_in(3) {
            world.check(&inner);
        }
    }
    end(&world, &inner, &mut rng);
    deaths
}

/// The object store is well again: what is left is archived, and then all is there once.
pub fn end(world: &World, inner: &Arc<MemoryObjects>, rng: &mut Rng) {
    let objects: Arc<dyn Objects> = inner.clone();
    let snapshot = Snapshot::load(&*objects, &world.table(), STORE).unwrap();
    let mut archive = Archive::new(objects, snapshot, open_files());
    loop {
        let batch = world.batch(archive.snapshot(), rng);
        if world.archived(archive.snapshot()).len() == world.rows.len() {
            break;
        }
        let committed = archive.archive(&batch, world.definition(), 9_000).unwrap();
        assert_eq!(committed, Committed::Done);
    }
    archive.sweep(&|_, _| true).unwrap();
    let snapshot = world.check(inner);
    let listed = inner.list(&format!("{}/event_date", world.table()), "").unwrap();
    assert_eq!(listed.len(), snapshot.files().count(), "orphans are left");
}

#[test]
fn nothing_is_lost_or_doubled_whatever_the_object_store_does() {
    let runs = std::env::var("THERMAE_COLD_RUNS").ok().and_then(|runs| runs.parse().ok());
    let runs = runs.unwrap_or(RUNS);
    let deaths: u64 = std::thread::scope(|scope| {
        let stripe = |first: u64| move || (first..runs).step_by(THREADS).map(run).sum::<u64>();
        let threads: Vec<_> = (0..THREADS as u64).map(|first| scope.spawn(stripe(first))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    // A campaign that never fails tests nothing.
    assert!(deaths > runs, "{deaths} lives ended by faults");
}
