//! A shard without network and hot table: a log, memtables, a worker, on a disk that fails and forgets.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thermae_env::{Env, File, OpenHow, SimEnv, SimOp};
use thermae_formats::ViewId;
use thermae_formats::hash::{entity_hash, partition_of, row_hash};

use super::commit::SimCommit;
use super::model::{self, Found, KEEP_FOR_US, Key, Record, Seen, is_newest, policies, seen};
use crate::buffers::Buffers;
use crate::compact::plan::CompactionPolicy;
use crate::files::WarmFiles;
use crate::flush::FlushJob;
use crate::memtable::Memtable;
use crate::rules::Rules;
use crate::table::Table;
use crate::testing::Rng;
use crate::tree::{Run, Tree};
use crate::worker::scrub::Scrub;
use crate::worker::{ScrubPace, Step, Worker};

/// Operations that fail now and then.
const FAILING: [SimOp; 7] = [
    SimOp::Read,
    SimOp::Write,
    SimOp::Sync,
    SimOp::SyncDir,
    SimOp::Create,
    SimOp::Rename,
    SimOp::Remove,
];
const PARTITIONS: u16 = 4;
const STORE_ID: [u8; 16] = [7; 16];
pub const HASH_SEED: u64 = 9;

/// A bug that the campaign is to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    Nothing,
    /// The disk's.
    LyingSyncs,
    /// The log's begin moves on with the freezing, not with the commit of the flush.
    ForgetsAMemtable,
    /// A late row is taken for the newest.
    TakesLateForNewest,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    pub crashes: u64,
    pub failures: u64,
    pub flushes: u64,
    pub merges: u64,
    /// Flushes that came while a merge was at work.
    pub interrupted: u64,
    pub nested: u64,
    pub dropped_tables: u64,
    pub pauses: u64,
    /// Passes over all tables of the last machine.
    pub scrubs: u64,
}

impl Report {
    pub fn add(&mut self, other: &Self) {
        self.crashes += other.crashes;
        self.failures += other.failures;
        self.flushes += other.flushes;
        self.merges += other.merges;
        self.interrupted += other.interrupted;
        self.nested += other.nested;
        self.dropped_tables += other.dropped_tables;
        self.pauses += other.pauses;
        self.scrubs += other.scrubs;
    }
}

pub struct World {
    env: SimEnv,
    dir: PathBuf,
    rng: Rng,
    plant: Plant,
    /// The workers scrub: not in good times, which end with nothing to do.
    scrubs: bool,
    /// The disk does as it is told.
    is_calm: bool,
    /// Views that are written; where it is only the one that does not keep for ever, whole tables go.
    views: &'static [ViewId],
    log: Vec<Record>,
    watermarks: BTreeMap<u16, i64>,
    /// Newest row of each key, as a shard would look it up.
    current: BTreeMap<Key, Seen>,
    active: Memtable,
    frozen: VecDeque<Arc<Memtable>>,
    worker: Worker<SimEnv, SimCommit>,
    pub report: Report,
}

impl World {
    pub fn new(seed: u64, plant: Plant) -> Self {
        let env = SimEnv::new(seed);
        let dir = PathBuf::from("/warm");
        env.create_dir_all(&dir).unwrap();
        let commit = SimCommit::open(&env, &dir).unwrap();
        let views: &[_] = if seed.is_multiple_of(4) {
            &[model::KEPT]
        } else {
            &[model::FULL, model::LATEST, model::KEPT]
        };
        let no_rules = Arc::new(rules(views, &BTreeMap::new()));
        let worker = worker_over(&env, &dir, commit, Tree::default(), no_rules);
        let mut world = Self {
            env,
            dir,
            rng: Rng::new(seed),
            plant,
            scrubs: seed.is_multiple_of(2),
            is_calm: false,
            views,
            log: Vec::new(),
            watermarks: BTreeMap::new(),
            current: BTreeMap::new(),
            active: Memtable::new(),
            frozen: VecDeque::new(),
            worker,
            report: Report::default(),
        };
        if seed % 4 == 1 {
            // A large oldest run, so that newer ones are merged without it.
            (0..800).for_each(|key| world.write_filler(key));
            world.freeze();
        }
        world.plan_faults();
        world
    }

    /// On a machine without faults.
    pub fn calm(seed: u64) -> Self {
        let mut world = Self::new(seed, Plant::Nothing);
        world.is_calm = true;
        world.end_faults();
        world
    }

    /// Damages the rows of a table and goes on writing: all work ends, and little is left unmerged.
    pub fn write_past_damage(&mut self) -> Result<(), String> {
        (0..400).for_each(|_| self.write());
        self.freeze();
        while self.worker.tree().latest.is_empty() {
            self.step()?;
        }
        let file_id = self.worker.tree().latest[0].table_ref.file_id;
        let path = self.dir.join(format!("{file_id:016x}.tbl"));
        let file = self.env.open(&path, OpenHow::WRITE).unwrap();
        file.write_all_at(&[0x55; 512], 4096 + 64).unwrap();
        for _ in 0..20 {
            (0..60).for_each(|_| self.write());
            self.freeze();
            self.work_until_idle()?;
        }
        let runs = self.worker.tree().latest.len();
        let most = 2 * (CompactionPolicy::default().settled_runs + 1);
        if runs > most || !self.frozen.is_empty() { Err(format!("{runs} runs")) } else { Ok(()) }
    }

    /// Bad luck for the life of this machine.
    fn plan_faults(&mut self) {
        self.env.lie_sync(self.plant == Plant::LyingSyncs);
        if self.rng.one_in(2) {
            self.env.crash_after(self.rng.below(120));
        }
        if self.rng.one_in(3) {
            let ops = [SimOp::Write, SimOp::Sync, SimOp::SyncDir, SimOp::Create, SimOp::Rename];
            for op in ops.into_iter().chain([SimOp::Remove, SimOp::Read]) {
                self.env.fail_randomly(op, self.rng.below(30_000) as u32);
            }
        }
        if self.rng.one_in(4) {
            let least = if self.log.len() > 800 { 400_000 } else { 20_000 };
            self.env.set_capacity_bytes(Some(least + self.rng.below(100_000)));
        }
    }

    /// Something random happens.
    pub fn act(&mut self) -> Result<(), String> {
        match self.rng.below(100) {
            0..30 => (0..self.rng.below(30)).for_each(|_| self.write()),
            30..50 => self.freeze(),
            50..97 => {
                for _ in 0..self.rng.below(20) {
                    self.step()?;
                }
            }
            97 => self.check()?,
            98 => self.env.set_capacity_bytes(None),
            _ => self.crash()?,
        }
        Ok(())
    }

    fn write(&mut self) {
        let view = self.views[self.rng.below(self.views.len() as u64) as usize];
        let now = self.log.len() as i64;
        let is_tombstone = self.rng.one_in(10);
        let late_us =
            if self.rng.one_in(4) { self.rng.below(KEEP_FOR_US as u64) as i64 } else { 0 };
        let value_bytes = if is_tombstone { 0 } else { self.rng.below(60) as usize };
        let record = Record {
            key: (view, self.rng.below(60).to_le_bytes()),
            sequence: self.log.len() as u64,
            // Far enough apart that history has more than one window, the last view aside.
            event_time: if view == model::KEPT { now - late_us } else { (now - late_us) << 30 },
            is_tombstone,
            resets: view == model::FULL && self.rng.one_in(10),
            value: vec![self.log.len() as u8; value_bytes],
        };
        self.apply(&record);
        self.log.push(record);
    }

    /// A row that does not compress.
    fn write_filler(&mut self, key: u64) {
        let event_time = self.log.len() as i64;
        let key = (self.views[key as usize % self.views.len()], key.to_le_bytes());
        let value = (0..25).flat_map(|_| self.rng.next_u64().to_le_bytes()).collect();
        let sequence = self.log.len() as u64;
        let (is_tombstone, resets) = (false, false);
        let record = Record { key, sequence, event_time, is_tombstone, resets, value };
        self.apply(&record);
        self.log.push(record);
    }

    fn apply(&mut self, record: &Record) {
        let (view, key) = (record.key.0, &record.key.1[..]);
        let hash = entity_hash(key, HASH_SEED);
        let version = record.version();
        if view == model::KEPT {
            let mark = self.watermarks.entry(partition_of(hash, PARTITIONS)).or_insert(i64::MIN);
            *mark = record.event_time.max(*mark);
        }
        let keeps_history = view != model::LATEST;
        let is_newest = is_newest(record, self.current.get(&record.key));
        if is_newest || (self.plant == Plant::TakesLateForNewest && self.rng.one_in(20)) {
            let row = row_hash(hash, view);
            self.active.put_newest(view, hash, row, &version, keeps_history);
            self.current.insert(record.key, seen(&version));
        } else if keeps_history {
            self.active.put_late(view, hash, &version);
        }
    }

    fn freeze(&mut self) {
        if self.active.is_empty() {
            return;
        }
        let memtable = Arc::new(std::mem::take(&mut self.active));
        self.frozen.push_back(Arc::clone(&memtable));
        let log_start = self.log.len() as u64;
        if self.plant == Plant::ForgetsAMemtable && self.rng.one_in(10) {
            self.frozen.pop_back();
            return;
        }
        let job = FlushJob {
            memtable,
            checkpoint: Box::new(move |file_id| {
                (format!("{file_id} {log_start}").into_bytes(), file_id ^ log_start)
            }),
            log_start,
            rules: Arc::new(rules(self.views, &self.watermarks)),
        };
        self.report.interrupted += u64::from(!self.worker.merges.is_empty());
        self.worker.submit(job);
    }

    fn step(&mut self) -> Result<bool, String> {
        let before = self.worker.merges.len();
        let step = self.worker.step();
        self.report.nested += u64::from(before > 0 && self.worker.merges.len() > before);
        match step {
            Step::Idle => return Ok(false),
            Step::Wait { until_ns } => {
                let now_ns = self.env.monotonic_ns();
                self.env.advance_us(until_ns.saturating_sub(now_ns) / 1_000 + 1);
            }
            Step::Worked { .. } | Step::Erased { .. } => {}
            Step::Flushed { memtable, .. } => {
                self.report.flushes += 1;
                let oldest = self.frozen.pop_front();
                if !oldest.is_some_and(|oldest| Arc::ptr_eq(&oldest, &memtable)) {
                    return Err("another memtable was flushed than the oldest".into());
                }
            }
            Step::Compacted { .. } => self.report.merges += 1,
            Step::Paused(_) => self.report.pauses += 1,
            // A disk whose reads fail and fail is as good as damaged.
            Step::Damaged(damage)
                if self.is_calm || damage.what.starts_with("it cannot be read") =>
            {
                self.report.failures += 1;
            }
            Step::Damaged(damage) => return Err(format!("{damage:?}")),
            Step::Failed(_) if self.env.is_frozen() => self.crash()?,
            Step::Failed(_) => {
                self.report.failures += 1;
                // What may or may not have happened shows only if the machine stops soon after.
                if !self.is_calm && self.rng.one_in(3) {
                    self.env.crash_after(self.rng.below(6));
                }
            }
        }
        Ok(true)
    }

    /// Stops the machine and opens what it left.
    fn crash(&mut self) -> Result<(), String> {
        self.report.crashes += 1;
        self.report.dropped_tables += self.worker.stats().dropped_tables;
        self.env = if self.rng.one_in(3) { self.env.kill() } else { self.env.crash() };
        // What a killed process renamed is seen but not durable yet: a power cut could bring back the
        // manifest before, when the files that it names are removed already.
        self.env.sync_dir(&self.dir).unwrap();
        let commit = SimCommit::open(&self.env, &self.dir)?;
        let manifest = commit.state.lock().unwrap().clone();
        let is_named = |name: &str| {
            let number = |end| u64::from_str_radix(name.strip_suffix(end)?, 16).ok();
            number(".tbl").is_some_and(|id| manifest.tables.contains_key(&id))
                || number(".ckp").is_some_and(|id| manifest.checkpoint.is_some_and(|c| c.0 == id))
        };
        for entry in self.env.list(&self.dir).unwrap() {
            if entry.name != "MANIFEST" && !is_named(&entry.name) {
                self.env.remove(&self.dir.join(entry.name)).unwrap();
            }
        }
        let runs = |ids: &[u64]| -> Result<Vec<_>, String> {
            ids.iter().map(|id| open(&self.env, &self.dir, &manifest.tables[id])).collect()
        };
        let tree = Tree { latest: runs(&manifest.latest)?, history: runs(&manifest.history)? };
        if let Some((file_id, _)) = manifest.checkpoint {
            self.check_checkpoint(file_id, manifest.log_start)?;
        }
        self.frozen.clear();
        self.active = Memtable::new();
        let mut found = Found::default();
        read_tree(&tree, &mut found)?;
        self.current = found.newest;
        let (covered, replayed) = self.log.split_at(manifest.log_start as usize);
        self.watermarks.clear();
        for record in covered.iter().filter(|record| record.key.0 == model::KEPT) {
            let partition = partition_of(entity_hash(&record.key.1, HASH_SEED), PARTITIONS);
            let mark = self.watermarks.entry(partition).or_insert(i64::MIN);
            *mark = record.event_time.max(*mark);
        }
        let replayed = replayed.to_vec();
        let rules = Arc::new(rules(self.views, &self.watermarks));
        self.worker = worker_over(&self.env, &self.dir, commit, tree, rules);
        if self.scrubs {
            let pace = ScrubPace { bytes_per_s: 1 << 20, rest_ns: 1_000_000 };
            self.worker.scrub = Some(Scrub::new(pace));
        }
        replayed.iter().for_each(|record| self.apply(record));
        self.check()?;
        self.plan_faults();
        Ok(())
    }

    fn check_checkpoint(&self, file_id: u64, log_start: u64) -> Result<(), String> {
        let path = self.dir.join(format!("{file_id:016x}.ckp"));
        let file = self.env.open(&path, OpenHow::READ).map_err(|error| error.to_string())?;
        let mut text = vec![0; file.len_bytes().unwrap() as usize];
        file.read_at(&mut text, 0).unwrap();
        let expected = format!("{file_id} {log_start}");
        (text == expected.as_bytes()).then_some(()).ok_or(format!("checkpoint: {text:?}"))
    }

    /// Reads everything and compares it with the log.
    fn check(&mut self) -> Result<(), String> {
        if self.env.is_frozen() {
            return Ok(());
        }
        self.env.fail_randomly(SimOp::Read, 0);
        let mut found = Found::default();
        let memtables = std::iter::once(&self.active).chain(self.frozen.iter().rev().map(|m| &**m));
        for memtable in memtables {
            for place in memtable.latest_sorted() {
                let (view, _, version) = memtable.version(place);
                found.note((view, version.key.try_into().unwrap()), seen(&version));
            }
            for place in memtable.history_sorted() {
                let (view, _, version) = memtable.version(place);
                let key = (view, version.key.try_into().unwrap());
                found.history.push((key, seen(&version)));
            }
        }
        read_tree(self.worker.tree(), &mut found)?;
        model::check(&self.log, &found)
    }

    /// Good times: everything pending is done, and then all is right and tidy.
    pub fn settle(&mut self) -> Result<(), String> {
        self.scrubs = false;
        self.report.scrubs += self.worker.stats().scrubs;
        self.crash()?;
        self.end_faults();
        self.is_calm = true;
        self.freeze();
        self.work_until_idle()?;
        self.check()?;
        self.check_tidy()
    }

    fn work_until_idle(&mut self) -> Result<(), String> {
        for _ in 0..200_000 {
            if !self.step()? {
                return Ok(());
            }
        }
        Err("never settles".into())
    }

    fn end_faults(&self) {
        self.env.set_capacity_bytes(None);
        self.env.crash_after(u64::MAX / 2);
        FAILING.iter().for_each(|op| self.env.fail_randomly(*op, 0));
    }

    fn check_tidy(&mut self) -> Result<(), String> {
        let tree = self.worker.tree();
        self.report.dropped_tables += self.worker.stats().dropped_tables;
        let files = self.env.list(&self.dir).unwrap().len();
        let tables = tree.latest.len() + tree.history.len();
        if tree.latest.len() > CompactionPolicy::default().settled_runs || !self.frozen.is_empty() {
            return Err(format!("{} runs, {} frozen", tree.latest.len(), self.frozen.len()));
        }
        if self.worker.holds_retired() {
            return Err("what nobody uses is held".to_owned());
        }
        // Beside them the manifest and a checkpoint.
        if files > tables + 2 { Err(format!("{files} files, {tables} tables")) } else { Ok(()) }
    }
}

impl Found {
    /// Sources are read newest first.
    fn note(&mut self, key: Key, row: Seen) {
        match self.newest.entry(key) {
            Entry::Occupied(_) => self.history.push((key, row)),
            Entry::Vacant(place) => {
                place.insert(row);
            }
        }
    }
}

pub fn rules(views: &[ViewId], watermarks: &BTreeMap<u16, i64>) -> Rules {
    let (partitions, shards, shard) = (PARTITIONS, 1, 0);
    let (policies, watermarks) = (policies(views), watermarks.clone());
    Rules { partitions, shards, shard, policies, watermarks, erases: Arc::default() }
}

pub fn worker_over(
    env: &SimEnv,
    dir: &Path,
    commit: SimCommit,
    tree: Tree<SimEnv>,
    rules: Arc<Rules>,
) -> Worker<SimEnv, SimCommit> {
    let (env, dir, store_id, hash_seed) = (env.clone(), dir.into(), STORE_ID, HASH_SEED);
    let files = WarmFiles { env, dir, store_id, hash_seed, buffers: Buffers::within(0) };
    let policy = CompactionPolicy { reserve_bytes: 4_000, ..CompactionPolicy::default() };
    Worker::new(files, commit, 0, policy, rules, tree)
}

fn open(
    env: &SimEnv,
    dir: &Path,
    table_ref: &thermae_formats::table::TableRef,
) -> Result<Run<SimEnv>, String> {
    let table = Table::open(env, dir, &STORE_ID, table_ref).map_err(|error| error.to_string())?;
    Ok(Run { table_ref: *table_ref, table: Arc::new(table) })
}

fn read_tree(tree: &Tree<SimEnv>, found: &mut Found) -> Result<(), String> {
    for run in tree.latest.iter().chain(&tree.history) {
        let is_history = tree.history.iter().any(|other| Arc::ptr_eq(&other.table, &run.table));
        let mut scan = run.table.scan();
        while let Some(row) = scan.next().map_err(|error| error.to_string())? {
            let Ok(key) = row.version.key.try_into() else { return Err("a damaged key".into()) };
            let key = (row.view, key);
            if is_history {
                found.history.push((key, seen(&row.version)));
            } else {
                found.note(key, seen(&row.version));
            }
        }
    }
    Ok(())
}
