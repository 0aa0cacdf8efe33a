//! One version of a row, as the warm tier keeps it in memory and in tables. Bytes:
//! `docs/formats/warm.md`.

use thiserror::Error;

use crate::bytes_at::{u16_at, u32_at, u64_at};
use crate::hot_layout::{FLAG_DENSE, FLAG_HAS_EXPIRE, FLAG_TOMBSTONE};
use crate::{NO_TIME, SchemaId};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Bytes before the optional times.
pub const VERSION_FIXED_BYTES: usize = 24;
/// Flag beside those of the row: a created time is there.
pub(crate) const HAS_CREATED: u8 = 0x80;
/// Row flag, in tables alone: a stub. The value lies in the archive, and here, in its place, what ordering,
/// counts and digests need of it.
pub const FLAG_STUB: u8 = 8;
/// Bytes of a stub's value: the digest of the whole row, and the length of its value.
pub const STUB_BYTES: usize = 12;

/// A row as it was at one time. Times are microseconds UTC; `NO_TIME` is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version<'a> {
    /// Schema that the value is laid out by.
    pub schema_id: SchemaId,
    /// Row flags; [`FLAG_HAS_EXPIRE`] exactly if there is an expiry.
    pub flags: u8,
    /// Position in the partition's log, below 2^48.
    pub sequence: u64,
    /// When the fact was true.
    pub event_time: i64,
    /// When it was learnt, or `NO_TIME`.
    pub created_time: i64,
    /// When the row ends by itself, or `NO_TIME`.
    pub expire_at: i64,
    /// Encoded entity key.
    pub key: &'a [u8],
    /// Encoded values; empty for a tombstone.
    pub value: &'a [u8],
}

/// Why bytes are no version.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum VersionError {
    /// The bytes end inside it.
    #[error("a row needs {needed} bytes, {found} are left")]
    Short {
        /// Bytes needed.
        needed: usize,
        /// Bytes left.
        found: usize,
    },
    /// A field holds what no writer writes.
    #[error("a row's {0} is impossible")]
    Field(&'static str),
}

impl<'a> Version<'a> {
    /// What decides which of two versions of a row is newer.
    pub const fn order(&self) -> (i64, i64, u64) {
        (self.event_time, self.created_time, self.sequence)
    }

    /// The row was deleted.
    pub const fn is_tombstone(&self) -> bool {
        self.flags & FLAG_TOMBSTONE != 0
    }

    /// The value has no null bitmap.
    pub const fn is_dense(&self) -> bool {
        self.flags & FLAG_DENSE != 0
    }

    /// The value lies in the archive.
    pub const fn is_stub(&self) -> bool {
        self.flags & FLAG_STUB != 0
    }

    /// Bytes of the row's value, here or in the archive.
    pub fn value_bytes(&self) -> usize {
        if self.is_stub() { u32_at(self.value, 8) as usize } else { self.value.len() }
    }

    /// Hash of everything that the row is; a stub has that of the row that it stands for. The hot table pads
    /// values with zero bytes, and a value's length follows from its bytes, so trailing zero bytes are left out.
    pub fn digest(&self) -> u64 {
        if self.is_stub() {
            return u64_at(self.value, 0);
        }
        let end = self.value.iter().rposition(|&byte| byte != 0).map_or(0, |at| at + 1);
        let parts = [
            u64::from(self.schema_id.0) << 8 | u64::from(self.flags),
            self.event_time as u64,
            self.created_time as u64,
            self.sequence,
            self.expire_at as u64,
            xxh3_64(self.key),
            xxh3_64(self.value.get(..end).unwrap_or_default()),
        ];
        let mut bytes = [0u8; 56];
        for (chunk, part) in bytes.chunks_exact_mut(8).zip(parts) {
            chunk.copy_from_slice(&part.to_le_bytes());
        }
        xxh3_64_with_seed(&bytes, 0)
    }

    /// The value of its stub.
    pub fn stub_value(&self) -> [u8; STUB_BYTES] {
        let mut value = [0; STUB_BYTES];
        value[..8].copy_from_slice(&self.digest().to_le_bytes());
        value[8..].copy_from_slice(&(self.value_bytes() as u32).to_le_bytes());
        value
    }

    /// Its stub, which has `value` of [`Self::stub_value`] in the place of its own.
    pub const fn stub<'b>(&self, value: &'b [u8; STUB_BYTES]) -> Version<'b>
    where
        'a: 'b,
    {
        Version { flags: self.flags | FLAG_STUB, value, ..*self }
    }

    /// Bytes that [`Self::encode`] appends.
    pub const fn encoded_bytes(&self) -> usize {
        let times = (self.created_time != NO_TIME) as usize + (self.expire_at != NO_TIME) as usize;
        VERSION_FIXED_BYTES + 8 * times + self.key.len() + self.value.len()
    }

    /// Appends the version's bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let created = if self.created_time == NO_TIME { 0 } else { HAS_CREATED };
        let expire = if self.expire_at == NO_TIME { 0 } else { FLAG_HAS_EXPIRE };
        out.reserve(self.encoded_bytes());
        out.push(self.flags & !(FLAG_HAS_EXPIRE | HAS_CREATED) | created | expire);
        out.push(0);
        out.extend_from_slice(&self.schema_id.0.to_le_bytes());
        out.extend_from_slice(&(self.key.len() as u16).to_le_bytes());
        out.extend_from_slice(&self.sequence.to_le_bytes()[..6]);
        out.extend_from_slice(&(self.value.len() as u32).to_le_bytes());
        out.extend_from_slice(&self.event_time.to_le_bytes());
        for time in [self.created_time, self.expire_at].into_iter().filter(|time| *time != NO_TIME)
        {
            out.extend_from_slice(&time.to_le_bytes());
        }
        out.extend_from_slice(self.key);
        out.extend_from_slice(self.value);
    }

    /// Reads the version at the front of `bytes`; returns it and what follows.
    ///
    /// # Errors
    /// The bytes are not what [`Self::encode`] writes.
    pub fn split_first(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), VersionError> {
        let found = bytes.len();
        if found < VERSION_FIXED_BYTES {
            return Err(VersionError::Short { needed: VERSION_FIXED_BYTES, found });
        }
        let flags = bytes[0];
        if bytes[1] != 0 || flags & 0x70 != 0 {
            return Err(VersionError::Field("flags"));
        }
        let (has_created, has_expire) = (flags & HAS_CREATED != 0, flags & FLAG_HAS_EXPIRE != 0);
        let (key_bytes, value_bytes) = (u16_at(bytes, 4) as usize, u32_at(bytes, 12) as usize);
        let expire_at = VERSION_FIXED_BYTES + 8 * usize::from(has_created);
        let key_at = expire_at + 8 * usize::from(has_expire);
        let needed = key_at + key_bytes + value_bytes;
        if needed > found {
            return Err(VersionError::Short { needed, found });
        }
        let (whole, rest) = bytes.split_at(needed);
        let time = |given: bool, at: usize| if given { u64_at(whole, at) as i64 } else { NO_TIME };
        let version = Self {
            schema_id: SchemaId(u16_at(whole, 2)),
            flags: flags & !HAS_CREATED,
            sequence: u64::from(u16_at(whole, 6)) | u64::from(u32_at(whole, 8)) << 16,
            event_time: u64_at(whole, 16) as i64,
            created_time: time(has_created, VERSION_FIXED_BYTES),
            expire_at: time(has_expire, expire_at),
            key: &whole[key_at..key_at + key_bytes],
            value: &whole[key_at + key_bytes..],
        };
        if (has_created && version.created_time == NO_TIME)
            || (has_expire && version.expire_at == NO_TIME)
        {
            return Err(VersionError::Field("time"));
        }
        if version.is_stub() && (version.is_tombstone() || value_bytes != STUB_BYTES) {
            return Err(VersionError::Field("stub"));
        }
        if version.is_tombstone() && value_bytes > 0 {
            return Err(VersionError::Field("value"));
        }
        Ok((version, rest))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn samples() -> [Version<'static>; 3] {
        let plain = Version {
            schema_id: SchemaId(3),
            flags: 2,
            sequence: (1 << 48) - 1,
            event_time: -5,
            created_time: NO_TIME,
            expire_at: NO_TIME,
            key: b"key",
            value: b"value",
        };
        let timed = Version { created_time: 7, expire_at: 9, flags: FLAG_HAS_EXPIRE, ..plain };
        [plain, timed, Version { flags: FLAG_TOMBSTONE, key: b"", value: b"", ..plain }]
    }

    #[test]
    fn versions_come_back_as_they_were_one_after_the_other() {
        let mut bytes = Vec::new();
        for version in &samples() {
            let before = bytes.len();
            version.encode(&mut bytes);
            assert_eq!(bytes.len() - before, version.encoded_bytes());
        }
        let mut rest = &bytes[..];
        for version in samples() {
            let (read, after) = Version::split_first(rest).unwrap();
            assert_eq!(read, version);
            rest = after;
        }
        assert!(rest.is_empty());
    }

    #[test]
    fn a_stub_has_the_order_digest_and_length_of_its_row_and_is_nothing_else() {
        let [plain, timed, tombstone] = samples();
        for row in [plain, timed] {
            let value = row.stub_value();
            let stub = row.stub(&value);
            assert_eq!((stub.order(), stub.digest()), (row.order(), row.digest()));
            assert_eq!((stub.value_bytes(), stub.expire_at), (row.value_bytes(), row.expire_at));
            assert_eq!(stub.stub_value(), value, "the stub of a stub");
            let mut bytes = Vec::new();
            stub.encode(&mut bytes);
            assert_eq!(Version::split_first(&bytes).unwrap(), (stub, &[][..]));
            bytes[12] += 1;
            bytes.push(0);
            assert_eq!(Version::split_first(&bytes), Err(VersionError::Field("stub")));
        }
        let mut bytes = Vec::new();
        Version { flags: FLAG_TOMBSTONE | FLAG_STUB, ..tombstone }.encode(&mut bytes);
        assert_eq!(Version::split_first(&bytes), Err(VersionError::Field("stub")));
    }

    /// Bytes that must not change within table format version 3.
    #[test]
    fn the_golden_stub_is_written_and_read() {
        // Its digest and its length by another implementation of XXH3.
        let golden =
            "0a0003000300ffffffffffff0c000000fbffffffffffffff6b657923cf36363e60cd6305000000";
        let row = samples()[0];
        let value = row.stub_value();
        let mut bytes = Vec::new();
        row.stub(&value).encode(&mut bytes);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, golden);
    }

    #[test]
    fn cut_bytes_and_impossible_fields_are_refused() {
        for version in &samples() {
            let mut bytes = Vec::new();
            version.encode(&mut bytes);
            for len in 0..bytes.len() {
                let short = Version::split_first(&bytes[..len]);
                assert!(matches!(short, Err(VersionError::Short { .. })), "{len}: {short:?}");
            }
            bytes[1] = 1;
            assert_eq!(Version::split_first(&bytes), Err(VersionError::Field("flags")));
        }
    }
}
