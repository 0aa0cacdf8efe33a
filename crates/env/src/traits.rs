//! The seam: everything that the engine asks of the operating system.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use crate::{AlignedBuf, ConnId, Event, Received, Wait};

/// Clock, randomness and the blocking file system; and the maker of rings.
///
/// The blocking calls are for opening, recovery, verification and the manifest; a shard that serves
/// uses its [`Ring`], for names too: a rename waits for the journal of the file system. Errors are plain `io::Error`s; the caller knows the path and the purpose and
/// adds them.
pub trait Env: Clone + Send + Sync + 'static {
    /// An open file.
    type File: File;
    /// One completion ring, used by one thread.
    type Ring: Ring<File = Self::File>;
    /// Reads several places at a time for a thread that has no ring.
    type Reader: Reader<File = Self::File>;
    /// Holds an exclusive lock until dropped.
    type Lock: Send + Sync + 'static;

    /// Wall clock, microseconds UTC. May jump.
    fn now_us(&self) -> i64;
    /// Monotonic clock, nanoseconds since some fixed point.
    fn monotonic_ns(&self) -> u64;
    /// 64 random bits (not for secrets in a simulation: seeded there).
    fn random_u64(&self) -> u64;

    /// Creates `path` and its missing parents and makes each new entry durable.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Names and lengths of the regular files and directories in `path`, sorted by name.
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>>;
    /// Opens a file. `NotFound` for a missing one, `AlreadyExists` for `Mode::Create` over one.
    fn open(&self, path: &Path, how: OpenHow) -> io::Result<Self::File>;
    /// Renames a file, replacing `to`. Durable only after [`Env::sync_dir`] of both directories.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file. Durable only after [`Env::sync_dir`].
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes creations, renames and removals in directory `path` durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Whether a file or directory of that name exists.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Takes the exclusive advisory lock of the file `path`, creating it. `WouldBlock` when another
    /// process (or another holder in this one) has it.
    fn lock(&self, path: &Path) -> io::Result<Self::Lock>;
    /// Bytes that an unprivileged writer may still allocate on the file system of `path`.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;

    /// A new ring. Create it on the thread that will use it.
    fn ring(&self) -> io::Result<Self::Ring>;
    /// A new reader, for any one thread at a time.
    fn reader(&self) -> io::Result<Self::Reader>;
}

/// How to open a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenHow {
    /// Existing or new, readable or writable.
    pub mode: Mode,
    /// Past the page cache: addresses, offsets and lengths must be multiples of `BLOCK_BYTES`.
    pub direct: bool,
    /// Every write (blocking or on a ring) is durable when it completes.
    pub dsync: bool,
}

impl OpenHow {
    /// An existing file, to be read through the page cache.
    pub const READ: Self = Self { mode: Mode::Read, direct: false, dsync: false };
    /// An existing file, to be read and written through the page cache.
    pub const WRITE: Self = Self { mode: Mode::Write, direct: false, dsync: false };
    /// A new file, to be read and written through the page cache.
    pub const CREATE: Self = Self { mode: Mode::Create, direct: false, dsync: false };

    /// The same, past the page cache.
    pub const fn direct(self) -> Self {
        Self { direct: true, ..self }
    }

    /// The same, each write durable when it completes.
    pub const fn dsync(self) -> Self {
        Self { dsync: true, ..self }
    }
}

/// Which files may be opened, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// An existing file, read only.
    Read,
    /// An existing file, read and write.
    Write,
    /// A file that must not exist yet, read and write.
    Create,
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// File name; entries whose name is not UTF-8 are reported lossily, so that they are noticed.
    pub name: String,
    /// Length of a regular file; 0 for a directory.
    pub len_bytes: u64,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// A cheap handle of an open file; closed with its last clone.
pub trait File: Clone + Send + Sync + 'static {
    /// Reads until `buf` is full or the file ends; returns the bytes read.
    fn read_at(&self, buf: &mut [u8], offset_bytes: u64) -> io::Result<usize>;
    /// Writes all of `buf`.
    fn write_all_at(&self, buf: &[u8], offset_bytes: u64) -> io::Result<()>;
    /// Makes all completed writes durable. A failure is final: the data may be gone and the next
    /// call may report success over nothing.
    fn sync_data(&self) -> io::Result<()>;
    /// The same file, to be read through the page cache: for whoever reads much of it, in order, and perhaps soon
    /// again. It stays readable as this handle does, whatever becomes of the name.
    fn through_cache(&self) -> io::Result<Self>;
    /// Current length.
    fn len_bytes(&self) -> io::Result<u64>;
    /// Makes the file `len_bytes` long with every block really allocated and written with zeroes
    /// past its present end, so that later writes need neither allocation nor metadata. Not yet
    /// durable: call [`File::sync_data`].
    fn allocate(&self, len_bytes: u64) -> io::Result<()>;
    /// Makes the file at most `len_bytes` long. Not yet durable: call [`File::sync_data`].
    fn truncate(&self, len_bytes: u64) -> io::Result<()>;
}

/// Reads of a thread that has no ring: several at a time, and waited for.
pub trait Reader: Send + 'static {
    /// As in `Env`.
    type File: File;

    /// As [`Ring::read`].
    fn read(&mut self, token: u64, file: &Self::File, offset_bytes: u64, buf: AlignedBuf);
    /// Waits until `least` of the reads under way have ended, or all where there are fewer, and appends an
    /// `Event::Read` of each that has. An error means that the reader is unusable: what is under way has no event.
    fn wait(&mut self, least: usize, events: &mut Vec<Event>) -> io::Result<()>;
}

/// Wakes a ring from another thread.
pub trait Wake: Clone + Send + Sync + 'static {
    /// Makes the present or next `Ring::turn` return with `Event::Woken`. Cheap when the ring's
    /// thread is already awake.
    fn wake(&self);
}

/// A listening socket, bound by the caller.
#[derive(Debug)]
pub enum Listener {
    /// TCP; accepted connections get `TCP_NODELAY`.
    Tcp(TcpListener),
    /// Unix stream socket.
    Unix(UnixListener),
}

/// A connected socket.
#[derive(Debug)]
pub enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// Unix stream socket.
    Unix(UnixStream),
}

/// Disk and network of one thread, as submit and complete.
///
/// Submissions are queued and go to the kernel together in [`Ring::turn`]; they never fail at
/// submission, only by their event. Buffers belong to the ring until their event.
pub trait Ring: Sized + 'static {
    /// As in `Env`.
    type File: File;
    /// Handle for other threads.
    type Waker: Wake;

    /// Writes all of `buf`; with `sync` the data is durable when `Event::Written` says Ok. Writes
    /// that are in flight together are unordered.
    fn write(
        &mut self,
        token: u64,
        file: &Self::File,
        offset_bytes: u64,
        buf: AlignedBuf,
        sync: bool,
    );
    /// Makes the completed writes of `file` durable; ends with `Event::Synced`.
    fn sync(&mut self, token: u64, file: &Self::File);
    /// Reads `buf.len()` bytes; ends with `Event::Read`.
    fn read(&mut self, token: u64, file: &Self::File, offset_bytes: u64, buf: AlignedBuf);
    /// As [`Env::rename`], without waiting; ends with `Event::Named`. Changes of names that are in
    /// flight together are unordered.
    fn rename(&mut self, token: u64, from: &Path, to: &Path);
    /// As [`Env::remove`], without waiting; ends with `Event::Named`.
    fn remove(&mut self, token: u64, path: &Path);
    /// As [`Env::sync_dir`] of the changes that have completed, without waiting; ends with
    /// `Event::Named`.
    fn sync_dir(&mut self, token: u64, dir: &Path);

    /// Accepts connections from `listener` from now on; returns its number for `Event::Accepted`.
    fn listen(&mut self, listener: Listener) -> usize;
    /// Takes over a connected socket and receives from it from now on.
    fn adopt(&mut self, stream: Stream) -> ConnId;
    /// Queues `buf` after what was queued on `conn` before, to leave in the next turn together with
    /// the rest; ends with `Event::Sent`. On a stale `conn` the buffer is dropped without an event.
    fn send(&mut self, conn: ConnId, buf: Vec<u8>);
    /// As [`Ring::send`], with descriptors attached to the first byte. Unix sockets only: elsewhere
    /// the send fails with `InvalidInput`. At most 253 descriptors; `buf` must not be empty.
    fn send_with_fds(&mut self, conn: ConnId, buf: Vec<u8>, fds: Vec<OwnedFd>);
    /// Bytes queued on `conn` and not yet taken by the kernel; 0 for a stale one.
    fn queued_bytes(&self, conn: ConnId) -> usize;
    /// Stops receiving. What the kernel had already delivered may still come as `Received`.
    fn pause(&mut self, conn: ConnId);
    /// Receives again.
    fn resume(&mut self, conn: ConnId);
    /// Drops the connection: sends that do not fit into the socket at once end with an error, then
    /// `Event::Closed` comes. To be sure of a long last answer, close after its `Event::Sent`.
    fn close(&mut self, conn: ConnId);
    /// Gives the memory of received bytes back to the ring.
    fn recycle(&mut self, _data: Received) {}

    /// One round: submits what was queued, waits as told if nothing is ready, appends what
    /// completed to `events`; it may return without any. An error means that the ring itself is
    /// unusable.
    fn turn(&mut self, wait: Wait, events: &mut Vec<Event>) -> io::Result<()>;
    /// A handle that wakes this ring.
    fn waker(&self) -> Self::Waker;
}
