//! Erases over simulated crashes: each is carried out in the end, leaves no byte behind, and takes
//! nothing else.

use std::path::Path;

use thermae_engine::Ack;
use thermae_engine::handle::EraseTicket;
use thermae_env::SimEnv;
use thermae_formats::Value;

use super::history::PartitionHistory;
use super::run::ENTITIES;
use super::world::{TURNS_MAX, Tiers, World};
use crate::forgotten::find;
use crate::model::{Operation, Rng};

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
}

/// Runs one seed.
///
/// # Errors
/// What was lost, or found and must not have been.
pub fn erase_run(seed: u64) -> Result<EraseReport, String> {
    let mut rng = Rng::new(seed);
    let mut report = EraseReport::default();
    let (mut env, mut histories) = (SimEnv::new(seed), World::no_history());
    let mut log_order = Vec::new();
    for round in 0..4 {
        env.set_delay_us(1, 1 + rng.below(2_000));
        // Opened by an open that does not end, now and then.
        while rng.one_in(4) {
            env.crash_after(rng.below(60));
            let _ = World::open(env.clone(), 1, tiers(&mut rng), histories.clone());
            env = env.crash();
        }
        let cores = 1 + rng.below(3) as usize;
        let opened = World::open(env.clone(), cores, tiers(&mut rng), histories);
        let mut world = opened.map_err(|e| format!("round {round}: {e}"))?;
        world.judge(&log_order).map_err(|e| format!("round {round}: {e}"))?;
        if world.define()? {
            if round < 3 && rng.one_in(2) {
                env.crash_after(rng.below(600));
            }
            stir(&mut world, round, &mut rng)?;
            let is_complete = world.settle()?
                && match world.complete_erases() {
                    Err(_) if world.env.is_frozen() => false,
                    complete => complete?,
                };
            if is_complete {
                // What is found is what is there: the machine does not stop over it.
                world.env.crash_after(u64::from(u32::MAX));
                report.completed += check(&mut world, &mut report)?;
            }
        }
        (histories, log_order) = world.into_past();
        report.crashes += 1;
        env = if rng.one_in(2) { env.kill() } else { env.crash() };
    }
    Ok(report)
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

/// Looks for every text that was ever written; how many erases there were.
fn check(world: &mut World, report: &mut EraseReport) -> Result<u64, String> {
    world.check_rows()?;
    let (mut gone, mut kept, mut erases) = (Vec::new(), Vec::new(), 0);
    for history in &world.histories {
        let writes = history.accepted.iter().map(|write| &write.operation).enumerate();
        for (at, operation) in writes.clone() {
            erases += u64::from(matches!(operation, Operation::Erase { .. }));
            let is_erased = writes.clone().skip(at).any(|(_, later)| {
                matches!(later, Operation::Erase { .. }) && later.target() == operation.target()
            });
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
    fn complete_erases(&mut self) -> Result<bool, String> {
        let before = self.digests()?;
        let tokens = |(partition, history): (usize, &PartitionHistory)| {
            let writes = history.accepted.iter().enumerate();
            let erases =
                writes.filter(|(_, write)| matches!(write.operation, Operation::Erase { .. }));
            erases.map(|(at, _)| (partition as u16, at as u64 + 1)).collect::<Vec<_>>()
        };
        let tokens: Vec<_> = self.histories.iter().enumerate().flat_map(tokens).collect();
        let ticket = self.handle.submit_erases(&tokens, true).map_err(|e| e.to_string())?;
        let mut waiting: Option<EraseTicket<SimEnv>> = Some(ticket);
        for _ in 0..TURNS_MAX {
            match waiting.take().map(EraseTicket::poll) {
                Some(Err(ticket)) => waiting = Some(ticket),
                _ if self.digests()? == before => return Ok(true),
                _ => return Err("the digests changed while erases were carried out".to_owned()),
            }
            if !self.turn() {
                return Ok(false);
            }
        }
        Err("erases were never complete".to_owned())
    }
}
