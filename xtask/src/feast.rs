//! `cargo xtask feast`: a stock Feast client against the server, over HTTP and gRPC; with `--bench`, Feast's own server
//! beside ours.
//!
//! Feast comes from its registry into an environment of its own below the target directory. It is not part of `cargo
//! xtask test`: it needs Python and that registry.

use std::path::PathBuf;
use std::process::Command;

use crate::process::{root, run, step, target};

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
    let python = python()?;
    let (script, profile) = match options.bench {
        true => ("serving_bench.py", "release"),
        false => ("stock_client.py", "debug"),
    };
    let build = ["build", "-p", "thermae-server"];
    let release: &[&str] = if options.bench { &["--release"] } else { &[] };
    step("server", &[&build[..], release].concat())?;
    let mut command = Command::new(python);
    command.args(["-W", "ignore"]).arg(root().join("xtask/feast").join(script));
    command.arg(target().join(profile).join("thermae"));
    run("Feast", command)
}

/// The environment's Python, made if it is not there.
fn python() -> anyhow::Result<PathBuf> {
    let environment = target().join("feast-venv");
    let (python, made) = (environment.join("bin/python"), environment.join("made"));
    let wanted = PACKAGES.join("\n");
    if std::fs::read_to_string(&made).is_ok_and(|text| text == wanted) {
        return Ok(python);
    }
    let mut make = Command::new("python3");
    make.args(["-m", "venv"]).arg(&environment);
    run("environment", make)?;
    let mut install = Command::new(environment.join("bin/pip"));
    install.args(["install", "--quiet"]).args(PACKAGES);
    run("Feast's packages", install)?;
    std::fs::write(&made, wanted)?;
    Ok(python)
}
