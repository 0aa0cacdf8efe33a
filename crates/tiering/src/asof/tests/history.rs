//! Histories in memory that count how they are read, and can fail.

use std::ops::RangeInclusive;

use thermae_formats::hot_layout::{FLAG_HAS_EXPIRE, FLAG_TOMBSTONE};
use thermae_formats::{NO_TIME, SchemaId, ViewId};

use super::super::*;
use crate::merge::{Entry, PartedSource, SeekSource, Source};

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

/// What a row of the spine found: the number in the value, if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Present(u64),
    OutsideMaxAge,
    NotFound,
}

/// What rows of a spine find, which are given in the order that the join wants.
pub fn find_all(
    source: &mut Rows,
    spine: &[(u64, Vec<u8>, i64)],
    terms: Terms,
) -> Result<Vec<Answer>, String> {
    let mut asked = Asked::default();
    for (entity_hash, key, time_us) in spine {
        asked.push(*entity_hash, key, *time_us);
    }
    let mut answers = vec![Answer::NotFound; spine.len()];
    let join = AsOfJoin::new(&asked, 0..spine.len(), terms, Memory::default());
    join.join(source, |at, found| {
        answers[at] = match found {
            Found::Present(version) => {
                Answer::Present(u64::from_le_bytes(version.value.try_into().unwrap()))
            }
            Found::OutsideMaxAge(_) => Answer::OutsideMaxAge,
            Found::NotFound => Answer::NotFound,
        };
        Ok::<_, String>(())
    })?;
    Ok(answers)
}

/// Rows in parts, each in table order, whatever order they are given in.
pub struct Rows {
    parts: Vec<Vec<Row>>,
    /// The present part, counted from 1, and the row that it stands at, once it was sought.
    part: usize,
    at: Option<usize>,
    pub advances: usize,
    pub seeks: usize,
    /// Moves after which one fails.
    pub fails_after: Option<usize>,
    /// Rows whose hashes and event times are known together, as those of a table's block are; 0: they are not.
    pub block: usize,
    /// Entity hashes of the parts.
    hashes: Vec<Vec<u64>>,
}

impl Rows {
    pub fn new(rows: Vec<Row>) -> Self {
        let (parts, hashes, block) = (vec![rows], Vec::new(), 0);
        let (part, at, advances, seeks, fails_after) = (0, None, 0, 0, None);
        Self { parts, part, at, advances, seeks, fails_after, block, hashes }.sorted()
    }

    /// The same rows, dealt to so many parts one after the other.
    pub fn in_parts(mut self, parts: usize) -> Self {
        let rows: Vec<Row> = self.parts.drain(..).flatten().collect();
        self.parts = vec![Vec::new(); parts];
        for (at, row) in rows.into_iter().enumerate() {
            self.parts[at % parts].push(row);
        }
        self.sorted()
    }

    fn sorted(mut self) -> Self {
        for rows in &mut self.parts {
            rows.sort_by(|a, b| {
                (a.entity_hash, &a.key)
                    .cmp(&(b.entity_hash, &b.key))
                    .then(b.version().order().cmp(&a.version().order()))
            });
        }
        let hashes = |rows: &Vec<Row>| rows.iter().map(|row| row.entity_hash).collect();
        self.hashes = self.parts.iter().map(hashes).collect();
        self
    }

    fn rows(&self) -> &[Row] {
        &self.parts[self.part - 1]
    }

    pub fn at_end(&self) -> bool {
        self.at == Some(self.rows().len())
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
        let row = self.rows().get(self.at?)?;
        Some((ViewId(3), row.entity_hash, row.version()))
    }

    fn advance(&mut self) -> Result<(), String> {
        self.may_move()?;
        self.advances += 1;
        self.at = Some((self.at.unwrap() + 1).min(self.rows().len()));
        Ok(())
    }
}

impl SeekSource for Rows {
    fn seek(&mut self, entity_hash: u64, key: &[u8]) -> Result<(), String> {
        self.may_move()?;
        self.seeks += 1;
        let before = |row: &Row| (row.entity_hash, &row.key[..]) < (entity_hash, key);
        let at = self.at.unwrap_or(0);
        self.at = Some(at + self.rows()[at..].partition_point(before));
        Ok(())
    }

    fn hashes(&self) -> &[u64] {
        let Some(at) = self.at.filter(|_| self.block > 0) else { return &[] };
        let hashes = &self.hashes[self.part - 1];
        &hashes[at..hashes.len().min((at / self.block + 1) * self.block)]
    }

    fn event_time(&self, row: usize) -> Option<i64> {
        self.rows().get(self.at? + row).map(|row| row.event_time)
    }
}

impl PartedSource for Rows {
    fn next_part(&mut self) -> Result<bool, String> {
        let has_next = self.part < self.parts.len();
        if has_next {
            (self.part, self.at) = (self.part + 1, None);
        }
        Ok(has_next)
    }

    fn event_times(&self) -> RangeInclusive<i64> {
        let times = || self.rows().iter().map(|row| row.event_time);
        times().min().unwrap_or(0)..=times().max().unwrap_or(0)
    }
}
