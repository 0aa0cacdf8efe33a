//! Served equals trained under a stream of writes: `consistency SECONDS [ROWS_A_SECOND] [ENTITIES]`. Three lives of a store with
//! an archive, each under so many rows a second, a third of them late, while rows leave the hot table and the tables; at the
//! end of each everything that was ever served is compared with a training read. Exits 1 on a difference.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use thermae_tests::served::{Writer, open, view};

/// Entities unless it is said.
const ENTITIES: u64 = 50_000;
/// Bytes of memtables for an entity: so many are flushed all the time.
const FLUSH_BYTES_PER_ENTITY: usize = 80;

fn main() -> ExitCode {
    let mut numbers = std::env::args().skip(1).filter_map(|a| a.parse::<u64>().ok());
    let (seconds, rate) = (numbers.next().unwrap_or(5), numbers.next().unwrap_or(20_000));
    let entities = numbers.next().unwrap_or(ENTITIES).max(1);
    match lives(seconds, rate, entities) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn lives(seconds: u64, rate: u64, entities: u64) -> Result<(), String> {
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    // Half as many rows a batch on average.
    let rows_max = (entities / 50).max(13);
    let flush_bytes = (entities as usize * FLUSH_BYTES_PER_ENTITY).max(16 << 10);
    let seed = u64::from(std::process::id());
    let mut writer = Writer::new(seed, entities, rows_max);
    for (life, cores) in [1, 2, 1].into_iter().enumerate() {
        let store = open(dir.path(), cores, flush_bytes, true)?;
        if life == 0 {
            store.apply(&[view(true)]).map_err(|e| e.to_string())?;
        }
        let (begun, before) = (Instant::now(), writer.rows());
        while begun.elapsed() < Duration::from_secs(seconds) {
            writer.write(&store)?;
            writer.serve(&store)?;
            let due = Duration::from_secs_f64((writer.rows() - before) as f64 / rate as f64);
            std::thread::sleep(due.saturating_sub(begun.elapsed()));
        }
        let written = writer.rows() - before;
        let rows_a_s = written as f64 / begun.elapsed().as_secs_f64();
        let stats = store.handle().stats();
        let from_cold: u64 = stats.shards.iter().map(|s| s.tiers.reads.archive_hits).sum();
        let archived = stats.archive.map_or(0, |archive| archive.archived_rows);
        writer.check_training(&store)?;
        println!(
            "life {life}, {cores} shards: {written} rows at {rows_a_s:.0}/s, {archived} archived, {from_cold} served \
             from the archive; {} answers compared with a training read, none differs",
            writer.log.len()
        );
        store.close().map_err(|e| e.to_string())?;
    }
    Ok(())
}
