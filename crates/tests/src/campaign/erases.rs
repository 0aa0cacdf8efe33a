//! Erases over simulated crashes, of the machine and of calls of its archive's object store: each is carried out in
//! the end, leaves no byte behind, and takes nothing else.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use thermae_engine::handle::EraseTicket;
use thermae_engine::{Ack, planted};
use thermae_env::SimEnv;
use thermae_formats::Value;
use thermae_tiering::cold::{MemoryObjects, Objects};

use super::cold::options;
use super::history::PartitionHistory;
use super::objects::FailingObjects;
use super::run::ENTITIES;
use super::world::{TURNS_MAX, Tiers, World};
use crate::forgotten::{ArchivedRow, find, find_in_archive};
use crate::model::{Operation, Rng, VIEWS};

/// Turns after which the object store fails no more: then erases must come to their end.
const FAILING_TURNS: usize = 20_000;

/// What one run did.
#[derive(Clone, Copy, Debug, Default)]
pub struct EraseReport {
    /// Crashes while erases were on their way.
    pub crashes: u64,
    /// Erases that were complete before the machine stopped.
    pub completed: u64,
    /// Texts that were looked for in every file and found nowhere.
    pub forgotten: u64,
    /// Texts that are still there: the search sees.
    pub remembered: u64,
    /// Rows that the archive still has, of those that were not erased.
    pub archived: u64,
    /// Rows that erases left out of its files.
    pub left_out: u64,
    /// Calls of the object store that failed.
    pub failed_calls: u64,
}

impl EraseReport {
    /// Adds another run's counts.
    pub fn add(&mut self, other: &Self) {
        self.crashes += other.crashes;
        self.completed += other.completed;
        self.forgotten += other.forgotten;
        self.remembered += other.remembered;
        self.archived += other.archived;
        self.left_out += other.left_out;
        self.failed_calls += other.failed_calls;
    }
}

/// Runs one seed, with an archive or without, and with a bug planted if that is wanted.
///
/// # Errors
/// What was lost, or found and must not have been.
pub fn erase_run(
    seed: u64,
    has_archive: bool,
    bug: Option<planted::Bug>,
) -> Result<EraseReport, String> {
    planted::plant(bug);
    let result = rounds(seed, has_archive);
    planted::plant(None);
    result
}

/// Where a machine archives, if it does: what outlives it, and its way there.
pub(super) type Archive = Option<(Arc<MemoryObjects>, Arc<FailingObjects>)>;

fn rounds(seed: u64, has_archive: bool) -> Result<EraseReport, String> {
    let mut rng = Rng::new(seed);
    let mut report = EraseReport::default();
    let objects = has_archive.then(|| Arc::new(MemoryObjects::default()));
    let (mut env, mut histories) = (SimEnv::new(seed), World::no_history());
    let mut log_order = Vec::new();
    for round in 0..4 {
        env.set_delay_us(1, 1 + rng.below(2_000));
        // Opened by an open that does not end, now and then.
        while rng.one_in(4) {
            env.crash_after(rng.below(60));
            let archive = way(objects.as_ref(), &env, &mut rng);
            let _ = open(&env, 1, &archive, histories.clone(), &mut rng);
            env = env.crash();
        }
        let cores = 1 + rng.below(3) as usize;
        let archive = way(objects.as_ref(), &env, &mut rng);
        let opened = open(&env, cores, &archive, histories, &mut rng);
        let mut world = opened.map_err(|e| format!("round {round}: {e}"))?;
        if has_archive {
            world.archive_every = 1 + rng.below(3);
            world.warm_for_us = [(); VIEWS.len()].map(|()| i64::from(!rng.one_in(3)));
        }
        match world.judge(&log_order) {
            // A call of the object store stopped it.
            Err(_) if world.env.is_frozen() => {}
            judged => drop(judged.map_err(|e| format!("round {round}: {e}"))?),
        }
        if world.define()? {
            if round < 3 && rng.one_in(2) {
                env.crash_after(rng.below(600));
            }
            stir(&mut world, round, &mut rng)?;
            let is_complete = world.settle()?
                && match world.complete_erases(&archive) {
                    Err(_) if world.env.is_frozen() => false,
                    complete => complete?,
                };
            if is_complete {
                // What is found is what is there: the machine does not stop over it.
                world.env.crash_after(u64::from(u32::MAX));
                archive.iter().for_each(|(_, way)| way.heal());
                report.completed += check(&mut world, &archive, &mut report)
                    .map_err(|e| format!("round {round}: {e}"))?;
            }
        }
        report.left_out += world.archive_figures().erased_rows;
        report.failed_calls += archive.map_or(0, |(_, way)| way.failed.load(Ordering::Relaxed));
        (histories, log_order) = world.into_past();
        report.crashes += 1;
        env = if rng.one_in(2) { env.kill() } else { env.crash() };
    }
    Ok(report)
}

fn way(objects: Option<&Arc<MemoryObjects>>, env: &SimEnv, rng: &mut Rng) -> Archive {
    let objects = Arc::clone(objects?);
    let way = FailingObjects::new(Arc::clone(&objects), env.clone(), rng);
    Some((objects, Arc::new(way)))
}

fn open(
    env: &SimEnv,
    cores: usize,
    archive: &Archive,
    histories: Vec<PartitionHistory>,
    rng: &mut Rng,
) -> Result<World, thermae_engine::Error> {
    let way = archive.as_ref().map(|(_, way)| Arc::clone(way) as Arc<dyn Objects>);
    let archive = way.map(|way| options(way, rng));
    World::open_archived(env.clone(), cores, tiers(rng), histories, archive)
}

fn tiers(rng: &mut Rng) -> Tiers {
    let flush_bytes = [16 << 10, 24 << 10, 64 << 10, 16 << 20][rng.below(4) as usize];
    Tiers { flush_bytes, preload_bytes: rng.below(2) << 20 }
}

fn stir(world: &mut World, round: u64, rng: &mut Rng) -> Result<(), String> {
    let erase_one_in = [10, 60][rng.below(2) as usize];
    for batch in 0..10 + rng.below(30) {
        let operations: Vec<_> = (0..1 + rng.below(30))
            .map(|row| {
                let number = (round * 1_000 + batch) * 1_000 + row;
                Operation::draw_or_erase(rng, number, ENTITIES, erase_one_in)
            })
            .collect();
        world.send(&operations, None, Ack::Durable);
        for _ in 0..rng.below(60) {
            if !world.turn() {
                return world.collect();
            }
        }
        world.collect()?;
    }
    Ok(())
}

/// Checks every row, and that what was erased is forgotten; how many erases there were.
fn check(world: &mut World, archive: &Archive, report: &mut EraseReport) -> Result<u64, String> {
    world.check_rows()?;
    check_forgotten(world, archive, report)
}

/// Looks for every text that was ever written, and for every row in the archive; how many erases there were.
pub(super) fn check_forgotten(
    world: &World,
    archive: &Archive,
    report: &mut EraseReport,
) -> Result<u64, String> {
    let (mut gone, mut kept, mut erases) = (Vec::new(), Vec::new(), 0);
    let mut gone_rows = BTreeSet::new();
    for (partition, history) in world.histories.iter().enumerate() {
        let writes = history.accepted.iter().map(|write| &write.operation).enumerate();
        for (at, operation) in writes.clone() {
            erases += u64::from(matches!(operation, Operation::Erase { .. }));
            let is_erased = writes.clone().skip(at).any(|(_, later)| {
                matches!(later, Operation::Erase { .. }) && later.target() == operation.target()
            });
            if is_erased {
                // Its sequence is its place in the history.
                gone_rows.insert((partition as u16, at as u64 + 1));
            }
            if let Some(text) = text_of(operation) {
                if is_erased { gone.push(text) } else { kept.push(text) }
            }
        }
    }
    let found = find(&world.env, Path::new("/data"), &gone)?;
    if let Some(first) = found.first() {
        return Err(format!("{} places hold what was erased, such as {first}", found.len()));
    }
    report.forgotten += gone.len() as u64;
    report.remembered += find(&world.env, Path::new("/data"), &kept)?.len() as u64;
    if let Some((objects, _)) = archive {
        let (found, rows) = find_in_archive(&**objects, &gone)?;
        let is_gone = |row: &&ArchivedRow| gone_rows.contains(&(row.partition, row.sequence));
        if let Some(row) = rows.iter().find(is_gone) {
            return Err(format!("an erased row is in the archive: {row:?}"));
        }
        if let Some(first) = found.first() {
            return Err(format!("the archive holds what was erased: {first}"));
        }
        report.archived += rows.len() as u64;
        report.remembered += find_in_archive(&**objects, &kept)?.0.len() as u64;
    }
    Ok(erases)
}

/// What of an operation is like nothing else.
fn text_of(operation: &Operation) -> Option<Vec<u8>> {
    let text = match operation {
        Operation::Put { values, .. } => values.get(2),
        Operation::Partial { feature: 2, value, .. } => Some(value),
        _ => None,
    };
    match text? {
        Value::String(text) if text.contains(" write ") => {
            let end = text.find('x').unwrap_or(text.len());
            Some(text.get(..end)?.as_bytes().to_vec())
        }
        _ => None,
    }
}

impl World {
    /// Turns until every erase that was ever accepted is complete; false when the machine stopped first.
    pub(super) fn complete_erases(&mut self, archive: &Archive) -> Result<bool, String> {
        let before = self.digests()?;
        let tokens = |(partition, history): (usize, &PartitionHistory)| {
            let writes = history.accepted.iter().enumerate();
            let erases =
                writes.filter(|(_, write)| matches!(write.operation, Operation::Erase { .. }));
            erases.map(|(at, _)| (partition as u16, at as u64 + 1)).collect::<Vec<_>>()
        };
        let tokens: Vec<_> = self.histories.iter().enumerate().flat_map(tokens).collect();
        let ticket = self.handle.submit_erases(&tokens, true).map_err(|e| e.to_string())?;
        let mut waiting: Option<EraseTicket> = Some(ticket);
        for turn in 0..TURNS_MAX {
            if turn == FAILING_TURNS
                && let Some((_, way)) = archive
            {
                way.heal();
            }
            match waiting.take().map(EraseTicket::poll) {
                Some(Err(ticket)) => waiting = Some(ticket),
                _ if self.digests()? == before => return Ok(true),
                _ => return Err("the digests changed while erases were carried out".to_owned()),
            }
            if !self.turn() {
                return Ok(false);
            }
        }
        Err(format!("erases were never complete: {:?}", self.archive_figures()))
    }
}
