//! `Store`: the engine embedded in a process.
//!
//! ```no_run
//! # fn main() -> Result<(), thermae_engine::Error> {
//! use thermae_engine::store::{Row, Store};
//! use thermae_formats::{Feature, FeatureView, JoinKey, KeyType, KeyValue, Scalar, Value};
//!
//! let store = Store::open("features")?;
//! let keys = vec![JoinKey::new("user", KeyType::Int64)];
//! let score = Feature::new("score", Scalar::Float32);
//! store.apply(&[FeatureView::new("shop", "users", keys, vec![score])])?;
//! store.put("shop/users", &[Row::new([KeyValue::Int(7)], 1_700_000_000_000_000, [Value::Float32(0.5)])])?;
//! let plan = store.plan("shop/users", &["score"])?;
//! let answers = store.get(&plan, &[vec![KeyValue::Int(7)]])?;
//! assert_eq!(answers[0].values, [Value::Float32(0.5)]);
//! # Ok(()) }
//! ```

use std::path::Path;
use std::sync::Arc;

use thermae_env::{Env, RealEnv};
use thermae_formats::key::encode_key;
use thermae_formats::projection::Projection;
use thermae_formats::schema::FeatureView;
use thermae_formats::version::Version;
use thermae_formats::visibility::{Visibility, visibility};
use thermae_formats::{KeyValue, NO_TIME, Value, ValueType};
use thermae_hot::RowBuf;

use crate::catalogue::{Applied, Schema, View};
use crate::error::Error;
use crate::handle::{ArchiveState, ErasedShard, Found, Handle};
use crate::options::Options;
use crate::reads::Key;
use crate::runtime::Engine;
use crate::scan::{self, Scan, ScanOptions};
use crate::service::NoService;
use crate::snapshot::Snapshot;
use crate::write::{Ack, Outcome, RowWrite, WriteBatch, WriteKind};

/// One row to write.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Join key values, in the view's order.
    pub key: Vec<KeyValue>,
    /// When the fact was true, microseconds UTC.
    pub event_time: i64,
    /// When we learnt it, microseconds UTC, or `NO_TIME`.
    pub created_time: i64,
    /// One value a feature, in the view's order.
    pub values: Vec<Value>,
}

impl Row {
    /// A row without a created time.
    pub fn new(
        key: impl Into<Vec<KeyValue>>,
        event_time: i64,
        values: impl Into<Vec<Value>>,
    ) -> Self {
        Row { key: key.into(), event_time, created_time: NO_TIME, values: values.into() }
    }
}

/// How an entity stands in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Its values are served; each may still be null.
    Present,
    /// There is no such row.
    NotFound,
    /// The row is older than the view's TTL: values are null, the event time is told.
    OutsideMaxAge,
    /// The row is damaged wherever it lies: nothing is served.
    Corrupt,
    /// The row lies in the archive, which does not answer at present: nothing is served, ask again later.
    Unavailable,
}

/// The answer for one entity.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// How it stands.
    pub status: Status,
    /// Event time of the row, or `NO_TIME`.
    pub event_time: i64,
    /// One value a feature asked for, in the order asked.
    pub values: Vec<Value>,
}

/// Features of one view, compiled for reading. Valid until the view changes its schema; later
/// rows read as the schema of the plan's time.
#[derive(Clone)]
pub struct Plan {
    view: Arc<View>,
    projection: Arc<Projection>,
}

/// An open store. Cheap to share by reference; every method may be called from any thread.
pub struct Store<E: Env = RealEnv> {
    engine: Engine<E>,
    handle: Handle<E>,
    env: E,
}

impl Store<RealEnv> {
    /// Opens a directory with the default options, creating it when it does not exist.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, Error> {
        Self::open_with(dir, Options::default())
    }

    /// Opens a directory.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn open_with(dir: impl AsRef<Path>, options: Options) -> Result<Self, Error> {
        Store::start(RealEnv, dir.as_ref(), options)
    }
}

impl<E: Env> Store<E> {
    fn start(env: E, dir: &Path, options: Options) -> Result<Self, Error> {
        let engine = Engine::start(env.clone(), dir, options, |_| NoService)?;
        Ok(Store { handle: engine.handle(), engine, env })
    }

    /// The lower-level way in: batches with producers, digests, zero-copy reads.
    pub fn handle(&self) -> &Handle<E> {
        &self.handle
    }

    /// Defines views: all or none. Repeating a definition changes nothing.
    ///
    /// # Errors
    /// The first definition that is invalid or incompatible.
    pub fn apply(&self, definitions: &[FeatureView]) -> Result<Vec<Applied>, Error> {
        self.handle.apply(definitions)
    }

    /// Writes rows and waits until they are durable; one outcome a row.
    ///
    /// # Errors
    /// A row that does not fit the view; then none is written.
    pub fn put(&self, view: &str, rows: &[Row]) -> Result<Vec<Outcome>, Error> {
        let catalogue = self.handle.catalogue();
        let schema = Arc::clone(&catalogue.resolve(view)?.latest);
        let mut batch = WriteBatch::new(Ack::Durable, 0);
        for row in rows {
            batch.push(&schema, row, 0)?;
        }
        self.handle.write(batch)
    }

    /// Deletes entities as of an event time: later rows bring them back, earlier ones do not.
    ///
    /// # Errors
    /// A key that does not fit the view; then none is deleted.
    pub fn delete(
        &self,
        view: &str,
        keys: &[Vec<KeyValue>],
        event_time: i64,
    ) -> Result<Vec<Outcome>, Error> {
        let catalogue = self.handle.catalogue();
        let schema = Arc::clone(&catalogue.resolve(view)?.latest);
        let mut batch = WriteBatch::new(Ack::Durable, 0);
        for (at, key) in keys.iter().enumerate() {
            let key = store_key(&schema, key, at, &mut batch)?;
            batch.rows.push(RowWrite::delete(&schema, event_time, key));
        }
        self.handle.write(batch)
    }

    /// Erases entities: when this returns nobody reads what was written of them before, and the bytes on
    /// the disk are being removed. Rows that are written afterwards are new ones. The outcome of each has
    /// the token by which [`Store::erased`] tells when that has come to its end.
    ///
    /// # Errors
    /// A key that does not fit the view; then none is erased.
    pub fn erase(&self, view: &str, keys: &[Vec<KeyValue>]) -> Result<Vec<Outcome>, Error> {
        let catalogue = self.handle.catalogue();
        self.erase_from(&[catalogue.resolve(view)?], keys)
    }

    /// The same in every view that has the join keys of `view`, names and types; outcomes view by view.
    ///
    /// # Errors
    /// As [`Store::erase`].
    pub fn erase_from_all_views(
        &self,
        view: &str,
        keys: &[Vec<KeyValue>],
    ) -> Result<Vec<Outcome>, Error> {
        let catalogue = self.handle.catalogue();
        let join_keys = &catalogue.resolve(view)?.latest.definition.join_keys;
        let is_alike = |other: &&Arc<View>| other.latest.definition.join_keys == *join_keys;
        self.erase_from(&catalogue.views().filter(is_alike).collect::<Vec<_>>(), keys)
    }

    fn erase_from(
        &self,
        views: &[&Arc<View>],
        keys: &[Vec<KeyValue>],
    ) -> Result<Vec<Outcome>, Error> {
        let mut batch = WriteBatch::new(Ack::Durable, 0);
        for schema in views.iter().map(|view| &view.latest) {
            for (at, key) in keys.iter().enumerate() {
                let key = store_key(schema, key, at, &mut batch)?;
                batch
                    .rows
                    .push(RowWrite { kind: WriteKind::Erase, ..RowWrite::delete(schema, 0, key) });
            }
        }
        self.handle.write(batch)
    }

    /// Waits until erases are complete: no file of the directory or of its archive holds anything of them any more.
    /// What was done, a shard each.
    ///
    /// # Errors
    /// An outcome that is not that of an applied erase, the store is stopped, or it was opened without its archive,
    /// which must be rewritten first.
    pub fn erased(&self, outcomes: &[Outcome]) -> Result<Vec<ErasedShard>, Error> {
        let token = |outcome: &Outcome| match outcome {
            Outcome::Ok { partition, sequence, .. } => Ok((*partition, *sequence)),
            _ => Err(Error::Invalid("an erase that was not applied is never complete".to_owned())),
        };
        let tokens: Vec<_> = outcomes.iter().map(token).collect::<Result<_, _>>()?;
        let waits = self.handle.archive_state() != ArchiveState::Closed;
        let shards = self.handle.submit_erases(&tokens, waits)?.wait()?;
        if shards.iter().all(|shard| shard.pending == 0) {
            return Ok(shards);
        }
        let why = "the store was opened without its archive: what was erased is hidden, and goes from there when \
                   the store is opened with it";
        Err(Error::Invalid(why.to_owned()))
    }

    /// Compiles a read of some features of a view.
    ///
    /// # Errors
    /// No such view or feature.
    pub fn plan(&self, view: &str, features: &[&str]) -> Result<Plan, Error> {
        Plan::compile(self.handle.catalogue().resolve(view)?, features)
    }

    /// Reads many entities as of now: one answer a key, in order. Rows of hot tables and
    /// of tables on disk are read on this thread; others by their owners, who are waited for.
    ///
    /// # Errors
    /// A key that does not fit the view.
    pub fn get(&self, plan: &Plan, keys: &[Vec<KeyValue>]) -> Result<Vec<Answer>, Error> {
        self.get_at(plan, keys, self.env.now_us())
    }

    /// Reads many entities with TTL judged at `read_time`, microseconds UTC. It is not time
    /// travel: the newest rows are judged, whatever the time.
    ///
    /// # Errors
    /// A key that does not fit the view.
    pub fn get_at(
        &self,
        plan: &Plan,
        keys: &[Vec<KeyValue>],
        read_time: i64,
    ) -> Result<Vec<Answer>, Error> {
        let catalogue = self.handle.catalogue();
        let view = catalogue.view_by_id(plan.view.id).unwrap_or(&plan.view);
        let plan = Plan { view: Arc::clone(view), projection: Arc::clone(&plan.projection) };
        self.handle.get(&plan, keys, read_time)
    }

    /// Scans the history of a view: every version that it keeps of every entity, in the order of entity
    /// hash, key, and the newest first; of some features, or, without any, of all. It includes every write
    /// that was acknowledged before the call, and shows none that came after it, however long it takes.
    ///
    /// # Errors
    /// No such view or feature, a key that does not fit the view, a table that cannot be read, or too many
    /// scans at a time.
    pub fn scan(
        &self,
        view: &str,
        features: &[&str],
        options: &ScanOptions,
    ) -> Result<Scan<E>, Error> {
        Scan::open(&self.snapshot()?, view, features, options)
    }

    /// The store as it is now, to be read while it goes on.
    ///
    /// # Errors
    /// There are too many snapshots.
    pub fn snapshot(&self) -> Result<Snapshot<E>, Error> {
        self.handle.snapshot()
    }

    /// Stops in order.
    ///
    /// # Errors
    /// What a shard ended with.
    pub fn close(self) -> Result<(), Error> {
        self.engine.stop()
    }
}

impl<E: Env> Handle<E> {
    /// Reads many entities with TTL judged at `read_time`, microseconds UTC, by the policy of the plan's time:
    /// one answer a key, in order, as [`Store::get`] reads them.
    ///
    /// # Errors
    /// A key that does not fit the view.
    pub fn get(
        &self,
        plan: &Plan,
        keys: &[Vec<KeyValue>],
        read_time: i64,
    ) -> Result<Vec<Answer>, Error> {
        let view = &plan.view;
        let mut packed = Vec::new();
        let mut ends = Vec::with_capacity(keys.len());
        for (at, key) in keys.iter().enumerate() {
            encode_key(&view.latest.definition.join_keys, key, &mut packed)
                .map_err(|e| Error::Invalid(format!("key {at}: {e}")))?;
            ends.push(packed.len());
        }
        let reads = self.reads();
        let mut start = 0;
        let keys: Vec<Key<'_>> = ends
            .iter()
            .map(|&end| {
                let bytes = packed.get(start..end).unwrap_or_default();
                start = end;
                Key { entity_hash: reads.hash(bytes), bytes }
            })
            .collect();
        let ttl_us = view.latest.definition.ttl_us;
        let mut answers = vec![plan.nothing(Status::NotFound, NO_TIME); keys.len()];
        self.read(view, &keys, &mut RowBuf::default(), |at, found| {
            let Some(answer) = answers.get_mut(at) else { return };
            *answer = match found {
                Found::Row(row) => plan.answer(row, ttl_us, read_time),
                Found::Absent => plan.nothing(Status::NotFound, NO_TIME),
                Found::Failed(_) => plan.nothing(Status::Corrupt, NO_TIME),
                Found::Unavailable(_) => plan.nothing(Status::Unavailable, NO_TIME),
            };
        })?;
        Ok(answers)
    }
}

impl WriteBatch {
    /// Appends a whole row of a view, as its producer's `producer_sequence`.
    ///
    /// # Errors
    /// A key or a value that does not fit the view; nothing is appended then.
    pub fn push(
        &mut self,
        schema: &Schema,
        row: &Row,
        producer_sequence: u64,
    ) -> Result<(), Error> {
        let at = self.rows.len();
        let mut bytes = Vec::new();
        let dense = schema
            .layout
            .encode(&row.values, &mut bytes)
            .map_err(|e| Error::Invalid(format!("row {at} of {}: {e}", schema.definition.name)))?;
        let key = store_key(schema, &row.key, at, self)?;
        let value = self.store(&bytes);
        self.rows.push(RowWrite {
            kind: WriteKind::Put,
            dense,
            created_time: row.created_time,
            producer_sequence,
            value,
            ..RowWrite::delete(schema, row.event_time, key)
        });
        Ok(())
    }
}

impl Plan {
    /// Compiles features of a view.
    ///
    /// # Errors
    /// No such feature.
    pub fn compile(view: &Arc<View>, features: &[&str]) -> Result<Self, Error> {
        let projection = Arc::new(scan::project(view, features)?);
        Ok(Plan { projection, view: Arc::clone(view) })
    }

    /// Type of each column.
    pub fn value_types(&self) -> impl Iterator<Item = &ValueType> {
        (0..self.projection.len()).filter_map(|column| self.projection.value_type(column))
    }

    fn nothing(&self, status: Status, event_time: i64) -> Answer {
        Answer { status, event_time, values: vec![Value::Null; self.projection.len()] }
    }

    fn answer(&self, row: &Version<'_>, ttl_us: i64, read_time: i64) -> Answer {
        let (event_time, is_tombstone) = (row.event_time, row.is_tombstone());
        match visibility(is_tombstone, row.expire_at, event_time, ttl_us, read_time) {
            Visibility::NotFound => self.nothing(Status::NotFound, NO_TIME),
            Visibility::OutsideMaxAge => self.nothing(Status::OutsideMaxAge, event_time),
            Visibility::Present => {
                match self.projection.decode(row.schema_id, row.value, row.is_dense()) {
                    Ok(values) => Answer { status: Status::Present, event_time, values },
                    Err(_) => self.nothing(Status::Corrupt, event_time),
                }
            }
        }
    }
}

fn store_key(
    schema: &Schema,
    key: &[KeyValue],
    at: usize,
    batch: &mut WriteBatch,
) -> Result<std::ops::Range<u32>, Error> {
    let mut bytes = Vec::new();
    encode_key(&schema.definition.join_keys, key, &mut bytes)
        .map_err(|e| Error::Invalid(format!("row {at}: {e}")))?;
    Ok(batch.store(&bytes))
}
