//! Requests that are not answered at once: writes on their way to the log, what helper threads work on, reads
//! that wait for their `min_offset`.

use std::sync::Arc;

use thermae_env::ConnId;
use thermae_formats::ViewId;
use thermae_formats::wire::NotApplied;

use super::counters::ViewCounters;
use super::fill::Below;

/// A request under way in the engine.
#[derive(Debug)]
pub struct Pending {
    /// Who asked.
    pub conn: ConnId,
    /// Under which request id.
    pub request_id: u64,
    /// When its last byte came, monotonic nanoseconds.
    pub received_ns: u64,
    /// Memory that it holds, in bytes.
    pub held_bytes: usize,
    /// What it is.
    pub what: What,
}

/// What a pending request is.
#[derive(Debug)]
pub enum What {
    /// A write of `rows` rows, some of which may have been refused before the engine saw them.
    Write {
        /// Rows asked.
        rows: usize,
        /// Of this view.
        view: ViewId,
        /// Position and reason of the refused ones, in order.
        refused: Vec<(u32, NotApplied)>,
        /// Why the first of them was refused.
        message: String,
        /// Counts the view's writes.
        counters: Arc<ViewCounters>,
    },
    /// Definitions, or a question to the registry.
    Registry,
    /// Features by name.
    Computed,
    /// A page of a scan.
    Scan,
    /// A step of a training read.
    History,
    /// A question about erases.
    EraseStatus,
    /// A read that lacks rows.
    Read(BelowRead),
}

/// Pending requests by ticket.
#[derive(Debug, Default)]
pub struct Tickets {
    slots: Vec<Option<Pending>>,
    free: Vec<usize>,
}

impl Tickets {
    /// Keeps a request and names it.
    pub fn insert(&mut self, pending: Pending) -> u64 {
        match self.free.pop() {
            Some(slot) => {
                self.slots[slot] = Some(pending);
                slot as u64
            }
            None => {
                self.slots.push(Some(pending));
                (self.slots.len() - 1) as u64
            }
        }
    }

    /// Takes a request out; its ticket may be used again.
    pub fn take(&mut self, ticket: u64) -> Option<Pending> {
        let slot = usize::try_from(ticket).ok()?;
        let pending = self.slots.get_mut(slot)?.take()?;
        self.free.push(slot);
        Some(pending)
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A read some of whose rows are being fetched from below the hot tables.
#[derive(Debug)]
pub struct BelowRead {
    /// The whole frame, already checked.
    pub frame: Vec<u8>,
    /// The rows in question.
    pub below: Below,
}

/// A read that waits until a partition has applied what it must see.
#[derive(Debug)]
pub struct Parked {
    /// Who asked.
    pub conn: ConnId,
    /// The whole frame, already checked.
    pub frame: Vec<u8>,
    /// When it came, monotonic nanoseconds.
    pub received_ns: u64,
    /// When it is refused, monotonic nanoseconds.
    pub deadline_ns: u64,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn pending(request_id: u64) -> Pending {
        let conn = ConnId::new(1, 1);
        Pending { conn, request_id, received_ns: 0, held_bytes: 0, what: What::Registry }
    }

    #[test]
    fn a_ticket_is_taken_once_and_reused_only_after() {
        let mut tickets = Tickets::default();
        let (one, two) = (tickets.insert(pending(1)), tickets.insert(pending(2)));
        assert_ne!(one, two);
        assert_eq!(tickets.take(one).unwrap().request_id, 1);
        assert!(tickets.take(one).is_none());
        assert_eq!(tickets.insert(pending(3)), one);
        assert_eq!(tickets.take(two).unwrap().request_id, 2);
        assert_eq!(tickets.len(), 1);
        assert!(tickets.take(99).is_none());
    }
}
