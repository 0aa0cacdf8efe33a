//! A Python environment below the target directory, with packages from their registry.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::run;

/// The environment at `environment` with `packages`, made unless it was made with the same ones before.
///
/// # Errors
/// There is no python3, or the registry does not give a package.
pub fn environment(environment: PathBuf, packages: &[&str]) -> anyhow::Result<PathBuf> {
    let (made, wanted) = (environment.join("made"), packages.join("\n"));
    if std::fs::read_to_string(&made).is_ok_and(|text| text == wanted) {
        return Ok(environment);
    }
    let mut make = Command::new("python3");
    make.args(["-m", "venv"]).arg(&environment);
    run("Python environment", make)?;
    let mut install = program(&environment, "pip");
    install.args(["install", "--quiet", "--disable-pip-version-check"]).args(packages);
    run("Python packages", install)?;
    std::fs::write(&made, wanted)?;
    Ok(environment)
}

/// A program of an environment.
pub fn program(environment: &Path, name: &str) -> Command {
    Command::new(environment.join("bin").join(name))
}
