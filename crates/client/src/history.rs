//! Training reads: a spine goes out, the same rows come back with features as of each row's time.
//!
//! Both are Arrow IPC streams, and this crate does not look into them: [`History`] is a [`Write`] to make one
//! with any Arrow library, [`HistoryAnswer`] a [`Read`] to take one apart.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Instant;

use thermae_formats::wire::{
    HistoryJoin, HistoryPut, HistoryRequest, HistoryTally, Kind, WireError, encode_history_step,
};

use crate::error::Error;
use crate::history_piece::HistoryPiece;
use crate::lane::Lane;
use crate::pending::{PendingHistory, Ticket};

/// Bytes of the spine that are sent together; less where the server takes smaller frames. A shard takes them in while
/// others wait for it.
const PIECE_BYTES: usize = 128 << 10;

/// What a training read asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HistoryQuery {
    /// The spine's column that holds each row's time.
    pub time_column: String,
    /// What is joined, in the order of the answer's columns.
    pub views: Vec<HistoryView>,
    /// Only what had been learnt by each row's time. Default off.
    pub as_of_known: bool,
    /// Columns are called `view__feature`. Default off.
    pub full_names: bool,
    /// Helper threads at the server; 0, the default, or more than its own choice: that.
    pub threads: u32,
    /// Memory for sorting at the server, in bytes; 0, the default, or more than its own choice: that.
    pub budget_bytes: u64,
}

/// One view of a training read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HistoryView {
    /// A feature view or an on-demand view: `view`, `project/view`, either with `@version`. What an on-demand view is
    /// computed from are columns of the spine; `Client::prepare_computed` tells which, and of what types.
    pub view: String,
    /// What full names call it; empty: by its name.
    pub alias: String,
    /// Its features; none: all of them.
    pub features: Vec<String>,
    /// Join keys of a feature view that the spine calls otherwise: (join key, column).
    pub columns: Vec<(String, String)>,
}

/// A training read whose spine is being sent, over a connection of its own; dropping it ends it. What is
/// written to it is the spine, an Arrow IPC stream with its end mark.
pub struct History {
    lane: Arc<Lane>,
    piece: Vec<u8>,
    piece_bytes: usize,
}

impl History {
    /// Begins one.
    pub(crate) fn begin(lane: Lane, query: &HistoryQuery) -> Result<Self, Error> {
        let lane = Arc::new(lane);
        let deadline = deadline(&lane);
        let link = lane.link(deadline)?;
        let max = link.server.limits.max_frame_bytes;
        let id = lane.submit(&link, deadline, |out, id| Ok(encode(query, out, id, max)?))?;
        PendingHistory { ticket: Ticket::new(&lane, id, deadline) }.wait()?;
        let room = (max as usize).saturating_sub(HistoryPut::BESIDE_BYTES);
        Ok(Self { lane, piece: Vec::new(), piece_bytes: room.clamp(1, PIECE_BYTES) })
    }

    /// Sends bytes of the spine, behind what was written, without waiting; `last`: the spine is whole. Wait for the
    /// answer before anything else is sent.
    ///
    /// # Errors
    /// More bytes than the server takes in one frame, a lost connection.
    pub fn send_put(&self, bytes: &[u8], last: bool) -> Result<PendingHistory, Error> {
        let put = HistoryPut { last, bytes };
        send(&self.lane, |out, id, max| put.encode(out, id, max))
    }

    /// The spine is whole: the join begins.
    ///
    /// # Errors
    /// The server's refusal, a lost connection.
    pub fn join(mut self) -> Result<HistoryAnswer, Error> {
        let piece = std::mem::take(&mut self.piece);
        self.send_put(&piece, true)?.wait()?;
        Ok(self.into_answer())
    }

    /// The same after a [`Self::send_put`] that was the last.
    pub fn into_answer(self) -> HistoryAnswer {
        HistoryAnswer { lane: self.lane, piece: None, at: 0, is_over: false, tallies: Vec::new() }
    }
}

impl Write for History {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(self.piece_bytes - self.piece.len());
        self.piece.extend_from_slice(&bytes[..taken]);
        if self.piece.len() >= self.piece_bytes {
            let sent = self.send_put(&self.piece, false).and_then(PendingHistory::wait);
            self.piece.clear();
            sent.map_err(io::Error::other)?;
        }
        Ok(taken)
    }

    /// Does nothing: pieces are sent when they are full.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The answer of a training read; dropping it ends the read. What is read from it is an Arrow IPC stream; an
/// error of the client comes as the inner one of an [`io::Error`].
pub struct HistoryAnswer {
    lane: Arc<Lane>,
    piece: Option<HistoryPiece>,
    at: usize,
    is_over: bool,
    tallies: Vec<HistoryTally>,
}

impl HistoryAnswer {
    /// What the rows found, by feature view, as soon as bytes have come: then all is joined. Those that were asked for
    /// come first, in their order; then those that on-demand views are computed from.
    pub fn tallies(&self) -> &[HistoryTally] {
        &self.tallies
    }

    /// Asks for the next piece without waiting.
    ///
    /// # Errors
    /// A lost connection: the read is over then.
    pub fn send_next(&self) -> Result<PendingHistory, Error> {
        send(&self.lane, |out, id, _| {
            encode_history_step(out, Kind::HistoryNext, id);
            Ok(())
        })
    }

    /// The next piece; it comes within a second, without bytes while there are none yet.
    ///
    /// # Errors
    /// Why the read failed, a lost connection.
    pub fn next_piece(&mut self) -> Result<HistoryPiece, Error> {
        let piece = self.send_next()?.wait()?;
        self.is_over = piece.is_over();
        if !piece.tallies().is_empty() {
            self.tallies = piece.tallies().to_vec();
        }
        Ok(piece)
    }

    /// Waits for bytes that have not been read yet, and tells how far the read is meanwhile. `false` at the end.
    ///
    /// # Errors
    /// As [`Self::next_piece`].
    pub fn wait(&mut self, mut progress: impl FnMut(&HistoryPiece)) -> Result<bool, Error> {
        while self.piece.as_ref().is_none_or(|piece| self.at >= piece.bytes().len()) {
            if self.is_over {
                return Ok(false);
            }
            let piece = self.next_piece()?;
            progress(&piece);
            (self.piece, self.at) = (Some(piece), 0);
        }
        Ok(true)
    }
}

impl Read for HistoryAnswer {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.wait(|_| {}).map_err(io::Error::other)?;
        let Some(piece) = &self.piece else { return Ok(0) };
        let rest = piece.bytes().get(self.at..).unwrap_or_default();
        let taken = rest.len().min(into.len());
        into[..taken].copy_from_slice(&rest[..taken]);
        self.at += taken;
        Ok(taken)
    }
}

fn deadline(lane: &Lane) -> Instant {
    Instant::now() + lane.config().request_timeout
}

fn send(
    lane: &Arc<Lane>,
    encode: impl FnOnce(&mut Vec<u8>, u64, u32) -> Result<(), WireError>,
) -> Result<PendingHistory, Error> {
    let deadline = deadline(lane);
    let link = lane.link(deadline)?;
    let max = link.server.limits.max_frame_bytes;
    let id = lane.submit(&link, deadline, |out, id| Ok(encode(out, id, max)?))?;
    Ok(PendingHistory { ticket: Ticket::new(lane, id, deadline) })
}

fn encode(query: &HistoryQuery, out: &mut Vec<u8>, id: u64, max: u32) -> Result<(), WireError> {
    let request = HistoryRequest {
        as_of_known: query.as_of_known,
        full_names: query.full_names,
        threads: query.threads,
        budget_bytes: query.budget_bytes,
        time_column: &query.time_column,
        joins: query.views.iter().map(join).collect(),
    };
    request.encode(out, id, max)
}

fn join(view: &HistoryView) -> HistoryJoin<'_> {
    HistoryJoin {
        view: &view.view,
        alias: &view.alias,
        features: view.features.iter().map(String::as_str).collect(),
        columns: view.columns.iter().map(|(key, at)| (key.as_str(), at.as_str())).collect(),
    }
}
