//! Wire frames of the binary protocol, both directions. The byte specification is
//! `docs/protocol.md`; this module is its only implementation in Rust, used by server and client.
//!
//! Every decoder borrows from the received bytes, allocates nothing from a count that it has not
//! checked against the bytes that are really there, and refuses bytes left over.

mod compute;
mod control;
mod cursor;
mod erase;
mod error;
mod frame;
mod hello;
mod history;
mod limits;
mod malformed;
mod prepare;
mod read;
mod reply;
mod reply_layout;
mod reply_stored;
mod reply_view;
mod scan;
mod scan_reply;
mod write;
mod write_reply;

pub use compute::{ComputeColumn, ComputeRequest, ComputeRow};
pub use control::{
    MapReply, MapRequest, MapShard, decode_json, decode_pong, encode_json, encode_ping, encode_pong,
};
pub use erase::EraseStatusRequest;
pub use error::{ErrorCategory, ErrorCode, ErrorReply};
pub use frame::{
    Frame, FrameStart, HEADER_BYTES, Header, Kind, begin_frame, finish_frame, split_frame,
};
pub use hello::{HelloReply, HelloRequest, MAGIC, VERSION_MAX, VERSION_MIN};
pub use history::{
    HistoryJoin, HistoryPut, HistoryReply, HistoryRequest, HistorySteps, HistoryTally,
    decode_history_step, encode_history_step,
};
pub use limits::{
    DEFAULT_IN_FLIGHT_MAX, DEFAULT_MAX_BATCH_KEYS, DEFAULT_MAX_FRAME_BYTES,
    DEFAULT_MAX_ROWS_PER_WRITE, HELLO_MAX_FRAME_BYTES, Limits, MAX_COLUMNS_PER_PLAN, MAX_JOINS,
    MAX_MAP_SHARDS, MAX_TOKENS, MAX_VIEWS_PER_PLAN,
};
pub use malformed::WireError;
pub use prepare::{
    PlanColumn, PlanKey, PlanReply, PlanView, PrepareRequest, ViewFeatures, decode_plan,
};
pub use read::{PackedKeys, ReadFlags, ReadHead, ReadRequest, Token, encode_read};
pub use reply::{ColumnShape, ReplyBuilder, ViewShape};
pub use reply_stored::StoredRow;
pub use reply_view::{CellStatus, Column, ReadReply, RowStatus, ViewReply};
pub use scan::{ScanPlace, ScanRequest};
pub use scan_reply::{ScanEncoder, ScanReply, ScanRow};
pub use write::{
    Ack, ROW_DENSE, ROW_HAS_EXPIRE, ROW_TOMBSTONE, WriteEncoder, WriteHead, WriteRequest, WriteRow,
};
pub use write_reply::{NotApplied, RowOutcome, WriteReply, encode_write_reply};

#[cfg(test)]
mod tests;

const _: () = assert!(cfg!(target_endian = "little"), "buffers are handed out as they arrive");
