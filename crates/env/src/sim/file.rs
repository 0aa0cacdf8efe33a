//! Blocking access to a simulated file.

use std::io;
use std::sync::Arc;

use super::faults::{Verdict, crashed};
use super::{SimEnv, SimOp, State, unless_crashed};
use crate::{BLOCK_BYTES, File, Mode, OpenHow};

/// An open file of the simulation.
#[derive(Clone, Debug)]
pub struct SimFile {
    env: SimEnv,
    pub(super) id: u64,
    pub(super) how: OpenHow,
    _opened: Arc<()>,
}

impl SimFile {
    pub(super) const fn new(env: SimEnv, id: u64, how: OpenHow, opened: Arc<()>) -> Self {
        Self { env, id, how, _opened: opened }
    }

    /// Direct access asks for whole blocks; a real disk answers EINVAL too.
    pub(super) fn check_access(&self, buf: &[u8], offset: u64, write: bool) -> io::Result<()> {
        if write && self.how.mode == Mode::Read {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let block = BLOCK_BYTES;
        let aligned = (buf.as_ptr() as usize).is_multiple_of(block)
            && buf.len().is_multiple_of(block)
            && offset.is_multiple_of(block as u64);
        if self.how.direct && !aligned {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(())
    }
}

impl State {
    /// Reads, with its fault.
    pub(super) fn read(&mut self, file: &SimFile, buf: &mut [u8], at: u64) -> io::Result<usize> {
        file.check_access(buf, at, false)?;
        self.faults.check_readable(file.id, at..at + buf.len() as u64)?;
        match self.judge(SimOp::Read) {
            Verdict::Go => Ok(self.disk.inode(file.id)?.read(buf, at, file.how.direct)),
            Verdict::Fail(error) => Err(error),
            Verdict::Crash => Err(crashed()),
        }
    }

    /// Writes, with its fault; `None` when the machine stops in the middle of it.
    pub(super) fn write(
        &mut self,
        file: &SimFile,
        buf: &[u8],
        at: u64,
        sync: bool,
    ) -> Option<io::Result<()>> {
        if let Err(error) = file
            .check_access(buf, at, true)
            .and_then(|()| self.check_space(file.id, at + buf.len() as u64))
        {
            return Some(Err(error));
        }
        let verdict = self.judge(SimOp::Write);
        let Self { disk, rng, faults, .. } = self;
        let inode = match disk.inode(file.id) {
            Ok(inode) => inode,
            Err(error) => return Some(Err(error)),
        };
        match verdict {
            Verdict::Go if sync && !faults.lie_sync => inode.write_durable(at, buf),
            Verdict::Go => inode.write(at, buf),
            Verdict::Fail(error) => {
                inode.write_torn(at, buf, rng);
                return Some(Err(error));
            }
            Verdict::Crash => return None,
        }
        Some(Ok(()))
    }

    /// Syncs what was written before `mark`, with its fault; `None` when the machine stops.
    pub(super) fn sync(&mut self, id: u64, mark: u64) -> Option<io::Result<()>> {
        let verdict = self.judge(SimOp::Sync);
        let Self { disk, rng, faults, .. } = self;
        let inode = match disk.inode(id) {
            Ok(inode) => inode,
            Err(error) => return Some(Err(error)),
        };
        match verdict {
            Verdict::Go if faults.lie_sync => {}
            Verdict::Go => inode.sync(mark),
            Verdict::Fail(error) => {
                inode.sync_failed(mark, rng);
                return Some(Err(error));
            }
            Verdict::Crash => return None,
        }
        Some(Ok(()))
    }
}

impl File for SimFile {
    fn read_at(&self, buf: &mut [u8], offset_bytes: u64) -> io::Result<usize> {
        self.env.state().read(self, buf, offset_bytes)
    }

    fn write_all_at(&self, buf: &[u8], offset_bytes: u64) -> io::Result<()> {
        let mut state = self.env.state();
        state.alive()?;
        match state.write(self, buf, offset_bytes, self.how.dsync) {
            Some(outcome) => outcome,
            None => {
                // Cut in the middle: a part of it may be found after the crash.
                state.disk.inode(self.id)?.write(offset_bytes, buf);
                Err(crashed())
            }
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.env.state();
        let mark = state.disk.inode(self.id)?.sync_mark();
        state.sync(self.id, mark).unwrap_or_else(|| Err(crashed()))
    }

    fn through_cache(&self) -> io::Result<Self> {
        self.env.state().alive()?;
        Ok(Self { how: OpenHow::READ, ..self.clone() })
    }

    fn len_bytes(&self) -> io::Result<u64> {
        let mut state = self.env.state();
        state.alive()?;
        Ok(state.disk.inode(self.id)?.len())
    }

    fn allocate(&self, len_bytes: u64) -> io::Result<()> {
        let mut state = self.env.state();
        if self.how.mode == Mode::Read {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        state.check_space(self.id, len_bytes)?;
        let stopping = state.begin(SimOp::Allocate)?;
        state.disk.inode(self.id)?.grow(len_bytes);
        unless_crashed(stopping, Ok(()))
    }

    fn truncate(&self, len_bytes: u64) -> io::Result<()> {
        let mut state = self.env.state();
        if self.how.mode == Mode::Read {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let stopping = state.begin(SimOp::Allocate)?;
        state.disk.inode(self.id)?.shrink(len_bytes);
        unless_crashed(stopping, Ok(()))
    }
}
