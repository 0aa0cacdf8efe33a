//! Reads of a thread that has no ring of its own: one by a plain system call, several by a small io_uring.

use std::io;
use std::mem::ManuallyDrop;

use crate::clock::monotonic_ns;
use crate::uring_disk::DiskOps;
use crate::uring_queue::{Completion, DRAIN_NS, Queue, Sleep};
use crate::{AlignedBuf, Event, File, Reader, RealFile};

/// Reads that the kernel takes at a time.
const ENTRIES: u32 = 64;

/// Reads several places at a time. Dropping it waits for the kernel to let go of every buffer; should that not
/// succeed, they are leaked.
#[derive(Debug)]
pub struct UringReader {
    queue: Queue,
    // Memory that the kernel may use: freed in `drop`, after draining.
    disk: ManuallyDrop<DiskOps>,
    /// The first read since the last wait: alone it needs no ring.
    first: Option<Lone>,
    completions: Vec<Completion>,
}

#[derive(Debug)]
struct Lone {
    token: u64,
    file: RealFile,
    offset_bytes: u64,
    buf: AlignedBuf,
}

impl Lone {
    fn read(mut self) -> Event {
        let result = self.file.read_at(&mut self.buf, self.offset_bytes);
        Event::Read { token: self.token, buf: self.buf, result }
    }
}

impl UringReader {
    /// With an io_uring of 64 places.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            queue: Queue::unbound(ENTRIES)?,
            disk: ManuallyDrop::new(DiskOps::default()),
            first: None,
            completions: Vec::new(),
        })
    }

    fn submit(&mut self, read: Lone) {
        let Lone { token, file, offset_bytes, buf } = read;
        self.disk.read(&mut self.queue, token, &file, offset_bytes, buf);
    }

    fn enter(&mut self, sleep: Sleep, events: &mut Vec<Event>) -> io::Result<()> {
        self.queue.enter(sleep)?;
        let mut completions = std::mem::take(&mut self.completions);
        self.queue.reap(&mut completions);
        for Completion { user_data, result, .. } in completions.drain(..) {
            self.disk.complete(&mut self.queue, user_data, user_data as u32, result, events);
        }
        self.completions = completions;
        Ok(())
    }
}

impl Reader for UringReader {
    type File = RealFile;

    fn read(&mut self, token: u64, file: &RealFile, offset_bytes: u64, buf: AlignedBuf) {
        let read = Lone { token, file: file.clone(), offset_bytes, buf };
        if self.first.is_none() && self.queue.in_flight() == 0 {
            self.first = Some(read);
            return;
        }
        if let Some(first) = self.first.take() {
            self.submit(first);
        }
        self.submit(read);
    }

    fn wait(&mut self, least: usize, events: &mut Vec<Event>) -> io::Result<()> {
        if let Some(alone) = self.first.take() {
            events.push(alone.read());
            return Ok(());
        }
        let wanted = events.len().saturating_add(least);
        while events.len() < wanted && self.queue.in_flight() > 0 {
            let missing = (wanted - events.len()).min(self.queue.in_flight());
            self.enter(Sleep::For(missing as u32), events)?;
        }
        Ok(())
    }
}

impl Drop for UringReader {
    fn drop(&mut self) {
        let (deadline_ns, mut events) = (monotonic_ns() + DRAIN_NS, Vec::new());
        while self.queue.in_flight() > 0 {
            let entered = self.enter(Sleep::AtMostNs(100_000_000), &mut events);
            if entered.is_err() || monotonic_ns() > deadline_ns {
                return;
            }
        }
        // SAFETY: nothing is in flight, so the kernel uses none of this memory any more; it is dropped once, here.
        unsafe { ManuallyDrop::drop(&mut self.disk) };
    }
}
