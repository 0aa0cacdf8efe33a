//! `cargo xtask damage`: every byte of small stores damaged, one after the other.

use crate::process::step;

/// How much of it.
#[derive(clap::Args)]
pub struct Options {
    /// Try one of so many flips, copies and old pages.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    every: u32,
}

/// Runs the campaign.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let every = options.every.to_string();
    let run = ["run", "--quiet", "--release", "-p", "thermae-tests", "--example", "damage", "--"];
    let all: Vec<&str> = run.into_iter().chain([every.as_str()]).collect();
    step("damage", &all)
}
