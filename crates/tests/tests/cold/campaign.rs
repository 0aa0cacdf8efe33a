//! A slice of the campaign over machine and object store; a longer one is for `THERMAE_COLD_RUNS`.

use thermae_engine::planted::Bug;
use thermae_tests::campaign::{ColdReport, cold_run};

/// Seeds of each test run.
const RUNS: u64 = 27;

#[test]
fn nothing_is_lost_or_doubled_while_machine_and_object_store_fail() {
    let runs = std::env::var("THERMAE_COLD_RUNS").ok().and_then(|runs| runs.parse().ok());
    let mut sum = ColdReport::default();
    for seed in 0..runs.unwrap_or(RUNS) {
        let report = cold_run(seed, None).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        sum.add(&report);
    }
    println!("{sum:?}");
    assert!(sum.snapshots > 200 && sum.read_again > 100, "{sum:?}");
    assert!(sum.archived > 5_000 && sum.batches > 200 && sum.merges > 20, "{sum:?}");
    assert!(sum.failed_calls > 200 && sum.crashes > 10, "{sum:?}");
    assert!(sum.compared > 100 && sum.served_from_cold > 200 && sum.digests > 3, "{sum:?}");
    assert!(sum.unavailable > 0 && sum.refused > 0, "{sum:?}");
    assert!(sum.erases > 20 && sum.forgotten > 200, "{sum:?}");
    assert!(sum.left_in_warm < sum.shown * 2 / 3, "warm gives space back: {sum:?}");
}

#[test]
fn rows_that_leave_before_they_are_archived_are_missed() {
    let is_found = |seed: &u64| cold_run(*seed, Some(Bug::LeaveBeforeArchived)).is_err();
    let found = (0..40).filter(is_found).count();
    assert!(found >= 4, "found in {found} of 40 seeds");
}

#[test]
fn a_partial_write_that_is_laid_over_nothing_in_place_of_an_archived_row_is_seen() {
    let is_found = |seed: &u64| cold_run(*seed, Some(Bug::MergeOntoNothing)).is_err();
    let found = (0..40).filter(is_found).count();
    assert!(found >= 4, "found in {found} of 40 seeds");
}

#[test]
fn what_an_erase_leaves_in_the_archive_is_found() {
    let is_found = |seed: &u64| cold_run(*seed, Some(Bug::ErasedObjectsStay)).is_err();
    let found = (0..40).filter(is_found).count();
    assert!(found >= 4, "found in {found} of 40 seeds");
}
