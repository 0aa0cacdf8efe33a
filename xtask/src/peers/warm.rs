//! `cargo xtask bench warm-peers`: a workspace of its own, so that nothing else compiles a peer.

use super::debian;
use crate::process::{self, cargo, root};
use anyhow::Context;
use std::path::{Path, PathBuf};

/// What RocksDB is bound by: its library, and what reads its header.
const PACKAGES: [&str; 2] = ["librocksdb-dev", "libclang-dev"];
/// What it needs where it is compiled from source.
const SOURCE_MISSING: &str = "apt-get install g++ pkg-config liburing-dev libclang-dev";

/// Where RocksDB comes from.
enum Rocks {
    /// The variables of its crate are set already, or are to be.
    Library(Vec<(&'static str, PathBuf)>),
    /// The crate's own source.
    Source,
    /// It was left out, or is not there.
    Absent,
}

/// Builds the program with the peers that can be built, and runs it with `arguments`. It names the others.
pub fn run(arguments: &[String]) -> anyhow::Result<()> {
    let rocks = find(arguments);
    let (feature, variables) = match &rocks {
        Rocks::Library(variables) => (Some("rocksdb"), variables.as_slice()),
        Rocks::Source => (Some("rocksdb-source"), &[][..]),
        Rocks::Absent => (None, &[][..]),
    };
    for (name, verb) in [("build", "build"), ("bench", "run")] {
        let mut command = cargo(&[verb, "--quiet", "--release", "--manifest-path"]);
        command.arg(root().join("crates/peers/Cargo.toml"));
        command.arg("--target-dir").arg(process::target());
        command.args(feature.map(|feature| format!("--features={feature}")));
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        if name == "bench" {
            command.arg("--").args(arguments);
        }
        process::run(name, command)?;
    }
    Ok(())
}

/// Looks for RocksDB, and says what is missing.
fn find(arguments: &[String]) -> Rocks {
    let has = |word: &str| arguments.iter().any(|argument| argument == word);
    if has("rocksdb-fast") && has("rocksdb-small") {
        return Rocks::Absent;
    }
    if has("--rocksdb-source") {
        println!("== rocksdb: from source, many minutes the first time ({SOURCE_MISSING})");
        return Rocks::Source;
    }
    if std::env::var_os("ROCKSDB_LIB_DIR").is_some() {
        return Rocks::Library(Vec::new());
    }
    let here = debian::libraries(Path::new("/"));
    let is_here =
        here.join("librocksdb.so").exists() && Path::new("/usr/include/rocksdb/c.h").exists();
    if is_here && has_libclang(&here) {
        let headers = PathBuf::from("/usr/include");
        return Rocks::Library(vec![("ROCKSDB_LIB_DIR", here), ("ROCKSDB_INCLUDE_DIR", headers)]);
    }
    match unpacked() {
        Ok(variables) => Rocks::Library(variables),
        Err(error) => {
            println!("== rocksdb: ABSENT, it is not measured ({error:#})");
            Rocks::Absent
        }
    }
}

/// The variables that point to its library among packages that are unpacked, not installed.
fn unpacked() -> anyhow::Result<Vec<(&'static str, PathBuf)>> {
    let root = std::path::absolute(debian::unpack(&PACKAGES)?)?;
    let entries = std::fs::read_dir(root.join("usr/lib"))?.flatten().map(|entry| entry.path());
    let mut folders = entries.map(|folder| folder.join("lib"));
    let clang = folders.find(|folder| folder.join("libclang.so.1").exists());
    let clang = clang.context("no libclang.so.1 in its package")?;
    let libraries = debian::libraries(&root);
    Ok(vec![
        // It does not look for its own headers where it was not installed.
        ("BINDGEN_EXTRA_CLANG_ARGS", own_headers(&clang)?),
        ("ROCKSDB_LIB_DIR", libraries.clone()),
        ("ROCKSDB_INCLUDE_DIR", root.join("usr/include")),
        ("LIBCLANG_PATH", clang),
        // For the linker, and for the program.
        ("LD_LIBRARY_PATH", libraries),
    ])
}

/// The argument that names the headers of libclang's own version: `clang/VERSION` beside it.
fn own_headers(clang: &Path) -> anyhow::Result<PathBuf> {
    let mut versions = std::fs::read_dir(clang.join("clang"))?.flatten();
    let folder = versions.next().context("libclang without headers of its own")?.path();
    Ok(format!("-resource-dir={}", folder.display()).into())
}

/// Whether bindgen will find what it reads the header with.
fn has_libclang(libraries: &Path) -> bool {
    let names = |folder: PathBuf| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path())
    };
    let versions = names("/usr/lib".into()).map(|folder| folder.join("lib"));
    let folders = versions.chain([libraries.to_path_buf()]);
    let is_libclang = |file: PathBuf| {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with("libclang") && name.contains(".so") && !name.contains("cpp")
    };
    std::env::var_os("LIBCLANG_PATH").is_some() || folders.flat_map(names).any(is_libclang)
}
