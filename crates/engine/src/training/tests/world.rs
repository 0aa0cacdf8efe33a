//! Views, their histories in memory, and what the rules say about them.

use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use arrow_array::{Array, RecordBatch};
use thermae_env::{Env, SimEnv};
use thermae_formats::hash::entity_hash;
use thermae_formats::hot_layout::{FLAG_DENSE, FLAG_TOMBSTONE};
use thermae_formats::version::Version;
use thermae_formats::{
    FeatureView, KeyValue, NO_TIME, Scalar, SchemaId, Value, ValueType, ViewId, encode_key,
};
use thermae_tiering::merge::{Entry, PartedSource, SeekSource, Source};
use thermae_tiering::spill::SpillDir;

use super::super::*;

pub const SPILL: &str = "/data/spill";
const SEED: u64 = 77;
/// Parts that the versions of a view lie in.
const PARTS: usize = 3;

#[derive(Clone, Debug)]
pub struct Stored {
    view: ViewId,
    entity_hash: u64,
    key: Vec<u8>,
    schema_id: SchemaId,
    flags: u8,
    sequence: u64,
    event_time: i64,
    created_time: i64,
    encoded: Vec<u8>,
    values: Vec<Value>,
}

#[derive(Default)]
pub struct World {
    pub catalogue: Catalogue,
    rows: Vec<Stored>,
    /// Versions that histories pass before one fails,
    pub fails_after: Option<usize>,
    /// .. and those that they have passed.
    moves: Arc<AtomicUsize>,
    /// Cancelled by the first history that is opened.
    pub cancels: Option<Arc<Progress>>,
}

impl World {
    pub fn new(views: &[FeatureView]) -> Self {
        let mut world = Self::default();
        views.iter().for_each(|view| world.define(view.clone()));
        world
    }

    pub fn define(&mut self, view: FeatureView) {
        let (entries, _) = self.catalogue.plan(&[view]).unwrap();
        for entry in entries {
            self.catalogue.add(&entry).unwrap();
        }
    }

    /// A row by the view's present schema; no values: a tombstone.
    pub fn put(
        &mut self,
        view: &str,
        key: &[KeyValue],
        event: i64,
        created: i64,
        values: &[Value],
    ) {
        let view = self.catalogue.resolve(view).unwrap();
        let (mut bytes, mut encoded, mut flags) = (Vec::new(), Vec::new(), FLAG_TOMBSTONE);
        encode_key(&view.latest.definition.join_keys, key, &mut bytes).unwrap();
        if !values.is_empty() {
            let is_dense = view.latest.layout.encode(values, &mut encoded).unwrap();
            flags = if is_dense { FLAG_DENSE } else { 0 };
        }
        self.rows.push(Stored {
            view: view.id,
            entity_hash: entity_hash(&bytes, SEED),
            key: bytes,
            schema_id: view.latest.id,
            flags,
            sequence: self.rows.len() as u64,
            event_time: event,
            created_time: created,
            encoded,
            values: values.to_vec(),
        });
    }

    /// What the rules say: the values of the newest version that counts, none if it is a tombstone.
    pub fn expected(
        &self,
        view: &str,
        key: &[KeyValue],
        time: i64,
        known: bool,
    ) -> Option<&[Value]> {
        let view = self.catalogue.resolve(view).unwrap();
        let mut bytes = Vec::new();
        encode_key(&view.latest.definition.join_keys, key, &mut bytes).unwrap();
        let ttl = view.latest.definition.ttl_us;
        let counts = |row: &&Stored| {
            row.view == view.id
                && row.key == bytes
                && row.event_time <= time
                && (ttl == 0 || row.event_time >= time - ttl)
                && (!known || (row.created_time != NO_TIME && row.created_time <= time))
        };
        let newest = |row: &&Stored| (row.event_time, row.created_time, row.sequence);
        let winner = self.rows.iter().filter(counts).max_by_key(newest)?;
        (winner.flags & FLAG_TOMBSTONE == 0).then_some(&winner.values)
    }

    pub fn read(
        &self,
        request: &Request,
        spine: &dyn Spine,
        means: &Means<SimEnv>,
    ) -> Result<Vec<RecordBatch>, TrainingError> {
        let progress = Progress::new();
        read(request, &self.catalogue, self, spine, means, &progress)?.collect()
    }

    /// The same with plenty of memory, as one batch a batch of the spine.
    pub fn read_all(
        &self,
        request: &Request,
        spine: &dyn Spine,
    ) -> Result<Vec<RecordBatch>, TrainingError> {
        self.read(request, spine, &means(&SimEnv::new(1), 1 << 26, 2))
    }
}

pub fn means(env: &SimEnv, budget_bytes: usize, threads: usize) -> Means<SimEnv> {
    Means { spill: SpillDir::new(env.clone(), Path::new(SPILL)), budget_bytes, threads }
}

/// Spill files that are there.
pub fn spill_files(env: &SimEnv) -> usize {
    env.list(Path::new(SPILL)).map_or(0, |entries| entries.len())
}

impl Histories for World {
    type Error = std::io::Error;
    type Source = History;

    fn open(&self, view: ViewId, hashes: RangeInclusive<u64>) -> Result<History, std::io::Error> {
        if let Some(progress) = &self.cancels {
            progress.cancel();
        }
        let inside = |row: &&Stored| row.view == view && hashes.contains(&row.entity_hash);
        let mut parts = vec![Vec::new(); PARTS];
        for (at, row) in self.rows.iter().filter(inside).cloned().enumerate() {
            parts[at % PARTS].push(row);
        }
        for rows in &mut parts {
            rows.sort_by(|a: &Stored, b: &Stored| {
                (a.entity_hash, &a.key)
                    .cmp(&(b.entity_hash, &b.key))
                    .then(b.version().order().cmp(&a.version().order()))
            });
        }
        let (parts, moves) = (parts.into_iter(), Arc::clone(&self.moves));
        Ok(History { parts, rows: Vec::new(), at: 0, moves, fails_after: self.fails_after })
    }

    fn hash_seed(&self) -> u64 {
        SEED
    }
}

impl Stored {
    fn version(&self) -> Version<'_> {
        Version {
            schema_id: self.schema_id,
            flags: self.flags,
            sequence: self.sequence,
            event_time: self.event_time,
            created_time: self.created_time,
            expire_at: NO_TIME,
            key: &self.key,
            value: &self.encoded,
        }
    }
}

pub struct History {
    parts: std::vec::IntoIter<Vec<Stored>>,
    rows: Vec<Stored>,
    at: usize,
    moves: Arc<AtomicUsize>,
    fails_after: Option<usize>,
}

impl Source for History {
    type Error = std::io::Error;

    fn peek(&self) -> Option<Entry<'_>> {
        self.rows.get(self.at).map(|row| (row.view, row.entity_hash, row.version()))
    }

    fn advance(&mut self) -> Result<(), std::io::Error> {
        let moves = self.moves.fetch_add(1, Ordering::Relaxed);
        if self.fails_after.is_some_and(|most| moves >= most) {
            return Err(std::io::Error::other("the disk is gone"));
        }
        self.at += 1;
        Ok(())
    }
}

impl SeekSource for History {
    fn seek(&mut self, entity_hash: u64, key: &[u8]) -> Result<(), std::io::Error> {
        let before = |row: &Stored| (row.entity_hash, &row.key[..]) < (entity_hash, key);
        self.at += self.rows[self.at..].partition_point(before);
        Ok(())
    }
}

impl PartedSource for History {
    fn next_part(&mut self) -> Result<bool, std::io::Error> {
        let next = self.parts.next();
        self.at = 0;
        self.rows = next.clone().unwrap_or_default();
        Ok(next.is_some())
    }
}

/// A value of a column, read back as the type that it was written from.
pub fn value_at(array: &dyn Array, row: usize, value_type: &ValueType) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    match value_type {
        ValueType::Scalar(scalar) => scalar_at(array, row, *scalar),
        ValueType::Opaque { .. } => Value::Opaque(array.as_binary::<i32>().value(row).to_vec()),
        ValueType::Vector { .. } => {
            let items = array.as_fixed_size_list().value(row);
            Value::Vector(items.as_primitive::<Float32Type>().values().to_vec())
        }
        ValueType::List(scalar) => {
            let items = array.as_list::<i32>().value(row);
            Value::List((0..items.len()).map(|at| scalar_at(&items, at, *scalar)).collect())
        }
    }
}

fn scalar_at(array: &dyn Array, row: usize, scalar: Scalar) -> Value {
    match scalar {
        Scalar::Bool => Value::Bool(array.as_boolean().value(row)),
        Scalar::Int32 => Value::Int32(array.as_primitive::<Int32Type>().value(row)),
        Scalar::Int64 => Value::Int64(array.as_primitive::<Int64Type>().value(row)),
        Scalar::Float32 => Value::Float32(array.as_primitive::<Float32Type>().value(row)),
        Scalar::Float64 => Value::Float64(array.as_primitive::<Float64Type>().value(row)),
        Scalar::String => Value::from(array.as_string::<i32>().value(row)),
        Scalar::Json => Value::Json(array.as_string::<i32>().value(row).to_owned()),
        Scalar::Bytes => Value::Bytes(array.as_binary::<i32>().value(row).to_vec()),
        Scalar::Timestamp => {
            Value::Timestamp(array.as_primitive::<TimestampMicrosecondType>().value(row))
        }
        Scalar::Uuid => Value::Uuid(array.as_fixed_size_binary().value(row).try_into().unwrap()),
    }
}
