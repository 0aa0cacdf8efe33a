//! The room that writes on their way to the log take in one shard, from before they are sent to it until
//! they are answered. What finds none is refused, before the shard or its mailbox holds a byte of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::pending::PendingRow;
use crate::write::{Outcome, RowWrite, WriteBatch};

/// Heap bytes that a row takes on its way beside key and value: in its batch, in the queue of logged rows
/// and the index over it (twice, for it may just have grown), in the lists of indices and of outcomes.
const ROW_BYTES: usize = size_of::<RowWrite>()
    + 2 * (size_of::<PendingRow>() + size_of::<(u64, u64)>())
    + size_of::<u32>()
    + 2 * size_of::<(u32, Outcome)>();

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

    /// Takes the room that some rows of a batch need; `None` when there is not enough. A write larger
    /// than the whole room gets in when nothing else is there: its sender holds its bytes already.
    pub fn take(self: &Arc<Self>, batch: &WriteBatch, rows: &[u32]) -> Option<Taken> {
        let bytes = bytes_of(batch, rows);
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

fn bytes_of(batch: &WriteBatch, rows: &[u32]) -> u64 {
    let row_bytes = |index: &u32| {
        let row = batch.rows.get(*index as usize);
        row.map_or(0, |row| row.key.len() + row.value.len() + ROW_BYTES) as u64
    };
    rows.iter().map(row_bytes).sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used)]
    use thermae_formats::NO_TIME;
    use thermae_formats::catalogue::{SchemaId, ViewId};

    use super::*;
    use crate::write::{Ack, WriteKind};

    /// A batch of rows of a key and a value of so many bytes together.
    fn batch(rows: usize, bytes: usize) -> WriteBatch {
        let mut batch = WriteBatch::new(Ack::Durable, 0);
        for _ in 0..rows {
            let value = batch.store(&vec![7; bytes]);
            batch.rows.push(RowWrite {
                kind: WriteKind::Put,
                view_id: ViewId(1),
                schema_id: SchemaId(1),
                dense: true,
                event_time: 0,
                created_time: NO_TIME,
                expire_at: NO_TIME,
                producer_sequence: 0,
                key: 0..0,
                value,
            });
        }
        batch
    }

    #[test]
    fn room_is_taken_until_it_is_gone_and_comes_back() {
        let one = (100 + ROW_BYTES) as u64;
        let room = Arc::new(Room::new(3 * one));
        let batch = batch(3, 100);
        let first = room.take(&batch, &[0, 2]).expect("there is room");
        assert_eq!(room.taken_bytes(), 2 * one);
        assert!(room.take(&batch, &[0, 1]).is_none());
        let second = room.take(&batch, &[1]).expect("there is room for one");
        assert_eq!(room.taken_bytes(), 3 * one);
        drop(first);
        drop(second);
        assert_eq!(room.taken_bytes(), 0);
    }

    #[test]
    fn a_write_larger_than_the_room_gets_in_alone() {
        let room = Arc::new(Room::new(1_000));
        let (large, small) = (batch(1, 100_000), batch(1, 1));
        let taken = room.take(&large, &[0]).expect("nothing else is there");
        assert!(room.take(&small, &[0]).is_none());
        drop(taken);
        assert!(room.take(&small, &[0]).is_some());
    }
}
