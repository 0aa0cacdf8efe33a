//! What a training read costs beside reading the history: seconds of each pass, and the peak of memory.
//!
//! `cargo run --release -p thermae-engine --features cold --example training [-- ROWS [BUDGET_MIB [THREADS]]]` joins
//! ten float32 of a computed history (10 versions of each of a million entities) onto a spine in memory.

use std::convert::Infallible;
use std::error::Error;
use std::io::Write;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{Int64Array, RecordBatch, TimestampMicrosecondArray};
use thermae_engine::Catalogue;
use thermae_engine::training::{Histories, Means, MemorySpine, Progress, Request, ViewJoin, read};
use thermae_env::{Env, File, OpenHow, RealEnv};
use thermae_formats::hash::entity_hash;
use thermae_formats::version::Version;
use thermae_formats::{Feature, FeatureView, JoinKey, KeyType, NO_TIME, Scalar, SchemaId, ViewId};
use thermae_tiering::merge::{Entry, PartedSource, SeekSource, Source};
use thermae_tiering::spill::SpillDir;

const ENTITIES: i64 = 1_000_000;
const VERSIONS: usize = 10;
const FEATURES: usize = 10;
const SEED: u64 = 5;

type Entity = (u64, [u8; 8]);

/// Entities by their hash; their versions are computed.
struct Computed(Arc<Vec<Entity>>);

struct History {
    entities: Arc<Vec<Entity>>,
    at: usize,
    end: usize,
    value: [u8; 4 * FEATURES],
    is_begun: bool,
}

impl Histories for Computed {
    type Error = Infallible;
    type Source = History;

    fn open(&self, _: ViewId, hashes: RangeInclusive<u64>) -> Result<History, Infallible> {
        let begin = self.0.partition_point(|entity| entity.0 < *hashes.start());
        let end = self.0.partition_point(|entity| entity.0 <= *hashes.end());
        let entities = Arc::clone(&self.0);
        Ok(History {
            entities,
            at: begin * VERSIONS,
            end: end * VERSIONS,
            value: [1; 4 * FEATURES],
            is_begun: false,
        })
    }

    fn hash_seed(&self) -> u64 {
        SEED
    }
}

impl Source for History {
    type Error = Infallible;

    fn peek(&self) -> Option<Entry<'_>> {
        let version = VERSIONS - self.at % VERSIONS;
        let (hash, key) = self.entities.get(self.at / VERSIONS).filter(|_| self.at < self.end)?;
        Some((
            ViewId(0),
            *hash,
            Version {
                schema_id: SchemaId(0),
                flags: 2,
                sequence: version as u64,
                event_time: 10 * version as i64,
                created_time: NO_TIME,
                expire_at: NO_TIME,
                key,
                value: &self.value,
            },
        ))
    }

    fn advance(&mut self) -> Result<(), Infallible> {
        self.at += 1;
        Ok(())
    }
}

impl SeekSource for History {
    fn seek(&mut self, entity_hash: u64, _key: &[u8]) -> Result<(), Infallible> {
        let from = self.at / VERSIONS;
        let before = self.entities[from..].partition_point(|entity| entity.0 < entity_hash);
        self.at = self.at.max((from + before) * VERSIONS);
        Ok(())
    }
}

impl PartedSource for History {
    fn next_part(&mut self) -> Result<bool, Infallible> {
        Ok(!std::mem::replace(&mut self.is_begun, true))
    }
}

fn catalogue() -> Result<Catalogue, Box<dyn Error>> {
    let features = (0..FEATURES).map(|at| Feature::new(format!("f{at}"), Scalar::Float32));
    let key = vec![JoinKey::new("id", KeyType::Int64)];
    let view = FeatureView::new("p", "v", key, features.collect());
    let mut catalogue = Catalogue::default();
    let (entries, _) = catalogue.plan(&[view])?;
    entries.iter().try_for_each(|entry| catalogue.add(entry))?;
    Ok(catalogue)
}

fn spine(rows: i64) -> Result<MemorySpine, Box<dyn Error>> {
    let batch = |begin: i64| {
        let rows = begin..rows.min(begin + 8192);
        let any =
            |row: i64| (row.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as i64) as u64 >> 20) as i64;
        let ids: Int64Array = rows.clone().map(|row| any(row) % ENTITIES).collect();
        let times = rows.map(|row| any(row) % 120).collect::<Vec<_>>();
        let times = TimestampMicrosecondArray::from(times);
        RecordBatch::try_from_iter([("id", Arc::new(ids) as _), ("at", Arc::new(times) as _)])
    };
    let batches: Vec<_> = (0..rows).step_by(8192).map(batch).collect::<Result<_, _>>()?;
    let schema = batches.first().ok_or("no rows")?.schema();
    Ok(MemorySpine::new(schema, batches)?)
}

/// The most memory that the process ever had, as the kernel tells it.
fn peak(env: &RealEnv) -> Result<String, Box<dyn Error>> {
    let mut text = vec![0; 4096];
    let read = env.open(Path::new("/proc/self/status"), OpenHow::READ)?.read_at(&mut text, 0)?;
    let text = String::from_utf8_lossy(&text[..read]).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    Ok(line.unwrap_or("?").trim().to_owned())
}

fn main() -> Result<(), Box<dyn Error>> {
    let number = |at: usize| std::env::args().nth(at).and_then(|text| text.parse::<usize>().ok());
    let (rows, mib) = (number(1).unwrap_or(1_000_000), number(2).unwrap_or(256));
    let threads = number(3).unwrap_or(2);
    let env = RealEnv::new();
    let mut entities: Vec<Entity> =
        (0..ENTITIES).map(|id| (entity_hash(&id.to_le_bytes(), SEED), id.to_le_bytes())).collect();
    entities.sort_unstable();
    let histories = Computed(Arc::new(entities));
    let (catalogue, spine) = (catalogue()?, spine(rows as i64)?);
    let before = peak(&env)?;
    let folder = tempfile::tempdir()?;
    let spill = SpillDir::new(env, folder.path());
    let means = Means { spill, budget_bytes: mib << 20, threads };
    let joins = vec![ViewJoin::new("v")];
    let request = Request { time_column: "at".to_owned(), joins, ..Request::default() };
    let progress = Progress::new();
    let begin = env.monotonic_ns();
    let answer = read(&request, &catalogue, &histories, &spine, &means, &progress)?;
    let joined = env.monotonic_ns();
    let spilled = env.list(folder.path())?.iter().map(|entry| entry.len_bytes).sum::<u64>();
    let mut answered = 0;
    for batch in answer {
        answered += batch?.num_rows();
    }
    let end = env.monotonic_ns();
    let seconds = |ns: u64| ns as f64 / 1e9;
    writeln!(
        std::io::stdout(),
        "{answered} rows, {mib} MiB, {threads} threads: collected and joined {:.2} s, assembled {:.2} s, \
         {:.2} million rows/s; answers spilled {} MiB; peak {} (before: {before})",
        seconds(joined - begin),
        seconds(end - joined),
        answered as f64 / 1e6 / seconds(end - begin),
        spilled >> 20,
        peak(&env)?,
    )?;
    Ok(())
}
