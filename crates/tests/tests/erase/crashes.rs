//! Erases over simulated crashes.

use thermae_tests::campaign::{EraseReport, erase_run};

#[test]
fn erases_are_carried_out_over_crashes_and_take_nothing_else() {
    let mut sum = EraseReport::default();
    for seed in 0..10 {
        let report = erase_run(seed).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        sum.crashes += report.crashes;
        sum.completed += report.completed;
        sum.forgotten += report.forgotten;
        sum.remembered += report.remembered;
    }
    assert!(sum.crashes == 40 && sum.completed > 200, "{sum:?}");
    assert!(sum.forgotten > 2_000 && sum.remembered > 2_000, "{sum:?}");
}
