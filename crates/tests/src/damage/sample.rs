//! Small stores on disk, and what was written to them.

use std::ops::Range;
use std::path::{Path, PathBuf};

use thermae_engine::Ack;
use thermae_env::{Env, SimEnv};

use crate::campaign::{PartitionHistory, Tiers, World};
use crate::model::{Operation, Rng};

/// Where the stores lie.
pub const DIR: &str = "/data";
/// Memtables of so many bytes are flushed.
const FLUSH_BYTES: usize = 16 << 10;
/// Batches written, and the rows of each.
const BATCHES: u64 = 20;
const ROWS: u64 = 20;
/// The directory is copied once in so many batches: the chunks of it that have changed since are old.
const OLD_EVERY: u64 = 6;
const ENTITIES: u64 = 24;
/// Unit of the log, and of the tables.
pub const PAGE_BYTES: usize = 4096;

/// The files of a directory.
pub type Image = Vec<(PathBuf, Vec<u8>)>;

/// How the writing of a sample ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All rows in tables, the logs empty.
    Tables,
    /// The newest rows in the log, and behind them the word that they are durable; killed then.
    Rested,
    /// Killed the moment the last batch was acknowledged.
    CutOff,
}

/// A store, and what was written to it.
pub struct Sample {
    /// How it came to its end.
    pub ending: Ending,
    /// Its files.
    pub files: Image,
    /// What it must hold.
    pub past: Vec<PartitionHistory>,
    /// Older states of its files.
    pub old: Vec<Image>,
    /// The one batch whose damage cannot be told from a write that never ended.
    pub last_batch: Option<LastBatch>,
}

/// The last batch before a crash.
pub struct LastBatch {
    /// Its file, by place.
    pub file: usize,
    /// Where in it.
    pub bytes: Range<usize>,
    /// What the store holds without it.
    pub past: Vec<PartitionHistory>,
}

impl Sample {
    /// Writes a store and stops it as told.
    ///
    /// # Errors
    /// The store does not do what it is told: nothing of it can be tried then.
    pub fn write(ending: Ending) -> Result<Sample, String> {
        let text = |e: thermae_engine::Error| e.to_string();
        let mut world = World::open(SimEnv::new(21), 1, tiers(0), World::no_history());
        let world_ref = world.as_mut().map_err(|e| e.to_string())?;
        let (old, before_last) = fill(world_ref)?;
        if ending != Ending::CutOff {
            world_ref.rest()?;
        }
        let world = world.map_err(text)?;
        let env = world.env.clone();
        let (past, _) = world.into_past();
        let mut env = env.kill();
        if ending == Ending::Tables {
            // The next open puts the rest of the log into tables.
            drop(World::open(env.clone(), 1, tiers(0), past.clone()).map_err(text)?);
            env = env.kill();
        }
        let files = image(&env)?;
        let last = (ending == Ending::CutOff).then(|| last_batch(&files, before_last));
        Ok(Sample { ending, files, past, old, last_batch: last.transpose()? })
    }

    /// The name of a file, without its directory.
    pub fn name(&self, file: usize) -> &str {
        let name = self.files[file].0.file_name();
        name.and_then(|name| name.to_str()).unwrap_or_default()
    }
}

/// How the sample stores are spread over the tiers when they are opened again.
pub const fn tiers(preload_bytes: u64) -> Tiers {
    Tiers { flush_bytes: FLUSH_BYTES, preload_bytes }
}

/// Writes all batches; older states of the files, and what was there before the last batch.
fn fill(world: &mut World) -> Result<(Vec<Image>, Vec<PartitionHistory>), String> {
    if !world.define()? {
        return Err("the machine stopped".to_owned());
    }
    let mut rng = Rng::new(3);
    let (mut old, mut before_last) = (Vec::new(), Vec::new());
    for batch in 0..BATCHES {
        let draw = |row| Operation::draw(&mut rng, ROWS * batch + row, ENTITIES);
        // The last one is a single row, so that it is one batch of the log.
        let rows = if batch + 1 < BATCHES { ROWS } else { 1 };
        let rows: Vec<_> = (0..rows).map(draw).collect();
        before_last.clone_from(&world.histories);
        world.send(&rows, None, Ack::Durable);
        if !world.settle()? {
            return Err("the machine stopped".to_owned());
        }
        if batch % OLD_EVERY == 0 {
            old.push(image(&world.env)?);
        }
    }
    Ok((old, before_last))
}

/// All files of the directory but its lock, the manifest first.
fn image(env: &SimEnv) -> Result<Image, String> {
    let text = |e: std::io::Error| e.to_string();
    let mut paths = vec![Path::new(DIR).join("MANIFEST")];
    for dir in ["log", "warm"].map(|name| Path::new(DIR).join(name)) {
        paths.extend(env.list(&dir).map_err(text)?.into_iter().map(|entry| dir.join(entry.name)));
    }
    let bytes = |path: PathBuf| Ok((path.clone(), env.file_bytes(&path).map_err(text)?));
    paths.into_iter().map(bytes).collect()
}

/// A machine whose disk holds these files.
///
/// # Errors
/// Never, unless the simulation is broken.
pub fn machine(files: &Image) -> std::io::Result<SimEnv> {
    let env = SimEnv::new(5);
    for dir in ["log", "warm"] {
        env.create_dir_all(&Path::new(DIR).join(dir))?;
    }
    for (path, bytes) in files {
        env.set_file_bytes(path, bytes)?;
    }
    Ok(env)
}

/// Finds the batch of the greatest number (docs/formats/log.md).
fn last_batch(files: &Image, past: Vec<PartitionHistory>) -> Result<LastBatch, String> {
    let field = |page: &[u8], at: usize| {
        page.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes)
    };
    let mut last = None;
    for (file, (_, bytes)) in files.iter().enumerate() {
        for (page, content) in bytes.chunks(PAGE_BYTES).enumerate() {
            if content.starts_with(b"THRMBTCH") {
                let (number, at) = (field(content, 32), page * PAGE_BYTES);
                let bytes = at..at + field(content, 64) as usize;
                last = last.max(Some((number, field(content, 56), file, bytes.start, bytes.end)));
            }
        }
    }
    match last {
        Some((_, records, file, start, end)) if records > 0 => {
            Ok(LastBatch { file, bytes: start..end, past })
        }
        other => Err(format!("the last batch holds rows: {other:?}")),
    }
}
