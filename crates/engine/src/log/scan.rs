//! Reading segments past the page cache: which batches verify, and where.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use thermae_env::{AlignedBuf, Env, File, OpenHow};
use thermae_formats::batch::{BATCH_ALIGN, BATCH_HEADER_BYTES, BatchError, BatchView, Unchecked};
use thermae_formats::manifest::LogStart;
use thermae_formats::segment::{SEGMENT_HEADER_BYTES, SegmentError, SegmentHeader, SegmentName};

use super::LogError;
use super::decide::{Found, Place};

/// Bytes read at once.
const WINDOW_BYTES: u64 = 1 << 20;
/// Where the first batch of a segment starts.
const FIRST: u64 = SEGMENT_HEADER_BYTES as u64;
const ALIGN: u64 = BATCH_ALIGN as u64;

/// A segment file whose header verifies and fits its name.
pub(super) struct SegmentFile<F> {
    pub(super) header: SegmentHeader,
    pub(super) path: PathBuf,
    pub(super) len: u64,
    file: F,
}

/// The segments of one log that are there, by number.
pub(super) type Segments<F> = BTreeMap<u32, SegmentFile<F>>;

/// Opens a segment and verifies its header against its name and the store.
///
/// `needed` is the length that it must have at least, or `None` for that in its header.
pub(super) fn open_segment<E: Env>(
    env: &E,
    log_dir: &Path,
    name: SegmentName,
    store_id: &[u8; 16],
    needed: Option<u64>,
) -> Result<SegmentFile<E::File>, LogError> {
    let path = log_dir.join(name.to_string());
    let file =
        env.open(&path, OpenHow::READ.direct()).map_err(|e| LogError::io("open", &path, e))?;
    let len = file.len_bytes().map_err(|e| LogError::io("measure", &path, e))?;
    let mut block = AlignedBuf::zeroed(SEGMENT_HEADER_BYTES);
    let read = file.read_at(&mut block, 0).map_err(|e| LogError::io("read", &path, e))?;
    block.truncate(read);
    let header = SegmentHeader::parse(&block).map_err(|error| match error {
        SegmentError::NewerVersion(_) => {
            LogError::NewerVersion { path: path.clone(), what: error.to_string() }
        }
        other => LogError::damaged(&path, 0, other),
    })?;
    if header.store_id != *store_id {
        return Err(LogError::Foreign { path });
    }
    if header.name() != name {
        let what = format!("the header says that this is {}", header.name());
        return Err(LogError::damaged(&path, 0, what));
    }
    let needed = needed.unwrap_or(header.segment_bytes);
    if len < needed || len > header.segment_bytes || !len.is_multiple_of(ALIGN) {
        let what = format!("the file has {len} bytes, it should have {needed}");
        return Err(LogError::damaged(&path, len, what));
    }
    Ok(SegmentFile { header, path, len, file })
}

/// A piece of a segment in memory.
struct Window {
    buf: AlignedBuf,
    segment: Option<u32>,
    start: u64,
}

impl Window {
    const fn new() -> Self {
        Self { buf: AlignedBuf::new(), segment: None, start: 0 }
    }

    /// The bytes from `offset` on: at least `needed`, or all that the file has.
    fn bytes<F: File>(
        &mut self,
        segment: &SegmentFile<F>,
        offset: u64,
        needed: u64,
    ) -> Result<&[u8], LogError> {
        let end = (offset + needed).min(segment.len);
        let has = self.start + self.buf.len() as u64;
        let is_here =
            self.segment == Some(segment.header.number) && offset >= self.start && end <= has;
        if !is_here {
            let want = needed.max(WINDOW_BYTES).next_multiple_of(ALIGN).min(segment.len - offset);
            self.segment = None;
            self.buf.clear();
            self.buf.resize(want as usize, 0);
            let read = segment
                .file
                .read_at(&mut self.buf, offset)
                .map_err(|e| LogError::io("read", &segment.path, e))?;
            if (read as u64) < want {
                let at = offset + read as u64;
                return Err(LogError::damaged(&segment.path, at, "the file became shorter"));
            }
            (self.segment, self.start) = (Some(segment.header.number), offset);
        }
        Ok(&self.buf[(offset - self.start) as usize..])
    }

    /// The batch at `offset`, if one verifies there.
    fn batch<F: File>(
        &mut self,
        segment: &SegmentFile<F>,
        offset: u64,
    ) -> Result<Result<BatchView<'_>, BatchError>, LogError> {
        let bytes = self.bytes(segment, offset, BATCH_HEADER_BYTES as u64)?;
        let header = match Unchecked::new(bytes).header(&segment.header, offset) {
            Ok(header) => header,
            Err(BatchError::NewerVersion(version)) => {
                let what = format!("batch format version {version} at byte {offset}");
                return Err(LogError::NewerVersion { path: segment.path.clone(), what });
            }
            Err(error) => return Ok(Err(error)),
        };
        let bytes = self.bytes(segment, offset, u64::from(header.batch_bytes))?;
        Ok(BatchView::parse_body(header, Unchecked::new(bytes)))
    }
}

/// How far the unbroken chain of a log has been followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chain {
    /// Where the next batch should be.
    pub(super) place: Place,
    /// Number of the last batch.
    pub(super) last: u64,
    /// Records up to it.
    pub(super) records: u64,
    /// Its hash.
    pub(super) hash: u64,
    /// The horizon that it states.
    pub(super) horizon: u64,
    /// Its flags.
    pub(super) flags: u32,
    /// Bytes of all batches.
    pub(super) bytes: u64,
    /// Salt that the present segment must have; none when nothing names it.
    salt: Option<u64>,
}

impl Chain {
    /// Nothing yet of a log that begins at `start`.
    pub(super) const fn start(start: &LogStart) -> Self {
        Self {
            place: Place { segment: start.segment, offset: FIRST },
            last: start.batches,
            records: start.records,
            hash: start.chain,
            horizon: 0,
            flags: 0,
            bytes: 0,
            salt: Some(start.salt),
        }
    }

    /// What of `view` does not continue the chain, if anything.
    fn mismatch(&self, view: &BatchView<'_>) -> Option<&'static str> {
        let header = view.header();
        if header.number != self.last + 1 {
            Some("number")
        } else if header.previous != self.hash {
            Some("previous hash")
        } else if header.first_record != self.records {
            Some("first record")
        } else if header.horizon < self.horizon {
            Some("horizon")
        } else {
            None
        }
    }

    fn advance(&mut self, view: &BatchView<'_>) {
        let header = view.header();
        self.last = header.number;
        self.records += u64::from(header.records);
        self.hash = header.hash;
        self.horizon = header.horizon;
        self.flags = header.flags;
        self.bytes += u64::from(header.batch_bytes);
        self.place.offset += u64::from(header.batch_bytes);
        self.salt = None;
        if let Some(salt) = view.next_salt() {
            self.place = Place { segment: self.place.segment + 1, offset: FIRST };
            self.salt = Some(salt);
        }
    }
}

/// Follows the chain from its start, through at most batch `limit`, giving each batch to `visit`.
/// Returns how far it came and, when that is not to the limit, what was found there.
pub(super) fn follow<F: File>(
    segments: &Segments<F>,
    mut chain: Chain,
    limit: u64,
    visit: &mut dyn FnMut(&BatchView<'_>) -> Result<(), LogError>,
) -> Result<(Chain, Option<Found>), LogError> {
    let mut window = Window::new();
    while chain.last < limit {
        let Place { segment, offset } = chain.place;
        let Some(segment) = segments.get(&segment) else {
            return Ok((chain, Some(Found::NoSegment)));
        };
        if chain.salt.is_some_and(|salt| salt != segment.header.salt) {
            let what = "the salt is not the one that the log names for this segment";
            return Err(LogError::damaged(&segment.path, 40, what));
        }
        if offset >= segment.len {
            return Ok((chain, Some(Found::FileEnd)));
        }
        let view = match window.batch(segment, offset)? {
            Ok(view) => view,
            Err(error) => return Ok((chain, Some(Found::NoBatch(error)))),
        };
        if let Some(what) = chain.mismatch(&view) {
            return Ok((chain, Some(Found::Unchained(what))));
        }
        visit(&view)?;
        chain.advance(&view);
    }
    Ok((chain, None))
}

/// Gives every batch that verifies at or behind `from` to `visit`, in the order of their places,
/// until that returns false.
pub(super) fn search<F: File>(
    segments: &Segments<F>,
    from: Place,
    visit: &mut dyn FnMut(&BatchView<'_>, Place) -> Result<bool, LogError>,
) -> Result<(), LogError> {
    let mut window = Window::new();
    for (&number, segment) in segments.range(from.segment..) {
        let mut offset = if number == from.segment { from.offset } else { FIRST };
        while offset < segment.len {
            let step = match window.batch(segment, offset)? {
                Ok(view) => {
                    if !visit(&view, Place { segment: number, offset })? {
                        return Ok(());
                    }
                    u64::from(view.header().batch_bytes)
                }
                Err(_) => ALIGN,
            };
            offset += step;
        }
    }
    Ok(())
}
