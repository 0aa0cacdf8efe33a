//! Rows that describe themselves, a seeded generator, and short names for the calls.

use thermae_formats::NO_TIME;
use thermae_formats::ViewId;
use thermae_formats::hash::{entity_hash, row_hash};
use thermae_hot::{Full, HotConfig, HotWriter, NewRow, Probe, RowView};

pub const SEED: u64 = 0x5EED;
pub const VIEW: [u16; 2] = [3, 4];

pub fn config(bytes: u64) -> HotConfig {
    HotConfig { bytes, hash_seed: SEED, store_id: 7, epoch: 1, shard: 0, shards: 1, domain: 0 }
}

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

pub fn key(number: u64) -> [u8; 8] {
    number.to_le_bytes()
}

pub fn hash(number: u64) -> u64 {
    row_hash(entity_hash(&key(number), SEED), ViewId(1))
}

/// A value that says whose it is and which write it came from, `words` words long.
pub fn value(number: u64, sequence: u64, words: usize) -> Vec<u8> {
    (0..words as u64)
        .flat_map(|word| (number ^ sequence << 32 ^ word << 56).to_le_bytes())
        .collect()
}

pub fn put(writer: &mut HotWriter, number: u64, sequence: u64, words: usize) -> Result<bool, Full> {
    put_hashed(writer, hash(number), number, sequence, words)
}

pub fn put_hashed(
    writer: &mut HotWriter,
    row_hash: u64,
    number: u64,
    sequence: u64,
    words: usize,
) -> Result<bool, Full> {
    let (key, value) = (key(number), value(number, sequence, words));
    let row = new_row(&key, &value, sequence);
    let reservation = writer.reserve(row.body_bytes())?;
    Ok(writer.upsert(reservation, row_hash, &VIEW, &row).expect("reserved").replaced)
}

/// Checks that a row belongs to `number` and is whole; returns its sequence and words of value.
pub fn check(row: &RowView<'_>, number: u64) -> (u64, usize) {
    let sequence = row.sequence();
    assert_eq!(row.key(), key(number), "a foreign row");
    assert_eq!(row.schema_id(), VIEW[(sequence % 2) as usize]);
    assert_eq!(row.event_time(), sequence as i64);
    assert_eq!(row.created_time(), NO_TIME);
    assert_eq!(row.expire_at() != NO_TIME, sequence.is_multiple_of(3));
    let words = row.value().len() / 8;
    assert!(row.value() == value(number, sequence, words), "a torn row of {number}");
    (sequence, words)
}

pub fn probes<'a>(
    keys: &'a [[u8; 8]],
    table: impl Fn(u64) -> u32,
) -> impl ExactSizeIterator<Item = Probe<'a>> {
    keys.iter().map(move |key| {
        let number = u64::from_le_bytes(*key);
        Probe { table: table(number), row_hash: hash(number), key, schema_ids: &VIEW }
    })
}

/// The row hash of a row that the table holds.
pub fn hash_of_row(row: &RowView<'_>) -> Option<u64> {
    let key = row.body().first_chunk::<8>()?;
    VIEW.contains(&row.schema_id()).then(|| hash(u64::from_le_bytes(*key)))
}

/// [`put`], evicting if need be.
pub fn put_evicting(
    writer: &mut HotWriter,
    number: u64,
    sequence: u64,
    words: usize,
) -> Result<bool, Full> {
    let (key, value) = (key(number), value(number, sequence, words));
    let row = new_row(&key, &value, sequence);
    let bytes = row.body_bytes();
    let reservation = writer.reserve_evicting(hash(number), &VIEW, &key, bytes, hash_of_row)?;
    Ok(writer.upsert(reservation, hash(number), &VIEW, &row).expect("reserved").replaced)
}

/// The row that [`check`] expects.
pub fn new_row<'a>(key: &'a [u8], value: &'a [u8], sequence: u64) -> NewRow<'a> {
    NewRow {
        schema_id: VIEW[(sequence % 2) as usize],
        flags: 0,
        sequence,
        event_time: sequence as i64,
        created_time: NO_TIME,
        expire_at: if sequence.is_multiple_of(3) { sequence as i64 } else { NO_TIME },
        key,
        value,
    }
}
