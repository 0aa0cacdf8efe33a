//! Limits of the protocol: the fixed ones, and those that a server states in HELLO.

/// Largest frame that a server takes or sends unless it states otherwise, in bytes.
pub const DEFAULT_MAX_FRAME_BYTES: u32 = 16 << 20;
/// Largest frame accepted before HELLO has been answered, in bytes.
pub const HELLO_MAX_FRAME_BYTES: u32 = 4096;
/// Most keys in one READ, over all its views, unless the server states otherwise.
pub const DEFAULT_MAX_BATCH_KEYS: u32 = 16_384;
/// Most unanswered requests of one connection unless the server states otherwise.
pub const DEFAULT_IN_FLIGHT_MAX: u32 = 1024;
/// Most rows in one PUT, PUT_PARTIAL, DELETE or ERASE unless the server states otherwise.
pub const DEFAULT_MAX_ROWS_PER_WRITE: u32 = 65_536;
/// Most views in one plan.
pub const MAX_VIEWS_PER_PLAN: usize = 64;
/// Most columns in one plan, over all its views.
pub const MAX_COLUMNS_PER_PLAN: usize = 4096;
/// Most `min_offset` tokens in one READ (one for each partition at most).
pub const MAX_TOKENS: usize = 4096;
/// Most views of one training read. A row's answer is one record, whose length has 32 bits: this many of the
/// largest row values and defaults fit.
pub const MAX_JOINS: usize = 1024;
/// Most mapped shards in one MAP reply.
pub const MAX_MAP_SHARDS: usize = 1024;

/// The limits that a server states in its HELLO reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest frame in either direction, in bytes, header included.
    pub max_frame_bytes: u32,
    /// Most keys in one READ, over all its views.
    pub max_batch_keys: u32,
    /// Most unanswered requests of one connection.
    pub in_flight_max: u32,
    /// Most rows in one write request, and most tokens or keys in one ERASE_STATUS.
    pub max_rows_per_write: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_frame_bytes: DEFAULT_MAX_FRAME_BYTES,
            max_batch_keys: DEFAULT_MAX_BATCH_KEYS,
            in_flight_max: DEFAULT_IN_FLIGHT_MAX,
            max_rows_per_write: DEFAULT_MAX_ROWS_PER_WRITE,
        }
    }
}
