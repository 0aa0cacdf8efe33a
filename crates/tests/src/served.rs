//! Training sees what serving saw: rows are written, some of them late, and served; later a training read is asked for
//! what was served, wherever the rows lie by then.

use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
use thermae_engine::cold::{ArchiveOptions, LocalObjects};
use thermae_engine::store::{Status, Store};
use thermae_engine::training::{MemorySpine, Progress, Request, ViewJoin};
use thermae_engine::{Ack, Options, Outcome, RowWrite, WriteBatch, WriteKind};
use thermae_formats::{
    Feature, FeatureView, JoinKey, KeyType, KeyValue, Scalar, Value, encode_key,
};
use thermae_tiering::cold::plan::ArchivePolicy;

use crate::model::Rng;

/// The view that is written and read.
pub const VIEW: &str = "test/scores";
/// Age of the oldest late row, and the TTL, in steps of the test's clock.
const LATE: u64 = 400;
const TTL_US: i64 = 300;
/// `hot_for` and `warm_for` where there is an archive: the rows are years old by the clock.
const AGED_US: i64 = 1_000_000;
/// Answers that differ which are told.
const TOLD: usize = 5;

/// Its definition. With an archive its rows leave the hot table at once, and the tables when they are archived, the
/// newest of a key, too.
pub fn view(is_archived: bool) -> FeatureView {
    let keys = vec![JoinKey::new("id", KeyType::Int64)];
    let features = vec![
        Feature::new("n", Scalar::Int64),
        Feature::new("score", Scalar::Float64),
        Feature::new("text", Scalar::String),
    ];
    let mut view = FeatureView::new("test", "scores", keys, features);
    view.ttl_us = TTL_US;
    if is_archived {
        (view.tiers.hot_for_us, view.tiers.warm_for_us) = (AGED_US, AGED_US);
        view.tiers.serve_from_cold = true;
    }
    view
}

/// Opens a store that flushes all the time; with an archive, which takes rows as soon as they are in tables.
///
/// # Errors
/// Those of the store.
pub fn open(
    dir: &Path,
    cores: usize,
    flush_bytes: usize,
    is_archived: bool,
) -> Result<Store, String> {
    let text = |e: &dyn std::fmt::Display| e.to_string();
    let mut options = Options { cores, spin_us: 0, flush_bytes, ..Options::default() };
    if is_archived {
        let root = dir.join("archive");
        std::fs::create_dir_all(&root).map_err(|e| text(&e))?;
        let objects = LocalObjects::new(&root).map_err(|e| text(&e))?;
        let policy = ArchivePolicy { lag_us: 0, merge_files: 4, ..ArchivePolicy::default() };
        let archive = ArchiveOptions::new(Arc::new(objects));
        options.archive = Some(ArchiveOptions { policy, round_us: 1_000, ..archive });
    }
    Store::open_with(dir.join("data"), options).map_err(|e| text(&e))
}

/// What an online read said of an entity at a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Served {
    /// When, microseconds UTC.
    pub time_us: i64,
    /// Of which entity.
    pub id: i64,
    /// What it was given.
    pub values: Vec<Value>,
}

/// Writes and serves by a clock of its own.
pub struct Writer {
    rng: Rng,
    now_us: i64,
    /// Entities that there are.
    entities: u64,
    /// Most rows of a batch.
    rows_max: u64,
    /// What was served.
    pub log: Vec<Served>,
    /// Each row that was written.
    written: Vec<Written>,
}

/// A row that was written.
struct Written {
    id: i64,
    event_time: i64,
    created_time: i64,
    is_delete: bool,
}

impl Written {
    fn describe(&self) -> String {
        let what = if self.is_delete { "delete" } else { "put" };
        format!("{what} of {} created at {}", self.event_time, self.created_time)
    }
}

impl Writer {
    /// One that has written nothing.
    pub fn new(seed: u64, entities: u64, rows_max: u64) -> Self {
        let (rng, now_us) = (Rng::new(seed), 1_600_000_000_000_000);
        Self { rng, now_us, entities, rows_max, log: Vec::new(), written: Vec::new() }
    }

    /// Rows written.
    pub fn rows(&self) -> u64 {
        self.written.len() as u64
    }

    /// Checks that a training read says the same as what was served.
    ///
    /// # Errors
    /// Those of the read; the first answers that differ, with the rows that each could have come from.
    pub fn check_training(&self, store: &Store) -> Result<(), String> {
        let trained = train(store, &self.log)?;
        let pairs = self.log.iter().zip(&trained).enumerate();
        let differ: Vec<_> = pairs.filter(|(_, (served, trained))| served != trained).collect();
        if differ.is_empty() && trained.len() == self.log.len() {
            return Ok(());
        }
        let told = differ.iter().take(TOLD).map(|(at, (served, trained))| {
            let may_show = |row: &&Written| {
                row.id == served.id
                    && row.created_time <= served.time_us
                    && row.event_time <= served.time_us
                    && row.event_time >= served.time_us - TTL_US
            };
            let rows = self.written.iter().filter(may_show).map(Written::describe);
            let rows: Vec<_> = rows.collect();
            format!("answer {at}: served {served:?}, trained {trained:?}, of {rows:?}")
        });
        let told: Vec<_> = told.collect();
        let (all, trained) = (self.log.len(), trained.len());
        Err(format!(
            "{} of {all} answers differ, {trained} were trained:\n{}",
            differ.len(),
            told.join("\n")
        ))
    }

    /// Writes a batch with created times of now, and event times of now or of some time ago; deletes among them.
    ///
    /// # Errors
    /// A row was not taken.
    pub fn write(&mut self, store: &Store) -> Result<(), String> {
        self.now_us += 1 + self.rng.below(5) as i64;
        let catalogue = store.handle().catalogue();
        let schema = Arc::clone(&catalogue.resolve(VIEW).map_err(|e| e.to_string())?.latest);
        let mut batch = WriteBatch::new(Ack::Logged, 0);
        for n in 0..=self.rng.below(self.rows_max) {
            let id = self.rng.below(self.entities) as i64;
            let late = if self.rng.one_in(3) { self.rng.below(LATE) as i64 } else { 0 };
            let (mut key, mut value, mut dense) = (Vec::new(), Vec::new(), false);
            encode_key(&schema.definition.join_keys, &[KeyValue::Int(id)], &mut key)
                .map_err(|e| e.to_string())?;
            let is_delete = self.rng.one_in(8);
            let event_time = self.now_us - late;
            self.written.push(Written { id, event_time, created_time: self.now_us, is_delete });
            if !is_delete {
                let null = |is_null, value| if is_null { Value::Null } else { value };
                let values = [
                    null(self.rng.one_in(5), Value::Int64(self.now_us * 100 + n as i64)),
                    null(self.rng.one_in(5), Value::Float64(self.now_us as f64 / 7.0)),
                    null(self.rng.one_in(5), Value::String("x".repeat(n as usize % 12 * 20))),
                ];
                dense = schema.layout.encode(&values, &mut value).map_err(|e| e.to_string())?;
            }
            let (key, value) = (batch.store(&key), batch.store(&value));
            batch.rows.push(RowWrite {
                kind: if is_delete { WriteKind::Delete } else { WriteKind::Put },
                dense,
                created_time: self.now_us,
                value,
                ..RowWrite::delete(&schema, event_time, key)
            });
        }
        let outcomes = store.handle().write(batch).map_err(|e| e.to_string())?;
        let refused = outcomes.iter().find(|outcome| !matches!(outcome, Outcome::Ok { .. }));
        refused.map_or(Ok(()), |refused| Err(format!("{refused:?}")))
    }

    /// Serves some entities, and logs what they got.
    ///
    /// # Errors
    /// A row was not served.
    pub fn serve(&mut self, store: &Store) -> Result<(), String> {
        let plan = store.plan(VIEW, &["n", "score", "text"]).map_err(|e| e.to_string())?;
        let ids: Vec<i64> = (0..8).map(|_| self.rng.below(self.entities + 5) as i64).collect();
        let keys: Vec<Vec<KeyValue>> = ids.iter().map(|id| vec![KeyValue::Int(*id)]).collect();
        let answers = store.get_at(&plan, &keys, self.now_us).map_err(|e| e.to_string())?;
        for (id, answer) in ids.into_iter().zip(answers) {
            if matches!(answer.status, Status::Corrupt | Status::Unavailable) {
                return Err(format!("entity {id}: {:?}", answer.status));
            }
            self.log.push(Served { time_us: self.now_us, id, values: answer.values });
        }
        Ok(())
    }
}

/// What a training read says of the same.
///
/// # Errors
/// Those of the read.
pub fn train(store: &Store, log: &[Served]) -> Result<Vec<Served>, String> {
    let text = |e: &dyn std::fmt::Display| e.to_string();
    let ids = log.iter().map(|served| served.id).collect::<Int64Array>();
    let times: Vec<i64> = log.iter().map(|served| served.time_us).collect();
    let times = TimestampMicrosecondArray::from(times);
    let batch = RecordBatch::try_from_iter([
        ("id", Arc::new(ids) as _),
        ("event_timestamp", Arc::new(times) as _),
    ]);
    let batch = batch.map_err(|e| text(&e))?;
    let spine = MemorySpine::new(batch.schema(), vec![batch]).map_err(|e| text(&e))?;
    let request = Request {
        time_column: "event_timestamp".to_owned(),
        joins: vec![ViewJoin::new(VIEW)],
        as_of_known: true,
        ..Request::default()
    };
    let progress = Progress::new();
    let answer = store.history(&request, &spine, &progress).map_err(|e| text(&e))?;
    let mut trained = Vec::new();
    for batch in answer {
        let batch = batch.map_err(|e| text(&e))?;
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
    Ok(trained)
}
