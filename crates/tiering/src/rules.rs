//! What a rewrite of tables goes by: policies of views, and whose partitions are whose.

use std::collections::BTreeMap;
use std::sync::Arc;

use thermae_formats::ViewId;
use thermae_formats::hash::{partition_of, shard_of};
use thermae_formats::schema::TierPolicy;
use thermae_formats::version::Version;

use crate::erase::PendingErases;
use crate::merge::{Fate, fate};

/// Policies and watermarks as of a checkpoint. Not as of now: what a crash takes back, a policy or a
/// watermark, must not have removed rows for good.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Partitions of the store.
    pub partitions: u16,
    /// Shards that it is open with.
    pub shards: u16,
    /// The shard whose tree this is about.
    pub shard: u16,
    /// The policy of each view; rows of a view that is not here are kept for ever, with their history.
    pub policies: BTreeMap<ViewId, TierPolicy>,
    /// Newest event time of each of the shard's partitions that has rows.
    pub watermarks: BTreeMap<u16, i64>,
    /// What was erased in them: tables are written without it.
    pub erases: Arc<PendingErases>,
}

impl Rules {
    /// What becomes of a version; see [`fate`].
    pub fn fate(
        &self,
        view: ViewId,
        entity_hash: u64,
        version: &Version<'_>,
        is_newest: bool,
        is_last_run: bool,
    ) -> Fate {
        // Whatever an erased version shadows has a smaller sequence, and was erased with it.
        if self.erases.hides(view, entity_hash, version) {
            return Fate::Drop;
        }
        let partition = partition_of(entity_hash, self.partitions);
        let owns = shard_of(partition, self.shards) == self.shard;
        let policy = self.policies.get(&view).copied().unwrap_or_default();
        let watermark = self.watermarks.get(&partition).copied();
        fate(version, is_newest, &policy, watermark, owns, is_last_run)
    }

    /// The event time before which every row of every view and partition is past `keep_for`; `None`
    /// where there is none.
    pub fn expired_before(&self) -> Option<i64> {
        let keeps = self.policies.values().map(|policy| policy.keep_for_us);
        let longest_us = keeps.max_by_key(|keep_for_us| match keep_for_us {
            0 => i64::MAX,
            limited => *limited,
        })?;
        let slowest = self.watermarks.values().min()?;
        (longest_us != 0).then(|| slowest.saturating_sub(longest_us))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_keeping_view_and_the_slowest_partition_decide() {
        let keep = |keep_for_us| TierPolicy { keep_for_us, ..TierPolicy::default() };
        let mut rules = Rules { partitions: 4, shards: 1, ..Rules::default() };
        assert_eq!(rules.expired_before(), None);
        rules.policies = [(ViewId(1), keep(10)), (ViewId(2), keep(30))].into();
        assert_eq!(rules.expired_before(), None, "no rows yet");
        rules.watermarks = [(0, 100), (3, 90)].into();
        assert_eq!(rules.expired_before(), Some(60));
        rules.policies.insert(ViewId(3), keep(0));
        assert_eq!(rules.expired_before(), None, "a view that keeps for ever");
    }
}
