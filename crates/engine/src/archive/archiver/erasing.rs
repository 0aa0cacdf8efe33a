//! What shards have erased is removed from the archive.
//!
//! A shard that holds nothing of a round of erases any more, but for its checkpoint, says so with its tables
//! ([`Round::waiting`]). Before anything else of the archiver's round the files that may hold an entity are rewritten;
//! the objects that no table names then are *doomed*. They go as soon as nobody of this process reads them, and only
//! then the shard is told. Nothing of it is remembered over a restart: the shard's erase is pending still, and all of
//! it is begun again.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use thermae_env::Env;
use thermae_formats::ViewId;
use thermae_formats::hash::partition_of;
use thermae_tiering::cold::Committed;
use thermae_tiering::erase::PendingErases;

use super::aside::Thing;
use super::{ArchiveError, Archiver, Round, Stage};
use crate::cold::{Suspect, ViewTables};
use crate::message::{ArchiveWork, Message};
use crate::planted::{Bug, is_planted};

/// A shard, and its round of erases.
pub(super) type ShardRound = (usize, u64);

/// What is being removed for some shards.
pub(super) struct Removal {
    rounds: Vec<ShardRound>,
    erases: PendingErases,
    /// Views that are still to be looked through.
    views: Vec<ViewId>,
    /// Files of the last of them that are still to be rewritten.
    suspects: Option<Vec<Suspect>>,
}

/// Objects that nothing names, and that are to go for some shards.
pub(super) struct Doomed {
    rounds: Vec<ShardRound>,
    /// By view and table.
    objects: Vec<(ViewId, Vec<Vec<String>>)>,
    /// Tables of before, as long as somebody reads by them.
    readers: Vec<Weak<ViewTables>>,
    since_us: i64,
}

/// What is under way beside the archiver's rounds.
#[derive(Default)]
pub(super) struct Erasing {
    doomed: Vec<Doomed>,
    /// What was done for rounds that are not confirmed yet.
    work: BTreeMap<ShardRound, ArchiveWork>,
    /// Tables that were shown to readers, as long as somebody reads by them.
    shown: Vec<Weak<ViewTables>>,
    /// Why it does not get on, if it does not.
    pub trouble: Option<String>,
}

impl Erasing {
    /// Readers are shown these tables.
    pub fn note_shown<'a>(&mut self, tables: impl Iterator<Item = &'a Arc<ViewTables>>) {
        self.shown.retain(|shown| shown.strong_count() > 0);
        for tables in tables {
            if !self.shown.iter().any(|shown| shown.as_ptr() == Arc::as_ptr(tables)) {
                self.shown.push(Arc::downgrade(tables));
            }
        }
    }

    fn is_doomed(&self, round: &ShardRound) -> bool {
        self.doomed.iter().any(|doomed| doomed.rounds.contains(round))
    }
}

impl<E: Env> Archiver<E> {
    /// Begins to remove what shards wait for, unless that is done but for its last step.
    pub(super) fn begin_removal(&self, round: &Round<E>) -> Option<Removal> {
        let waiting = round.waiting.iter();
        let waiting = waiting.filter(|(round, _)| !self.erasing.is_doomed(round));
        let mut erases = PendingErases::default();
        let mut rounds = Vec::new();
        for (round, of_shard) in waiting {
            rounds.push(*round);
            of_shard.iter().for_each(|erase| erases.insert(erase.clone()));
        }
        let mut views: Vec<ViewId> = erases.iter().map(|erase| erase.view).collect();
        views.sort_unstable();
        views.dedup();
        let suspects = None;
        (!rounds.is_empty()).then_some(Removal { rounds, erases, views, suspects })
    }

    /// Looks through a view, or rewrites a file of it. True when all of it is done.
    pub(super) fn remove_more(&mut self, removal: &mut Removal) -> Result<bool, ArchiveError> {
        let Some(view) = removal.views.last().copied() else { return Ok(true) };
        if let Some(why) = self.aside.why(&Thing::View(view)) {
            return Err(ArchiveError::Damaged(why.to_owned()));
        }
        let Some((_, tables)) = self.views.get_mut(&view) else {
            removal.views.pop();
            return Ok(false);
        };
        let Some(suspects) = &mut removal.suspects else {
            removal.suspects = Some(Arc::make_mut(tables).suspects(view, &removal.erases)?);
            return Ok(false);
        };
        let Some(suspect) = suspects.pop() else {
            (removal.suspects, _) = (None, removal.views.pop());
            return Ok(false);
        };
        let (reads, now_us) = (&self.shared.reads, self.env.now_us());
        let dropped = RefCell::new(BTreeMap::<usize, u64>::new());
        let note = |entity_hash: u64| {
            let partition = partition_of(entity_hash, reads.partitions());
            *dropped.borrow_mut().entry(reads.shard(partition)).or_default() += 1;
        };
        let tables = Arc::make_mut(tables);
        if tables.rewrite_without(&suspect, &removal.erases, &note, now_us)? != Committed::Done {
            // The table went another way: the view is looked through again.
            removal.suspects = None;
            return Ok(false);
        }
        for (shard, rows) in dropped.into_inner() {
            self.figures.erased_rows += rows;
            for round in removal.rounds.iter().filter(|(of, _)| *of == shard) {
                let work = self.erasing.work.entry(*round).or_default();
                (work.rows, work.files) = (work.rows + rows, work.files + 1);
            }
        }
        self.publish();
        Ok(false)
    }

    /// Every file is rewritten: what no table names now is to go.
    pub(super) fn doom(&mut self, removal: Removal) -> Result<(), ArchiveError> {
        let views: Vec<ViewId> = removal.erases.iter().map(|erase| erase.view).collect();
        let mut objects = Vec::new();
        for (view, (_, tables)) in &mut self.views {
            if views.contains(view) {
                objects.push((*view, Arc::make_mut(tables).doomed()?));
            }
        }
        self.publish();
        let is_present = |shown: &Weak<ViewTables>| {
            self.views.values().any(|(_, tables)| shown.as_ptr() == Arc::as_ptr(tables))
        };
        let readers = self.erasing.shown.iter().filter(|shown| !is_present(shown)).cloned();
        let (readers, since_us) = (readers.collect(), self.env.now_us());
        self.erasing.doomed.push(Doomed { rounds: removal.rounds, objects, readers, since_us });
        Ok(())
    }

    /// Removes doomed objects that nobody reads any more, and tells the shards.
    pub(super) fn finish_doomed(&mut self) -> Result<(), ArchiveError> {
        let last_us = self.env.now_us().saturating_sub(self.options.policy.grace_us);
        let mut waiting = Vec::new();
        while let Some(mut doomed) = self.erasing.doomed.pop() {
            let is_read = doomed.readers.iter().any(|reader| reader.strong_count() > 0);
            if is_read && doomed.since_us > last_us {
                waiting.push(doomed);
                continue;
            }
            if let Err(error) = self.remove_doomed(&doomed) {
                // Those that went are not missed the next time.
                self.erasing.doomed.push(doomed);
                self.erasing.doomed.append(&mut waiting);
                return Err(error);
            }
            doomed.rounds.retain(|round| !self.confirm(*round));
            if !doomed.rounds.is_empty() {
                doomed.objects.clear();
                waiting.push(doomed);
            }
        }
        self.erasing.doomed = waiting;
        self.figures.erases_waiting = self.erasing.doomed.len() as u64;
        Ok(())
    }

    fn remove_doomed(&mut self, doomed: &Doomed) -> Result<(), ArchiveError> {
        if is_planted(Bug::ErasedObjectsStay) {
            return Ok(());
        }
        for (view, objects) in &doomed.objects {
            if let Some((_, tables)) = self.views.get_mut(view) {
                Arc::make_mut(tables).remove_doomed(objects)?;
            }
        }
        Ok(())
    }

    /// Tells a shard that nothing of its round is left here; false when it takes no message now.
    fn confirm(&mut self, (shard, round): ShardRound) -> bool {
        let work = self.erasing.work.get(&(shard, round)).copied().unwrap_or_default();
        let message = Message::ArchiveErased { round, work };
        let is_told =
            self.shared.mailboxes.get(shard).is_some_and(|mailbox| mailbox.post(message).is_ok());
        if is_told {
            self.erasing.work.remove(&(shard, round));
        }
        is_told
    }

    /// The next step of a removal. A failure is told and tried again in the next round; this one goes on.
    pub(super) fn erase(&mut self, round: Round<E>, mut removal: Box<Removal>) -> Stage<E> {
        match self.remove_more(&mut removal) {
            Ok(false) => Stage::Erasing { round, removal },
            Ok(true) => {
                let doomed = self.doom(*removal);
                self.end_removal(round, doomed)
            }
            Err(error) => self.end_removal(round, Err(error)),
        }
    }

    /// Goes on with the round after a removal, or none.
    pub(super) fn end_removal(
        &mut self,
        round: Round<E>,
        removed: Result<(), ArchiveError>,
    ) -> Stage<E> {
        let finished = self.finish_doomed();
        self.erasing.trouble = removed.and(finished).err().map(|error| error.to_string());
        if let Some(trouble) = &self.erasing.trouble {
            self.figures.failures += 1;
            self.figures.trouble = Some(trouble.clone());
        }
        Stage::Surveying { round, at: None }
    }
}
