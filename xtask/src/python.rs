//! The Python package, built into an environment of its own below the target directory, and its tests.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::process::{root, run, step, target};
use crate::venv;

/// What builds the package: as `python/pyproject.toml` asks.
const MATURIN: &str = "maturin>=1.9,<2";

/// Builds and tests it. It shares the target directory, and its profile is that of the other tests.
pub fn run_all() -> anyhow::Result<()> {
    if !has_python() {
        println!("== python: SKIPPED, python3 is not installed");
        return Ok(());
    }
    server()?;
    let environment = package("python-venv", "dev")?;
    let mut tests = inside(&environment, "python");
    tests.args(["-m", "pytest", "-q", "-p", "no:cacheprovider"]);
    tests.env("THERMAE_BIN", target().join("debug/thermae"));
    run("python tests", tests)
}

/// The package in the environment of that name, with what its tests need, Feast among it.
///
/// # Errors
/// No python3, no registry, or it does not build.
pub fn package(name: &str, profile: &str) -> anyhow::Result<PathBuf> {
    let environment = venv::environment(target().join(name), &[MATURIN])?;
    let mut build = inside(&environment, "maturin");
    build.args(["develop", "--quiet", "--profile", profile, "--extras", "test"]);
    run("python package", build)?;
    Ok(environment)
}

/// Builds the server, where tests look for it, with the features of dependencies that the package needs, so that
/// these are compiled once.
pub fn server() -> anyhow::Result<()> {
    let packages = ["-p", "thermae-server", "-p", "thermae-python"];
    step("server", &[&["build", "--bin", "thermae"][..], &packages].concat())
}

fn has_python() -> bool {
    let mut python = Command::new("python3");
    python.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    python.status().is_ok_and(|status| status.success())
}

/// A program of the environment, started in the package's folder.
fn inside(environment: &Path, program: &str) -> Command {
    let mut command = venv::program(environment, program);
    command.current_dir(root().join("python")).env("VIRTUAL_ENV", environment);
    command.env_remove("CONDA_PREFIX");
    command
}
