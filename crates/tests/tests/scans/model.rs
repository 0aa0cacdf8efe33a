//! Seeded runs of a simulated store against the naive model.

use thermae_tests::campaign::{ScanReport, scan_run};

fn runs(seeds: std::ops::Range<u64>, crashes: bool) -> ScanReport {
    let mut sum = ScanReport::default();
    for seed in seeds {
        let report = scan_run(seed, crashes).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        sum.snapshots += report.snapshots;
        sum.while_writing += report.while_writing;
        sum.read_again += report.read_again;
        sum.rows += report.rows;
        sum.restarts += report.restarts;
    }
    sum
}

#[test]
fn scans_show_every_version_that_the_model_has_and_nothing_else() {
    let sum = runs(0..24, false);
    assert!(sum.snapshots > 600 && sum.while_writing > 200, "{sum:?}");
    assert!(sum.read_again > 600 && sum.rows > 30_000 && sum.restarts == 48, "{sum:?}");
}

#[test]
fn scans_go_on_over_background_work_and_after_crashes() {
    let sum = runs(1_000..1_040, true);
    assert!(sum.snapshots > 130 && sum.read_again > 70 && sum.restarts == 80, "{sum:?}");
}
