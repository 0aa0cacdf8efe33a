//! The room that writes on their way to the log take in one shard, from before they are sent to it until
//! they are answered. What finds none is refused, before the shard or its mailbox holds a byte of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The room of one shard. Whoever sends a write takes its part; it is given back by itself.
#[derive(Debug)]
pub struct Room {
    taken_bytes: AtomicU64,
    limit_bytes: u64,
    retry_ms: AtomicU32,
}

/// A part of a room, taken until this is dropped.
#[derive(Debug)]
pub struct Taken {
    room: Arc<Room>,
    bytes: u64,
}

impl Room {
    /// An empty room of `limit_bytes`.
    pub fn new(limit_bytes: u64) -> Self {
        Self { taken_bytes: AtomicU64::new(0), limit_bytes, retry_ms: AtomicU32::new(0) }
    }

    /// Takes `bytes`; `None` when there is not enough room. A write larger than the whole room gets in
    /// when nothing else is there: its sender holds its bytes already.
    pub fn take(self: &Arc<Self>, bytes: u64) -> Option<Taken> {
        let mut taken = self.taken_bytes.load(Ordering::Relaxed);
        loop {
            if taken > 0 && taken.saturating_add(bytes) > self.limit_bytes {
                return None;
            }
            // Only the sum matters; the rows themselves go through the mailbox.
            match self.taken_bytes.compare_exchange_weak(
                taken,
                taken.saturating_add(bytes),
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Some(Taken { room: Arc::clone(self), bytes }),
                Err(now) => taken = now,
            }
        }
    }

    /// Takes what a row that is in already turned out to need more, whether there is room or not.
    pub fn take_anyway(self: &Arc<Self>, bytes: usize) -> Taken {
        let bytes = bytes as u64;
        self.taken_bytes.fetch_add(bytes, Ordering::Relaxed);
        Taken { room: Arc::clone(self), bytes }
    }

    /// Bytes that are taken.
    pub fn taken_bytes(&self) -> u64 {
        self.taken_bytes.load(Ordering::Relaxed)
    }

    /// Bytes that may be taken.
    pub fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    /// When a writer that finds no room has a chance, in milliseconds.
    pub fn retry_ms(&self) -> u32 {
        self.retry_ms.load(Ordering::Relaxed)
    }

    /// Says when a writer that finds no room has a chance.
    pub fn set_retry_ms(&self, ms: u32) {
        self.retry_ms.store(ms, Ordering::Relaxed);
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.room.taken_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used)]
    use super::*;

    #[test]
    fn room_is_taken_until_it_is_gone_and_comes_back() {
        let room = Arc::new(Room::new(300));
        let first = room.take(200).expect("there is room");
        assert_eq!(room.taken_bytes(), 200);
        assert!(room.take(101).is_none());
        let second = room.take(100).expect("there is room for as much");
        assert_eq!(room.taken_bytes(), 300);
        drop(first);
        drop(second);
        assert_eq!(room.taken_bytes(), 0);
    }

    #[test]
    fn a_write_larger_than_the_room_gets_in_alone() {
        let room = Arc::new(Room::new(1_000));
        let taken = room.take(100_000).expect("nothing else is there");
        assert!(room.take(1).is_none());
        drop(taken);
        assert!(room.take(1).is_some());
    }
}
