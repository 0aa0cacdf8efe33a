//! Damaged tables: found, named once, left out of merges; everything else goes on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thermae_env::{Env, SimEnv, SimOp};
use thermae_formats::hash::{entity_hash, row_hash};

use super::commit::SimCommit;
use super::model::{self, Record};
use super::world::{HASH_SEED, rules, worker_over};
use crate::flush::FlushJob;
use crate::memtable::Memtable;
use crate::table::table_path;
use crate::tree::Tree;
use crate::worker::{Damage, ScrubPace, Step, Worker};

const PACE: ScrubPace = ScrubPace { bytes_per_s: 1 << 20, rest_ns: 60_000_000_000 };
/// Rows of a table: some blocks.
const ROWS: u64 = 200;

struct Machine {
    env: SimEnv,
    dir: PathBuf,
    worker: Worker<SimEnv, SimCommit>,
    sequence: u64,
}

impl Machine {
    fn new(scrubs: bool) -> Self {
        let (env, dir) = (SimEnv::new(1), PathBuf::from("/warm"));
        env.create_dir_all(&dir).unwrap();
        let commit = SimCommit::open(&env, &dir).unwrap();
        let rules = Arc::new(rules(&[model::LATEST], &BTreeMap::new()));
        let mut worker = worker_over(&env, &dir, commit, Tree::default(), rules);
        if scrubs {
            worker = worker.scrubbing(PACE);
        }
        Self { env, dir, worker, sequence: 0 }
    }

    /// Flushes rows that no table has.
    fn flush(&mut self, rows: u64) {
        let mut memtable = Memtable::new();
        for _ in 0..rows {
            self.sequence += 1;
            let record = Record {
                key: (model::LATEST, self.sequence.to_le_bytes()),
                sequence: self.sequence,
                event_time: self.sequence as i64,
                is_tombstone: false,
                resets: false,
                value: (0..100).map(|n| (self.sequence * 31 * n) as u8).collect(),
            };
            let (version, hash) = (record.version(), entity_hash(&record.key.1, HASH_SEED));
            memtable.put_newest(record.key.0, hash, row_hash(hash, record.key.0), &version, false);
        }
        self.worker.submit(FlushJob {
            memtable: Arc::new(memtable),
            checkpoint: Box::new(|_| (Vec::new(), 0)),
            log_start: self.sequence,
            rules: Arc::new(rules(&[model::LATEST], &BTreeMap::new())),
        });
    }

    /// Works for so long; the damages reported, and what failed otherwise.
    fn work(&mut self, for_ns: u64) -> (Vec<Damage>, Vec<String>) {
        let end_ns = self.env.monotonic_ns() + for_ns;
        let (mut damages, mut failures) = (Vec::new(), Vec::new());
        while self.env.monotonic_ns() < end_ns {
            match self.worker.step() {
                Step::Idle => break,
                Step::Wait { until_ns } => {
                    let wait_ns = until_ns.min(end_ns).saturating_sub(self.env.monotonic_ns());
                    self.env.advance_us(wait_ns / 1_000 + 1);
                }
                Step::Damaged(damage) => {
                    damages.push(damage);
                    assert!(damages.len() < 100, "{damages:?}");
                }
                Step::Failed(error) => failures.push(error.to_string()),
                _ => {}
            }
        }
        (damages, failures)
    }

    /// Runs of `latest`, newest first.
    fn latest(&self) -> Vec<u64> {
        self.worker.tree().latest.iter().map(|run| run.table_ref.file_id).collect()
    }

    /// Damages the block at `offset_bytes`.
    fn damage(&self, file_id: u64, offset_bytes: usize) {
        let path = table_path(&self.dir, file_id);
        let mut bytes = self.env.file_bytes(&path).unwrap();
        bytes[offset_bytes + 100] ^= 4;
        self.env.set_file_bytes(&path, &bytes).unwrap();
    }

    fn damaged(&self, file_id: u64, offset_bytes: u64) -> impl Fn(&Damage) -> bool {
        let path = table_path(Path::new(&self.dir), file_id);
        move |damage| (&damage.path, damage.offset_bytes) == (&path, offset_bytes)
    }
}

const MINUTE_NS: u64 = 60_000_000_000;

#[test]
fn a_scrub_reads_every_block_at_its_pace_rests_and_names_a_damaged_one_once() {
    let mut machine = Machine::new(true);
    machine.flush(3 * ROWS);
    machine.flush(ROWS);
    let start_ns = machine.env.monotonic_ns();
    assert_eq!(machine.work(MINUTE_NS / 2), (vec![], vec![]));
    let stats = machine.worker.stats();
    let tables: Vec<_> = machine.worker.tree().runs().collect();
    let blocks: u64 = tables.iter().map(|run| u64::from(run.table.blocks())).sum();
    assert_eq!((stats.scrubs, stats.scrubbed_blocks, tables.len()), (1, blocks, 2));
    assert_eq!(machine.work(MINUTE_NS), (vec![], vec![]), "one pass more");
    assert_eq!(machine.worker.stats().scrubs, 2);
    // The pace is kept: what was read takes its time, a burst aside.
    let ns = machine.env.monotonic_ns() - start_ns;
    assert!(machine.worker.stats().scrubbed_bytes < ns / 1_000 + (256 << 10));
    let file_id = machine.latest()[1];
    machine.damage(file_id, 8192);
    let (damages, failures) = machine.work(3 * MINUTE_NS);
    assert!(failures.is_empty(), "{failures:?}");
    let [damage] = &damages[..] else { panic!("{damages:?}") };
    assert!(machine.damaged(file_id, 8192)(damage), "{damage:?}");
    assert_eq!((damage.file_id, machine.worker.stats().damaged_tables), (file_id, 1));
    assert!(machine.worker.stats().scrubs > 3, "the others are scrubbed as before");
}

#[test]
fn a_burst_of_the_scrub_ends_after_a_tenth_of_a_second() {
    let mut machine = Machine::new(true);
    (0..12).for_each(|_| machine.flush(ROWS));
    let mut burst_bytes = 0;
    let mut most_bytes = 0;
    loop {
        let before = machine.worker.stats().scrubbed_bytes;
        match machine.worker.step() {
            Step::Wait { until_ns } if until_ns > MINUTE_NS / 2 => break,
            Step::Wait { until_ns } => {
                machine.env.advance_us((until_ns - machine.env.monotonic_ns()) / 1_000 + 1);
                burst_bytes = 0;
            }
            _ => burst_bytes += machine.worker.stats().scrubbed_bytes - before,
        }
        most_bytes = most_bytes.max(burst_bytes);
    }
    let limit = PACE.bytes_per_s / 10 + 4096;
    assert!((limit / 2..=limit).contains(&most_bytes), "{most_bytes}");
}

#[test]
fn a_merge_that_meets_damage_is_given_up_and_the_others_go_on() {
    let mut machine = Machine::new(false);
    // Alone it is not merged: nothing of it has been read.
    machine.flush(ROWS);
    machine.work(MINUTE_NS);
    let damaged = machine.latest()[0];
    machine.damage(damaged, 4096);
    (0..3).for_each(|_| machine.flush(ROWS));
    let (damages, failures) = machine.work(MINUTE_NS);
    assert!(failures.is_empty() && damages.len() == 1, "{damages:?} {failures:?}");
    assert!(machine.damaged(damaged, 4096)(&damages[0]), "{damages:?}");
    for _ in 0..40 {
        machine.flush(ROWS);
        let (damages, failures) = machine.work(MINUTE_NS);
        assert!(damages.is_empty() && failures.is_empty(), "{damages:?} {failures:?}");
    }
    let after = machine.latest();
    assert!(after.contains(&damaged), "it is neither rewritten nor dropped");
    assert!(after.len() <= 1 + 2 * 5, "{after:?}");
    assert!(machine.worker.stats().merges > 5, "{:?}", machine.worker.stats());
    let sound = machine.worker.tree().runs().filter(|run| run.table_ref.file_id != damaged);
    let rows: u64 = sound.map(|run| run.table_ref.rows).sum();
    assert_eq!(rows, 43 * ROWS);
    let files = machine.env.list(&machine.dir).unwrap().len();
    assert_eq!(files, after.len() + 2, "what the merge had begun is gone");
}

#[test]
fn a_table_that_can_not_be_read_is_tried_again_and_then_left_alone() {
    let mut machine = Machine::new(true);
    machine.flush(ROWS);
    machine.work(MINUTE_NS / 2);
    machine.env.fail_randomly(SimOp::Read, 1_000_000);
    let (damages, _) = machine.work(MINUTE_NS / 2 + 1_000_000_000);
    assert!(damages.is_empty(), "not at once: {damages:?}");
    machine.env.fail_randomly(SimOp::Read, 0);
    let scrubs = machine.worker.stats().scrubs;
    assert_eq!(machine.work(MINUTE_NS).0, []);
    assert!(machine.worker.stats().scrubs > scrubs, "it was only bad luck");
    machine.env.fail_randomly(SimOp::Read, 1_000_000);
    let (damages, failures) = machine.work(2 * MINUTE_NS);
    assert!(failures.is_empty() && damages.len() == 1, "{damages:?} {failures:?}");
    assert!(damages[0].what.contains("cannot be read"), "{damages:?}");
    assert!(matches!(machine.worker.step(), Step::Idle), "nothing is left to scrub");
}
