#![allow(clippy::unwrap_used, clippy::panic)]

mod commit;
mod damage;
mod model;
mod world;

use world::{Plant, Report, World};

/// Seeds in an ordinary run of the tests; `THERMAE_WORKER_SEEDS` asks for more.
const SEEDS: u64 = 60;

fn run(seed: u64, plant: Plant) -> Result<Report, String> {
    let mut world = World::new(seed, plant);
    for _ in 0..300 {
        world.act()?;
    }
    world.settle()?;
    Ok(world.report)
}

#[test]
fn nothing_is_lost_or_resurrected_wherever_the_machine_stops() {
    let seeds = std::env::var("THERMAE_WORKER_SEEDS").ok().and_then(|text| text.parse().ok());
    let mut sum = Report::default();
    for seed in 0..seeds.unwrap_or(SEEDS) {
        let report = run(seed, Plant::Nothing).unwrap_or_else(|what| panic!("seed {seed}: {what}"));
        sum.add(&report);
    }
    // A campaign in which nothing happens shows nothing.
    assert!(sum.crashes > SEEDS && sum.failures > SEEDS && sum.flushes > 10 * SEEDS, "{sum:?}");
    assert!(sum.merges > SEEDS && sum.interrupted > SEEDS / 4, "{sum:?}");
    assert!(
        sum.dropped_tables > 0 && sum.scrubs > SEEDS && sum.pauses > 0 && sum.nested > 0,
        "{sum:?}"
    );
}

#[test]
fn a_damaged_table_stops_its_own_merge_only() {
    for seed in (2..60).step_by(4) {
        let mut world = World::calm(seed);
        world.write_past_damage().unwrap_or_else(|what| panic!("seed {seed}: {what}"));
        assert!(world.report.failures > 0, "seed {seed}: nobody met the damage");
    }
}

#[test]
fn planted_bugs_are_found() {
    for plant in [Plant::LyingSyncs, Plant::ForgetsAMemtable, Plant::TakesLateForNewest] {
        let found = (0..20).filter(|&seed| run(seed, plant).is_err()).count();
        assert!(found >= 4, "{plant:?} found in {found} of 20 seeds");
    }
}
