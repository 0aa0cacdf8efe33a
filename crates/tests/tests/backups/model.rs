//! Seeded runs against the naive model.

use thermae_tests::campaign::{BackupReport, backup_run};

#[test]
fn a_restored_store_is_the_store_of_then_and_a_repeated_load_brings_it_to_now() {
    let mut sum = BackupReport::default();
    for seed in 0..12 {
        let report = backup_run(seed).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        sum.backups += report.backups;
        sum.while_writing += report.while_writing;
        sum.shared_files += report.shared_files;
        sum.restores += report.restores;
        sum.removed += report.removed;
        sum.restarts += report.restarts;
    }
    assert!(sum.backups > 100 && sum.while_writing > 40 && sum.shared_files > 100, "{sum:?}");
    assert!(sum.restores > 60 && sum.removed > 20 && sum.restarts == 24, "{sum:?}");
}
