//! `cargo xtask bench`: builds what a benchmark needs, optimised, then hands over.

use crate::peers;
use crate::process::step;

/// Runs the bench program with `arguments`, of which the first names the benchmark.
pub fn run(arguments: &[String]) -> anyhow::Result<()> {
    let mut program = vec!["-p", "thermae-benches"];
    let benchmark = arguments.first().map_or("", String::as_str);
    if benchmark == "warm-peers" {
        return peers::run(arguments);
    }
    if benchmark == "runtime" {
        // It measures glommio beside our ring; nothing else should build that, nor run with it.
        program.extend(["--features", "glommio"]);
    } else if !["crosscheck", "policy", "training", "warm"].contains(&benchmark) {
        // Those run without a server of ours.
        step("server", &["build", "--release", "-p", "thermae-server"])?;
    }
    step("build", &[&["build", "--release"], program.as_slice()].concat())?;
    let handed = arguments.iter().map(String::as_str);
    let run = [&["run", "--quiet", "--release"], program.as_slice(), &["--"]].concat();
    step("bench", &run.into_iter().chain(handed).collect::<Vec<_>>())
}
