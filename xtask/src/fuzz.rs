//! `cargo xtask fuzz`: every target for a while; `fuzz-seeds`: the corpora they start from.

use crate::process::{self, has_subcommand, root, step};
use anyhow::{Context, bail};

/// How long, and which targets.
#[derive(clap::Args)]
pub struct Options {
    /// Seconds for each target.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Only targets whose name holds this.
    #[arg(long, default_value = "")]
    only: String,
}

/// Runs each target with libFuzzer and AddressSanitizer; stops at the first finding.
fn run_all(options: &Options) -> anyhow::Result<Vec<String>> {
    let mut targets: Vec<String> = std::fs::read_dir(root().join("fuzz/fuzz_targets"))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| Some(name.strip_suffix(".rs")?.to_owned()))
        .filter(|name| name.contains(&options.only))
        .collect();
    targets.sort();
    for target in &targets {
        let corpus = root().join("target/fuzz-corpus").join(target);
        std::fs::create_dir_all(&corpus).context("cannot create the working corpus")?;
        let mut command = process::cargo(&["fuzz", "run", "--no-default-features"]);
        // The sanitizers' flags, from the toolchain that everything else is built with: no nightly is needed.
        command.env("RUSTC_BOOTSTRAP", "1");
        command.args(["--features", features_of(target)]);
        command.arg(target).arg(&corpus).arg(format!("fuzz/corpus/{target}"));
        command.arg("--").arg(format!("-max_total_time={}", options.seconds));
        command.args([
            "-max_len=65536",
            "-timeout=10",
            "-rss_limit_mb=2048",
            "-print_final_stats=1",
        ]);
        process::run(target, command)?;
    }
    Ok(targets)
}

/// Only one target needs the engine in its binary; the others build in a fraction of the time without.
fn features_of(target: &str) -> &'static str {
    if target == "definitions" { "libfuzzer,definitions" } else { "libfuzzer" }
}

/// Checks the tools, then runs the targets and says how many ran clean.
pub fn run(options: &Options) -> anyhow::Result<()> {
    if !has_subcommand("fuzz") {
        bail!("cargo-fuzz is not installed: cargo install --locked cargo-fuzz");
    }
    let targets = run_all(options)?;
    println!("== fuzz: {} targets, {} s each, no finding", targets.len(), options.seconds);
    Ok(())
}

/// Writes the seed corpora: an example of the fuzz package holds the encoders' side.
pub fn seeds() -> anyhow::Result<()> {
    step("seeds", &["run", "--quiet", "-p", "thermae-fuzz", "--example", "seeds"])
}
