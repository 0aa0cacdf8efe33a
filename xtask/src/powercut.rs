//! `cargo xtask powercut`: the real server on file systems whose power is cut.

use std::process::Command;

use anyhow::{Context, bail};

use crate::process::{self, step};

/// How many cuts, and where.
#[derive(clap::Args)]
pub struct Options {
    /// Cut the power this many times, over all file systems.
    #[arg(long, default_value_t = 500)]
    cycles: u64,
    /// The file system under the server.
    #[arg(long, value_enum, default_value_t = FileSystem::Both)]
    filesystem: FileSystem,
    /// Repeats what is drawn, though not the moment of a cut.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Run a server that acknowledges before it syncs, to see that it is found.
    #[arg(long)]
    plant: bool,
}

/// What the data lie on.
#[derive(Clone, Copy, clap::ValueEnum)]
enum FileSystem {
    Ext4,
    Xfs,
    /// Both, in turn.
    Both,
}

impl FileSystem {
    fn name(self) -> &'static str {
        match self {
            FileSystem::Ext4 => "ext4",
            FileSystem::Xfs => "xfs",
            FileSystem::Both => "both",
        }
    }
}

/// What the campaign ends with where the machine cannot cut: it has said what is missing.
const SKIPPED: i32 = 77;

/// Runs the campaign on the server as users build it; an error where the machine cannot.
pub fn run(options: &Options) -> anyhow::Result<()> {
    step("build", &["build", "--release", "-p", "thermae-server"])?;
    // Built like tests: in a release build a panic would end it without unmounting anything.
    step("build", &["build", "-p", "thermae-tests", "--examples"])?;
    let server = if options.plant { "debug/examples/serve_planted" } else { "release/thermae" };
    if !campaign(server, options)? {
        bail!("powercut: SKIPPED, nothing was tried");
    }
    Ok(())
}

/// A few cuts of the server that the tests built. Where the machine cannot, that is said and no more.
pub fn slice() -> anyhow::Result<()> {
    let options = Options { cycles: 4, filesystem: FileSystem::Both, seed: 0, plant: false };
    campaign("debug/thermae", &options).map(|_| ())
}

/// Whether the power was cut at all: not where the machine cannot.
fn campaign(server: &str, options: &Options) -> anyhow::Result<bool> {
    let mut command = Command::new(process::target().join("debug/examples/powercut"));
    command.arg(process::target().join(server)).arg(options.cycles.to_string());
    command.args([options.filesystem.name(), &options.seed.to_string()]);
    command.args(options.plant.then_some("--plant"));
    println!("== powercut: {} cuts, {}", options.cycles, options.filesystem.name());
    let status = command.status().context("powercut: cannot start")?;
    match status.code() {
        Some(0) => println!("== powercut: ok"),
        Some(SKIPPED) => return Ok(false),
        _ => bail!("powercut failed ({status})"),
    }
    Ok(true)
}
