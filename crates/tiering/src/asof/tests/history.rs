//! Histories in memory that count how they are read, and can fail.

use thermae_formats::hot_layout::{FLAG_HAS_EXPIRE, FLAG_TOMBSTONE};
use thermae_formats::{NO_TIME, SchemaId, ViewId};

use super::super::*;
use crate::merge::{Entry, Source};

/// One version; its value says which.
#[derive(Clone, Debug)]
pub struct Row {
    pub entity_hash: u64,
    pub key: Vec<u8>,
    pub event_time: i64,
    pub created_time: i64,
    pub sequence: u64,
    pub expire_at: i64,
    pub is_tombstone: bool,
    pub value: Vec<u8>,
}

impl Row {
    pub fn new(event_time: i64, created_time: i64, value: u64) -> Self {
        Self {
            entity_hash: 7,
            key: b"k".to_vec(),
            event_time,
            created_time,
            sequence: value,
            expire_at: NO_TIME,
            is_tombstone: false,
            value: value.to_le_bytes().to_vec(),
        }
    }

    pub fn version(&self) -> Version<'_> {
        let tombstone = if self.is_tombstone { FLAG_TOMBSTONE } else { 0 };
        let expires = if self.expire_at == NO_TIME { 0 } else { FLAG_HAS_EXPIRE };
        Version {
            schema_id: SchemaId(1),
            flags: tombstone | expires,
            sequence: self.sequence,
            event_time: self.event_time,
            created_time: self.created_time,
            expire_at: self.expire_at,
            key: &self.key,
            value: &self.value,
        }
    }
}

/// Rows in table order, whatever order they are given in.
pub struct Rows {
    rows: Vec<Row>,
    at: usize,
    pub advances: usize,
    pub seeks: usize,
    /// Moves after which one fails.
    pub fails_after: Option<usize>,
}

impl Rows {
    pub fn new(mut rows: Vec<Row>) -> Self {
        rows.sort_by(|a, b| {
            (a.entity_hash, &a.key)
                .cmp(&(b.entity_hash, &b.key))
                .then(b.version().order().cmp(&a.version().order()))
        });
        Self { rows, at: 0, advances: 0, seeks: 0, fails_after: None }
    }

    pub fn at_end(&self) -> bool {
        self.at == self.rows.len()
    }

    fn may_move(&self) -> Result<(), String> {
        let moves = self.advances + self.seeks;
        if self.fails_after.is_some_and(|most| moves >= most) {
            return Err(format!("the disk is gone after {moves} moves"));
        }
        Ok(())
    }
}

impl Source for Rows {
    type Error = String;

    fn peek(&self) -> Option<Entry<'_>> {
        self.rows.get(self.at).map(|row| (ViewId(3), row.entity_hash, row.version()))
    }

    fn advance(&mut self) -> Result<(), String> {
        self.may_move()?;
        self.advances += 1;
        self.at = (self.at + 1).min(self.rows.len());
        Ok(())
    }
}

impl SeekSource for Rows {
    fn seek(&mut self, entity_hash: u64, key: &[u8]) -> Result<(), String> {
        self.may_move()?;
        self.seeks += 1;
        let before = |row: &Row| (row.entity_hash, &row.key[..]) < (entity_hash, key);
        self.at += self.rows[self.at..].partition_point(before);
        Ok(())
    }
}
