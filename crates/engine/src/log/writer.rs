//! The log of one shard, as its owner writes it: non-blocking, driven by the shard's turn.

mod append;
mod drive;
mod free;
mod purge;

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use thermae_env::{AlignedBuf, Env, Event, Ring};
use thermae_formats::batch::{BATCH_ALIGN, BatchBuilder, BuildError, FINAL, ROLL, Seal};
use thermae_formats::manifest::{LogStart, SealedLog};
use thermae_formats::segment::SegmentHeader;

use super::flight::Flight;
use super::segments::{NextSegment, Segment};
use super::{LogFailure, LogOptions, TOKEN_MASK, TOKEN_SPACE};
use free::Starts;
use purge::Purge;

/// A batch write: the batch number is in the low bits.
const BATCH_TOKEN: u64 = TOKEN_SPACE | 1 << 48;
/// A sync of batches.
const SYNC_TOKEN: u64 = TOKEN_SPACE | 2 << 48;
/// A slice of the next segment.
const SLICE_TOKEN: u64 = TOKEN_SPACE | 3 << 48;
/// The sync of the next segment.
const NEXT_SYNC_TOKEN: u64 = TOKEN_SPACE | 4 << 48;
/// A change of the next segment's name.
const NEXT_NAME_TOKEN: u64 = TOKEN_SPACE | 5 << 48;
/// The removal of a segment that was given back: its number is in the low bits.
const REMOVE_TOKEN: u64 = TOKEN_SPACE | 6 << 48;
/// The part of a token that says which kind it is.
const KIND_MASK: u64 = TOKEN_MASK | 0xFF << 48;

/// How far a log is. Batches count from 1; 0 is none. `durable <= written <= assigned`, and each
/// only grows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Last batch that has a place.
    pub assigned: u64,
    /// It and all before it have completed their write: they survive a kill of the process.
    pub written: u64,
    /// It and all before it are on the device: they survive a power cut.
    pub durable: u64,
    /// Set once the log has failed: nothing moves any more, and every batch above `durable` is in
    /// doubt.
    pub failed: Option<Arc<LogFailure>>,
}

/// What a log has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Batches issued, of every kind.
    pub batches: u64,
    /// Batches without records that state the horizon.
    pub horizon_batches: u64,
    /// Records in issued batches.
    pub records: u64,
    /// Bytes of issued batches, with headers and padding.
    pub bytes: u64,
    /// Syncs of batches (synchronous writes are not counted).
    pub syncs: u64,
    /// Segments used.
    pub segments: u64,
    /// Segments whose files were given back.
    pub freed: u64,
    /// Segments made out of those.
    pub recycled: u64,
    /// Files removed because they may hold what was erased.
    pub purged: u64,
}

/// A disk completion of the ring, with a token of the log's.
#[derive(Debug)]
pub enum LogEvent {
    /// A write ended.
    Written {
        /// As given to the ring.
        token: u64,
        /// The buffer, for reuse.
        buf: AlignedBuf,
        /// Whole or failed.
        result: io::Result<()>,
    },
    /// A sync ended.
    Synced {
        /// As given to the ring.
        token: u64,
        /// How.
        result: io::Result<()>,
    },
    /// A change of names ended.
    Named {
        /// As given to the ring.
        token: u64,
        /// How.
        result: io::Result<()>,
    },
}

impl LogEvent {
    /// The event if it is the log's, or the event back.
    // The Err is the caller's own event, moved through, not an error to keep small.
    #[allow(clippy::result_large_err)]
    pub fn from_event(event: Event) -> Result<Self, Event> {
        match event {
            Event::Written { token, buf, result } if token & TOKEN_MASK == TOKEN_SPACE => {
                Ok(Self::Written { token, buf, result })
            }
            Event::Synced { token, result } if token & TOKEN_MASK == TOKEN_SPACE => {
                Ok(Self::Synced { token, result })
            }
            Event::Named { token, result } if token & TOKEN_MASK == TOKEN_SPACE => {
                Ok(Self::Named { token, result })
            }
            other => Err(other),
        }
    }
}

/// The batch that is being filled.
#[derive(Debug)]
struct Open {
    builder: BatchBuilder,
    buf: AlignedBuf,
    /// Largest size that still fits the segment it will go into.
    room: usize,
    /// It is the first of the next segment: the present one is closed before it.
    is_rolling: bool,
    is_durable: bool,
    is_submitted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopping {
    No,
    Asked,
    Final(u64),
    Done,
}

/// The log of one shard. See the module.
pub struct LogWriter<E: Env> {
    env: E,
    log_dir: PathBuf,
    options: LogOptions,
    /// Header of the present segment; `number` and `salt` differ in the next one.
    segment: Segment<E::File>,
    next: NextSegment<E::File>,
    /// Full segments with batches that are not durable yet, oldest first.
    retired: VecDeque<Segment<E::File>>,
    open: Open,
    spare_bufs: Vec<AlignedBuf>,
    flight: Flight,
    starts: Starts,
    chain: u64,
    next_record: u64,
    /// Greatest horizon that an issued batch states.
    stated_horizon: u64,
    /// Last batch that holds records.
    last_data: u64,
    last_issue_ns: u64,
    /// When the oldest batch that needs a sync was issued.
    unsynced_since_ns: Option<u64>,
    /// Files of this log that hold what was erased are removed; see [`LogWriter::purge`].
    purge: Option<Purge>,
    /// Removals under way of segments that were given back.
    removing: usize,
    /// Files that could not be removed.
    strays: Vec<PathBuf>,
    stopping: Stopping,
    failed: Option<Arc<LogFailure>>,
    stats: LogStats,
}

impl<E: Env> LogWriter<E> {
    /// A log that starts in `segment` (number 0, empty, durable); `strays` are files of older logs that
    /// would not go.
    pub(super) fn new(
        env: &E,
        log_dir: PathBuf,
        options: &LogOptions,
        segment: Segment<E::File>,
        strays: Vec<PathBuf>,
    ) -> Self {
        let header = &segment.header;
        let start = LogStart::first(&header.store_id, header.epoch, header.shard, header.salt);
        Self {
            env: env.clone(),
            log_dir,
            options: options.clone(),
            segment,
            next: NextSegment::idle(),
            retired: VecDeque::new(),
            open: Open::new(AlignedBuf::new()),
            spare_bufs: Vec::new(),
            flight: Flight::default(),
            starts: Starts::new(start),
            chain: start.chain,
            next_record: 0,
            stated_horizon: 0,
            last_data: 0,
            last_issue_ns: 0,
            unsynced_since_ns: None,
            purge: None,
            removing: 0,
            strays,
            stopping: Stopping::No,
            failed: None,
            stats: LogStats { segments: 1, ..LogStats::default() },
        }
    }

    /// How far the log is.
    pub fn progress(&self) -> Progress {
        Progress {
            assigned: self.flight.assigned(),
            written: self.flight.written(),
            durable: self.flight.durable(),
            failed: self.failed.clone(),
        }
    }

    /// Records appended and not yet on their way to the disk.
    pub fn open_records(&self) -> usize {
        self.open.builder.records() as usize
    }

    /// Number of the last batch that an appended record is in, or will be in: once it is durable, so
    /// is every record appended so far.
    pub fn last_batch(&self) -> u64 {
        match self.open.builder.records() {
            0 => self.flight.assigned(),
            _ => self.open_number(),
        }
    }

    /// The number that the open batch will have: closing a segment takes a batch before it.
    fn open_number(&self) -> u64 {
        self.flight.assigned() + 1 + u64::from(self.open.is_rolling)
    }

    /// Batch writes under way.
    pub fn in_flight(&self) -> usize {
        self.flight.in_flight()
    }

    /// What the log has done so far.
    pub const fn stats(&self) -> LogStats {
        self.stats
    }

    /// Whether the log was told to stop.
    pub fn is_stopping(&self) -> bool {
        self.stopping != Stopping::No
    }

    /// Whether a stop has come to its end, well or by failure: nothing more will be written.
    pub fn is_stopped(&self) -> bool {
        self.failed.is_some() || self.stopping == Stopping::Done
    }

    /// Where the log ended, once it has stopped well; for [`super::close_directory`].
    pub fn end(&self) -> Option<SealedLog> {
        (self.failed.is_none() && self.stopping == Stopping::Done).then(|| SealedLog {
            epoch: self.segment.header.epoch,
            shard: self.segment.header.shard,
            start: self.starts.named(),
            segments: self.segment.header.number + 1,
            end_offset: self.segment.end,
            batches: self.flight.assigned(),
            records: self.next_record,
            chain: self.chain,
        })
    }

    /// Bytes left for batches in the present segment; one block is kept for the roll.
    fn room(&self) -> u64 {
        room_in(&self.segment.header, self.segment.end)
    }

    fn fail(&mut self, file: PathBuf, offset: u64, what: &'static str, cause: String) {
        if self.failed.is_none() {
            self.failed = Some(Arc::new(LogFailure { file, offset, what, cause }));
        }
    }

    /// Seals a batch and hands it to the ring; it goes to the end of the present segment.
    fn issue(
        &mut self,
        ring: &mut E::Ring,
        builder: BatchBuilder,
        mut buf: AlignedBuf,
        flags: u32,
        is_durable: bool,
    ) {
        let horizon = self.flight.durable();
        let (number, is_sync) =
            self.flight.issue(self.segment.header.number, self.segment.end, is_durable);
        let records = builder.records();
        let seal = Seal {
            segment: &self.segment.header,
            offset: self.segment.end,
            flags,
            number,
            horizon,
            first_record: self.next_record,
            previous: self.chain,
        };
        let sealed = match builder.seal(&mut buf, &seal) {
            Ok(sealed) => sealed,
            // Cannot happen: appends keep the buffer as long as the batch. Not to be ignored either.
            Err(error) => return self.fail_build(&error),
        };
        buf.truncate(sealed.batch_bytes);
        let (offset, end) = (self.segment.end, self.segment.end + sealed.batch_bytes as u64);
        let keeps_roll =
            flags & ROLL != 0 || room_in(&self.segment.header, offset) >= buf.len() as u64;
        assert!(end <= self.segment.header.segment_bytes && keeps_roll, "a batch must fit");
        // Blocks are handed out once, in order: none at or below the durable horizon comes again.
        self.segment.end = end;
        self.chain = sealed.hash;
        self.next_record += u64::from(records);
        self.stated_horizon = horizon;
        self.last_issue_ns = self.env.monotonic_ns();
        if records > 0 {
            self.last_data = number;
        }
        if !is_sync && self.unsynced_since_ns.is_none() {
            self.unsynced_since_ns = Some(self.last_issue_ns);
        }
        self.stats.batches += 1;
        self.stats.horizon_batches += u64::from(records == 0 && flags & ROLL == 0);
        self.stats.records += u64::from(records);
        self.stats.bytes += sealed.batch_bytes as u64;
        ring.write(BATCH_TOKEN | number, &self.segment.file, offset, buf, is_sync);
    }

    /// Closes the present segment and goes on in the next one. Does nothing when that is not ready.
    fn roll(&mut self, ring: &mut E::Ring, is_durable: bool) {
        let Some(salt) = self.next.ready_salt() else { return };
        let mut buf = self.buffer();
        buf.resize(BATCH_ALIGN, 0);
        match BatchBuilder::roll(&mut buf, salt) {
            Ok(builder) => self.issue(ring, builder, buf, ROLL, is_durable),
            Err(error) => return self.fail_build(&error),
        }
        if let Some(next) = self.next.take() {
            self.starts.push(LogStart {
                segment: next.header.number,
                salt,
                batches: self.flight.assigned(),
                records: self.next_record,
                chain: self.chain,
            });
            self.retired.push_back(std::mem::replace(&mut self.segment, next));
            self.stats.segments += 1;
        }
    }

    /// Writes a batch without records.
    fn issue_empty(&mut self, ring: &mut E::Ring, flags: u32) {
        let mut buf = self.buffer();
        buf.resize(BATCH_ALIGN, 0);
        self.issue(ring, BatchBuilder::new(), buf, flags & FINAL, true);
    }

    fn fail_build(&mut self, error: &BuildError) {
        let (path, end) = (self.segment.path.clone(), self.segment.end);
        self.fail(path, end, "building a batch for", error.to_string());
    }

    fn buffer(&mut self) -> AlignedBuf {
        self.spare_bufs.pop().unwrap_or_default()
    }

    fn reuse(&mut self, mut buf: AlignedBuf) {
        if self.spare_bufs.len() < self.options.max_in_flight {
            buf.clear();
            self.spare_bufs.push(buf);
        }
    }
}

fn room_in(header: &SegmentHeader, end: u64) -> u64 {
    header.segment_bytes.saturating_sub(end + BATCH_ALIGN as u64)
}

impl Open {
    const fn new(buf: AlignedBuf) -> Self {
        Self {
            builder: BatchBuilder::new(),
            buf,
            room: 0,
            is_rolling: false,
            is_durable: false,
            is_submitted: false,
        }
    }
}
