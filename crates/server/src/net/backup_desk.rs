//! The helper thread that takes backups, one at a time, and what is told of them. A shard only hands a
//! request over and reads how far it has got: neither waits.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};

use arc_swap::ArcSwap;
use serde::Serialize;
use thermae_engine::backup::{self, Place, Removed, Taken, Work};
use thermae_engine::cold::OpenOptions;
use thermae_env::{Env, go_last};
use thermae_features::{Error, FeatureStore};
use thermae_formats::time::format_timestamp_us;

use super::helper::Helper;

/// Longest name of a place, in bytes.
const PLACE_BYTES_MAX: usize = 255;

/// A backup that is asked for.
#[derive(Debug)]
pub struct BackupRequest {
    /// Its number on this server, from 1.
    pub id: u64,
    /// Where to, below the server's directory of backups: as it was asked, and where that is.
    pub place: (String, PathBuf),
    /// How many backups to keep there; 0: all.
    pub keep: usize,
    /// Bytes a second at most; 0: as many as there are.
    pub bytes_per_s: u64,
}

/// How far the newest backup of this server has got.
#[derive(Clone, Debug, Default, Serialize)]
pub struct BackupStatus {
    /// Its number on this server, from 1; 0: there was none.
    pub id: u64,
    /// `none`, `running`, `done` or `failed`.
    pub state: &'static str,
    /// Where to.
    pub place: String,
    /// Bytes copied and read so far.
    pub done_bytes: u64,
    /// Bytes to copy and read.
    pub of_bytes: u64,
    /// What was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup: Option<serde_json::Value>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Where backups of a server may go.
#[derive(Clone, Debug)]
pub struct BackupRoot {
    /// A directory, or an address in an object store.
    at: PathBuf,
    /// For what is on its way to an object store.
    scratch: PathBuf,
    object_store: OpenOptions,
}

impl BackupRoot {
    /// Below `at`, of the store in `data`.
    pub fn new(at: PathBuf, data: &Path, object_store: &OpenOptions) -> Self {
        let (scratch, object_store) = (backup::scratch_dir(data), object_store.clone());
        Self { at, scratch, object_store }
    }

    /// The places below it, each by the name that clients call it by; `.` is the root itself.
    ///
    /// # Errors
    /// They cannot be listed.
    pub fn places<E: Env>(
        &self,
        env: &E,
    ) -> Result<Vec<(String, Place<E>)>, thermae_engine::Error> {
        let not_text =
            || thermae_engine::Error::Invalid(format!("{} is no text", self.at.display()));
        let at = self.at.to_str().ok_or_else(not_text)?;
        backup::places(env, at, &self.object_store, &self.scratch)
    }
}

/// Where shards hand backups over.
pub struct BackupDesk {
    root: Option<PathBuf>,
    ids: AtomicU64,
    requests: SyncSender<Option<BackupRequest>>,
    status: Arc<ArcSwap<BackupStatus>>,
}

/// Why a backup is not begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unbegun {
    /// The server was not told where it may write.
    NoRoot,
    /// The place is not one below that.
    Place(String),
    /// One is being taken.
    Busy,
    /// The server stops.
    Stopping,
}

impl BackupDesk {
    /// Begins a backup; its number.
    ///
    /// # Errors
    /// Why it does not begin.
    pub fn begin(&self, place: &str, keep: usize, bytes_per_s: u64) -> Result<u64, Unbegun> {
        let root = self.root.as_ref().ok_or(Unbegun::NoRoot)?;
        let path = below(root, place).map_err(Unbegun::Place)?;
        let id = self.ids.fetch_add(1, Ordering::Relaxed) + 1;
        let place = (place.to_owned(), path);
        // It goes through only while the helper waits for one.
        let asked = self.requests.try_send(Some(BackupRequest { id, place, keep, bytes_per_s }));
        asked.map(|()| id).map_err(|error| match error {
            std::sync::mpsc::TrySendError::Full(_) => Unbegun::Busy,
            std::sync::mpsc::TrySendError::Disconnected(_) => Unbegun::Stopping,
        })
    }

    /// How far the newest one has got.
    pub fn status(&self) -> Arc<BackupStatus> {
        self.status.load_full()
    }
}

/// The path of a place below `root`. Names that could lead elsewhere are none.
fn below(root: &Path, place: &str) -> Result<PathBuf, String> {
    let is_name = |part: &str| {
        let may_be = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        !part.is_empty() && !part.starts_with('.') && part.bytes().all(may_be)
    };
    if place.len() <= PLACE_BYTES_MAX && place.split('/').all(is_name) {
        return Ok(root.join(place));
    }
    Err(format!(
        "{place:?} names no place for backups: write letters, digits, '-', '_' and '.', not at the \
         beginning, with '/' between directories; it lies below the server's --backup-dir"
    ))
}

/// The helper.
pub struct Backups {
    desk: Arc<BackupDesk>,
    is_stopping: Arc<AtomicBool>,
    _helper: Helper<BackupRequest>,
}

impl Backups {
    /// Starts it over a store; backups go below `root`.
    ///
    /// # Errors
    /// No thread could be made.
    pub fn start<E: Env>(
        env: E,
        features: Arc<FeatureStore<E>>,
        root: Option<BackupRoot>,
    ) -> std::io::Result<Self> {
        let none = BackupStatus { state: "none", ..BackupStatus::default() };
        let status = Arc::new(ArcSwap::from_pointee(none));
        let is_stopping = Arc::new(AtomicBool::new(false));
        let at = root.as_ref().map(|root| root.at.clone());
        let (told, stop) = (Arc::clone(&status), Arc::clone(&is_stopping));
        let taker = Taker { env, features, root, status: told, stop };
        let helper = Helper::start("backups", 0, move |requests| {
            go_last();
            taker.run(requests);
        })?;
        let (ids, requests) = (AtomicU64::new(0), helper.requests());
        let desk = Arc::new(BackupDesk { root: at, ids, requests, status });
        Ok(Self { desk, is_stopping, _helper: helper })
    }

    /// Where requests go.
    pub fn desk(&self) -> Arc<BackupDesk> {
        Arc::clone(&self.desk)
    }

    /// Ends the backup under way; what it has copied is there for the next one.
    pub fn stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
    }
}

impl Drop for Backups {
    fn drop(&mut self) {
        // Before its thread is waited for.
        self.stop();
    }
}

struct Taker<E: Env> {
    env: E,
    features: Arc<FeatureStore<E>>,
    root: Option<BackupRoot>,
    status: Arc<ArcSwap<BackupStatus>>,
    stop: Arc<AtomicBool>,
}

impl<E: Env> Taker<E> {
    fn run(&self, requests: &Receiver<Option<BackupRequest>>) {
        while let Ok(Some(request)) = requests.recv() {
            let (id, place) = (request.id, request.place.0.clone());
            self.tell(|now| {
                *now = BackupStatus { id, place, state: "running", ..BackupStatus::default() };
            });
            let taken = self.take(&request);
            self.tell(|now| match taken {
                Ok(backup) => (now.state, now.backup) = ("done", Some(backup)),
                Err(error) => (now.state, now.error) = ("failed", Some(error.to_string())),
            });
        }
    }

    /// Nobody else changes it. A shard that asks meanwhile has it as it was: this thread may be stopped
    /// anywhere, at its priority.
    fn tell(&self, change: impl FnOnce(&mut BackupStatus)) {
        let mut now = BackupStatus::clone(&self.status.load());
        change(&mut now);
        self.status.store(Arc::new(now));
    }

    fn take(&self, request: &BackupRequest) -> Result<serde_json::Value, Error> {
        let source = self.features.backup_source()?;
        let unsent = || Error::Invalid("the place cannot be named".to_owned());
        let root = self.root.as_ref().ok_or_else(unsent)?;
        let at = request.place.1.to_str().ok_or_else(unsent)?;
        let place = Place::at(self.env.clone(), at, &root.object_store, &root.scratch)?;
        let mut tell = |done, of| {
            self.tell(|now| (now.done_bytes, now.of_bytes) = (done, of));
            !self.stop.load(Ordering::Acquire)
        };
        let mut work = Work { bytes_per_s: request.bytes_per_s, tell: &mut tell };
        let taken = backup::take(&place, &source, &mut work)?;
        let removed = match request.keep {
            0 => Removed::default(),
            count => backup::keep(&place, count)?,
        };
        Ok(taken_json(&taken, &removed))
    }
}

/// A backup as it is told: what it is, what was new, and what went.
pub fn taken_json(taken: &Taken, removed: &Removed) -> serde_json::Value {
    let mut told = removed_json(removed);
    told["name"] = taken.name.to_string().into();
    told["taken"] = format_timestamp_us(taken.taken_us).into();
    let figures = [
        ("files", taken.files),
        ("bytes", taken.bytes),
        ("rows", taken.rows),
        ("new_files", taken.new_files),
        ("new_bytes", taken.new_bytes),
    ];
    for (name, figure) in figures {
        told[name] = figure.into();
    }
    told
}

/// What went.
pub fn removed_json(removed: &Removed) -> serde_json::Value {
    let names: Vec<String> = removed.backups.iter().map(ToString::to_string).collect();
    serde_json::json!({ "removed": names, "removed_bytes": removed.bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_lies_below_the_root_or_is_none() {
        let root = Path::new("/backups");
        for (place, path) in [("daily", "/backups/daily"), ("a/b-1_2.x", "/backups/a/b-1_2.x")] {
            assert_eq!(below(root, place), Ok(PathBuf::from(path)));
        }
        let long = "a".repeat(256);
        for place in [
            "", "/", "/etc", "..", "a/../b", "../x", "a//b", "a/", ".", ".hidden", "a\0b", "é",
            &long,
        ] {
            assert!(below(root, place).is_err(), "{place:?}");
        }
    }
}
