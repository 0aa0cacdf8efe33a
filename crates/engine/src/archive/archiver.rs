//! The archiver: rounds of small steps, each of which does one thing and holds nothing that a crash could break.
//!
//! A step may fail, or the machine stop, anywhere. What is archived is the table log's own word, and a commit is
//! made from where the log stands or not at all; so the next round begins with asking for the tables again, and
//! neither loses nor doubles a row.

mod aside;
mod erasing;
mod round;
mod surveying;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use thermae_env::Env;
use thermae_formats::ViewId;
use thermae_formats::schema::History;
use thermae_tiering::cold::plan::{Progress, lag_us, next_batch};
use thermae_tiering::cold::{Batch, ColdError, Committed, OpenFiles, Store};
use thermae_tiering::departures::Departure;

use super::attach::{ArchiveError, attach};
use super::collect::Collect;
use super::hand_over::{before_us, departures};
use super::survey::Contents;
use crate::anchor::Anchor;
use crate::catalogue::View;
use crate::cold::{
    ArchiveFigures, ArchiveOptions, Attached, Door, Shelf, Tables, Tended, ViewTables,
};
use crate::error::Error;
use crate::flushed::TablesCut;
use crate::message::Message;
use crate::outside::Shared;
use crate::planted::{Bug, is_planted};
use crate::waiter::{Waiter, waiter};
use aside::{Aside, Thing};
use erasing::{Erasing, Removal};
use round::Round;
use surveying::Surveyed;

/// The first rest after a failure, and the longest, nanoseconds.
const REST_NS: u64 = 1_000_000_000;
const REST_MAX_NS: u64 = 60_000_000_000;
/// How often it looks whether the shards have answered, nanoseconds.
const LOOK_NS: u64 = 2_000_000;
/// How often it looks whether a shard has something to erase, nanoseconds.
const LOOK_ERASES_NS: u64 = 500_000_000;
/// Sweeps in the time of the grace.
const SWEEPS_A_GRACE: i64 = 24;

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Something was done; there is more.
    Worked,
    /// Nothing to do before this monotonic time, nanoseconds.
    Wait {
        /// As `Env::monotonic_ns`.
        until_ns: u64,
    },
}

/// Copies what is in tables to the archive, and lets it leave the warm tier.
pub struct Archiver<E: Env> {
    env: E,
    dir: PathBuf,
    shared: Arc<Shared<E>>,
    options: ArchiveOptions,
    door: Door,
    /// What the directory knows of the archive.
    anchor: Option<Anchor>,
    is_attached: bool,
    views: BTreeMap<ViewId, (Arc<View>, Arc<ViewTables>)>,
    /// What lies in the tables of the last round.
    surveys: BTreeMap<u64, Contents>,
    /// Since when the oldest row that waits has waited, microseconds UTC.
    since: BTreeMap<(ViewId, u16), i64>,
    /// Bytes of a batch: the policy's, or less after one that had more rows than estimated.
    batch_bytes: u64,
    stage: Stage<E>,
    erasing: Erasing,
    aside: Aside,
    failures_running: u32,
    flush_us: i64,
    sweep_us: i64,
    figures: ArchiveFigures,
}

/// Where a round is.
enum Stage<E: Env> {
    /// Between rounds.
    Resting { until_ns: u64 },
    /// The shards are being asked.
    Asking { waiters: Vec<(usize, Waiter<TablesCut<E>>)>, round: Round<E> },
    /// What shards have erased is removed.
    Erasing { round: Round<E>, removal: Box<Removal> },
    /// New tables are looked through.
    Surveying { round: Round<E>, at: Surveyed<E> },
    /// Batches are planned and made until none is due.
    Planning { round: Round<E> },
    /// A batch is filled.
    Collecting { round: Round<E>, collect: Box<Collect<E>> },
    /// Files are merged, ended and swept, a view at a time.
    Tending { round: Round<E>, next: ViewId },
    /// The merges are told.
    HandingOver { round: Round<E> },
}

impl<E: Env> Archiver<E> {
    /// An archiver of the store in `dir`, at rest.
    pub(crate) fn new(
        env: E,
        dir: PathBuf,
        shared: Arc<Shared<E>>,
        store: Store,
        options: ArchiveOptions,
        anchor: Option<Anchor>,
    ) -> Self {
        let open_files = Arc::new(OpenFiles::new(options.open_file_bytes));
        let door = Door { objects: Arc::clone(&options.objects), open_files, store };
        Self {
            env,
            dir,
            shared,
            door,
            anchor,
            is_attached: false,
            views: BTreeMap::new(),
            surveys: BTreeMap::new(),
            since: BTreeMap::new(),
            batch_bytes: options.policy.batch_bytes,
            options,
            stage: Stage::Resting { until_ns: 0 },
            erasing: Erasing::default(),
            aside: Aside::default(),
            failures_running: 0,
            flush_us: i64::MIN,
            sweep_us: i64::MIN,
            figures: ArchiveFigures::default(),
        }
    }

    /// Does one thing; it may wait for the object store, and never for a shard.
    pub fn step(&mut self) -> Step {
        let now_ns = self.env.monotonic_ns();
        if let Stage::Resting { until_ns } = self.stage
            && now_ns < until_ns
            && !(self.failures_running == 0 && self.shared.erase_waits.load(Ordering::Acquire))
        {
            // A shard that has something to erase is not to wait for a round's time.
            return Step::Wait { until_ns: until_ns.min(now_ns + LOOK_ERASES_NS) };
        }
        let stage = std::mem::replace(&mut self.stage, Stage::Resting { until_ns: now_ns });
        let step = match self.go_on(stage, now_ns) {
            Ok(step) => step,
            Err(error) => {
                self.failures_running += 1;
                let doubled = REST_NS << self.failures_running.min(16).saturating_sub(1);
                let until_ns = now_ns.saturating_add(doubled.min(REST_MAX_NS));
                self.stage = Stage::Resting { until_ns };
                self.figures.failures += 1;
                self.figures.trouble = Some(error.to_string());
                Step::Wait { until_ns }
            }
        };
        self.figures.damaged = self.aside.told();
        self.shelf().set_figures(self.figures.clone());
        step
    }

    fn go_on(&mut self, stage: Stage<E>, now_ns: u64) -> Result<Step, ArchiveError> {
        self.stage = match stage {
            Stage::Resting { .. } => self.ask()?,
            Stage::Asking { mut waiters, mut round } => {
                waiters.retain(|(shard, waiter)| match waiter.poll().pop() {
                    Some(cut) => {
                        round.take(*shard, cut);
                        false
                    }
                    None => true,
                });
                if waiters.is_empty() {
                    self.begin(round)?
                } else {
                    self.stage = Stage::Asking { waiters, round };
                    return Ok(Step::Wait { until_ns: now_ns + LOOK_NS });
                }
            }
            Stage::Surveying { round, at } => self.survey(round, at),
            Stage::Planning { round } => self.plan(round)?,
            Stage::Collecting { round, mut collect } => {
                let is_too_large = collect.batch.bytes() as u64 > 2 * self.batch_bytes;
                if is_too_large && self.batch_bytes > 1 {
                    // The rows do not lie evenly: a smaller batch is planned.
                    self.batch_bytes /= 2;
                    Stage::Planning { round }
                } else {
                    match collect.step() {
                        Ok(true) => self.archive(round, &collect.batch)?,
                        Ok(false) => Stage::Collecting { round, collect },
                        Err(error) => self.look_again(round, &collect, error)?,
                    }
                }
            }
            Stage::Tending { round, next } => self.tend(round, next)?,
            Stage::HandingOver { round } => {
                self.hand_over(&round)?;
                let damaged = self.aside.told().len();
                let aside = format!("damaged and set aside: {damaged}; all else goes on");
                let aside = (damaged > 0).then_some(aside);
                let trouble = self.erasing.trouble.clone().or(aside);
                (self.failures_running, self.figures.trouble) = (0, trouble);
                let round_ns = u64::try_from(self.options.round_us).unwrap_or(0) * 1_000;
                Stage::Resting { until_ns: now_ns.saturating_add(round_ns) }
            }
            Stage::Erasing { round, removal } => self.erase(round, removal),
        };
        Ok(match &self.stage {
            Stage::Resting { until_ns } => Step::Wait { until_ns: *until_ns },
            _ => Step::Worked,
        })
    }

    /// Begins a round: every shard is asked for its tables.
    fn ask(&mut self) -> Result<Stage<E>, ArchiveError> {
        // Before they are asked: what they say from now on is heard.
        self.shared.erase_waits.store(false, Ordering::Release);
        if !self.is_attached {
            let attached = attach(&self.env, &self.dir, &self.door, self.anchor.clone());
            if let Err(error) = &attached {
                let why_not = Some(error.to_string());
                self.shelf().set_tables(Tables { attached: None, why_not });
            }
            self.anchor = Some(attached?);
            self.is_attached = true;
        }
        let now_us = self.env.now_us();
        let flush = now_us >= self.flush_us;
        if flush {
            self.flush_us = now_us.saturating_add(self.options.policy.lag_us);
        }
        let mut waiters = Vec::new();
        for (shard, mailbox) in self.shared.mailboxes.iter().enumerate() {
            let (answerer, waiter) = waiter();
            let message = Message::Tables { answerer, flush };
            // A full mailbox is one of a busy shard: the next round asks again.
            let busy = || Error::Overloaded("a shard takes no message".to_owned(), 1_000);
            mailbox.post(message).map_err(|_| busy())?;
            waiters.push((shard, waiter));
        }
        Ok(Stage::Asking { waiters, round: Round::default() })
    }

    /// All shards have answered. The catalogue is one from after that: it knows every schema of their rows.
    fn begin(&mut self, mut round: Round<E>) -> Result<Stage<E>, ArchiveError> {
        round.catalogue = self.shared.catalogue.load_full();
        let now_ns = self.env.monotonic_ns();
        let mut has_changed = !self.shelf().is_attached();
        for view in round.catalogue.views() {
            let known = self.views.get(&view.id);
            if known.is_some_and(|(known, _)| Arc::ptr_eq(known, view)) {
                continue;
            }
            let thing = Thing::View(view.id);
            if self.aside.rests(&thing, now_ns) {
                continue;
            }
            match ViewTables::load(&self.door, view, known.map(|(_, tables)| &**tables)) {
                Err(error) if error.is_damage() => {
                    self.views.remove(&view.id);
                    self.aside.set(thing, error.to_string(), now_ns);
                }
                loaded => {
                    self.views.insert(view.id, (Arc::clone(view), Arc::new(loaded?)));
                    self.aside.clear(&thing);
                }
            }
            has_changed = true;
        }
        if has_changed {
            self.check_age(&round)?;
            self.publish();
        }
        self.surveys.retain(|id, _| round.tables.contains_key(id));
        self.aside.retain(|thing| match thing {
            Thing::Table(id) => round.tables.contains_key(id),
            Thing::View(id) => round.catalogue.view_by_id(*id).is_some(),
            Thing::Object(object) => self.views.values().any(|(_, tables)| tables.names(object)),
        });
        Ok(match self.begin_removal(&round) {
            Some(removal) => Stage::Erasing { round, removal: Box::new(removal) },
            None => self.end_removal(round, Ok(())),
        })
    }

    /// Whether the archive is as old as this directory: neither an older one, as after a restore of its root, nor
    /// a newer one, as after a restore of the directory.
    fn check_age(&mut self, round: &Round<E>) -> Result<(), ArchiveError> {
        let wrong = self.views.values().find_map(|(_, tables)| self.wrong_age(tables, round));
        wrong.map_or(Ok(()), |what| self.pause(what))
    }

    fn wrong_age(&self, tables: &ViewTables, round: &Round<E>) -> Option<String> {
        let known = |path: &str| self.anchor.as_ref()?.tables.get(path).copied();
        for (path, commits) in tables.commits() {
            if let Some(known) = known(path).filter(|known| commits < *known) {
                return Some(format!(
                    "{path} has {commits} commits, this directory has seen {known}; restore the archive's root from \
                     a copy that is as new"
                ));
            }
        }
        let next = |partition| round.next_sequence(partition);
        let ahead = tables.archived().into_iter().find(|(partition, to)| *to > next(*partition));
        ahead.map(|(partition, to)| {
            format!(
                "it has rows of partition {partition} up to sequence {to}, this directory has them up to {}: the \
                 directory was restored from an older state; give an empty root",
                next(partition)
            )
        })
    }

    fn pause(&mut self, what: String) -> Result<(), ArchiveError> {
        // Whatever is done about it: the next round reads everything anew.
        (self.is_attached, self.views) = (false, BTreeMap::new());
        let error = ArchiveError::Paused(what);
        let why_not = Some(error.to_string());
        self.shelf().set_tables(Tables { attached: None, why_not });
        Err(error)
    }

    /// Plans the next batch; none is due: the files are tended.
    fn plan(&mut self, round: Round<E>) -> Result<Stage<E>, ArchiveError> {
        let now_us = self.env.now_us();
        let state = self.progress(&round, now_us);
        self.figures.lag_us = lag_us(&state, now_us);
        self.figures.waiting_bytes = state.values().map(|progress| progress.waiting_bytes).sum();
        let policy = thermae_tiering::cold::plan::ArchivePolicy {
            batch_bytes: self.batch_bytes,
            ..self.options.policy
        };
        let state = state.into_iter().filter(|(place, _)| !self.is_unread(place));
        let state = state.map(|(place, all)| (place, within(all, self.batch_bytes)));
        let Some(plan) = next_batch(&state.collect(), &policy, now_us) else {
            self.batch_bytes = self.options.policy.batch_bytes;
            return Ok(Stage::Tending { round, next: ViewId(0) });
        };
        let known = self.views.get(&plan.view).and_then(|(_, tables)| tables.newest_columns());
        let Some(columns) = known else { return Ok(Stage::Tending { round, next: ViewId(0) }) };
        let holds = |id: &u64| {
            let contents = self.surveys.get(id);
            contents.is_some_and(|contents| {
                plan.advances.iter().any(|(partition, (from, to))| {
                    let extent = contents.extents.get(&(plan.view, *partition));
                    extent.is_some_and(|extent| extent.bytes_between(*from, *to) > 0)
                })
            })
        };
        let tables = round.tables.iter().filter(|(id, _)| holds(id));
        let tables = tables.map(|(id, run)| (*id, Arc::clone(&run.table))).collect();
        let batch = Batch::new(self.door.store, columns, plan.advances);
        let collect = Box::new(Collect::new(
            batch,
            self.door.store.partitions,
            tables,
            Arc::clone(&round.erases),
        ));
        Ok(Stage::Collecting { round, collect })
    }

    fn archive(&mut self, round: Round<E>, batch: &Batch) -> Result<Stage<E>, ArchiveError> {
        let (view, now_us) = (batch.columns().view(), self.env.now_us());
        let Some((_, tables)) = self.views.get_mut(&view) else {
            return Ok(Stage::Planning { round });
        };
        let committed = Arc::make_mut(tables).archive(batch, now_us)?;
        if committed == Committed::Done {
            for partition in batch.advances().keys() {
                self.since.remove(&(view, *partition));
            }
            self.batch_bytes = (2 * self.batch_bytes).min(self.options.policy.batch_bytes);
            self.figures.archived_rows += batch.rows() as u64;
            self.figures.batches += 1;
        }
        self.publish();
        Ok(Stage::Planning { round })
    }

    /// Does one thing for the files of a view, or goes on to the next view.
    fn tend(&mut self, round: Round<E>, next: ViewId) -> Result<Stage<E>, ArchiveError> {
        let now_us = self.env.now_us();
        let slowest = round.slowest_watermark();
        let Some((view, (_, tables))) = self.views.range_mut(next..).next() else {
            if now_us >= self.sweep_us {
                let every_us = self.options.policy.grace_us / SWEEPS_A_GRACE;
                self.sweep_us = now_us.saturating_add(every_us);
                for (_, tables) in self.views.values_mut() {
                    let swept = Arc::make_mut(tables).sweep(&self.options.policy, now_us)?;
                    self.figures.swept_objects += swept as u64;
                }
            }
            return Ok(Stage::HandingOver { round });
        };
        let (view, now_ns) = (*view, self.env.monotonic_ns());
        let rests = |object: &str| self.aside.rests(&Thing::Object(object.to_owned()), now_ns);
        let tended = Arc::make_mut(tables).tend(&self.options.policy, slowest, &rests, now_us);
        if let Err(ColdError::Damaged { object, .. }) = &tended
            && tables.names(object)
        {
            let (thing, why) = (Thing::Object(object.clone()), tended.map_err(|e| e.to_string()));
            self.aside.set(thing, why.err().unwrap_or_default(), now_ns);
            return Ok(Stage::Tending { round, next: view });
        }
        match tended? {
            Tended::Nothing => return Ok(Stage::Tending { round, next: ViewId(view.0 + 1) }),
            Tended::Merged => self.figures.merges += 1,
            Tended::Checkpointed => {}
            Tended::Expired(files) => self.figures.expired_files += files as u64,
        }
        self.publish();
        Ok(Stage::Tending { round, next: view })
    }

    /// Lets rows leave the warm tier that are archived and past `warm_for`. In this order: the archive has
    /// committed and verified them, readers find it, the directory knows durably that reads need it, readers of
    /// this process know it too, and only then the merges are told.
    fn hand_over(&mut self, round: &Round<E>) -> Result<(), ArchiveError> {
        let now_us = self.env.now_us();
        let mut leaving = Vec::new();
        for (view, tables) in self.views.values() {
            let policy = view.latest.definition.tiers;
            let mut archived = tables.archived();
            if is_planted(Bug::LeaveBeforeArchived) {
                archived = round.marks.values().map(|m| (m.partition, m.next_sequence)).collect();
            }
            if policy.warm_for_us > 0 && policy.history == History::Full && !archived.is_empty() {
                leaving.push((view.id, Departure { policy, now_us, archived }));
            }
        }
        if leaving.is_empty() {
            return Ok(());
        }
        // A commit whose answer was lost became known when something else read the log, which may have failed then:
        // nothing has shown it to readers yet.
        self.publish();
        // One that is damaged cannot be rewritten.
        let is_whole = |contents: &&Contents| contents.unread.is_none();
        let surveyed = |(id, kind)| Some((id, kind, self.surveys.get(&id).filter(is_whole)?));
        let tables = round.kinds().filter_map(surveyed);
        let departures = departures(self.door.store.partitions, leaving, tables);
        let are_all_read = self.unread_views().is_empty();
        let Some(anchor) = &mut self.anchor else { return Ok(()) };
        for (view, departure) in &departures.views {
            let before = anchor.views.entry(*view).or_insert(i64::MIN);
            *before = (*before).max(before_us(departure));
        }
        let commits = self.views.values().flat_map(|(_, tables)| tables.commits());
        if are_all_read {
            anchor.tables.clear();
        }
        anchor.tables.extend(commits.map(|(path, commits)| (path.to_owned(), commits)));
        anchor.write(&self.env, &self.dir)?;
        self.shared.needs_archive.store(Arc::new(anchor.views.clone()));
        let departures = Arc::new(departures);
        for mailbox in &self.shared.mailboxes {
            // A shard that takes no message now is told the next time.
            let _ = mailbox.post(Message::Depart(Arc::clone(&departures)));
        }
        Ok(())
    }

    fn shelf(&self) -> &Shelf {
        &self.shared.shelf
    }

    /// Views whose tables in the archive cannot be read, and why.
    fn unread_views(&self) -> BTreeMap<ViewId, String> {
        self.aside.views().map(|(view, why)| (view, why.to_owned())).collect()
    }

    /// Shows readers the tables as they are now.
    fn publish(&mut self) {
        let views: BTreeMap<_, _> =
            self.views.iter().map(|(id, (_, tables))| (*id, Arc::clone(tables))).collect();
        let all = || views.values().flat_map(|tables| tables.files());
        self.figures.rows = all().map(|file| file.rows).sum();
        self.figures.bytes = all().map(|file| file.bytes).sum();
        self.figures.files = all().count() as u64;
        self.figures.open_file_bytes = self.door.open_files.bytes() as u64;
        self.erasing.note_shown(views.values());
        self.figures.tables = views.values().map(|tables| tables.commits().count() as u64).sum();
        let objects = Arc::clone(&self.door.objects);
        let id = self.anchor.as_ref().map_or(0, |anchor| anchor.id);
        let unread = self.unread_views();
        let attached = Some(Attached { id, objects, views, unread });
        self.shelf().set_tables(Tables { attached, why_not: None });
    }
}

/// As much of what waits as a batch may have, rows taken to lie evenly: one partition alone may have more.
fn within(all: Progress, batch_bytes: u64) -> Progress {
    if all.waiting_bytes <= batch_bytes {
        return all;
    }
    let sequences = u128::from(all.flushed - all.archived.min(all.flushed));
    let part = sequences * u128::from(batch_bytes) / u128::from(all.waiting_bytes.max(1));
    let part = u64::try_from(part).unwrap_or(u64::MAX).max(1);
    let flushed = all.archived.saturating_add(part).min(all.flushed);
    Progress { flushed, waiting_bytes: batch_bytes, ..all }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_with_more_than_a_batch_is_archived_in_parts_and_each_advances() {
        let all =
            Progress { archived: 100, flushed: 1_100, waiting_bytes: 5_000, waiting_since_us: 7 };
        assert_eq!(within(all, 5_000), all);
        let part = within(all, 500);
        assert_eq!((part.flushed, part.waiting_bytes), (200, 500));
        assert_eq!(within(all, 0).flushed, 101, "never nothing");
    }
}
