//! A training read of wide rows, ten times as large as the memory that the server's process may take.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use arrow_array::cast::AsArray;
use arrow_array::{Int64Array, RecordBatch, TimestampMicrosecondArray};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use thermae_client::WriteBatch;
use thermae_formats::{KeyValue, NO_TIME, Value};

use crate::MIB;
use crate::cgroup::Cgroup;
use crate::load::client;
use crate::process::Server;

/// `--memory` of the server, and what its process takes beside that (docs/operations.md).
const MEMORY_BYTES: u64 = 32 * MIB;
const OVERHEAD_BYTES: u64 = 32 * MIB;
const LIMIT_BYTES: u64 = MEMORY_BYTES + OVERHEAD_BYTES;
const TEXT_BYTES: usize = 1024;
/// Versions of each key; history and answer together are ten times the limit.
const VERSIONS: i64 = 16;
const KEYS: i64 = (7 * LIMIT_BYTES / TEXT_BYTES as u64) as i64 / VERSIONS;
const SPINE_ROWS: i64 = (3 * LIMIT_BYTES / TEXT_BYTES as u64) as i64;
const WRITERS: i64 = 4;
const BATCH_ROWS: usize = 500;

/// Which version a row of the spine finds; -1: it asks before the first.
fn asked(row: i64) -> (i64, i64) {
    (row * 7_919 % KEYS, row * 104_729 % (VERSIONS + 1) - 1)
}

/// What a version says: a part of it told by its number, and the rest alike, so that the disk has less to do.
fn says(key: i64, version: i64) -> String {
    let number =
        format!("{:016x}", ((key * VERSIONS + version) as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    number.repeat(4) + &"thermae ".repeat((TEXT_BYTES - 64) / 8)
}

fn write(address: &str, keys: std::ops::Range<i64>) {
    let client = client(address);
    let view = client.view("load", "notes").unwrap();
    for version in 0..VERSIONS {
        let all: Vec<i64> = keys.clone().collect();
        for some in all.chunks(BATCH_ROWS) {
            let mut batch = WriteBatch::put(&view);
            for &key in some {
                let values = [Value::String(says(key, version))];
                let time_us = (version + 1) * 1_000;
                batch.push(&[KeyValue::Int(key)], time_us, NO_TIME, &values).unwrap();
            }
            // What is refused for load is sent again.
            while !client.write(&mut batch).unwrap().all_ok() {}
        }
    }
}

fn write_spine(path: &Path) {
    let rows = 0..SPINE_ROWS;
    let ids = Int64Array::from_iter_values(rows.clone().map(|row| asked(row).0));
    let times = rows.map(|row| (asked(row).1 + 1) * 1_000 + 500);
    let times = TimestampMicrosecondArray::from_iter_values(times);
    let batch = RecordBatch::try_from_iter([
        ("id", Arc::new(ids) as _),
        ("event_timestamp", Arc::new(times) as _),
    ]);
    let batch = batch.unwrap();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), None);
    writer.as_mut().unwrap().write(&batch).unwrap();
    writer.unwrap().close().unwrap();
}

/// Compares every row with what it must have found.
fn check(path: &Path) {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    let mut row = 0;
    for batch in reader.with_batch_size(1_000).build().unwrap() {
        let batch = batch.unwrap();
        let found = batch.column_by_name("says").unwrap().as_string::<i32>();
        for found in found {
            let (key, version) = asked(row);
            let expected = (version >= 0).then(|| says(key, version));
            assert_eq!(found, expected.as_deref(), "row {row}");
            row += 1;
        }
    }
    assert_eq!(row, SPINE_ROWS);
}

#[test]
fn a_training_read_of_ten_times_the_memory_ends_within_it() {
    let group = match Cgroup::make(LIMIT_BYTES) {
        Ok(group) => group,
        Err(reason) => {
            println!("SKIPPED: {reason}; this needs root and a memory controller");
            return;
        }
    };
    // On a disk: what lies on a tmpfs is memory, too.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let command = group.command(env!("CARGO_BIN_EXE_thermae"));
    let memory = (MEMORY_BYTES / MIB).to_string() + "MiB";
    let options = ["--cores", "1", "--memory", &memory];
    let server = Server::start_by(command, &dir.path().join("data"), &options);
    crate::define(&server, dir.path(), "notes", "says", "string");
    let began = Instant::now();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let keys = KEYS * writer / WRITERS..KEYS * (writer + 1) / WRITERS;
            let address = server.address.as_str();
            scope.spawn(move || write(address, keys));
        }
    });
    let loaded_s = began.elapsed().as_secs_f64();
    let [spine, out] = ["spine.parquet", "out.parquet"].map(|name| dir.path().join(name));
    write_spine(&spine);
    let began = Instant::now();
    let arguments = ["history", "notes:says", "--spine", spine.to_str().unwrap(), "--out"];
    let joined = server.run(&[&arguments[..], &[out.to_str().unwrap()]].concat());
    assert!(joined.status.success(), "{}", String::from_utf8_lossy(&joined.stderr));
    let joined_s = began.elapsed().as_secs_f64();
    check(&out);
    let peak_bytes = server.peak_resident_bytes();
    println!(
        "{} rows of history loaded in {loaded_s:.1} s, joined with {SPINE_ROWS} in {joined_s:.1} s; peak {:.1} MiB of \
         the process, {} MiB is the limit",
        KEYS * VERSIONS,
        peak_bytes as f64 / MIB as f64,
        LIMIT_BYTES / MIB,
    );
    assert!(peak_bytes < LIMIT_BYTES, "{peak_bytes} of {LIMIT_BYTES}");
    assert!(joined_s < 300.0, "{joined_s} s");
    assert_eq!(server.stop(), 0);
}
