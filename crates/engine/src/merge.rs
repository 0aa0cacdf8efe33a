//! Partial writes: some features laid over the newest live row, stored as a whole row.

use thermae_formats::catalogue::SchemaId;
use thermae_formats::hot_layout::{FLAG_DENSE, FLAG_TOMBSTONE};
use thermae_formats::row::RowLayout;
use thermae_formats::schema::Feature;
use thermae_formats::version::{FLAG_STUB, Version};
use thermae_formats::{NO_TIME, Value};
use thermae_tiering::residency;

use crate::catalogue::{Schema, View};
use crate::write::{Refusal, RowWrite};

/// The row that a partial write is laid over.
#[derive(Clone, Debug)]
pub struct Base {
    schema_id: SchemaId,
    flags: u8,
    event_time: i64,
    created_time: i64,
    sequence: u64,
    expire_at: i64,
    value: Vec<u8>,
}

/// A merged row under the view's latest schema.
#[derive(Debug)]
pub struct Merged {
    /// It has no null bitmap.
    pub dense: bool,
    /// The encoded row.
    pub value: Vec<u8>,
}

impl Base {
    /// The base that a version of the row is.
    pub fn of(version: &Version<'_>) -> Base {
        Base {
            schema_id: version.schema_id,
            flags: version.flags,
            event_time: version.event_time,
            created_time: version.created_time,
            sequence: version.sequence,
            expire_at: version.expire_at,
            value: version.value.to_vec(),
        }
    }

    /// The tables have only its stub.
    pub fn is_stub(&self) -> bool {
        self.flags & FLAG_STUB != 0
    }

    /// Whether a partial row with these times would be late to it.
    pub fn is_newer_than(&self, event_time: i64, created_time: i64) -> bool {
        (self.event_time, self.created_time) > (event_time, created_time)
    }

    /// Whether its values count: it is no tombstone, and not past its own expiry.
    pub fn is_live(&self, now_us: i64) -> bool {
        let expired = self.expire_at != NO_TIME && self.expire_at <= now_us;
        self.flags & FLAG_TOMBSTONE == 0 && !expired
    }

    /// It no longer counts when a record is applied at this watermark.
    pub fn is_reset(&self, watermark: Option<i64>) -> bool {
        residency::is_reset(self.expire_at, watermark)
    }

    /// When its fact was true, microseconds.
    pub fn event_time(&self) -> i64 {
        self.event_time
    }

    /// What decides which of two rows is newer.
    pub fn order(&self) -> (i64, i64, u64) {
        (self.event_time, self.created_time, self.sequence)
    }
}

/// Lays the features of a partial row over the base. Features that neither has are null; a
/// tombstone or a row past its own expiry is no base, but its time still counts.
///
/// # Errors
/// `Late` when the base is newer, `CorruptBase` when its bytes do not decode, `UnknownSchema` when
/// the partial row does not fit the view as it is now.
pub fn merge(
    view: &View,
    base: Option<&Base>,
    row: &RowWrite,
    features: &[u16],
    value: &[u8],
    now_us: i64,
) -> Result<Merged, Refusal> {
    if let Some(base) = base
        && base.is_newer_than(row.event_time, row.created_time)
    {
        return Err(Refusal::Late);
    }
    let latest = &view.latest;
    let mut values = match base.filter(|base| base.is_live(now_us)) {
        Some(base) => base_values(view, base)?,
        None => vec![Value::Null; latest.definition.features.len()],
    };
    let written_by = view
        .schemas
        .iter()
        .find(|schema| schema.id == row.schema_id)
        .ok_or(Refusal::UnknownSchema)?;
    let subset: Vec<Feature> = features
        .iter()
        .map(|&at| written_by.definition.features.get(usize::from(at)).cloned())
        .collect::<Option<_>>()
        .ok_or(Refusal::UnknownSchema)?;
    let layout = RowLayout::new(&subset).map_err(|_| Refusal::UnknownSchema)?;
    let partial = layout.decode(value, row.dense).map_err(|_| Refusal::UnknownSchema)?;
    for (feature, value) in subset.iter().zip(partial) {
        let (place, kind) = place(latest, &mut values, &feature.name)?;
        *place = widen(value, kind);
    }
    let mut encoded = Vec::new();
    let dense = latest.layout.encode(&values, &mut encoded).map_err(|_| Refusal::RowTooLarge)?;
    Ok(Merged { dense, value: encoded })
}

/// The base's values in the order and types of the latest schema.
fn base_values(view: &View, base: &Base) -> Result<Vec<Value>, Refusal> {
    let schema = view
        .schemas
        .iter()
        .find(|schema| schema.id == base.schema_id)
        .ok_or(Refusal::CorruptBase)?;
    let old = schema
        .layout
        .decode(&base.value, base.flags & FLAG_DENSE != 0)
        .map_err(|_| Refusal::CorruptBase)?;
    let latest = &view.latest;
    let mut values: Vec<Value> =
        latest.definition.features.iter().map(Feature::default_value).collect();
    for (feature, value) in schema.definition.features.iter().zip(old) {
        let (place, kind) = place(latest, &mut values, &feature.name)?;
        *place = widen(value, kind);
    }
    Ok(values)
}

/// Where a feature of some schema lies in the latest, which has every feature of the older ones.
fn place<'a>(
    latest: &'a Schema,
    values: &'a mut [Value],
    name: &str,
) -> Result<(&'a mut Value, &'a thermae_formats::ValueType), Refusal> {
    let features = &latest.definition.features;
    let at = features.iter().position(|feature| feature.name == name);
    let at = at.ok_or(Refusal::UnknownSchema)?;
    match (values.get_mut(at), features.get(at)) {
        (Some(value), Some(feature)) => Ok((value, &feature.value_type)),
        _ => Err(Refusal::UnknownSchema),
    }
}

/// The two widenings that a compatible schema change may make.
fn widen(value: Value, to: &thermae_formats::ValueType) -> Value {
    use thermae_formats::{Scalar, ValueType};
    match (value, to) {
        (Value::Int32(value), ValueType::Scalar(Scalar::Int64)) => Value::Int64(value.into()),
        (Value::Float32(value), ValueType::Scalar(Scalar::Float64)) => Value::Float64(value.into()),
        (value, _) => value,
    }
}
