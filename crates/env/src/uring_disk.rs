//! Disk operations on the ring: whole or failed, short transfers continued here.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use io_uring::{opcode, types};

use crate::uring_queue::{DISK, Queue};
use crate::{AlignedBuf, BLOCK_BYTES, Event, RealFile};

/// Largest piece of one submission: its length is 32 bits wide.
const PIECE_BYTES: usize = 1 << 30;

#[derive(Debug)]
enum Action {
    Write { file: RealFile, offset: u64, buf: AlignedBuf, done: usize, sync: bool },
    Read { file: RealFile, offset: u64, buf: AlignedBuf, done: usize },
    Sync { file: RealFile },
    Name(Naming),
}

/// A change of names, or what makes those of a directory durable.
#[derive(Debug)]
pub(crate) enum Naming {
    Rename { from: CString, to: CString },
    Remove { path: CString },
    SyncDir { dir: OwnedFd },
}

#[derive(Debug)]
struct Operation {
    token: u64,
    action: Action,
}

/// Operations in flight, by index; the index travels as user data.
#[derive(Debug, Default)]
pub(crate) struct DiskOps {
    slots: Vec<Option<Operation>>,
    free: Vec<u32>,
}

impl DiskOps {
    pub(crate) fn write(
        &mut self,
        queue: &mut Queue,
        token: u64,
        file: &RealFile,
        offset: u64,
        buf: AlignedBuf,
        sync: bool,
    ) {
        let file = file.clone();
        self.start(queue, token, Action::Write { file, offset, buf, done: 0, sync });
    }

    pub(crate) fn read(
        &mut self,
        queue: &mut Queue,
        token: u64,
        file: &RealFile,
        offset: u64,
        buf: AlignedBuf,
    ) {
        let file = file.clone();
        self.start(queue, token, Action::Read { file, offset, buf, done: 0 });
    }

    pub(crate) fn sync(&mut self, queue: &mut Queue, token: u64, file: &RealFile) {
        self.start(queue, token, Action::Sync { file: file.clone() });
    }

    pub(crate) fn name(&mut self, queue: &mut Queue, token: u64, naming: Naming) {
        self.start(queue, token, Action::Name(naming));
    }

    fn start(&mut self, queue: &mut Queue, token: u64, action: Action) {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        self.slots[index as usize] = Some(Operation { token, action });
        self.submit(queue, DISK | u64::from(index), index);
    }

    /// Submits the operation in `index`, from where it stopped.
    fn submit(&mut self, queue: &mut Queue, user_data: u64, index: u32) {
        let Some(operation) = self.slots[index as usize].as_mut() else { return };
        let entry = match &mut operation.action {
            Action::Write { file, offset, buf, done, sync } => {
                let rest = &buf[*done..];
                let len = rest.len().min(PIECE_BYTES) as u32;
                opcode::Write::new(fd_of(file), rest.as_ptr(), len)
                    .offset(*offset + *done as u64)
                    .rw_flags(if *sync { libc::RWF_DSYNC } else { 0 })
                    .build()
            }
            Action::Read { file, offset, buf, done } => {
                let at = *offset + *done as u64;
                let rest = &mut buf[*done..];
                let len = rest.len().min(PIECE_BYTES) as u32;
                opcode::Read::new(fd_of(file), rest.as_mut_ptr(), len).offset(at).build()
            }
            Action::Sync { file } => {
                opcode::Fsync::new(fd_of(file)).flags(types::FsyncFlags::DATASYNC).build()
            }
            Action::Name(naming) => naming.entry(),
        };
        // SAFETY: the buffer, the paths and the open file stay in `slots[index]`, unmoved on the heap
        // and untouched, until `complete` sees the operation's only completion.
        unsafe { queue.push(entry.user_data(user_data)) };
    }

    /// Handles a completion: continues a short transfer or reports the end.
    pub(crate) fn complete(
        &mut self,
        queue: &mut Queue,
        user_data: u64,
        index: u32,
        result: i32,
        events: &mut Vec<Event>,
    ) {
        let Some(slot) = self.slots.get_mut(index as usize) else { return };
        let Some(operation) = slot.as_mut() else { return };
        if operation.goes_on(result) {
            return self.submit(queue, user_data, index);
        }
        if let Some(operation) = slot.take() {
            self.free.push(index);
            events.push(operation.finish(result));
        }
    }
}

fn fd_of(file: &impl AsFd) -> types::Fd {
    types::Fd(file.as_fd().as_raw_fd())
}

impl Naming {
    fn entry(&self) -> io_uring::squeue::Entry {
        let here = types::Fd(libc::AT_FDCWD);
        match self {
            Self::Rename { from, to } => {
                opcode::RenameAt::new(here, from.as_ptr(), here, to.as_ptr()).build()
            }
            Self::Remove { path } => opcode::UnlinkAt::new(here, path.as_ptr()).build(),
            Self::SyncDir { dir } => opcode::Fsync::new(fd_of(dir)).build(),
        }
    }
}

impl Operation {
    /// Accounts for the transferred bytes; true when the rest must be submitted.
    fn goes_on(&mut self, result: i32) -> bool {
        if result < 0 {
            return matches!(-result, libc::EINTR | libc::EAGAIN);
        }
        match &mut self.action {
            Action::Write { buf, done, .. } => {
                *done += result as usize;
                *done < buf.len() && result > 0
            }
            Action::Read { file, buf, done, .. } => {
                *done += result as usize;
                // A direct read that stops inside a block has met the end of the file.
                let ended = file.is_direct() && !(result as usize).is_multiple_of(BLOCK_BYTES);
                *done < buf.len() && result > 0 && !ended
            }
            Action::Sync { .. } | Action::Name(_) => false,
        }
    }

    fn finish(self, result: i32) -> Event {
        let token = self.token;
        let failed = (result < 0).then(|| io::Error::from_raw_os_error(-result));
        match self.action {
            Action::Write { buf, done, .. } => {
                let result = match failed {
                    Some(error) => Err(error),
                    None if done < buf.len() => Err(io::ErrorKind::WriteZero.into()),
                    None => Ok(()),
                };
                Event::Written { token, buf, result }
            }
            Action::Read { buf, done, .. } => {
                Event::Read { token, buf, result: failed.map_or(Ok(done), Err) }
            }
            Action::Sync { .. } => Event::Synced { token, result: failed.map_or(Ok(()), Err) },
            Action::Name(_) => Event::Named { token, result: failed.map_or(Ok(()), Err) },
        }
    }
}
