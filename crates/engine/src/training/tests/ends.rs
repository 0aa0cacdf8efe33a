//! Reads that do not end well: histories that fail, full disks, spines that change, and cancelling.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow_array::{Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow_schema::SchemaRef;
use thermae_env::{SimEnv, SimOp};
use thermae_formats::{Feature, FeatureView, JoinKey, KeyType, KeyValue, Scalar, Value};
use thermae_tiering::spill::SpillError;

use super::super::spine::Batches;
use super::super::*;
use super::world::{World, means, spill_files};

fn world() -> World {
    let key = vec![JoinKey::new("id", KeyType::Int64)];
    let view = FeatureView::new("p", "v", key, vec![Feature::new("n", Scalar::Int64)]);
    let mut world = World::new(&[view]);
    for id in 0..400 {
        world.put("v", &[KeyValue::Int(id)], id, id, &[Value::Int64(id)]);
    }
    world
}

fn request() -> Request {
    let joins = vec![ViewJoin::new("v")];
    Request { time_column: "at".to_owned(), joins, ..Request::default() }
}

fn batch(rows: i64) -> RecordBatch {
    let ids: Int64Array = (0..rows).map(|row| row % 500).collect();
    let times = TimestampMicrosecondArray::from(vec![1_000; rows as usize]);
    RecordBatch::try_from_iter([("id", Arc::new(ids) as _), ("at", Arc::new(times) as _)]).unwrap()
}

fn spine(rows: i64) -> MemorySpine {
    let batch = batch(rows);
    MemorySpine::new(batch.schema(), vec![batch]).unwrap()
}

#[test]
fn a_history_that_fails_in_the_middle_fails_the_read_and_names_the_view() {
    let mut world = world();
    world.fails_after = Some(30);
    for threads in 1..=4 {
        let env = SimEnv::new(1);
        let error = world.read(&request(), &spine(3_000), &means(&env, 0, threads)).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, TrainingError::History { .. }), "{text}");
        assert!(text.contains("p/v@1") && text.contains("the disk is gone"), "{text}");
        assert_eq!(spill_files(&env), 0);
    }
}

#[test]
fn a_read_that_joins_nothing_gives_the_spine_back_and_checks_its_times() {
    let world = world();
    let nothing = Request { joins: Vec::new(), ..request() };
    for threads in [1, 4] {
        let env = SimEnv::new(1);
        let (spine, progress) = (spine(20_000), Progress::new());
        let means = means(&env, 0, threads);
        let mut answer =
            read(&nothing, &world.catalogue, &world, &spine, &means, &progress).unwrap();
        assert!(answer.tallies().is_empty());
        let (whole, mut rows) = (batch(20_000), 0);
        while let Some(batch) = answer.next_batch().unwrap() {
            assert_eq!(batch, whole.slice(rows, batch.num_rows()));
            rows += batch.num_rows();
        }
        assert_eq!((rows, answer.rows()), (20_000, 20_000));
        let timeless = TimestampMicrosecondArray::from(vec![Some(1), None]);
        let timeless = RecordBatch::try_from_iter([("at", Arc::new(timeless) as _)]).unwrap();
        let timeless = MemorySpine::new(timeless.schema(), vec![timeless]).unwrap();
        let error = read(&nothing, &world.catalogue, &world, &timeless, &means, &progress);
        assert!(matches!(error, Err(TrainingError::NoTime { row: 2, .. })));
    }
}

#[test]
fn a_full_disk_in_either_sort_names_the_file_and_leaves_none() {
    let world = world();
    // Entries of 10,000 rows take some 400 KB, answers some 300 KB.
    for capacity_bytes in [100_000, 600_000] {
        let env = SimEnv::new(2);
        env.set_capacity_bytes(Some(capacity_bytes));
        let error = world.read(&request(), &spine(10_000), &means(&env, 0, 2)).unwrap_err();
        match error {
            TrainingError::Spill(SpillError::DiskFull { path, .. }) => {
                assert!(path.starts_with(super::world::SPILL), "{path:?}");
            }
            other => panic!("{other}"),
        }
        assert_eq!(spill_files(&env), 0);
    }
    let env = SimEnv::new(3);
    env.set_capacity_bytes(Some(2_000_000));
    assert_eq!(world.read(&request(), &spine(10_000), &means(&env, 0, 2)).unwrap().len(), 2);
}

#[test]
fn a_spill_that_cannot_be_read_is_an_error_wherever_it_is() {
    let world = world();
    let mut after = 0;
    let failed = loop {
        let env = SimEnv::new(4);
        env.fail(SimOp::Read, after);
        match world.read(&request(), &spine(2_000), &means(&env, 0, 1)) {
            Ok(_) => break after,
            Err(error) => {
                assert!(matches!(error, TrainingError::Spill(SpillError::Io { .. })), "{error}");
            }
        }
        after += 1;
    };
    assert!(failed > 20, "only {failed} reads");
}

/// A spine whose second reading is another.
struct Fickle {
    readings: AtomicUsize,
    batches: [Vec<RecordBatch>; 2],
}

impl Spine for Fickle {
    fn schema(&self) -> SchemaRef {
        self.batches[0][0].schema()
    }

    fn rows(&self) -> Option<u64> {
        None
    }

    fn read(&self) -> Result<Batches<'_>, Cause> {
        let reading = self.readings.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(self.batches[reading].iter().cloned().map(Ok)))
    }
}

#[test]
fn a_spine_that_changes_between_its_readings_is_noticed() {
    let other = RecordBatch::try_from_iter([("id", batch(5).column(0).clone())]).unwrap();
    let cases = [
        (vec![batch(5)], vec![batch(4)], Some("had 5 rows, and then 4")),
        (vec![batch(5)], vec![batch(5), batch(2)], Some("had 5 rows, and then 7")),
        (vec![batch(5)], vec![other], Some("other columns")),
        // Other batches of the same rows are the same spine.
        (vec![batch(5)], vec![batch(3), batch(5).slice(3, 2)], None),
    ];
    for (first, second, expected) in cases {
        let spine = Fickle { readings: AtomicUsize::new(0), batches: [first, second] };
        let (env, progress, world) = (SimEnv::new(5), Progress::new(), world());
        let means = means(&env, 0, 1);
        let answer = read(&request(), &world.catalogue, &world, &spine, &means, &progress);
        let (mut rows, mut error) = (0, None);
        for batch in answer.unwrap() {
            match batch {
                Ok(batch) => rows += batch.num_rows(),
                Err(TrainingError::SpineChanged(text)) => error = Some(text),
                Err(other) => panic!("{other}"),
            }
        }
        assert!(rows <= 5, "{rows} rows were handed out of 5");
        match expected {
            None => assert_eq!((rows, error), (5, None)),
            Some(text) => assert!(error.clone().is_some_and(|e| e.contains(text)), "{error:?}"),
        }
    }
}

#[test]
fn it_ends_soon_after_it_was_cancelled_in_each_pass() {
    let spine = spine(20_000);
    let env = SimEnv::new(6);
    let means = means(&env, 0, 2);
    let cancelled = Progress::new();
    cancelled.cancel();
    let mut world = world();
    let early = read(&request(), &world.catalogue, &world, &spine, &means, &cancelled);
    assert!(matches!(early, Err(TrainingError::Cancelled)));
    assert_eq!(cancelled.steps().read, 0);

    let progress = Arc::new(Progress::new());
    world.cancels = Some(Arc::clone(&progress));
    let joining = read(&request(), &world.catalogue, &world, &spine, &means, &progress);
    assert!(matches!(joining, Err(TrainingError::Cancelled)));
    let steps = progress.steps();
    assert!(steps.read == 20_000 && steps.joined < 10 && steps.answered == 0, "{steps:?}");

    world.cancels = None;
    let progress = Progress::new();
    let mut answer = read(&request(), &world.catalogue, &world, &spine, &means, &progress).unwrap();
    assert!(matches!(answer.next(), Some(Ok(_))));
    progress.cancel();
    assert!(matches!(answer.next(), Some(Err(TrainingError::Cancelled))));
    assert!(answer.next().is_none(), "nothing follows an error");
    drop(answer);
    assert_eq!(spill_files(&env), 0);
}

#[test]
fn one_key_with_many_versions_does_not_keep_it_from_ending() {
    let mut world = world();
    for time in 0..5_000 {
        world.put("v", &[KeyValue::Int(0)], 2_000 + time, time, &[Value::Int64(time)]);
    }
    let (env, progress) = (SimEnv::new(7), Arc::new(Progress::new()));
    world.cancels = Some(Arc::clone(&progress));
    let (spine, means) = (spine(1), means(&env, 0, 1));
    let answer = read(&request(), &world.catalogue, &world, &spine, &means, &progress);
    assert!(matches!(answer, Err(TrainingError::Cancelled)));
    assert_eq!((progress.steps().to_join, progress.steps().joined), (1, 0));
}
