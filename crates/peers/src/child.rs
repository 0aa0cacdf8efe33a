//! The other end of [`crate::serve`]: a process for one engine.

use crate::engines::Kind;
use crate::protocol::{Command, Loaded, Order, ReadRound, Reply};
use anyhow::{Context, bail};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

/// A process with the store of one engine, in a folder of its own. Both go when it is dropped.
pub struct Process {
    /// Which engine.
    pub kind: Kind,
    /// Its version, as it says itself.
    pub version: String,
    /// Where its files are.
    pub folder: PathBuf,
    child: Child,
    orders: ChildStdin,
    replies: BufReader<ChildStdout>,
}

impl Process {
    /// Starts an engine with a new store in `folder`.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(kind: Kind, folder: &Path, memory_bytes: u64) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let engine =
            clap::ValueEnum::to_possible_value(&kind).context("an engine without a name")?;
        let mut command = std::process::Command::new(std::env::current_exe()?);
        command.args(["serve", "--engine", engine.get_name(), "--folder"]).arg(folder);
        command.args(["--memory-bytes", &memory_bytes.to_string()]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let orders = child.stdin.take().context("no stdin")?;
        let replies = BufReader::new(child.stdout.take().context("no stdout")?);
        let folder = folder.to_path_buf();
        let mut process = Self { kind, version: String::new(), folder, child, orders, replies };
        match process.reply()? {
            Reply::Ready { version } => process.version = version,
            other => return Err(process.unexpected(&other)),
        }
        Ok(process)
    }

    fn reply(&mut self) -> anyhow::Result<Reply> {
        let (mut line, name) = (String::new(), self.kind.label());
        self.replies.read_line(&mut line).with_context(|| format!("{name} cannot be heard"))?;
        if line.is_empty() {
            bail!("{name} ended");
        }
        Ok(serde_json::from_str(&line)?)
    }

    fn ask(&mut self, command: &Command) -> anyhow::Result<Reply> {
        let name = self.kind.label();
        writeln!(self.orders, "{}", serde_json::to_string(command)?)
            .with_context(|| format!("{name} cannot be told"))?;
        self.reply()
    }

    fn unexpected(&self, reply: &Reply) -> anyhow::Error {
        let name = self.kind.label();
        match reply {
            Reply::Failed(why) => anyhow::anyhow!("{name}: {why}"),
            other => anyhow::anyhow!("{name} answered something else: {other:?}"),
        }
    }

    /// Writes rows `0..rows` and waits until tables rest.
    ///
    /// # Errors
    /// What the engine says.
    pub fn load(&mut self, rows: u64) -> anyhow::Result<Loaded> {
        match self.ask(&Command::Load { rows })? {
            Reply::Loaded(loaded) => Ok(loaded),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Compares one row in `step`; how many.
    ///
    /// # Errors
    /// A row is not as written.
    pub fn verify(&mut self, step: u64) -> anyhow::Result<u64> {
        match self.ask(&Command::Verify { step })? {
            Reply::Verified(rows) => Ok(rows),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Measures look-ups.
    ///
    /// # Errors
    /// A wrong answer.
    pub fn read(&mut self, order: Order) -> anyhow::Result<ReadRound> {
        match self.ask(&Command::Read(order))? {
            Reply::Read(round) => Ok(round),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Most resident memory since the last time that this was asked, bytes.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn peak_resident_bytes(&mut self) -> anyhow::Result<u64> {
        match self.ask(&Command::Memory)? {
            Reply::Memory(bytes) => Ok(bytes),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Closes the store and waits for the process to end.
    ///
    /// # Errors
    /// The store is in trouble.
    pub fn close(mut self) -> anyhow::Result<()> {
        match self.ask(&Command::Close)? {
            Reply::Closed => {}
            other => return Err(self.unexpected(&other)),
        }
        let (status, name) = (self.child.wait()?, self.kind.label());
        anyhow::ensure!(status.success(), "{name} ended with {status}");
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already, and what it leaves costs room and nothing else.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
