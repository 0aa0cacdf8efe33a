//! Backups of a simulated store, taken while it goes on, and restored under other numbers of shards, against
//! the model.

use std::path::{Path, PathBuf};

use thermae_engine::Ack;
use thermae_engine::backup::{self, BackupName, Place, Source, Work};
use thermae_env::{Env, SimEnv};

use super::history::PartitionHistory;
use super::run::ENTITIES;
use super::scans::policy;
use super::world::{PARTITIONS, Tiers, World};
use crate::model::{Operation, Rng, VIEWS};

/// Most turns in which the shards must have handed over what they have.
const TURNS_MAX: usize = 20_000;
/// Rows of a batch when everything is sent again.
const REPEATED_ROWS: usize = 40;

/// What a run did.
#[derive(Clone, Copy, Debug, Default)]
pub struct BackupReport {
    /// Backups taken.
    pub backups: u64,
    /// Backups taken while writes were under way.
    pub while_writing: u64,
    /// Tables that a backup found in its place already.
    pub shared_files: u64,
    /// Backups restored, and their rows compared with the model.
    pub restores: u64,
    /// Backups removed.
    pub removed: u64,
    /// Times that the store was opened again.
    pub restarts: u64,
}

/// A backup, and what was known when it was taken.
struct Taken {
    name: BackupName,
    histories: Vec<PartitionHistory>,
    /// Digests of the store, where nothing was under way.
    digests: Option<Vec<(u16, u64)>>,
}

impl World {
    /// What a backup is made of.
    ///
    /// # Errors
    /// The shards refuse, or never answer.
    pub fn backup_source(&mut self) -> Result<Source<SimEnv>, String> {
        let taken_us = self.env.now_us();
        let mut ticket = self.handle.submit_backup().map_err(|e| e.to_string())?;
        for _ in 0..TURNS_MAX {
            ticket = match ticket.poll().map_err(|e| e.to_string())? {
                Ok(snapshot) => {
                    let source = Source::new(&self.handle, snapshot, taken_us);
                    return source.map_err(|e| e.to_string());
                }
                Err(ticket) => ticket,
            };
            if !self.turn() {
                return Err("the machine stopped".to_owned());
            }
        }
        Err("the shards never handed over what they have".to_owned())
    }
}

struct Run {
    rng: Rng,
    env: SimEnv,
    place: Place<SimEnv>,
    sent: Vec<(Operation, u64)>,
    taken: Vec<Taken>,
    report: BackupReport,
}

/// Runs one seed: writes of all kinds, backups between and under them, restarts with other numbers of
/// shards; then every backup is restored and compared, and sent everything again.
///
/// # Errors
/// What a restored store showed and must not have.
pub fn backup_run(seed: u64) -> Result<BackupReport, String> {
    let mut rng = Rng::new(seed);
    let policies = [(); VIEWS.len()].map(|()| policy(&mut rng));
    let none = vec![PartitionHistory::with_policies(policies); usize::from(PARTITIONS)];
    let env = SimEnv::new(seed);
    env.set_delay_us(1, 1 + rng.below(1_000));
    let place = Place::new(env.clone(), Path::new("/backups"));
    let report = BackupReport::default();
    let mut run = Run { rng, env, place, sent: Vec::new(), taken: Vec::new(), report };
    let mut histories = none;
    let mut last = Vec::new();
    for round in 0..3 {
        let mut world = run.open(Path::new("/data"), histories)?;
        run.report.restarts += u64::from(round > 0);
        if !world.define()? {
            return Err("the machine stopped".to_owned());
        }
        run.stir(&mut world)?;
        if !world.rest()? {
            return Err("the machine stopped".to_owned());
        }
        last = world.digests()?;
        (histories, _) = world.into_past();
    }
    for (at, taken) in std::mem::take(&mut run.taken).into_iter().enumerate() {
        let data = PathBuf::from(format!("/restored-{at}"));
        run.check(&data, taken, &last).map_err(|e| format!("{}: {e}", data.display()))?;
        run.report.restores += 1;
    }
    Ok(run.report)
}

impl Run {
    fn open(&mut self, data: &Path, histories: Vec<PartitionHistory>) -> Result<World, String> {
        let cores = 1 + self.rng.below(3) as usize;
        let flush_bytes = [16 << 10, 24 << 10, 64 << 10, 16 << 20][self.rng.below(4) as usize];
        let tiers = Tiers { flush_bytes, preload_bytes: self.rng.below(2) << 20 };
        World::open_in(self.env.clone(), data, cores, tiers, histories).map_err(|e| e.to_string())
    }

    fn stir(&mut self, world: &mut World) -> Result<(), String> {
        for _ in 0..12 {
            let first = self.sent.len() as u64 + 1;
            let numbers: Vec<u64> = (first..=first + self.rng.below(40)).collect();
            let draw = |&number: &u64| Operation::draw(&mut self.rng, number, ENTITIES);
            let operations: Vec<_> = numbers.iter().map(draw).collect();
            world.send(&operations, Some(&numbers), Ack::Durable);
            self.sent.extend(operations.into_iter().zip(numbers));
            let is_settled = self.rng.one_in(2);
            if is_settled && !world.settle()? {
                return Err("the machine stopped".to_owned());
            }
            (0..self.rng.below(30)).for_each(|_| assert!(world.turn()));
            world.collect()?;
            if self.rng.one_in(3) {
                self.back_up(world, is_settled)?;
            }
        }
        Ok(())
    }

    fn back_up(&mut self, world: &mut World, is_settled: bool) -> Result<(), String> {
        let digests = is_settled.then(|| world.digests()).transpose()?;
        // What is acknowledged while the shards are asked may be in it, what was before must.
        let acknowledged = world.histories.clone();
        let source = world.backup_source()?;
        let mut tell = |_, _| true;
        let mut work = Work { bytes_per_s: 0, tell: &mut tell };
        let taken = backup::take(&self.place, &source, &mut work).map_err(|e| e.to_string())?;
        self.report.backups += 1;
        self.report.while_writing += u64::from(!is_settled);
        self.report.shared_files += taken.files - taken.new_files;
        self.taken.push(Taken { name: taken.name, histories: acknowledged, digests });
        if self.rng.one_in(5) {
            let removed = backup::keep(&self.place, 3).map_err(|e| e.to_string())?;
            self.taken.retain(|taken| !removed.backups.contains(&taken.name));
            self.report.removed += removed.backups.len() as u64;
        }
        Ok(())
    }

    /// Restores a backup: it must hold what was acknowledged before it, hold nothing in part, and come to
    /// the state of the store itself when everything is sent to it again.
    fn check(&mut self, data: &Path, taken: Taken, last: &[(u16, u64)]) -> Result<(), String> {
        let mut tell = |_, _| true;
        let mut work = Work { bytes_per_s: 0, tell: &mut tell };
        backup::restore(&self.place, Some(&taken.name), data, &mut work)
            .map_err(|e| e.to_string())?;
        for is_first in [true, false] {
            let mut world = self.open(data, taken.histories.clone())?;
            let survivors = world.applied();
            for (history, survivors) in world.histories.iter_mut().zip(&survivors) {
                history.cut(*survivors)?;
            }
            let snapshot = world.snapshot()?.ok_or("the machine stopped")?;
            world.hold(snapshot, &survivors, &mut self.rng)?;
            check_rows(&mut world)?;
            if let Some(digests) = &taken.digests
                && world.digests()? != *digests
            {
                return Err("other digests than those of the store".to_owned());
            }
            if is_first {
                // It is opened twice, with other numbers of shards.
                continue;
            }
            for rows in self.sent.chunks(REPEATED_ROWS) {
                let (operations, numbers): (Vec<_>, Vec<_>) = rows.iter().cloned().unzip();
                world.send(&operations, Some(&numbers), Ack::Durable);
                if !world.settle()? {
                    return Err("the machine stopped".to_owned());
                }
            }
            check_rows(&mut world)?;
            if world.digests()? != last {
                return Err("everything sent again: other digests than the store's".to_owned());
            }
        }
        Ok(())
    }
}

/// Reads every row; where `keep_for` ends some, what a read may still find depends on merges, and the scans
/// have told.
fn check_rows(world: &mut World) -> Result<(), String> {
    let policies = world.histories[0].model().policies();
    let ends_none = policies.iter().all(|policy| policy.keep_for_us == 0);
    if ends_none { world.check_rows() } else { Ok(()) }
}
