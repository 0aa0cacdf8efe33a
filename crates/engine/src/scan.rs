//! A view's history row by row: what is asked for of it, from any place on.

use std::ops::RangeInclusive;
use std::sync::Arc;

use thermae_env::Env;
use thermae_formats::hash::entity_hash;
use thermae_formats::projection::Projection;
use thermae_formats::schema::{FeatureView, History};
use thermae_formats::version::Version;
use thermae_formats::{KeyValue, SchemaId, Value, ViewId, decode_key, encode_key};
use thermae_tiering::history::{HistoryRange, ViewHistory};
use thermae_tiering::merge::{SeekSource, Source};

use crate::catalogue::View;
use crate::error::Error;
use crate::snapshot::Snapshot;

/// Bytes that a scan reads at once from each table.
const SCAN_BYTES: usize = 64 << 10;

/// Which rows a scan shows.
#[derive(Clone, Debug, PartialEq)]
pub struct ScanOptions {
    /// Those of one entity alone, by its join key values.
    pub key: Option<Vec<KeyValue>>,
    /// Those of entities with these hashes; parts of the whole range can be scanned side by side.
    pub hashes: RangeInclusive<u64>,
    /// Event time from which on, microseconds UTC.
    pub from_us: i64,
    /// Event time up to which, itself included, microseconds UTC.
    pub to_us: i64,
    /// Deletions too.
    pub tombstones: bool,
}

impl Default for ScanOptions {
    /// Everything but deletions.
    fn default() -> Self {
        let (from_us, to_us) = (i64::MIN, i64::MAX);
        ScanOptions { key: None, hashes: 0..=u64::MAX, from_us, to_us, tombstones: false }
    }
}

/// One row of a scan.
#[derive(Clone, Debug, PartialEq)]
pub struct ScannedRow {
    /// Join key values, in the view's order.
    pub key: Vec<KeyValue>,
    /// When the fact was true, microseconds UTC.
    pub event_time: i64,
    /// When it was learnt, microseconds UTC, or `NO_TIME`.
    pub created_time: i64,
    /// When the row ends by itself, microseconds UTC, or `NO_TIME`.
    pub expire_at: i64,
    /// Its place in the log of its partition.
    pub sequence: u64,
    /// One value a feature asked for; none: the entity was deleted as of the event time.
    pub values: Option<Vec<Value>>,
}

/// Where a scan is: behind this version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The encoded key.
    pub key: Vec<u8>,
    /// Event time, created time and sequence.
    pub order: (i64, i64, u64),
}

/// A scan as it reads: versions as they are stored, in the order of hash, key, and age, among them some
/// that are not wanted ([`Cursor::wants`]), so that whoever has little time may stop between them. Each
/// step may read the disk, and blocks the calling thread while it does.
pub struct Cursor<E: Env> {
    history: ViewHistory<E>,
    key: Option<Vec<u8>>,
    event_times: RangeInclusive<i64>,
    tombstones: bool,
}

impl<E: Env> Cursor<E> {
    /// At the first row of `view`, or, with `after`, the first behind that place. A row that
    /// was there when the place was passed and still is does not show again.
    ///
    /// # Errors
    /// The key does not fit the view, there is no such view, or a table cannot be read.
    pub fn open(
        snapshot: &Snapshot<E>,
        view: ViewId,
        options: &ScanOptions,
        after: Option<&Position>,
    ) -> Result<Self, Error> {
        let known = snapshot.catalogue().view_by_id(view);
        let known = known.ok_or_else(|| Error::NotFound(format!("no view {}", view.0)))?;
        let key = options.key.as_ref().map(|key| encoded(known, key)).transpose()?;
        let hash = |key: &[u8]| entity_hash(key, snapshot.hash_seed());
        let mut hashes = options.hashes.clone();
        if let Some(hash) = key.as_deref().map(hash) {
            hashes = if hashes.contains(&hash) { hash..=hash } else { EMPTY };
        }
        let event_times = options.from_us..=options.to_us;
        let (times, scan_bytes) = (event_times.clone(), SCAN_BYTES);
        let all = HistoryRange::all(view, scan_bytes);
        let range = HistoryRange { hashes, event_times: times, ..all };
        let history = snapshot.history(&range)?;
        let mut cursor = Cursor { history, key, event_times, tombstones: options.tombstones };
        if let Some(after) = after {
            cursor.history.seek(hash(&after.key), &after.key).map_err(Error::from_warm)?;
            let is_one = known.latest.definition.tiers.history == History::Latest;
            while cursor.history.peek().is_some_and(|(.., row)| {
                row.key == after.key && (is_one || row.order() >= after.order)
            }) {
                cursor.history.advance().map_err(Error::from_warm)?;
            }
        }
        Ok(cursor)
    }

    /// The present row; `None` at the end.
    pub fn row(&self) -> Option<Version<'_>> {
        self.history.peek().map(|(.., version)| version)
    }

    /// Whether a row that it stands at was asked for.
    pub fn wants(&self, row: &Version<'_>) -> bool {
        self.event_times.contains(&row.event_time)
            && self.key.as_ref().is_none_or(|key| row.key == key)
            && (self.tombstones || !row.is_tombstone())
    }

    /// Goes to the next row.
    ///
    /// # Errors
    /// A table cannot be read; the next call tries again.
    pub fn advance(&mut self) -> Result<(), Error> {
        self.history.advance().map_err(Error::from_warm)
    }
}

/// No hash at all.
#[allow(clippy::reversed_empty_ranges)]
const EMPTY: RangeInclusive<u64> = 1..=0;

fn encoded(view: &View, key: &[KeyValue]) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    encode_key(&view.latest.definition.join_keys, key, &mut bytes)
        .map_err(|e| Error::Invalid(format!("the key of {}: {e}", view.qualified_name())))?;
    Ok(bytes)
}

/// Compiles features of a view for all of its schemas.
///
/// # Errors
/// There is no such feature.
pub fn project(view: &View, features: &[&str]) -> Result<Projection, Error> {
    let versions: Vec<(SchemaId, &FeatureView)> =
        view.schemas.iter().map(|schema| (schema.id, &schema.definition)).collect();
    Projection::compile(&versions, features)
        .map_err(|e| Error::Invalid(format!("{}: {e}", view.qualified_name())))
}

/// The rows of a scan, decoded. They are read as they are asked for, in bounded memory, on the thread that
/// asks; and they are those of the time when the scan was begun.
pub struct Scan<E: Env> {
    cursor: Cursor<E>,
    view: Arc<View>,
    projection: Projection,
    has_failed: bool,
}

impl<E: Env> Scan<E> {
    /// Of some features of a view, or, without any, of all.
    ///
    /// # Errors
    /// No such view or feature, a key that does not fit, a table that cannot be read.
    pub fn open(
        snapshot: &Snapshot<E>,
        view: &str,
        features: &[&str],
        options: &ScanOptions,
    ) -> Result<Self, Error> {
        let view = Arc::clone(snapshot.catalogue().resolve(view)?);
        let declared = &view.latest.definition.features;
        let all: Vec<&str> = declared.iter().map(|feature| feature.name.as_str()).collect();
        let projection = project(&view, if features.is_empty() { &all } else { features })?;
        let cursor = Cursor::open(snapshot, view.id, options, None)?;
        Ok(Scan { cursor, view, projection, has_failed: false })
    }

    fn decode(&self, row: &Version<'_>) -> Result<ScannedRow, Error> {
        let corrupt = |what: String| Error::Corrupt {
            file: self.view.qualified_name(),
            offset: row.sequence,
            what: format!("a row that was read from the store does not decode: {what}"),
        };
        let key = decode_key(&self.view.latest.definition.join_keys, row.key);
        let key = key.map_err(|e| corrupt(e.to_string()))?;
        let values = (!row.is_tombstone())
            .then(|| self.projection.decode(row.schema_id, row.value, row.is_dense()))
            .transpose()
            .map_err(|e| corrupt(e.to_string()))?;
        let Version { event_time, created_time, expire_at, sequence, .. } = *row;
        Ok(ScannedRow { key, event_time, created_time, expire_at, sequence, values })
    }
}

impl<E: Env> Iterator for Scan<E> {
    type Item = Result<ScannedRow, Error>;

    /// The next row; after an error there is none.
    fn next(&mut self) -> Option<Self::Item> {
        while !self.has_failed {
            let row = self.cursor.row()?;
            let wanted = self.cursor.wants(&row).then(|| self.decode(&row)).transpose();
            match wanted.and_then(|row| self.cursor.advance().map(|()| row)) {
                Ok(None) => {}
                Ok(Some(row)) => return Some(Ok(row)),
                Err(error) => {
                    self.has_failed = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}
