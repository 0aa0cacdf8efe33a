//! The bench program. `cargo xtask bench` builds and runs it.

use clap::{Parser, Subcommand};
use thermae_benches::{
    beside, crosscheck, document, flash, policy, recovery, runtime, training, warm, wire,
};

/// Benchmarks, side by side with the peers.
#[derive(Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct Benches {
    #[command(subcommand)]
    which: Which,
}

#[derive(Subcommand)]
enum Which {
    /// Reads and durable writes over the wire, the mapped path and the ladder, beside Valkey, Redis and memcached.
    Wire(wire::Options),
    /// Our ring beside epoll and glommio, each serving the same reads over our protocol.
    Runtime(runtime::Options),
    /// What a full cache keeps: our hand beside LRU, SIEVE and S3-FIFO, simulated.
    Policy(policy::Options),
    /// More rows than memory: load, every row read back, look-ups on disk beside the device's own rate.
    Warm(warm::Options),
    /// Hot reads on a schedule, with and without a load of writes that flushes, merges and evicts.
    Beside(beside::Options),
    /// More rows than memory, over the wire, beside memcached with extstore.
    Flash(flash::Options),
    /// Writes docs/benchmarks.md and its plots from the results of all parts.
    Document(document::Options),
    /// The loop of `thermae bench` beside redis-benchmark, on the same Redis.
    Crosscheck(crosscheck::Options),
    /// How long a server with many GB takes from kill -9, or a planned stop, to its first answer.
    Recovery(recovery::Options),
    /// Point-in-time training reads beside DuckDB's ASOF JOIN and Polars' join_asof.
    Training(training::Options),
    /// One training read of `training`, in a process of its own.
    #[command(hide = true)]
    TrainingJoin(training::join::Options),
}

fn main() -> anyhow::Result<()> {
    match Benches::parse().which {
        Which::Wire(options) => wire::run(&options),
        Which::Runtime(options) => runtime::run(&options),
        Which::Policy(options) => policy::run(&options),
        Which::Warm(options) => warm::run(&options),
        Which::Beside(options) => beside::run(&options),
        Which::Crosscheck(options) => crosscheck::run(&options),
        Which::Flash(options) => flash::run(&options),
        Which::Document(options) => document::run(&options),
        Which::Recovery(options) => recovery::run(&options),
        Which::Training(options) => training::run(&options),
        Which::TrainingJoin(options) => training::join::run(&options),
    }
}
