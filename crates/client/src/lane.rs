//! A place in the pool: one connection after the other, the requests in flight, the writes in order.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crate::address::Address;
use crate::buffer::{FrameBuf, Pool};
use crate::config::Config;
use crate::error::Error;
use crate::link::{Link, backoff};
use crate::slots::Slots;

/// Between looks at the deadline while spinning; a look costs about as much as ten polls.
const POLLS_A_LOOK: u32 = 64;

pub(crate) struct Lane {
    address: Address,
    config: Config,
    pool: Arc<Pool>,
    slots: Slots,
    current: Mutex<Current>,
    writes: Mutex<Writes>,
    reader: OnceLock<Thread>,
}

/// The connection of now, and how connecting has gone lately.
#[derive(Default)]
struct Current {
    link: Option<Arc<Link>>,
    next_number: u64,
    failures: u32,
    not_before: Option<Instant>,
}

/// Writes in the order of their producer sequences.
#[derive(Default)]
struct Writes {
    /// The connection that new writes go over.
    link: u64,
    /// Sequence that the client's own producer has used last.
    last_sequence: u64,
    /// Sent and not answered; sent again over the next connection.
    unacknowledged: VecDeque<(u64, Vec<u8>)>,
}

impl Lane {
    pub fn new(address: Address, config: Config, pool: Arc<Pool>) -> Self {
        Self {
            address,
            config,
            pool,
            slots: Slots::default(),
            current: Mutex::default(),
            writes: Mutex::default(),
            reader: OnceLock::new(),
        }
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The living connection, or a new one: one attempt, after the pause that failures ask for.
    pub fn link(&self, deadline: Instant) -> Result<Arc<Link>, Error> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(link) = current.link.as_ref().filter(|link| !link.is_dead()) {
            return Ok(Arc::clone(link));
        }
        if let Some(not_before) = current.not_before {
            let pause = not_before.saturating_duration_since(Instant::now());
            if Instant::now() + pause >= deadline {
                return Err(Error::TimedOut);
            }
            thread::sleep(pause);
        }
        match self.reconnect(&mut current, deadline) {
            Ok(link) => {
                current.failures = 0;
                current.not_before = None;
                current.link = Some(Arc::clone(&link));
                Ok(link)
            }
            Err(error) => {
                current.not_before = Some(Instant::now() + backoff(current.failures));
                current.failures = current.failures.saturating_add(1);
                Err(error)
            }
        }
    }

    fn reconnect(&self, current: &mut Current, deadline: Instant) -> Result<Arc<Link>, Error> {
        current.next_number += 1;
        let number = current.next_number;
        let link = Link::connect(&self.address, &self.config, number, &self.pool)?;
        let link = Arc::new(link);
        let mut writes = self.writes();
        writes.link = number;
        if let Some(old) = &current.link
            && old.server.store_id != link.server.store_id
        {
            // Another store knows nothing of our sequences: what is in doubt stays so.
            for (id, _) in writes.unacknowledged.drain(..) {
                self.slots.complete(id, Err(Error::Disconnected));
            }
        }
        writes.unacknowledged.retain(|(id, _)| self.slots.move_to(*id, number));
        for (_, frame) in &writes.unacknowledged {
            link.send_again(&self.slots, deadline, frame)?;
        }
        Ok(link)
    }

    fn writes(&self) -> MutexGuard<'_, Writes> {
        self.writes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A slot for one more request on `link`; receives answers while there is none.
    fn reserve(&self, link: &Link, deadline: Instant) -> Result<u64, Error> {
        let max = self.config.in_flight_max.min(link.server.limits.in_flight_max).max(1) as usize;
        loop {
            if let Some(id) = self.slots.reserve(link.number, max, deadline) {
                return Ok(id);
            }
            if Instant::now() >= deadline {
                return Err(Error::TimedOut);
            }
            match link.try_lead() {
                Some(mut incoming) => {
                    if link.receive(&mut incoming, &self.slots, true, &mut |_| ()).is_err() {
                        drop(incoming);
                        link.lose(&self.slots);
                        return Err(Error::Disconnected);
                    }
                    drop(incoming);
                    self.slots.wake_one_sync();
                }
                None => thread::park_timeout(Duration::from_micros(100)),
            }
        }
    }

    /// Sends one request that is lost with its connection.
    pub fn submit(
        &self,
        link: &Link,
        deadline: Instant,
        encode: impl FnOnce(&mut Vec<u8>, u64) -> Result<(), Error>,
    ) -> Result<u64, Error> {
        let id = self.reserve(link, deadline)?;
        if let Err(error) = link.send(&self.slots, deadline, |out| encode(out, id)) {
            self.slots.cancel(id);
            return Err(error);
        }
        Ok(id)
    }

    /// Sends one write in the order of sequences; `encode` is given the last sequence used and says
    /// which one it used last. With `survives` it is sent again until it is answered.
    pub fn submit_write(
        &self,
        deadline: Instant,
        survives: bool,
        mut encode: impl FnMut(&mut Vec<u8>, u64, u64, &Link) -> Result<u64, Error>,
    ) -> Result<u64, Error> {
        loop {
            let link = self.link(deadline)?;
            let id = self.reserve(&link, deadline)?;
            let mut writes = self.writes();
            if writes.link != link.number {
                // Reconnected in between: take the new connection.
                drop(writes);
                self.slots.cancel(id);
                continue;
            }
            let mut frame = Vec::new();
            match encode(&mut frame, id, writes.last_sequence, &link) {
                Ok(last) => writes.last_sequence = last,
                Err(error) => {
                    self.slots.cancel(id);
                    return Err(error);
                }
            }
            if survives {
                self.slots.set_survives(id);
            }
            // A frame may have gone out in part, so failing to send it leaves the write in doubt:
            // its slot says so, or it is repeated over the next connection.
            let _ = link.send_again(&self.slots, deadline, &frame);
            if survives {
                writes.unacknowledged.push_back((id, frame));
            }
            return Ok(id);
        }
    }

    /// The write has been answered: it is not sent again.
    pub fn acknowledge(&self, id: u64) {
        let mut writes = self.writes();
        if let Some(at) = writes.unacknowledged.iter().position(|(other, _)| *other == id) {
            writes.unacknowledged.remove(at);
        }
    }

    /// Waits for an answer in the calling thread: whoever waits first receives for all.
    pub fn wait(&self, id: u64, deadline: Instant) -> Result<FrameBuf, Error> {
        loop {
            if let Some(answer) = self.slots.take(id) {
                return answer;
            }
            if Instant::now() >= deadline {
                self.slots.abandon(id);
                return Err(Error::TimedOut);
            }
            // A surviving write brings about the next connection and waits on.
            let Ok(link) = self.link(deadline) else {
                thread::park_timeout(Duration::from_millis(5));
                continue;
            };
            if let Some(answer) = self.lead_or_park(&link, id, deadline) {
                return answer;
            }
        }
    }

    fn lead_or_park(
        &self,
        link: &Link,
        id: u64,
        deadline: Instant,
    ) -> Option<Result<FrameBuf, Error>> {
        let mut lead = link.try_lead();
        if lead.is_none() {
            if let Some(answer) = self.slots.take_or_register(id, &thread_waker(), true) {
                return Some(answer);
            }
            // Registered now, so whoever leads will wake us when it stops; look once more in case
            // it has just done so.
            lead = link.try_lead();
        }
        let Some(mut incoming) = lead else {
            thread::park_timeout(Duration::from_millis(50));
            return None;
        };
        let mut polls = 0_u32;
        let (answer, lost) = loop {
            if let Some(answer) = self.slots.take(id) {
                break (Some(answer), false);
            }
            match link.receive(&mut incoming, &self.slots, !self.config.spin, &mut |_| ()) {
                Ok(true) => {}
                Ok(false) => {
                    polls = polls.wrapping_add(1);
                    let look = !self.config.spin || polls.is_multiple_of(POLLS_A_LOOK);
                    if look && (link.is_dead() || Instant::now() >= deadline) {
                        break (None, link.is_dead());
                    }
                    std::hint::spin_loop();
                }
                Err(_) => break (None, true),
            }
        };
        drop(incoming);
        if lost {
            link.lose(&self.slots);
        }
        self.slots.wake_one_sync();
        answer
    }

    /// Takes in what has arrived on the living connection, without waiting, and tells the numbers of the requests.
    pub fn receive_now(&self, arrived: &mut dyn FnMut(u64)) {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(link) = current.link.as_ref().filter(|link| !link.is_dead()).map(Arc::clone)
        else {
            return;
        };
        drop(current);
        // Whoever has the right to receive hands over what comes.
        let Some(mut incoming) = link.try_lead() else { return };
        let received = link.receive(&mut incoming, &self.slots, false, arrived);
        drop(incoming);
        match received {
            Ok(false) => return,
            Ok(true) => {}
            Err(_) => link.lose(&self.slots),
        }
        self.slots.wake_one_sync();
    }

    /// The answer if it is there, without waiting and without receiving.
    pub fn take(&self, id: u64, deadline: Instant) -> Option<Result<FrameBuf, Error>> {
        let answer = self.slots.take(id);
        if answer.is_none() && Instant::now() >= deadline {
            self.slots.abandon(id);
            return Some(Err(Error::TimedOut));
        }
        answer
    }

    /// For a future: the answer, or a promise to wake `waker`. A thread receives from now on.
    pub fn poll(
        self: &Arc<Self>,
        id: u64,
        waker: &Waker,
        deadline: Instant,
    ) -> Option<Result<FrameBuf, Error>> {
        if let Some(answer) = self.slots.take_or_register(id, waker, false) {
            return Some(answer);
        }
        if Instant::now() >= deadline {
            self.slots.abandon(id);
            return Some(Err(Error::TimedOut));
        }
        self.reader.get_or_init(|| {
            let lane = Arc::downgrade(self);
            thread::spawn(move || receive_for_futures(&lane)).thread().clone()
        });
        if let Some(reader) = self.reader.get() {
            reader.unpark();
        }
        None
    }

    /// Nobody waits for this answer any more.
    pub fn abandon(&self, id: u64) {
        self.slots.abandon(id);
    }

    fn receive_tick(&self) {
        let now = Instant::now();
        self.slots.expire(now);
        if self.slots.unanswered() == 0 {
            thread::park_timeout(Duration::from_millis(50));
            return;
        }
        // Requests of a lost connection have failed already; only surviving writes are left to
        // wait for, and they want the next connection.
        let Ok(link) = self.link(now + self.config.request_timeout) else { return };
        let mut incoming = link.lead();
        let received = link.receive(&mut incoming, &self.slots, true, &mut |_| ());
        drop(incoming);
        if received.is_err() {
            link.lose(&self.slots);
        }
        self.slots.wake_one_sync();
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        let current = self.current.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(link) = &current.link {
            link.lose(&self.slots);
        }
    }
}

/// Receives as long as the lane lives. It holds the lane for one receive at a time.
fn receive_for_futures(lane: &Weak<Lane>) {
    while let Some(lane) = lane.upgrade() {
        lane.receive_tick();
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn thread_waker() -> Waker {
    thread_local! {
        static WAKER: Waker = Waker::from(Arc::new(Unpark(thread::current())));
    }
    WAKER.with(Waker::clone)
}
