//! HELLO: versions, limits, and the place for credentials.

use super::cursor::{Cursor, put_short};
use super::frame::{Frame, Kind, begin_frame, finish_frame};
use super::limits::{HELLO_MAX_FRAME_BYTES, Limits};
use super::malformed::WireError;

/// First eight bytes of either HELLO payload.
pub const MAGIC: [u8; 8] = *b"THERMAEW";
/// Oldest protocol version that this build speaks.
pub const VERSION_MIN: u16 = 1;
/// Newest protocol version that this build speaks.
pub const VERSION_MAX: u16 = 1;

/// The first frame of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HelloRequest<'a> {
    /// Oldest version that the client speaks.
    pub version_min: u16,
    /// Newest version that the client speaks.
    pub version_max: u16,
    /// Largest reply that the client takes, in bytes.
    pub max_frame_bytes: u32,
    /// Who the caller is; empty for now.
    pub credentials: &'a [u8],
    /// Name of the client program, for figures and logs.
    pub client_name: &'a str,
}

impl<'a> HelloRequest<'a> {
    /// Appends the frame.
    ///
    /// # Errors
    /// A frame beyond 4,096 bytes.
    pub fn encode(&self, out: &mut Vec<u8>, request_id: u64) -> Result<(), WireError> {
        let start = begin_frame(out, Kind::Hello, request_id);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&self.version_min.to_le_bytes());
        out.extend_from_slice(&self.version_max.to_le_bytes());
        out.extend_from_slice(&self.max_frame_bytes.to_le_bytes());
        put_short(out, self.credentials, "credentials")?;
        put_short(out, self.client_name.as_bytes(), "a client name")?;
        finish_frame(out, start, HELLO_MAX_FRAME_BYTES)
    }

    /// Decodes the frame.
    ///
    /// # Errors
    /// [`WireError::Magic`] for another protocol, or any [`WireError`] of a payload.
    pub fn decode(frame: &Frame<'a>) -> Result<Self, WireError> {
        let mut cursor = Cursor::new(frame.payload_of(Kind::Hello)?);
        magic(&mut cursor)?;
        let request = Self {
            version_min: cursor.u16("version_min")?,
            version_max: cursor.u16("version_max")?,
            max_frame_bytes: cursor.u32("max_frame_bytes")?,
            credentials: cursor.short_bytes("credentials")?,
            client_name: cursor.text("a client name")?,
        };
        cursor.finish("a HELLO")?;
        Ok(request)
    }

    /// The newest version that both sides speak.
    pub fn common_version(&self) -> Option<u16> {
        let version = self.version_max.min(VERSION_MAX);
        (version >= self.version_min.max(VERSION_MIN)).then_some(version)
    }
}

/// The server's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HelloReply<'a> {
    /// The version that this connection speaks from here on.
    pub version: u16,
    /// Partitions of the store (fixed at its creation).
    pub partitions: u16,
    /// The server's limits, enforced from here on.
    pub limits: Limits,
    /// Identity of the store; write tokens mean something only within one.
    pub store_id: [u8; 16],
    /// Seed of the entity hash.
    pub hash_seed: u64,
    /// Grows by one with each opening of the store; the hot maps change with it.
    pub epoch: u64,
    /// The server's clock, microseconds UTC.
    pub server_time_us: i64,
    /// Name and version of the server program.
    pub server_name: &'a str,
}

impl<'a> HelloReply<'a> {
    /// Appends the frame.
    ///
    /// # Errors
    /// A frame beyond 4,096 bytes.
    pub fn encode(&self, out: &mut Vec<u8>, request_id: u64) -> Result<(), WireError> {
        let start = begin_frame(out, Kind::HelloReply, request_id);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&self.version.to_le_bytes());
        out.extend_from_slice(&self.partitions.to_le_bytes());
        out.extend_from_slice(&self.limits.max_frame_bytes.to_le_bytes());
        out.extend_from_slice(&self.limits.max_batch_keys.to_le_bytes());
        out.extend_from_slice(&self.limits.in_flight_max.to_le_bytes());
        out.extend_from_slice(&self.limits.max_rows_per_write.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.store_id);
        out.extend_from_slice(&self.hash_seed.to_le_bytes());
        out.extend_from_slice(&self.epoch.to_le_bytes());
        out.extend_from_slice(&self.server_time_us.to_le_bytes());
        put_short(out, self.server_name.as_bytes(), "a server name")?;
        finish_frame(out, start, HELLO_MAX_FRAME_BYTES)
    }

    /// Decodes the frame.
    ///
    /// # Errors
    /// [`WireError::Magic`] for another protocol, or any [`WireError`] of a payload.
    pub fn decode(frame: &Frame<'a>) -> Result<Self, WireError> {
        let mut cursor = Cursor::new(frame.payload_of(Kind::HelloReply)?);
        magic(&mut cursor)?;
        let version = cursor.u16("version")?;
        let partitions = cursor.u16("partitions")?;
        let limits = Limits {
            max_frame_bytes: cursor.u32("max_frame_bytes")?,
            max_batch_keys: cursor.u32("max_batch_keys")?,
            in_flight_max: cursor.u32("in_flight_max")?,
            max_rows_per_write: cursor.u32("max_rows_per_write")?,
        };
        let reserved = cursor.u32("a HELLO reply")?;
        cursor.zero(reserved, "a HELLO reply")?;
        let reply = Self {
            version,
            partitions,
            limits,
            store_id: cursor.bytes16("store_id")?,
            hash_seed: cursor.u64("hash_seed")?,
            epoch: cursor.u64("epoch")?,
            server_time_us: cursor.i64("server_time_us")?,
            server_name: cursor.text("a server name")?,
        };
        cursor.finish("a HELLO reply")?;
        Ok(reply)
    }
}

fn magic(cursor: &mut Cursor<'_>) -> Result<(), WireError> {
    if cursor.take(MAGIC.len(), "the magic")? == MAGIC { Ok(()) } else { Err(WireError::Magic) }
}
