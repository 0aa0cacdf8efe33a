//! Readers of a hot table: on other threads, and in other processes.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use thermae_formats::hot_layout::header::{self, MapInfo, STATE_LIVE};

use crate::error::MapError;
use crate::lookup::{Lookup, Probe, Seen, look_up};
use crate::map::Map;
use crate::row::RowBuf;

/// Reads one hot table. Cheap to clone; the map stays mapped until the last clone is dropped.
#[derive(Clone)]
pub struct HotReader {
    map: Arc<Map>,
}

/// What a reader insists on before it believes a map from another process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expect {
    /// The store, if known.
    pub store_id: Option<u128>,
    /// The epoch, if known.
    pub epoch: Option<u64>,
    /// The shard, if known.
    pub shard: Option<u32>,
    /// The access domain, if known.
    pub domain: Option<u64>,
}

/// What a table said about its completeness at some time ([`HotReader::completeness`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Completeness(u64);

/// Whether the writer of a map is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Liveness {
    /// The writer's last heartbeat, microseconds UTC; 0 before the first.
    pub heartbeat_us: i64,
    /// The writer's count of applied batches.
    pub applied: u64,
    /// The generation that the engine set.
    pub generation: u64,
    /// The map's state.
    pub state: State,
}

/// State of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The writer serves it, if its heartbeat is recent.
    Live,
    /// The writer moved on or stopped: do not read it any more.
    Retired,
}

impl HotReader {
    pub(crate) fn new(map: Arc<Map>) -> HotReader {
        HotReader { map }
    }

    /// Maps a descriptor that the server handed over, read-only.
    ///
    /// # Errors
    ///
    /// The descriptor is not a sealed hot map of this layout version, its header is damaged, or it is
    /// not the map that was expected.
    pub fn from_descriptor(file: OwnedFd, expect: &Expect) -> Result<HotReader, MapError> {
        let map = Map::open(file)?;
        let info = &map.info;
        let foreign = [
            ("store", expect.store_id.is_some_and(|id| id != info.store_id)),
            ("epoch", expect.epoch.is_some_and(|epoch| epoch != info.epoch)),
            ("shard", expect.shard.is_some_and(|shard| shard != info.shard)),
            ("access domain", expect.domain.is_some_and(|domain| domain != info.domain)),
        ];
        match foreign.into_iter().find(|(_, differs)| *differs) {
            Some((what, _)) => Err(MapError::Foreign { what }),
            None => Ok(HotReader::new(Arc::new(map))),
        }
    }

    /// What the header says; it never changes.
    pub fn header(&self) -> MapInfo {
        self.map.info
    }

    /// Whether the writer is still there. A reader in another process asks before each batch.
    #[inline]
    pub fn liveness(&self) -> Liveness {
        let word = |word: usize| self.map.words()[word].load(Ordering::Acquire);
        let state = match word(header::STATE_WORD) {
            STATE_LIVE => State::Live,
            _ => State::Retired,
        };
        Liveness {
            heartbeat_us: word(header::HEARTBEAT_WORD) as i64,
            applied: word(header::APPLIED_WORD),
            generation: word(header::GENERATION_WORD),
            state,
        }
    }

    /// Whether the table has the newest row of every key now. For figures: an answer of
    /// [`Lookup::Absent`] needs [`HotReader::stayed_complete`].
    pub fn is_complete(&self) -> bool {
        self.completeness().0 % 2 == 1
    }

    /// Take it before look-ups, to learn after them what an absent row means.
    #[inline]
    pub fn completeness(&self) -> Completeness {
        Completeness(self.map.words()[header::COMPLETE_WORD].load(Ordering::Acquire))
    }

    /// Whether the table had the newest row of every key from `before` until now. Then a row that was
    /// absent in between does not exist; else it may lie in a lower tier: ask the server. `evict.rs` says
    /// why.
    #[inline]
    pub fn stayed_complete(&self, before: Completeness) -> bool {
        before.0 % 2 == 1 && self.completeness() == before
    }

    /// Looks one row up; `probe.table` does not matter.
    pub fn get<'a>(&self, probe: &Probe<'_>, buffer: &'a mut RowBuf) -> Lookup<'a> {
        let seen = look_up(&self.map, probe, &mut buffer.words);
        if let Seen::Found(hit) = seen {
            self.map.touch(hit.position);
        }
        seen.with(&buffer.words, probe.key.len())
    }

    #[inline]
    pub(crate) fn map(&self) -> &Map {
        &self.map
    }
}
