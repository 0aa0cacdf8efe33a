//! A slice of the crash campaign; `cargo xtask simulate` runs it by the thousands.

use thermae_tests::campaign::{Plant, Report, run};

#[test]
fn promises_hold_over_simulated_crashes() {
    let mut sum = Report::default();
    for seed in 0..250 {
        let report = run(seed, Plant::Nothing).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        sum.add(&report);
    }
    // A campaign that loses nothing, or injects nothing, tests nothing.
    assert!(sum.acknowledged > 5_000 && sum.lost > 500, "{sum:?}");
    assert!(sum.crashes_in_recovery > 100 && sum.faults > 10, "{sum:?}");
    assert!(sum.damages_refused > 20, "{sum:?}");
}

#[test]
fn every_planted_bug_is_found() {
    for plant in Plant::BUGS {
        let found = (0..80).filter(|&seed| run(seed, plant).is_err()).count();
        assert!(found >= 8, "{plant:?} found in {found} of 80 seeds");
    }
}
