//! The rare frames: JSON requests and replies, MAP, PING.

use super::cursor::{Cursor, count16, count32, put_short};
use super::frame::{Frame, Kind, begin_frame, finish_frame};
use super::limits::MAX_MAP_SHARDS;
use super::malformed::WireError;

/// Appends a DESCRIBE, APPLY, STATS, BACKUP or JSON frame, whose payload is one JSON text.
///
/// # Errors
/// A frame beyond `max_frame_bytes`.
pub fn encode_json(
    out: &mut Vec<u8>,
    kind: Kind,
    request_id: u64,
    text: &str,
    max_frame_bytes: u32,
) -> Result<(), WireError> {
    let start = begin_frame(out, kind, request_id);
    out.extend_from_slice(text.as_bytes());
    finish_frame(out, start, max_frame_bytes)
}

/// The JSON text of such a frame; whether it is JSON is the reader's to find out.
///
/// # Errors
/// Another kind, or bytes that are not UTF-8.
pub fn decode_json<'a>(frame: &Frame<'a>) -> Result<&'a str, WireError> {
    match frame.kind()? {
        Kind::Describe | Kind::Apply | Kind::Stats | Kind::Backup | Kind::Json => {
            std::str::from_utf8(frame.payload).map_err(|_| WireError::Utf8("a JSON text"))
        }
        _ => Err(WireError::WrongKind {
            expected: "Describe, Apply, Stats, Backup or Json",
            found: frame.kind_code,
        }),
    }
}

/// Asks for the hot tables of one access domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapRequest<'a> {
    /// The project whose views the client wants to read; empty = the whole store.
    pub project: &'a str,
}

impl<'a> MapRequest<'a> {
    /// Appends the frame.
    ///
    /// # Errors
    /// A name or frame that is too large.
    pub fn encode(
        &self,
        out: &mut Vec<u8>,
        request_id: u64,
        max_frame_bytes: u32,
    ) -> Result<(), WireError> {
        let start = begin_frame(out, Kind::Map, request_id);
        put_short(out, self.project.as_bytes(), "a project name")?;
        finish_frame(out, start, max_frame_bytes)
    }

    /// Decodes the frame.
    ///
    /// # Errors
    /// Any [`WireError`] of a payload.
    pub fn decode(frame: &Frame<'a>) -> Result<Self, WireError> {
        let mut cursor = Cursor::new(frame.payload_of(Kind::Map)?);
        let project = cursor.text("a project name")?;
        cursor.finish("a MAP")?;
        Ok(Self { project })
    }
}

/// One shard's hot table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapShard {
    /// Number of the shard.
    pub shard: u16,
    /// Bytes to map.
    pub map_bytes: u64,
}

/// The answer to MAP. Descriptor i, in the order in which they travel, belongs to shard entry i.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapReply {
    /// The store's epoch; the maps of another epoch are another store's.
    pub epoch: u64,
    /// The hot tables.
    pub shards: Vec<MapShard>,
    /// For each partition, the index of its entry in `shards`.
    pub partition_map: Vec<u16>,
}

impl MapReply {
    /// Appends the frame.
    ///
    /// # Errors
    /// Counts or a frame that are too large.
    pub fn encode(
        &self,
        out: &mut Vec<u8>,
        request_id: u64,
        max_frame_bytes: u32,
    ) -> Result<(), WireError> {
        let start = begin_frame(out, Kind::Mapped, request_id);
        out.extend_from_slice(&self.epoch.to_le_bytes());
        out.extend_from_slice(&count32(self.shards.len(), "shards")?.to_le_bytes());
        for shard in &self.shards {
            out.extend_from_slice(&shard.shard.to_le_bytes());
            out.extend_from_slice(&[0; 6]);
            out.extend_from_slice(&shard.map_bytes.to_le_bytes());
        }
        out.extend_from_slice(&count16(self.partition_map.len(), "partitions")?.to_le_bytes());
        for index in &self.partition_map {
            out.extend_from_slice(&index.to_le_bytes());
        }
        finish_frame(out, start, max_frame_bytes)
    }

    /// Decodes the frame.
    ///
    /// # Errors
    /// Any [`WireError`] of a payload; a partition whose shard is not in the list.
    pub fn decode(frame: &Frame<'_>) -> Result<Self, WireError> {
        let mut cursor = Cursor::new(frame.payload_of(Kind::Mapped)?);
        let epoch = cursor.u64("an epoch")?;
        let count = cursor.u32("shards")? as usize;
        let count = cursor.count(count, MAX_MAP_SHARDS, 16, "shards")?;
        let mut shards = Vec::with_capacity(count);
        for _ in 0..count {
            let shard = cursor.u16("a shard number")?;
            let reserved = u64::from(cursor.u16("a shard")?) | u64::from(cursor.u32("a shard")?);
            cursor.zero(reserved, "a shard")?;
            shards.push(MapShard { shard, map_bytes: cursor.u64("map_bytes")? });
        }
        let count = usize::from(cursor.u16("partitions")?);
        let count = cursor.count(count, 4096, 2, "partitions")?;
        let mut partition_map = Vec::with_capacity(count);
        for _ in 0..count {
            let index = cursor.u16("a partition's shard")?;
            if usize::from(index) >= shards.len() {
                let code = u32::from(index);
                return Err(WireError::UnknownCode { what: "entry of the shard list", code });
            }
            partition_map.push(index);
        }
        cursor.finish("a map")?;
        Ok(Self { epoch, shards, partition_map })
    }
}

/// Appends a PING.
pub fn encode_ping(out: &mut Vec<u8>, request_id: u64) {
    let start = begin_frame(out, Kind::Ping, request_id);
    let _ = finish_frame(out, start, super::limits::HELLO_MAX_FRAME_BYTES);
}

/// Appends a PONG with the server's clock, microseconds UTC.
pub fn encode_pong(out: &mut Vec<u8>, request_id: u64, server_time_us: i64) {
    let start = begin_frame(out, Kind::Pong, request_id);
    out.extend_from_slice(&server_time_us.to_le_bytes());
    let _ = finish_frame(out, start, super::limits::HELLO_MAX_FRAME_BYTES);
}

/// The server's clock from a PONG, microseconds UTC.
///
/// # Errors
/// Any [`WireError`] of a payload.
pub fn decode_pong(frame: &Frame<'_>) -> Result<i64, WireError> {
    let mut cursor = Cursor::new(frame.payload_of(Kind::Pong)?);
    let time = cursor.i64("server_time_us")?;
    cursor.finish("a PONG")?;
    Ok(time)
}
