//! DuckDB and Polars, and how they are run (`peers/training.py`).

use super::{Target, parquet};
use crate::peers::program;
use anyhow::ensure;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The Python that has both.
///
/// # Errors
/// There is none, or it lacks one of them.
pub fn python() -> anyhow::Result<PathBuf> {
    let python = program("peers-python")?;
    let asked =
        Command::new(&python).args(["-c", "import duckdb, polars, pyarrow, numpy"]).output()?;
    ensure!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr).trim());
    Ok(python)
}

/// Both, over the files in `folder`.
pub fn targets(python: &Path, folder: &Path, threads: usize) -> Vec<Target> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/training.py");
    let target = |name: &'static str| {
        let (script, python) = (script.clone(), python.to_owned());
        let inputs = vec![parquet::history_path(folder), parquet::spine_path(folder)];
        let (folder, threads) = (folder.to_owned(), threads.to_string());
        let command = move || {
            let mut command = Command::new(&python);
            command.arg(&script).arg(name).arg(&folder).arg(&threads);
            Ok(command)
        };
        Target { name, command: Box::new(command), inputs }
    };
    ["duckdb", "polars"].map(target).into()
}
