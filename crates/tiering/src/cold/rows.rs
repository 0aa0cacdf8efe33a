//! A file's rows as a part of a history: opened when they are first asked for, tried again after a failure, and
//! none that came after the history's time.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::objects::Objects;
use super::{ColdError, ColdFile, ColdScan};
use crate::WarmError;
use crate::merge::{Entry, SeekSource, Source};

/// Opens the file; again after a failure.
pub type Open = Box<dyn Fn() -> Result<Arc<ColdFile>, ColdError> + Send>;

/// What the rows of one file are read from.
pub struct ColdSource {
    /// Where the file lies.
    pub objects: Arc<dyn Objects>,
    /// Opens it.
    pub open: Open,
    /// Hashes of the entities that are wanted.
    pub hashes: RangeInclusive<u64>,
    /// Whether a row of that entity hash and sequence is part of the history.
    pub shows: Box<dyn Fn(u64, u64) -> bool + Send>,
    /// Bytes that are fetched at a time at most, about.
    pub fetch_bytes: u64,
}

/// The rows of one file.
pub struct ColdRows {
    source: ColdSource,
    scan: Option<ColdScan>,
    /// There is no row any more.
    is_over: bool,
    /// Where it was sent or stood last: a failure leaves it there.
    at: At,
}

#[derive(Default)]
struct At {
    entity_hash: u64,
    key: Vec<u8>,
    /// The version that was passed last of this key, if any.
    passed: Option<(i64, i64, u64)>,
}

impl ColdRows {
    /// Before the first row.
    pub fn new(source: ColdSource) -> Self {
        let at = At { entity_hash: *source.hashes.start(), ..At::default() };
        Self { source, scan: None, is_over: false, at }
    }

    /// Goes on from where it is to a row that shows; `scan` is lost on a failure, and made anew by the next call.
    fn settle(&mut self, mut scan: ColdScan) -> Result<(), WarmError> {
        loop {
            let row = scan.peek().filter(|(_, hash, _)| self.source.hashes.contains(hash));
            let Some((_, entity_hash, version)) = row else {
                // Its memory is given back.
                self.is_over = true;
                return Ok(());
            };
            let is_passed = entity_hash == self.at.entity_hash
                && version.key == self.at.key
                && self.at.passed.is_some_and(|passed| version.order() >= passed);
            if !is_passed && (self.source.shows)(entity_hash, version.sequence) {
                break;
            }
            scan.advance()?;
        }
        self.scan = Some(scan);
        Ok(())
    }

    fn opened(&mut self) -> Result<ColdScan, WarmError> {
        if let Some(scan) = self.scan.take() {
            return Ok(scan);
        }
        let file = (self.source.open)()?;
        let scan = ColdScan::new(Arc::clone(&self.source.objects), file)?;
        let mut scan = scan.fetching(self.source.fetch_bytes);
        scan.seek(self.at.entity_hash, &self.at.key)?;
        Ok(scan)
    }
}

impl Source for ColdRows {
    type Error = WarmError;

    fn peek(&self) -> Option<Entry<'_>> {
        self.scan.as_ref()?.peek()
    }

    fn advance(&mut self) -> Result<(), WarmError> {
        if let Some((_, entity_hash, version)) = self.scan.as_ref().and_then(ColdScan::peek) {
            self.at.entity_hash = entity_hash;
            self.at.key.clear();
            self.at.key.extend_from_slice(version.key);
            self.at.passed = Some(version.order());
        }
        if self.is_over {
            return Ok(());
        }
        let scan = self.opened()?;
        self.settle(scan)
    }
}

impl SeekSource for ColdRows {
    fn seek(&mut self, entity_hash: u64, key: &[u8]) -> Result<(), WarmError> {
        if (self.at.entity_hash, &self.at.key[..]) < (entity_hash, key) {
            self.at = At { entity_hash, key: key.to_vec(), passed: None };
        }
        if self.is_over {
            return Ok(());
        }
        let mut scan = self.opened()?;
        scan.seek(entity_hash, key)?;
        self.settle(scan)
    }
}
