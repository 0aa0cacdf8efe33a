//! What lies in a data directory, and which log each file belongs to.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use thermae_env::Env;
use thermae_formats::manifest::{LogStart, Manifest, SealedLog};
use thermae_formats::segment::SegmentName;

use super::LogError;

/// The directory of the segments.
pub(super) fn log_dir(dir: &Path) -> PathBuf {
    dir.join("log")
}

/// What is in the log directory.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Segments and their lengths in bytes.
    pub(super) segments: BTreeMap<SegmentName, u64>,
    /// Segments that were being made.
    pub(super) temporary: Vec<String>,
    /// Everything else: not ours to touch.
    pub(super) unknown: Vec<String>,
}

/// Lists the log directory; empty when it does not exist.
pub(super) fn list<E: Env>(env: &E, log_dir: &Path) -> Result<Listing, LogError> {
    let mut listing = Listing::default();
    let entries = match env.list(log_dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(listing),
        Err(error) => return Err(LogError::io("list", log_dir, error)),
    };
    for entry in entries {
        let making = entry.name.strip_suffix(".tmp").map(str::parse::<SegmentName>);
        match entry.name.parse::<SegmentName>() {
            _ if entry.is_dir => listing.unknown.push(entry.name),
            Ok(name) => {
                listing.segments.insert(name, entry.len_bytes);
            }
            Err(_) if matches!(making, Some(Ok(_))) => listing.temporary.push(entry.name),
            Err(_) => listing.unknown.push(entry.name),
        }
    }
    Ok(listing)
}

/// One log that the manifest names.
#[derive(Debug)]
pub(super) struct LogPlan {
    pub(super) epoch: u32,
    pub(super) shard: u16,
    /// Where it begins.
    pub(super) start: LogStart,
    /// Where it ends, if it is of an older epoch.
    pub(super) sealed: Option<SealedLog>,
    /// Its segments that are there, from the start on.
    pub(super) segments: Vec<SegmentName>,
}

/// Which log each segment belongs to.
#[derive(Debug)]
pub(super) struct Plan {
    /// Every log that the manifest names, in the order of replay.
    pub(super) logs: Vec<LogPlan>,
    /// Before the start of their log: the tables have what they hold, they are free.
    pub(super) before: Vec<SegmentName>,
    /// Behind the end that the manifest names: free to be used again.
    pub(super) beyond: Vec<SegmentName>,
    /// Of no log that the manifest names: free only if they hold no batch that is not in a table.
    pub(super) unnamed: Vec<SegmentName>,
}

/// Assigns every segment of `listing` to the log that it belongs to. Pure.
pub(super) fn plan(manifest: &Manifest, listing: &Listing) -> Plan {
    let mut logs: Vec<LogPlan> = Vec::new();
    let mut left: BTreeSet<SegmentName> = listing.segments.keys().copied().collect();
    let (mut before, mut beyond) = (Vec::new(), Vec::new());
    let mut add = |epoch, shard, start: LogStart, sealed: Option<SealedLog>| {
        let all = SegmentName { epoch, shard, number: 0 }..=SegmentName {
            epoch,
            shard,
            number: u32::MAX,
        };
        let mut segments: Vec<SegmentName> = left.range(all).copied().collect();
        for name in &segments {
            left.remove(name);
        }
        before.extend(segments.iter().filter(|name| name.number < start.segment));
        segments.retain(|name| name.number >= start.segment);
        if let Some(log) = sealed {
            beyond.extend(segments.iter().filter(|name| name.number >= log.segments));
            segments.retain(|name| name.number < log.segments);
        }
        logs.push(LogPlan { epoch, shard, start, sealed, segments });
    };
    for log in &manifest.sealed {
        add(log.epoch, log.shard, log.start, Some(*log));
    }
    for log in &manifest.current {
        add(manifest.epoch, log.shard, log.start, None);
    }
    Plan { logs, before, beyond, unnamed: left.into_iter().collect() }
}
