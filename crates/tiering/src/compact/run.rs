//! A rewrite of tables, carried out in small steps.

use std::cmp::Reverse;
use std::sync::Arc;

use thermae_env::Env;
use thermae_formats::table::{TableKind, TableRef};

use super::plan::Compaction;
use super::source::TableSource;
use super::windows::{MOST_PARTS, Window};
use crate::WarmError;
use crate::buffers::Buffers;
use crate::departures::Departures;
use crate::files::{Garbage, Made, WarmFiles};
use crate::flush::{Progress, STEP_BYTES};
use crate::merge::{Entry, Fate, Merge, Together};
use crate::rules::Rules;
use crate::table::{Table, TableWriter};
use crate::tree::{Commit, Outputs};

/// A merge at work.
pub(crate) struct Merging<E: Env> {
    compaction: Compaction,
    rules: Arc<Rules>,
    departures: Arc<Departures>,
    merge: Option<Merge<TableSource<E>>>,
    writers: Writers<E>,
    pub outputs: Outputs<E>,
    /// Files that it made; garbage if it does not end well.
    pub made: Vec<Garbage>,
    /// Versions that it left out because they were erased.
    pub erased_rows: u64,
}

/// Tables being written.
struct Writers<E: Env> {
    latest: Option<TableWriter<E>>,
    /// History, by the part of the inputs' window.
    history: [Option<TableWriter<E>>; MOST_PARTS],
    window: Window,
    /// The newest versions may be stubs.
    may_hold_stubs: bool,
}

impl<E: Env> Merging<E> {
    /// Reads `tables`, which are the compaction's inputs in their order.
    pub fn new(
        compaction: Compaction,
        tables: &[Arc<Table<E::File>>],
        rules: Arc<Rules>,
        departures: Arc<Departures>,
        buffers: &Buffers,
    ) -> Result<Self, WarmError> {
        let scan_bytes = buffers.scan_bytes(tables.len());
        let sources = tables.iter().map(|table| TableSource::new(table, scan_bytes));
        let sources = sources.collect::<Result<Vec<_>, _>>()?;
        let together = match compaction.kind {
            TableKind::Latest => Together::Keys,
            TableKind::History => Together::Versions,
        };
        let window = window_of(&compaction.inputs);
        let may_hold_stubs = compaction.kind == TableKind::Latest
            && (departures.leaves_stubs() || tables.iter().any(|table| table.may_hold_stubs()));
        Ok(Self {
            compaction,
            rules,
            departures,
            merge: Some(Merge::new(sources, together)),
            writers: Writers { latest: None, history: Default::default(), window, may_hold_stubs },
            outputs: Outputs::default(),
            made: Vec::new(),
            erased_rows: 0,
        })
    }

    /// Numbers of the tables that it replaces.
    pub fn inputs(&self) -> impl Iterator<Item = u64> {
        self.compaction.inputs.iter().map(|table| table.file_id)
    }

    /// Does one piece of the work; of no use after an error.
    pub fn step<C: Commit>(
        &mut self,
        files: &WarmFiles<E>,
        commit: &C,
    ) -> Result<Progress, WarmError> {
        let Some(merge) = &mut self.merge else { return self.finish_one(files) };
        let mut made = Made { commit, files: &mut self.made };
        let mut bytes = 0;
        while bytes < STEP_BYTES {
            if !merge.next_group()? {
                self.merge = None;
                break;
            }
            let mut group = merge.group();
            let Some(newest) = group.next() else { continue };
            // Most keys are in one table only: that allocates nothing.
            let mut older: Vec<_> = group.collect();
            let all = || std::iter::once(&newest).chain(&older);
            bytes += all().map(|entry| entry.2.encoded_bytes()).sum::<usize>();
            let erases = &self.rules.erases;
            if !erases.is_empty() {
                let is_erased = |entry: &&Entry<'_>| erases.hides(entry.0, entry.1, &entry.2);
                self.erased_rows += all().filter(is_erased).count() as u64;
            }
            let is_last_run = self.compaction.is_last_run;
            let fate = |entry: &Entry<'_>, is_newest| {
                self.rules.fate(entry.0, entry.1, &entry.2, is_newest, is_last_run)
            };
            let superseded = match self.compaction.kind {
                TableKind::Latest => {
                    if fate(&newest, true) == Fate::Keep {
                        let writer = self.writers.latest(files, &mut made)?;
                        if !newest.2.is_stub() && self.departures.may_leave(&newest, true) {
                            let value = newest.2.stub_value();
                            writer.add(newest.0, newest.1, &newest.2.stub(&value))?;
                        } else {
                            put(writer, &newest)?;
                        }
                    }
                    // A row that was reset may have made room for one of an earlier event time.
                    older.sort_by_key(|entry| Reverse(entry.2.order()));
                    &older[..]
                }
                TableKind::History => std::slice::from_ref(&newest),
            };
            let stays = |entry: &&Entry<'_>| {
                // What a stub stands for is in the archive already.
                fate(entry, false) == Fate::ToHistory
                    && !entry.2.is_stub()
                    && !self.departures.may_leave(entry, false)
            };
            for entry in superseded.iter().filter(stays) {
                put(self.writers.history(entry.2.event_time, files, &mut made)?, entry)?;
            }
        }
        Ok(Progress::Worked(bytes as u64))
    }

    /// Ends one of the tables that are written.
    fn finish_one(&mut self, files: &WarmFiles<E>) -> Result<Progress, WarmError> {
        if let Some(writer) = self.writers.latest.take() {
            self.outputs.latest = Some(files.finish(writer)?);
        } else if let Some(writer) = self.writers.history.iter_mut().find_map(Option::take) {
            self.outputs.history.push(files.finish(writer)?);
        } else {
            return Ok(Progress::Ready);
        }
        Ok(Progress::Worked(0))
    }
}

fn window_of(tables: &[TableRef]) -> Window {
    let min = tables.iter().map(|table| table.min_event_time).min();
    let max = tables.iter().map(|table| table.max_event_time).max();
    Window::around(min.unwrap_or(0), max.unwrap_or(0))
}

impl<E: Env> Writers<E> {
    fn latest<C: Commit>(
        &mut self,
        files: &WarmFiles<E>,
        made: &mut Made<'_, C>,
    ) -> Result<&mut TableWriter<E>, WarmError> {
        begun(&mut self.latest, TableKind::Latest, self.may_hold_stubs, files, made)
    }

    fn history<C: Commit>(
        &mut self,
        event_time: i64,
        files: &WarmFiles<E>,
        made: &mut Made<'_, C>,
    ) -> Result<&mut TableWriter<E>, WarmError> {
        let part = self.window.part_of(event_time);
        begun(&mut self.history[part], TableKind::History, false, files, made)
    }
}

/// The writer at a place, begun with its first row: a table without rows is never made.
fn begun<'a, E: Env, C: Commit>(
    place: &'a mut Option<TableWriter<E>>,
    kind: TableKind,
    may_hold_stubs: bool,
    files: &WarmFiles<E>,
    made: &mut Made<'_, C>,
) -> Result<&'a mut TableWriter<E>, WarmError> {
    match place {
        Some(writer) => Ok(writer),
        None => Ok(place.insert(made.table(files, kind, may_hold_stubs)?)),
    }
}

/// Adds an entry whole.
fn put<E: Env>(writer: &mut TableWriter<E>, entry: &Entry<'_>) -> Result<(), WarmError> {
    writer.add(entry.0, entry.1, &entry.2)
}
