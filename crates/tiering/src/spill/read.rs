//! Runs read as one.

use std::ops::RangeInclusive;
use std::sync::Arc;

use thermae_env::Env;

use super::SpillError;
use super::run::{Cursor, Run};

/// Records of several runs in order, lent one by one.
pub struct SortedReader<E: Env> {
    readers: Vec<RunReader<E>>,
    /// Readers that stand at a record, as a heap: the least record first.
    heap: Vec<usize>,
    most: u64,
}

struct RunReader<E: Env> {
    run: Arc<Run<E>>,
    cursor: Cursor,
    /// Of the record that it stands at.
    lead: u64,
}

impl<E: Env> RunReader<E> {
    /// Goes to the next record; `false` at the end, or past the lead `most`.
    fn advance(&mut self, most: u64) -> Result<bool, SpillError> {
        let Some(lead) = self.run.advance(&mut self.cursor)? else { return Ok(false) };
        self.lead = lead;
        Ok(lead <= most)
    }

    fn record(&self) -> &[u8] {
        self.run.present(&self.cursor)
    }
}

impl<E: Env> SortedReader<E> {
    pub(super) fn new(
        runs: &[Arc<Run<E>>],
        leads: RangeInclusive<u64>,
    ) -> Result<Self, SpillError> {
        let (least, most) = leads.into_inner();
        let mut readers = Vec::with_capacity(runs.len());
        let mut heap = Vec::with_capacity(runs.len());
        for run in runs {
            let cursor = run.begin(least);
            let mut reader = RunReader { run: Arc::clone(run), cursor, lead: 0 };
            let mut stands = reader.advance(most)?;
            while stands && reader.lead < least {
                stands = reader.advance(most)?;
            }
            if stands {
                heap.push(readers.len());
            }
            readers.push(reader);
        }
        let mut sorted = Self { readers, heap, most };
        for at in (0..sorted.heap.len() / 2).rev() {
            sorted.sink(at);
        }
        Ok(sorted)
    }

    /// The record that it stands at; `None` at the end.
    pub fn peek(&self) -> Option<&[u8]> {
        self.heap.first().map(|least| self.readers[*least].record())
    }

    /// Goes to the next record.
    ///
    /// # Errors
    /// A run cannot be read; the reader is of no use then.
    pub fn advance(&mut self) -> Result<(), SpillError> {
        let Some(&least) = self.heap.first() else { return Ok(()) };
        if !self.readers[least].advance(self.most)? {
            self.heap.swap_remove(0);
        }
        self.sink(0);
        Ok(())
    }

    /// Lets an entry of the heap sink until no record below it is less.
    fn sink(&mut self, mut at: usize) {
        loop {
            let mut least = at;
            for child in [2 * at + 1, 2 * at + 2] {
                if child < self.heap.len() && self.is_less(child, least) {
                    least = child;
                }
            }
            if least == at {
                return;
            }
            self.heap.swap(at, least);
            at = least;
        }
    }

    fn is_less(&self, a: usize, b: usize) -> bool {
        let (a, b) = (&self.readers[self.heap[a]], &self.readers[self.heap[b]]);
        a.lead.cmp(&b.lead).then_with(|| a.record().cmp(b.record())).is_lt()
    }
}
