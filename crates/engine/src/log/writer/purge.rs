//! Going on in new files, and removing every file before: those hold what was erased.
//!
//! A segment that was made of an older one holds old bytes behind its end. So it is not enough to free the
//! segments up to the erase: the log goes on until it is in a file that was made new since, and until
//! then no file is used again.

use std::path::PathBuf;

use thermae_env::Env;

use super::{LogWriter, Stopping};

/// A purge under way.
#[derive(Debug)]
pub(super) struct Purge {
    /// The first segment that is made new for it.
    clean_from: u32,
    /// Files to be removed.
    pub(super) files: Vec<PathBuf>,
}

impl<E: Env> LogWriter<E> {
    /// Begins to get rid of all files that there are, because records that were appended before, or bytes
    /// of older ones, must not stay. One under way begins anew.
    pub fn purge(&mut self) {
        // One that is made or ready already may have been another segment before.
        let is_made = self.next.is_making() || self.next.is_ready();
        let clean_from = self.segment.header.number + 1 + u32::from(is_made);
        let mut files = self.purge.take().map_or_else(Vec::new, |purge| purge.files);
        files.extend(self.take_spare_path());
        files.append(&mut self.strays);
        self.purge = Some(Purge { clean_from, files });
    }

    /// Whether a start of this log lies in the files that are made for the purge.
    pub fn is_clean_from(&self, segment: u32) -> bool {
        self.purge.as_ref().is_none_or(|purge| segment >= purge.clean_from)
    }

    /// Whether every file from before the purge is gone, durably; ends the purge. Nothing of this log
    /// that was appended before it is on the disk then.
    pub fn end_purge(&mut self) -> bool {
        let Some(purge) = &self.purge else { return true };
        let is_gone = purge.files.is_empty()
            && self.removing == 0
            && self.starts.first().is_some_and(|first| first >= purge.clean_from)
            && self.env.sync_dir(&self.log_dir).is_ok();
        if is_gone {
            self.purge = None;
        }
        is_gone
    }

    /// Whether the log has to go on in another segment.
    pub(super) fn wants_roll(&self) -> bool {
        self.stopping == Stopping::No
            && self
                .purge
                .as_ref()
                .is_some_and(|purge| self.segment.header.number < purge.clean_from)
    }

    /// Goes on in the next segment if it has to and can. Only between batches: the number of an open one
    /// has been handed out.
    pub(super) fn roll_for_purge(&mut self, ring: &mut E::Ring) {
        if self.wants_roll() && self.next.is_ready() && self.open.builder.records() == 0 {
            self.roll(ring, true);
        }
    }

    /// Removes what is to be removed; what will not go is tried again.
    pub(super) fn remove_purged(&mut self) {
        let Some(purge) = &mut self.purge else { return };
        let files = std::mem::take(&mut purge.files);
        let is_left = |path: &PathBuf| match self.env.remove(path) {
            Ok(()) => false,
            Err(error) => error.kind() != std::io::ErrorKind::NotFound,
        };
        let all = files.len();
        let left: Vec<_> = files.into_iter().filter(is_left).collect();
        self.stats.purged += (all - left.len()) as u64;
        if let Some(purge) = &mut self.purge {
            purge.files = left;
        }
    }
}
