//! Reads of the tables below the hot ones, by the calling thread.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use thermae_env::Env;
use thermae_formats::hash::row_hash;
use thermae_formats::version::Version;

use super::{Found, Handle};
use crate::ascent::Risen;
use crate::below::{Below, Picture};
use crate::catalogue::View;
use crate::fetch::OwnedVersion;
use crate::reads::Key;
use crate::state::is_hot;
use crate::table_readers::{Seen, Sought};
use crate::tiers::TierReads;

/// What lies below one shard during a read.
struct Sight<'a, E: Env> {
    shard: usize,
    below: &'a Below<E>,
    picture: Arc<Picture<E>>,
}

/// When a read began, by both clocks.
#[derive(Clone, Copy)]
struct Now {
    us: i64,
    monotonic_ns: u64,
}

impl<E: Env> Handle<E> {
    /// Looks for rows in the tables below their shards' hot ones: for those of `keys` that `below` names. Those that
    /// only their shards can tell of come back.
    pub(super) fn read_tables(
        &self,
        view: &View,
        keys: &[Key<'_>],
        below: Vec<usize>,
        sink: &mut impl FnMut(usize, Found<'_, '_>),
    ) -> Vec<usize> {
        // A store that has stopped may be another's by now.
        if below.is_empty() || self.shared.stopping.load(Ordering::Acquire) {
            return below;
        }
        let mut sights: Vec<Sight<'_, E>> = Vec::new();
        let mut rows: Vec<(usize, usize)> = Vec::with_capacity(below.len());
        let mut unknown = Vec::new();
        for &at in &below {
            let shard = keys.get(at).map(|key| self.shared.below.shard_of(key.entity_hash));
            let known = sights.iter().position(|sight| Some(sight.shard) == shard);
            match known.or_else(|| self.see(shard?, &mut sights)) {
                Some(sight) => rows.push((at, sight)),
                None => unknown.push(at),
            }
        }
        let mut counts = vec![TierReads::default(); sights.len()];
        let sought = rows.iter().filter_map(|&(at, sight)| {
            Some(Sought { view: view.id, key: keys.get(at)?, picture: &sights.get(sight)?.picture })
        });
        let sought: Vec<Sought<'_, E>> = sought.collect();
        let env = self.shared.readers.env();
        let now = Now { us: env.now_us(), monotonic_ns: env.monotonic_ns() };
        let looked = self.shared.readers.with(|reader| {
            reader.look_up(&sought, |row, seen, blocks| {
                let Some((at, sight)) = rows.get(row).copied() else { return };
                let (Some(sight), Some(counts)) = (sights.get(sight), counts.get_mut(sight)) else {
                    return;
                };
                counts.blocks_read += blocks;
                match seen {
                    Seen::Row(version) => {
                        counts.warm_hits += 1;
                        sink(at, Found::Row(version));
                        self.offer(view, &keys[at], sight, version, now);
                    }
                    Seen::Absent => {
                        let misses = match blocks {
                            0 => &mut counts.misses_filtered,
                            _ => &mut counts.misses_read,
                        };
                        *misses += 1;
                        sink(at, Found::Absent);
                    }
                    Seen::Unknown => unknown.push(at),
                }
            });
        });
        if looked.is_none() {
            return below;
        }
        for (sight, mut counts) in sights.iter().zip(counts) {
            counts.asked = counts.warm_hits + counts.misses_filtered + counts.misses_read;
            sight.below.count(&counts);
        }
        unknown
    }

    /// Looks at what lies below a shard; its place among those that were looked at.
    fn see<'a>(&'a self, shard: usize, sights: &mut Vec<Sight<'a, E>>) -> Option<usize> {
        let below = self.shared.below.shard(shard)?;
        let picture = below.picture()?;
        sights.push(Sight { shard, below, picture });
        Some(sights.len() - 1)
    }

    /// Offers a row that was read to its shard, where it may become hot.
    fn offer(
        &self,
        view: &View,
        key: &Key<'_>,
        sight: &Sight<'_, E>,
        version: &Version<'_>,
        now: Now,
    ) {
        let ascent = &sight.below.ascent;
        if !is_hot(view, version.event_time, now.us) {
            return;
        }
        let is_wanted_again = ascent.touch(row_hash(key.entity_hash, view.id), now.monotonic_ns);
        if !ascent.is_open(is_wanted_again) {
            return;
        }
        let is_to_wake = ascent.offer(Risen {
            view: view.id,
            entity_hash: key.entity_hash,
            changes: sight.picture.changes,
            is_wanted_again,
            row: OwnedVersion::new(version),
        });
        if is_to_wake && let Some(mailbox) = self.shared.mailboxes.get(sight.shard) {
            mailbox.wake();
        }
    }
}
