//! The bytes of a simulated file: sparse blocks, cheap to copy, so that a crash may fork the disk.

use std::collections::BTreeMap;
use std::sync::Arc;

const BLOCK: u64 = 4096;

/// File content; blocks that are not there are zero.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    len: u64,
    blocks: BTreeMap<u64, Arc<[u8; BLOCK as usize]>>,
}

impl Content {
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        let mut content = Self::default();
        content.write(0, bytes);
        content
    }

    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    /// Extends with zeroes; never shrinks.
    pub(super) fn grow(&mut self, len: u64) {
        self.len = self.len.max(len);
    }

    /// Cuts what lies behind; never extends.
    pub(super) fn shrink(&mut self, len: u64) {
        if len >= self.len {
            return;
        }
        self.len = len;
        self.blocks.split_off(&len.div_ceil(BLOCK));
        if let Some(last) = self.blocks.get_mut(&(len / BLOCK)) {
            Arc::make_mut(last)[(len % BLOCK) as usize..].fill(0);
        }
    }

    /// Reads up to the end of the file.
    pub(super) fn read(&self, buf: &mut [u8], offset: u64) -> usize {
        let available = self.len.saturating_sub(offset).min(buf.len() as u64) as usize;
        for_each_block(offset, available, |block, within, range| {
            let out = &mut buf[range];
            match self.blocks.get(&block) {
                Some(data) => out.copy_from_slice(&data[within..within + out.len()]),
                None => out.fill(0),
            }
        });
        available
    }

    /// Writes, extending as needed.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        for_each_block(offset, bytes.len(), |block, within, range| {
            let data = self.blocks.entry(block).or_insert_with(|| Arc::new([0; BLOCK as usize]));
            let part = &bytes[range];
            Arc::make_mut(data)[within..within + part.len()].copy_from_slice(part);
        });
        if !bytes.is_empty() {
            self.len = self.len.max(offset + bytes.len() as u64);
        }
    }

    pub(super) fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len as usize];
        self.read(&mut bytes, 0);
        bytes
    }
}

/// Calls `visit(block number, offset inside the block, range of the caller's slice)`.
fn for_each_block(
    offset: u64,
    len: usize,
    mut visit: impl FnMut(u64, usize, std::ops::Range<usize>),
) {
    let mut done = 0;
    while done < len {
        let at = offset + done as u64;
        let within = (at % BLOCK) as usize;
        let part = (BLOCK as usize - within).min(len - done);
        visit(at / BLOCK, within, done..done + part);
        done += part;
    }
}
