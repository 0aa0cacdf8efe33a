//! What a backup costs beside serving: rows written a second and the latency of reads, alone and beside a backup;
//! then a second backup, and a restore.
//!
//! `cargo run --release -p thermae-engine --example backup [-- FOLDER [ROWS [MIB_PER_S]]]`: rows have a kilobyte that
//! does not compress. FOLDER must be empty.

use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{scope, yield_now};

use thermae_engine::Options;
use thermae_engine::backup::{Place, Source, Taken, Work, restore, take};
use thermae_engine::store::{Row, Store};
use thermae_env::{Env, RealEnv, lower_priority};
use thermae_formats::{Feature, FeatureView, JoinKey, KeyType, KeyValue, Scalar, Value};

/// Rows of a write, and of a read.
const BATCH: usize = 100;
/// Rows a second beside reads and backups.
const ROWS_PER_S: u64 = 20_000;
/// Rows that are read all the time.
const HOT_ROWS: u64 = 20_000;
/// A phase that is measured, nanoseconds.
const PHASE_NS: u64 = 8_000_000_000;

fn row(number: u64) -> Row {
    let mut state = number + 1;
    let noise = (0..128).flat_map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    let value = Value::Bytes(noise.collect());
    Row::new([KeyValue::Int(number as i64)], 1_700_000_000_000_000, [value])
}

struct Bench {
    env: RealEnv,
    store: Store,
    next: AtomicU64,
}

impl Bench {
    fn write(&self) -> Result<(), thermae_engine::Error> {
        let first = self.next.fetch_add(BATCH as u64, Ordering::Relaxed);
        let rows: Vec<Row> = (first..first + BATCH as u64).map(row).collect();
        self.store.put("bench/rows", &rows).map(|_| ())
    }

    /// Writes and reads at a fixed pace until `is_over`; prints what came of it.
    fn phase(&self, name: &str, is_over: &AtomicBool) -> Result<(), Box<dyn Error>> {
        let plan = self.store.plan("bench/rows", &["data"])?;
        let (began_ns, mut nanos, mut written) = (self.env.monotonic_ns(), Vec::new(), 0);
        scope(|threads| -> Result<(), Box<dyn Error>> {
            let reader = threads.spawn(|| {
                let mut nanos = Vec::new();
                let mut number = 0;
                while !is_over.load(Ordering::Acquire) {
                    let keys = (0..BATCH as u64).map(|at| (number * 7919 + at * 131) % HOT_ROWS);
                    let keys: Vec<_> = keys.map(|key| vec![KeyValue::Int(key as i64)]).collect();
                    let asked_ns = self.env.monotonic_ns();
                    if self.store.get(&plan, &keys).is_err() {
                        break;
                    }
                    nanos.push(self.env.monotonic_ns() - asked_ns);
                    number += 1;
                    std::thread::park_timeout(std::time::Duration::from_millis(1));
                }
                nanos
            });
            while !is_over.load(Ordering::Acquire) {
                self.write()?;
                written += BATCH as u64;
                while (self.env.monotonic_ns() - began_ns) * ROWS_PER_S / 1_000_000_000 < written {
                    yield_now();
                }
            }
            nanos = reader.join().unwrap_or_default();
            Ok(())
        })?;
        nanos.sort_unstable();
        let at =
            |share: f64| nanos.get((nanos.len() as f64 * share) as usize).map_or(0, |n| n / 1_000);
        let seconds = (self.env.monotonic_ns() - began_ns) as f64 / 1e9;
        let (rows, p50, p99, p999) = (written as f64 / seconds, at(0.5), at(0.99), at(0.999));
        let reads = nanos.len();
        say(&format!(
            "{name}: {rows:.0} rows/s; {reads} reads of 100, p50 {p50} us, p99 {p99} us, p99.9 {p999} us"
        ))
    }

    fn back_up(
        &self,
        place: &Place<RealEnv>,
        bytes_per_s: u64,
    ) -> Result<Taken, thermae_engine::Error> {
        let source = Source::of(self.store.handle(), self.env.now_us())?;
        take(place, &source, &mut Work { bytes_per_s, tell: &mut |_, _| true })
    }
}

fn say(line: &str) -> Result<(), Box<dyn Error>> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().unwrap_or_else(|| "backup-bench".to_owned()));
    let rows: u64 = arguments.next().map_or(Ok(2_000_000), |text| text.parse())?;
    let bytes_per_s = arguments.next().map_or(Ok(128), |text| text.parse::<u64>())? << 20;
    let env = RealEnv;
    let options = Options { memory_bytes: 256 << 20, ..Options::default() };
    let store = Store::open_with(folder.join("data"), options)?;
    let keys = vec![JoinKey::new("id", KeyType::Int64)];
    let data = Feature::new("data", Scalar::Bytes);
    store.apply(&[FeatureView::new("bench", "rows", keys, vec![data])])?;
    let bench = Bench { env, store, next: AtomicU64::new(0) };
    while bench.next.load(Ordering::Relaxed) < rows {
        bench.write()?;
    }
    let place = Place::new(env, &folder.join("place"));
    measure(&bench, &place, bytes_per_s)?;
    let began_ns = env.monotonic_ns();
    let restored = restore(
        &place,
        None,
        Path::new(&folder.join("restored")),
        &mut Work { bytes_per_s: 0, tell: &mut |_, _| true },
    )?;
    let seconds = (env.monotonic_ns() - began_ns) as f64 / 1e9;
    say(&format!("restored {} MiB in {seconds:.1} s", restored.bytes >> 20))
}

fn measure(bench: &Bench, place: &Place<RealEnv>, bytes_per_s: u64) -> Result<(), Box<dyn Error>> {
    for round in 1..=2 {
        let is_over = AtomicBool::new(false);
        scope(|threads| -> Result<(), Box<dyn Error>> {
            threads.spawn(|| {
                let until_ns = bench.env.monotonic_ns() + PHASE_NS;
                while bench.env.monotonic_ns() < until_ns {
                    std::thread::park_timeout(std::time::Duration::from_millis(50));
                }
                is_over.store(true, Ordering::Release);
            });
            bench.phase("alone", &is_over)
        })?;
        let is_over = AtomicBool::new(false);
        let began_ns = bench.env.monotonic_ns();
        let taken = scope(|threads| -> Result<Taken, Box<dyn Error>> {
            let taker = threads.spawn(|| {
                let _ = lower_priority(19);
                let taken = bench.back_up(place, bytes_per_s);
                is_over.store(true, Ordering::Release);
                taken
            });
            bench.phase("beside a backup", &is_over)?;
            Ok(taker.join().map_err(|_| "the backup broke")??)
        })?;
        let seconds = (bench.env.monotonic_ns() - began_ns) as f64 / 1e9;
        let (files, bytes) = (taken.new_files, taken.new_bytes >> 20);
        let (all, of) = (taken.files, taken.bytes >> 20);
        say(&format!(
            "backup {round}: {bytes} MiB in {files} new files of {of} MiB in {all}, {seconds:.1} s"
        ))?;
    }
    Ok(())
}
