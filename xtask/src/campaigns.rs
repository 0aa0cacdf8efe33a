//! The long crash campaigns; continuous integration runs a slice of each as ordinary tests.

use crate::process::{step, target};

/// How many simulated crashes.
#[derive(clap::Args)]
pub struct Simulate {
    /// Seeds, each a store under writes and several crashes.
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// The first seed, to repeat one.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Plant bugs, one after the other, to see that each is found.
    #[arg(long)]
    plant: bool,
}

/// How many simulated crashes of machines that archive.
#[derive(clap::Args)]
pub struct Cold {
    /// Machines that stop in the middle of something.
    #[arg(long, default_value_t = 10_000)]
    crashes: u64,
    /// The first seed, to repeat one.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Plant bugs, one after the other, to see that each is found.
    #[arg(long)]
    plant: bool,
}

/// How many real ones.
#[derive(clap::Args)]
pub struct Crash {
    /// kill -9 and restart this many times.
    #[arg(long, default_value_t = 200)]
    cycles: u64,
}

/// How long readers read.
#[derive(clap::Args)]
pub struct Stress {
    /// Seconds.
    #[arg(long, default_value_t = 180)]
    seconds: u64,
}

/// Runs the simulated campaign.
pub fn simulate(options: &Simulate) -> anyhow::Result<()> {
    simulated("simulate", "simulate", options.seeds, options.first, options.plant)
}

/// Runs the one over machine and object store.
pub fn cold(options: &Cold) -> anyhow::Result<()> {
    simulated("cold", "simulate_cold", options.crashes, options.first, options.plant)
}

/// Runs an example of the tests: `EXAMPLE COUNT FIRST [--plant]`.
fn simulated(name: &str, example: &str, count: u64, first: u64, plant: bool) -> anyhow::Result<()> {
    let (count, first) = (count.to_string(), first.to_string());
    let mut run = vec!["run", "--quiet", "--release", "-p", "thermae-tests", "--example", example];
    run.extend(["--", &count, &first]);
    if plant {
        run.push("--plant");
    }
    step(name, &run)
}

/// Runs the kill loop on the server as users build it.
pub fn crash(options: &Crash) -> anyhow::Result<()> {
    against_server("crash", "kill", options.cycles)
}

/// Runs mapped readers in other processes against the server as users build it.
pub fn stress(options: &Stress) -> anyhow::Result<()> {
    against_server("stress", "stress", options.seconds)
}

/// Builds the server, then runs an example of the tests: `EXAMPLE BINARY NUMBER`.
fn against_server(name: &str, example: &str, number: u64) -> anyhow::Result<()> {
    step("build", &["build", "--release", "-p", "thermae-server"])?;
    let binary = target().join("release/thermae").display().to_string();
    let number = number.to_string();
    let run = ["run", "--quiet", "--release", "-p", "thermae-tests", "--example", example, "--"];
    let all: Vec<&str> = run.into_iter().chain([binary.as_str(), number.as_str()]).collect();
    step(name, &all)
}
