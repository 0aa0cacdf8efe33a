//! `bench document`: docs/benchmarks.md, its plots, and the measured table of README.md, from the results of all parts.

pub mod causes;
pub mod page;
pub mod part;
pub mod plots;
pub mod readme;
pub mod results;

use anyhow::Context;
use causes::Causes;
use page::Entry;
use part::Part;
use std::fs;
use std::path::{Path, PathBuf};

/// The parts: name of the result, heading.
pub const PARTS: [(&str, &str); 7] = [
    ("wire", "Over the wire: Valkey, Redis, memcached"),
    ("flash", "More rows than memory, over the wire: memcached with extstore"),
    ("warm-peers", "The warm tier: RocksDB, fjall"),
    ("training", "Training reads: DuckDB, Polars"),
    ("feast", "In Python: Feast with Redis, with SQLite"),
    ("feast-http", "Over HTTP: Feast's server with SQLite"),
    ("crosscheck", "Our harness: redis-benchmark on the same load"),
];

/// Where results are, and where the page goes.
#[derive(clap::Args)]
pub struct Options {
    /// The folder of results [default: docs/benchmarks]
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,
    /// The folder of the page [default: docs]; with another, README.md is left alone
    #[arg(long, value_name = "DIR")]
    docs: Option<PathBuf>,
}

/// Reads the results, and writes the page.
///
/// # Errors
/// A result is not of its form, or a file cannot be written.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let results = options.results.clone().unwrap_or_else(|| root.join("docs/benchmarks"));
    let docs = options.docs.clone().unwrap_or_else(|| root.join("docs"));
    let causes = Causes::read(&root.join("docs/benchmarks/causes.toml"))?;
    let entries = read(&results)?;
    fs::create_dir_all(docs.join("benchmarks"))?;
    // Plots of groups that are no more would stay.
    let folder = docs.join("benchmarks/plots");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    for (name, part) in entries.iter().filter_map(|entry| Some((entry.name, entry.part.as_ref()?)))
    {
        for (file, svg) in plots::plots(name, part) {
            fs::write(docs.join("benchmarks").join(file), svg)?;
        }
    }
    fs::write(docs.join("benchmarks.md"), page::page(&entries, &causes))?;
    let wire =
        entries.iter().find(|entry| entry.name == "wire").and_then(|entry| entry.part.as_ref());
    if let (None, Some(wire)) = (&options.docs, wire) {
        let file = root.join("README.md");
        fs::write(&file, readme::with_table(&fs::read_to_string(&file)?, wire)?)?;
    }
    println!("wrote {}", docs.join("benchmarks.md").display());
    Ok(())
}

/// All parts, with their results where there are any.
///
/// # Errors
/// A result is not of its form.
pub fn read(results: &Path) -> anyhow::Result<Vec<Entry<'static>>> {
    let entry = |(name, title): (&'static str, &'static str)| {
        let file = results.join(format!("{name}.json"));
        let part = match fs::read_to_string(&file) {
            Ok(text) => {
                Some(results::part(name, &text).with_context(|| file.display().to_string())?)
            }
            Err(_) => None,
        };
        Ok(Entry { name, title, part })
    };
    PARTS.into_iter().map(entry).collect()
}

/// A result as the terminal shows it.
///
/// # Errors
/// It is not of its form.
pub fn shown(name: &str, result: &impl serde::Serialize) -> anyhow::Result<String> {
    let part: Part = results::part(name, &serde_json::to_string(result)?)?;
    Ok(page::body(name, &part, &Causes::default()))
}
