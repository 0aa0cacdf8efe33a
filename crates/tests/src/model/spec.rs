//! The rules of SEMANTICS.md's online reads, for one partition, over a plain map.

use std::collections::BTreeMap;

use thermae_formats::schema::{History, TierPolicy};
use thermae_formats::{NO_TIME, Value};

use super::{Operation, VIEWS};

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
    policies: [TierPolicy; VIEWS.len()],
    rows: BTreeMap<(usize, u64), ModelRow>,
    /// Every version that was not past `keep_for` when it came.
    versions: BTreeMap<(usize, u64), Vec<ModelRow>>,
    watermark: Option<i64>,
    sequence: u64,
}

impl Model {
    /// One whose views have these policies.
    pub fn with_policies(policies: [TierPolicy; VIEWS.len()]) -> Model {
        Model { policies, ..Model::default() }
    }

    /// The policies of its views.
    pub fn policies(&self) -> [TierPolicy; VIEWS.len()] {
        self.policies
    }

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
            Operation::Erase { .. } => {
                // As if it had never been; what comes later is new, whatever its time.
                self.rows.remove(&target);
                self.versions.remove(&target);
                self.sequence += 1;
                return Verdict::Accepted;
            }
        };
        self.sequence += 1;
        let order = (event_time, created_time, self.sequence);
        let current = self.rows.get(&target);
        let wins = match current.filter(|row| !self.is_past(target.0, row.order.0)) {
            _ if self.is_past(target.0, event_time) => false,
            // A row past its own expiry by the partition's newest event time no longer counts.
            Some(row) if self.is_reset(row) => true,
            Some(row) => order > row.order,
            None => true,
        };
        let row = ModelRow { order, expire_at, values };
        if !self.is_past(target.0, event_time) {
            self.versions.entry(target).or_default().push(row.clone());
        }
        if wins {
            self.rows.insert(target, row);
        }
        self.watermark = self.watermark.max(Some(event_time));
        Verdict::Accepted
    }

    fn is_reset(&self, row: &ModelRow) -> bool {
        row.expire_at != NO_TIME && self.watermark.is_some_and(|w| row.expire_at <= w)
    }

    /// Whether a row is further behind the partition's newest event time than its view keeps.
    fn is_past(&self, view: usize, event_time: i64) -> bool {
        let keep_for_us = self.policies[view].keep_for_us;
        keep_for_us > 0 && self.watermark.is_some_and(|mark| event_time < mark - keep_for_us)
    }

    fn merged(
        &self,
        target: (usize, u64),
        event_time: i64,
        feature: u16,
        value: &Value,
    ) -> Option<Vec<Value>> {
        let counts = |row: &&ModelRow| !self.is_reset(row) && !self.is_past(target.0, row.order.0);
        let base = self.rows.get(&target).filter(counts);
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

    /// Whether a row is past its view's `keep_for`: merges may have removed it, or not.
    pub fn may_be_gone(&self, view: usize, row: &ModelRow) -> bool {
        self.is_past(view, row.order.0)
    }

    /// Every version of a view that its history must show, by entity and the newest first.
    pub fn history(&self, view: usize) -> Vec<(u64, &ModelRow)> {
        let mut all: Vec<_> = match self.policies[view].history {
            History::Full => {
                let versions = self.versions.iter().filter(|entry| entry.0.0 == view);
                versions.flat_map(|(at, rows)| rows.iter().map(|row| (at.1, row))).collect()
            }
            History::Latest => {
                let newest = self.rows.iter().filter(|entry| entry.0.0 == view);
                newest.map(|(at, row)| (at.1, row)).collect()
            }
        };
        all.retain(|(_, row)| !self.is_past(view, row.order.0));
        all.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.order.cmp(&a.1.order)));
        all
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
