//! How much of the rows that wait one turn of a shard does: reads that have come in meanwhile wait for its end.

use thermae_env::Env;
use thermae_hot::ASKED_ROWS;

/// Rows that are looked for, admitted, and applied in one turn at most, however quick they are.
pub const ROWS_PER_TURN: usize = 512;
/// How long rows are looked for and admitted in one turn, and how long they are applied, nanoseconds: each some times
/// what the rest of a turn takes. Looked at once a group of rows.
const SLICE_NS: u64 = 25_000;

/// Rows of one turn. A copy has the same end, and counts for itself.
#[derive(Clone, Copy, Debug)]
pub struct Slice {
    rows: usize,
    ends_ns: u64,
}

impl Slice {
    /// One that begins now.
    pub fn begin(now_ns: u64) -> Self {
        Self { rows: 0, ends_ns: now_ns.saturating_add(SLICE_NS) }
    }

    /// Whether the next row waits for the next turn. Of what there is to do a first group is always done.
    pub fn is_over<E: Env>(&self, env: &E) -> bool {
        self.rows >= ROWS_PER_TURN
            || self.rows > 0 && self.begins_group() && env.monotonic_ns() >= self.ends_ns
    }

    /// Whether the next row is the first of a group whose memory is asked for at once.
    pub fn begins_group(&self) -> bool {
        self.rows.is_multiple_of(ASKED_ROWS)
    }

    /// The next rows are done.
    pub fn count(&mut self, rows: usize) {
        self.rows += rows;
    }
}
