//! The work that every runtime is given: frames of our protocol in, answers out. It is one code for
//! all of them, so that they differ only by how the bytes come and go.

use crate::workload::{FEATURES, row};
use anyhow::{Context, ensure};
use thermae_formats::wire::{
    ColumnShape, Frame, Limits, ReadRequest, ReplyBuilder, RowStatus, ViewShape, split_frame,
};

/// Rows that the service holds, few enough for the nearest cache: memory is not what is measured.
pub const ROWS: u64 = 512;
const COLUMNS: [ColumnShape; FEATURES] = [ColumnShape { width_bytes: 4 }; FEATURES];
/// Buffers kept for reuse.
const SPARES: usize = 128;

/// Answers READs for a matrix of ten float32 out of an array.
pub struct Service {
    rows: Vec<[f32; FEATURES]>,
    builder: ReplyBuilder,
    limits: Limits,
    spare: Vec<Vec<u8>>,
}

impl Service {
    /// A service with rows `0..ROWS` of the benches' workload.
    pub fn new() -> Self {
        let rows = (0..ROWS).map(row).collect();
        let builder = ReplyBuilder::new();
        Self { rows, builder, limits: Limits::default(), spare: Vec::new() }
    }

    /// Answers every whole frame at the front of `bytes` behind what `out` holds, in order; returns
    /// the bytes used.
    ///
    /// # Errors
    /// A frame that is no READ of one view's int64 keys for a matrix.
    pub fn answer(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> anyhow::Result<usize> {
        let mut rest = bytes;
        while let Some((frame, behind)) = split_frame(rest, self.limits.max_frame_bytes)? {
            let reply = self.reply(&frame)?;
            // As the server does: a lone answer is handed over, not copied.
            if out.is_empty() {
                let empty = std::mem::replace(out, reply);
                self.give_spare(empty);
            } else {
                out.extend_from_slice(&reply);
                self.give_spare(reply);
            }
            rest = behind;
        }
        Ok(bytes.len() - rest.len())
    }

    fn reply(&mut self, frame: &Frame<'_>) -> anyhow::Result<Vec<u8>> {
        let request = ReadRequest::decode(frame, &self.limits)?;
        let head = request.head;
        let view = request.views().next().context("a READ without a view")?;
        let (keys, odd) = view.bytes.as_chunks::<8>();
        ensure!(head.flags.matrix && odd.is_empty(), "not a READ of int64 keys for a matrix");
        ensure!(keys.len() == view.count as usize, "{} keys of {}", keys.len(), view.count);
        let shape = std::iter::once(ViewShape { rows: view.count, columns: &COLUMNS });
        let (buffer, max) = (self.spare.pop().unwrap_or_default(), self.limits.max_frame_bytes);
        self.builder.begin(buffer, frame.request_id, head.flags, head.read_time, max, shape)?;
        for (at, key) in keys.iter().enumerate() {
            let id = u64::from_le_bytes(*key) as usize;
            if let Some(row) = self.rows.get(id) {
                self.builder.set_status(0, at, RowStatus::Present);
                self.builder.with_matrix_row(0, at, |cells| cells.copy_from_slice(row));
            }
        }
        Ok(self.builder.finish()?)
    }

    /// Keeps a sent buffer's memory for a later answer.
    pub fn give_spare(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() > 0 && self.spare.len() < SPARES {
            buffer.clear();
            self.spare.push(buffer);
        }
    }
}

impl Default for Service {
    fn default() -> Self {
        Self::new()
    }
}

/// One connection's state beside its socket.
#[derive(Debug, Default)]
pub struct Session {
    /// Answers not yet sent.
    pub out: Vec<u8>,
    /// The beginning of a frame whose end has not come.
    kept: Vec<u8>,
}

impl Session {
    /// Takes received bytes and answers what is whole.
    ///
    /// # Errors
    /// As [`Service::answer`].
    pub fn receive(&mut self, service: &mut Service, data: &[u8]) -> anyhow::Result<()> {
        if self.kept.is_empty() {
            let used = service.answer(data, &mut self.out)?;
            self.kept.extend_from_slice(&data[used..]);
        } else {
            self.kept.extend_from_slice(data);
            let used = service.answer(&self.kept, &mut self.out)?;
            self.kept.drain(..used);
        }
        Ok(())
    }
}
