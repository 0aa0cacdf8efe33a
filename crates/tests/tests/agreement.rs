//! Random operations agree with the naive model through the embedded store.

use thermae_engine::Options;
use thermae_engine::store::Store;
use thermae_tests::agreement::{InProcess, agree};
use thermae_tests::model::views;

/// Small hot tables: the entities of these tests need little.
fn options(cores: usize) -> Options {
    Options {
        cores,
        memory_bytes: cores as u64 * (16 << 20),
        segment_bytes: 4 << 20,
        ..Options::default()
    }
}

#[test]
fn fifty_thousand_operations_in_process_on_one_and_two_shards() {
    for cores in [1, 2] {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open_with(dir.path(), options(cores)).unwrap();
        store.apply(&views()).unwrap();
        let compared = agree(&mut InProcess(&store), 1, 50_000).unwrap();
        assert!(compared > 10_000, "{compared} reads compared");
        store.close().unwrap();
    }
}

#[test]
fn a_directory_opens_under_any_number_of_cores_with_equal_state() {
    let dir = tempfile::tempdir().unwrap();
    let mut digests = None;
    for cores in [1, 2, 1] {
        let store = Store::open_with(dir.path(), options(cores)).unwrap();
        if digests.is_none() {
            store.apply(&views()).unwrap();
            agree(&mut InProcess(&store), 2, 3_000).unwrap();
            digests = Some(store.handle().digests().unwrap());
        }
        assert_eq!(digests, Some(store.handle().digests().unwrap()), "{cores} cores");
        store.close().unwrap();
    }
}
