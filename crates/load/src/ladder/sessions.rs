//! The two lowest rungs: rows in plain memory, and the hot table by itself.

use std::sync::Arc;

use thermae_engine::catalogue::View;
use thermae_engine::reads::{Key, Lookup, RowBuf};
use thermae_engine::store::Store;

use crate::dice::Dice;
use crate::error::Error;
use crate::maker::Request;
use crate::session::{Done, End, Session};

/// Float32 of a row, and of a slot of the hot table: 80 bytes.
const FEATURES: usize = 10;
const SLOT_FLOATS: usize = 20;

/// Rows as plain memory, in slots as large as the hot table's: copying them is what there is to pay at least.
pub struct MemorySession {
    slots: Vec<[f32; SLOT_FLOATS]>,
    out: Vec<f32>,
    done: Vec<Done>,
}

impl MemorySession {
    /// So many rows.
    pub fn new(rows: u64) -> Self {
        let mut dice = Dice::new(1);
        let slots = (0..rows).map(|_| [(dice.next_u64() >> 40) as f32; SLOT_FLOATS]).collect();
        Self { slots, out: Vec::new(), done: Vec::new() }
    }
}

impl Session for MemorySession {
    fn room(&self) -> usize {
        usize::from(self.done.is_empty())
    }

    fn send(&mut self, request: &Request, token: u64) -> Result<(), Error> {
        self.out.clear();
        for row in request.parts.iter().flat_map(|(_, rows)| rows) {
            let slot = &self.slots[(*row % self.slots.len() as u64) as usize];
            self.out.extend_from_slice(&slot[..FEATURES]);
        }
        std::hint::black_box(&self.out);
        let rows = request.rows() as u32;
        self.done.push(Done { token, end: End::Answered { rows, found: rows } });
        Ok(())
    }

    fn poll(&mut self, done: &mut Vec<Done>) -> Result<(), Error> {
        done.append(&mut self.done);
        Ok(())
    }
}

/// The hot table alone: hash, look up, verify, copy.
pub struct HotSession {
    store: Arc<Store>,
    view: Arc<View>,
    row: RowBuf,
    out: Vec<u8>,
    done: Vec<Done>,
}

impl HotSession {
    /// Of a view of a store.
    pub fn new(store: &Arc<Store>, view: Arc<View>) -> Self {
        let (row, out, done) = (RowBuf::default(), Vec::new(), Vec::new());
        Self { store: Arc::clone(store), view, row, out, done }
    }
}

impl Session for HotSession {
    fn room(&self) -> usize {
        usize::from(self.done.is_empty())
    }

    fn send(&mut self, request: &Request, token: u64) -> Result<(), Error> {
        let reads = self.store.handle().reads();
        let rows = request.parts.first().map_or(&[][..], |(_, rows)| rows);
        let bytes: Vec<[u8; 8]> = rows.iter().map(|row| row.to_le_bytes()).collect();
        let key = |bytes: &'_ [u8; 8]| (reads.hash(bytes), *bytes);
        let hashed: Vec<(u64, [u8; 8])> = bytes.iter().map(key).collect();
        let keys: Vec<Key<'_>> = hashed
            .iter()
            .map(|(entity_hash, bytes)| Key { entity_hash: *entity_hash, bytes })
            .collect();
        self.out.clear();
        let (out, mut found) = (&mut self.out, 0);
        reads.multi_get(&self.view, &keys, &mut self.row, |_, row| {
            if let Lookup::Found(row) = row {
                out.extend_from_slice(row.value());
                found += 1;
            }
        });
        std::hint::black_box(&self.out);
        let rows = rows.len() as u32;
        self.done.push(Done { token, end: End::Answered { rows, found } });
        Ok(())
    }

    fn poll(&mut self, done: &mut Vec<Done>) -> Result<(), Error> {
        done.append(&mut self.done);
        Ok(())
    }
}
