//! `cargo xtask feast`: a stock Feast client against the server, over HTTP and gRPC; with `--bench`, Feast's own server
//! beside ours.
//!
//! Feast comes from its registry into an environment of its own below the target directory. It is not part of `cargo
//! xtask test`: it needs Python and that registry.

use crate::process::{root, run, step, target};
use crate::venv;

const PACKAGES: [&str; 2] = ["feast==0.67.0", "grpcio>=1.60"];

/// What to run.
#[derive(clap::Args)]
pub struct Options {
    /// Measure `/get-online-features` of both servers on the same data, instead of testing.
    #[arg(long)]
    bench: bool,
}

/// Runs it.
pub fn run_all(options: &Options) -> anyhow::Result<()> {
    let environment = venv::environment(target().join("feast-venv"), &PACKAGES)?;
    let (script, profile) = match options.bench {
        true => ("serving_bench.py", "release"),
        false => ("stock_client.py", "debug"),
    };
    let build = ["build", "-p", "thermae-server"];
    let release: &[&str] = if options.bench { &["--release"] } else { &[] };
    step("server", &[&build[..], release].concat())?;
    let mut command = venv::program(&environment, "python");
    command.args(["-W", "ignore"]).arg(root().join("xtask/feast").join(script));
    command.arg(target().join(profile).join("thermae"));
    run("Feast", command)
}
