//! Look-ups in tables by the threads that ask, without the shards: each waits for its own blocks.
//!
//! What such a thread sees is one picture of what lies below a hot table ([`crate::below`]). Whatever that cannot tell
//! for certain is left to the shard: rows that a memtable may have, stubs, blocks that are damaged or cannot be read,
//! rows that are larger than a page, and rows that may be erased.

use std::sync::{Mutex, MutexGuard, PoisonError};

use thermae_env::{AlignedBuf, Env, Event, Reader};
use thermae_formats::ViewId;
use thermae_formats::hash::row_hash;
use thermae_formats::table::PAGE_BYTES;
use thermae_formats::version::Version;
use thermae_tiering::table::{Extent, Scratch};

use crate::below::Picture;
use crate::reads::Key;

/// Blocks that one thread asks for at a time.
const BLOCKS: usize = 32;
/// What one thread's look-ups take: their blocks, and what unpacks one that is compressed (some 100 KiB), with its rows.
pub(crate) const READER_BYTES: u64 = (BLOCKS * PAGE_BYTES) as u64 + (128 << 10);
/// Readers that are kept while nobody reads.
const IDLE_MAX: usize = 8;

/// The readers of a store, each used by one thread at a time.
pub(crate) struct TableReaders<E: Env> {
    env: E,
    pool: Mutex<Pool<E>>,
}

struct Pool<E: Env> {
    /// The one that was used last is the next: its memory is in the processor's caches.
    idle: Vec<TableReader<E>>,
    /// How many more may be lent.
    left: usize,
}

/// A reader while somebody has it.
struct Lent<'a, E: Env> {
    readers: &'a TableReaders<E>,
    reader: Option<TableReader<E>>,
}

/// One thread's look-ups.
pub(crate) struct TableReader<E: Env> {
    reads: E::Reader,
    spares: Vec<AlignedBuf>,
    scratch: Scratch,
    events: Vec<Event>,
    /// Nothing that it asked for is on its way.
    is_clear: bool,
}

/// A row that is looked for.
pub(crate) struct Sought<'a, E: Env> {
    pub view: ViewId,
    pub key: &'a Key<'a>,
    /// What lies below its hot table.
    pub picture: &'a Picture<E>,
}

/// How a look-up ended.
pub(crate) enum Seen<'a> {
    /// The newest version.
    Row(&'a Version<'a>),
    /// There is none.
    Absent,
    /// Only its shard can tell.
    Unknown,
}

/// The blocks that are read for one row.
#[derive(Clone, Copy)]
struct Place {
    /// The table, and where in it.
    table: usize,
    extent: Extent,
    /// Blocks read so far, this one included.
    blocks: u64,
}

/// Rows that are looked for, and those of them whose block is on its way.
struct Search<'a, 's, E: Env> {
    sought: &'s [Sought<'a, E>],
    places: Vec<Option<Place>>,
    /// The next that was not begun.
    next: usize,
    under_way: usize,
}

impl<E: Env> TableReaders<E> {
    /// At most `most` readers.
    pub fn new(env: E, most: usize) -> Self {
        Self { env, pool: Mutex::new(Pool { idle: Vec::new(), left: most }) }
    }

    /// The environment that they read in.
    pub const fn env(&self) -> &E {
        &self.env
    }

    /// Lets `work` have a reader; nothing is done where all are at work, or none can be made.
    pub fn with<R>(&self, work: impl FnOnce(&mut TableReader<E>) -> R) -> Option<R> {
        let mut lent = self.lend()?;
        if lent.reader.is_none() {
            lent.reader = self.make();
        }
        lent.reader.as_mut().map(work)
    }

    /// Takes an idle reader, or the right to make one.
    fn lend(&self) -> Option<Lent<'_, E>> {
        let mut pool = self.lock();
        pool.left = pool.left.checked_sub(1)?;
        Some(Lent { readers: self, reader: pool.idle.pop() })
    }

    fn lock(&self) -> MutexGuard<'_, Pool<E>> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make(&self) -> Option<TableReader<E>> {
        Some(TableReader {
            reads: self.env.reader().ok()?,
            spares: Vec::new(),
            scratch: Scratch::new(),
            events: Vec::new(),
            is_clear: true,
        })
    }
}

impl<E: Env> Drop for Lent<'_, E> {
    fn drop(&mut self) {
        // What one read has on its way must not come to the next one. A reader that goes waits for it, without the lock.
        let mut reader = self.reader.take().filter(|reader| reader.is_clear);
        let mut pool = self.readers.lock();
        pool.left += 1;
        if pool.idle.len() < IDLE_MAX {
            pool.idle.extend(reader.take());
        }
    }
}

impl<E: Env> TableReader<E> {
    /// Looks for rows. `sink` is called once a row, in no order, with its index and the blocks that were read for it.
    pub fn look_up(
        &mut self,
        sought: &[Sought<'_, E>],
        mut sink: impl FnMut(usize, Seen<'_>, u64),
    ) {
        let places = vec![None; sought.len()];
        let mut search = Search { sought, places, next: 0, under_way: 0 };
        self.is_clear = false;
        loop {
            self.begin(&mut search, &mut sink);
            if search.under_way == 0 {
                self.is_clear = true;
                return;
            }
            // Half of them: one that waits for each is woken for each, one that waits for all searches late.
            let mut events = std::mem::take(&mut self.events);
            let waited = self.reads.wait(search.under_way.div_ceil(2), &mut events);
            for event in events.drain(..) {
                let Event::Read { token, buf, result } = event else { continue };
                search.under_way -= 1;
                // Of what could not be read there is nothing, which is no block of a table.
                let block = result.ok().and_then(|bytes| buf.get(..bytes)).unwrap_or_default();
                self.take(&mut search, token as usize, block, &mut sink);
                self.spares.push(buf);
            }
            self.events = events;
            if waited.is_err() {
                return search.give_up(&mut sink);
            }
        }
    }

    /// Begins look-ups, as many as may be under way.
    fn begin(
        &mut self,
        search: &mut Search<'_, '_, E>,
        sink: &mut impl FnMut(usize, Seen<'_>, u64),
    ) {
        while search.under_way < BLOCKS
            && let Some(sought) = search.sought.get(search.next)
        {
            let at = search.next;
            search.next += 1;
            let row_hash = row_hash(sought.key.entity_hash, sought.view);
            if sought.picture.is_marked(row_hash) {
                sink(at, Seen::Unknown, 0);
            } else {
                self.go_on(search, at, 0, 0, sink);
            }
        }
    }

    /// Reads the next table that may have a row, from that number on.
    fn go_on(
        &mut self,
        search: &mut Search<'_, '_, E>,
        at: usize,
        from: usize,
        blocks: u64,
        sink: &mut impl FnMut(usize, Seen<'_>, u64),
    ) {
        let Some(Sought { view, key, picture }) = search.sought.get(at) else { return };
        let Some((table, extent)) = picture.tree().next_run(from, *view, key.entity_hash) else {
            return sink(at, Seen::Absent, blocks);
        };
        let run = picture.tree().latest.get(table);
        let run = run.filter(|_| extent.bytes == PAGE_BYTES as u64);
        let (Some(run), Some(place)) = (run, search.places.get_mut(at)) else {
            return sink(at, Seen::Unknown, blocks);
        };
        *place = Some(Place { table, extent, blocks: blocks + 1 });
        let mut buf = self.spares.pop().unwrap_or_default();
        buf.resize(PAGE_BYTES, 0);
        self.reads.read(at as u64, run.table.file(), extent.offset_bytes, buf);
        search.under_way += 1;
    }

    /// Looks for a row in its block; goes on with the next table where it is not there.
    fn take(
        &mut self,
        search: &mut Search<'_, '_, E>,
        at: usize,
        block: &[u8],
        sink: &mut impl FnMut(usize, Seen<'_>, u64),
    ) {
        let place = search.places.get_mut(at).and_then(Option::take);
        let (Some(place), Some(sought)) = (place, search.sought.get(at)) else { return };
        let Place { table, extent, blocks } = place;
        let Some(run) = sought.picture.tree().latest.get(table) else { return };
        match run.table.search(extent, block, sought.key.bytes, &mut self.scratch) {
            // A stub is its shard's. So is a row that was compressed into a page: it may be too large to wait for its
            // shard, which alone makes it hot.
            Ok(Some(version)) if version.is_stub() || version.encoded_bytes() > PAGE_BYTES => {
                sink(at, Seen::Unknown, blocks);
            }
            Ok(Some(version)) => sink(at, Seen::Row(&version), blocks),
            Ok(None) => self.go_on(search, at, table + 1, blocks, sink),
            // Whoever keeps the books of damage reads it again.
            Err(_) => sink(at, Seen::Unknown, blocks),
        }
    }
}

impl<E: Env> Search<'_, '_, E> {
    /// Leaves everything that has not ended to the shards.
    fn give_up(&self, sink: &mut impl FnMut(usize, Seen<'_>, u64)) {
        let begun = self.places.iter().enumerate().filter_map(|(at, place)| Some((at, (*place)?)));
        begun.for_each(|(at, place)| sink(at, Seen::Unknown, place.blocks));
        (self.next..self.sought.len()).for_each(|at| sink(at, Seen::Unknown, 0));
    }
}
