//! Driving the log: what to start after an append, a completion, or the passing of time.

use std::path::PathBuf;

use thermae_env::{Env, Ring};
use thermae_formats::batch::{BATCH_ALIGN, FINAL};
use thermae_formats::segment::SegmentHeader;

use super::super::segments::{NextSegment, Order, Tokens, Tools};
use super::{
    BATCH_TOKEN, KIND_MASK, LogEvent, LogWriter, NEXT_NAME_TOKEN, NEXT_SYNC_TOKEN, Open, Progress,
    SLICE_TOKEN, SYNC_TOKEN, Stopping,
};

const NEXT_TOKENS: Tokens =
    Tokens { write: SLICE_TOKEN, sync: NEXT_SYNC_TOKEN, name: NEXT_NAME_TOKEN };

impl<E: Env> LogWriter<E> {
    /// Sends the open batch as soon as the bound on writes in flight allows; until then it goes on
    /// filling. With `durable`, it (and so all before it) is to become durable, not just written.
    pub fn submit(&mut self, ring: &mut E::Ring, durable: bool) {
        if self.open.builder.records() == 0 {
            return;
        }
        self.open.is_durable |= durable;
        self.open.is_submitted = true;
        self.pump(ring);
    }

    /// Takes a completion of one of the log's operations.
    pub fn on_event(&mut self, event: LogEvent, ring: &mut E::Ring) -> Progress {
        match event {
            LogEvent::Written { token, buf, result } if token & KIND_MASK == SLICE_TOKEN => {
                let (next, tools) = self.next_and_tools(ring);
                next.on_written(buf, result, tools);
            }
            LogEvent::Synced { token, result } if token == NEXT_SYNC_TOKEN => {
                let (next, tools) = self.next_and_tools(ring);
                next.on_synced(result, tools);
            }
            LogEvent::Named { token, result } if token == NEXT_NAME_TOKEN => {
                let (next, tools) = self.next_and_tools(ring);
                next.on_named(result, tools);
            }
            LogEvent::Named { token, result } => {
                self.on_removed((token & !KIND_MASK) as u32, result)
            }
            // A log that has failed moves nothing any more, whatever still completes.
            _ if self.failed.is_some() => {}
            LogEvent::Written { token, buf, result } => {
                let batch = token & !KIND_MASK;
                debug_assert_eq!(token & KIND_MASK, BATCH_TOKEN);
                self.reuse(buf);
                match result {
                    Ok(()) => self.flight.complete(batch),
                    Err(error) => {
                        let (segment, offset) = self.flight.place_of(batch).unwrap_or_default();
                        let path = self.path_of_segment(segment);
                        self.fail(path, offset, "writing", error.to_string());
                    }
                }
            }
            LogEvent::Synced { result, .. } => match result {
                Ok(()) => {
                    self.flight.end_sync();
                    if self.flight.has_unsynced() && self.unsynced_since_ns.is_none() {
                        self.unsynced_since_ns = Some(self.env.monotonic_ns());
                    }
                }
                Err(error) => {
                    let segment = self.retired.front().unwrap_or(&self.segment);
                    let (path, end) = (segment.path.clone(), segment.end);
                    self.fail(path, end, "syncing", error.to_string());
                }
            },
        }
        self.pump(ring);
        self.progress()
    }

    /// Does what time asks for; call it once a turn. Returns when it next wants to be called.
    pub fn tick(&mut self, now_ns: u64, ring: &mut E::Ring) -> Option<u64> {
        if self.failed.is_some() || self.stopping == Stopping::Done {
            return None;
        }
        self.free_one(ring);
        self.remove_purged();
        self.roll_for_purge(ring);
        self.prepare_next(now_ns, ring);
        self.pump(ring);
        if self.sync_due_ns().is_some_and(|due| now_ns >= due) {
            self.sync(ring, true);
        }
        if self.horizon_due_ns().is_some_and(|due| now_ns >= due) {
            self.state_horizon(ring);
        }
        [
            self.next.retry_at_ns(),
            self.sync_due_ns(),
            self.horizon_due_ns(),
            self.free_due_ns(now_ns),
        ]
        .into_iter()
        .flatten()
        // What is overdue waits for a completion, and that wakes the shard by itself.
        .filter(|&due| due > now_ns)
        .min()
    }

    /// Ends the log: what is open is sent, all is made durable, and a final batch states it. Keep
    /// turning (events and ticks) until [`LogWriter::is_stopped`].
    pub fn stop(&mut self, ring: &mut E::Ring) {
        if self.stopping == Stopping::No {
            self.stopping = Stopping::Asked;
            self.submit(ring, true);
            self.pump(ring);
        }
    }

    /// Starts whatever can start now.
    fn pump(&mut self, ring: &mut E::Ring) {
        if self.failed.is_some() {
            return;
        }
        if self.open.is_submitted && self.flight.in_flight() < self.options.max_in_flight {
            let is_durable = self.open.is_durable;
            if self.open.is_rolling {
                self.roll(ring, is_durable);
            }
            let fresh = Open::new(self.buffer());
            let open = std::mem::replace(&mut self.open, fresh);
            self.issue(ring, open.builder, open.buf, 0, is_durable);
            self.roll_for_purge(ring);
        }
        self.sync(ring, self.stopping != Stopping::No);
        self.forget_retired();
        if self.stopping != Stopping::No {
            self.finish(ring);
        }
    }

    /// Starts a sync if batches wait for one.
    fn sync(&mut self, ring: &mut E::Ring, is_due: bool) {
        let Some(job) = self.flight.begin_sync(is_due) else { return };
        let file = self
            .retired
            .iter()
            .find(|segment| segment.header.number == job.segment)
            .map_or(&self.segment.file, |segment| &segment.file);
        self.stats.syncs += 1;
        self.unsynced_since_ns = None;
        ring.sync(SYNC_TOKEN, file);
    }

    fn path_of_segment(&self, number: u32) -> PathBuf {
        let segment = self.retired.iter().find(|segment| segment.header.number == number);
        segment.unwrap_or(&self.segment).path.clone()
    }

    /// Closes segments whose batches are all durable.
    fn forget_retired(&mut self) {
        let oldest = self.flight.oldest_unsynced_segment().unwrap_or(self.segment.header.number);
        while self.retired.front().is_some_and(|segment| segment.header.number < oldest) {
            self.retired.pop_front();
        }
    }

    /// The last steps of a stop.
    fn finish(&mut self, ring: &mut E::Ring) {
        let is_settled =
            self.open.builder.records() == 0 && self.flight.durable() == self.flight.assigned();
        if !is_settled {
            return;
        }
        match self.stopping {
            Stopping::Final(batch) if self.flight.durable() >= batch => {
                self.stopping = Stopping::Done;
            }
            Stopping::Asked if self.flight.assigned() == 0 => self.stopping = Stopping::Done,
            Stopping::Asked => {
                if self.room() < BATCH_ALIGN as u64 && self.next.is_ready() {
                    self.roll(ring, true);
                }
                if self.room() >= BATCH_ALIGN as u64 {
                    self.issue_empty(ring, FINAL);
                    self.stopping = Stopping::Final(self.flight.assigned());
                } else if !self.next.is_making() {
                    // No room for a last batch and none to be had: the log is durable without it.
                    self.stopping = Stopping::Done;
                }
            }
            Stopping::No | Stopping::Final(_) | Stopping::Done => {}
        }
    }

    /// Starts making the next segment once a quarter of the present one is used.
    fn prepare_next(&mut self, now_ns: u64, ring: &mut E::Ring) {
        let header = self.segment.header;
        let is_early = self.segment.end + BATCH_ALIGN as u64 <= header.segment_bytes / 4;
        // What the disk had no room for may be made at once of what was freed meanwhile.
        let is_due =
            self.next.is_due(now_ns) || (self.next.is_blocked() && self.starts.has_spare());
        let is_early = is_early && !self.wants_roll();
        if is_early || self.stopping != Stopping::No || !is_due {
            return;
        }
        let header =
            SegmentHeader { number: header.number + 1, salt: self.env.random_u64(), ..header };
        let order = Order { header, spare: self.take_spare() };
        let (next, tools) = self.next_and_tools(ring);
        next.start(order, tools);
    }

    /// The next segment, and what it is made with.
    fn next_and_tools<'a>(
        &'a mut self,
        ring: &'a mut E::Ring,
    ) -> (&'a mut NextSegment<E::File>, Tools<'a, E>) {
        let retry_at_ns = self.env.monotonic_ns() + self.options.retry_after_ns;
        let Self { env, log_dir, next, .. } = self;
        (next, Tools { env, log_dir, ring, tokens: NEXT_TOKENS, retry_at_ns })
    }

    /// A batch without records that tells recovery how far the log was durable.
    fn state_horizon(&mut self, ring: &mut E::Ring) {
        if self.room() >= BATCH_ALIGN as u64 {
            self.issue_empty(ring, 0);
        } else {
            // The batch that closes the segment states it as well.
            self.roll(ring, true);
        }
    }

    fn horizon_due_ns(&self) -> Option<u64> {
        let is_idle = self.open.builder.records() == 0
            && self.flight.durable() == self.flight.assigned()
            && self.stopping == Stopping::No;
        let has_room = self.room() >= BATCH_ALIGN as u64 || self.next.is_ready();
        (is_idle && has_room && self.last_data > self.stated_horizon)
            .then(|| self.last_issue_ns + self.options.horizon_idle_ns)
    }

    fn sync_due_ns(&self) -> Option<u64> {
        self.unsynced_since_ns.map(|since| since + self.options.sync_after_ns)
    }
}
