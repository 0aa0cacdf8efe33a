//! DuckDB and Polars: where they come from, and how they are run (`peers/training.py`).

use super::Target;
use anyhow::{Context, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What pip is asked for, pinned; the last two are what answers are handed over in.
const PACKAGES: [&str; 4] = ["duckdb==2.0.1", "polars==2.1.0", "pyarrow==26.0.1", "numpy==2.4.6"];

/// The folder that has the packages, fetched once with pip.
///
/// # Errors
/// They are not there, and cannot be fetched or are not to be.
pub fn packages(peers: &Path, download: bool) -> anyhow::Result<PathBuf> {
    let (folder, done) = (peers.join("training"), peers.join("training/done"));
    let wanted = PACKAGES.join(" ");
    if std::fs::read_to_string(&done).is_ok_and(|there| there == wanted) {
        return Ok(folder);
    }
    if !download {
        bail!("not fetched yet (cargo xtask bench training fetches them)");
    }
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--upgrade", "--target"]);
    let output = pip.arg(&folder).args(PACKAGES).output().context("no python3 with pip")?;
    if !output.status.success() {
        bail!("pip could not fetch {wanted}: {}", String::from_utf8_lossy(&output.stderr));
    }
    std::fs::write(done, wanted)?;
    Ok(folder)
}

/// Both, over the files in `folder`.
pub fn targets(packages: &Path, folder: &Path, threads: usize) -> Vec<Target> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/training.py");
    let target = |name: &'static str| {
        let (script, packages) = (script.clone(), packages.to_owned());
        let (folder, threads) = (folder.to_owned(), threads.to_string());
        let command = move || {
            let mut command = Command::new("python3");
            command.env("PYTHONPATH", &packages).arg(&script).arg(name).arg(&folder).arg(&threads);
            Ok(command)
        };
        Target { name, command: Box::new(command) }
    };
    ["duckdb", "polars"].map(target).into()
}
