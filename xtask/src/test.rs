//! `cargo xtask test`: everything that must hold, cheapest first, with nothing to install by hand.

use crate::process::{has_subcommand, step};
use crate::{models, peers, powercut, python};

/// Format, lints, licences and sources, all tests, those of the Python package, the comparisons with peers at their smallest, a few power cuts, the models of the lock-free protocols. Stops at the first step that fails.
pub fn run() -> anyhow::Result<()> {
    step("format", &["fmt", "--all", "--", "--check"])?;
    let peers = ["fmt", "--manifest-path", "crates/peers/Cargo.toml", "--", "--check"];
    step("format of peers", &peers)?;
    step("lints", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    // In the workspace the server turns all features on; who embeds the engine may have none.
    step("lints of the engine alone", &["clippy", "-p", "thermae-engine", "--", "-D", "warnings"])?;
    if has_subcommand("deny") {
        step("licences", &["deny", "check", "bans", "licenses", "sources"])?;
    } else {
        println!(
            "== licences: SKIPPED, cargo-deny is not installed (cargo install --locked cargo-deny)"
        );
    }
    // The tests start the real binary: it is built first, where they look for it.
    python::server()?;
    step("tests", &["test", "--workspace", "--no-fail-fast"])?;
    // Only this step builds what reaches buckets.
    let buckets = ["--features", "s3,gcs,azure", "--lib", "remote"];
    step("buckets", &[&["test", "-p", "thermae-tiering"][..], &buckets].concat())?;
    python::run_all()?;
    peers::all::smoke()?;
    powercut::slice()?;
    models::run(&models::Options::default())
}
