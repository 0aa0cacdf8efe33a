//! A small store, its backups, and copies of them on other machines.

use std::path::{Path, PathBuf};

use thermae_engine::Error;
use thermae_engine::backup::{self, Place, Source, Taken, Work};
use thermae_engine::log::VerifyReport;
use thermae_env::{Env, SimEnv};
use thermae_tests::campaign::{PartitionHistory, Tiers, World};
use thermae_tests::model::{Operation, Rng};

/// Where the backups are.
pub const PLACE: &str = "/backups";
/// Where they are restored to.
pub const RESTORED: &str = "/restored";
pub const TIERS: Tiers = Tiers { flush_bytes: 16 << 10, preload_bytes: 0 };

/// Runs `work` without a limit, and without being told about it.
pub fn at_once<T>(work: impl FnOnce(&mut Work<'_>) -> T) -> T {
    work(&mut Work { bytes_per_s: 0, tell: &mut |_, _| true })
}

pub fn place(env: &SimEnv) -> Place<SimEnv> {
    Place::new(env.clone(), Path::new(PLACE))
}

pub fn take(env: &SimEnv, source: &Source<SimEnv>) -> Result<Taken, Error> {
    at_once(|work| backup::take(&place(env), source, work))
}

pub fn restore(env: &SimEnv) -> Result<backup::Restored, Error> {
    at_once(|work| backup::restore(&place(env), None, Path::new(RESTORED), work))
}

pub fn verify(env: &SimEnv) -> VerifyReport {
    at_once(|work| backup::verify(&place(env), None, work)).unwrap()
}

/// A store of two shards with some tables and rows in memtables.
pub struct Small {
    pub world: World,
    rng: Rng,
    written: u64,
}

impl Small {
    pub fn new(seed: u64) -> Small {
        let env = SimEnv::new(seed);
        let mut world = World::open(env, 2, TIERS, World::no_history()).unwrap();
        assert!(world.define().unwrap());
        Small { world, rng: Rng::new(seed), written: 0 }
    }

    pub fn write(&mut self, rows: u64) {
        self.write_on(rows);
        assert!(self.world.rest().unwrap());
    }

    /// The same, without a rest.
    pub fn write_on(&mut self, rows: u64) {
        for _ in 0..rows.div_ceil(50) {
            let numbers: Vec<u64> = (self.written + 1..=self.written + 50).collect();
            let draw = |&number: &u64| Operation::draw(&mut self.rng, number, 24);
            let operations: Vec<_> = numbers.iter().map(draw).collect();
            self.world.send(&operations, Some(&numbers), thermae_engine::Ack::Durable);
            self.written += 50;
            assert!(self.world.settle().unwrap());
        }
    }

    pub fn source(&mut self) -> Source<SimEnv> {
        self.world.backup_source().unwrap()
    }
}

/// Opens the restored directory: its digests.
pub fn digests_of(
    env: &SimEnv,
    cores: usize,
    histories: &[PartitionHistory],
) -> Result<Vec<(u16, u64)>, Error> {
    let data = Path::new(RESTORED);
    let mut world = World::open_in(env.clone(), data, cores, TIERS, histories.to_vec())?;
    world.check_rows().unwrap();
    Ok(world.digests().unwrap())
}

/// Another machine with the same files under [`PLACE`].
pub fn fork(env: &SimEnv, seed: u64) -> SimEnv {
    let copy = SimEnv::new(seed);
    copy.create_dir_all(Path::new(PLACE)).unwrap();
    for sub in ["files", "backups", "making"] {
        copy.create_dir_all(&Path::new(PLACE).join(sub)).unwrap();
    }
    for path in files(env) {
        copy.set_file_bytes(&path, &env.file_bytes(&path).unwrap()).unwrap();
    }
    copy
}

/// Every file under [`PLACE`] but its lock.
pub fn files(env: &SimEnv) -> Vec<PathBuf> {
    let in_sub = |sub: &str| {
        let dir = Path::new(PLACE).join(sub);
        let entries = env.list(&dir).unwrap_or_default();
        entries.into_iter().map(move |entry| dir.join(entry.name))
    };
    ["files", "backups", "making"].into_iter().flat_map(in_sub).collect()
}
