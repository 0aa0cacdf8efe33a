//! Debian packages without root: apt fetches those named, and what they need and this machine lacks, and they are
//! unpacked below the target directory. Nothing is installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::process::{output, target};

/// Unpacks `packages` unless they are there, and returns the folder that stands for the root directory.
///
/// # Errors
/// No apt, or nobody to fetch from.
pub fn unpack(packages: &[&str]) -> anyhow::Result<PathBuf> {
    let folder = target().join("peers/debian");
    let (root, done) = (folder.join("root"), folder.join(format!("has-{}", packages.join("-"))));
    if done.exists() {
        return Ok(root);
    }
    let files = folder.join(packages.join("-"));
    fs::create_dir_all(&files)?;
    println!("== debian: {}, unpacked below {}", packages.join(", "), root.display());
    if download(packages, &files, &[]).is_err() {
        // No lists of packages on this machine, or old ones: some of our own.
        let option = |name: &str, place: &str| format!("{name}={}", folder.join(place).display());
        let own = [option("Dir::State::lists", "lists"), option("Dir::Cache", "cache")];
        let own: Vec<&str> = own.iter().flat_map(|option| ["-o", option.as_str()]).collect();
        output(apt(&files, &own).arg("update"))?;
        download(packages, &files, &own)?;
    }
    for file in fs::read_dir(&files)? {
        output(Command::new("dpkg-deb").arg("-x").arg(file?.path()).arg(&root))?;
    }
    fs::write(done, "")?;
    Ok(root)
}

/// The folder of a root directory's libraries.
pub fn libraries(root: &Path) -> PathBuf {
    root.join(format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH))
}

/// Into the folder `files`; what the machine has installed is left out.
fn download(packages: &[&str], files: &Path, options: &[&str]) -> anyhow::Result<()> {
    let mut plan = apt(files, options);
    plan.args(["--simulate", "--no-install-recommends", "install"]).args(packages);
    let said = output(&mut plan)?;
    let missing = said.lines().filter_map(|line| line.strip_prefix("Inst ")?.split(' ').next());
    let missing: Vec<&str> = missing.collect();
    if missing.is_empty() {
        bail!("apt would not fetch {}: installed already", packages.join(", "));
    }
    output(apt(files, options).arg("download").args(missing)).context("apt-get download")?;
    Ok(())
}

fn apt(folder: &Path, options: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command.current_dir(folder).env("LC_ALL", "C").arg("--quiet").args(options);
    command
}
