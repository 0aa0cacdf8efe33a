//! Thermae in the same places as the peers: a server process, a reader, reads and writes in flight.

use crate::peers::free_port;
use crate::pin;
use crate::socket::Waiting;
use crate::target::{Pipeline, Reader};
use crate::workload::{VALUE_BYTES, blob};
use crate::writes::Writes;
use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use thermae_client::{
    Address, Client, Config, Keys, PendingRead, Plan, ReadOptions, ViewFeatures, ViewHandle,
    WriteBatch,
};
use thermae_formats::{Feature, FeatureView, JoinKey, KeyType, NO_TIME, Scalar};

/// Project of the benchmark's view.
pub const PROJECT: &str = "bench";
/// Its name.
pub const VIEW: &str = "rows";
/// What is slow is measured and not given up: an unoptimised server flushes a full memtable for longer than
/// the client waits by itself.
const PATIENCE: Duration = Duration::from_secs(120);
/// Event time of the loaded rows, microseconds UTC.
const TIME_US: i64 = 1_700_000_000_000_000;

/// The view: an int64 key and ten float32 features.
pub fn definition() -> FeatureView {
    let features = (0..crate::workload::FEATURES)
        .map(|index| Feature::new(format!("f{index}"), Scalar::Float32))
        .collect();
    FeatureView::new(PROJECT, VIEW, vec![JoinKey::new("id", KeyType::Int64)], features)
}

/// A running server; it is stopped when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Where it listens by TCP.
    pub tcp: Address,
    /// Where it listens by unix socket.
    pub unix: Address,
}

impl Server {
    /// Starts `binary` on the servers' core over an empty directory below `folder`.
    ///
    /// # Errors
    /// It did not start, or did not answer within 30 s.
    pub fn start(binary: &Path, folder: &Path, memory: &str) -> anyhow::Result<Self> {
        pin::started_on(pin::SERVER_CORE, || Self::start_anywhere(binary, folder, memory))
    }

    /// As [`Self::start`] on whatever cores there are, and over what `folder` holds already.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_anywhere(binary: &Path, folder: &Path, memory: &str) -> anyhow::Result<Self> {
        let mut server = Self::spawn(binary, folder, memory)?;
        server.wait().with_context(|| {
            let log = std::fs::read_to_string(folder.join("server.log")).unwrap_or_default();
            format!("{} serve: {log}", binary.display())
        })?;
        Ok(server)
    }

    fn spawn(binary: &Path, folder: &Path, memory: &str) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let listen = format!("127.0.0.1:{}", free_port()?);
        let socket = folder.join("socket");
        let mut command = Command::new(binary);
        command.args(["serve", "--cores", "1", "--listen", &listen, "--memory", memory]);
        command.arg("--http").arg(format!("127.0.0.1:{}", free_port()?));
        command.arg("--unix").arg(&socket).arg("--data").arg(folder.join("data"));
        let log = std::fs::File::create(folder.join("server.log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child =
            command.spawn().with_context(|| format!("cannot start {}", binary.display()))?;
        Ok(Self { child, tcp: Address::Tcp(listen), unix: Address::Unix(socket) })
    }

    fn wait(&mut self) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            if Client::connect(&self.tcp, Config::default()).is_ok() {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended at once: {status}");
            }
            if started.elapsed() > Duration::from_secs(30) {
                bail!("no answer within 30 s");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Stops it as planned (SIGTERM) and waits until it is gone.
    ///
    /// # Errors
    /// It could not be told, or ended with an error.
    pub fn stop(mut self) -> anyhow::Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let status = self.child.wait()?;
        ensure!(status.success(), "the server ended with {status}");
        Ok(())
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Connects by TCP.
    ///
    /// # Errors
    /// The server is gone.
    pub fn client(&self, waiting: Waiting) -> anyhow::Result<Client> {
        connect(&self.tcp, waiting)
    }

    /// Defines a view.
    ///
    /// # Errors
    /// A refusal.
    pub fn define(&self, view: &FeatureView) -> anyhow::Result<()> {
        let view = String::from_utf8(view.to_json()?)?;
        self.client(Waiting::Block)?.apply(&format!("{{\"views\":[{view}]}}"))?;
        Ok(())
    }

    /// Figures of its only shard's tiers.
    ///
    /// # Errors
    /// The server is gone.
    pub fn tiers(&self) -> anyhow::Result<serde_json::Value> {
        let stats: serde_json::Value =
            serde_json::from_str(&self.client(Waiting::Block)?.stats()?)?;
        let tiers = stats.pointer("/engine/shards/0/tiers").context("no tiers in the figures")?;
        Ok(tiers.clone())
    }

    /// Defines the view and writes rows `0..rows`, durable.
    ///
    /// # Errors
    /// A refusal.
    pub fn load(&self, rows: u64) -> anyhow::Result<()> {
        self.define(&definition())?;
        let client = self.client(Waiting::Block)?;
        let mut puts = Puts::new(client)?;
        let ids: Vec<u64> = (0..rows).collect();
        let mut waiting = 0;
        for chunk in ids.chunks(1000) {
            puts.send(chunk)?;
            waiting += 1;
            if waiting == 16 {
                puts.receive()?;
                waiting -= 1;
            }
        }
        for _ in 0..waiting {
            puts.receive()?;
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client at `address` that waits in that way.
///
/// # Errors
/// Nobody listens there.
pub fn connect(address: &Address, waiting: Waiting) -> anyhow::Result<Client> {
    let config =
        Config { spin: waiting == Waiting::Spin, request_timeout: PATIENCE, ..Config::default() };
    Ok(Client::connect(address, config)?)
}

/// The server's binary: `THERMAE_BINARY`, or beside this program.
///
/// # Errors
/// It is not there.
pub fn binary() -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os("THERMAE_BINARY") {
        return Ok(path.into());
    }
    let own = std::env::current_exe()?;
    let mut folders = own.ancestors().skip(1).take(2);
    let found =
        folders.find_map(|folder| Some(folder.join("thermae")).filter(|file| file.is_file()));
    found.context("no thermae binary beside this program: cargo xtask bench builds both")
}

/// The plan of all features of the view.
///
/// # Errors
/// A refusal.
pub fn plan(client: &Client) -> anyhow::Result<Plan> {
    let wanted = ViewFeatures { project: PROJECT, view: VIEW, version: 0, features: Vec::new() };
    Ok(client.prepare(&[wanted])?)
}

/// Reads of all ten features as a matrix.
pub struct Reads {
    client: Client,
    plan: Plan,
    keys: Keys,
    options: ReadOptions,
    sent: VecDeque<PendingRead>,
}

impl Reads {
    /// Prepares the read.
    ///
    /// # Errors
    /// A refusal.
    pub fn new(client: Client) -> anyhow::Result<Self> {
        let plan = plan(&client)?;
        let keys = plan.keys(0)?;
        let options = ReadOptions { matrix: true, ..ReadOptions::default() };
        Ok(Self { client, plan, keys, options, sent: VecDeque::new() })
    }

    fn ask(&mut self, ids: &[u64]) {
        self.keys.clear();
        for id in ids {
            self.keys.push_packed(&id.to_le_bytes(), 1);
        }
    }
}

impl Reader for Reads {
    fn read(&mut self, ids: &[u64], rows: &mut Vec<f32>) -> anyhow::Result<()> {
        self.ask(ids);
        let answer = self.client.read(&self.plan, &[&self.keys], &self.options)?;
        rows.clear();
        rows.extend_from_slice(answer.matrix(0)?);
        Ok(())
    }
}

impl Pipeline for Reads {
    fn send(&mut self, ids: &[u64]) -> anyhow::Result<()> {
        self.ask(ids);
        self.sent.push_back(self.client.send_read(&self.plan, &[&self.keys], &self.options)?);
        Ok(())
    }

    fn receive(&mut self) -> anyhow::Result<usize> {
        let answer = self.sent.pop_front().context("nothing was sent")?.wait()?;
        let view = answer.view(0).context("an answer without a view")?;
        Ok(view.statuses().iter().filter(|status| **status == 1).count())
    }
}

/// Durable writes in flight over one connection.
pub struct Puts {
    writes: Writes,
    handle: ViewHandle,
    time_us: i64,
}

impl Puts {
    /// Asks for the view's schema.
    ///
    /// # Errors
    /// A refusal.
    pub fn new(client: Client) -> anyhow::Result<Self> {
        let handle = client.view(PROJECT, VIEW)?;
        Ok(Self { writes: Writes::new(client), handle, time_us: TIME_US })
    }
}

impl Pipeline for Puts {
    fn send(&mut self, ids: &[u64]) -> anyhow::Result<()> {
        let mut batch = WriteBatch::put(&self.handle);
        self.time_us += 1;
        for id in ids {
            let value: [u8; VALUE_BYTES] = blob(*id);
            batch.push_encoded(&id.to_le_bytes(), &value, true, [self.time_us, NO_TIME, NO_TIME]);
        }
        self.writes.send(batch)
    }

    fn receive(&mut self) -> anyhow::Result<usize> {
        self.writes.receive()
    }
}
