//! The server, in a process of its own whose memory the system limits to `--memory` and a little: it is
//! never killed, however much and however fast is written.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod cgroup;
mod load;
#[allow(dead_code)] // What the other tests need of it.
#[path = "../all/process.rs"]
mod process;
mod training;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use cgroup::Cgroup;
use process::Server;

const MIB: u64 = 1 << 20;
/// `--memory` of the server.
const MEMORY_BYTES: u64 = 64 * MIB;
/// What a process takes beside `--memory` (docs/operations.md): code, stacks, page tables, sockets.
const OVERHEAD_BYTES: u64 = 32 * MIB;
/// Writers, and the rows of each: together one and a half times the memory.
const WRITERS: u64 = 4;
const ROWS_EACH: u64 = 3 * MEMORY_BYTES / 2 / WRITERS / load::VALUE_BYTES as u64;

#[test]
fn the_server_stays_within_its_memory_under_full_load() {
    let limit_bytes = MEMORY_BYTES + OVERHEAD_BYTES;
    let group = match Cgroup::make("load", limit_bytes) {
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
    define(&server, dir.path());
    let read = run(&server);
    for writer in 0..WRITERS {
        load::read_all(&server.address, writer * ROWS_EACH, ROWS_EACH);
    }
    let (peak_bytes, hits) = (group.peak_bytes(), group.limit_hits());
    let page_cache_bytes = group.page_cache_bytes();
    println!(
        "peak {:.1} MiB of {} MiB, {hits} hits of the limit, page cache {:.1} MiB; {read} rows read beside; \
         {} flushes, {} merges, {} rows refused, {} times slowed",
        peak_bytes as f64 / MIB as f64,
        limit_bytes / MIB,
        page_cache_bytes as f64 / MIB as f64,
        server.metric("thermae_flushes_total"),
        server.metric("thermae_merges_total"),
        server.metric("thermae_rows_refused_total"),
        server.metric("thermae_writes_slowed_total"),
    );
    assert!(server.metric("thermae_flushes_total") > 20, "too few flushes to say anything");
    assert!(server.metric("thermae_merges_total") > 1, "too few merges to say anything");
    // Whether writers are also slowed is for the disk to say, which may keep up: thermae-tests shows it (faults/slowed.rs).
    assert_eq!(hits, 0, "the limit was hit");
    assert!(peak_bytes < limit_bytes, "{peak_bytes} of {limit_bytes}");
    assert_eq!(server.stop(), 0);
}

/// Loads and reads at full speed; the rows that were read meanwhile.
fn run(server: &Server) -> u64 {
    let done: Vec<AtomicU64> = (0..WRITERS).map(|_| AtomicU64::new(0)).collect();
    let is_over = AtomicBool::new(false);
    let address = server.address.as_str();
    std::thread::scope(|scope| {
        let (done, is_over) = (&done, &is_over);
        let reader = scope.spawn(|| load::read_here_and_there(address, 0, &done[0], is_over));
        let writers: Vec<_> = (0..WRITERS)
            .zip(done)
            .map(|(writer, done)| {
                scope.spawn(move || load::write(address, writer * ROWS_EACH, ROWS_EACH, done))
            })
            .collect();
        let met: Vec<_> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
        is_over.store(true, Ordering::Release);
        let overloaded: u64 = met.iter().map(|met| met.overloaded).sum();
        assert!(overloaded > 0, "nothing was refused for load");
        assert!(met.iter().all(|met| met.without_hint == 0), "a refusal without a hint: {met:?}");
        reader.join().unwrap()
    })
}

fn define(server: &Server, dir: &Path) {
    let file = dir.join("rows.toml");
    let text = r#"
format = 1
project = "load"
owner = "tests"

[entities.row]
join_keys = [{ name = "id", type = "int64" }]

[views.rows]
entities = ["row"]
ttl = "0"
features = [{ name = "data", type = "bytes" }]
"#;
    std::fs::write(&file, text).unwrap();
    let applied = server.run(&["apply", file.to_str().unwrap()]);
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
}
