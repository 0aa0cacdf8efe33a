//! Project tasks: `cargo xtask test`, the long campaigns, and `cargo xtask bench`.

mod bench;
mod campaigns;
mod damage;
mod feast;
mod fuzz;
mod models;
mod objects;
mod peers;
mod powercut;
mod process;
mod python;
mod test;
mod venv;

use clap::{Parser, Subcommand};

/// Tasks of the project, each a command of a newcomer or of continuous integration.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Tasks {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Everything that must hold: format, lints, all tests, licences and sources.
    Test,
    /// Crash a simulated machine under the production shard code, seed by seed.
    Simulate(campaigns::Simulate),
    /// The same for stores with an archive: machine and object store fail, histories and newest rows are compared.
    Cold(campaigns::Cold),
    /// kill -9 the real server again and again and look for every acknowledged row.
    Crash(campaigns::Crash),
    /// Cut the power of the disk under the real server (needs root, loop devices, e2fsprogs, xfsprogs).
    Powercut(powercut::Options),
    /// Damage every byte of small stores: the same answers, or an error that names the file.
    Damage(damage::Options),
    /// Read the mapped tables from other processes while the server is written to and killed.
    Stress(campaigns::Stress),
    /// Run every fuzz target with libFuzzer (needs cargo-fuzz and a C++ compiler; says how to get it).
    Fuzz(fuzz::Options),
    /// Write the seed corpora of the fuzz targets anew, from valid encodings.
    FuzzSeeds,
    /// Try the lock-free protocols in every order that the memory model allows (loom).
    Loom(models::Options),
    /// Archive, back up and restore against real object stores (SeaweedFS, Azurite; needs python3, npm, registries).
    Objects(objects::Options),
    /// Try a stock Feast client against the server (needs python3 and a registry).
    Feast,
    /// Build the Python package into an environment below the target directory and run its tests (needs python3).
    Python,
    /// Measure, side by side with the peers; `cargo xtask bench --help` lists what.
    #[command(disable_help_flag = true)]
    Bench {
        /// Handed to the bench program as they are.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() -> anyhow::Result<()> {
    match Tasks::parse().task {
        Task::Test => test::run(),
        Task::Simulate(options) => campaigns::simulate(&options),
        Task::Cold(options) => campaigns::cold(&options),
        Task::Crash(options) => campaigns::crash(&options),
        Task::Powercut(options) => powercut::run(&options),
        Task::Damage(options) => damage::run(&options),
        Task::Stress(options) => campaigns::stress(&options),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::FuzzSeeds => fuzz::seeds(),
        Task::Loom(options) => models::run(&options),
        Task::Objects(options) => objects::run_all(&options),
        Task::Feast => feast::run_all(),
        Task::Python => python::run_all(),
        Task::Bench { arguments } => bench::run(&arguments),
    }
}
