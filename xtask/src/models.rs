//! `cargo xtask loom`: the lock-free protocols under a model checker.

use crate::process::{self, cargo, root};

/// Which models.
#[derive(Default, clap::Args)]
pub struct Options {
    /// Only models whose name holds this.
    #[arg(long, default_value = "")]
    only: String,
}

/// Crates that have models.
const CRATES: [&str; 2] = ["thermae-hot", "thermae-env"];

/// Builds the unit tests of these crates anew, with the checker's atomics in place of the machine's,
/// and runs the models among them; each says in how many executions it was tried.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let mut command = cargo(&["test", "--release", "--lib"]);
    command.args(CRATES.iter().flat_map(|name| ["--package", name]));
    command.args(["--", "--nocapture", "--test-threads=1"]);
    command.arg(format!("models::{}", options.only));
    command.env("RUSTFLAGS", "--cfg loom");
    // Other flags, other artefacts: the usual ones stay as they are.
    command.env("CARGO_TARGET_DIR", root().join("target/loom"));
    process::run("models", command)
}
