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
    let (seeds, first) = (options.seeds.to_string(), options.first.to_string());
    let mut run =
        vec!["run", "--quiet", "--release", "-p", "thermae-tests", "--example", "simulate"];
    run.extend(["--", &seeds, &first]);
    if options.plant {
        run.push("--plant");
    }
    step("simulate", &run)
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
