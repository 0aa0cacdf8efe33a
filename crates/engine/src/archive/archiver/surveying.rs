//! Looking through tables, and what of their rows waits to be archived. What a damaged table has is not known: the
//! partitions that its damage reaches wait, and all others go on.

use std::collections::BTreeMap;

use thermae_env::Env;
use thermae_formats::ViewId;
use thermae_formats::schema::History;
use thermae_tiering::WarmError;
use thermae_tiering::cold::plan::Progress;

use super::aside::Thing;
use super::{ArchiveError, Archiver, Round, Stage};
use crate::archive::collect::Collect;
use crate::archive::survey::Survey;

/// A table that is being looked through.
pub(super) type Surveyed<E> = Option<(u64, Box<Survey<<E as Env>::File>>)>;

impl<E: Env> Archiver<E> {
    /// Looks at some rows of a new table, or at one again that was damaged, or goes on to planning.
    pub(super) fn survey(&mut self, round: Round<E>, at: Surveyed<E>) -> Stage<E> {
        let now_ns = self.env.monotonic_ns();
        if let Some((id, mut survey)) = at {
            let Some(contents) = survey.step() else {
                return Stage::Surveying { round, at: Some((id, survey)) };
            };
            match &contents.unread {
                Some(unread) => self.aside.set(Thing::Table(id), unread.why.clone(), now_ns),
                None => self.aside.clear(&Thing::Table(id)),
            }
            self.surveys.insert(id, contents);
            return Stage::Surveying { round, at: None };
        }
        let is_to_be_seen = |id: &&u64| {
            !self.surveys.contains_key(id) || self.aside.is_due(&Thing::Table(**id), now_ns)
        };
        let Some(id) = round.tables.keys().find(is_to_be_seen).copied() else {
            return Stage::Planning { round };
        };
        let partitions = self.door.store.partitions;
        let at =
            round.tables.get(&id).map(|run| (id, Box::new(Survey::new(&run.table, partitions))));
        Stage::Surveying { round, at }
    }

    /// A table could not be read for a batch. It is looked through once more, which tells what of it waits.
    pub(super) fn look_again(
        &mut self,
        mut round: Round<E>,
        collect: &Collect<E>,
        error: WarmError,
    ) -> Result<Stage<E>, ArchiveError> {
        let Some(id) = collect.reading().filter(|id| round.seen_again.insert(*id)) else {
            return Err(error.into());
        };
        self.surveys.remove(&id);
        Ok(Stage::Surveying { round, at: None })
    }

    /// How far each partition's rows of each view that keeps its history have come.
    pub(super) fn progress(
        &mut self,
        round: &Round<E>,
        now_us: i64,
    ) -> BTreeMap<(ViewId, u16), Progress> {
        let mut state: BTreeMap<(ViewId, u16), Progress> = BTreeMap::new();
        for (view, tables) in self.views.values() {
            if view.latest.definition.tiers.history != History::Full {
                continue;
            }
            let archived = tables.archived();
            for mark in round.marks.values() {
                let place = (view.id, mark.partition);
                let archived = archived.get(&mark.partition).copied().unwrap_or(0);
                let extents =
                    self.surveys.values().filter_map(|contents| contents.extents.get(&place));
                let bytes =
                    extents.map(|extent| extent.bytes_between(archived, mark.next_sequence));
                let waiting_bytes = bytes.sum();
                if waiting_bytes > 0 {
                    let waiting_since_us = *self.since.entry(place).or_insert(now_us);
                    let flushed = mark.next_sequence;
                    let progress = Progress { archived, flushed, waiting_bytes, waiting_since_us };
                    state.insert(place, progress);
                } else {
                    self.since.remove(&place);
                }
            }
        }
        state
    }

    /// Whether rows of a view's partition may lie where a table is damaged: archived beyond them, it would lose them.
    pub(super) fn is_unread(&self, place: &(ViewId, u16)) -> bool {
        let mut unread = self.surveys.values().filter_map(|contents| contents.unread.as_ref());
        unread.any(|unread| unread.places.contains(place))
    }
}
