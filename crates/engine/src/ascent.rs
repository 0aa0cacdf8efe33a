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
    /// The shard was woken for what waits, and has not looked since.
    is_called: AtomicBool,
}

impl Ascent {
    pub fn new() -> Self {
        Self {
            doorkeeper: Doorkeeper::new(DOORKEEPER_BYTES, DOORKEEPER_WINDOW_NS),
            has_room: AtomicBool::new(true),
            waiting: ArrayQueue::new(WAITING),
            is_called: AtomicBool::new(false),
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
        self.waiting.len() >= WAITING / 2 && !self.is_called.swap(true, Ordering::Relaxed)
    }

    /// The next that waits.
    pub fn take(&self) -> Option<Risen> {
        let next = self.waiting.pop();
        if next.is_none() {
            self.is_called.store(false, Ordering::Relaxed);
        }
        next
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Says whether the hot table has room.
    pub fn set_room(&self, has_room: bool) {
        self.has_room.store(has_room, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use thermae_formats::version::Version;
    use thermae_formats::{NO_TIME, SchemaId};

    use super::*;

    fn risen(sequence: u64) -> Risen {
        let (schema_id, flags, event_time) = (SchemaId(1), 0, 5);
        let (created_time, expire_at) = (NO_TIME, NO_TIME);
        let (key, value) = (&b"k"[..], &b"v"[..]);
        let version =
            Version { schema_id, flags, sequence, event_time, created_time, expire_at, key, value };
        let (view, row) = (ViewId(1), OwnedVersion::new(&version));
        Risen { view, entity_hash: 7, changes: 0, is_wanted_again: true, row }
    }

    #[test]
    fn a_shard_is_woken_once_for_what_waits_and_again_when_it_has_looked() {
        let ascent = Ascent::new();
        let calls =
            |offers: usize| (0..offers).filter(|at| ascent.offer(risen(*at as u64))).count();
        assert_eq!((calls(WAITING / 2 - 1), calls(1), calls(WAITING)), (0, 1, 0));
        // A part of it is not all: the next look will come by itself.
        (0..10).for_each(|_| assert!(ascent.take().is_some()));
        assert_eq!(calls(10), 0);
        let mut left = 0;
        while ascent.take().is_some() {
            left += 1;
        }
        assert_eq!((left, ascent.is_empty()), (WAITING, true));
        assert_eq!(calls(WAITING), 1);
    }

    #[test]
    fn without_room_only_what_is_wanted_again_is_offered() {
        let ascent = Ascent::new();
        assert!(ascent.is_open(false) && ascent.is_open(true));
        ascent.set_room(false);
        assert!(!ascent.is_open(false) && ascent.is_open(true));
        assert!(!ascent.touch(7, 1) && ascent.touch(7, 2));
    }
}
