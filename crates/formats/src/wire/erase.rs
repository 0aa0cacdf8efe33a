//! ERASE_STATUS: how far erases are, and where backups still hold what was erased. (An ERASE is a write.)

use super::cursor::{Cursor, count32, put_short};
use super::frame::{Frame, Kind, begin_frame, finish_frame};
use super::limits::Limits;
use super::malformed::WireError;
use super::read::Token;

/// An ERASE_STATUS; its answer is JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EraseStatusRequest<'a> {
    /// The view, from a plan.
    pub view_id: u32,
    /// Tokens of the erases that are asked about, as WRITTEN told them.
    pub tokens: Vec<Token>,
    /// Encoded keys that backups are to be looked through for.
    pub keys: Vec<&'a [u8]>,
}

impl<'a> EraseStatusRequest<'a> {
    /// Appends the frame.
    ///
    /// # Errors
    /// A key that is too long, a frame beyond `max_frame_bytes`.
    pub fn encode(
        &self,
        out: &mut Vec<u8>,
        request_id: u64,
        max_frame_bytes: u32,
    ) -> Result<(), WireError> {
        let (tokens, keys) =
            (count32(self.tokens.len(), "tokens")?, count32(self.keys.len(), "keys")?);
        let start = begin_frame(out, Kind::EraseStatus, request_id);
        for word in [self.view_id, tokens, keys] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        for token in &self.tokens {
            out.extend_from_slice(&token.pack().to_le_bytes());
        }
        for key in &self.keys {
            put_short(out, key, "a key")?;
        }
        finish_frame(out, start, max_frame_bytes)
    }

    /// Decodes the frame: at most `limits.max_rows_per_write` tokens, and as many keys.
    ///
    /// # Errors
    /// Any [`WireError`] of a payload.
    pub fn decode(frame: &Frame<'a>, limits: &Limits) -> Result<Self, WireError> {
        let mut cursor = Cursor::new(frame.payload_of(Kind::EraseStatus)?);
        let view_id = cursor.u32("a view id")?;
        let (tokens, keys) = (cursor.u32("tokens")? as usize, cursor.u32("keys")? as usize);
        let max = limits.max_rows_per_write as usize;
        let tokens = (0..cursor.count(tokens, max, 8, "tokens")?)
            .map(|_| cursor.u64("a token").map(Token::unpack))
            .collect::<Result<_, _>>()?;
        let keys = (0..cursor.count(keys, max, 2, "keys")?)
            .map(|_| cursor.short_bytes("a key"))
            .collect::<Result<_, _>>()?;
        cursor.finish("an erase status")?;
        Ok(Self { view_id, tokens, keys })
    }
}
