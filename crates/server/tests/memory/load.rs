//! Writers that never wait and readers that check what is acknowledged.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use thermae_client::{Address, Client, Config, PendingWrite, ReadOptions, WriteBatch};
use thermae_formats::wire::{RowOutcome, ViewFeatures};
use thermae_formats::{KeyValue, NO_TIME, Value};

/// Rows of a batch, and batches that a writer has under way.
pub const BATCH_ROWS: u64 = 500;
const PIPELINE: usize = 6;
/// Bytes of a row's value, most of which do not compress.
pub const VALUE_BYTES: usize = 400;
/// Rows of one read.
const READ_ROWS: u64 = 200;

/// What a writer met.
#[derive(Debug, Default)]
pub struct Met {
    pub overloaded: u64,
    /// Overloaded rows that did not say when to repeat them.
    pub without_hint: u64,
}

/// A batch under way, and the place of its first row among the writer's.
struct Sent {
    at: u64,
    batch: WriteBatch,
    pending: PendingWrite,
}

pub fn client(address: &str) -> Client {
    let address: Address = address.parse().unwrap();
    let request_timeout = std::time::Duration::from_secs(120);
    Client::connect(&address, Config { request_timeout, ..Config::default() }).unwrap()
}

/// The value of a row, told by its id alone.
pub fn value(id: u64) -> Vec<u8> {
    let mut state = id.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..VALUE_BYTES / 8).flat_map(|_| next()).collect()
}

/// Writes the rows from `first` on, `rows` of them, in order; `done` is how many are acknowledged.
pub fn write(address: &str, first: u64, rows: u64, done: &AtomicU64) -> Met {
    let client = client(address);
    let view = client.view("load", "rows").unwrap();
    let mut met = Met::default();
    let mut next = 0;
    let mut under_way: VecDeque<Sent> = VecDeque::new();
    while next < rows || !under_way.is_empty() {
        while next < rows && under_way.len() < PIPELINE {
            let at = next;
            let mut batch = WriteBatch::put(&view);
            for id in next..(next + BATCH_ROWS).min(rows) {
                let id = first + id;
                let values = [Value::Bytes(value(id))];
                batch.push(&[KeyValue::Int(id as i64)], 1_000_000, NO_TIME, &values).unwrap();
            }
            next = (next + BATCH_ROWS).min(rows);
            let pending = client.send_write(&mut batch).unwrap();
            under_way.push_back(Sent { at, batch, pending });
        }
        let mut again = settle(&mut under_way, 1, &mut met);
        if !again.is_empty() {
            // Nothing newer may overtake what was refused.
            let rest = under_way.len();
            again.extend(settle(&mut under_way, rest, &mut met));
        }
        for (at, mut batch) in again {
            let pending = client.send_write(&mut batch).unwrap();
            under_way.push_back(Sent { at, batch, pending });
        }
        // A batch behind a refused one may have got in: what counts is that all before are.
        done.store(under_way.iter().map(|sent| sent.at).min().unwrap_or(next), Ordering::Release);
    }
    met
}

/// Takes the answers to the oldest batches; those to send again.
fn settle(under_way: &mut VecDeque<Sent>, batches: usize, met: &mut Met) -> Vec<(u64, WriteBatch)> {
    let mut again = Vec::new();
    for Sent { at, batch, pending } in under_way.drain(..batches.min(under_way.len())) {
        let written = pending.wait().unwrap();
        for outcome in &written.outcomes {
            if let RowOutcome::Overloaded { retry_after_ms } = outcome {
                met.overloaded += 1;
                met.without_hint += u64::from(*retry_after_ms == 0);
            }
        }
        if !written.all_ok() {
            again.push((at, batch));
        }
    }
    again
}

/// Reads rows from `first` on that are acknowledged, here and there, until `is_over`; how many.
pub fn read_here_and_there(
    address: &str,
    first: u64,
    done: &AtomicU64,
    is_over: &AtomicBool,
) -> u64 {
    let client = client(address);
    let (mut read, mut state) = (0, 7_u64);
    while !is_over.load(Ordering::Acquire) {
        let rows = done.load(Ordering::Acquire);
        if rows < READ_ROWS {
            std::thread::yield_now();
            continue;
        }
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let from = first + (state >> 20) % (rows - READ_ROWS + 1);
        read += check(&client, from, READ_ROWS);
    }
    read
}

/// Reads all rows from `first` on.
pub fn read_all(address: &str, first: u64, rows: u64) {
    let client = client(address);
    for at in (0..rows).step_by(READ_ROWS as usize) {
        check(&client, first + at, READ_ROWS.min(rows - at));
    }
}

/// Reads rows that must be there, and compares them. A read that is refused for load counts for none.
fn check(client: &Client, from: u64, rows: u64) -> u64 {
    let wanted = ViewFeatures { project: "load", view: "rows", version: 0, features: Vec::new() };
    let plan = client.prepare(&[wanted]).unwrap();
    let mut keys = plan.keys(0).unwrap();
    for id in from..from + rows {
        keys.push(&[KeyValue::Int(id as i64)]).unwrap();
    }
    let answer = match client.read(&plan, &[&keys], &ReadOptions::default()) {
        Ok(answer) => answer,
        Err(error) if error.code() == Some(thermae_formats::wire::ErrorCode::Overloaded) => {
            return 0;
        }
        Err(error) => panic!("{error}"),
    };
    for row in 0..rows {
        let found = answer.value(0, row as usize, 0).unwrap();
        let is_it = found == Value::Bytes(value(from + row));
        let status = answer.status(0, row as usize, 0);
        assert!(is_it, "row {} is not as written: {status:?}", from + row);
    }
    rows
}
