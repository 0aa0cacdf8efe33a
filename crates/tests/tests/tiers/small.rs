//! A small store, turned by the test.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use thermae_engine::background::Background;
use thermae_engine::handle::Found;
use thermae_engine::options::HotMemory;
use thermae_engine::reads::RowBuf;
use thermae_engine::runtime::{Stepped, open};
use thermae_engine::service::NoService;
use thermae_engine::tiers::TierStats;
use thermae_engine::{Ack, Handle, Key, Options, Outcome, RowWrite, View, WriteBatch, WriteKind};
use thermae_env::SimEnv;
use thermae_formats::{
    Feature, FeatureView, JoinKey, KeyType, KeyValue, NO_TIME, Scalar, Value, encode_key,
};
use thermae_tests::model::Rng;

const TURNS_MAX: usize = 200_000;

/// A store turned by the test, whose rows do not all fit its hot tables; of one shard, unless it says otherwise.
pub struct Small {
    pub env: SimEnv,
    pub stepped: Stepped<SimEnv, NoService>,
    /// Why rows of the last read could not be read.
    pub failed: Vec<String>,
    /// Event times of the rows that the last read found.
    pub times: BTreeMap<i64, i64>,
    /// Rows that were acknowledged: the keys below.
    rows: i64,
    turns: i64,
    /// Bytes of a row's value.
    value_bytes: usize,
    /// Values are of one letter, not noise.
    pub is_plain: bool,
}

fn join_keys() -> Vec<JoinKey> {
    vec![JoinKey::new("id", KeyType::Int64)]
}

fn key(id: i64) -> Vec<u8> {
    let mut key = Vec::new();
    encode_key(&join_keys(), &[KeyValue::Int(id)], &mut key).unwrap();
    key
}

/// What the calling thread alone knew of some keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Here {
    pub found: usize,
    pub absent: usize,
    /// Left to the shards.
    pub unknown: usize,
}

impl Small {
    pub fn open() -> Small {
        Self::flushing_at(128 << 10)
    }

    pub fn flushing_at(flush_bytes: usize) -> Small {
        Self::of_shards(1, flush_bytes)
    }

    pub fn of_shards(cores: usize, flush_bytes: usize) -> Small {
        Self::of_values(cores, flush_bytes, 40_000)
    }

    /// Of rows whose values have so many bytes.
    pub fn of_values(cores: usize, flush_bytes: usize, value_bytes: usize) -> Small {
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
        let (failed, times) = (Vec::new(), BTreeMap::new());
        let mut small =
            Small { env, stepped, failed, times, rows: 0, turns: 0, value_bytes, is_plain: false };
        small.define(0);
        small
    }

    /// Defines the view, or defines it anew, with rows that may be hot for so many microseconds; 0: for any time.
    pub fn define(&mut self, hot_for_us: i64) {
        let data = Feature::new("data", Scalar::Bytes);
        let mut view = FeatureView::new("test", "big", join_keys(), vec![data]);
        view.tiers.hot_for_us = hot_for_us;
        let waiter = self.stepped.handle.submit_apply(&[view]).unwrap();
        self.turn_until(|_| waiter.poll().pop().is_some_and(|result| result.is_ok()));
    }

    /// Turns until the figures of the first shard are as asked.
    pub fn turn_until(&mut self, mut is_reached: impl FnMut(&TierStats) -> bool) -> TierStats {
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
    pub fn told_absent(&self, ids: impl Iterator<Item = i64>) -> Vec<i64> {
        let (handle, ids) = (&self.stepped.handle, ids.collect::<Vec<_>>());
        if ids.is_empty() {
            return Vec::new();
        }
        let mut absent = Vec::new();
        let mut sink = |at: usize, row: Found<'_, '_>| {
            if matches!(row, Found::Absent) {
                absent.push(ids[at]);
            }
        };
        with_keys(handle, ids.iter().copied(), |view, keys| {
            handle.read_hot(view, keys, &mut RowBuf::default(), &mut sink)
        });
        absent
    }

    /// Erases rows; partition and sequence of each.
    pub fn erase(&mut self, ids: Range<i64>) -> Vec<(u16, u64)> {
        let catalogue = self.stepped.handle.catalogue();
        let schema = &catalogue.resolve("big").unwrap().latest;
        let mut batch = WriteBatch::new(Ack::Durable, 0);
        for id in ids {
            let key = batch.store(&key(id));
            let erase = RowWrite::delete(schema, NO_TIME, key);
            batch.rows.push(RowWrite { kind: WriteKind::Erase, ..erase });
        }
        let mut ticket = self.stepped.handle.submit(batch).unwrap();
        let outcomes = loop {
            ticket = match ticket.poll() {
                Ok(outcomes) => break outcomes,
                Err(waiting) => waiting,
            };
            self.turn(1);
        };
        let token = |outcome: &Outcome| match outcome {
            Outcome::Ok { partition, sequence, .. } => (*partition, *sequence),
            outcome => panic!("{outcome:?}"),
        };
        outcomes.iter().map(token).collect()
    }

    pub fn put(&mut self, ids: Range<i64>, event_time: i64) {
        let catalogue = self.stepped.handle.catalogue();
        let schema = &catalogue.resolve("big").unwrap().latest;
        for id in ids {
            let mut batch = WriteBatch::new(Ack::Durable, 0);
            let mut value = Vec::new();
            // What does not compress, unless it is to.
            let mut rng = Rng::new(id as u64 + 1);
            let letters = if self.is_plain { 1 } else { 256 };
            let noise = (0..self.value_bytes).map(|_| rng.below(letters) as u8);
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

    /// Reads keys on the calling thread alone, without a turn.
    pub fn here(&self, ids: Range<i64>) -> Here {
        here(&self.stepped.handle, ids, |_, _| ())
    }

    /// Whether the hot table has a row.
    pub fn is_hot(&self, id: i64) -> bool {
        let mut is_found = false;
        let mut sink = |_: usize, row: Found<'_, '_>| is_found = matches!(row, Found::Row(_));
        let handle = &self.stepped.handle;
        with_keys(handle, std::iter::once(id), |view, keys| {
            handle.read_hot(view, keys, &mut RowBuf::default(), &mut sink)
        });
        is_found
    }

    /// Some turns.
    pub fn turn(&mut self, turns: usize) {
        for shard in &mut self.stepped.shards {
            (0..turns).for_each(|_| assert!(shard.turn().unwrap()));
        }
    }

    /// Reads keys in all tiers, tables by their shards; how many there are.
    pub fn read(&mut self, ids: Range<i64>) -> usize {
        let (handle, first) = (self.stepped.handle.clone(), ids.start);
        let (mut times, mut failed) = (BTreeMap::new(), Vec::new());
        let mut sink = |at: usize, row: Found<'_, '_>| match row {
            Found::Row(row) => {
                times.insert(first + at as i64, row.event_time);
            }
            Found::Failed(why) | Found::Unavailable(why) => failed.push(why.to_owned()),
            Found::Absent => {}
        };
        let mut rest = with_keys(&handle, ids, |view, keys| {
            handle.read_hot(view, keys, &mut RowBuf::default(), &mut sink)
        });
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
        (self.failed, self.times) = (failed, times);
        self.times.len()
    }
}

/// Reads keys on the calling thread alone. `seen` is called once for each row that is found, with its key and event
/// time.
pub fn here(handle: &Handle<SimEnv>, ids: Range<i64>, mut seen: impl FnMut(i64, i64)) -> Here {
    let (mut here, first) = (Here::default(), ids.start);
    let mut sink = |at: usize, row: Found<'_, '_>| match row {
        Found::Row(row) => {
            here.found += 1;
            seen(first + at as i64, row.event_time);
        }
        Found::Absent => here.absent += 1,
        Found::Failed(why) | Found::Unavailable(why) => panic!("{why}"),
    };
    let rest = with_keys(handle, ids, |view, keys| {
        handle.read_here(view, keys, &mut RowBuf::default(), &mut sink)
    });
    here.unknown = rest.batch.keys().len();
    here
}

/// Lets `read` have the view and the keys of some rows.
fn with_keys<R>(
    handle: &Handle<SimEnv>,
    ids: impl Iterator<Item = i64>,
    read: impl FnOnce(&View, &[Key<'_>]) -> R,
) -> R {
    let (catalogue, bytes) = (handle.catalogue(), ids.map(key).collect::<Vec<_>>());
    let hash = |bytes: &[u8]| handle.reads().hash(bytes);
    let keys = bytes.iter().map(|bytes| Key { entity_hash: hash(bytes), bytes });
    read(catalogue.resolve("big").unwrap(), &keys.collect::<Vec<_>>())
}
