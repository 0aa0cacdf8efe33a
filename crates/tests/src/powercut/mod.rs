//! Power cuts under the real binary: its data lie on a file system of ours that is cut while batches
//! are under way, or while the server starts; it is mounted again, the server started again, and what
//! it holds compared with the [ledger](crate::ledger).

mod disk;
mod needs;

pub use disk::{CutDisk, Drive, FileSystem};
pub use needs::{missing, missing_for_mounts};

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use thermae_client::{Ack, Client};

use crate::ledger::{Counts, LOGGED_LOSS_MAX, Ledger};
use crate::model::Rng;
use crate::numbered::{Writer, define, judge};
use crate::server_process::Server;

/// One cycle in so many also cuts the power while the server starts.
const RECOVERY_ONE_IN: u64 = 10;
/// One cycle in so many waits until every logged row must be on the disk.
const LINGER_ONE_IN: u64 = 12;
/// One batch in so many asks for `logged` only.
const LOGGED_ONE_IN: u64 = 3;

/// What power cuts showed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// Cuts after which writes failed; each was followed by a recovery that was judged.
    pub cuts: u64,
    /// Of them, while a server started.
    pub cuts_in_recovery: u64,
    /// Cuts that did not take; they count for nothing.
    pub unseen: u64,
    /// Rows.
    pub rows: Counts,
}

impl Report {
    /// Adds what another round showed.
    pub fn add(&mut self, other: &Report) {
        self.cuts += other.cuts;
        self.cuts_in_recovery += other.cuts_in_recovery;
        self.unseen += other.unseen;
        self.rows.add(&other.rows);
    }
}

/// Cuts a fresh store until `cuts` cuts were seen; `tell` hears of each that was recovered
/// from, and says whether to go on.
/// `seed` repeats what is drawn, not the moment at which the disk was cut.
///
/// # Errors
/// A broken promise with its cycle and the server's last words, or why it could not be tried; and what
/// was seen until then.
pub fn round(
    binary: &Path,
    (file_system, drive): (FileSystem, Drive),
    cuts: u64,
    seed: u64,
    mut tell: impl FnMut(u64) -> bool,
) -> (Report, Result<(), String>) {
    let mut round = match Round::new(binary, CutDisk::new(file_system, drive), seed) {
        Ok(round) => round,
        Err(error) => return (Report::default(), Err(error)),
    };
    let outcome = round.run(cuts, &mut tell).map_err(|error| {
        let cut = round.report.cuts + 1;
        format!("{file_system}, {drive}, seed {seed}, cut {cut}: {error}{}", round.last_words())
    });
    round.report.rows = *round.ledger.counts();
    (round.report, outcome)
}

struct Round<'b> {
    binary: &'b Path,
    rng: Rng,
    disk: CutDisk,
    ledger: Ledger,
    /// Shards that the newest rows were written under.
    cores: usize,
    /// How long the newest server took to start.
    start: Duration,
    report: Report,
}

impl<'b> Round<'b> {
    fn new(binary: &'b Path, disk: Result<CutDisk, String>, seed: u64) -> Result<Self, String> {
        Ok(Round {
            binary,
            rng: Rng::new(seed),
            disk: disk?,
            ledger: Ledger::default(),
            cores: 1,
            start: Duration::from_millis(100),
            report: Report::default(),
        })
    }

    fn run(&mut self, cuts: u64, tell: &mut impl FnMut(u64) -> bool) -> Result<(), String> {
        let (mut server, mut client) = self.serve()?;
        define(&client)?;
        while self.report.cuts < cuts {
            let written_under = self.cores;
            let is_nested = self.rng.one_in(RECOVERY_ONE_IN);
            // Some servers die first, and it is the next one, starting, that is cut.
            let crashed_at = if is_nested && self.rng.one_in(2) {
                self.kill_under_writes(&client, &mut server)?
            } else {
                self.cut_under_writes(&client, &mut server)?
            };
            drop(client);
            if is_nested {
                self.cut_start()?;
            }
            (server, client) = self.serve()?;
            judge(&client, &mut self.ledger, written_under, Some(crashed_at))?;
            if !tell(self.report.cuts) {
                break;
            }
        }
        server.stop()
    }

    fn spawn(&mut self, cores: usize) -> Result<Server, String> {
        let log = std::fs::File::create(self.log()).map_err(|e| e.to_string())?;
        let socket = self.disk.outside().join("server.sock");
        Server::start_over(self.binary, &self.disk.path().join("data"), socket, cores, log.into())
    }

    /// Starts a server and connects to it; it recovers by that.
    fn serve(&mut self) -> Result<(Server, Client), String> {
        self.cores = 1 + self.rng.below(2) as usize;
        let begun = Instant::now();
        let mut server = self.spawn(self.cores)?;
        let client = server.connect()?;
        self.start = begun.elapsed();
        Ok((server, client))
    }

    fn send_some(&mut self, writer: &mut Writer<'_>) -> Result<(), String> {
        for _ in 0..1 + self.rng.below(60) {
            self.send(writer)?;
        }
        Ok(())
    }

    fn send(&mut self, writer: &mut Writer<'_>) -> Result<(), String> {
        let ack = if self.rng.one_in(LOGGED_ONE_IN) { Ack::Logged } else { Ack::Durable };
        writer.send(&mut self.rng, &mut self.ledger, ack)
    }

    /// Returns when the server was killed.
    fn kill_under_writes(
        &mut self,
        client: &Client,
        server: &mut Server,
    ) -> Result<Instant, String> {
        let mut writer = Writer::new(client)?;
        self.send_some(&mut writer)?;
        let killed_at = Instant::now();
        server.kill()?;
        writer.drain(&mut self.ledger);
        Ok(killed_at)
    }

    /// Returns when the disk was cut. The server is killed then and its disk mounted again.
    fn cut_under_writes(
        &mut self,
        client: &Client,
        server: &mut Server,
    ) -> Result<Instant, String> {
        let mut writer = Writer::new(client)?;
        self.send_some(&mut writer)?;
        if self.rng.one_in(LINGER_ONE_IN) {
            writer.drain(&mut self.ledger);
            std::thread::sleep(LOGGED_LOSS_MAX + Duration::from_millis(200));
        }
        let mut cut = self.disk.begin_cut()?;
        while !cut.has_ended()? {
            // It may fail by now: then its rows are in doubt.
            let _ = self.send(&mut writer);
        }
        let cut_at = cut.end()?;
        writer.drain(&mut self.ledger);
        // Whoever acknowledges this one has not seen that the disk is gone.
        let _ = writer.send(&mut self.rng, &mut self.ledger, Ack::Durable);
        writer.drain(&mut self.ledger);
        let is_seen = self.disk.is_cut() && !writer.is_acknowledged();
        server.kill()?;
        self.disk.remount()?;
        self.note_cut(is_seen);
        Ok(cut_at)
    }

    /// Starts a server and cuts the disk somewhere on its way.
    fn cut_start(&mut self) -> Result<(), String> {
        let cores = 1 + self.rng.below(2) as usize;
        let longest = self.start.as_micros() as u64 + 1;
        let mut server = self.spawn(cores)?;
        std::thread::sleep(Duration::from_micros(self.rng.below(longest)));
        self.disk.begin_cut()?.end()?;
        let is_seen = self.disk.is_cut();
        server.kill()?;
        self.disk.remount()?;
        self.note_cut(is_seen);
        self.report.cuts_in_recovery += u64::from(is_seen);
        Ok(())
    }

    fn note_cut(&mut self, is_seen: bool) {
        self.report.cuts += u64::from(is_seen);
        self.report.unseen += u64::from(!is_seen);
    }

    fn log(&self) -> PathBuf {
        self.disk.outside().join("server.log")
    }

    /// What the newest server said.
    fn last_words(&self) -> String {
        let said = std::fs::read_to_string(self.log()).unwrap_or_default();
        if said.is_empty() { said } else { format!("; the server said: {}", said.trim()) }
    }
}
