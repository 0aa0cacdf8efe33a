//! `cargo xtask feast`: a stock Feast client against the server, over HTTP and gRPC.
//!
//! Feast comes from its registry into an environment of its own below the target directory. It is not part of `cargo
//! xtask test`: it needs Python and that registry. Feast's own server beside ours: `cargo xtask bench peers`.

use crate::process::{root, run, step, target};
use crate::venv;

const PACKAGES: [&str; 2] = ["feast==0.67.0", "grpcio>=1.60"];

/// Runs it.
pub fn run_all() -> anyhow::Result<()> {
    let environment = venv::environment(target().join("feast-venv"), &PACKAGES)?;
    step("server", &["build", "-p", "thermae-server"])?;
    let mut command = venv::program(&environment, "python");
    command.args(["-W", "ignore"]).arg(root().join("xtask/feast/stock_client.py"));
    command.arg(target().join("debug/thermae"));
    run("Feast", command)
}
