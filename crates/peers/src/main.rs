//! The warm tier beside fjall and RocksDB: the same rows, memory, threads and disk, in one run.
//! `cargo xtask bench warm-peers` builds and runs it.

mod child;
mod engines;
mod goals;
mod lines;
mod process;
mod protocol;
mod reading;
mod report;
mod rows;
mod run;
mod serve;

use clap::{Parser, Subcommand};

/// The warm tier beside its peers.
#[derive(Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct Peers {
    #[command(subcommand)]
    which: Which,
}

#[derive(Subcommand)]
enum Which {
    /// Load, look-ups and memory of the warm tier beside fjall and RocksDB.
    WarmPeers(run::Options),
    /// The process of one engine, started by the other.
    #[command(hide = true)]
    Serve(serve::Options),
}

fn main() -> anyhow::Result<()> {
    match Peers::parse().which {
        Which::WarmPeers(options) => run::run(&options),
        Which::Serve(options) => serve::run(&options),
    }
}
