//! What may leave the warm tier because the archive has it.

use std::collections::{BTreeMap, BTreeSet};

use thermae_formats::ViewId;
use thermae_formats::hash::partition_of;
use thermae_formats::schema::TierPolicy;

use crate::merge::Entry;
use crate::residency::{WarmVersion, may_leave_warm};

/// The archive's word to the merges. Whoever makes one has seen the archive commit and verify what it allows,
/// and has written down durably that reads need the archive for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Departures {
    /// Partitions of the store.
    pub partitions: u16,
    /// Views of which anything may leave.
    pub views: BTreeMap<ViewId, Departure>,
    /// Tables of which much may leave: to be rewritten.
    pub rewrite: BTreeSet<u64>,
}

/// What of one view may leave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Departure {
    /// Its policy.
    pub policy: TierPolicy,
    /// The time that `warm_for` counts back from, microseconds UTC.
    pub now_us: i64,
    /// The first sequence of each partition that is not archived.
    pub archived: BTreeMap<u16, u64>,
}

impl Departures {
    /// Whether a version may leave: a superseded one, or, of a view that is served from cold, the newest of its
    /// key, in the place of which a stub stays.
    pub fn may_leave(&self, entry: &Entry<'_>, is_newest: bool) -> bool {
        let (view, entity_hash, version) = entry;
        let Some(departure) = self.views.get(view) else { return false };
        let partition = partition_of(*entity_hash, self.partitions);
        let archived = departure.archived.get(&partition).copied().unwrap_or(0);
        let version = WarmVersion {
            sequence: version.sequence,
            event_time: version.event_time,
            is_newest,
            is_tombstone: version.is_tombstone(),
        };
        may_leave_warm(&version, &departure.policy, archived, departure.now_us)
    }

    /// Whether the newest version of any key may leave.
    pub fn leaves_stubs(&self) -> bool {
        self.views.values().any(|departure| departure.policy.serve_from_cold)
    }
}
