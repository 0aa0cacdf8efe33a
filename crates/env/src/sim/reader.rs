//! The simulated reader: what was asked for last comes first.

use std::io;

use super::SimFile;
use crate::{AlignedBuf, Event, File, Reader};

/// Reads of the thread that simulates, when it waits for them.
#[derive(Debug, Default)]
pub struct SimReader {
    under_way: Vec<Read>,
}

#[derive(Debug)]
struct Read {
    token: u64,
    file: SimFile,
    offset_bytes: u64,
    buf: AlignedBuf,
}

impl Reader for SimReader {
    type File = SimFile;

    fn read(&mut self, token: u64, file: &SimFile, offset_bytes: u64, buf: AlignedBuf) {
        self.under_way.push(Read { token, file: file.clone(), offset_bytes, buf });
    }

    fn wait(&mut self, least: usize, events: &mut Vec<Event>) -> io::Result<()> {
        let ended = self.under_way.len().saturating_sub(least);
        for Read { token, file, offset_bytes, mut buf } in self.under_way.drain(ended..).rev() {
            let result = file.read_at(&mut buf, offset_bytes);
            events.push(Event::Read { token, buf, result });
        }
        Ok(())
    }
}
