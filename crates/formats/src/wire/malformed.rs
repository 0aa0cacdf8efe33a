//! What can be wrong with bytes received, or asked to be sent.

use thiserror::Error;

/// Why bytes are not a valid frame or payload, or why a payload cannot be encoded.
///
/// From [`super::split_frame`] an error means that the stream cannot be followed any further:
/// close it. From a payload decoder it concerns that one request: answer it with an ERROR.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WireError {
    /// The bytes end before the item does.
    #[error("{what} is cut short: it needs {needed_bytes} bytes and {have_bytes} are there")]
    Truncated {
        /// The item being read.
        what: &'static str,
        /// Bytes that the item needs.
        needed_bytes: usize,
        /// Bytes that are left.
        have_bytes: usize,
    },
    /// Bytes are left after the end of the payload.
    #[error("{extra_bytes} bytes are left over after {what}")]
    Trailing {
        /// The payload that was read.
        what: &'static str,
        /// Bytes left over.
        extra_bytes: usize,
    },
    /// The frame says it is larger than agreed, or smaller than its own header.
    #[error("a frame of {frame_bytes} bytes is outside 24..={max_bytes}")]
    FrameSize {
        /// The length found in the header, or that would be sent.
        frame_bytes: u64,
        /// The largest that is allowed.
        max_bytes: u64,
    },
    /// Header or payload were changed on the way.
    #[error("the checksum of request {request_id} says {stated:08x}, its bytes give {found:08x}")]
    Checksum {
        /// Request id as found, itself in doubt.
        request_id: u64,
        /// The checksum in the header.
        stated: u32,
        /// The checksum of the bytes.
        found: u32,
    },
    /// A reserved field is not zero.
    #[error("a reserved field of {what} holds {found} where 0 is due")]
    Reserved {
        /// The item that holds the field.
        what: &'static str,
        /// What was found.
        found: u64,
    },
    /// A frame kind that this version does not know.
    #[error("frame kind {0} is unknown to this version of the protocol")]
    UnknownKind(u8),
    /// A frame of another kind than the decoder's.
    #[error("a frame of kind {found} came where {expected} was due")]
    WrongKind {
        /// The kind that was due.
        expected: &'static str,
        /// The kind that came.
        found: u8,
    },
    /// A code outside its enumeration.
    #[error("{code} is no {what}")]
    UnknownCode {
        /// The enumeration.
        what: &'static str,
        /// The code found.
        code: u32,
    },
    /// The peer does not speak this protocol.
    #[error("the peer's HELLO does not begin with THERMAEW")]
    Magic,
    /// Text that is not UTF-8.
    #[error("{0} is not valid UTF-8")]
    Utf8(&'static str),
    /// A count beyond its limit.
    #[error("{count} {what} are more than the {max} that are allowed")]
    Count {
        /// What is counted.
        what: &'static str,
        /// The count.
        count: u64,
        /// Its limit.
        max: u64,
    },
    /// A value or key type whose text is not understood.
    #[error("type {0:?} is not understood")]
    Type(String),
    /// A buffer of a columnar reply lies outside its frame, or is not aligned as promised.
    #[error("{what} of a reply lies at {offset_bytes}, outside its frame or misaligned")]
    Misplaced {
        /// The buffer.
        what: &'static str,
        /// Where it is said to lie, from the start of the frame.
        offset_bytes: u64,
    },
    /// The caller asked for a column as a type that it does not have.
    #[error("a column of {width_bytes}-byte values cannot be read as {wanted}")]
    WrongColumn {
        /// Width of the column; 0 for one of variable width.
        width_bytes: usize,
        /// What the caller asked for.
        wanted: &'static str,
    },
}
