//! Where results go: the terminal, a JSON file, and the page made from it.

use anyhow::Context;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// How large a run is, and where its result goes: what every benchmark is asked alike.
#[derive(clap::Args, Clone)]
pub struct Output {
    /// A smoke test: little data, one short round; the figures mean nothing
    #[arg(long)]
    pub small: bool,
    /// Write the result here as JSON (default, unless --small: below docs/benchmarks)
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the tables here (default, unless --small: in docs)
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

impl Output {
    /// Prints `markdown` and writes both to their files: those asked for, else those of the documentation, unless the
    /// run was small. Tables that docs/benchmarks.md has need no page of their own.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn publish(
        &self,
        report: &impl Serialize,
        json_in_docs: &str,
        markdown: &str,
        markdown_in_docs: impl Into<Option<&'static str>>,
    ) -> anyhow::Result<()> {
        println!("{markdown}");
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
        let place = |asked: &Option<PathBuf>, in_docs: Option<&str>| {
            asked.clone().or_else(|| Some(docs.join(in_docs.filter(|_| !self.small)?)))
        };
        if let Some(file) = place(&self.json, Some(json_in_docs)) {
            write(&file, &(serde_json::to_string_pretty(report)? + "\n"))?;
        }
        if let Some(file) = place(&self.markdown, markdown_in_docs.into()) {
            write(&file, markdown)?;
        }
        Ok(())
    }
}

/// Runs `measure` over an empty folder called after `name`, below `below` or the build folder, and removes
/// what it left.
///
/// # Errors
/// What `measure` returns; the folder cannot be made.
pub fn in_folder<T>(
    below: Option<&Path>,
    name: &str,
    measure: impl FnOnce(&Path) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let usual = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bench-data");
    let folder = below.unwrap_or(&usual).join(format!("{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let measured = measure(&folder);
    // What is left behind costs room and nothing else.
    let _ = std::fs::remove_dir_all(&folder);
    measured
}

fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}
