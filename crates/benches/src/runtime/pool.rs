//! Requests encoded beforehand and the answers that they must get, byte for byte: the load generator
//! only copies and compares, so that the server is the limit and still every answer is checked.

use super::service::{ROWS, Service};
use crate::workload::{Dice, FEATURES, is_row};
use anyhow::{Context, ensure};
use thermae_formats::wire::{
    DEFAULT_MAX_FRAME_BYTES, PackedKeys, ReadFlags, ReadHead, ReadReply, RowStatus, encode_read,
    split_frame,
};

/// Different requests: more than are ever in flight on a connection, few enough for the cache.
const REQUESTS: usize = 128;
/// Any time will do: the rows have no age.
const READ_TIME_US: i64 = 1_700_000_000_000_000;

/// A circle of requests and of their answers, each one after the other.
pub struct Pool {
    requests: Vec<u8>,
    replies: Vec<u8>,
}

impl Pool {
    /// Requests of `keys` keys each. The answers are the service's own, which are decoded and
    /// compared with the workload's rows first.
    ///
    /// # Errors
    /// An answer that is not what was asked.
    pub fn new(keys: usize) -> anyhow::Result<Self> {
        let mut dice = Dice::new(keys as u64);
        let (mut requests, mut replies) = (Vec::new(), Vec::new());
        let (mut service, mut ids) = (Service::new(), vec![0; keys]);
        for request in 0..REQUESTS {
            dice.fill(&mut ids, ROWS);
            let (start, reply) = (requests.len(), replies.len());
            ask(&mut requests, request as u64 + 1, &ids)?;
            service.answer(&requests[start..], &mut replies)?;
            check(&replies[reply..], request as u64 + 1, &ids)?;
        }
        ensure!(requests.len() % REQUESTS == 0 && replies.len() % REQUESTS == 0, "uneven frames");
        Ok(Self { requests, replies })
    }

    /// Bytes of one answer.
    pub fn reply_bytes(&self) -> usize {
        self.replies.len() / REQUESTS
    }

    /// The encoded requests from number `from` on, at most `count` of them; fewer where the circle
    /// closes. And how many they are.
    pub fn requests(&self, from: u64, count: usize) -> (&[u8], usize) {
        let each = self.requests.len() / REQUESTS;
        let from = (from % REQUESTS as u64) as usize;
        let count = count.min(REQUESTS - from);
        (&self.requests[from * each..(from + count) * each], count)
    }

    /// Whether `bytes` is what must come after `received` bytes of answers.
    pub fn continues(&self, received: u64, mut bytes: &[u8]) -> bool {
        let mut at = (received % self.replies.len() as u64) as usize;
        while !bytes.is_empty() {
            let expected = &self.replies[at..];
            let (here, rest) = bytes.split_at(bytes.len().min(expected.len()));
            if here != &expected[..here.len()] {
                return false;
            }
            (at, bytes) = (0, rest);
        }
        true
    }
}

fn ask(out: &mut Vec<u8>, request_id: u64, ids: &[u64]) -> anyhow::Result<()> {
    let flags = ReadFlags { matrix: true, event_times: false };
    let head = ReadHead { plan_id: 1, flags, read_time: READ_TIME_US, deadline_us: 0 };
    let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
    let keys = std::iter::once(PackedKeys { count: ids.len() as u32, bytes: &bytes });
    Ok(encode_read(out, request_id, &head, &[], keys, DEFAULT_MAX_FRAME_BYTES)?)
}

/// The answer holds the rows that were asked, value for value.
fn check(bytes: &[u8], request_id: u64, ids: &[u64]) -> anyhow::Result<()> {
    let (frame, rest) = split_frame(bytes, DEFAULT_MAX_FRAME_BYTES)?.context("no whole answer")?;
    ensure!(rest.is_empty() && frame.request_id == request_id, "not the answer to {request_id}");
    let view = ReadReply::decode(&frame)?.view(0).context("an answer without a view")?;
    ensure!(view.rows() == ids.len() && view.columns() == FEATURES, "{} rows", view.rows());
    // Behind another answer the floats may lie anywhere: they are read by their bytes.
    let matrix = &bytes[bytes.len() - ids.len() * FEATURES * 4..];
    let values: Vec<f32> =
        matrix.as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value)).collect();
    for (at, (id, row)) in ids.iter().zip(values.chunks_exact(FEATURES)).enumerate() {
        ensure!(view.status(at) == RowStatus::Present && is_row(*id, row), "row {id}: {row:?}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_circle_closes_and_a_wrong_byte_is_seen() {
        let pool = Pool::new(3).unwrap();
        let (bytes, count) = pool.requests(REQUESTS as u64 * 5 + 126, 32);
        assert_eq!((count, bytes.len() % 2), (2, 0));
        let each = pool.reply_bytes();
        let mut answers = [&pool.replies[each * 127..], &pool.replies[..each]].concat();
        let before = (each * (REQUESTS * 3 + 127)) as u64;
        assert!(pool.continues(before, &answers));
        answers[each + 80] ^= 1;
        assert!(!pool.continues(before, &answers));
    }
}
