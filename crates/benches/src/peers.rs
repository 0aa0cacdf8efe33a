//! The peers that are programs: found on `PATH`, in front of which `cargo xtask bench` puts those that it fetched; and a
//! running one. Settings and their reasons are in `peers/`.

use crate::memcached::Memcached;
use crate::pin;
use crate::resp::{Gets, Resp, Sets};
use crate::socket::Waiting;
use crate::target::{Pipeline, Reader};
use anyhow::{Context, bail};
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How to talk to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    /// Valkey and Redis.
    Resp,
    /// memcached's text protocol.
    Memcached,
}

/// A peer's program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Its name in results.
    pub name: &'static str,
    /// The server binary.
    pub binary: PathBuf,
    /// How to talk to it.
    pub speaks: Speaks,
}

/// What peers are set up for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Everything in memory.
    Memory,
    /// What is acknowledged is synced.
    Durable,
}

/// Servers that can run here, and a line for each that cannot.
pub fn find() -> (Vec<Program>, Vec<String>) {
    let (mut programs, mut absent) = (Vec::new(), Vec::new());
    for (name, binary, speaks) in [
        ("valkey", "valkey-server", Speaks::Resp),
        ("redis", "redis-server", Speaks::Resp),
        ("memcached", "memcached", Speaks::Memcached),
    ] {
        match program(binary) {
            Ok(binary) => programs.push(Program { name, binary, speaks }),
            Err(error) => absent.push(format!("{name}: {error:#}")),
        }
    }
    (programs, absent)
}

/// A program on `PATH`.
///
/// # Errors
/// It is not there; if `cargo xtask bench` could not get it, what it noted.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = |name: &str| {
        std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
    };
    if let Some(binary) = on_path(name) {
        return Ok(binary);
    }
    match on_path(&format!("{name}.absent")) {
        Some(note) => bail!("{}", std::fs::read_to_string(note)?.trim()),
        None => bail!("no {name} on PATH (cargo xtask bench peers fetches it)"),
    }
}

/// A running peer; it is stopped when dropped.
#[derive(Debug)]
pub struct Peer {
    child: Child,
    speaks: Speaks,
    /// Where it listens.
    pub address: SocketAddr,
    /// What it calls its version.
    pub version: String,
}

impl Peer {
    /// Starts `program` on the servers' core, its data below `folder`.
    ///
    /// # Errors
    /// It did not start, or did not answer within 10 s.
    pub fn start(program: &Program, purpose: Purpose, folder: &Path) -> anyhow::Result<Self> {
        let Speaks::Resp = program.speaks else {
            return Self::start_with(program, &MEMCACHED_MEMORY.map(PathBuf::from));
        };
        let conf = match purpose {
            Purpose::Memory => "memory.conf",
            Purpose::Durable => "durable.conf",
        };
        let conf = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(conf);
        std::fs::create_dir_all(folder)?;
        Self::start_with(program, &[conf, "--dir".into(), folder.to_owned()])
    }

    /// Starts `program` with these options and a free port.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with(program: &Program, options: &[PathBuf]) -> anyhow::Result<Self> {
        let port = free_port()?;
        let mut command = Command::new(&program.binary);
        command.args(options).args(["--port", &port.to_string()]);
        if program.speaks == Speaks::Memcached {
            command.args(MEMCACHED);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let child = pin::started_on(pin::SERVER_CORE, || Ok(command.spawn()?))
            .with_context(|| format!("cannot start {}", program.binary.display()))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut peer = Self { child, speaks: program.speaks, address, version: String::new() };
        peer.version = peer.wait().with_context(|| format!("{} {options:?}", program.name))?;
        Ok(peer)
    }

    fn wait(&mut self) -> anyhow::Result<String> {
        let started = Instant::now();
        loop {
            if let Ok(version) = self.ask_version() {
                return Ok(version);
            }
            if let Some(status) = self.child.try_wait()? {
                let mut said = String::new();
                if let Some(mut stderr) = self.child.stderr.take() {
                    stderr.read_to_string(&mut said)?;
                }
                bail!("it ended at once: {status} {}", said.trim());
            }
            if started.elapsed() > Duration::from_secs(10) {
                bail!("no answer within 10 s");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn ask_version(&self) -> anyhow::Result<String> {
        match self.speaks {
            Speaks::Resp => Ok(version(&self.resp(Waiting::Block)?.command(&["INFO", "server"])?)),
            Speaks::Memcached => self.memcached(Waiting::Block)?.version(),
        }
    }

    fn resp(&self, waiting: Waiting) -> anyhow::Result<Resp> {
        Resp::connect(self.address, waiting)
    }

    /// A connection, of a peer that speaks so.
    ///
    /// # Errors
    /// It is gone.
    pub fn memcached(&self, waiting: Waiting) -> anyhow::Result<Memcached> {
        Memcached::connect(self.address, waiting)
    }

    /// For one request at a time.
    ///
    /// # Errors
    /// It is gone.
    pub fn reader(&self, waiting: Waiting) -> anyhow::Result<Box<dyn Reader>> {
        Ok(match self.speaks {
            Speaks::Resp => Box::new(self.resp(waiting)?),
            Speaks::Memcached => Box::new(self.memcached(waiting)?),
        })
    }

    /// For reads in flight.
    ///
    /// # Errors
    /// It is gone.
    pub fn gets(&self, waiting: Waiting) -> anyhow::Result<Box<dyn Pipeline>> {
        Ok(match self.speaks {
            Speaks::Resp => Box::new(Gets(self.resp(waiting)?)),
            Speaks::Memcached => Box::new(self.memcached(waiting)?),
        })
    }

    /// For writes in flight, of a peer that speaks RESP.
    ///
    /// # Errors
    /// It is gone.
    pub fn sets(&self, waiting: Waiting) -> anyhow::Result<Sets> {
        Ok(Sets::new(self.resp(waiting)?))
    }

    /// Writes rows `0..rows` of the workload.
    ///
    /// # Errors
    /// It is gone, refuses, or does not hold them all.
    pub fn load(&self, rows: u64) -> anyhow::Result<()> {
        match self.speaks {
            Speaks::Resp => self.resp(Waiting::Block)?.load(rows),
            Speaks::Memcached => self.memcached(Waiting::Block)?.load(rows),
        }
    }

    /// Bytes of memory that it says it uses.
    ///
    /// # Errors
    /// The connection broke.
    pub fn used_bytes(&self) -> anyhow::Result<u64> {
        match self.speaks {
            Speaks::Resp => {
                let info = self.resp(Waiting::Block)?.command(&["INFO", "memory"])?;
                field(&info, "used_memory")
                    .context("no used_memory")?
                    .parse()
                    .context("used_memory")
            }
            Speaks::Memcached => self.memcached(Waiting::Block)?.used_bytes(),
        }
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// memcached in every benchmark; reasons: `peers/README.md`.
const MEMCACHED: [&str; 6] = [
    "--user=root",
    "--listen=127.0.0.1",
    "--udp-port=0",
    "--threads=1",
    "--max-reqs-per-event=1000",
    "--conn-limit=64",
];
/// And where all is to be in memory.
const MEMCACHED_MEMORY: [&str; 4] =
    ["--memory-limit=1024", "--disable-evictions", "--disable-cas", "--slab-growth-factor=1.05"];

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

    #[test]
    fn a_program_that_is_nowhere_is_named_with_how_to_get_it() {
        let error = program("no-such-peer").map_err(|error| error.to_string());
        assert!(
            error.is_err_and(|said| said.contains("no-such-peer") && said.contains("bench peers"))
        );
    }
}
