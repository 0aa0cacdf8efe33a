//! Verifies a whole table: every block, the order of the rows, the counts, the filter.

use std::path::Path;
use std::sync::Arc;

use thermae_env::{Env, File};
use thermae_formats::hash::entity_hash;
use thermae_formats::table::{Rows, TableRef};
use thermae_formats::version::Version;

use super::blocks::{Block, Blocks};
use super::order::RowOrder;
use super::read::Table;
use super::scan::RUN_BYTES;
use super::search::Scratch;
use crate::error::WarmError;

/// Findings that are kept; a file with more is as bad.
const MOST_FINDINGS: usize = 64;

/// What is wrong with a table, by reading all of it; empty if nothing is. `progress` is told the bytes of
/// each block.
pub fn verify_table<E: Env>(
    env: &E,
    warm_dir: &Path,
    store_id: &[u8; 16],
    what: &TableRef,
    progress: &mut dyn FnMut(u64),
) -> Vec<WarmError> {
    match Table::open(env, warm_dir, store_id, what) {
        Ok(table) => {
            let mut check = TableCheck::new(Arc::new(table));
            let mut told_bytes = 0;
            while check.step() {
                progress(check.checked_bytes() - told_bytes);
                told_bytes = check.checked_bytes();
            }
            check.finish()
        }
        Err(error) => vec![error],
    }
}

/// A check under way, a block at a time, so that its pace can be held down.
pub struct TableCheck<F> {
    blocks: Blocks<F>,
    scratch: Scratch,
    findings: Vec<WarmError>,
    order: RowOrder,
    rows: u64,
    tombstones: u64,
    entities: u64,
    event_times: (i64, i64),
}

impl<F: File> TableCheck<F> {
    /// Of an open table.
    pub fn new(table: Arc<Table<F>>) -> Self {
        let order = RowOrder::new(table.about().kind);
        Self {
            blocks: Blocks::new(table, RUN_BYTES),
            scratch: Scratch::new(),
            findings: Vec::new(),
            order,
            rows: 0,
            tombstones: 0,
            entities: 0,
            event_times: (i64::MAX, i64::MIN),
        }
    }

    /// Checks the next block; false: there was none.
    pub fn step(&mut self) -> bool {
        match self.blocks.next(&mut self.scratch) {
            Ok(Some(block)) => {
                let raw = std::mem::take(&mut self.scratch.raw);
                let checked = self.check_block(&block, &raw);
                self.scratch.raw = raw;
                if let Err(what) = checked {
                    self.find(self.blocks.table.damaged(block.offset_bytes, &what));
                }
                true
            }
            Ok(None) => false,
            Err(error) => {
                self.find(error);
                true
            }
        }
    }

    /// Bytes of the blocks checked so far.
    pub fn checked_bytes(&self) -> u64 {
        self.blocks.passed_bytes()
    }

    /// Whether anything was found so far.
    pub fn has_findings(&self) -> bool {
        !self.findings.is_empty()
    }

    /// What was found. Counts are compared only where every block could be read.
    pub fn finish(mut self) -> Vec<WarmError> {
        if self.findings.is_empty() {
            let about = self.blocks.table.about();
            let counted = (self.rows, self.tombstones, self.entities, self.event_times);
            let times = (about.min_event_time, about.max_event_time);
            if counted != (about.rows, about.tombstones, self.blocks.table.entities, times) {
                let what = "the counts of the footer are not those of the rows";
                let offset_bytes = about.bytes.saturating_sub(4096);
                self.find(self.blocks.table.damaged(offset_bytes, &what));
            }
        }
        self.findings
    }

    fn find(&mut self, finding: WarmError) {
        if self.findings.len() < MOST_FINDINGS {
            self.findings.push(finding);
        }
    }

    fn check_block(&mut self, block: &Block, raw: &[u8]) -> Result<(), String> {
        let mut is_first = true;
        for row in Rows::new(raw, block.rows) {
            let version = row.map_err(|error| error.to_string())?;
            let hash = entity_hash(version.key, self.blocks.table.hash_seed());
            if is_first && self.blocks.table.index.first_hash(block.number) != Some(hash) {
                return Err("the index has another hash for the block's first row".to_owned());
            }
            is_first = false;
            if !self.blocks.table.may_hold(block.view, hash) {
                return Err("the filter denies a row of the block".to_owned());
            }
            if version.is_stub() && !self.blocks.table.may_hold_stubs() {
                return Err("a stub in a table that has none by its header".to_owned());
            }
            let ordered = self.order.check(block.view, hash, &version);
            ordered.map_err(|what| format!("a row of the block: {what}"))?;
            self.entities += u64::from(!self.order.is_same(block.view, hash));
            self.order.follow(block.view, hash, &version);
            self.count(&version);
        }
        Ok(())
    }

    fn count(&mut self, version: &Version<'_>) {
        self.rows += 1;
        self.tombstones += u64::from(version.is_tombstone());
        let (min, max) = self.event_times;
        self.event_times = (min.min(version.event_time), max.max(version.event_time));
    }
}
