//! The simulated ring: disk operations that complete late and out of order; no network.

use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::disk::Disk;
use super::file::SimFile;
use super::{SimEnv, SimOp, State, crashed};
use crate::{AlignedBuf, ConnId, Event, Listener, Ring, Stream, Wait, Wake};

/// Virtual time that a turn costs, so that polling makes progress.
const TURN_NS: u64 = 1_000;

#[derive(Debug)]
enum Action {
    Write { file: SimFile, offset: u64, buf: AlignedBuf, sync: bool },
    Read { file: SimFile, offset: u64, buf: AlignedBuf },
    Sync { file: SimFile, mark: u64 },
    Name(Naming),
}

/// A change of names, or what makes those of a directory durable.
#[derive(Debug)]
enum Naming {
    Rename { from: PathBuf, to: PathBuf },
    Remove { path: PathBuf },
    SyncDir { dir: PathBuf },
}

/// A submitted disk operation.
#[derive(Debug)]
pub(super) struct InFlight {
    ring: u64,
    token: u64,
    due_ns: u64,
    /// Breaks ties between equal times.
    order: u64,
    action: Action,
}

/// One thread's ring on the simulated machine.
///
/// Operations complete in the order of a seeded delay. `turn` with `Wait::Until` moves the virtual
/// clock to the next completion or to the deadline; with `Wait::Forever` and nothing in flight it
/// returns at once, because in a single thread nothing could ever happen. Sockets are not simulated:
/// connections close at once and sends are dropped.
#[derive(Debug)]
pub struct SimRing {
    env: SimEnv,
    id: u64,
    woken: Arc<AtomicBool>,
    listeners: usize,
    connections: u32,
    closed: Vec<ConnId>,
}

impl SimRing {
    pub(super) fn new(env: SimEnv) -> Self {
        let id = {
            let mut state = env.state();
            state.next_ring += 1;
            state.next_ring
        };
        let woken = Arc::new(AtomicBool::new(false));
        Self { env, id, woken, listeners: 0, connections: 0, closed: Vec::new() }
    }

    fn submit(&self, token: u64, action: Action) {
        let mut state = self.env.state();
        let (least, most) = state.delay_us;
        let delay_us = least + state.rng.below(most - least + 1);
        let due_ns = state.clock_ns + delay_us * 1000 + state.rng.below(1000);
        state.next_submission += 1;
        let order = state.next_submission;
        state.in_flight.push(InFlight { ring: self.id, token, due_ns, order, action });
    }
}

impl State {
    /// Completes what is due on `ring`; stops early when the machine does.
    fn complete_due(&mut self, ring: u64, events: &mut Vec<Event>) {
        while let Some(i) =
            self.next_due(ring).filter(|&i| self.in_flight[i].due_ns <= self.clock_ns)
        {
            let op = self.in_flight.swap_remove(i);
            match self.complete(op) {
                Ok(event) => events.push(event),
                Err(op) => {
                    self.in_flight.push(op);
                    return;
                }
            }
        }
    }

    fn next_due(&self, ring: u64) -> Option<usize> {
        let mine = self.in_flight.iter().enumerate().filter(|(_, op)| op.ring == ring);
        mine.min_by_key(|(_, op)| (op.due_ns, op.order)).map(|(i, _)| i)
    }

    /// Gives the operation back when the machine stopped in the middle of it.
    fn complete(&mut self, op: InFlight) -> Result<Event, InFlight> {
        let InFlight { ring, token, due_ns, order, action } = op;
        let keep = |action| InFlight { ring, token, due_ns, order, action };
        match action {
            Action::Write { file, offset, buf, sync } => {
                match self.write(&file, &buf, offset, sync || file.how.dsync) {
                    Some(result) => Ok(Event::Written { token, buf, result }),
                    None => Err(keep(Action::Write { file, offset, buf, sync })),
                }
            }
            Action::Read { file, offset, mut buf } => {
                let result = self.read(&file, &mut buf, offset);
                if self.faults.frozen {
                    return Err(keep(Action::Read { file, offset, buf }));
                }
                Ok(Event::Read { token, buf, result })
            }
            Action::Sync { file, mark } => match self.sync(file.id, mark) {
                Some(result) => Ok(Event::Synced { token, result }),
                None => Err(keep(Action::Sync { file, mark })),
            },
            Action::Name(naming) => match self.begin(naming.op()) {
                Ok(true) => Err(keep(Action::Name(naming))),
                Ok(false) => Ok(Event::Named {
                    token,
                    result: naming.apply(&mut self.disk, self.faults.lie_sync),
                }),
                Err(_) if self.faults.frozen => Err(keep(Action::Name(naming))),
                Err(error) => Ok(Event::Named { token, result: Err(error) }),
            },
        }
    }

    /// The power goes, or the process: writes in flight happened in part.
    pub(super) fn land_in_flight(&mut self) {
        for op in std::mem::take(&mut self.in_flight) {
            self.land(op);
        }
    }

    fn land_ring(&mut self, ring: u64) {
        for op in self.in_flight.extract_if(.., |op| op.ring == ring).collect::<Vec<_>>() {
            self.land(op);
        }
    }

    fn land(&mut self, op: InFlight) {
        let Self { disk, rng, .. } = self;
        match op.action {
            Action::Write { file, offset, buf, .. } => {
                if let Ok(inode) = disk.inode(file.id) {
                    inode.write_torn(offset, &buf, rng);
                }
            }
            // Nobody learns whether it happened, nor whether it could.
            Action::Name(naming) if rng.coin() => drop(naming.apply(disk, true)),
            Action::Name(_) | Action::Read { .. } | Action::Sync { .. } => {}
        }
    }
}

impl Naming {
    const fn op(&self) -> SimOp {
        match self {
            Self::Rename { .. } => SimOp::Rename,
            Self::Remove { .. } => SimOp::Remove,
            Self::SyncDir { .. } => SimOp::SyncDir,
        }
    }

    fn apply(&self, disk: &mut Disk, lie_sync: bool) -> io::Result<()> {
        match self {
            Self::Rename { from, to } => disk.rename(from, to),
            Self::Remove { path } => disk.remove(path),
            Self::SyncDir { dir } => {
                disk.check_dir(dir)?;
                if !lie_sync {
                    disk.sync_dir(dir);
                }
                Ok(())
            }
        }
    }
}

impl Ring for SimRing {
    type File = SimFile;
    type Waker = SimWaker;

    fn write(&mut self, token: u64, file: &SimFile, offset: u64, buf: AlignedBuf, sync: bool) {
        self.submit(token, Action::Write { file: file.clone(), offset, buf, sync });
    }

    fn sync(&mut self, token: u64, file: &SimFile) {
        let mark = self.env.state().disk.inode(file.id).map_or(0, |inode| inode.sync_mark());
        self.submit(token, Action::Sync { file: file.clone(), mark });
    }

    fn read(&mut self, token: u64, file: &SimFile, offset: u64, buf: AlignedBuf) {
        self.submit(token, Action::Read { file: file.clone(), offset, buf });
    }

    fn rename(&mut self, token: u64, from: &Path, to: &Path) {
        self.submit(token, Action::Name(Naming::Rename { from: from.into(), to: to.into() }));
    }

    fn remove(&mut self, token: u64, path: &Path) {
        self.submit(token, Action::Name(Naming::Remove { path: path.into() }));
    }

    fn sync_dir(&mut self, token: u64, dir: &Path) {
        self.submit(token, Action::Name(Naming::SyncDir { dir: dir.into() }));
    }

    fn listen(&mut self, _listener: Listener) -> usize {
        self.listeners += 1;
        self.listeners - 1
    }

    fn adopt(&mut self, stream: Stream) -> ConnId {
        let conn = ConnId::new(self.connections, 0);
        self.connections += 1;
        self.closed.push(conn);
        // The peer may still hold a clone; what it sees is a close, whatever shutdown answers.
        let _ = match stream {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Both),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Both),
        };
        conn
    }

    fn send(&mut self, _conn: ConnId, _buf: Vec<u8>) {}

    fn send_with_fds(&mut self, _conn: ConnId, _buf: Vec<u8>, _fds: Vec<OwnedFd>) {}

    fn queued_bytes(&self, _conn: ConnId) -> usize {
        0
    }

    fn pause(&mut self, _conn: ConnId) {}

    fn resume(&mut self, _conn: ConnId) {}

    fn close(&mut self, _conn: ConnId) {}

    fn turn(&mut self, wait: Wait, events: &mut Vec<Event>) -> io::Result<()> {
        let before = events.len();
        events.extend(self.closed.drain(..).map(|conn| Event::Closed { conn }));
        if self.woken.swap(false, Ordering::AcqRel) {
            events.push(Event::Woken);
        }
        let mut state = self.env.state();
        if state.faults.frozen {
            return Err(crashed());
        }
        state.clock_ns += TURN_NS;
        state.complete_due(self.id, events);
        if events.len() == before && !state.faults.frozen {
            let next_ns = state.next_due(self.id).map(|i| state.in_flight[i].due_ns);
            let target_ns = match wait {
                Wait::Poll => None,
                Wait::Until { monotonic_ns } => Some(next_ns.unwrap_or(u64::MAX).min(monotonic_ns)),
                Wait::Forever => next_ns,
            };
            if let Some(target_ns) = target_ns {
                state.clock_ns = state.clock_ns.max(target_ns);
                state.complete_due(self.id, events);
            }
        }
        // What completed before the stop was reported; the stop shows at the next turn.
        if state.faults.frozen && events.len() == before { Err(crashed()) } else { Ok(()) }
    }

    fn waker(&self) -> SimWaker {
        SimWaker { woken: Arc::clone(&self.woken) }
    }
}

impl Drop for SimRing {
    fn drop(&mut self) {
        self.env.state().land_ring(self.id);
    }
}

/// Wakes a [`SimRing`].
#[derive(Clone, Debug)]
pub struct SimWaker {
    woken: Arc<AtomicBool>,
}

impl Wake for SimWaker {
    fn wake(&self) {
        self.woken.store(true, Ordering::Release);
    }
}
