//! Training sees what serving saw: values that were served at a time equal those of a training read at that
//! time, whatever came later, and wherever the rows lie by then.

use std::time::{Duration, Instant};

use thermae_engine::store::Row;
use thermae_formats::{KeyValue, Value};
use thermae_tests::served::{Served, VIEW, Writer, open, train, view};

const ENTITIES: u64 = 60;
/// Most rows of a batch.
const ROWS_MAX: u64 = 13;
const FLUSH_BYTES: usize = 16 << 10;

#[test]
fn a_training_read_at_a_time_equals_what_was_served_then_through_flushes_and_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::new(9, ENTITIES, ROWS_MAX);
    for (round, cores) in [1, 2, 1].into_iter().enumerate() {
        let store = open(dir.path(), cores, FLUSH_BYTES, false).unwrap();
        if round == 0 {
            store.apply(&[view(false)]).unwrap();
        } else {
            writer.check_training(&store).unwrap_or_else(|e| panic!("after a restart: {e}"));
        }
        for _ in 0..150 {
            writer.write(&store).unwrap();
            writer.serve(&store).unwrap();
        }
        writer.check_training(&store).unwrap_or_else(|e| panic!("round {round}: {e}"));
        let tiers = store.handle().stats().shards;
        let in_tables: u64 = tiers.iter().map(|shard| shard.tiers.history.rows).sum();
        assert!(round == 0 || in_tables > 500, "history was flushed: {in_tables}");
        store.close().unwrap();
    }
    let nulls = writer.log.iter().filter(|served| served.values.iter().all(|v| *v == Value::Null));
    let (nulls, all) = (nulls.count(), writer.log.len());
    assert!(nulls > all / 20 && nulls < all / 2, "{nulls} of {all} were served as null");
}

#[test]
fn it_equals_what_was_served_through_demotion_archiving_merges_and_restarts_with_late_rows() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::new(11, ENTITIES, ROWS_MAX);
    let (mut archived, mut from_cold) = (0, 0);
    for (round, cores) in [1, 2, 1].into_iter().enumerate() {
        let store = open(dir.path(), cores, FLUSH_BYTES, true).unwrap();
        if round == 0 {
            store.apply(&[view(true)]).unwrap();
        }
        let deadline = Instant::now() + Duration::from_secs(300);
        let mut batches = 0;
        // So many, and on until rows were archived, left, and were served from there.
        loop {
            // A key that is written again and again never has a newest row old enough to leave.
            if batches < 150 || batches % 16 == 0 {
                writer.write(&store).unwrap();
            }
            writer.serve(&store).unwrap();
            batches += 1;
            let stats = store.handle().stats();
            let hits: u64 = stats.shards.iter().map(|shard| shard.tiers.reads.archive_hits).sum();
            let rows = stats.archive.as_ref().map_or(0, |archive| archive.archived_rows);
            if batches >= 150 && hits > 0 && rows > 200 {
                (archived, from_cold) = (archived + rows, from_cold + hits);
                break;
            }
            assert!(Instant::now() < deadline, "{stats:?}");
        }
        writer.check_training(&store).unwrap_or_else(|e| panic!("round {round}: {e}"));
        store.close().unwrap();
    }
    assert!(archived > 600 && from_cold >= 3, "{archived} archived, {from_cold} served from there");
}

#[test]
fn spill_files_that_a_killed_process_left_go_when_the_store_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let spill = dir.path().join("data/spill");
    std::fs::create_dir_all(&spill).unwrap();
    std::fs::write(spill.join("spill-0123-0"), b"left").unwrap();
    let store = open(dir.path(), 1, FLUSH_BYTES, false).unwrap();
    assert_eq!(std::fs::read_dir(&spill).unwrap().count(), 0);
    store.apply(&[view(false)]).unwrap();
    store.put(VIEW, &[Row::new([KeyValue::Int(1)], 5, vec![Value::Null; 3])]).unwrap();
    let served = Served { time_us: 6, id: 1, values: vec![Value::Null; 3] };
    assert_eq!(train(&store, std::slice::from_ref(&served)).unwrap(), [served]);
    assert_eq!(std::fs::read_dir(&spill).unwrap().count(), 0);
    store.close().unwrap();
}
