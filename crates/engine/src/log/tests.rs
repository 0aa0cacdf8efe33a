//! Tests of the whole log on a simulated machine.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod crashes;
mod damage;
mod faults;
mod freeing;
mod manifests;
mod real;
mod tables;
mod writing;

use std::path::{Path, PathBuf};

use tables::{Model, Tables};
use thermae_env::{Env, Ring, SimEnv, SimRing, Wait};
use thermae_formats::batch::{Record, RecordKind};
use thermae_formats::{NO_TIME, SchemaId};

use super::*;

const DIR: &str = "/data";

/// Small segments and batches, so that a short test rolls over.
fn options() -> LogOptions {
    LogOptions {
        segment_bytes: 32 << 10,
        max_batch_bytes: 8 << 10,
        max_in_flight: 3,
        ..LogOptions::default()
    }
}

/// What a test wants to see again of a record: it is all a function of the number, but the shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    shard: u16,
    number: u64,
}

/// Runs `work` on the record of `number`: its length and its optional fields vary.
fn with_record<T>(shard: u16, number: u64, work: impl FnOnce(&Record<'_>) -> T) -> T {
    let value = vec![number as u8; (number as usize * 389) % 1500];
    let key = number.to_le_bytes();
    work(&Record {
        kind: if number.is_multiple_of(5) { RecordKind::Tombstone } else { RecordKind::Put },
        flags: number as u8,
        schema_id: SchemaId(number as u16),
        partition: shard,
        sequence: number,
        event_time: number as i64 * 10,
        created_time: if number.is_multiple_of(3) { NO_TIME } else { 7 },
        producer_id: number % 4,
        producer_sequence: number,
        expire_at: if number.is_multiple_of(7) { 99 } else { NO_TIME },
        key: &key,
        value: &value,
    })
}

/// Checks that `record` is, bit for bit, the one that was written under its sequence.
fn seen(record: &Record<'_>) -> Seen {
    with_record(record.partition, record.sequence, |written| assert_eq!(record, written));
    Seen { shard: record.partition, number: record.sequence }
}

/// Verifies the logs of a directory; `progress` as of [`crate::verify::verify_directory`].
fn verify_directory<E: Env>(
    env: &E,
    dir: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<VerifyReport, LogError> {
    let verification = Verification::begin(env, dir)?;
    let (mut done, of) = (0, verification.log_bytes());
    let report = verification.logs(&mut |bytes| {
        done += bytes;
        progress(done, of);
    });
    progress(of, of);
    report
}

/// Opens the directory; gives what was replayed with it.
fn open(
    env: &SimEnv,
    shards: u16,
    options: &LogOptions,
) -> (Result<Recovered<SimEnv>, LogError>, Vec<Seen>) {
    let mut replayed = Vec::new();
    let opened = open_directory(env, Path::new(DIR), shards, options, &mut |record| {
        replayed.push(seen(record));
        Ok(())
    });
    (opened, replayed)
}

/// Open writers on one ring, with what is known about the records given to them.
struct Rig {
    env: SimEnv,
    ring: SimRing,
    recovered: Recovered<SimEnv>,
    replayed: Vec<Seen>,
    /// Records and the batches that they are in, by shard.
    sent: Vec<Vec<(u64, u64)>>,
}

impl Rig {
    fn open(env: &SimEnv, shards: u16) -> Self {
        Self::open_with(env, shards, &options())
    }

    fn open_with(env: &SimEnv, shards: u16, options: &LogOptions) -> Self {
        let (recovered, replayed) = open(env, shards, options);
        let ring = env.ring().unwrap();
        let sent = vec![Vec::new(); usize::from(shards)];
        Self { env: env.clone(), ring, recovered: recovered.unwrap(), replayed, sent }
    }

    fn writer(&mut self, shard: u16) -> &mut LogWriter<SimEnv> {
        &mut self.recovered.writers[usize::from(shard)]
    }

    fn append(&mut self, shard: u16, number: u64) -> Result<u64, AppendError> {
        let batch = with_record(shard, number, |record| self.writer(shard).append(record))?;
        assert_eq!(self.writer(shard).last_batch(), batch);
        self.sent[usize::from(shard)].push((number, batch));
        Ok(batch)
    }

    fn submit(&mut self, shard: u16, durable: bool) {
        let Self { recovered, ring, .. } = self;
        recovered.writers[usize::from(shard)].submit(ring, durable);
    }

    /// One turn of the ring and of the writer of shard 0. False when the machine has stopped.
    fn turn(&mut self, until_ns: Option<u64>) -> bool {
        let Self { recovered, ring, env, .. } = self;
        let mut events = Vec::new();
        let wait = until_ns.map_or(Wait::Poll, |monotonic_ns| Wait::Until { monotonic_ns });
        if ring.turn(wait, &mut events).is_err() {
            return false;
        }
        // The ring is that of shard 0: the others have nothing under way.
        let writer = &mut recovered.writers[0];
        for event in events {
            writer.on_event(LogEvent::from_event(event).unwrap(), ring);
        }
        writer.tick(env.monotonic_ns(), ring);
        true
    }

    /// Turns until `done`, at most ten thousand times.
    fn run(&mut self, mut done: impl FnMut(&Progress) -> bool) {
        for _ in 0..10_000 {
            let progress = self.writer(0).progress();
            if done(&progress) {
                return;
            }
            assert!(self.turn(None), "the machine stopped: {progress:?}");
        }
        panic!("did not come to an end: {:?}", self.writer(0).progress());
    }

    /// Appends, submitting and turning whenever the log asks for it.
    fn put(&mut self, numbers: impl IntoIterator<Item = u64>, durable: bool) {
        for number in numbers {
            loop {
                match self.append(0, number) {
                    Ok(_) => break,
                    Err(error) if error.is_backpressure() => {
                        self.submit(0, durable);
                        assert!(self.turn(None));
                    }
                    Err(error) => panic!("{number}: {error}"),
                }
            }
        }
        self.submit(0, durable);
    }

    /// Stops the writers; afterwards everything is durable.
    fn stop(&mut self) {
        let Self { recovered, ring, .. } = self;
        recovered.writers[0].stop(ring);
        for _ in 0..10_000 {
            if self.writer(0).is_stopped() {
                return;
            }
            assert!(self.turn(None));
        }
        panic!("did not stop: {:?}", self.writer(0).progress());
    }
}

/// Stops the writer and closes the directory.
fn close(mut rig: Rig) {
    rig.stop();
    let ends: Vec<_> = rig.recovered.writers.iter().map(LogWriter::end).collect();
    let manifest = &rig.recovered.manifest;
    assert!(close_directory(&rig.env, Path::new(DIR), manifest, &ends).unwrap());
}

fn numbers(seen: &[Seen]) -> Vec<u64> {
    seen.iter().map(|seen| seen.number).collect()
}

fn log_files(env: &SimEnv) -> Vec<(PathBuf, u64)> {
    let dir = Path::new(DIR).join("log");
    let entries = env.list(&dir).unwrap();
    entries.into_iter().map(|entry| (dir.join(entry.name), entry.len_bytes)).collect()
}
