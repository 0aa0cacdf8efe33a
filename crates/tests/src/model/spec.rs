//! The rules of SEMANTICS.md's online reads, for one partition, over a plain map.

use std::collections::BTreeMap;

use thermae_formats::{NO_TIME, Value};

use super::Operation;

/// The newest row of an entity.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelRow {
    /// (event time, created time, arrival): the greatest wins.
    pub order: (i64, i64, u64),
    /// Microseconds UTC or `NO_TIME`.
    pub expire_at: i64,
    /// None for a tombstone.
    pub values: Option<Vec<Value>>,
}

/// What the store must say to a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It gets the next sequence number.
    Accepted,
    /// A partial write older than the newest row.
    Late,
}

/// One partition.
#[derive(Clone, Debug, Default)]
pub struct Model {
    rows: BTreeMap<(usize, u64), ModelRow>,
    watermark: Option<i64>,
    sequence: u64,
}

impl Model {
    /// Does what the store must do.
    pub fn write(&mut self, operation: &Operation) -> Verdict {
        let target = operation.target();
        let (event_time, created_time, expire_at, values) = match operation {
            Operation::Put { event_time, created_time, expire_at, values, .. } => {
                (*event_time, *created_time, *expire_at, Some(values.clone()))
            }
            Operation::Delete { event_time, .. } => (*event_time, NO_TIME, NO_TIME, None),
            Operation::Partial { event_time, feature, value, .. } => {
                let Some(values) = self.merged(target, *event_time, *feature, value) else {
                    return Verdict::Late;
                };
                (*event_time, NO_TIME, NO_TIME, Some(values))
            }
        };
        self.sequence += 1;
        let order = (event_time, created_time, self.sequence);
        let wins = match self.rows.get(&target) {
            // A row past its own expiry by the partition's newest event time no longer counts.
            Some(row) if self.is_reset(row) => true,
            Some(row) => order > row.order,
            None => true,
        };
        if wins {
            self.rows.insert(target, ModelRow { order, expire_at, values });
        }
        self.watermark = self.watermark.max(Some(event_time));
        Verdict::Accepted
    }

    fn is_reset(&self, row: &ModelRow) -> bool {
        row.expire_at != NO_TIME && self.watermark.is_some_and(|w| row.expire_at <= w)
    }

    fn merged(
        &self,
        target: (usize, u64),
        event_time: i64,
        feature: u16,
        value: &Value,
    ) -> Option<Vec<Value>> {
        let base = self.rows.get(&target).filter(|row| !self.is_reset(row));
        if base.is_some_and(|row| (row.order.0, row.order.1) > (event_time, NO_TIME)) {
            return None;
        }
        // Operations lie years in the past: a row with an expiry is past it by any clock.
        let live = base.filter(|row| row.expire_at == NO_TIME);
        let mut values =
            live.and_then(|row| row.values.clone()).unwrap_or_else(|| vec![Value::Null; 3]);
        values[usize::from(feature)] = value.clone();
        Some(values)
    }

    /// The newest row of an entity, tombstones and expired ones included.
    pub fn row(&self, view: usize, entity: u64) -> Option<&ModelRow> {
        self.rows.get(&(view, entity))
    }

    /// The values that a read at `read_time` must give, without a TTL.
    pub fn visible(&self, view: usize, entity: u64, read_time: i64) -> Option<&[Value]> {
        let row = self.row(view, entity)?;
        let expired = row.expire_at != NO_TIME && row.expire_at <= read_time;
        row.values.as_deref().filter(|_| !expired)
    }

    /// Writes accepted so far.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }
}
