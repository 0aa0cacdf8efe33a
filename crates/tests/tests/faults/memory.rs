//! Bits that flip in memory, under a store that runs: the row is found damaged and taken from below.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use tempfile::TempDir;
use thermae_engine::Options;
use thermae_engine::store::{Row, Status, Store};
use thermae_formats::{Feature, FeatureView, JoinKey, KeyType, KeyValue, Scalar, Value};
use thermae_tests::model::Rng;

/// Rows of the store; the first is damaged.
const ROWS: i64 = 20;
const VALUE_BYTES: usize = 200;

fn view() -> FeatureView {
    let keys = vec![JoinKey::new("id", KeyType::Int64)];
    FeatureView::new("test", "noise", keys, vec![Feature::new("data", Scalar::Bytes)])
}

fn open(dir: &Path) -> Store {
    let options = Options { memory_bytes: 8 << 20, segment_bytes: 64 << 10, ..Options::default() };
    Store::open_with(dir, options).unwrap()
}

/// A store of noise, which no other store of this process has.
struct Noisy {
    store: Store,
    seed: i64,
    _dir: TempDir,
}

impl Noisy {
    /// All rows are in tables, and in the hot table, which holds every row.
    fn new(seed: i64) -> Noisy {
        let dir = tempfile::tempdir().unwrap();
        let noisy = Noisy { store: open(dir.path()), seed, _dir: dir };
        noisy.store.apply(&[view()]).unwrap();
        (0..ROWS).for_each(|id| noisy.put(id, 1_000));
        let Noisy { store, seed, _dir: dir } = noisy;
        store.close().unwrap();
        let store = open(dir.path());
        let shard = store.handle().stats().shards.swap_remove(0);
        assert!(shard.tiers.latest.rows >= ROWS as u64 && shard.tiers.hot.is_complete, "{shard:?}");
        Noisy { store, seed, _dir: dir }
    }

    /// The value of a row at a time.
    fn noise(&self, id: i64, event_time: i64) -> Vec<u8> {
        let mut rng = Rng::new((self.seed * 1_000_000 + event_time * 100 + id) as u64);
        (0..VALUE_BYTES).map(|_| rng.below(256) as u8).collect()
    }

    fn put(&self, id: i64, event_time: i64) {
        let value = Value::Bytes(self.noise(id, event_time));
        self.store.put("noise", &[Row::new([KeyValue::Int(id)], event_time, [value])]).unwrap();
    }

    fn check(&self, id: i64, event_time: i64) {
        let plan = self.store.plan("noise", &["data"]).unwrap();
        let answer = self.store.get(&plan, &[vec![KeyValue::Int(id)]]).unwrap().swap_remove(0);
        assert_eq!((answer.status, answer.event_time), (Status::Present, event_time), "{id}");
        assert_eq!(answer.values, [Value::Bytes(self.noise(id, event_time))], "{id}");
    }

    /// Flips a bit of a row in the hot table.
    fn flip(&self, id: i64, event_time: i64) {
        assert_eq!(flip_in_memory(&self.noise(id, event_time)), 1, "rows found in memory");
    }
}

/// Flips a bit of these bytes wherever a hot table of this process has them; how often that was.
fn flip_in_memory(bytes: &[u8]) -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let memory = File::options().read(true).write(true).open("/proc/self/mem").unwrap();
    let mut flipped = 0;
    for line in maps.lines().filter(|line| line.contains("memfd:") && line.contains(" rw-s ")) {
        let (start, end) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
        let address = |text| u64::from_str_radix(text, 16).unwrap();
        let mut map = vec![0; (address(end) - address(start)) as usize];
        // A table of another test may go meanwhile.
        if memory.read_exact_at(&mut map, address(start)).is_err() {
            continue;
        }
        for at in 0..map.len().saturating_sub(bytes.len()) {
            if map[at] == bytes[0] && map[at..].starts_with(bytes) {
                let wrong = map[at] ^ 0x10;
                memory.write_all_at(&[wrong], address(start) + at as u64).unwrap();
                flipped += 1;
            }
        }
    }
    flipped
}

#[test]
fn a_row_whose_bit_flips_in_memory_is_read_from_below() {
    let noisy = Noisy::new(1);
    // Below it is a table.
    noisy.flip(0, 1_000);
    (0..ROWS).for_each(|id| noisy.check(id, 1_000));
    // Below it is what was written a moment ago, which no table has yet.
    noisy.put(1, 2_000);
    noisy.flip(1, 2_000);
    noisy.check(1, 2_000);
    noisy.store.close().unwrap();
}

#[test]
fn a_write_over_a_row_whose_bit_flipped_is_judged_against_what_was_there() {
    let noisy = Noisy::new(2);
    noisy.flip(0, 1_000);
    // Nobody has read it yet: the write is the first to meet it.
    noisy.put(0, 500);
    noisy.check(0, 1_000);
    // And it goes on: a newer one wins.
    noisy.put(0, 1_500);
    noisy.check(0, 1_500);
    (1..ROWS).for_each(|id| noisy.check(id, 1_000));
    noisy.store.close().unwrap();
}
