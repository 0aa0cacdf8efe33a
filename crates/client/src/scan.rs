//! Scans: the history of a view, a page at a time.

use std::ops::RangeInclusive;
use std::sync::Arc;

use thermae_formats::wire::{ErrorReply, Kind, ScanReply, ScanRequest, ScanRow};
use thermae_formats::{Feature, JoinKey, KeyValue, RowLayout, Value, decode_key, encode_key};

use crate::buffer::FrameBuf;
use crate::error::Error;
use crate::plan::Plan;

/// Which rows a scan shows.
#[derive(Debug, Clone, PartialEq)]
pub struct ScanOptions {
    /// Those of one entity alone, by its join key values. Default all.
    pub key: Option<Vec<KeyValue>>,
    /// Those of entities with these hashes: parts of the whole range can be scanned side by side, over
    /// connections of their own. Default all.
    pub hashes: RangeInclusive<u64>,
    /// Event times, microseconds UTC. Default all.
    pub event_times: RangeInclusive<i64>,
    /// Deletions too. Default off.
    pub tombstones: bool,
    /// Bytes of a page, about; the server may send less. Default 1 MiB.
    pub page_bytes: u32,
}

impl Default for ScanOptions {
    fn default() -> Self {
        Self {
            key: None,
            hashes: 0..=u64::MAX,
            event_times: i64::MIN..=i64::MAX,
            tombstones: false,
            page_bytes: 1 << 20,
        }
    }
}

/// One row of a page.
#[derive(Debug, Clone, PartialEq)]
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
    /// One value a column of the plan; none: the entity was deleted as of the event time.
    pub values: Option<Vec<Value>>,
}

/// A page of a scan. It owns the received frame; rows are decoded as they are asked for.
#[derive(Debug)]
pub struct ScanPage {
    frame: FrameBuf,
    join_keys: Arc<[JoinKey]>,
    layout: RowLayout,
    place: Option<Vec<u8>>,
    rows: usize,
}

impl ScanPage {
    /// Checks an answer.
    pub(crate) fn check(frame: FrameBuf, plan: &Plan) -> Result<Self, Error> {
        let received = frame.frame();
        if received.kind_code == Kind::Error as u8 {
            return Err(Error::from_reply(&ErrorReply::decode(&received)?));
        }
        let reply = ScanReply::decode(&received)?;
        let (place, rows) = (reply.place.map(<[u8]>::to_vec), reply.row_count());
        let join_keys = plan.inner.join_keys.first().map(Arc::clone).unwrap_or_default();
        let columns = plan.columns(0).iter().enumerate();
        let features: Vec<Feature> = columns
            .map(|(at, column)| Feature::new(format!("column {at}"), column.value_type.clone()))
            .collect();
        Ok(Self { join_keys, layout: RowLayout::new(&features)?, place, rows, frame })
    }

    /// Where the next page begins; `None`: this is the last.
    pub fn place(&self) -> Option<&[u8]> {
        self.place.as_deref()
    }

    /// How many rows it has; it may have none and not be the last.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether it has no row.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Its rows, in the order of entity hash and key, those of one entity newest first.
    ///
    /// # Errors
    /// Each row by itself: its bytes do not decode by the plan's columns.
    pub fn rows(&self) -> impl Iterator<Item = Result<ScannedRow, Error>> {
        // It decoded before.
        let reply = ScanReply::decode(&self.frame.frame()).ok();
        reply.into_iter().flat_map(|reply| reply.rows()).map(|row| self.decode(&row))
    }

    fn decode(&self, row: &ScanRow<'_>) -> Result<ScannedRow, Error> {
        let values = (!row.tombstone).then(|| self.layout.decode(row.value, row.dense));
        Ok(ScannedRow {
            key: decode_key(&self.join_keys, row.key)?,
            event_time: row.event_time,
            created_time: row.created_time,
            expire_at: row.expire_at,
            sequence: row.sequence,
            values: values.transpose()?,
        })
    }
}

/// Appends the SCAN frame of a page.
pub(crate) fn encode(
    out: &mut Vec<u8>,
    request_id: u64,
    plan_id: u32,
    plan: &Plan,
    options: &ScanOptions,
    place: &[u8],
    max_frame_bytes: u32,
) -> Result<(), Error> {
    let mut key = Vec::new();
    if let (Some(values), Some(join_keys)) = (&options.key, plan.inner.join_keys.first()) {
        encode_key(join_keys, values, &mut key)?;
    }
    let request = ScanRequest {
        plan_id,
        tombstones: options.tombstones,
        page_bytes: options.page_bytes,
        event_times: options.event_times.clone(),
        hashes: options.hashes.clone(),
        key: options.key.is_some().then_some(&key[..]),
        place,
    };
    Ok(request.encode(out, request_id, max_frame_bytes)?)
}
