//! One seed: a store under writes, a crash, recovery (perhaps with a crash of its own), judgement.

use thermae_engine::Ack;
use thermae_env::{SimEnv, SimOp};

use super::world::World;
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
}

/// Runs one seed; an error tells what promise was broken.
pub fn run(seed: u64, plant: Plant) -> Result<Report, String> {
    let mut rng = Rng::new(seed);
    let mut report = Report::default();
    let env = SimEnv::new(seed);
    let mut histories = World::no_history();
    let mut log_order = Vec::new();
    let mut env = env;
    for round in 0..ROUNDS {
        env.lie_sync(plant == Plant::SyncIsSkipped);
        env.set_delay_us(1, 1 + rng.below(3000));
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
        report.faults += env.faults_injected();
        report.crashes += 1;
        let dead = if rng.one_in(3) { env.kill() } else { env.crash() };
        (histories, log_order) = world.into_past();
        report.acknowledged = histories.iter().map(|h| h.must_survive()).sum();
        env = dead;
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
        let opened = World::open(env.clone(), cores, histories.clone());
        if let (Err(error), false) = (&opened, env.is_frozen()) {
            return Err(format!("recovery failed: {error}"));
        }
        drop(opened);
        report.crashes += 1;
        report.crashes_in_recovery += 1;
        *env = env.crash();
        env.lie_sync(plant == Plant::SyncIsSkipped);
    }
    World::open(env.clone(), cores, histories).map_err(|e| format!("recovery failed: {e}"))
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
    let batches = 5 + rng.below(40);
    for batch in 0..batches {
        let rows = 1 + if rng.one_in(6) { rng.below(120) } else { rng.below(6) };
        let operations: Vec<_> = (0..rows)
            .map(|row| {
                let number = (round * 1_000 + batch) * 1_000 + row;
                Operation::draw(rng, number, ENTITIES)
            })
            .collect();
        world.send(&operations, None, Ack::Durable);
        for _ in 0..rng.below(30) {
            if !world.turn() {
                return world.collect();
            }
        }
        world.collect()?;
    }
    if rng.one_in(3) { world.settle().map(|_| ()) } else { Ok(()) }
}
