//! `cargo xtask bench`: builds what a benchmark needs, optimised, then hands over.

use crate::peers::{self, all, warm};
use crate::process::{cargo, run as run_command, step, target};
use crate::venv;

/// Benchmarks that run beside peers' programs.
const BESIDE_PROGRAMS: [&str; 4] = ["wire", "flash", "training", "crosscheck"];

/// Runs the bench program with `arguments`, of which the first names the benchmark.
pub fn run(arguments: &[String]) -> anyhow::Result<()> {
    let mut program = vec!["-p", "thermae-benches"];
    let benchmark = arguments.first().map_or("", String::as_str);
    match benchmark {
        "peers" => return all::run_all(arguments),
        "warm-peers" => return warm::run(arguments),
        _ => {}
    }
    if benchmark == "runtime" {
        // It measures glommio beside our ring; nothing else should build that, nor run with it.
        program.extend(["--features", "glommio"]);
    } else if !["crosscheck", "document", "policy", "training", "warm"].contains(&benchmark) {
        // Those run without a server of ours.
        step("server", &["build", "--release", "-p", "thermae-server"])?;
    }
    step("build", &[&["build", "--release"], program.as_slice()].concat())?;
    let mut command =
        cargo(&[&["run", "--quiet", "--release"], program.as_slice(), &["--"]].concat());
    if BESIDE_PROGRAMS.contains(&benchmark) {
        let python = venv::environment(target().join("peers-venv"), &[]);
        command.env("PATH", peers::path(&python)?);
    }
    command.args(arguments);
    run_command("bench", command)
}
