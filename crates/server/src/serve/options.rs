//! What `thermae serve` is told: flags over the configuration file over the defaults.

use std::path::PathBuf;

use thermae_engine::cold::OpenOptions;

use super::limits::Limits;
use super::size::Size;

/// The address that clients use unless told otherwise.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:7400";

/// How a server is started. Built by hand when embedded, or from [`Flags`] by
/// [`ServeOptions::from_flags`](super::config).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServeOptions {
    /// The data directory; created if it is missing.
    pub data: PathBuf,
    /// The directory, or the address in an object store, below which clients may have backups written; `None` for
    /// nowhere.
    pub backup_dir: Option<PathBuf>,
    /// TCP address for the binary protocol; `None` listens on no TCP port. Port 0 picks one.
    pub listen: Option<String>,
    /// Path of the unix socket; `None` for none. Mapped reads need one.
    pub unix: Option<PathBuf>,
    /// TCP address for HTTP: features as JSON, metrics, health checks; `None` for none. Port 0 picks one.
    pub http: Option<String>,
    /// TCP address for Feast's serving service by gRPC; `None` for none. Port 0 picks one.
    pub grpc: Option<String>,
    /// The directory below which the files of sources lie that a request may have loaded; `None` for none.
    pub source_dir: Option<PathBuf>,
    /// Directory of the archive, created if it is missing, or its address in an object store. `None` archives nothing,
    /// and `warm_for` moves nothing.
    pub archive: Option<PathBuf>,
    /// How long rows wait to be archived, about, in microseconds: smaller makes more files.
    pub archive_lag_us: i64,
    /// How long objects of the archive stay that nothing names any more, in microseconds: backups that name them can be
    /// restored as long.
    pub archive_grace_us: i64,
    /// Where object stores are, and by which right they are asked.
    pub object_store: OpenOptions,
    /// Shards, each a pinned thread; 0 = one per core of the machine.
    pub cores: usize,
    /// Memory of the process, in bytes: tables, buffers, connections. [`Limits`] left at their defaults are
    /// lowered to fit it.
    pub memory_bytes: u64,
    /// How long a shard polls after its last request before it sleeps, in microseconds; 0 = never.
    pub spin_us: u64,
    /// Pin each shard thread to its core.
    pub pin: bool,
    /// Allow addresses that other machines can reach, without authentication.
    pub insecure_development: bool,
    /// The limits to state and enforce.
    pub limits: Limits,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            data: PathBuf::from("thermae-data"),
            backup_dir: None,
            listen: Some(DEFAULT_LISTEN.to_owned()),
            unix: None,
            http: None,
            grpc: None,
            source_dir: None,
            archive: None,
            archive_lag_us: 60_000_000,
            archive_grace_us: 86_400_000_000,
            object_store: OpenOptions::default(),
            cores: 0,
            memory_bytes: 1 << 30,
            spin_us: 50,
            pin: true,
            insecure_development: false,
            limits: Limits::default(),
        }
    }
}

/// The flags of `thermae serve`, each absent unless given. What is absent comes from the
/// configuration file, and what is absent there from the defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--data DIR`
    pub data: Option<PathBuf>,
    /// `--backup-dir DIR`
    pub backup_dir: Option<PathBuf>,
    /// `--listen ADDR`; `none` for no TCP port.
    pub listen: Option<String>,
    /// `--unix PATH`
    pub unix: Option<PathBuf>,
    /// `--http ADDR`
    pub http: Option<String>,
    /// `--grpc ADDR`
    pub grpc: Option<String>,
    /// `--source-dir DIR`
    pub source_dir: Option<PathBuf>,
    /// `--archive DIR`
    pub archive: Option<PathBuf>,
    /// `--cores N`
    pub cores: Option<usize>,
    /// `--memory SIZE`
    pub memory: Option<Size>,
    /// `--insecure-development`
    pub insecure_development: bool,
    /// `--config FILE`
    pub config: Option<PathBuf>,
}
