//! A Python environment below the target directory, with packages from their registry.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::run;

/// The environment at `environment`, made unless it is there, with `packages`, fetched unless they were before.
///
/// # Errors
/// There is no python3, or the registry does not give a package.
pub fn environment(environment: PathBuf, packages: &[&str]) -> anyhow::Result<PathBuf> {
    // What was asked for, a line each: several tasks may ask for packages of one environment.
    let made = environment.join("made");
    let there = std::fs::read_to_string(&made).unwrap_or_default();
    let is_there = |package: &&&str| there.lines().any(|line| line == **package);
    let missing: Vec<&str> =
        packages.iter().filter(|package| !is_there(package)).copied().collect();
    if missing.is_empty() {
        return Ok(environment);
    }
    let mut make = Command::new("python3");
    make.args(["-m", "venv"]).arg(&environment);
    run("Python environment", make)?;
    let mut install = program(&environment, "pip");
    install.args(["install", "--quiet", "--disable-pip-version-check"]).args(&missing);
    run("Python packages", install)?;
    std::fs::write(&made, there + &missing.join("\n") + "\n")?;
    Ok(environment)
}

/// A program of an environment.
pub fn program(environment: &Path, name: &str) -> Command {
    Command::new(environment.join("bin").join(name))
}
