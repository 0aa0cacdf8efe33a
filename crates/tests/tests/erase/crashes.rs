//! Erases over simulated crashes; a longer run is for `THERMAE_ERASE_RUNS`.

use thermae_engine::planted::Bug;
use thermae_tests::campaign::{EraseReport, erase_run};

fn runs(least: u64) -> u64 {
    let runs = std::env::var("THERMAE_ERASE_RUNS").ok().and_then(|runs| runs.parse().ok());
    runs.unwrap_or(least).max(least)
}

fn sum_of(seeds: u64, has_archive: bool) -> EraseReport {
    let mut sum = EraseReport::default();
    for seed in 0..seeds {
        let report = erase_run(seed, has_archive, None);
        sum.add(&report.unwrap_or_else(|e| panic!("seed {seed}: {e}")));
    }
    println!("{sum:?}");
    sum
}

#[test]
fn erases_are_carried_out_over_crashes_and_take_nothing_else() {
    let seeds = runs(10);
    let sum = sum_of(seeds, false);
    assert!(sum.crashes == 4 * seeds && sum.completed > 200, "{sum:?}");
    assert!(sum.forgotten > 2_000 && sum.remembered > 2_000, "{sum:?}");
}

#[test]
fn erases_reach_the_archive_while_machine_and_object_store_fail() {
    let sum = sum_of(runs(10), true);
    assert!(sum.completed > 100 && sum.failed_calls > 100, "{sum:?}");
    assert!(sum.forgotten > 1_000 && sum.archived > 1_000 && sum.left_out > 100, "{sum:?}");
}

#[test]
fn an_erase_that_does_not_wait_for_the_archive_or_leaves_its_objects_is_found() {
    for bug in [Bug::ForgetBeforeArchive, Bug::ErasedObjectsStay] {
        let found = (0..8).filter(|seed| erase_run(*seed, true, Some(bug)).is_err()).count();
        assert!(found >= 2, "{bug:?} found in {found} of 8 seeds");
    }
}
