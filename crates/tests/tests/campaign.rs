//! A slice of the crash campaign; `cargo xtask simulate` runs it by the thousands.

use thermae_tests::campaign::{Plant, Report, run};

#[test]
fn promises_hold_over_simulated_crashes() {
    let mut sum = Report::default();
    for seed in 0..250 {
        let report = run(seed, Plant::Nothing).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        sum.crashes += report.crashes;
        sum.crashes_in_recovery += report.crashes_in_recovery;
        sum.acknowledged += report.acknowledged;
        sum.lost += report.lost;
        sum.faults += report.faults;
    }
    // A campaign that loses nothing, or injects nothing, tests nothing.
    assert!(sum.acknowledged > 5_000 && sum.lost > 500, "{sum:?}");
    assert!(sum.crashes_in_recovery > 100 && sum.faults > 10, "{sum:?}");
}

#[test]
fn a_skipped_sync_is_found() {
    let found = (0..40).filter(|&seed| run(seed, Plant::SyncIsSkipped).is_err()).count();
    assert!(found >= 10, "found in {found} of 40 seeds");
}
