//! A log that fails with batches in flight: some of its rows are in doubt while newer ones reached the disk. What is
//! flushed afterwards must not take the log's beginning past them.

use std::path::Path;

use thermae_engine::background::Background;
use thermae_engine::handle::WriteTicket;
use thermae_engine::options::HotMemory;
use thermae_engine::runtime::{Stepped, open};
use thermae_engine::service::NoService;
use thermae_engine::{Ack, Options, Outcome, RowWrite, WriteBatch, WriteKind};
use thermae_env::{SimEnv, SimOp};
use thermae_formats::{Feature, FeatureView, JoinKey, KeyType, Scalar, Value};

/// A batch each; a segment holds few of them, so that those in flight lie in several.
const ROW_BYTES: usize = 20_000;
const SEGMENT_BYTES: u64 = 64 << 10;
/// Rows that are in the tables' way before the failure, and that are sent with it.
const BEFORE: i64 = 30;
const SENT: i64 = 24;

/// Nothing is flushed before it is asked for.
const FLUSH_BYTES: usize = 1 << 20;

/// A store of one shard that is stepped by the test, its background with it.
pub fn opened(env: &SimEnv, flush_bytes: usize) -> Result<Stepped<SimEnv, NoService>, String> {
    let options = Options {
        memory_bytes: 8 << 20,
        segment_bytes: SEGMENT_BYTES,
        partitions: 2,
        spin_us: 0,
        background: Background::Inline,
        flush_bytes,
        hot_memory: HotMemory::Heap,
        ..Options::default()
    };
    let opened = open(env.clone(), Path::new("/data"), options).map_err(|e| e.to_string())?;
    opened.into_shards(|_| NoService).map_err(|e| e.to_string())
}

pub fn turn(stepped: &mut Stepped<SimEnv, NoService>, turns: usize) {
    for _ in 0..turns {
        assert!(stepped.shards[0].turn().unwrap());
    }
}

/// A row of 20,000 bytes.
pub fn send(stepped: &Stepped<SimEnv, NoService>, id: i64) -> WriteTicket {
    let catalogue = stepped.handle.catalogue();
    let schema = &catalogue.resolve("rows").unwrap().latest;
    let (mut batch, mut value) = (WriteBatch::new(Ack::Durable, 0), Vec::new());
    let data = Value::Bytes(vec![id as u8; ROW_BYTES]);
    let dense = schema.layout.encode(&[data], &mut value).unwrap();
    let (key, value) = (batch.store(&id.to_le_bytes()), batch.store(&value));
    batch.rows.push(RowWrite {
        kind: WriteKind::Put,
        dense,
        value,
        ..RowWrite::delete(schema, id, key)
    });
    stepped.handle.submit(batch).unwrap()
}

/// Defines the view of the rows.
pub fn define(stepped: &mut Stepped<SimEnv, NoService>) {
    let keys = vec![JoinKey::new("id", KeyType::Int64)];
    let view = FeatureView::new("test", "rows", keys, vec![Feature::new("data", Scalar::Bytes)]);
    let waiter = stepped.handle.submit_apply(&[view]).unwrap();
    while waiter.poll().pop().is_none() {
        turn(stepped, 1);
    }
}

/// Rows that were acknowledged; the write of the log after `writes` further ones fails.
fn run(env: &SimEnv, writes: u64) -> u64 {
    let mut stepped = opened(env, FLUSH_BYTES).unwrap();
    define(&mut stepped);
    let mut acknowledged = 0;
    let mut settle = |stepped: &mut Stepped<SimEnv, NoService>, mut tickets: Vec<WriteTicket>| {
        for _ in 0..100_000 {
            turn(stepped, 1);
            tickets = tickets
                .into_iter()
                .filter_map(|ticket| {
                    let outcome = match ticket.poll() {
                        Err(waiting) => return Some(waiting),
                        Ok(outcomes) => outcomes[0],
                    };
                    acknowledged += u64::from(matches!(outcome, Outcome::Ok { .. }));
                    None
                })
                .collect();
            if tickets.is_empty() {
                return;
            }
        }
        panic!("writes were never answered");
    };
    let tickets = (0..BEFORE).map(|id| send(&stepped, id)).collect();
    settle(&mut stepped, tickets);
    env.set_delay_us(10, 5_000);
    env.fail(SimOp::Write, writes);
    let tickets = (BEFORE..BEFORE + SENT).map(|id| send(&stepped, id)).collect();
    settle(&mut stepped, tickets);
    // A snapshot of so much has the memtable flushed.
    let snapshot = stepped.handle.submit_snapshot().unwrap();
    turn(&mut stepped, 2_000);
    drop(snapshot);
    acknowledged
}

#[test]
fn what_is_flushed_after_a_log_failed_keeps_the_log_from_the_first_row_in_doubt_on() {
    let mut failures = 0;
    for seed in 0..12 {
        for writes in 0..4 {
            let env = SimEnv::new(seed);
            let acknowledged = run(&env, writes);
            failures += u64::from(acknowledged < (BEFORE + SENT) as u64);
            for env in [env.crash(), env.kill()] {
                let again = opened(&env, FLUSH_BYTES)
                    .unwrap_or_else(|e| panic!("seed {seed}, {writes}: {e}"));
                let reads = again.handle.reads();
                let there: u64 = (0..reads.partitions()).map(|at| reads.applied(at)).sum();
                assert!(there >= acknowledged, "seed {seed}, {writes}: {there}, {acknowledged}");
            }
        }
    }
    assert!(failures > 30, "the log failed {failures} times");
}
