//! The figures that a store reports of its tiers.

use std::path::Path;

use thermae_engine::background::Background;
use thermae_engine::handle::Found;
use thermae_engine::options::HotMemory;
use thermae_engine::reads::RowBuf;
use thermae_engine::runtime::{Stepped, open};
use thermae_engine::service::NoService;
use thermae_engine::tiers::TierStats;
use thermae_engine::{Ack, Key, Options, Outcome, RowWrite, WriteBatch, WriteKind};
use thermae_env::{Env, SimEnv, SimOp};
use thermae_formats::{
    Feature, FeatureView, JoinKey, KeyType, KeyValue, Scalar, Value, encode_key,
};
use thermae_tests::model::Rng;

const TURNS_MAX: usize = 200_000;

/// A store turned by the test, whose rows do not all fit its hot tables; of one shard, unless it says otherwise.
struct Small {
    env: SimEnv,
    stepped: Stepped<SimEnv, NoService>,
    /// Why rows of the last read could not be read.
    failed: Vec<String>,
    /// Rows that were acknowledged: the keys below.
    rows: i64,
    turns: i64,
}

fn join_keys() -> Vec<JoinKey> {
    vec![JoinKey::new("id", KeyType::Int64)]
}

fn key(id: i64) -> Vec<u8> {
    let mut key = Vec::new();
    encode_key(&join_keys(), &[KeyValue::Int(id)], &mut key).unwrap();
    key
}

impl Small {
    fn open() -> Small {
        Self::flushing_at(128 << 10)
    }

    fn flushing_at(flush_bytes: usize) -> Small {
        Self::of_shards(1, flush_bytes)
    }

    fn of_shards(cores: usize, flush_bytes: usize) -> Small {
        let env = SimEnv::new(7);
        let options = Options {
            memory_bytes: (cores as u64) << 22,
            cores,
            spin_us: 0,
            background: Background::Inline,
            flush_bytes,
            hot_memory: HotMemory::Heap,
            ..Options::default()
        };
        let opened = open(env.clone(), Path::new("/data"), options).unwrap();
        let stepped = opened.into_shards(|_| NoService).unwrap();
        let mut small = Small { env, stepped, failed: Vec::new(), rows: 0, turns: 0 };
        let data = Feature::new("data", Scalar::Bytes);
        let view = FeatureView::new("test", "big", join_keys(), vec![data]);
        let waiter = small.stepped.handle.submit_apply(&[view]).unwrap();
        small.turn_until(|_| waiter.poll().pop().is_some_and(|result| result.is_ok()));
        small
    }

    /// Turns until the figures of the first shard are as asked.
    fn turn_until(&mut self, mut is_reached: impl FnMut(&TierStats) -> bool) -> TierStats {
        for _ in 0..TURNS_MAX {
            let shards = self.stepped.handle.stats().shards;
            for shard in &shards {
                // Nothing is past `keep_for`: every version lies somewhere, once, at all times.
                let stats = &shard.tiers;
                let versions = stats.latest.rows + stats.history.rows + stats.memtable.rows;
                assert_eq!(versions, shard.rows_written, "{stats:?}");
            }
            let stats = shards[0].tiers.clone();
            if is_reached(&stats) {
                return stats;
            }
            self.turns += 1;
            let ids = (0..20).map(|nth| (self.turns + nth * 61) % self.rows.max(1));
            let absent = self.told_absent(ids.take(self.rows as usize));
            assert!(absent.is_empty(), "rows {absent:?} are there: {stats:?}");
            assert!(self.stepped.shards.iter_mut().all(|shard| shard.turn().unwrap()));
        }
        panic!("never reached: {:?}", self.stepped.handle.stats());
    }

    /// Keys of which the calling thread alone knows that there is no row.
    fn told_absent(&self, ids: impl Iterator<Item = i64>) -> Vec<i64> {
        let handle = &self.stepped.handle;
        let catalogue = handle.catalogue();
        let Ok(view) = catalogue.resolve("big") else { return Vec::new() };
        let (ids, bytes): (Vec<_>, Vec<_>) = ids.map(|id| (id, key(id))).unzip();
        let hash = |bytes: &[u8]| handle.reads().hash(bytes);
        let keys: Vec<Key<'_>> =
            bytes.iter().map(|bytes| Key { entity_hash: hash(bytes), bytes }).collect();
        let mut absent = Vec::new();
        let mut sink = |at: usize, row: Found<'_, '_>| {
            if matches!(row, Found::Absent) {
                absent.push(ids[at]);
            }
        };
        handle.read_hot(view, &keys, &mut RowBuf::default(), &mut sink);
        absent
    }

    fn put(&mut self, ids: std::ops::Range<i64>, event_time: i64) {
        let catalogue = self.stepped.handle.catalogue();
        let schema = &catalogue.resolve("big").unwrap().latest;
        for id in ids {
            let mut batch = WriteBatch::new(Ack::Durable, 0);
            let mut value = Vec::new();
            // What does not compress.
            let mut rng = Rng::new(id as u64 + 1);
            let noise = (0..40_000).map(|_| rng.below(256) as u8);
            let dense = schema.layout.encode(&[Value::Bytes(noise.collect())], &mut value).unwrap();
            let (key, value) = (batch.store(&key(id)), batch.store(&value));
            batch.rows.push(RowWrite {
                kind: WriteKind::Put,
                dense,
                value,
                ..RowWrite::delete(schema, event_time, key)
            });
            let mut ticket = Some(self.stepped.handle.submit(batch).unwrap());
            self.turn_until(|_| match ticket.take().map(|ticket| ticket.poll()) {
                Some(Err(waiting)) => {
                    ticket = Some(waiting);
                    false
                }
                answer => {
                    let outcomes = answer.unwrap().ok().unwrap();
                    assert!(matches!(outcomes[0], Outcome::Ok { .. }), "{outcomes:?}");
                    true
                }
            });
            self.rows = self.rows.max(id + 1);
        }
    }

    /// Reads keys in all tiers; how many there are.
    fn read(&mut self, ids: std::ops::Range<i64>) -> usize {
        let handle = self.stepped.handle.clone();
        let catalogue = handle.catalogue();
        let view = catalogue.resolve("big").unwrap();
        let bytes: Vec<_> = ids.map(key).collect();
        let hash = |bytes: &[u8]| handle.reads().hash(bytes);
        let keys: Vec<Key<'_>> =
            bytes.iter().map(|bytes| Key { entity_hash: hash(bytes), bytes }).collect();
        let (mut found, mut failed) = (0, Vec::new());
        let mut sink = |_: usize, row: Found<'_, '_>| match row {
            Found::Row(_) => found += 1,
            Found::Failed(why) | Found::Unavailable(why) => failed.push(why.to_owned()),
            Found::Absent => {}
        };
        let mut rest = handle.read_hot(view, &keys, &mut RowBuf::default(), &mut sink);
        let mut ticket = Some(handle.submit_fetch(std::mem::take(&mut rest.batch)).unwrap());
        let mut fetched = Vec::new();
        self.turn_until(|_| match ticket.take().unwrap().poll() {
            Err(waiting) => {
                ticket = Some(waiting);
                false
            }
            Ok(answers) => {
                fetched = answers;
                true
            }
        });
        rest.take(&fetched, sink);
        self.failed = failed;
        found
    }
}

#[test]
fn rows_are_counted_where_they_lie_and_where_they_move() {
    let mut small = Small::open();
    let empty = small.turn_until(|_| true);
    assert!(empty.hot.is_complete && empty.latest.tables == 0);
    // 8 MB of rows twice: neither the hot table of 2 MiB nor a memtable takes them.
    small.put(0..200, 1_000);
    small.put(0..200, 2_000);
    // Every version lies in a table or in the memtable, the newest and the superseded ones; figures
    // are published with a delay.
    let settled = |s: &TierStats| {
        let rows = s.latest.rows + s.history.rows + s.memtable.rows;
        s.memtable.frozen == 0 && s.movement.merges > 0 && rows >= 400
    };
    let stats = small.turn_until(settled);
    assert!(!stats.hot.is_complete && stats.hot.evictions > 200, "{stats:?}");
    assert!(stats.hot.used_bytes <= stats.hot.budget_bytes && stats.hot.rows < 100, "{stats:?}");
    assert_eq!(stats.movement.demotions, stats.hot.evictions);
    assert!(stats.movement.flushes > 20 && stats.trouble.is_none(), "{stats:?}");
    assert!(stats.movement.flushed_bytes > 12_000_000, "{stats:?}");
    let written = stats.movement.flushed_bytes + stats.movement.compacted_bytes;
    let amplification = written as f64 / stats.movement.flushed_bytes as f64;
    assert!((stats.write_amplification - amplification).abs() < 1e-9, "{stats:?}");
    let latest = &stats.latest;
    assert!(latest.rows + stats.memtable.rows >= 200, "{stats:?}");
    assert_eq!(latest.newest_event_time, Some(2_000));
    assert!(latest.memory_bytes > 0 && latest.bytes > 40_000 * latest.rows, "{stats:?}");
    assert!(stats.space_amplification >= 1.0);

    // Reads below the hot table: rows from tables, and keys that filters alone know to be absent.
    let before = stats.reads;
    assert_eq!(small.read(0..20), 20);
    assert_eq!(small.read(1_000..1_100), 0);
    let reads = small.turn_until(|s| s.reads.asked >= before.asked + 100).reads;
    let asked = reads.asked - before.asked;
    let hits = (reads.memory_hits + reads.warm_hits) - (before.memory_hits + before.warm_hits);
    let misses = reads.misses_filtered + reads.misses_read;
    assert_eq!((hits + misses, misses), (asked, 100), "{reads:?}");
    assert!(reads.warm_hits > 0 && reads.misses_filtered > 80, "{reads:?}");
    assert!(reads.blocks_read >= reads.warm_hits, "{reads:?}");
    // Asked for again, not long after: they come in.
    assert_eq!(small.read(0..20), 20);
    small.turn_until(|s| s.movement.promotions > 0);
}

#[test]
fn nearly_all_keys_that_are_nowhere_are_known_without_the_owner() {
    let mut small = Small::open();
    small.put(0..200, 1_000);
    let stats = small.turn_until(|s| s.memtable.frozen == 0 && s.movement.flushes > 0);
    assert!(!stats.hot.is_complete, "{stats:?}");
    // No turn in between: the shard has no part in it. A filter is wrong about one key in 256.
    let told = small.told_absent(1_000..2_000).len();
    assert!(told > 950, "{told} of 1000");
    let after = small.turn_until(|s| s.reads.asked > stats.reads.asked);
    assert_eq!(after.reads.misses_filtered - stats.reads.misses_filtered, told as u64);
}

#[test]
fn keys_of_several_shards_that_are_asked_together_are_told_apart() {
    let mut small = Small::of_shards(3, 128 << 10);
    small.put(0..400, 1_000);
    let is_below = |s: &TierStats| s.memtable.frozen == 0 && s.movement.flushes > 0;
    assert!(!small.turn_until(is_below).hot.is_complete);
    // Two that are nowhere after each that is somewhere.
    let ids = (0..1_200).map(|nth| if nth % 3 == 0 { nth / 3 } else { 10_000 + nth });
    let told = small.told_absent(ids);
    assert!(told.iter().all(|id| *id >= 10_000), "{told:?}");
    assert!(told.len() > 760, "{} of 800", told.len());
}

#[test]
fn rows_that_left_the_hot_table_for_memtables_alone_are_not_told_absent() {
    // Memtables of 100 rows over a hot table of some 50: looked at in every turn.
    let mut small = Small::flushing_at(4 << 20);
    small.put(0..250, 1_000);
    let stats = small.turn_until(|s| s.movement.flushes > 1 && s.memtable.frozen == 0);
    assert!(stats.hot.evictions > 100 && stats.hot.rows < 80, "{stats:?}");
    assert_eq!(small.read(0..250), 250);
}

#[test]
fn a_disk_that_refuses_shows_in_the_figures() {
    let mut small = Small::open();
    small.put(0..200, 1_000);
    small.turn_until(|s| s.memtable.frozen == 0 && s.movement.flushes > 0);
    small.env.fail_randomly(SimOp::Read, 1_000_000);
    small.read(0..20);
    small.turn_until(|s| s.reads.failed > 0);
    small.env.fail_randomly(SimOp::Read, 0);
    // The log has its segment already: only a table's file is missing.
    small.env.fail_randomly(SimOp::Create, 1_000_000);
    small.put(200..206, 1_000);
    let stats = small.turn_until(|s| s.trouble.is_some());
    assert!(stats.memtable.frozen > 0 && stats.movement.failures > 0, "{stats:?}");
    small.env.fail_randomly(SimOp::Create, 0);
    small.turn_until(|s| s.trouble.is_none() && s.memtable.frozen == 0);
}

#[test]
fn a_block_that_can_not_be_read_fails_its_own_row_alone() {
    let mut small = Small::open();
    // Rows that fill blocks of their own.
    small.put(0..200, 1_000);
    small.turn_until(|s| s.memtable.frozen == 0 && s.movement.merges > 0);
    let warm = Path::new("/data/warm");
    let tables = small.env.list(warm).unwrap().into_iter();
    let tables = tables.filter(|entry| entry.name.ends_with(".tbl"));
    let largest = tables.max_by_key(|entry| entry.len_bytes).unwrap();
    assert!(largest.len_bytes > 1 << 20, "{largest:?}");
    let middle = largest.len_bytes / 2;
    small.env.set_unreadable(&warm.join(&largest.name), middle..middle + 1).unwrap();
    assert_eq!(small.read(0..200), 199);
    let [why] = &small.failed[..] else { panic!("{:?}", small.failed) };
    assert!(why.contains(&largest.name) && why.contains("os error 5"), "{why}");
    small.env.set_unreadable(&warm.join(&largest.name), 0..0).unwrap();
    assert_eq!((small.read(0..200), small.failed.len()), (200, 0));
}
