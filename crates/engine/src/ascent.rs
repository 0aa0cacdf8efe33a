//! Rows on their way up: read from the tables by a thread that asked, to be taken into the hot table by the shard.

use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_queue::ArrayQueue;
use thermae_formats::ViewId;
use thermae_tiering::admit::Doorkeeper;

use crate::fetch::OwnedVersion;

/// Memory that remembers which rows were asked for lately, and for how long.
const DOORKEEPER_BYTES: usize = 256 << 10;
const DOORKEEPER_WINDOW_NS: u64 = 60_000_000_000;
/// Rows that wait for the shard; others are not taken up this time.
const WAITING: usize = 64;

/// A row that was read.
pub(crate) struct Risen {
    pub view: ViewId,
    pub entity_hash: u64,
    /// How often the tables had changed that it was read from: in others there may be a newer one.
    pub changes: u64,
    /// It was asked for before, not long ago.
    pub is_wanted_again: bool,
    pub row: OwnedVersion,
}

/// Who decides what becomes hot, and what waits for that.
pub(crate) struct Ascent {
    doorkeeper: Doorkeeper,
    /// The hot table takes rows without letting others go.
    has_room: AtomicBool,
    waiting: ArrayQueue<Risen>,
}

impl Ascent {
    pub fn new() -> Self {
        Self {
            doorkeeper: Doorkeeper::new(DOORKEEPER_BYTES, DOORKEEPER_WINDOW_NS),
            has_room: AtomicBool::new(true),
            waiting: ArrayQueue::new(WAITING),
        }
    }

    /// Notes that a row was asked for; whether it was before, not long ago.
    pub fn touch(&self, row_hash: u64, now_ns: u64) -> bool {
        self.doorkeeper.touch(row_hash, now_ns)
    }

    /// Whether a row is worth offering.
    pub fn is_open(&self, is_wanted_again: bool) -> bool {
        is_wanted_again || self.has_room.load(Ordering::Relaxed)
    }

    /// Lets a row wait for the shard; whether that should be woken, because there will soon be no room for more.
    pub fn offer(&self, risen: Risen) -> bool {
        // Where too many wait one is not taken up: it will be when it is asked for again.
        let _ = self.waiting.push(risen);
        self.waiting.len() == WAITING / 2
    }

    /// The next that waits.
    pub fn take(&self) -> Option<Risen> {
        self.waiting.pop()
    }

    /// Says whether the hot table has room.
    pub fn set_room(&self, has_room: bool) {
        self.has_room.store(has_room, Ordering::Relaxed);
    }
}
