//! One simulated file: what programs see, what the platter holds, and what lies between.

use std::sync::Arc;

use super::content::Content;
use super::rng::Rng;

/// What a disk writes atomically.
const SECTOR: u64 = 512;

/// A change that is visible but not yet durable.
#[derive(Clone, Debug)]
enum Change {
    Write { offset: u64, data: Arc<[u8]> },
    Grow { len: u64 },
    Shrink { len: u64 },
}

#[derive(Clone, Debug)]
struct Pending {
    id: u64,
    change: Change,
}

/// A file without its name.
#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    /// What reads see.
    cache: Content,
    /// What survives a power cut for certain.
    durable: Content,
    /// Visible, not durable, oldest first.
    pending: Vec<Pending>,
    next_id: u64,
    /// A failed sync dropped data that cached reads still show.
    cache_lies: bool,
    /// Shared with every open file of it.
    opened: Arc<()>,
}

impl Inode {
    pub(super) fn settled(content: Content) -> Self {
        Self { cache: content.clone(), durable: content, ..Self::default() }
    }

    /// What an open file holds, so that its blocks stay when its name goes.
    pub(super) fn open(&self) -> Arc<()> {
        Arc::clone(&self.opened)
    }

    /// Whether a program has it open.
    pub(super) fn is_open(&self) -> bool {
        Arc::strong_count(&self.opened) > 1
    }

    /// The same after every program that had it open is gone.
    pub(super) fn closed(&self) -> Self {
        Self { opened: Arc::default(), ..self.clone() }
    }

    pub(super) const fn len(&self) -> u64 {
        self.cache.len()
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        self.cache.to_vec()
    }

    pub(super) fn read(&self, buf: &mut [u8], offset: u64, direct: bool) -> usize {
        if direct && self.cache_lies {
            let mut device = self.durable.clone();
            self.pending.iter().for_each(|p| apply(&mut device, &p.change));
            return device.read(buf, offset);
        }
        self.cache.read(buf, offset)
    }

    /// A completed write that no sync covers yet.
    pub(super) fn write(&mut self, offset: u64, data: &[u8]) {
        self.cache.write(offset, data);
        self.push(Change::Write { offset, data: data.into() });
    }

    /// A completed write that is durable.
    pub(super) fn write_durable(&mut self, offset: u64, data: &[u8]) {
        // A synchronous write commits the file's length with it: a cut that is older does not come later.
        for cut in self.pending.extract_if(.., |p| matches!(p.change, Change::Shrink { .. })) {
            apply(&mut self.durable, &cut.change);
        }
        self.cache.write(offset, data);
        self.durable.write(offset, data);
        self.supersede(offset, offset + data.len() as u64);
    }

    /// A write that failed or was cut: each sector may have reached the disk or not.
    pub(super) fn write_torn(&mut self, offset: u64, data: &[u8], rng: &mut Rng) {
        for (at, part) in surviving_parts(offset, data, rng) {
            self.write(at, part);
        }
    }

    pub(super) fn grow(&mut self, len: u64) {
        self.cache.grow(len);
        self.push(Change::Grow { len });
    }

    pub(super) fn shrink(&mut self, len: u64) {
        self.cache.shrink(len);
        self.push(Change::Shrink { len });
    }

    /// The mark for [`Inode::sync`]: covers every change made so far.
    pub(super) const fn sync_mark(&self) -> u64 {
        self.next_id
    }

    /// Makes the changes before `mark` durable.
    pub(super) fn sync(&mut self, mark: u64) {
        for pending in self.pending.extract_if(.., |p| p.id < mark) {
            apply(&mut self.durable, &pending.change);
        }
    }

    /// A sync that failed: some dirty data reached the disk, the rest is dropped and forgotten,
    /// while cached reads still show it (as ext4 and XFS do).
    pub(super) fn sync_failed(&mut self, mark: u64, rng: &mut Rng) {
        for pending in self.pending.extract_if(.., |p| p.id < mark) {
            match pending.change {
                Change::Write { offset, data } => {
                    for (at, part) in surviving_parts(offset, &data, rng) {
                        self.durable.write(at, part);
                    }
                }
                change => apply(&mut self.durable, &change),
            }
        }
        self.cache_lies = true;
    }

    /// What a power cut leaves: each pending change lost, whole or torn, in any order.
    pub(super) fn after_power_cut(&self, rng: &mut Rng) -> Content {
        let mut left = self.durable.clone();
        let mut pending: Vec<&Change> = self.pending.iter().map(|p| &p.change).collect();
        rng.shuffle(&mut pending);
        for change in pending {
            match change {
                Change::Write { offset, data } => {
                    for (at, part) in surviving_parts(*offset, data, rng) {
                        left.write(at, part);
                    }
                }
                _ if rng.coin() => apply(&mut left, change),
                _ => {}
            }
        }
        left
    }

    fn push(&mut self, change: Change) {
        self.pending.push(Pending { id: self.next_id, change });
        self.next_id += 1;
    }

    /// Durable data covers `start..end`: older pending writes must not come back over it.
    fn supersede(&mut self, start: u64, end: u64) {
        let overlaps = |p: &Pending| match &p.change {
            Change::Write { offset, data } => *offset < end && start < offset + data.len() as u64,
            Change::Grow { .. } | Change::Shrink { .. } => false,
        };
        if !self.pending.iter().any(overlaps) {
            return;
        }
        let mut kept = Vec::with_capacity(self.pending.len() + 1);
        for pending in self.pending.drain(..) {
            match &pending.change {
                Change::Write { offset, data } if overlaps(&pending) => {
                    let from = *offset;
                    let to = from + data.len() as u64;
                    for (a, b) in [(from, start.min(to)), (end.max(from), to)] {
                        if a < b {
                            let data = data[(a - from) as usize..(b - from) as usize].into();
                            let change = Change::Write { offset: a, data };
                            kept.push(Pending { id: pending.id, change });
                        }
                    }
                }
                _ => kept.push(pending),
            }
        }
        self.pending = kept;
    }
}

fn apply(content: &mut Content, change: &Change) {
    match change {
        Change::Write { offset, data } => content.write(*offset, data),
        Change::Grow { len } => content.grow(*len),
        Change::Shrink { len } => content.shrink(*len),
    }
}

/// Which parts of a write reach the disk when nothing promises it: none, all, a prefix, a suffix,
/// or any subset of its sectors.
fn surviving_parts<'a>(offset: u64, data: &'a [u8], rng: &mut Rng) -> Vec<(u64, &'a [u8])> {
    let sectors = sectors_of(offset, data);
    let count = sectors.len() as u64;
    match rng.below(6) {
        0 => Vec::new(),
        1 | 2 => vec![(offset, data)],
        3 => {
            let keep = rng.below(count + 1) as usize;
            sectors[..keep].to_vec()
        }
        4 => {
            let skip = rng.below(count + 1) as usize;
            sectors[skip..].to_vec()
        }
        _ => sectors.into_iter().filter(|_| rng.coin()).collect(),
    }
}

fn sectors_of(offset: u64, data: &[u8]) -> Vec<(u64, &[u8])> {
    let mut sectors = Vec::new();
    let mut done = 0;
    while done < data.len() {
        let at = offset + done as u64;
        let part = ((SECTOR - at % SECTOR) as usize).min(data.len() - done);
        sectors.push((at, &data[done..done + part]));
        done += part;
    }
    sectors
}
