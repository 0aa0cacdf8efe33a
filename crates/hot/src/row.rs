//! A row as it is given to the table, and as it comes out of it.

use thermae_formats::NO_TIME;
use thermae_formats::hot_layout::{
    BODY_BYTES_MAX, FLAG_DENSE, FLAG_HAS_EXPIRE, FLAG_TOMBSTONE, ROW_HEADER_WORDS, WORD_BYTES,
    body_bytes, bytes_of, flags_of, row_checksum, row_words, schema_id_of, sequence_of, word0,
    word3,
};

/// A row to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewRow<'a> {
    /// Schema under which the value was encoded.
    pub schema_id: u16,
    /// `FLAG_TOMBSTONE`, `FLAG_DENSE`; `FLAG_HAS_EXPIRE` is set from `expire_at`.
    pub flags: u8,
    /// Sequence number in its partition, 48 bits.
    pub sequence: u64,
    /// Microseconds UTC.
    pub event_time: i64,
    /// Microseconds UTC; `NO_TIME` if unknown.
    pub created_time: i64,
    /// Microseconds UTC after which the row is not served; `NO_TIME` for never.
    pub expire_at: i64,
    /// The encoded entity key.
    pub key: &'a [u8],
    /// The encoded value.
    pub value: &'a [u8],
}

impl NewRow<'_> {
    /// Bytes of the body that the row makes: what has to be reserved for it.
    pub fn body_bytes(&self) -> usize {
        body_bytes(self.key.len(), self.value.len(), self.expire_at != NO_TIME)
    }

    /// Lays the row out for `position` in `words`, which it replaces. A body that is too large leaves
    /// `words` empty.
    pub(crate) fn encode(&self, position: u64, hash_seed: u64, words: &mut Vec<u64>) {
        words.clear();
        let length = row_words(self.body_bytes());
        if self.body_bytes() > BODY_BYTES_MAX {
            return;
        }
        let expires = self.expire_at != NO_TIME;
        let flags = self.flags & !FLAG_HAS_EXPIRE | if expires { FLAG_HAS_EXPIRE } else { 0 };
        words.resize(ROW_HEADER_WORDS, 0);
        words[0] = word0(self.sequence, flags, 0);
        words[1] = self.event_time as u64;
        words[2] = self.created_time as u64;
        words[3] = word3(0, self.schema_id, (length - ROW_HEADER_WORDS) as u16);
        if expires {
            words.push(self.expire_at as u64);
        }
        append_bytes(words, self.key, self.value);
        let checksum = row_checksum(words, position, hash_seed);
        words[3] = word3(checksum, self.schema_id, (length - ROW_HEADER_WORDS) as u16);
    }
}

/// Appends `key ++ value` to whole words, padded with zeros.
fn append_bytes(words: &mut Vec<u64>, key: &[u8], value: &[u8]) {
    let mut partial = [0u8; WORD_BYTES];
    let mut filled = 0;
    for bytes in [key, value] {
        let (head, rest) = bytes.split_at(((WORD_BYTES - filled) % WORD_BYTES).min(bytes.len()));
        partial[filled..filled + head.len()].copy_from_slice(head);
        filled += head.len();
        if filled == WORD_BYTES {
            words.push(u64::from_le_bytes(partial));
            filled = 0;
        }
        let (whole, tail) = rest.as_chunks::<WORD_BYTES>();
        words.extend(whole.iter().map(|word| u64::from_le_bytes(*word)));
        if !tail.is_empty() {
            partial[..tail.len()].copy_from_slice(tail);
            filled = tail.len();
        }
    }
    if filled > 0 {
        partial[filled..].fill(0);
        words.push(u64::from_le_bytes(partial));
    }
}

/// The buffer into which rows are copied; keep one and use it again.
#[derive(Debug, Default)]
pub struct RowBuf {
    pub(crate) words: Vec<u64>,
}

/// A row that was copied out of the table and verified. It does not change any more.
#[derive(Debug, Clone, Copy)]
pub struct RowView<'a> {
    head: &'a [u64; ROW_HEADER_WORDS],
    /// The body, behind the expiry if there is one: key and value.
    body: &'a [u8],
    key_bytes: usize,
    expire_at: i64,
}

impl<'a> RowView<'a> {
    /// `words` as a row whose key has `key_bytes` bytes; none if the body is shorter than that.
    #[inline]
    pub(crate) fn new(words: &'a [u64], key_bytes: usize) -> Option<RowView<'a>> {
        let (head, mut body) = words.split_first_chunk::<ROW_HEADER_WORDS>()?;
        let mut expire_at = NO_TIME;
        if flags_of(head[0]) & FLAG_HAS_EXPIRE != 0 {
            let (first, rest) = body.split_first()?;
            (expire_at, body) = (*first as i64, rest);
        }
        let body = bytes_of(body);
        (body.len() >= key_bytes).then_some(RowView { head, body, key_bytes, expire_at })
    }

    /// Schema under which the value was encoded.
    #[inline]
    pub fn schema_id(&self) -> u16 {
        schema_id_of(self.head[3])
    }

    /// The row's flags.
    #[inline]
    pub fn flags(&self) -> u8 {
        flags_of(self.head[0])
    }

    /// Whether the row says that the entity has no row.
    #[inline]
    pub fn is_tombstone(&self) -> bool {
        self.flags() & FLAG_TOMBSTONE != 0
    }

    /// Whether the value has no null bitmap.
    #[inline]
    pub fn is_dense(&self) -> bool {
        self.flags() & FLAG_DENSE != 0
    }

    /// Sequence number in its partition.
    #[inline]
    pub fn sequence(&self) -> u64 {
        sequence_of(self.head[0])
    }

    /// Event time, microseconds UTC.
    #[inline]
    pub fn event_time(&self) -> i64 {
        self.head[1] as i64
    }

    /// Created time, microseconds UTC; `NO_TIME` if unknown.
    #[inline]
    pub fn created_time(&self) -> i64 {
        self.head[2] as i64
    }

    /// When the row stops being served, microseconds UTC; `NO_TIME` for never.
    #[inline]
    pub fn expire_at(&self) -> i64 {
        self.expire_at
    }

    /// Encoded key and value, one behind the other, and up to 7 bytes of zeros after them. Of a row that
    /// was not looked up by its key ([`crate::HotWriter::sweep`]) this is all that is known: its key begins
    /// here, and [`RowView::key`] is empty.
    #[inline]
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// The encoded entity key.
    #[inline]
    pub fn key(&self) -> &'a [u8] {
        &self.body[..self.key_bytes]
    }

    /// The encoded value, and up to 7 bytes of zeros after it.
    #[inline]
    pub fn value(&self) -> &'a [u8] {
        &self.body[self.key_bytes..]
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn every_length_comes_back() {
        let bytes: Vec<u8> = (1..=255).collect();
        let mut words = Vec::new();
        for key_len in 0..20 {
            for value_len in 0..40 {
                for expire_at in [NO_TIME, 77] {
                    let (key, value) = (&bytes[..key_len], &bytes[100..100 + value_len]);
                    let row = NewRow {
                        schema_id: 3,
                        flags: FLAG_DENSE,
                        sequence: 4,
                        event_time: -5,
                        created_time: NO_TIME,
                        expire_at,
                        key,
                        value,
                    };
                    row.encode(64, 9, &mut words);
                    assert_eq!(words.len(), row_words(row.body_bytes()));
                    let view = RowView::new(&words, key_len).unwrap();
                    assert_eq!((view.key(), &view.value()[..value_len]), (key, value));
                    assert!(view.value().len() < value_len + 8);
                    assert!(view.value()[value_len..].iter().all(|&byte| byte == 0));
                    assert_eq!((view.schema_id(), view.sequence()), (3, 4));
                    assert_eq!((view.event_time(), view.created_time()), (-5, NO_TIME));
                    assert_eq!(view.expire_at(), expire_at);
                    assert!(view.is_dense() && !view.is_tombstone());
                }
            }
        }
    }

    #[test]
    fn a_key_longer_than_the_body_is_no_row() {
        let words = [word0(1, FLAG_HAS_EXPIRE, 0), 0, 0, word3(0, 0, 1), 5];
        assert!(RowView::new(&words, 1).is_none());
        assert!(RowView::new(&words, 0).is_some());
        assert!(RowView::new(&words[..4], 0).is_none(), "no room for its expiry");
        assert!(RowView::new(&words[..3], 0).is_none());
    }
}
