//! A bounded reader over received bytes, and the matching appenders.

use super::malformed::WireError;

/// Reads little-endian items off the front of a slice and never beyond its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub fn take(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], WireError> {
        match self.rest.split_at_checked(len) {
            Some((head, rest)) => {
                self.rest = rest;
                Ok(head)
            }
            None => {
                Err(WireError::Truncated { what, needed_bytes: len, have_bytes: self.rest.len() })
            }
        }
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], WireError> {
        match self.rest.split_first_chunk::<N>() {
            Some((head, rest)) => {
                self.rest = rest;
                Ok(*head)
            }
            None => {
                Err(WireError::Truncated { what, needed_bytes: N, have_bytes: self.rest.len() })
            }
        }
    }

    pub fn bytes16(&mut self, what: &'static str) -> Result<[u8; 16], WireError> {
        self.array(what)
    }

    pub fn u8(&mut self, what: &'static str) -> Result<u8, WireError> {
        Ok(u8::from_le_bytes(self.array(what)?))
    }

    pub fn u16(&mut self, what: &'static str) -> Result<u16, WireError> {
        Ok(u16::from_le_bytes(self.array(what)?))
    }

    pub fn u32(&mut self, what: &'static str) -> Result<u32, WireError> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    pub fn u64(&mut self, what: &'static str) -> Result<u64, WireError> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    pub fn i64(&mut self, what: &'static str) -> Result<i64, WireError> {
        Ok(i64::from_le_bytes(self.array(what)?))
    }

    /// Bytes behind a u16 length.
    pub fn short_bytes(&mut self, what: &'static str) -> Result<&'a [u8], WireError> {
        let len = self.u16(what)?;
        self.take(usize::from(len), what)
    }

    /// UTF-8 behind a u16 length.
    pub fn text(&mut self, what: &'static str) -> Result<&'a str, WireError> {
        std::str::from_utf8(self.short_bytes(what)?).map_err(|_| WireError::Utf8(what))
    }

    /// Checks a count before anything is sized by it: against its limit, and against the bytes
    /// that are there when each item takes at least `each_bytes`.
    pub fn count(
        &self,
        count: usize,
        max: usize,
        each_bytes: usize,
        what: &'static str,
    ) -> Result<usize, WireError> {
        if count > max {
            return Err(WireError::Count { what, count: count as u64, max: max as u64 });
        }
        let needed_bytes = count.saturating_mul(each_bytes);
        if needed_bytes > self.rest.len() {
            return Err(WireError::Truncated { what, needed_bytes, have_bytes: self.rest.len() });
        }
        Ok(count)
    }

    pub fn zero(&self, found: impl Into<u64>, what: &'static str) -> Result<(), WireError> {
        let found = found.into();
        if found == 0 { Ok(()) } else { Err(WireError::Reserved { what, found }) }
    }

    /// Refuses bytes that are left over.
    pub fn finish(self, what: &'static str) -> Result<(), WireError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(WireError::Trailing { what, extra_bytes: self.rest.len() })
        }
    }
}

/// Appends bytes behind a u16 length.
pub(super) fn put_short(
    out: &mut Vec<u8>,
    bytes: &[u8],
    what: &'static str,
) -> Result<(), WireError> {
    let len = u16::try_from(bytes.len()).map_err(|_| WireError::Count {
        what,
        count: bytes.len() as u64,
        max: u64::from(u16::MAX),
    })?;
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

/// `flag` if it is set.
pub(super) const fn flag(is_set: bool, flag: u8) -> u8 {
    if is_set { flag } else { 0 }
}

/// A count as u16, refused when it does not fit.
pub(super) fn count16(count: usize, what: &'static str) -> Result<u16, WireError> {
    u16::try_from(count).map_err(|_| WireError::Count {
        what,
        count: count as u64,
        max: u64::from(u16::MAX),
    })
}

/// A count or length as u32, refused when it does not fit.
pub(super) fn count32(count: usize, what: &'static str) -> Result<u32, WireError> {
    u32::try_from(count).map_err(|_| WireError::Count {
        what,
        count: count as u64,
        max: u64::from(u32::MAX),
    })
}
