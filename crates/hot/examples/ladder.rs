//! The first rungs of the ladder: what memory allows, and what the table makes of it.
//!
//! `cargo run --release -p thermae-hot --example ladder [-- ROWS [FEATURES]]` fills a table with rows of ten
//! (or so many) float32 under an int64 key, then reads them from a second mapping of the same memory, as another
//! process would. It prints nanoseconds of processor time a key: random lines of memory with 16 under way,
//! and look-ups in batches of 1, 10, 100 and 1000 keys. Several rounds; the median, and the least. With
//! 2000 rows, which stay in the caches, it prints the processor's share of a look-up.

use std::error::Error;
use std::hint::black_box;
use std::io::Write;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use thermae_formats::hash::{entity_hash, row_hash};
use thermae_formats::{NO_TIME, ViewId};
use thermae_hot::{
    Expect, HotConfig, HotReader, HotWriter, Lookup, NewRow, Probe, RowBuf, multi_get,
};

const SEED: u64 = 42;
const SCHEMAS: [u16; 1] = [1];
const READS: usize = 1 << 19;
const ROUNDS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let rows: u64 = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let features: usize = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(10);
    let bytes = rows * (88 + 4 * features as u64) * 5 / 4;
    let config = HotConfig {
        bytes: bytes.max(4 << 20),
        hash_seed: SEED,
        store_id: 1,
        epoch: 1,
        shard: 0,
        shards: 1,
        domain: 0,
    };
    let mut writer = HotWriter::create(&config)?;
    fill(&mut writer, rows, features)?;
    let descriptor = writer.descriptor()?;
    let reader = HotReader::from_descriptor(descriptor, &Expect::default())?;
    let keys = random_keys(rows);
    let probes: Vec<Probe<'_>> = keys
        .iter()
        .map(|key| Probe { table: 0, row_hash: hash(key), key, schema_ids: &SCHEMAS })
        .collect();
    let mut lines: Vec<(String, Vec<f64>)> = Vec::new();
    for round in 0..ROUNDS {
        let mut rung = |name: String, ns: f64| {
            if round == 0 {
                lines.push((name, vec![ns]));
            } else if let Some((_, all)) = lines.iter_mut().find(|(known, _)| *known == name) {
                all.push(ns);
            }
        };
        rung("one line, 16 under way".into(), random_lines(rows));
        rung("look-up alone".into(), one_by_one(&reader, &probes));
        for batch in [1, 10, 100, 1000] {
            rung(format!("batches of {batch}"), batches(&reader, &probes, batch));
        }
        rung("batches of 100, absent keys".into(), absent(&reader));
    }
    say(&format!("{rows} rows, ns a key: median (least) of {ROUNDS} rounds"))?;
    for (name, mut all) in lines {
        all.sort_by(f64::total_cmp);
        say(&format!("{name:>28}: {:7.1} ({:.1})", all[all.len() / 2], all[0]))?;
    }
    Ok(())
}

/// One line of the report.
fn say(line: &str) -> std::io::Result<()> {
    writeln!(std::io::stdout(), "{line}")
}

/// The thread's own processor time, so that other work on the machine disturbs less.
struct Timer(Duration);

impl Timer {
    fn start() -> Timer {
        Timer(Timer::now())
    }

    fn now() -> Duration {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }

    fn ns(&self) -> f64 {
        (Timer::now() - self.0).as_nanos() as f64
    }
}

fn hash(key: &[u8]) -> u64 {
    row_hash(entity_hash(key, SEED), ViewId(1))
}

fn fill(writer: &mut HotWriter, rows: u64, features: usize) -> Result<(), Box<dyn Error>> {
    let begin = Timer::start();
    let mut value = vec![0u8; (4 * features).max(8)];
    for number in 0..rows {
        let key = number.to_le_bytes();
        value[..8].copy_from_slice(&key);
        let row = NewRow {
            schema_id: 1,
            flags: 2,
            sequence: number,
            event_time: number as i64,
            created_time: NO_TIME,
            expire_at: NO_TIME,
            key: &key,
            value: &value,
        };
        let reservation = writer.reserve(row.body_bytes())?;
        writer.upsert(reservation, hash(&key), &SCHEMAS, &row)?;
    }
    let stats = writer.stats();
    say(&format!(
        "written at {:.0} ns a row; index load {:.2}, {:.1} bytes a row beside key and values",
        begin.ns() / rows as f64,
        stats.index_load,
        stats.overhead_bytes_per_row()
    ))?;
    Ok(())
}

fn random_keys(rows: u64) -> Vec<[u8; 8]> {
    let mut state = 1u64;
    (0..READS).map(|_| (step(&mut state) % rows).to_le_bytes()).collect()
}

/// SplitMix64.
fn step(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// Independent loads of random lines, over as much memory as the rows take.
fn random_lines(rows: u64) -> f64 {
    let words = vec![1u64; rows as usize * 12];
    let lines = words.len() / 8;
    let mut state = 7;
    let begin = Timer::start();
    let mut sum = 0u64;
    for _ in 0..READS / 16 {
        let at: [usize; 16] = std::array::from_fn(|_| {
            ((step(&mut state) as u128 * lines as u128) >> 64) as usize * 8
        });
        sum += at.iter().map(|&word| words[word]).sum::<u64>();
    }
    black_box(sum);
    begin.ns() / READS as f64
}

fn one_by_one(reader: &HotReader, probes: &[Probe<'_>]) -> f64 {
    let mut buffer = RowBuf::default();
    let begin = Timer::start();
    let mut found = 0;
    for probe in probes {
        found += usize::from(matches!(reader.get(probe, &mut buffer), Lookup::Found(_)));
    }
    assert_eq!(found, probes.len());
    begin.ns() / probes.len() as f64
}

fn batches(reader: &HotReader, probes: &[Probe<'_>], batch: usize) -> f64 {
    let mut buffer = RowBuf::default();
    let mut out = Vec::new();
    let readers = std::slice::from_ref(reader);
    let begin = Timer::start();
    let mut found = 0;
    for some in probes.chunks(batch) {
        out.clear();
        multi_get(readers, some.iter().copied(), &mut buffer, |_, answer| {
            if let Lookup::Found(row) = answer {
                out.extend_from_slice(row.value());
                found += 1;
            }
        });
        black_box(&out);
    }
    assert_eq!(found, probes.len());
    begin.ns() / probes.len() as f64
}

fn absent(reader: &HotReader) -> f64 {
    let keys: Vec<[u8; 8]> =
        (0..READS as u64).map(|number| (u64::MAX - number).to_le_bytes()).collect();
    let probes: Vec<Probe<'_>> = keys
        .iter()
        .map(|key| Probe { table: 0, row_hash: hash(key), key, schema_ids: &SCHEMAS })
        .collect();
    let mut buffer = RowBuf::default();
    let begin = Timer::start();
    let mut absent = 0;
    for some in probes.chunks(100) {
        multi_get(std::slice::from_ref(reader), some.iter().copied(), &mut buffer, |_, answer| {
            absent += usize::from(matches!(answer, Lookup::Absent));
        });
    }
    assert_eq!(absent, probes.len());
    begin.ns() / probes.len() as f64
}
