//! The room that writes on their way to the log take in one shard, from before they are sent to it until
//! they are answered. What finds none is refused, before the shard or its mailbox holds a byte of it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How long a waiting writer sleeps before it looks again by itself.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// The room of one shard. Whoever sends a write takes its part; it is given back by itself.
#[derive(Debug)]
pub struct Room {
    taken_bytes: AtomicU64,
    limit_bytes: u64,
    retry_ms: AtomicU32,
    /// Writers that wait for room, and what wakes one of them when some is given back.
    waiting: AtomicU32,
    turn: Mutex<()>,
    given_back: Condvar,
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
        Self {
            taken_bytes: AtomicU64::new(0),
            limit_bytes,
            retry_ms: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            turn: Mutex::new(()),
            given_back: Condvar::new(),
        }
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

    /// Takes `bytes`, if there is room for them within `patience`. A caller that takes of several rooms takes
    /// them in one order, so that no two wait for each other.
    pub fn take_within(self: &Arc<Self>, bytes: u64, patience: Duration) -> Option<Taken> {
        let mut left = patience;
        loop {
            let taken = self.take(bytes);
            if taken.is_some() || left.is_zero() {
                return taken;
            }
            self.waiting.fetch_add(1, Ordering::Relaxed);
            let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
            // Whoever gives back takes no lock. So a call may be missed, which costs one look.
            let woken = self.given_back.wait_timeout(turn, LOOK_AGAIN.min(left));
            let (turn, time) = woken.unwrap_or_else(PoisonError::into_inner);
            drop(turn);
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            if time.timed_out() {
                left = left.saturating_sub(LOOK_AGAIN);
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
        if self.room.waiting.load(Ordering::Relaxed) > 0 {
            self.room.given_back.notify_one();
        }
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
    fn a_patient_writer_gets_what_is_given_back_and_no_more() {
        let room = Arc::new(Room::new(300));
        let first = room.take(200).expect("there is room");
        assert!(room.take_within(200, Duration::from_millis(2)).is_none(), "nobody gave any back");
        std::thread::scope(|scope| {
            let patient: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| room.take_within(200, Duration::from_secs(60)).is_some()))
                .collect();
            drop(first);
            assert!(patient.into_iter().all(|taken| taken.join().expect("it does not panic")));
        });
        assert_eq!(room.taken_bytes(), 0);
        assert_eq!(room.waiting.load(Ordering::Relaxed), 0);
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
