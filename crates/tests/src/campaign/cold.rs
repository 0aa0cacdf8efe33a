//! A simulated store that archives what it is told and lets it leave its tables, while machine and object store
//! fail: histories against the model, the archive by itself, and that what is erased is left in neither.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use thermae_engine::cold::ArchiveOptions;
use thermae_engine::{Ack, planted};
use thermae_env::SimEnv;
use thermae_formats::schema::{History, TierPolicy};
use thermae_tiering::cold::plan::{ArchivePolicy, LogPolicy};
use thermae_tiering::cold::{MemoryObjects, Objects};

use super::erases::{Archive, EraseReport, check_forgotten};
use super::history::PartitionHistory;
use super::objects::FailingObjects;
use super::scans::Held;
use super::world::{PARTITIONS, Tiers, World};
use crate::model::{Operation, Rng, VIEWS};

/// Entities a view.
const ENTITIES: u64 = 16;
/// Lives of the store in one run.
const ROUNDS: u64 = 4;
/// Most times that rows are read until the archive gives all of them, and turns between.
const READS_MAX: usize = 400;
const REST_TURNS: usize = 200;
/// Most turns until the archive is attached, or a round of it is over.
const TURNS_MAX: usize = 50_000;

/// What a run did.
#[derive(Clone, Copy, Debug, Default)]
pub struct ColdReport {
    /// Snapshots compared with the model.
    pub snapshots: u64,
    /// Snapshots read again later.
    pub read_again: u64,
    /// Versions archived.
    pub archived: u64,
    /// Batches of them.
    pub batches: u64,
    /// Merges of small files.
    pub merges: u64,
    /// Versions in tables of superseded ones at the ends of the lives, of those that were flushed there.
    pub left_in_warm: u64,
    /// Versions that histories showed at the ends of the lives.
    pub shown: u64,
    /// Times that every newest row was read and compared with the model.
    pub compared: u64,
    /// Newest rows that the archive gave, for reads and for writes.
    pub served_from_cold: u64,
    /// Newest rows that it did not give when they were asked for, and did later.
    pub unavailable: u64,
    /// Times that writes were refused because it did not answer, and were sent again.
    pub refused: u64,
    /// Stores whose digests were compared with those of a plain store of the same writes.
    pub digests: u64,
    /// Erases that were complete before a life ended.
    pub erases: u64,
    /// Texts of theirs that were looked for in every file and object, and found nowhere.
    pub forgotten: u64,
    /// Lives of stores.
    pub lives: u64,
    /// Calls of the object store that failed.
    pub failed_calls: u64,
    /// Lives that ended in a crash in the middle of something.
    pub crashes: u64,
}

impl ColdReport {
    /// Adds another run's counts.
    pub fn add(&mut self, other: &Self) {
        self.snapshots += other.snapshots;
        self.read_again += other.read_again;
        self.archived += other.archived;
        self.batches += other.batches;
        self.merges += other.merges;
        self.left_in_warm += other.left_in_warm;
        self.shown += other.shown;
        self.compared += other.compared;
        self.served_from_cold += other.served_from_cold;
        self.unavailable += other.unavailable;
        self.refused += other.refused;
        self.digests += other.digests;
        self.erases += other.erases;
        self.forgotten += other.forgotten;
        self.lives += other.lives;
        self.failed_calls += other.failed_calls;
        self.crashes += other.crashes;
    }
}

/// Runs one seed, with a bug planted if that is wanted.
///
/// # Errors
/// What a history showed and must not have, or did not show.
pub fn cold_run(seed: u64, bug: Option<planted::Bug>) -> Result<ColdReport, String> {
    planted::plant(bug);
    let result = rounds(seed);
    planted::plant(None);
    result
}

fn rounds(seed: u64) -> Result<ColdReport, String> {
    let mut rng = Rng::new(seed);
    let mut report = ColdReport::default();
    let policies = [(); VIEWS.len()].map(|()| policy(&mut rng));
    let mut histories = vec![PartitionHistory::with_policies(policies); usize::from(PARTITIONS)];
    let objects = Arc::new(MemoryObjects::default());
    let mut env = SimEnv::new(seed);
    let mut log_order = Vec::new();
    for round in 0..ROUNDS {
        let named = |error: String| format!("round {round}: {error}");
        env.set_delay_us(1, 1 + rng.below(2000));
        // Every other life turns of the shards are cut short, as real ones are.
        env.set_look_us(rng.below(2) * 30);
        let way = Arc::new(FailingObjects::new(Arc::clone(&objects), env.clone(), &mut rng));
        let (cores, tiers) = (1 + rng.below(3) as usize, tiers(&mut rng));
        let archive = options(Arc::clone(&way) as Arc<dyn Objects>, &mut rng);
        let world = World::open_archived(env.clone(), cores, tiers, histories, Some(archive));
        let mut world = world.map_err(|e| named(e.to_string()))?;
        world.judge_log(&log_order).map_err(named)?;
        world.archive_every = 1 + rng.below(3);
        world.warm_for_us = [(); VIEWS.len()].map(|()| i64::from(!rng.one_in(3)));
        for (view, policy) in policies.iter().enumerate() {
            let may = world.warm_for_us[view] > 0 && policy.history == History::Full;
            world.serve_from_cold[view] = may && !rng.one_in(4);
        }
        if world.define()? {
            if rng.one_in(2) {
                env.crash_after(40 + rng.below(300));
            }
            stir(&mut world, round, &mut rng, &mut report).map_err(named)?;
            let archive = Some((Arc::clone(&objects), Arc::clone(&way)));
            check_erases(&mut world, &archive, &mut report).map_err(named)?;
            if round == ROUNDS - 1 && !env.is_frozen() {
                check_digests(&mut world, seed, policies, &mut report).map_err(named)?;
            }
        }
        let figures = world.archive_figures();
        report.archived += figures.archived_rows;
        report.batches += figures.batches;
        report.merges += figures.merges;
        report.served_from_cold += world.archive_reads().1;
        report.failed_calls += way.failed.load(Ordering::Relaxed);
        report.lives += 1;
        report.crashes += u64::from(env.is_frozen());
        (histories, log_order) = world.into_past();
        env = if rng.one_in(2) { env.kill() } else { env.crash() };
    }
    Ok(report)
}

/// Waits for the end of all erases, and looks for what they were to take; nothing where the machine stopped.
fn check_erases(
    world: &mut World,
    archive: &Archive,
    report: &mut ColdReport,
) -> Result<(), String> {
    let is_complete = !world.env.is_frozen()
        && match world.complete_erases(archive) {
            Err(_) if world.env.is_frozen() => false,
            complete => complete?,
        };
    if is_complete {
        // What is found is what is there: the machine does not stop over it.
        world.env.crash_after(u64::from(u32::MAX));
        archive.iter().for_each(|(_, way)| way.heal());
        let mut found = EraseReport::default();
        report.erases += check_forgotten(world, archive, &mut found)?;
        report.forgotten += found.forgotten;
    }
    Ok(())
}

/// Whether the store's digests are those of a plain store, without an archive, of the same writes: what left for the
/// archive and came back is not seen in them.
fn check_digests(
    world: &mut World,
    seed: u64,
    policies: [TierPolicy; VIEWS.len()],
    report: &mut ColdReport,
) -> Result<(), String> {
    if !world.settle()? || world.histories.iter().any(PartitionHistory::has_refused) {
        return Ok(());
    }
    let found = match world.digests() {
        Err(_) if world.env.is_frozen() => return Ok(()),
        digests => digests?,
    };
    // The same randomness: the same partitions.
    let none = vec![PartitionHistory::with_policies(policies); usize::from(PARTITIONS)];
    let tiers = Tiers { flush_bytes: 64 << 10, preload_bytes: 0 };
    let plain = World::open(SimEnv::new(seed), 1, tiers, none).map_err(|e| e.to_string());
    let mut plain = plain?;
    plain.define()?;
    for history in &world.histories {
        for writes in history.accepted.chunks(100) {
            let operations: Vec<_> = writes.iter().map(|write| write.operation.clone()).collect();
            let sequences: Vec<_> = writes.iter().map(|write| write.producer_sequence).collect();
            plain.send(&operations, Some(&sequences), Ack::Durable);
            plain.settle()?;
        }
    }
    let expected = plain.digests()?;
    if found != expected {
        return Err(format!("digests {found:?}, of a plain store {expected:?}"));
    }
    report.digests += 1;
    Ok(())
}

fn policy(rng: &mut Rng) -> TierPolicy {
    let history = if rng.one_in(5) { History::Latest } else { History::Full };
    // Event times span 12 microseconds.
    TierPolicy { keep_for_us: [0, 0, 8][rng.below(3) as usize], history, ..TierPolicy::default() }
}

fn tiers(rng: &mut Rng) -> Tiers {
    let flush_bytes = [16 << 10, 24 << 10, 64 << 10][rng.below(3) as usize];
    Tiers { flush_bytes, preload_bytes: rng.below(2) << 20 }
}

/// Tiny batches and files, and rounds that follow each other at once.
pub(super) fn options(objects: Arc<dyn Objects>, rng: &mut Rng) -> ArchiveOptions {
    let policy = ArchivePolicy {
        lag_us: rng.below(2_000) as i64,
        batch_bytes: 1 << (8 + rng.below(10)),
        merge_files: 2 + rng.below(3) as usize,
        ..ArchivePolicy::default()
    };
    // A log that is cleaned all the time: every life reads it from a checkpoint.
    let log = LogPolicy { checkpoint_commits: 2, keep_us: policy.lag_us, ..policy.log };
    let policy = ArchivePolicy { log, ..policy };
    let round_us = rng.below(3_000) as i64;
    let read_deadline_us = [1_500_000, 5_000_000][rng.below(2) as usize];
    ArchiveOptions { policy, round_us, read_deadline_us, ..ArchiveOptions::new(objects) }
}

fn stir(
    world: &mut World,
    round: u64,
    rng: &mut Rng,
    report: &mut ColdReport,
) -> Result<(), String> {
    let mut held: Vec<Held> = Vec::new();
    let erase_one_in = [0, 30, 200][rng.below(3) as usize];
    for batch in 0..20 + rng.below(20) {
        let operations: Vec<_> = (0..1 + rng.below(40))
            .map(|row| {
                let number = (round * 1_000 + batch) * 1_000 + row;
                Operation::draw_or_erase(rng, number, ENTITIES, erase_one_in)
            })
            .collect();
        world.send(&operations, None, Ack::Durable);
        if rng.one_in(2) && !world.settle()? {
            return Ok(());
        }
        for _ in 0..rng.below(120) {
            if !world.turn() {
                return Ok(());
            }
        }
        world.collect()?;
        if rng.one_in(5) {
            match taken(world, rng)? {
                Some(snapshot) => held.push(snapshot),
                None => return Ok(()),
            }
            report.snapshots += 1;
        }
        if rng.one_in(4) && !compared(world, report)? {
            return Ok(());
        }
        if held.len() > 2 {
            let at = rng.below(held.len() as u64) as usize;
            match held.swap_remove(at).check(rng) {
                Err(error) if !world.env.is_frozen() => return Err(error),
                _ => report.read_again += 1,
            }
        }
    }
    if !world.settle()? {
        return Ok(());
    }
    // Nothing is under way: everything shows, wherever it lies by now.
    for _ in 0..rng.below(2_000) {
        if !world.turn() {
            return Ok(());
        }
    }
    if !compared(world, report)? {
        return Ok(());
    }
    let Some(last) = taken(world, rng)? else { return Ok(()) };
    if let Ok(rows) = last.check(rng) {
        report.shown += rows;
        report.left_in_warm += world.superseded_in_warm();
    }
    Ok(())
}

/// Reads every newest row and compares it with the model, again where the archive did not give one; false when the
/// machine stopped first.
fn compared(world: &mut World, report: &mut ColdReport) -> Result<bool, String> {
    let mut resent = 0;
    loop {
        if !world.settle()? {
            return Ok(false);
        }
        if !world.resend_refused() {
            break;
        }
        resent += 1;
        if resent > READS_MAX {
            return Err(format!(
                "writes are refused for ever: {:?} {:?}",
                world.archive_reads(),
                world.archive_figures()
            ));
        }
        report.refused += 1;
        // Until whatever was silent may be asked again.
        if !rested(world) {
            return Ok(false);
        }
    }
    for _ in 0..READS_MAX {
        let unreadable = match world.unreadable_rows() {
            Err(_) if world.env.is_frozen() => return Ok(false),
            found => found?,
        };
        if unreadable.is_empty() {
            report.compared += 1;
            return Ok(true);
        }
        report.unavailable += unreadable.len() as u64;
        // The archive is being found, or fails: both pass.
        if !rested(world) {
            return Ok(false);
        }
    }
    Err(format!("rows are never served: {:?}", world.unreadable_rows()?))
}

/// Some turns; false when the machine stopped.
fn rested(world: &mut World) -> bool {
    (0..REST_TURNS).all(|_| world.turn())
}

/// A snapshot that shows what it must; none when the machine stopped first.
fn taken(world: &mut World, rng: &mut Rng) -> Result<Option<Held>, String> {
    // A store that was just opened finds its archive first.
    let mut turns = 0;
    while !world.is_archive_found() {
        turns += 1;
        if turns > TURNS_MAX {
            return Err(format!("the archive is never found: {:?}", world.archive_figures()));
        }
        if !world.turn() {
            return Ok(None);
        }
    }
    let acknowledged: Vec<u64> =
        world.histories.iter().map(PartitionHistory::must_survive).collect();
    let Some(snapshot) = world.snapshot()? else { return Ok(None) };
    match world.hold(snapshot, &acknowledged, rng) {
        Ok(held) => Ok(Some(held)),
        Err(_) if world.env.is_frozen() => Ok(None),
        Err(error) => Err(error),
    }
}
