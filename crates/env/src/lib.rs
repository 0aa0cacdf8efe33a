//! The only door to disk, network, clock and randomness.
//!
//! The engine and the server are written against [`Env`], [`File`] and [`Ring`] and never call the
//! operating system themselves. [`RealEnv`] runs them on one io_uring per core; [`SimEnv`] runs the
//! same code, unchanged, on a seeded simulated disk and clock.

mod aligned;
mod clock;
mod doorbell;
mod event;
mod real;
mod real_file;
mod sched;
mod sim;
mod thread;
mod traits;
mod uring;
mod uring_bufs;
mod uring_disk;
mod uring_net;
mod uring_queue;
mod uring_reader;
mod uring_send;
mod wake;

pub use aligned::AlignedBuf;
pub use event::{ConnId, Event, Received, Wait};
pub use real::{RealEnv, RealLock};
pub use real_file::RealFile;
pub use sched::{SHORTEST_TURNS, ask_for_turns_of, give_way, go_last, lower_priority};
pub use sim::{SimEnv, SimFile, SimLock, SimOp, SimReader, SimRing, SimWaker};
pub use thread::{available_cores, bind_tcp, bind_unix, pin_thread};
pub use traits::{DirEntry, Env, File, Listener, Mode, OpenHow, Reader, Ring, Stream, Wake};
pub use uring::UringRing;
pub use uring_reader::UringReader;
pub use wake::RingWaker;

/// Alignment, in bytes, of every direct read and write: buffer address, file offset and length.
pub const BLOCK_BYTES: usize = 4096;
