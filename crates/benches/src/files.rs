//! Where results go: the terminal, a JSON file, and the page made from it.

use anyhow::Context;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// A file of the documentation.
pub fn in_docs(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(file)
}

/// Prints `markdown` and writes both to their files, where there are any.
///
/// # Errors
/// A file that cannot be written.
pub fn publish(
    report: &impl Serialize,
    json_file: Option<&Path>,
    markdown: &str,
    markdown_file: Option<&Path>,
) -> anyhow::Result<()> {
    println!("{markdown}");
    if let Some(file) = json_file {
        write(file, &(serde_json::to_string_pretty(report)? + "\n"))?;
    }
    if let Some(file) = markdown_file {
        write(file, markdown)?;
    }
    Ok(())
}

fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}
