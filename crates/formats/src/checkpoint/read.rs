//! Reading a checkpoint: nothing is looked at before the checksum holds, and no count is believed
//! beyond the bytes that are there.

use xxhash_rust::xxh3::xxh3_64;

use super::{
    CHECKPOINT_MAGIC, CHECKPOINT_VERSION, Checkpoint, CheckpointErase, CheckpointError,
    CheckpointPartition, CheckpointSchema, CheckpointView, PLAIN_CHECKPOINT_VERSION,
};
use crate::batch::{MAX_KEY_BYTES, MAX_SEQUENCE};
use crate::bytes_at::{u16_at, u64_at};
use crate::catalogue::MAX_SCHEMAS;
use crate::manifest::MAX_PARTITIONS;
use crate::schema::MAX_VIEW_JSON_BYTES;
use crate::take::Take;
use crate::{SchemaId, ViewId};

/// Bytes before the catalogue.
const FIXED_BYTES: usize = 48;

impl Checkpoint {
    /// Verifies and reads a checkpoint: `bytes` is the whole file. Returns it and its checksum,
    /// which must be the one that the manifest names.
    ///
    /// # Errors
    /// The bytes are not what a writer writes.
    pub fn parse(bytes: &[u8]) -> Result<(Self, u64), CheckpointError> {
        let found = bytes.len();
        let short = |what| CheckpointError::Length { what, found };
        if found < FIXED_BYTES + 8 {
            return Err(short("the fixed fields"));
        }
        if bytes[..8] != CHECKPOINT_MAGIC {
            return Err(CheckpointError::Magic);
        }
        let version = u16_at(bytes, 8);
        if version > CHECKPOINT_VERSION {
            return Err(CheckpointError::NewerVersion(version));
        }
        let (body, stated) = bytes.split_at(found - 8);
        let checksum = xxh3_64(body);
        if checksum != u64_at(stated, 0) {
            return Err(CheckpointError::Checksum);
        }
        let has_erases = version == CHECKPOINT_VERSION;
        if !has_erases && version != PLAIN_CHECKPOINT_VERSION {
            return Err(CheckpointError::Field("version"));
        }
        let mut take = Take::new(body);
        let (mut checkpoint, partitions, schemas) =
            fixed(&mut take).ok_or(short("the fixed fields"))?;
        for _ in 0..schemas {
            checkpoint.catalogue.push(schema(&mut take).ok_or(short("the schemas"))??);
        }
        for _ in 0..partitions {
            let mut partition = partition(&mut take).ok_or(short("the partitions"))??;
            if has_erases {
                partition.erases =
                    erases(&mut take, partition.applied).ok_or(short("the erases"))??;
            }
            checkpoint.partitions.push(partition);
        }
        if take.left() > 0 {
            return Err(short("the fields"));
        }
        // So that a checkpoint has exactly one encoding.
        if has_erases && checkpoint.partitions.iter().all(|partition| partition.erases.is_empty()) {
            return Err(CheckpointError::Field("version"));
        }
        checkpoint.check()?;
        Ok((checkpoint, checksum))
    }

    fn check(&self) -> Result<(), CheckpointError> {
        let numbers: Vec<u16> = self.partitions.iter().map(|partition| partition.number).collect();
        if !is_ascending(&numbers) || numbers.last().is_some_and(|last| *last >= MAX_PARTITIONS) {
            return Err(CheckpointError::Field("list of partitions"));
        }
        if self.file_id == 0 {
            return Err(CheckpointError::Field("file id"));
        }
        let mut seen = std::collections::BTreeSet::new();
        match self.catalogue.iter().all(|schema| seen.insert(schema.schema_id)) {
            true => Ok(()),
            false => Err(CheckpointError::Field("list of schemas")),
        }
    }
}

fn is_ascending<T: PartialOrd>(list: &[T]) -> bool {
    list.windows(2).all(|two| two[0] < two[1])
}

/// The fixed part, and how many partitions and schemas follow.
fn fixed(take: &mut Take<'_>) -> Option<(Checkpoint, u16, u32)> {
    take.bytes(10)?;
    let (partitions, schemas) = (take.u16()?, take.u32()?);
    let checkpoint = Checkpoint {
        store_id: take.id()?,
        file_id: take.u64()?,
        generation: take.u64()?,
        catalogue: Vec::new(),
        partitions: Vec::new(),
    };
    Some((checkpoint, partitions, schemas))
}

type Checked<T> = Option<Result<T, CheckpointError>>;

/// The next schema; `None` when the bytes end inside it.
fn schema(take: &mut Take<'_>) -> Checked<CheckpointSchema> {
    let (schema_id, view_id, len) = (take.u32()?, view_id(u64::from(take.u32()?)), take.u32()?);
    let (Ok(schema_id), Some(view_id)) = (u16::try_from(schema_id), view_id) else {
        return Some(Err(CheckpointError::Field("schema or view id")));
    };
    if len as usize > MAX_VIEW_JSON_BYTES {
        return Some(Err(CheckpointError::Field("length of a definition")));
    }
    let json = take.bytes(len as usize)?.to_vec();
    Some(Ok(CheckpointSchema { schema_id: SchemaId(schema_id), view_id, json }))
}

/// A view's id: no store has more views than schemas.
fn view_id(word: u64) -> Option<ViewId> {
    u32::try_from(word).ok().filter(|id| *id as usize <= MAX_SCHEMAS).map(ViewId)
}

/// The next partition; `None` when the bytes end inside it.
fn partition(take: &mut Take<'_>) -> Checked<CheckpointPartition> {
    let wrong = |field| Some(Err(CheckpointError::Field(field)));
    let (number, flags, views, marks) = (take.u16()?, take.u16()?, take.u32()?, take.u64()?);
    let (applied, watermark, rows_digest) = (take.u64()?, take.i64()?, take.u64()?);
    let watermark = match (flags, watermark) {
        (0, 0) => None,
        (1, time) => Some(time),
        _ => return wrong("watermark"),
    };
    if applied > MAX_SEQUENCE {
        return wrong("applied sequence");
    }
    let marks = take.bytes(usize::try_from(marks).ok()?.checked_mul(16)?)?;
    let marks: Vec<(u64, u64)> =
        marks.chunks_exact(16).map(|mark| (u64_at(mark, 0), u64_at(mark, 8))).collect();
    let ids: Vec<u64> = marks.iter().map(|(id, _)| *id).collect();
    if !is_ascending(&ids) || ids.first() == Some(&0) {
        return wrong("list of producers");
    }
    let words = take.bytes((views as usize).checked_mul(24)?)?;
    let mut views = Vec::new();
    for word in words.chunks_exact(24) {
        let Some(view_id) = view_id(u64_at(word, 0)) else { return wrong("view id") };
        let (rows, bytes) = (u64_at(word, 8) as i64, u64_at(word, 16) as i64);
        views.push(CheckpointView { view_id, rows, bytes });
    }
    if !is_ascending(&views.iter().map(|view| view.view_id).collect::<Vec<_>>()) {
        return wrong("list of views");
    }
    let erases = Vec::new();
    Some(Ok(CheckpointPartition { number, applied, watermark, rows_digest, marks, views, erases }))
}

/// The pending erases of a partition; `None` when the bytes end inside them.
fn erases(take: &mut Take<'_>, applied: u64) -> Checked<Vec<CheckpointErase>> {
    let wrong = |field| Some(Err(CheckpointError::Field(field)));
    let mut erases: Vec<CheckpointErase> = Vec::new();
    for _ in 0..take.u64()? {
        let (sequence, id, len) = (take.u64()?, take.u32()?, take.u32()?);
        let before = erases.last().map_or(0, |erase| erase.sequence);
        if sequence <= before || sequence > applied {
            return wrong("sequence of an erase");
        }
        let Some(view_id) = view_id(u64::from(id)) else { return wrong("view id") };
        if len as usize > MAX_KEY_BYTES {
            return wrong("length of a key");
        }
        let key = take.bytes(len as usize)?.to_vec();
        erases.push(CheckpointErase { view_id, sequence, key });
    }
    Some(Ok(erases))
}
