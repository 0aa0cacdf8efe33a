//! The wall clock jumps: which row is newest never depends on it.

use thermae_engine::Ack;
use thermae_env::SimEnv;
use thermae_tests::campaign::World;
use thermae_tests::damage::tiers;
use thermae_tests::model::{Operation, Rng};

const HOUR_US: i64 = 3_600_000_000;

/// Digests after the same writes, with the clock set to and fro between them.
fn digests(jumps: bool) -> Vec<(u16, u64)> {
    let env = SimEnv::new(31);
    let mut world = World::open(env.clone(), 1, tiers(0), World::no_history()).unwrap();
    assert!(world.define().unwrap());
    let mut rng = Rng::new(8);
    for batch in 0..30 {
        let rows: Vec<_> = (0..20).map(|n| Operation::draw(&mut rng, 20 * batch + n, 24)).collect();
        world.send(&rows, None, Ack::Durable);
        assert!(world.settle().unwrap());
        if jumps {
            // Never so far back that the rows themselves come from the future.
            env.jump_wall_us(if batch % 2 == 0 { 5_000 * HOUR_US } else { -4_999 * HOUR_US });
        }
    }
    world.check_rows().unwrap();
    assert!(world.rest().unwrap());
    let digests = world.digests().unwrap();
    let (past, _) = world.into_past();
    let env = env.crash();
    if jumps {
        env.jump_wall_us(-20 * HOUR_US);
    }
    let mut world = World::open(env, 2, tiers(0), past).unwrap();
    world.check_rows().unwrap();
    assert_eq!(world.digests().unwrap(), digests, "a recovery under another clock");
    digests
}

#[test]
fn a_clock_that_jumps_changes_no_row_and_no_recovery() {
    assert_eq!(digests(true), digests(false));
}
