//! What a sorted table costs: bytes a row, processor time to build and to search, and its filter.
//!
//! `cargo run --release -p thermae-tiering --example tables [-- ROWS]` writes tables of rows of ten float32
//! and two short strings under an int64 key, in blocks of several sizes and compressions, and looks up
//! keys in blocks that are in memory. Processor time of the thread; the device's own time is left out.
//! `measured` values have one decimal, as instruments give them; `noise` values use every bit.

use std::error::Error;
use std::hint::black_box;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use rustix::time::{ClockId, clock_gettime};
use thermae_env::{AlignedBuf, File, RealEnv, RealFile};
use thermae_formats::hash::{entity_hash, row_hash};
use thermae_formats::table::{TableKind, TableRef};
use thermae_formats::version::Version;
use thermae_formats::{Feature, NO_TIME, RowLayout, Scalar, SchemaId, Value, ViewId};
use thermae_tiering::table::{Packing, Scratch, Table, TableSpec, TableWriter};

const STORE: [u8; 16] = [7; 16];
const SEED: u64 = 42;
const VIEW: ViewId = ViewId(1);
const LOOK_UPS: usize = 200_000;

type AnyError = Box<dyn Error>;

struct Row {
    hash: u64,
    key: [u8; 8],
    value: Vec<u8>,
}

impl Row {
    fn version(&self) -> Version<'_> {
        let number = u64::from_le_bytes(self.key);
        Version {
            schema_id: SchemaId(1),
            flags: 2,
            sequence: number,
            event_time: 1_767_225_600_000_000 + (number as i64 * 7919) % 86_400_000_000,
            created_time: NO_TIME,
            expire_at: NO_TIME,
            key: &self.key,
            value: &self.value,
        }
    }
}

fn main() -> Result<(), AnyError> {
    let rows = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let folder = tempfile::tempdir()?;
    say(
        "data       block  level  bytes/row  raw/row  rows/block  build ns/row  search ns  scan ns/row",
    )?;
    for (name, is_noise) in [("measured", false), ("noise", true)] {
        let rows = make_rows(rows, is_noise)?;
        for (block_pages, level) in [(1, -1), (1, 1), (2, -1), (4, -1)] {
            let packing = Packing { block_pages, level };
            let table = one_table(name, folder.path(), &rows, packing)?;
            if !is_noise && packing == Packing::default() {
                about_filter(&table, &rows)?;
            }
        }
        if !is_noise {
            bloom(&rows)?;
        }
    }
    Ok(())
}

/// One line of the report.
fn say(line: &str) -> std::io::Result<()> {
    writeln!(std::io::stdout(), "{line}")
}

/// Processor time of the thread, in nanoseconds.
fn now_ns() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// SplitMix64.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn make_rows(count: u64, is_noise: bool) -> Result<Vec<Row>, AnyError> {
    let mut features: Vec<_> =
        (0..10).map(|n| Feature::new(format!("f{n}"), Scalar::Float32)).collect();
    features.extend(["s0", "s1"].map(|name| Feature::new(name, Scalar::String)));
    let layout = RowLayout::new(&features)?;
    let mut state = 1;
    let mut rows = Vec::new();
    for number in 0..count {
        let mut values: Vec<Value> = (0..10)
            .map(|_| match (is_noise, random(&mut state)) {
                (true, bits) => Value::from((bits as u32 as f32) / 4e9),
                (false, bits) => Value::from((bits % 1000) as f32 / 10.0 - 50.0),
            })
            .collect();
        values.push(Value::from(["JFK", "LGA", "EWR", "BOS"][random(&mut state) as usize % 4]));
        values.push(Value::from(format!("N{:05}", random(&mut state) % 4000).as_str()));
        let (key, mut value) = (number.to_le_bytes(), Vec::new());
        layout.encode(&values, &mut value)?;
        rows.push(Row { hash: entity_hash(&key, SEED), key, value });
    }
    rows.sort_by_key(|row| row.hash);
    Ok(rows)
}

fn one_table(
    name: &str,
    folder: &Path,
    rows: &[Row],
    packing: Packing,
) -> Result<Arc<Table<RealFile>>, AnyError> {
    let env = RealEnv::new();
    let file_id = random(&mut now_ns().to_bits());
    let kind = TableKind::Latest;
    let spec = TableSpec { store_id: STORE, file_id, kind, hash_seed: SEED, may_hold_stubs: false };
    let start = now_ns();
    let mut writer = TableWriter::create_with(&env, folder, spec, packing)?;
    for row in rows {
        writer.add(VIEW, row.hash, &row.version())?;
    }
    let what: TableRef = writer.finish()?;
    let count = rows.len() as f64;
    let build = (now_ns() - start) / count;
    let table = Arc::new(Table::open(&env, folder, &STORE, &what)?);
    let search = searches(&table, rows, &what)?;
    let start = now_ns();
    let mut scan = table.scan();
    while let Some(row) = scan.next()? {
        black_box(row);
    }
    let scanned = (now_ns() - start) / count;
    let raw: usize = rows.iter().map(|row| row.version().encoded_bytes()).sum();
    say(&format!(
        "{name:9} {:2} KiB {:6} {:10.1} {:8.1} {:11.1} {build:13.0} {search:10.0} {scanned:12.0}",
        4 * packing.block_pages,
        packing.level,
        what.bytes as f64 / count,
        raw as f64 / count,
        count / f64::from(table.blocks()),
    ))?;
    Ok(table)
}

/// Nanoseconds of a look-up whose block is in memory: filter, index, decompress, find.
fn searches(table: &Table<RealFile>, rows: &[Row], what: &TableRef) -> Result<f64, AnyError> {
    let mut file = AlignedBuf::zeroed(what.bytes as usize);
    table.file().read_at(&mut file, 0)?;
    let (mut scratch, mut state, mut found) = (Scratch::new(), 3, 0);
    let start = now_ns();
    for _ in 0..LOOK_UPS {
        let row = &rows[random(&mut state) as usize % rows.len()];
        let Some(extent) = table.locate(VIEW, row.hash) else { continue };
        let at = extent.offset_bytes as usize;
        let block = &file[at..at + extent.bytes as usize];
        let is_there = table.may_hold(VIEW, row.hash);
        found +=
            usize::from(is_there && table.search(extent, block, &row.key, &mut scratch)?.is_some());
    }
    let ns = (now_ns() - start) / LOOK_UPS as f64;
    match found {
        LOOK_UPS => Ok(ns),
        _ => Err(format!("{found} of {LOOK_UPS} found").into()),
    }
}

fn about_filter(table: &Table<RealFile>, rows: &[Row]) -> Result<(), AnyError> {
    let mut state = 5;
    let absent: Vec<u64> = (0..1 << 20).map(|_| random(&mut state)).collect();
    let start = now_ns();
    let wrong = absent.iter().filter(|hash| table.may_hold(VIEW, **hash)).count();
    let ns = (now_ns() - start) / absent.len() as f64;
    let start = now_ns();
    let located = absent.iter().filter(|hash| table.locate(VIEW, **hash).is_some()).count();
    let index_ns = (now_ns() - start) / absent.len() as f64;
    black_box(located);
    let hashes: Vec<u64> = rows.iter().map(|row| row_hash(row.hash, VIEW)).collect();
    let start = now_ns();
    let built = xorf::BinaryFuse8::try_from(&hashes).is_ok();
    let build = (now_ns() - start) / rows.len() as f64;
    say(&format!(
        "binary fuse: {:.2} bits/row, {:.3} % false positives, {ns:.0} ns, build {build:.0} ns/row ({built}); index {:.2} bits/row, {index_ns:.0} ns",
        table.filter_bytes() as f64 * 8.0 / rows.len() as f64,
        wrong as f64 * 100.0 / absent.len() as f64,
        (table.memory_bytes() - table.filter_bytes()) as f64 * 8.0 / rows.len() as f64,
    ))?;
    Ok(())
}

/// A blocked Bloom filter beside it: all bits of a key in one line of 64 bytes.
fn bloom(rows: &[Row]) -> Result<(), AnyError> {
    for (bits_a_row, probes) in [(9, 6), (10, 7), (12, 8), (16, 8)] {
        let mut lines = vec![[0_u64; 8]; rows.len() * bits_a_row / 512 + 1];
        let count = lines.len();
        let place = |hash: u64| ((u128::from(hash) * count as u128) >> 64) as usize;
        let bits = move |hash: u64| {
            let step = hash.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
            (1..=probes).map(move |n| (hash.wrapping_add(step.wrapping_mul(n)) >> 23) % 512)
        };
        let start = now_ns();
        for row in rows {
            let hash = row_hash(row.hash, VIEW);
            bits(hash).for_each(|bit| lines[place(hash)][bit as usize / 64] |= 1 << (bit % 64));
        }
        let build = (now_ns() - start) / rows.len() as f64;
        let mut state = 5;
        let absent: Vec<u64> = (0..1 << 20).map(|_| random(&mut state)).collect();
        let start = now_ns();
        let admits = |hash: u64| {
            bits(hash).all(|bit| lines[place(hash)][bit as usize / 64] >> (bit % 64) & 1 == 1)
        };
        let wrong = absent.iter().filter(|hash| admits(row_hash(**hash, VIEW))).count();
        let ns = (now_ns() - start) / absent.len() as f64;
        say(&format!(
            "blocked Bloom: {bits_a_row} bits/row, {:.3} % false positives, {ns:.0} ns, build {build:.0} ns/row",
            wrong as f64 * 100.0 / absent.len() as f64,
        ))?;
    }
    Ok(())
}
