//! Azurite, Microsoft's own emulator of Azure's blobs, from the npm registry.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::{Emulator, free_ports, wait};
use crate::process::run;

/// The emulator, and a client to make the container with: of an age that the emulator knows.
const PACKAGES: [&str; 2] = ["azurite@3.37.0", "@azure/storage-blob@12.27.0"];
/// By which clients are known.
pub const KEYS: [(&str, &str); 2] =
    [("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT), ("AZURE_STORAGE_ACCOUNT_KEY", KEY)];
const ACCOUNT: &str = "thermae";
/// 16 zero bytes in base64: an account of a test.
const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAA==";
const MAKE_CONTAINER: &str = "const { BlobServiceClient, StorageSharedKeyCredential } = require('@azure/storage-blob');
const { ACCOUNT, KEY, ENDPOINT, CONTAINER } = process.env;
const service = new BlobServiceClient(ENDPOINT, new StorageSharedKeyCredential(ACCOUNT, KEY));
service.getContainerClient(CONTAINER).createIfNotExists().catch(e => { console.error(e.message); process.exit(1); });";

/// Installs it if it is not there, and starts it with a container; where it is reached.
pub fn start(folder: &Path, container: &str) -> anyhow::Result<(Emulator, String)> {
    let modules = install(&folder.join("npm"))?;
    let data = folder.join("azurite");
    let _ = fs::remove_dir_all(&data);
    let port = free_ports(1)?.first().copied().context("no port")?;
    let mut command = Command::new("node");
    command.arg(modules.join("azurite/dist/src/blob/main.js"));
    command.args(["--silent", "--blobHost", "127.0.0.1", "--blobPort", &port.to_string()]);
    command.arg("--location").arg(&data).env("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{KEY}"));
    let azurite = Emulator::start(command, data, "Azurite")?;
    wait("Azurite to listen", || TcpListener::bind(("127.0.0.1", port)).is_err())?;
    let endpoint = format!("http://127.0.0.1:{port}/{ACCOUNT}");
    let script = folder.join("container.js");
    fs::write(&script, MAKE_CONTAINER)?;
    let mut make = Command::new("node");
    make.arg(script).env("NODE_PATH", &modules).env("ENDPOINT", &endpoint);
    make.env("ACCOUNT", ACCOUNT).env("KEY", KEY).env("CONTAINER", container);
    run("container", make)?;
    Ok((azurite, endpoint))
}

/// Where the packages are, fetched unless they were before.
fn install(place: &Path) -> anyhow::Result<PathBuf> {
    let (made, wanted) = (place.join("made"), PACKAGES.join("\n"));
    if fs::read_to_string(&made).unwrap_or_default() != wanted {
        fs::create_dir_all(place)?;
        let mut install = Command::new("npm");
        install.args(["install", "--no-save", "--no-audit", "--no-fund", "--silent", "--prefix"]);
        install.arg(place).args(PACKAGES);
        run("npm packages", install)?;
        fs::write(&made, wanted)?;
    }
    Ok(place.join("node_modules"))
}
