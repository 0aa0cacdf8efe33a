//! Batches of spine and answer, which several threads work at together.

use std::sync::Arc;

use arrow_array::{Int64Array, RecordBatch, TimestampMicrosecondArray};
use thermae_env::SimEnv;
use thermae_formats::{Feature, FeatureView, JoinKey, KeyType, KeyValue, Scalar, Value};

use super::super::*;
use super::world::{World, means};

fn world(text_bytes: usize) -> World {
    let key = vec![JoinKey::new("id", KeyType::Int64)];
    let view = FeatureView::new("p", "v", key, vec![Feature::new("text", Scalar::String)]);
    let mut world = World::new(&[view]);
    for id in 0..5 {
        let text = id.to_string().repeat(text_bytes);
        world.put("v", &[KeyValue::Int(id)], id, id, &[Value::String(text)]);
    }
    world
}

fn request() -> Request {
    let joins = vec![ViewJoin::new("v")];
    Request { time_column: "at".to_owned(), joins, ..Request::default() }
}

/// Rows from one number on, of which these have no time.
fn batch(first: i64, rows: i64, without: &[i64]) -> RecordBatch {
    let ids: Int64Array = (first..first + rows).map(|row| row % 6).collect();
    let times = (first..first + rows).map(|row| (!without.contains(&row)).then_some(1_000));
    let times: TimestampMicrosecondArray = times.collect();
    let columns = [("id", Arc::new(ids) as _, false), ("at", Arc::new(times) as _, true)];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

#[test]
fn the_first_wrong_row_is_told_whatever_the_threads() {
    let world = world(1);
    let batches = (0..40).map(|at| batch(at * 10, 10, &[173, 187, 255]));
    let batches: Vec<_> = batches.collect();
    let spine = MemorySpine::new(batches[0].schema(), batches).unwrap();
    for threads in [1, 2, 3, 7] {
        let error = world.read(&request(), &spine, &means(&SimEnv::new(1), 0, threads));
        let is_first = matches!(&error, Err(TrainingError::NoTime { row: 174, .. }));
        assert!(is_first, "{threads} threads: {:?}", error.err());
    }
}

#[test]
fn batches_of_wide_rows_are_the_same_whatever_the_threads() {
    // Five of six rows have 64 KiB: a batch is full with some 150 rows.
    let world = world(64 << 10);
    let spine: Vec<_> = [(0, 7), (7, 250), (257, 1), (258, 300), (558, 40)]
        .map(|(first, rows)| batch(first, rows, &[]))
        .into();
    let spine = MemorySpine::new(spine[0].schema(), spine).unwrap();
    let read = |memory_bytes, threads| {
        let env = SimEnv::new(2);
        world.read(&request(), &spine, &means(&env, memory_bytes, threads)).unwrap()
    };
    let expected = read(0, 1);
    let rows: Vec<_> = expected.iter().map(RecordBatch::num_rows).collect();
    assert_eq!(rows, [7, 153, 97, 1, 153, 147, 40]);
    for threads in [1, 2, 3, 8] {
        assert!(read(1 << 28, threads) == expected, "{threads} threads");
    }
}
