//! Where readers find the archive's tables as they are now.
//!
//! **Nothing falls between the tiers.** A snapshot takes the shelf's tables, then the shards' parts, then the
//! tables again, and reads the files of both. A row that a shard no longer has when it is asked was allowed to
//! leave before that, hence committed and put on the shelf before: it is in the second. A file that `keep_for`
//! ended after the shard was asked, by a watermark that is newer than the snapshot's, is in the first. A row that is in
//! several of them shows once, and one that came after the shard was asked does not show: its sequence is greater
//! than what the shard had applied.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use thermae_formats::ViewId;
use thermae_formats::hash::partition_of;
use thermae_tiering::cold::{ColdRows, ColdSource, Objects};
use thermae_tiering::history::{HistoryRange, OlderRows};

use super::figures::ArchiveFigures;
use super::view_tables::ViewTables;

/// The archive as readers see it.
#[derive(Default)]
pub struct Shelf {
    tables: ArcSwap<Tables>,
    figures: ArcSwapOption<ArchiveFigures>,
}

/// The tables of all views.
#[derive(Default)]
pub(crate) struct Tables {
    /// None until the archive was found to be this store's.
    pub attached: Option<Attached>,
    /// Why not, if it was looked at.
    pub why_not: Option<String>,
}

pub(crate) struct Attached {
    /// The archive's id.
    pub id: u128,
    pub objects: Arc<dyn Objects>,
    pub views: BTreeMap<ViewId, Arc<ViewTables>>,
    /// Views whose tables cannot be read, and why: nobody is to take what they have for nothing.
    pub unread: BTreeMap<ViewId, String>,
}

impl Attached {
    /// The tables of a view, if it has any.
    ///
    /// # Errors
    /// They cannot be read; why.
    pub fn view(&self, view: ViewId) -> Result<Option<&Arc<ViewTables>>, String> {
        self.unread.get(&view).map_or(Ok(self.views.get(&view)), |why| Err(why.clone()))
    }
}

impl Shelf {
    /// The figures as of the last step; none of a store that was opened without an archive.
    pub fn figures(&self) -> Option<Arc<ArchiveFigures>> {
        self.figures.load_full()
    }

    pub(crate) fn set_figures(&self, figures: ArchiveFigures) {
        self.figures.store(Some(Arc::new(figures)));
    }

    pub(crate) fn set_tables(&self, tables: Tables) {
        self.tables.store(Arc::new(tables));
    }

    /// The tables as they are now.
    pub(crate) fn tables(&self) -> Arc<Tables> {
        self.tables.load_full()
    }

    /// Whether the archive was found.
    pub fn is_attached(&self) -> bool {
        self.tables.load().attached.is_some()
    }

    /// What a snapshot takes before it asks the shards.
    pub(crate) fn before(&self) -> ColdPart {
        let tables = self.tables.load_full();
        ColdPart { after: Arc::clone(&tables), before: tables }
    }
}

/// A snapshot's part of the archive.
#[derive(Clone)]
pub struct ColdPart {
    before: Arc<Tables>,
    after: Arc<Tables>,
}

impl ColdPart {
    /// The same, after the shards were asked.
    pub(crate) fn and_after(self, shelf: &Shelf) -> Self {
        Self { before: self.before, after: shelf.tables.load_full() }
    }

    /// The tables as they were after the shards were asked.
    ///
    /// # Errors
    /// The archive is not there to be read; why.
    pub(crate) fn attached(&self) -> Result<&Attached, String> {
        let why = || self.after.why_not.clone().unwrap_or_else(|| "it is being opened".to_owned());
        self.after.attached.as_ref().ok_or_else(why)
    }

    /// Rows of the range that may lie here, of an event time before `before_us` and applied by the sequences
    /// in `applied`, which are those of the partitions.
    ///
    /// # Errors
    /// The archive is not there to be read; why.
    pub(crate) fn rows(
        &self,
        range: &HistoryRange,
        before_us: i64,
        applied: &Arc<[u64]>,
    ) -> Result<Vec<OlderRows>, String> {
        let after = self.attached()?;
        let (from, to) = (*range.event_times.start(), *range.event_times.end());
        let event_times = (from, to.min(before_us.saturating_sub(1)));
        let hashes = (*range.hashes.start(), *range.hashes.end());
        let before = self.before.attached.as_ref();
        let before = before.and_then(|before| before.views.get(&range.view));
        let tables = [after.view(range.view)?, before];
        let files: BTreeMap<_, _> = tables
            .into_iter()
            .flatten()
            .flat_map(|tables| tables.files_between(event_times, hashes))
            .collect();
        let rows = files.into_values().map(|opener| {
            let applied = Arc::clone(applied);
            let shows = move |entity_hash: u64, sequence: u64| {
                let partition = partition_of(entity_hash, applied.len() as u16);
                applied.get(usize::from(partition)).is_some_and(|last| sequence <= *last)
            };
            let source = ColdSource {
                objects: Arc::clone(&after.objects),
                open: Box::new(move || opener.open()),
                hashes: RangeInclusive::clone(&range.hashes),
                shows: Box::new(shows),
                fetch_bytes: range.scan_bytes as u64,
            };
            Box::new(ColdRows::new(source)) as OlderRows
        });
        Ok(rows.collect())
    }
}
