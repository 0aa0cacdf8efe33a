//! The frame header, drawn:
//!
//! ```text
//!  0        4    5     6        8                16         20         24
//!  +--------+----+-----+--------+----------------+----------+----------+----------
//!  | frame  |kind|flags|reserved|   request id   | checksum | reserved | payload
//!  | bytes  | u8 | u8  |  u16   |      u64       |   u32    |   u32    |
//!  +--------+----+-----+--------+----------------+----------+----------+----------
//! ```
//! `checksum` = low 32 bits of XXH3-64(payload, seed = XXH3-64(header bytes 0..16, seed 0)).

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::malformed::WireError;

/// Bytes of the frame header.
pub const HEADER_BYTES: usize = 24;
const CHECKED_BYTES: usize = 16;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// What a frame carries. Requests lie below 0x80, replies at or above it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Kind { $($(#[$doc])* $name = $code,)* }

        impl Kind {
            /// The kind with this code.
            ///
            /// # Errors
            /// [`WireError::UnknownKind`].
            pub fn from_code(code: u8) -> Result<Self, WireError> {
                match code {
                    $($code => Ok(Self::$name),)*
                    _ => Err(WireError::UnknownKind(code)),
                }
            }

            /// The kind's name, for messages.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }
        }
    };
}

kinds! {
    /// First frame of a connection: versions, limits, credentials.
    Hello = 0x01,
    /// Compile features of some views into a plan.
    Prepare = 0x02,
    /// Read keys through a plan.
    Read = 0x03,
    /// Write full rows.
    Put = 0x04,
    /// Write some features of rows.
    PutPartial = 0x05,
    /// Write tombstones.
    Delete = 0x06,
    /// Ask for view definitions (JSON).
    Describe = 0x07,
    /// Define views (JSON).
    Apply = 0x08,
    /// Ask for figures (JSON).
    Stats = 0x09,
    /// Ask for the descriptors of the hot tables (unix socket only).
    Map = 0x0A,
    /// Ask whether the server is there.
    Ping = 0x0B,
    /// Read a page of a view's history.
    Scan = 0x0C,
    /// Begin a training read.
    History = 0x0D,
    /// Hand over a piece of its spine.
    HistoryPut = 0x0E,
    /// Ask for a piece of its answer, or how far it is.
    HistoryNext = 0x0F,
    /// End it early.
    HistoryEnd = 0x10,
    /// Take a backup, or ask how far it has got (JSON).
    Backup = 0x11,
    /// Erase entities.
    Erase = 0x12,
    /// Ask how far erases are, and which backups still hold what was erased.
    EraseStatus = 0x13,
    /// Read features by name, those that are computed when they are read among them.
    Compute = 0x14,
    /// Answer to Hello.
    HelloReply = 0x81,
    /// Answer to Prepare.
    Plan = 0x82,
    /// Answer to Read, columnar or matrix, and to Compute.
    Columns = 0x83,
    /// Answer to Put, PutPartial, Delete and Erase.
    Written = 0x84,
    /// Answer to Describe, Apply, Stats, Backup and EraseStatus.
    Json = 0x87,
    /// Answer to Map; the descriptors travel beside its first byte.
    Mapped = 0x8A,
    /// Answer to Ping.
    Pong = 0x8B,
    /// Answer to Scan.
    Scanned = 0x8C,
    /// Answer to History, HistoryPut, HistoryNext and HistoryEnd.
    HistoryReply = 0x8D,
    /// Any request's answer when it failed.
    Error = 0xFF,
}

/// A frame header whose length has been checked, and nothing else yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Whole frame, header included, in bytes.
    pub frame_bytes: u32,
    /// Kind code as found.
    pub kind: u8,
    /// The request that this belongs to.
    pub request_id: u64,
    checksum: u32,
}

impl Header {
    /// Reads a header off the front of `bytes`; `None` while fewer than 24 bytes are there.
    ///
    /// # Errors
    /// A frame length outside `24..=max_frame_bytes`, or a reserved field that is set.
    pub fn parse(bytes: &[u8], max_frame_bytes: u32) -> Result<Option<Self>, WireError> {
        let Some(head) = bytes.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let frame_bytes = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
        if (frame_bytes as usize) < HEADER_BYTES || frame_bytes > max_frame_bytes {
            return Err(WireError::FrameSize {
                frame_bytes: u64::from(frame_bytes),
                max_bytes: u64::from(max_frame_bytes),
            });
        }
        let reserved = u64::from(head[5])
            | u64::from(head[6]) << 8
            | u64::from(head[7]) << 16
            | u64::from(u32::from_le_bytes([head[20], head[21], head[22], head[23]])) << 24;
        if reserved != 0 {
            return Err(WireError::Reserved { what: "a frame header", found: reserved });
        }
        let mut id = [0; 8];
        id.copy_from_slice(&head[8..16]);
        Ok(Some(Self {
            frame_bytes,
            kind: head[4],
            request_id: u64::from_le_bytes(id),
            checksum: u32::from_le_bytes([head[16], head[17], head[18], head[19]]),
        }))
    }
}

/// One whole frame whose checksum holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Kind code as found; [`Frame::kind`] types it.
    pub kind_code: u8,
    /// The request that this belongs to.
    pub request_id: u64,
    /// Header and payload. Offsets inside a columnar reply count from its start.
    pub bytes: &'a [u8],
    /// What follows the header.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The frame's kind.
    ///
    /// # Errors
    /// [`WireError::UnknownKind`]: answer it with an ERROR, the stream itself is intact.
    pub fn kind(&self) -> Result<Kind, WireError> {
        Kind::from_code(self.kind_code)
    }

    /// Checks one whole frame: `bytes` is exactly what its header says.
    ///
    /// # Errors
    /// A bad header, a length that differs, a checksum that does not hold.
    pub fn check(bytes: &'a [u8], max_frame_bytes: u32) -> Result<Self, WireError> {
        match split_frame(bytes, max_frame_bytes)? {
            Some((frame, [])) => Ok(frame),
            Some((_, rest)) => {
                Err(WireError::Trailing { what: "a frame", extra_bytes: rest.len() })
            }
            None => Err(WireError::Truncated {
                what: "a frame",
                needed_bytes: HEADER_BYTES,
                have_bytes: bytes.len(),
            }),
        }
    }

    pub(super) fn payload_of(&self, kind: Kind) -> Result<&'a [u8], WireError> {
        if self.kind_code == kind as u8 {
            Ok(self.payload)
        } else {
            Err(WireError::WrongKind { expected: kind.name(), found: self.kind_code })
        }
    }
}

/// Splits the first whole frame off received bytes, with the rest; `None` while it is incomplete.
///
/// # Errors
/// A header that is no header, or a checksum that does not hold: the stream cannot be followed
/// any further and must be closed.
pub fn split_frame(
    bytes: &[u8],
    max_frame_bytes: u32,
) -> Result<Option<(Frame<'_>, &[u8])>, WireError> {
    let Some(header) = Header::parse(bytes, max_frame_bytes)? else { return Ok(None) };
    let Some((frame, rest)) = bytes.split_at_checked(header.frame_bytes as usize) else {
        return Ok(None);
    };
    let (head, payload) = frame.split_at(HEADER_BYTES);
    let found = checksum(&head[..CHECKED_BYTES], payload);
    if found != header.checksum {
        let stated = header.checksum;
        return Err(WireError::Checksum { request_id: header.request_id, stated, found });
    }
    let frame =
        Frame { kind_code: header.kind, request_id: header.request_id, bytes: frame, payload };
    Ok(Some((frame, rest)))
}

fn checksum(head: &[u8], payload: &[u8]) -> u32 {
    (xxh3_64_with_seed(payload, xxh3_64(head)) & 0xFFFF_FFFF) as u32
}

/// Where a frame under construction begins in its buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a frame is complete only after finish_frame"]
pub struct FrameStart(pub(super) usize);

/// Appends a header to `out`; the payload follows, then [`finish_frame`].
pub fn begin_frame(out: &mut Vec<u8>, kind: Kind, request_id: u64) -> FrameStart {
    let start = out.len();
    out.extend_from_slice(&[0, 0, 0, 0, kind as u8, 0, 0, 0]);
    out.extend_from_slice(&request_id.to_le_bytes());
    out.extend_from_slice(&[0; 8]);
    FrameStart(start)
}

/// Writes length and checksum into the header of the frame begun at `start`, which ends where
/// `out` ends.
///
/// # Errors
/// [`WireError::FrameSize`] when it exceeds `max_frame_bytes`; `out` is cut back to `start`.
pub fn finish_frame(
    out: &mut Vec<u8>,
    start: FrameStart,
    max_frame_bytes: u32,
) -> Result<(), WireError> {
    let frame_bytes = out.len() - start.0;
    let Some(stated) = u32::try_from(frame_bytes).ok().filter(|bytes| *bytes <= max_frame_bytes)
    else {
        out.truncate(start.0);
        return Err(WireError::FrameSize {
            frame_bytes: frame_bytes as u64,
            max_bytes: u64::from(max_frame_bytes),
        });
    };
    let frame = &mut out[start.0..];
    frame[..4].copy_from_slice(&stated.to_le_bytes());
    let (head, payload) = frame.split_at_mut(HEADER_BYTES);
    let sum = checksum(&head[..CHECKED_BYTES], payload);
    head[16..20].copy_from_slice(&sum.to_le_bytes());
    Ok(())
}
