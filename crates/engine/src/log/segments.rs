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

/// The segment after the present one, made through the ring while the shard serves. Its names change
/// there, too: a file system may keep a rename or the sync of a directory waiting for many
/// milliseconds.
#[derive(Debug)]
pub(super) struct NextSegment<F> {
    state: State<F>,
}

#[derive(Debug)]
enum State<F> {
    Idle,
    /// A spare file gets the temporary name, durably: or a power cut might leave the new header under
    /// the old name.
    Taking {
        header: SegmentHeader,
        path: PathBuf,
        is_renamed: bool,
    },
    Making {
        segment: Segment<F>,
        step: Step,
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

/// What is under way for an open file, in this order.
#[derive(Debug)]
enum Step {
    /// Bytes to fill: all of a new file, the header of one that is used again.
    Filling {
        filled: u64,
        needed: u64,
    },
    Syncing,
    Renaming,
    SyncingName,
}

/// Which segment to make, and of what.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) header: SegmentHeader,
    /// A segment of the same length that no durable manifest needs any more. Nothing in it is erased:
    /// the new salt makes it unreadable.
    pub(super) spare: Option<PathBuf>,
}

/// Ring tokens for the three kinds of operation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tokens {
    pub(super) write: u64,
    pub(super) sync: u64,
    pub(super) name: u64,
}

/// What a segment is made with.
pub(super) struct Tools<'a, E: Env> {
    pub(super) env: &'a E,
    pub(super) log_dir: &'a Path,
    pub(super) ring: &'a mut E::Ring,
    pub(super) tokens: Tokens,
    /// When to try again what fails now.
    pub(super) retry_at_ns: u64,
}

impl<F: File> NextSegment<F> {
    pub(super) const fn idle() -> Self {
        Self { state: State::Idle }
    }

    pub(super) const fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready(_))
    }

    pub(super) const fn is_making(&self) -> bool {
        matches!(self.state, State::Taking { .. } | State::Making { .. })
    }

    /// Whether making should be started (or started again).
    pub(super) const fn is_due(&self, now_ns: u64) -> bool {
        match &self.state {
            State::Idle => true,
            State::Blocked { retry_at_ns, .. } => now_ns >= *retry_at_ns,
            State::Taking { .. } | State::Making { .. } | State::Ready(_) => false,
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
    pub(super) fn start<E: Env<File = F>>(&mut self, order: Order, mut tools: Tools<'_, E>) {
        let Order { header, spare } = order;
        let path = path_of(tools.log_dir, &header);
        let making = temporary(&path);
        // Left over from an attempt that failed: neither was ever written to by the log.
        let cleared =
            [&making, &path].into_iter().try_for_each(|stale| match tools.env.exists(stale)? {
                true => tools.env.remove(stale),
                false => Ok(()),
            });
        match (cleared, spare) {
            (Err(error), _) => self.block(&path, header.segment_bytes, &error, tools.retry_at_ns),
            (Ok(()), Some(spare)) => {
                tools.ring.rename(tools.tokens.name, &spare, &making);
                self.state = State::Taking { header, path, is_renamed: false };
            }
            (Ok(()), None) => {
                self.fill(header, path, OpenHow::CREATE, header.segment_bytes, &mut tools);
            }
        }
    }

    /// Opens the file and writes its first slice.
    fn fill<E: Env<File = F>>(
        &mut self,
        header: SegmentHeader,
        path: PathBuf,
        how: OpenHow,
        needed: u64,
        tools: &mut Tools<'_, E>,
    ) {
        match tools.env.open(&temporary(&path), how.direct()) {
            Ok(file) => {
                let segment = Segment::new(header, file, path);
                let mut buf = AlignedBuf::zeroed(SLICE_BYTES.min(needed) as usize);
                buf[..SEGMENT_HEADER_BYTES].copy_from_slice(&header.to_bytes());
                tools.ring.write(tools.tokens.write, &segment.file, 0, buf, false);
                self.state = State::Making { segment, step: Step::Filling { filled: 0, needed } };
            }
            Err(error) => self.block(&path, header.segment_bytes, &error, tools.retry_at_ns),
        }
    }

    /// A slice was written: writes the next one, or syncs the whole file.
    pub(super) fn on_written<E: Env<File = F>>(
        &mut self,
        mut buf: AlignedBuf,
        result: io::Result<()>,
        tools: Tools<'_, E>,
    ) {
        let State::Making { segment, step } = &mut self.state else { return };
        let Step::Filling { filled, needed } = step else { return };
        if let Err(error) = result {
            return self.give_up(&error, &tools);
        }
        if *filled == 0 {
            buf[..SEGMENT_HEADER_BYTES].fill(0);
        }
        *filled += buf.len() as u64;
        let left = *needed - *filled;
        if left == 0 {
            *step = Step::Syncing;
            tools.ring.sync(tools.tokens.sync, &segment.file);
        } else {
            buf.truncate(left.min(SLICE_BYTES) as usize);
            tools.ring.write(tools.tokens.write, &segment.file, *filled, buf, false);
        }
    }

    /// The file was synced: gives it its name.
    pub(super) fn on_synced<E: Env<File = F>>(
        &mut self,
        result: io::Result<()>,
        tools: Tools<'_, E>,
    ) {
        let State::Making { segment, step: step @ Step::Syncing } = &mut self.state else { return };
        match result {
            Ok(()) => {
                *step = Step::Renaming;
                tools.ring.rename(tools.tokens.name, &temporary(&segment.path), &segment.path);
            }
            Err(error) => self.give_up(&error, &tools),
        }
    }

    /// A name was changed, or is durable.
    pub(super) fn on_named<E: Env<File = F>>(
        &mut self,
        result: io::Result<()>,
        mut tools: Tools<'_, E>,
    ) {
        if let Err(error) = result {
            return self.give_up(&error, &tools);
        }
        match &mut self.state {
            State::Taking { is_renamed: is_done @ false, .. } => {
                *is_done = true;
                tools.ring.sync_dir(tools.tokens.name, tools.log_dir);
            }
            State::Taking { header, path, is_renamed: true } => {
                let (header, path) = (*header, std::mem::take(path));
                self.fill(header, path, OpenHow::WRITE, SEGMENT_HEADER_BYTES as u64, &mut tools);
            }
            State::Making { step: step @ Step::Renaming, .. } => {
                *step = Step::SyncingName;
                tools.ring.sync_dir(tools.tokens.name, tools.log_dir);
            }
            State::Making { segment, step: Step::SyncingName } => {
                self.state = State::Ready(segment.clone());
            }
            _ => {}
        }
    }

    /// Nothing of the file was used: another one is made later.
    fn give_up<E: Env<File = F>>(&mut self, error: &io::Error, tools: &Tools<'_, E>) {
        let (header, path) = match &self.state {
            State::Taking { header, path, .. } => (header, path),
            State::Making { segment, .. } => (&segment.header, &segment.path),
            _ => return,
        };
        let (path, bytes) = (path.clone(), header.segment_bytes);
        // Best effort, so that the half-made file does not keep the disk full.
        let _ = tools.env.remove(&temporary(&path));
        self.block(&path, bytes, error, tools.retry_at_ns);
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
