//! `cargo xtask bench peers`: every comparison with peers, one after the other, each of which starts its peers and us
//! in turns; then docs/benchmarks.md and its plots from the results.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::{Parser, ValueEnum};

use super::warm;
use crate::process::{root, run, step, target};
use crate::{python, venv};

/// What to measure.
#[derive(Parser)]
#[command(name = "cargo xtask bench peers")]
struct Options {
    /// Take this part's figures alone (may be repeated); what the others found before stays
    #[arg(long, value_enum, value_name = "PART")]
    only: Vec<Part>,
    /// A smoke test: little data, one short round, an unoptimised build; nothing in docs is touched
    #[arg(long)]
    smoke: bool,
}

/// A comparison; its result is docs/benchmarks/PART.json.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Valkey, Redis and memcached: reads and durable writes over the wire
    Wire,
    /// memcached with extstore: more rows than memory, over the wire
    Flash,
    /// RocksDB and fjall: the warm tier, embedded
    WarmPeers,
    /// DuckDB and Polars: training reads
    Training,
    /// Feast with Redis and with SQLite, in Python
    Feast,
    /// Feast's server with SQLite, over HTTP
    FeastHttp,
    /// redis-benchmark beside our harness, on the same Redis
    Crosscheck,
}

impl Part {
    fn name(self) -> String {
        self.to_possible_value().map_or(String::new(), |value| value.get_name().to_owned())
    }
}

/// Where things are in this run.
struct Run {
    is_smoke: bool,
    /// Where results go.
    results: PathBuf,
    /// Where our programs are.
    built: PathBuf,
    /// With the peers' programs in front.
    path: OsString,
    /// Has the Python package and Feast, or why not.
    python: anyhow::Result<PathBuf>,
}

/// Gets the peers, measures, writes.
///
/// # Errors
/// A part failed, or an answer was wrong. A peer that cannot be had is no error: it is named.
pub fn run_all(arguments: &[String]) -> anyhow::Result<()> {
    let options = Options::parse_from(arguments);
    let is_asked = |part: &&Part| options.only.is_empty() || options.only.contains(part);
    let parts: Vec<Part> = Part::value_variants().iter().filter(is_asked).copied().collect();
    let (profile, results) = match options.smoke {
        true => ("debug", target().join("peers/smoke")),
        false => ("release", root().join("docs/benchmarks")),
    };
    std::fs::create_dir_all(&results)?;
    let build: &[&str] = match options.smoke {
        // Of the whole workspace, so that dependencies have the features that they have in its tests, too.
        true => &["build", "--workspace", "--bin", "thermae", "--bin", "thermae-benches"],
        false => &["build", "--release", "-p", "thermae-server", "-p", "thermae-benches"],
    };
    step("programs", build)?;
    let (environment, package) =
        if options.smoke { ("python-venv", "dev") } else { ("peers-venv", "release") };
    let python = match parts.iter().any(|part| matches!(part, Part::Feast | Part::FeastHttp)) {
        true => python::package(environment, package),
        false => Ok(target().join(environment)),
    };
    let path = super::path(&python)?;
    let (results, built) = (std::path::absolute(results)?, target().join(profile));
    let this = Run { is_smoke: options.smoke, results, built, path, python };
    parts.into_iter().try_for_each(|part| this.measure(part))?;
    this.document()
}

/// All parts at their smallest.
///
/// # Errors
/// As [`run_all`].
pub fn smoke() -> anyhow::Result<()> {
    run_all(&["peers".to_owned(), "--smoke".to_owned()])
}

impl Run {
    fn measure(&self, part: Part) -> anyhow::Result<()> {
        let json = self.results.join(format!("{}.json", part.name()));
        match part {
            Part::Feast => self.feast("online.py", &json),
            Part::FeastHttp => self.feast("serving.py", &json),
            // Another build of the engine with its peers, optimised or not, takes longer than all else together.
            Part::WarmPeers if self.is_smoke => absent(
                &json,
                "crates/peers (RocksDB, fjall) is not compiled for a smoke test: it takes minutes; \
                 cargo xtask bench warm-peers --small does",
            ),
            Part::WarmPeers => warm::run(&["warm-peers".to_owned()]),
            _ => {
                let mut arguments =
                    vec![part.name(), "--json".to_owned(), json.display().to_string()];
                arguments.extend(self.is_smoke.then(|| "--small".to_owned()));
                self.bench(&part.name(), &arguments)
            }
        }
    }

    /// The bench program.
    fn bench(&self, name: &str, arguments: &[String]) -> anyhow::Result<()> {
        let mut command = Command::new(self.built.join("thermae-benches"));
        command.args(arguments);
        command.env("PATH", &self.path);
        run(name, command)
    }

    fn feast(&self, script: &str, json: &Path) -> anyhow::Result<()> {
        let python = match &self.python {
            Ok(python) => python,
            Err(error) => return absent(json, &format!("Feast: {error:#}")),
        };
        let mut command = venv::program(python, "python");
        command.args(["-W", "ignore"]).arg(root().join("python/bench").join(script));
        command.arg("--thermae").arg(self.built.join("thermae"));
        command.arg("--out").arg(json).args(self.is_smoke.then_some("--smoke"));
        command.env("PATH", &self.path);
        run("Feast", command)
    }

    /// The page and its plots; of a smoke test, beside its results.
    fn document(&self) -> anyhow::Result<()> {
        let mut arguments = vec!["document".to_owned()];
        if self.is_smoke {
            let folder = self.results.display().to_string();
            arguments.extend(["--results".to_owned(), folder.clone(), "--docs".to_owned(), folder]);
        }
        self.bench("document", &arguments)
    }
}

/// A result that says why there are no figures.
fn absent(json: &Path, why: &str) -> anyhow::Result<()> {
    println!("== {}: ABSENT, {why}", json.display());
    let why = why.replace('\\', " ").replace('"', "'").replace(['\n', '\r'], " ");
    Ok(std::fs::write(json, format!("{{\"absent\": [\"{why}\"]}}\n"))?)
}
