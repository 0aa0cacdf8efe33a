//! Views and rows of every kind, for tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use thermae_formats::hash::entity_hash;
use thermae_formats::hot_layout::{FLAG_DENSE, FLAG_HAS_EXPIRE, FLAG_TOMBSTONE};
use thermae_formats::version::Version;
use thermae_formats::{
    Feature, FeatureView, JoinKey, KeyType, KeyValue, NO_TIME, RowLayout, Scalar, SchemaId, Value,
    ValueType, ViewId, encode_key,
};

use crate::cold::{
    ColdFile, ColdScan, Columns, FileRef, FileWriter, MemoryObjects, Objects, OpenFiles, Store,
    event_day,
};
use crate::merge::Source;
use crate::testing::Rng;

pub const VIEW: ViewId = ViewId(9);
pub const DAY_US: i64 = 86_400_000_000;
pub const STORE: Store = Store { id: [7; 16], hash_seed: 42, partitions: 16 };

/// A row with all that it owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    pub hash: u64,
    pub schema_id: SchemaId,
    pub flags: u8,
    pub sequence: u64,
    pub times: (i64, i64, i64),
    pub key: Vec<u8>,
    pub value: Vec<u8>,
}

impl Owned {
    pub fn of(hash: u64, version: &Version<'_>) -> Self {
        Self {
            hash,
            schema_id: version.schema_id,
            flags: version.flags,
            sequence: version.sequence,
            times: (version.event_time, version.created_time, version.expire_at),
            key: version.key.to_vec(),
            value: version.value.to_vec(),
        }
    }

    pub fn version(&self) -> Version<'_> {
        Version {
            schema_id: self.schema_id,
            flags: self.flags,
            sequence: self.sequence,
            event_time: self.times.0,
            created_time: self.times.1,
            expire_at: self.times.2,
            key: &self.key,
            value: &self.value,
        }
    }
}

/// A view with a feature of every type.
pub fn view_of_all() -> FeatureView {
    let keys = KeyType::ALL.map(|key_type| JoinKey::new(format!("key_{key_type}"), key_type));
    let scalars = Scalar::ALL.map(|scalar| Feature::new(format!("one_{scalar}"), scalar));
    let lists =
        Scalar::ALL.map(|scalar| Feature::new(format!("many_{scalar}"), ValueType::List(scalar)));
    let others = [
        Feature::new("vector", ValueType::Vector { dimension: 3 }),
        Feature::new("opaque", ValueType::Opaque { logical: "map".to_owned() }),
    ];
    let features = scalars.into_iter().chain(lists).chain(others).collect();
    FeatureView::new("project", "everything", keys.to_vec(), features)
}

/// A view of one int64 key and some numbers.
pub fn small_view() -> FeatureView {
    let features = vec![
        Feature::new("a", Scalar::Float32),
        Feature::new("b", Scalar::Int64),
        Feature::new("c", Scalar::String),
    ];
    FeatureView::new("project", "small", vec![JoinKey::new("id", KeyType::Int64)], features)
}

pub fn columns(view: &FeatureView) -> Arc<Columns> {
    Arc::new(Columns::new(VIEW, &[(SchemaId(3), view)]).unwrap())
}

pub fn scalar(rng: &mut Rng, scalar: Scalar) -> Value {
    let word = rng.next_u64();
    let small = |word: u64| word % 5;
    let text = ["", "a", "\0", "zero \0 inside", "äöü"][small(word) as usize];
    match scalar {
        Scalar::Bool => Value::Bool(word & 1 == 1),
        Scalar::Int32 => Value::Int32(if word & 1 == 1 { i32::MIN } else { word as i32 >> 8 }),
        Scalar::Int64 => Value::Int64(if word & 1 == 1 { i64::MAX } else { word as i64 }),
        // Every bit pattern: NaNs with payloads, infinities, -0.0 among them.
        Scalar::Float32 => Value::Float32(f32::from_bits(match small(word) {
            0 => 0x7FC0_1234,
            1 => 0xFF80_0001,
            2 => 0x8000_0000,
            3 => 0x7F80_0000,
            _ => word as u32,
        })),
        Scalar::Float64 => Value::Float64(f64::from_bits(match small(word) {
            0 => 0x7FF8_0000_0000_1234,
            1 => 0xFFF0_0000_0000_0001,
            2 => 1 << 63,
            _ => word,
        })),
        Scalar::String => Value::String(text.to_owned()),
        Scalar::Bytes => Value::Bytes(
            text.bytes().chain(word.to_le_bytes()).take(small(word) as usize).collect(),
        ),
        Scalar::Timestamp => Value::Timestamp(if word & 1 == 1 { i64::MIN } else { word as i64 }),
        Scalar::Uuid => Value::Uuid([word as u8; 16]),
        Scalar::Json => Value::Json(format!("{{\"a\": {word}}}")),
    }
}

pub fn value(rng: &mut Rng, value_type: &ValueType) -> Value {
    if rng.one_in(4) {
        return Value::Null;
    }
    match value_type {
        ValueType::Scalar(kind) => scalar(rng, *kind),
        ValueType::List(kind) => {
            Value::List((0..rng.below(4)).map(|_| scalar(rng, *kind)).collect())
        }
        ValueType::Vector { dimension } => {
            let word = |rng: &mut Rng| f32::from_bits(rng.next_u64() as u32);
            Value::Vector((0..*dimension).map(|_| word(rng)).collect())
        }
        ValueType::Opaque { .. } => Value::Opaque(rng.next_u64().to_le_bytes()[..3].to_vec()),
    }
}

fn key_value(number: u64, key_type: KeyType) -> KeyValue {
    match key_type {
        KeyType::Int32 => KeyValue::Int(i64::from(-(number as i32))),
        KeyType::Int64 => KeyValue::Int(number as i64 - 3),
        KeyType::String => KeyValue::String("k".repeat(number as usize % 4)),
        KeyType::Bytes => KeyValue::Bytes(vec![number as u8; number as usize % 3]),
        KeyType::Uuid => KeyValue::Uuid([number as u8; 16]),
    }
}

pub fn key(view: &FeatureView, number: u64) -> Vec<u8> {
    let values: Vec<_> = view.join_keys.iter().map(|key| key_value(number, key.key_type)).collect();
    let mut key = Vec::new();
    encode_key(&view.join_keys, &values, &mut key).unwrap();
    key
}

/// Rows of a day under one schema, in table order.
pub fn rows(
    rng: &mut Rng,
    view: &FeatureView,
    schema_id: SchemaId,
    day: i64,
    keys: u64,
    count: u64,
) -> Vec<Owned> {
    let layout = RowLayout::new(&view.features).unwrap();
    let mut sorted = BTreeMap::new();
    for sequence in 0..count {
        let key = key(view, rng.below(keys));
        let hash = entity_hash(&key, STORE.hash_seed);
        let event = day * DAY_US + (rng.below(DAY_US as u64)) as i64 / 1_000_000 * 1_000_000;
        let created = if rng.one_in(3) { NO_TIME } else { event + rng.below(1_000) as i64 };
        let expire = if rng.one_in(3) { event + 5 } else { NO_TIME };
        let mut flags = if expire == NO_TIME { 0 } else { FLAG_HAS_EXPIRE };
        let mut bytes = Vec::new();
        if rng.one_in(8) {
            flags |= FLAG_TOMBSTONE;
        } else {
            let values: Vec<_> = view.features.iter().map(|f| value(rng, &f.value_type)).collect();
            let dense = layout.encode(&values, &mut bytes).unwrap();
            flags |= if dense { FLAG_DENSE } else { 0 };
        }
        let times = (event, created, expire);
        let row = Owned { hash, schema_id, flags, sequence, times, key, value: bytes };
        let order = std::cmp::Reverse(row.version().order());
        sorted.insert((row.hash, row.key.clone(), order), row);
    }
    sorted.into_values().collect()
}

/// Writes rows of one day, and returns the file and its bytes.
pub fn write(columns: &Arc<Columns>, rows: &[Owned]) -> (FileRef, Bytes) {
    let day = event_day(rows[0].times.0);
    let mut writer = FileWriter::new(STORE, columns, day, Vec::new());
    for row in rows {
        writer.push(VIEW, row.hash, &row.version()).unwrap();
        if writer.rows().is_multiple_of(8_192) {
            assert!(writer.memory_bytes() < 64 << 20, "more than a row group");
        }
    }
    let (bytes, file) = writer.finish().unwrap();
    assert_eq!(bytes.len() as u64, file.bytes);
    (file, bytes.into())
}

/// An object store that holds just this file.
pub fn store_of(file: &FileRef, bytes: Bytes) -> Arc<dyn Objects> {
    let objects = MemoryObjects::default();
    objects.put_new(&file.path, bytes).unwrap();
    Arc::new(objects)
}

pub fn open(objects: &Arc<dyn Objects>, file: &FileRef, columns: &Arc<Columns>) -> Arc<ColdFile> {
    Arc::new(ColdFile::open(&**objects, &file.path, file, STORE, columns).unwrap())
}

/// Room for what a test opens.
pub fn open_files() -> Arc<OpenFiles> {
    Arc::new(OpenFiles::new(1 << 20))
}

pub fn read_all(mut scan: ColdScan) -> Vec<Owned> {
    let mut found = Vec::new();
    while let Some((view, hash, version)) = scan.peek() {
        assert_eq!(view, VIEW);
        found.push(Owned::of(hash, &version));
        scan.advance().unwrap();
    }
    found
}
