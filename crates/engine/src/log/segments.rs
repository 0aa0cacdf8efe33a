//! Making segment files: whole, synced and named before any batch goes into them.

use std::io;
use std::path::{Path, PathBuf};

use thermae_env::{AlignedBuf, Env, File, OpenHow, Ring};
use thermae_formats::segment::{SEGMENT_HEADER_BYTES, SegmentHeader};

use super::error::is_disk_full;
use super::{AppendError, LogError};

/// Bytes of one write while a segment is being filled with zeroes ahead of its use.
const SLICE_BYTES: u64 = 256 << 10;

/// A segment file that is ready for batches.
#[derive(Clone, Debug)]
pub(super) struct Segment<F> {
    pub(super) header: SegmentHeader,
    pub(super) file: F,
    pub(super) path: PathBuf,
    /// Where the next batch goes.
    pub(super) end: u64,
}

impl<F> Segment<F> {
    fn new(header: SegmentHeader, file: F, path: PathBuf) -> Self {
        Self { header, file, path, end: SEGMENT_HEADER_BYTES as u64 }
    }
}

/// Path of a segment in the log directory.
pub(super) fn path_of(log_dir: &Path, header: &SegmentHeader) -> PathBuf {
    log_dir.join(header.name().to_string())
}

/// The name that a file has while it is being made.
pub(super) fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    PathBuf::from(name)
}

/// Makes a segment with blocking calls. The caller syncs the directory before it uses it.
pub(super) fn make<E: Env>(
    env: &E,
    log_dir: &Path,
    header: SegmentHeader,
) -> Result<Segment<E::File>, LogError> {
    let path = path_of(log_dir, &header);
    let making = temporary(&path);
    let made = fill(env, &making, &header).and_then(|file| {
        env.rename(&making, &path)?;
        Ok(file)
    });
    match made {
        Ok(file) => Ok(Segment::new(header, file, path)),
        Err(error) => {
            // Best effort: the next open removes it too.
            let _ = env.remove(&making);
            Err(match is_disk_full(&error) {
                true => LogError::DiskFull { path, needed_bytes: header.segment_bytes },
                false => LogError::io("make", &path, error),
            })
        }
    }
}

fn fill<E: Env>(env: &E, making: &Path, header: &SegmentHeader) -> io::Result<E::File> {
    let file = env.open(making, OpenHow::CREATE.direct())?;
    file.allocate(header.segment_bytes)?;
    file.write_all_at(&AlignedBuf::from(&header.to_bytes()[..]), 0)?;
    file.sync_data()?;
    Ok(file)
}

/// The segment after the present one, made through the ring in slices while the shard serves.
#[derive(Debug)]
pub(super) struct NextSegment<F> {
    state: State<F>,
}

#[derive(Debug)]
enum State<F> {
    Idle,
    Making {
        segment: Segment<F>,
        filled: u64,
        /// Bytes to fill: all of a new file, the header of one that is used again.
        needed: u64,
        is_syncing: bool,
    },
    Ready(Segment<F>),
    /// Could not be made; tried again at `retry_at_ns`.
    Blocked {
        path: PathBuf,
        needed_bytes: u64,
        is_disk_full: bool,
        what: String,
        retry_at_ns: u64,
    },
}

/// Which segment to make, and of what.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) header: SegmentHeader,
    /// A segment of the same length that no durable manifest needs any more. Nothing in it is erased:
    /// the new salt makes it unreadable.
    pub(super) spare: Option<PathBuf>,
}

/// Ring tokens for the two kinds of operation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tokens {
    pub(super) write: u64,
    pub(super) sync: u64,
}

impl<F: File> NextSegment<F> {
    pub(super) const fn idle() -> Self {
        Self { state: State::Idle }
    }

    pub(super) const fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready(_))
    }

    pub(super) const fn is_making(&self) -> bool {
        matches!(self.state, State::Making { .. })
    }

    /// Whether making should be started (or started again).
    pub(super) const fn is_due(&self, now_ns: u64) -> bool {
        match &self.state {
            State::Idle => true,
            State::Blocked { retry_at_ns, .. } => now_ns >= *retry_at_ns,
            State::Making { .. } | State::Ready(_) => false,
        }
    }

    pub(super) const fn retry_at_ns(&self) -> Option<u64> {
        match &self.state {
            State::Blocked { retry_at_ns, .. } => Some(*retry_at_ns),
            _ => None,
        }
    }

    pub(super) const fn is_blocked(&self) -> bool {
        matches!(self.state, State::Blocked { .. })
    }

    /// What an append that needs the segment is told.
    pub(super) fn refusal(&self) -> AppendError {
        match &self.state {
            State::Blocked { path, needed_bytes, is_disk_full: true, .. } => {
                AppendError::DiskFull { path: path.clone(), needed_bytes: *needed_bytes }
            }
            State::Blocked { path, what, .. } => {
                AppendError::NoSegment { path: path.clone(), what: what.clone() }
            }
            _ => AppendError::NotReady,
        }
    }

    /// Takes the ready segment for use.
    pub(super) fn take(&mut self) -> Option<Segment<F>> {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Ready(segment) => Some(segment),
            other => {
                self.state = other;
                None
            }
        }
    }

    /// Salt of the ready segment.
    pub(super) const fn ready_salt(&self) -> Option<u64> {
        match &self.state {
            State::Ready(segment) => Some(segment.header.salt),
            _ => None,
        }
    }

    /// Starts making a segment.
    pub(super) fn start<E: Env<File = F>>(
        &mut self,
        env: &E,
        log_dir: &Path,
        Order { header, spare }: Order,
        ring: &mut E::Ring,
        tokens: Tokens,
        retry_at_ns: u64,
    ) {
        let path = path_of(log_dir, &header);
        let making = temporary(&path);
        let created = (|| {
            // Left over from an attempt that failed: neither was ever written to by the log.
            for stale in [&making, &path] {
                if env.exists(stale)? {
                    env.remove(stale)?;
                }
            }
            let Some(spare) = &spare else { return env.open(&making, OpenHow::CREATE.direct()) };
            env.rename(spare, &making)?;
            // Or a power cut might leave the new header under the old name.
            env.sync_dir(log_dir)?;
            env.open(&making, OpenHow::WRITE.direct())
        })();
        let needed = match spare {
            Some(_) => SEGMENT_HEADER_BYTES as u64,
            None => header.segment_bytes,
        };
        match created {
            Ok(file) => {
                let segment = Segment::new(header, file, path);
                let mut buf = AlignedBuf::zeroed(SLICE_BYTES.min(needed) as usize);
                buf[..SEGMENT_HEADER_BYTES].copy_from_slice(&header.to_bytes());
                ring.write(tokens.write, &segment.file, 0, buf, false);
                self.state = State::Making { segment, filled: 0, needed, is_syncing: false };
            }
            Err(error) => self.block(&path, header.segment_bytes, &error, retry_at_ns),
        }
    }

    /// A slice was written: writes the next one, or syncs the whole file.
    pub(super) fn on_written<E: Env<File = F>>(
        &mut self,
        env: &E,
        mut buf: AlignedBuf,
        result: io::Result<()>,
        ring: &mut E::Ring,
        tokens: Tokens,
        retry_at_ns: u64,
    ) {
        let State::Making { segment, filled, needed, is_syncing } = &mut self.state else { return };
        if let Err(error) = result {
            return self.give_up(env, &error, retry_at_ns);
        }
        if *filled == 0 {
            buf[..SEGMENT_HEADER_BYTES].fill(0);
        }
        *filled += buf.len() as u64;
        let left = *needed - *filled;
        if left == 0 {
            *is_syncing = true;
            ring.sync(tokens.sync, &segment.file);
        } else {
            buf.truncate(left.min(SLICE_BYTES) as usize);
            ring.write(tokens.write, &segment.file, *filled, buf, false);
        }
    }

    /// The file was synced: gives it its name.
    pub(super) fn on_synced<E: Env<File = F>>(
        &mut self,
        env: &E,
        log_dir: &Path,
        result: io::Result<()>,
        retry_at_ns: u64,
    ) {
        let State::Making { segment, is_syncing: true, .. } = &self.state else { return };
        let named = result
            .and_then(|()| env.rename(&temporary(&segment.path), &segment.path))
            .and_then(|()| env.sync_dir(log_dir));
        match named {
            Ok(()) => self.state = State::Ready(segment.clone()),
            Err(error) => self.give_up(env, &error, retry_at_ns),
        }
    }

    /// Nothing of the file was used: another one is made later.
    fn give_up<E: Env<File = F>>(&mut self, env: &E, error: &io::Error, retry_at_ns: u64) {
        let State::Making { segment, .. } = &self.state else { return };
        let (path, bytes) = (segment.path.clone(), segment.header.segment_bytes);
        // Best effort, so that the half-made file does not keep the disk full.
        let _ = env.remove(&temporary(&path));
        self.block(&path, bytes, error, retry_at_ns);
    }

    fn block(&mut self, path: &Path, needed_bytes: u64, error: &io::Error, retry_at_ns: u64) {
        self.state = State::Blocked {
            path: path.to_owned(),
            needed_bytes,
            is_disk_full: is_disk_full(error),
            what: error.to_string(),
            retry_at_ns,
        };
    }
}
