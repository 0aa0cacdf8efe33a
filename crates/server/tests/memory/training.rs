//! A training read of ten times the memory that server and read are told to use, whose answer is more than the read may
//! keep, under a limit of the system.

use std::fmt::Write;
use std::fs::File;
use std::sync::atomic::AtomicU64;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::cgroup::Cgroup;
use crate::load::{VALUE_BYTES, value, write};
use crate::process::Server;
use crate::{MIB, OVERHEAD_BYTES, define};

/// `--memory` of the server,
const MEMORY_BYTES: u64 = 52 * MIB;
/// .. and of the read.
const READ_BYTES: u64 = 4 * MIB;
/// Of what a read has beside that: batches, and buffers of tables.
const BATCHES_BYTES: u64 = 12 * MIB;
const LIMIT_BYTES: u64 = MEMORY_BYTES + OVERHEAD_BYTES + READ_BYTES + BATCHES_BYTES;
const ROWS: u64 = 10 * (MEMORY_BYTES + READ_BYTES) / VALUE_BYTES as u64;
/// What they find takes five times the read's memory.
const SPINE_ROWS: u64 = 5 * READ_BYTES / VALUE_BYTES as u64;

#[test]
fn a_training_read_of_ten_times_the_memory_stays_within_it() {
    let group = match Cgroup::make("training", LIMIT_BYTES) {
        Ok(group) => group,
        Err(reason) => {
            println!("SKIPPED: {reason}; this needs root and a memory controller");
            return;
        }
    };
    // On a disk: what lies on a tmpfs is memory, too.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let data = dir.path().join("data");
    let server = Server::start_with(&data, &["--cores", "1"]);
    define(&server, dir.path());
    write(&server.address, 0, ROWS, &AtomicU64::new(0));
    assert_eq!(server.stop(), 0);

    let memory = [MEMORY_BYTES, READ_BYTES].map(|bytes| format!("{}MiB", bytes / MIB));
    let command = group.command(env!("CARGO_BIN_EXE_thermae"));
    let server = Server::start_by(command, &data, &["--cores", "1", "--memory", &memory[0]]);
    let (spine, out) = (dir.path().join("spine.csv"), dir.path().join("out.parquet"));
    let mut rows = String::from("id,event_time\n");
    // All over the rows that there are, and as many that there are not.
    let asked = |row: u64| row * 7_919 % (2 * ROWS);
    for row in 0..SPINE_ROWS {
        let _ = writeln!(rows, "{},1000000", asked(row));
    }
    std::fs::write(&spine, rows).unwrap();
    let [spine, out] = [&spine, &out].map(|path| path.to_str().unwrap());
    let arguments = ["history", "rows", "--spine", spine, "--time-unit", "us", "--out", out];
    let read = server.run(&[&arguments[..], &["--memory", &memory[1]]].concat());
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    check(out, asked);
    let (peak_bytes, killed) = (group.peak_bytes(), group.killed());
    println!(
        "{ROWS} rows, {SPINE_ROWS} asked for: peak {:.1} MiB of {} MiB, page cache {:.1} MiB",
        peak_bytes as f64 / MIB as f64,
        LIMIT_BYTES / MIB,
        group.page_cache_bytes() as f64 / MIB as f64,
    );
    assert_eq!(killed, 0, "the limit was too little");
    assert_eq!(server.stop(), 0);
}

/// Compares the answer with what was written.
fn check(out: &str, asked: impl Fn(u64) -> u64) {
    let batches = ParquetRecordBatchReaderBuilder::try_new(File::open(out).unwrap());
    let mut row = 0;
    for batch in batches.unwrap().build().unwrap() {
        let batch = batch.unwrap();
        let ids = batch.column_by_name("id").unwrap().as_primitive::<Int64Type>();
        let found = batch.column_by_name("data").unwrap().as_binary::<i32>();
        for (id, found) in ids.iter().zip(found) {
            let id = id.unwrap() as u64;
            assert_eq!(id, asked(row));
            let expected = (id < ROWS).then(|| value(id));
            assert!(found == expected.as_deref(), "row {row} is not as written");
            row += 1;
        }
    }
    assert_eq!(row, SPINE_ROWS);
}
