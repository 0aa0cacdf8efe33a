//! The disk itself, through the ring that the store has: blocks read at random, blocks written in their places. What
//! it gives is the most that anything on it can have.

use std::path::Path;

use rustix::fs::statfs;
use thermae_env::{
    AlignedBuf, BLOCK_BYTES, Env, Event, File, OpenHow, RealEnv, RealFile, Ring, UringRing, Wait,
};

use crate::dice::{Dice, mix};
use crate::error::Error;
use crate::maker::Request;
use crate::session::{Done, End, Session};

/// Bytes of one write of the stream that fills the file.
const STREAM_BYTES: usize = 1 << 20;
/// Of those on their way together.
const STREAM_DEPTH: usize = 4;
/// A file smaller than this says nothing of a disk.
pub const LEAST_BYTES: u64 = 16 << 20;
/// `f_type` of file systems in memory.
const IN_MEMORY: [i64; 2] = [0x0102_1994, 0x8584_58f6];

/// What is asked of it next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Blocks at random, so many in flight.
    Read {
        /// Reads in flight.
        depth: usize,
    },
    /// One write of so many blocks after the other, each durable when it ends.
    Write {
        /// Blocks of each.
        blocks: usize,
    },
}

/// Files on a disk, past the page cache: one of noise, which may be written, or such as are there, to be read.
pub struct Device {
    files: Vec<RealFile>,
    /// Number of blocks up to and with each file.
    ends: Vec<u64>,
    ring: UringRing,
    /// Bytes a second of a stream of durable writes; 0 of files that were there.
    pub stream_bytes_per_s: f64,
    access: Access,
    next: u64,
    in_flight: usize,
    spare: Vec<AlignedBuf>,
    events: Vec<Event>,
}

/// Whether a directory lies in memory: then there is no disk to be measured.
pub fn is_in_memory(folder: &Path) -> bool {
    statfs(folder).is_ok_and(|found| IN_MEMORY.contains(&{ found.f_type }))
}

impl Device {
    /// Fills a file of about `bytes` in `folder`, a quarter of what is free at most, and measures that as the stream.
    ///
    /// # Errors
    /// No room, a file system that does no direct reads, a failing disk.
    pub fn fill(folder: &Path, bytes: u64) -> Result<Self, Error> {
        let (env, path) = (RealEnv::new(), folder.join("device"));
        let free = env.free_bytes(folder).map_err(Error::file(folder))?;
        let whole = bytes.min(free / 4) / STREAM_BYTES as u64 * STREAM_BYTES as u64;
        if whole < LEAST_BYTES {
            let what = format!("{}: {free} bytes are free, too few to measure", folder.display());
            return Err(Error::Given(what));
        }
        let file = env.open(&path, OpenHow::CREATE.direct()).map_err(Error::file(&path))?;
        // Its blocks are there before anything is measured: a log's segments are made so too.
        file.allocate(whole).and_then(|()| file.sync_data()).map_err(Error::file(&path))?;
        let mut device = Self::over(env, vec![file], vec![whole / BLOCK_BYTES as u64])?;
        device.turn_to(Access::Write { blocks: STREAM_BYTES / BLOCK_BYTES });
        device.spare = (0..STREAM_DEPTH as u64).map(|at| noise(STREAM_BYTES, at)).collect();
        let begun = env.monotonic_ns();
        let (mut left, mut done) = (whole / STREAM_BYTES as u64, Vec::new());
        while left > 0 || device.in_flight > 0 {
            while left > 0 && device.in_flight < STREAM_DEPTH {
                device.submit(0, 0);
                left -= 1;
            }
            device.turn(Wait::Forever, &mut done)?;
        }
        let seconds = (env.monotonic_ns() - begun) as f64 / 1e9;
        device.stream_bytes_per_s = whole as f64 / seconds.max(1e-9);
        Ok(device)
    }

    /// Files of `folder` that end in `suffix`, to be read.
    ///
    /// # Errors
    /// There is no block in any of them, or they cannot be opened.
    pub fn of_files(folder: &Path, suffix: &str) -> Result<Self, Error> {
        let (env, mut files, mut ends, mut blocks) = (RealEnv::new(), Vec::new(), Vec::new(), 0);
        let names = env.list(folder).map_err(Error::file(folder))?;
        for entry in names.iter().filter(|entry| entry.name.ends_with(suffix)) {
            let path = folder.join(&entry.name);
            let open = || {
                let file = env.open(&path, OpenHow::READ.direct())?;
                Ok((file.len_bytes()? / BLOCK_BYTES as u64, file))
            };
            let (more, file) = open().map_err(Error::file(&path))?;
            blocks += more;
            ends.push(blocks);
            files.push(file);
        }
        if blocks == 0 {
            let what = format!("{}: no file *{suffix} has a block to read", folder.display());
            return Err(Error::Given(what));
        }
        Self::over(env, files, ends)
    }

    fn over(env: RealEnv, files: Vec<RealFile>, ends: Vec<u64>) -> Result<Self, Error> {
        Ok(Self {
            files,
            ends,
            ring: env.ring().map_err(Error::system("a ring"))?,
            stream_bytes_per_s: 0.0,
            access: Access::Read { depth: 1 },
            next: 0,
            in_flight: 0,
            spare: Vec::new(),
            events: Vec::new(),
        })
    }

    fn blocks(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// What is asked from now on; nothing may be in flight.
    pub fn turn_to(&mut self, access: Access) {
        self.access = access;
        self.spare.clear();
        self.next = 0;
    }

    /// Asks for the block that `word` chooses, or writes the next ones.
    pub fn submit(&mut self, word: u64, token: u64) {
        self.in_flight += 1;
        match self.access {
            Access::Read { .. } => {
                let buf = self.spare.pop().unwrap_or_else(|| AlignedBuf::zeroed(BLOCK_BYTES));
                let block = mix(word) % self.blocks();
                let at = self.ends.partition_point(|end| *end <= block);
                let first = at.checked_sub(1).map_or(0, |before| self.ends[before]);
                let offset_bytes = (block - first) * BLOCK_BYTES as u64;
                self.ring.read(token, &self.files[at], offset_bytes, buf);
            }
            Access::Write { blocks } => {
                let bytes = blocks * BLOCK_BYTES;
                let buf = self.spare.pop().unwrap_or_else(|| noise(bytes, self.next));
                if self.next + blocks as u64 > self.blocks() {
                    self.next = 0;
                }
                let at = self.next * BLOCK_BYTES as u64;
                self.next += blocks as u64;
                self.ring.write(token, &self.files[0], at, buf, true);
            }
        }
    }

    /// One round of the ring: adds what has ended.
    ///
    /// # Errors
    /// The disk fails, or a block is short.
    pub fn turn(&mut self, wait: Wait, done: &mut Vec<Done>) -> Result<(), Error> {
        self.ring.turn(wait, &mut self.events).map_err(Error::system("the ring"))?;
        for event in self.events.drain(..) {
            let (token, buf, bytes) = match event {
                Event::Read { token, buf, result } => (token, buf, result),
                Event::Written { token, buf, result } => {
                    let len = buf.len();
                    (token, buf, result.map(|()| len))
                }
                _ => continue,
            };
            let bytes = bytes.map_err(Error::system("the disk"))?;
            if bytes != buf.len() {
                return Err(Error::Wrong(format!("{bytes} of {} bytes of a block", buf.len())));
            }
            self.in_flight -= 1;
            self.spare.push(buf);
            done.push(Done { token, end: End::Answered { rows: 1, found: 1 } });
        }
        Ok(())
    }
}

/// Bytes that no disk makes smaller.
fn noise(bytes: usize, seed: u64) -> AlignedBuf {
    let (mut dice, mut buf) = (Dice::new(mix(seed)), AlignedBuf::zeroed(bytes));
    buf.chunks_exact_mut(8).for_each(|word| word.copy_from_slice(&dice.next_u64().to_le_bytes()));
    buf
}

impl Session for Device {
    fn room(&self) -> usize {
        let most = match self.access {
            Access::Read { depth } => depth,
            Access::Write { .. } => 1,
        };
        most.saturating_sub(self.in_flight)
    }

    fn send(&mut self, request: &Request, token: u64) -> Result<(), Error> {
        let word = request.parts.first().and_then(|(_, rows)| rows.first());
        self.submit(word.copied().unwrap_or(token), token);
        Ok(())
    }

    fn poll(&mut self, done: &mut Vec<Done>) -> Result<(), Error> {
        self.turn(Wait::Poll, done)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::workload::Kind;

    #[test]
    fn as_many_as_asked_are_in_flight_and_all_of_them_end() {
        let folder = tempfile::tempdir().unwrap();
        if is_in_memory(folder.path()) {
            return;
        }
        let mut device = Device::fill(folder.path(), LEAST_BYTES).unwrap();
        assert!(device.stream_bytes_per_s > 0.0);
        let request = |row| Request { operation: 0, kind: Kind::Read, parts: vec![(0, vec![row])] };
        for access in [Access::Read { depth: 8 }, Access::Write { blocks: 3 }] {
            device.turn_to(access);
            let (mut sent, mut done) = (0_u64, Vec::new());
            while done.len() < 40 {
                while device.room() > 0 {
                    device.send(&request(sent), sent).unwrap();
                    sent += 1;
                }
                device.poll(&mut done).unwrap();
            }
            let depth = if matches!(access, Access::Read { .. }) { 8 } else { 1 };
            assert_eq!(device.in_flight + done.len(), sent as usize);
            assert!(device.in_flight <= depth);
            while device.in_flight > 0 {
                device.turn(Wait::Forever, &mut done).unwrap();
            }
            let mut tokens: Vec<u64> = done.iter().map(|done| done.token).collect();
            tokens.sort_unstable();
            assert_eq!(tokens, (0..sent).collect::<Vec<_>>());
        }
        assert!(Device::fill(folder.path(), 1 << 10).is_err());
    }

    #[test]
    fn every_block_of_every_file_is_read_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        if is_in_memory(folder.path()) {
            return;
        }
        assert!(Device::of_files(folder.path(), ".tbl").is_err());
        for (name, blocks) in [("a.tbl", 1), ("b.tbl", 3), ("empty.tbl", 0), ("other", 9)] {
            std::fs::write(folder.path().join(name), vec![7; blocks * BLOCK_BYTES]).unwrap();
        }
        let mut device = Device::of_files(folder.path(), ".tbl").unwrap();
        assert_eq!((device.blocks(), device.files.len()), (4, 3));
        device.turn_to(Access::Read { depth: 4 });
        let (mut sent, mut done) = (0, Vec::new());
        while done.len() < 200 {
            while device.room() > 0 {
                device.submit(sent, sent);
                sent += 1;
            }
            // A block that is not there would be a short one.
            device.turn(Wait::Forever, &mut done).unwrap();
        }
    }
}
