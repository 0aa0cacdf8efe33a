//! What the trees should hold, computed from the whole log in the plainest way.

use std::collections::{BTreeMap, BTreeSet};

use thermae_formats::hot_layout::FLAG_TOMBSTONE;
use thermae_formats::schema::{History, TierPolicy};
use thermae_formats::version::Version;
use thermae_formats::{NO_TIME, SchemaId, ViewId};

pub const FULL: ViewId = ViewId(0);
pub const LATEST: ViewId = ViewId(1);
pub const KEPT: ViewId = ViewId(2);
/// Of `KEPT`.
pub const KEEP_FOR_US: i64 = 80;

pub type Key = (ViewId, [u8; 8]);

/// A record of the log; its place in the log is its sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub key: Key,
    pub sequence: u64,
    pub event_time: i64,
    pub is_tombstone: bool,
    /// The row before it had expired: this one is the newest whatever its event time.
    pub resets: bool,
    pub value: Vec<u8>,
}

impl Record {
    pub fn version(&self) -> Version<'_> {
        Version {
            schema_id: SchemaId(1),
            flags: if self.is_tombstone { FLAG_TOMBSTONE } else { 0 },
            sequence: self.sequence,
            event_time: self.event_time,
            created_time: NO_TIME,
            expire_at: NO_TIME,
            key: &self.key.1,
            value: &self.value,
        }
    }
}

/// What is read back, to compare: event time, sequence, and the value.
pub type Seen = (i64, u64, Vec<u8>);

pub fn seen(version: &Version<'_>) -> Seen {
    (version.event_time, version.sequence, version.value.to_vec())
}

/// Whether a record becomes the newest of its key.
pub fn is_newest(record: &Record, newest: Option<&Seen>) -> bool {
    record.resets || newest.is_none_or(|new| (record.event_time, record.sequence) > (new.0, new.1))
}

/// The policies of these views.
pub fn policies(views: &[ViewId]) -> BTreeMap<ViewId, TierPolicy> {
    let full = TierPolicy::default();
    let of = |view| match view {
        LATEST => TierPolicy { history: History::Latest, ..full },
        KEPT => TierPolicy { keep_for_us: KEEP_FOR_US, ..full },
        _ => full,
    };
    views.iter().map(|view| (*view, of(*view))).collect()
}

/// All that was read back.
#[derive(Default)]
pub struct Found {
    pub newest: BTreeMap<Key, Seen>,
    pub history: Vec<(Key, Seen)>,
}

/// Compares what was found with what the log says.
pub fn check(log: &[Record], found: &Found) -> Result<(), String> {
    let (mut newest, mut history) = (BTreeMap::<Key, Seen>::new(), BTreeSet::new());
    let mut watermark = i64::MIN;
    for record in log {
        watermark = watermark.max(record.event_time);
        let row = seen(&record.version());
        if !is_newest(record, newest.get(&record.key)) {
            history.insert((record.key, row));
        } else if let Some(before) = newest.insert(record.key, row) {
            history.insert((record.key, before));
        }
    }
    let is_past =
        |key: &Key, row: &Seen| key.0 == KEPT && row.0 < watermark.saturating_sub(KEEP_FOR_US);
    for (key, row) in &newest {
        match found.newest.get(key) {
            Some(other) if other == row => {}
            None if is_past(key, row) => {}
            other => return Err(format!("{key:?}: {other:?} for {row:?}")),
        }
    }
    if let Some(key) = found.newest.keys().find(|key| !newest.contains_key(key)) {
        return Err(format!("{key:?} was never written"));
    }
    let there: BTreeSet<_> = found.history.iter().cloned().collect();
    let twice = found.history.len() - there.len();
    let missing = history.iter().find(|(key, row)| {
        key.0 != LATEST && !is_past(key, row) && !there.contains(&(*key, row.clone()))
    });
    let invented = there.iter().find(|entry| !history.contains(entry));
    match (missing, invented, twice) {
        (None, None, 0) => Ok(()),
        _ => Err(format!("history: missing {missing:?}, invented {invented:?}, {twice} twice")),
    }
}
