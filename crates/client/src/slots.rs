//! Requests in flight: one slot each, found by request id, completed by whoever receives its answer.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Instant;

use crate::buffer::FrameBuf;
use crate::error::Error;

/// Low bits of a request id are its slot's index; the rest counts up, so that ids do not come again.
const INDEX_BITS: u32 = 20;
const INDEX_MASK: u64 = (1 << INDEX_BITS) - 1;

enum State {
    Free,
    Waiting {
        waker: Option<Waker>,
        sync: bool,
    },
    Done(Result<FrameBuf, Error>),
    /// Nobody waits any more; freed when its answer comes or its connection ends.
    Abandoned,
}

struct Slot {
    id: u64,
    state: State,
    /// Which connection carries it.
    link: u64,
    /// A write that is sent again over the next connection.
    survives: bool,
    deadline: Instant,
}

#[derive(Default)]
struct Table {
    slots: Vec<Slot>,
    free: Vec<u32>,
    next: u64,
    /// Requests sent and not answered yet.
    unanswered: usize,
}

/// The table of one lane.
#[derive(Default)]
pub(crate) struct Slots {
    table: Mutex<Table>,
}

impl Slots {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new request's id, or `None` when `max` are in flight already.
    pub fn reserve(&self, link: u64, max: usize, deadline: Instant) -> Option<u64> {
        let mut table = self.lock();
        if table.unanswered >= max || table.slots.len() > INDEX_MASK as usize {
            return None;
        }
        table.unanswered += 1;
        table.next += 1;
        let index = match table.free.pop() {
            Some(index) => index,
            None => {
                let state = State::Free;
                table.slots.push(Slot { id: 0, state, link, survives: false, deadline });
                (table.slots.len() - 1) as u32
            }
        };
        let id = table.next << INDEX_BITS | u64::from(index);
        let state = State::Waiting { waker: None, sync: false };
        table.slots[index as usize] = Slot { id, state, link, survives: false, deadline };
        Some(id)
    }

    /// Marks a write as one that outlives its connection.
    pub fn set_survives(&self, id: u64) {
        if let Some(slot) = self.lock().get(id) {
            slot.survives = true;
        }
    }

    /// Moves a surviving write to the connection over which it has been sent again.
    /// False when it has been answered.
    pub fn move_to(&self, id: u64, link: u64) -> bool {
        let mut table = self.lock();
        match table.get(id) {
            Some(slot) if matches!(slot.state, State::Waiting { .. } | State::Abandoned) => {
                slot.link = link;
                true
            }
            _ => false,
        }
    }

    /// Hands an answer to its request. An unknown id is an answer that nobody asked for.
    pub fn complete(&self, id: u64, answer: Result<FrameBuf, Error>) -> bool {
        let mut table = self.lock();
        let Some(slot) = table.get(id) else { return false };
        match std::mem::replace(&mut slot.state, State::Free) {
            State::Waiting { waker, .. } => {
                slot.state = State::Done(answer);
                table.unanswered -= 1;
                drop(table);
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
            State::Abandoned => {
                table.unanswered -= 1;
                table.release(id);
            }
            // A second answer to one request: keep the first.
            done => slot.state = done,
        }
        true
    }

    /// Takes the answer if it is there.
    pub fn take(&self, id: u64) -> Option<Result<FrameBuf, Error>> {
        let mut table = self.lock();
        let Some(slot) = table.get(id) else { return Some(Err(Error::Disconnected)) };
        if !matches!(slot.state, State::Done(_)) {
            return None;
        }
        let state = std::mem::replace(&mut slot.state, State::Free);
        table.release(id);
        match state {
            State::Done(answer) => Some(answer),
            _ => None,
        }
    }

    /// Asks to be woken when the answer comes; the answer instead if it is there already.
    pub fn take_or_register(
        &self,
        id: u64,
        waker: &Waker,
        sync: bool,
    ) -> Option<Result<FrameBuf, Error>> {
        {
            let mut table = self.lock();
            let slot = table.get(id);
            if let Some(Slot { state: State::Waiting { waker: old, sync: was }, .. }) = slot {
                *was = sync;
                match old {
                    Some(old) => old.clone_from(waker),
                    None => *old = Some(waker.clone()),
                }
                return None;
            }
        }
        self.take(id)
    }

    /// Nobody waits for this any more.
    pub fn abandon(&self, id: u64) {
        let mut table = self.lock();
        let Some(slot) = table.get(id) else { return };
        if matches!(slot.state, State::Done(_)) {
            slot.state = State::Free;
            table.release(id);
        } else {
            slot.state = State::Abandoned;
        }
    }

    /// Takes a slot back whose request was never sent.
    pub fn cancel(&self, id: u64) {
        let mut table = self.lock();
        let Some(slot) = table.get(id) else { return };
        // The loss of its connection may have failed, and uncounted, it already.
        let counted = matches!(slot.state, State::Waiting { .. } | State::Abandoned);
        table.unanswered -= usize::from(counted);
        table.release(id);
    }

    /// The connection `link` is gone: what it carried fails, except writes that survive, whose
    /// waiters are woken to bring about the next connection.
    pub fn link_lost(&self, link: u64) {
        let mut wakers = Vec::new();
        let mut table = self.lock();
        let mut freed = Vec::new();
        let mut failed = 0;
        for slot in table.slots.iter_mut().filter(|slot| slot.link == link) {
            match &mut slot.state {
                State::Waiting { waker, .. } => {
                    wakers.extend(waker.take());
                    if !slot.survives {
                        slot.state = State::Done(Err(Error::Disconnected));
                        failed += 1;
                    }
                }
                State::Abandoned if !slot.survives => {
                    slot.state = State::Free;
                    freed.push(slot.id);
                }
                _ => {}
            }
        }
        table.unanswered -= failed + freed.len();
        freed.into_iter().for_each(|id| table.release(id));
        drop(table);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Fails what has waited beyond its deadline; for requests that nobody waits on in a call.
    pub fn expire(&self, now: Instant) {
        let mut wakers = Vec::new();
        let mut table = self.lock();
        for slot in table.slots.iter_mut().filter(|slot| now >= slot.deadline) {
            if let State::Waiting { waker, sync: false } = &mut slot.state
                && let Some(waker) = waker.take()
            {
                wakers.push(waker);
            }
        }
        drop(table);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Wakes one caller that waits in a call, so that it takes over receiving.
    pub fn wake_one_sync(&self) {
        let mut table = self.lock();
        let waker = table.slots.iter_mut().find_map(|slot| match &mut slot.state {
            State::Waiting { waker, sync: true } => waker.take(),
            _ => None,
        });
        drop(table);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Requests sent and not answered yet.
    pub fn unanswered(&self) -> usize {
        self.lock().unanswered
    }
}

impl Table {
    fn get(&mut self, id: u64) -> Option<&mut Slot> {
        let index = (id & INDEX_MASK) as usize;
        self.slots.get_mut(index).filter(|slot| slot.id == id)
    }

    /// Frees a slot whose state has been set to `Free`, or is done with.
    fn release(&mut self, id: u64) {
        if let Some(slot) = self.get(id) {
            slot.id = 0;
            slot.state = State::Free;
            self.free.push((id & INDEX_MASK) as u32);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_late_answer_does_not_complete_the_request_that_has_its_place_now() {
        let slots = Slots::default();
        let reserve = |link| slots.reserve(link, 1, Instant::now()).unwrap();
        let old = reserve(1);
        slots.link_lost(1);
        assert!(matches!(slots.take(old), Some(Err(Error::Disconnected))));
        let new = reserve(2);
        assert_eq!(old & INDEX_MASK, new & INDEX_MASK, "the same place");
        assert!(!slots.complete(old, Err(Error::PlanChanged)), "nobody asked for it any more");
        assert!(slots.take(new).is_none() && slots.unanswered() == 1);
        slots.abandon(old);
        slots.cancel(old);
        assert!(slots.complete(new, Err(Error::TimedOut)));
        assert!(matches!(slots.take(new), Some(Err(Error::TimedOut))));
    }
}
