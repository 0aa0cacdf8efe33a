//! Training sees what serving saw: values that were served at a time equal those of a training read at that
//! time, whatever came later, and wherever the rows lie by then.

use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
use thermae_engine::cold::{ArchiveOptions, LocalObjects};
use thermae_engine::store::{Row, Status, Store};
use thermae_engine::training::{MemorySpine, Progress, Request, ViewJoin};
use thermae_engine::{Ack, Options, Outcome, RowWrite, WriteBatch, WriteKind};
use thermae_formats::{
    Feature, FeatureView, JoinKey, KeyType, KeyValue, Scalar, Value, encode_key,
};
use thermae_tests::model::Rng;
use thermae_tiering::cold::plan::ArchivePolicy;

const VIEW: &str = "test/scores";
const ENTITIES: u64 = 60;
/// Age of the oldest late row, and the TTL, in steps of the test's clock.
const LATE: u64 = 400;
const TTL_US: i64 = 300;

fn view() -> FeatureView {
    let keys = vec![JoinKey::new("id", KeyType::Int64)];
    let features = vec![
        Feature::new("n", Scalar::Int64),
        Feature::new("score", Scalar::Float64),
        Feature::new("text", Scalar::String),
    ];
    let mut view = FeatureView::new("test", "scores", keys, features);
    view.ttl_us = TTL_US;
    view
}

fn open(dir: &Path, cores: usize) -> Store {
    let flush_bytes = 16 << 10;
    let options = Options { cores, spin_us: 0, flush_bytes, ..Options::default() };
    Store::open_with(dir, options).unwrap()
}

/// The same with an archive, which takes rows as soon as they are in tables.
fn open_archived(dir: &Path, cores: usize) -> Store {
    let objects = Arc::new(LocalObjects::new(&dir.join("archive")).unwrap());
    let policy = ArchivePolicy { lag_us: 0, merge_files: 4, ..ArchivePolicy::default() };
    let archive = ArchiveOptions { policy, round_us: 1_000, ..ArchiveOptions::new(objects) };
    let (flush_bytes, archive) = (16 << 10, Some(archive));
    let options = Options { cores, spin_us: 0, flush_bytes, archive, ..Options::default() };
    Store::open_with(&dir.join("data"), options).unwrap()
}

/// What an online read said of an entity at a time.
#[derive(Debug, PartialEq)]
struct Served {
    time_us: i64,
    id: i64,
    values: Vec<Value>,
}

struct Writer {
    rng: Rng,
    now_us: i64,
    log: Vec<Served>,
}

impl Writer {
    /// Writes a batch with created times of now, and event times of now or of some time ago; deletes among them.
    fn write(&mut self, store: &Store) {
        self.now_us += 1 + self.rng.below(5) as i64;
        let catalogue = store.handle().catalogue();
        let schema = Arc::clone(&catalogue.resolve(VIEW).unwrap().latest);
        let mut batch = WriteBatch::new(Ack::Logged, 0);
        for n in 0..=self.rng.below(12) {
            let id = self.rng.below(ENTITIES) as i64;
            let late = if self.rng.one_in(3) { self.rng.below(LATE) as i64 } else { 0 };
            let (mut key, mut value, mut dense) = (Vec::new(), Vec::new(), false);
            encode_key(&schema.definition.join_keys, &[KeyValue::Int(id)], &mut key).unwrap();
            let is_delete = self.rng.one_in(8);
            if !is_delete {
                let null = |is_null, value| if is_null { Value::Null } else { value };
                let values = [
                    null(self.rng.one_in(5), Value::Int64(self.now_us * 100 + n as i64)),
                    null(self.rng.one_in(5), Value::Float64(self.now_us as f64 / 7.0)),
                    null(self.rng.one_in(5), Value::String("x".repeat(n as usize * 20))),
                ];
                dense = schema.layout.encode(&values, &mut value).unwrap();
            }
            let (key, value) = (batch.store(&key), batch.store(&value));
            let row = RowWrite {
                kind: if is_delete { WriteKind::Delete } else { WriteKind::Put },
                dense,
                created_time: self.now_us,
                value,
                ..RowWrite::delete(&schema, self.now_us - late, key)
            };
            batch.rows.push(row);
        }
        let outcomes = store.handle().write(batch).unwrap();
        assert!(
            outcomes.iter().all(|outcome| matches!(outcome, Outcome::Ok { .. })),
            "{outcomes:?}"
        );
    }

    /// Serves some entities, and logs what they got.
    fn serve(&mut self, store: &Store) {
        let plan = store.plan(VIEW, &["n", "score", "text"]).unwrap();
        let ids: Vec<i64> = (0..8).map(|_| self.rng.below(ENTITIES + 5) as i64).collect();
        let keys: Vec<Vec<KeyValue>> = ids.iter().map(|id| vec![KeyValue::Int(*id)]).collect();
        let answers = store.get_at(&plan, &keys, self.now_us).unwrap();
        for (id, answer) in ids.into_iter().zip(answers) {
            assert!(!matches!(answer.status, Status::Corrupt | Status::Unavailable));
            self.log.push(Served { time_us: self.now_us, id, values: answer.values });
        }
    }
}

/// What a training read says of the same.
fn train(store: &Store, log: &[Served]) -> Vec<Served> {
    let ids = log.iter().map(|served| served.id).collect::<Int64Array>();
    let times: Vec<i64> = log.iter().map(|served| served.time_us).collect();
    let times = TimestampMicrosecondArray::from(times);
    let batch = RecordBatch::try_from_iter([
        ("id", Arc::new(ids) as _),
        ("event_timestamp", Arc::new(times) as _),
    ]);
    let batch = batch.unwrap();
    let spine = MemorySpine::new(batch.schema(), vec![batch]).unwrap();
    let request = Request {
        time_column: "event_timestamp".to_owned(),
        joins: vec![ViewJoin::new(VIEW)],
        as_of_known: true,
        ..Request::default()
    };
    let progress = Progress::new();
    let answer = store.history(&request, &spine, &progress).unwrap();
    let mut trained = Vec::new();
    for batch in answer {
        let batch = batch.unwrap();
        let (n, score) = (
            batch.column(2).as_primitive::<Int64Type>(),
            batch.column(3).as_primitive::<Float64Type>(),
        );
        let text = batch.column(4).as_string::<i32>();
        for row in 0..batch.num_rows() {
            let Served { time_us, id, .. } = log[trained.len()];
            let or_null = |array: &dyn Array, value| {
                if array.is_null(row) { Value::Null } else { value }
            };
            let values = vec![
                or_null(n, Value::Int64(n.value(row))),
                or_null(score, Value::Float64(score.value(row))),
                or_null(text, Value::from(text.value(row))),
            ];
            trained.push(Served { time_us, id, values });
        }
    }
    trained
}

#[test]
fn a_training_read_at_a_time_equals_what_was_served_then_through_flushes_and_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer { rng: Rng::new(9), now_us: 1_600_000_000_000_000, log: Vec::new() };
    for (round, cores) in [1, 2, 1].into_iter().enumerate() {
        let store = open(dir.path(), cores);
        if round == 0 {
            store.apply(&[view()]).unwrap();
        } else {
            assert_eq!(train(&store, &writer.log), writer.log, "after a restart");
        }
        for _ in 0..150 {
            writer.write(&store);
            writer.serve(&store);
        }
        assert_eq!(train(&store, &writer.log), writer.log, "round {round}");
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
    let mut writer = Writer { rng: Rng::new(11), now_us: 1_600_000_000_000_000, log: Vec::new() };
    let (mut archived, mut from_cold) = (0, 0);
    for (round, cores) in [1, 2, 1].into_iter().enumerate() {
        let store = open_archived(dir.path(), cores);
        if round == 0 {
            let mut view = view();
            // Years old by the clock: rows leave the hot table at once, and the tables when they are archived.
            view.tiers.hot_for_us = 1_000_000;
            view.tiers.warm_for_us = 1_000_000;
            view.tiers.serve_from_cold = true;
            store.apply(&[view]).unwrap();
        }
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        let mut batches = 0;
        // So many, and on until rows were archived, left, and were served from there.
        loop {
            writer.write(&store);
            writer.serve(&store);
            batches += 1;
            let stats = store.handle().stats();
            let reads = stats.shards.iter().map(|shard| shard.tiers.reads.archive_hits);
            let hits: u64 = reads.sum();
            let rows = stats.archive.map_or(0, |archive| archive.archived_rows);
            if batches >= 150 && hits > 0 && rows > 200 {
                (archived, from_cold) = (archived + rows, from_cold + hits);
                break;
            }
            assert!(std::time::Instant::now() < deadline, "{:?}", store.handle().stats());
        }
        assert_eq!(train(&store, &writer.log), writer.log, "round {round}");
        store.close().unwrap();
    }
    assert!(archived > 600 && from_cold > 3, "{archived} archived, {from_cold} served from there");
}

#[test]
fn spill_files_that_a_killed_process_left_go_when_the_store_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let spill = dir.path().join("spill");
    std::fs::create_dir_all(&spill).unwrap();
    std::fs::write(spill.join("spill-0123-0"), b"left").unwrap();
    let store = open(dir.path(), 1);
    assert_eq!(std::fs::read_dir(&spill).unwrap().count(), 0);
    store.apply(&[view()]).unwrap();
    store.put(VIEW, &[Row::new([KeyValue::Int(1)], 5, vec![Value::Null; 3])]).unwrap();
    let served = Served { time_us: 6, id: 1, values: vec![Value::Null; 3] };
    assert_eq!(train(&store, std::slice::from_ref(&served)), [served]);
    assert_eq!(std::fs::read_dir(&spill).unwrap().count(), 0);
    store.close().unwrap();
}
