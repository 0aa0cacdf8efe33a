//! One seed: a store under writes, a crash, recovery (perhaps with a crash of its own), judgement.

use std::path::Path;

use thermae_engine::{Ack, planted};
use thermae_env::{Env, SimEnv, SimOp};

use super::world::{Tiers, World};
use crate::model::{Operation, Rng};

/// Entities a view; few, so that they are overwritten often.
pub const ENTITIES: u64 = 24;
/// Crashes in one run.
const ROUNDS: u64 = 3;

/// A bug to plant, to show that the campaign finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// None.
    Nothing,
    /// The disk says that writes are synced and does not sync them.
    SyncIsSkipped,
    /// The engine acknowledges what it has handed to the disk.
    AcknowledgeBeforeSync,
    /// Recovery ends a log at the first batch that does not verify.
    CutAtFirstBadChecksum,
}

impl Plant {
    /// Every bug that there is to plant.
    pub const BUGS: [Plant; 3] =
        [Plant::SyncIsSkipped, Plant::AcknowledgeBeforeSync, Plant::CutAtFirstBadChecksum];
}

/// What one run did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// Crashes, those during recovery included.
    pub crashes: u64,
    /// Crashes during recovery.
    pub crashes_in_recovery: u64,
    /// Writes acknowledged as durable.
    pub acknowledged: u64,
    /// Writes that a crash took, none of them acknowledged.
    pub lost: u64,
    /// Disk faults that were really injected.
    pub faults: u64,
    /// Bytes damaged behind the store's back that it refused to open over.
    pub damages_refused: u64,
}

impl Report {
    /// Adds another run's counts.
    pub fn add(&mut self, other: &Report) {
        self.crashes += other.crashes;
        self.crashes_in_recovery += other.crashes_in_recovery;
        self.acknowledged += other.acknowledged;
        self.lost += other.lost;
        self.faults += other.faults;
        self.damages_refused += other.damages_refused;
    }
}

/// Runs one seed; an error tells what promise was broken.
pub fn run(seed: u64, plant: Plant) -> Result<Report, String> {
    plant_in_engine(plant);
    let result = rounds(seed, plant);
    plant_in_engine(Plant::Nothing);
    result
}

fn plant_in_engine(plant: Plant) {
    planted::plant(match plant {
        Plant::AcknowledgeBeforeSync => Some(planted::Bug::AcknowledgeBeforeSync),
        Plant::CutAtFirstBadChecksum => Some(planted::Bug::CutAtFirstBadChecksum),
        Plant::Nothing | Plant::SyncIsSkipped => None,
    });
}

fn rounds(seed: u64, plant: Plant) -> Result<Report, String> {
    let mut rng = Rng::new(seed);
    let mut report = Report::default();
    let env = SimEnv::new(seed);
    let mut histories = World::no_history();
    let mut log_order = Vec::new();
    let mut env = env;
    for round in 0..ROUNDS {
        env.lie_sync(plant == Plant::SyncIsSkipped);
        env.set_delay_us(1, 1 + rng.below(3000));
        // Every other life turns of the shards are cut short, as real ones are.
        env.set_look_us(rng.below(2) * 30);
        let cores = 1 + rng.below(2) as usize;
        let mut world =
            open_through_crashes(&mut env, cores, histories, plant, &mut rng, &mut report)?;
        let lost = world.judge(&log_order).map_err(|e| format!("round {round}: {e}"))?;
        report.lost += lost.len() as u64;
        if rng.one_in(2) {
            retry(&mut world, &lost)?;
        }
        if world.define()? {
            stir(&mut world, &mut rng, round)?;
        }
        // A fault that was set may come while it rests, too, and the log then states nothing more.
        let is_quiet = rng.one_in(4)
            && env.faults_injected() == 0
            && world.rest()?
            && env.faults_injected() == 0;
        report.faults += env.faults_injected();
        report.crashes += 1;
        let dead = if rng.one_in(3) { env.kill() } else { env.crash() };
        (histories, log_order) = world.into_past();
        report.acknowledged = histories.iter().map(|h| h.must_survive()).sum();
        env = dead;
        if is_quiet {
            let goes_on = damage(&env, &histories, &mut rng, &log_order, &mut report)
                .map_err(|e| format!("round {round}, damaged: {e}"))?;
            if !goes_on {
                return Ok(report);
            }
        }
    }
    let mut world = open_through_crashes(&mut env, 1, histories, plant, &mut rng, &mut report)?;
    world.judge(&log_order).map_err(|e| format!("at the end: {e}"))?;
    Ok(report)
}

/// Opens the store; now and then the machine crashes while it recovers, which must change nothing.
fn open_through_crashes(
    env: &mut SimEnv,
    cores: usize,
    histories: Vec<super::history::PartitionHistory>,
    plant: Plant,
    rng: &mut Rng,
    report: &mut Report,
) -> Result<World, String> {
    while rng.one_in(3) {
        env.crash_after(rng.below(30));
        let opened = World::open(env.clone(), cores, tiers(rng), histories.clone());
        if let (Err(error), false) = (&opened, env.is_frozen()) {
            return Err(format!("recovery failed: {error}"));
        }
        drop(opened);
        report.crashes += 1;
        report.crashes_in_recovery += 1;
        *env = env.crash();
        env.lie_sync(plant == Plant::SyncIsSkipped);
    }
    let tiers = tiers(rng);
    World::open(env.clone(), cores, tiers, histories).map_err(|e| format!("recovery failed: {e}"))
}

/// Memtables of some rows or some more rows, or nothing flushed but at an open; hot tables that begin
/// whole or empty.
fn tiers(rng: &mut Rng) -> Tiers {
    let flush_bytes = [16 << 10, 20 << 10, 32 << 10, 16 << 20][rng.below(4) as usize];
    Tiers { flush_bytes, preload_bytes: if rng.one_in(3) { 1 << 20 } else { 0 } }
}

/// Flips a bit of the logs. Everything acknowledged has a horizon behind it, so the store either
/// refuses to open, and then the bit is put back, or has lost nothing. Returns whether the run goes on.
fn damage(
    env: &SimEnv,
    histories: &[super::history::PartitionHistory],
    rng: &mut Rng,
    log_order: &[Vec<(u16, u64)>],
    report: &mut Report,
) -> Result<bool, String> {
    let text = |e: std::io::Error| e.to_string();
    let logs = Path::new("/data/log");
    let files = env.list(logs).map_err(text)?;
    let Some(file) = files.get(rng.below(files.len().max(1) as u64) as usize) else {
        return Ok(true);
    };
    let path = logs.join(&file.name);
    let sound = env.file_bytes(&path).map_err(text)?;
    if sound.is_empty() {
        return Ok(true);
    }
    let end = sound.iter().rposition(|&byte| byte != 0).unwrap_or(0) as u64 + 1;
    let at = rng.below(end) as usize;
    let mut flipped = sound.clone();
    flipped[at] ^= 1 << rng.below(8);
    env.set_file_bytes(&path, &flipped).map_err(text)?;
    match World::open(env.clone(), 1, tiers(rng), histories.to_vec()) {
        Ok(mut world) => {
            world.judge(log_order).map_err(|e| format!("{} at {at}: {e}", file.name))?;
            // It opened, so it may have begun an epoch over the damage: the rest of this run would
            // judge a directory that was written twice. What was to be seen has been seen.
            Ok(false)
        }
        Err(_) => {
            report.damages_refused += 1;
            env.set_file_bytes(&path, &sound).map_err(text)?;
            Ok(true)
        }
    }
}

/// Sends again what the crash took, under the sequences it had: the producer's own retry.
fn retry(world: &mut World, lost: &[(Operation, u64)]) -> Result<(), String> {
    for chunk in lost.chunks(16) {
        let operations: Vec<_> = chunk.iter().map(|(operation, _)| operation.clone()).collect();
        let sequences: Vec<_> = chunk.iter().map(|(_, sequence)| *sequence).collect();
        world.send(&operations, Some(&sequences), Ack::Durable);
    }
    world.settle().map(|_| ())
}

/// Writes in batches of all sizes while the disk may fail, up to a crash point.
fn stir(world: &mut World, rng: &mut Rng, round: u64) -> Result<(), String> {
    if rng.one_in(5) {
        world.env.fail(if rng.one_in(2) { SimOp::Sync } else { SimOp::Write }, rng.below(40));
    }
    if rng.one_in(2) {
        world.env.crash_after(1 + rng.below(60));
    }
    let erase_one_in = [0, 0, 20, 200][rng.below(4) as usize];
    let batches = 5 + rng.below(40);
    for batch in 0..batches {
        let rows = 1 + if rng.one_in(6) { rng.below(120) } else { rng.below(6) };
        let operations: Vec<_> = (0..rows)
            .map(|row| {
                let number = (round * 1_000 + batch) * 1_000 + row;
                Operation::draw_or_erase(rng, number, ENTITIES, erase_one_in)
            })
            .collect();
        world.send(&operations, None, Ack::Durable);
        for _ in 0..rng.below(30) {
            if !world.turn() {
                return world.collect();
            }
        }
        world.collect()?;
        if rng.one_in(16) {
            look(world)?;
        }
    }
    if rng.one_in(3) { look(world) } else { Ok(()) }
}

/// Compares every row in the middle of a life, where all that was sent counts. Rows that are read become hot, and
/// must still be right when the next ones are written.
fn look(world: &mut World) -> Result<(), String> {
    let counts = |world: &World| {
        let writes = world.histories.iter().flat_map(|history| &history.accepted);
        world.env.faults_injected() == 0 && writes.into_iter().all(|write| !write.refused)
    };
    if !world.settle()? || !counts(world) {
        return Ok(());
    }
    match world.check_rows() {
        Err(_) if world.env.is_frozen() => Ok(()),
        checked => checked.map_err(|e| format!("in the middle of a life: {e}")),
    }
}
