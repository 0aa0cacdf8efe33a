//! A view's history part by part, for whoever needs no order among versions of different parts: nothing is
//! merged, and one part at a time takes memory.

use std::ops::RangeInclusive;
use std::vec::IntoIter;

use thermae_env::Env;
use thermae_formats::ViewId;

use super::sources::{Rows, rows_of};
use super::{HistoryRange, OlderRows, Retention, ShardPart, ViewHistory};
use crate::WarmError;
use crate::merge::{Entry, PartedSource, SeekSource, Source, Together};
use crate::table::Scratch;

/// Every version that shows, as in [`ViewHistory`], but that one which lies in several parts shows in each. Of a
/// view that keeps no history there is one part, which is merged: what hides what is told by the age of sources.
/// So it is where stubs may be: each must meet its row in the archive.
pub struct HistoryParts<E: Env> {
    view: ViewId,
    retention: Retention,
    /// Nothing is erased, and no version too old: rows are not looked at for that.
    shows_all: bool,
    parts: IntoIter<Part<E>>,
    present: Option<Part<E>>,
    scratch: Scratch,
}

enum Part<E: Env> {
    Merged(Box<ViewHistory<E>>),
    Rows(Rows<E>),
}

impl<E: Env> HistoryParts<E> {
    /// Of what the shards held, and of rows below; before the first part.
    ///
    /// # Errors
    /// The first block of a table cannot be read.
    pub fn open(
        parts: &[ShardPart<E>],
        older: Vec<OlderRows>,
        range: &HistoryRange,
        retention: Retention,
    ) -> Result<Self, WarmError> {
        let mut tables = parts.iter().flat_map(|part| &part.tree.latest);
        let holds_stubs = tables.any(|run| run.table.may_hold_stubs());
        let parts: Vec<_> = match retention.together() {
            together if together == Together::Keys || holds_stubs => {
                let merged = ViewHistory::open_over(parts, older, range, retention.clone())?;
                vec![Part::Merged(Box::new(merged))]
            }
            together => {
                rows_of(parts, older, range, together).into_iter().map(Part::Rows).collect()
            }
        };
        let (parts, scratch) = (parts.into_iter(), Scratch::new());
        let shows_all = retention.policy.keep_for_us == 0 && retention.erases.is_empty();
        let (view, present) = (range.view, None);
        Ok(Self { view, retention, shows_all, parts, present, scratch })
    }

    /// Goes forward from where it stands to a row that shows.
    fn settle(&mut self) -> Result<(), WarmError> {
        if self.shows_all {
            return Ok(());
        }
        while let Some(Part::Rows(rows)) = &mut self.present
            && let Some((entity_hash, version)) = rows.peek()
            && (self.retention.erases.hides(self.view, entity_hash, &version)
                || !self.retention.keeps(entity_hash, version.event_time))
        {
            rows.advance(&mut self.scratch)?;
        }
        Ok(())
    }
}

impl<E: Env> Source for HistoryParts<E> {
    type Error = WarmError;

    fn peek(&self) -> Option<Entry<'_>> {
        match self.present.as_ref()? {
            Part::Merged(merged) => merged.peek(),
            Part::Rows(rows) => {
                let (entity_hash, version) = rows.peek()?;
                Some((self.view, entity_hash, version))
            }
        }
    }

    fn advance(&mut self) -> Result<(), WarmError> {
        match &mut self.present {
            None => return Ok(()),
            Some(Part::Merged(merged)) => return merged.advance(),
            Some(Part::Rows(rows)) => rows.advance(&mut self.scratch)?,
        }
        self.settle()
    }
}

impl<E: Env> SeekSource for HistoryParts<E> {
    fn seek(&mut self, entity_hash: u64, key: &[u8]) -> Result<(), WarmError> {
        match &mut self.present {
            None => return Ok(()),
            Some(Part::Merged(merged)) => return merged.seek(entity_hash, key),
            Some(Part::Rows(rows)) => rows.seek(entity_hash, key, &mut self.scratch)?,
        }
        self.settle()
    }

    fn hashes(&self) -> &[u64] {
        match &self.present {
            Some(Part::Rows(rows)) => rows.hashes(),
            Some(Part::Merged(_)) | None => &[],
        }
    }

    fn event_time(&self, row: usize) -> Option<i64> {
        match &self.present {
            Some(Part::Rows(rows)) => rows.event_time(row),
            Some(Part::Merged(_)) | None => None,
        }
    }

    fn leave_out(&mut self, count: usize) -> Result<(), WarmError> {
        if let Some(Part::Rows(rows)) = &mut self.present {
            rows.leave_out(count)?;
        }
        self.settle()
    }
}

impl<E: Env> PartedSource for HistoryParts<E> {
    fn event_times(&self) -> RangeInclusive<i64> {
        match &self.present {
            Some(Part::Rows(rows)) => rows.event_times(),
            Some(Part::Merged(_)) | None => i64::MIN..=i64::MAX,
        }
    }

    fn next_part(&mut self) -> Result<bool, WarmError> {
        // The old one goes first: there is never memory for two.
        if let Some(Part::Rows(rows)) = &mut self.present {
            rows.release(&mut self.scratch);
        }
        self.present = None;
        self.present = self.parts.next();
        Ok(self.present.is_some())
    }
}
