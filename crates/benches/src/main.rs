//! The bench program. `cargo xtask bench` builds and runs it.

use clap::{Parser, Subcommand};
use thermae_benches::{runtime, wire};

/// Benchmarks, side by side with the peers.
#[derive(Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct Benches {
    #[command(subcommand)]
    which: Which,
}

#[derive(Subcommand)]
enum Which {
    /// Reads and durable writes over the wire, the mapped path and the ladder, beside Valkey and Redis.
    Wire(wire::Options),
    /// Our ring beside epoll and glommio, each serving the same reads over our protocol.
    Runtime(runtime::Options),
}

fn main() -> anyhow::Result<()> {
    match Benches::parse().which {
        Which::Wire(options) => wire::run(&options),
        Which::Runtime(options) => runtime::run(&options),
    }
}
