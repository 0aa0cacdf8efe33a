//! HISTORY and its steps: checked here, done by helper threads, answered when they say so. A connection has
//! one training read at a time, and a step of it at a time.

use std::sync::mpsc::{Sender, channel};

use thermae_engine::Cx;
use thermae_env::Env;
use thermae_features::model::{Name, Pick};
use thermae_features::store::{Ask, HistoricalOptions};
use thermae_formats::wire::{
    ErrorCode, Frame, HistoryJoin, HistoryPut, HistoryReply, HistoryRequest, Kind,
    decode_history_step,
};

use super::connection::Connection;
use super::core::Core;
use super::counters::Cut;
use super::failure::Failure;
use super::helper;
use super::history_reads::{AnswerTo, Begin, PIECE_MAX_BYTES, Step, gone};
use super::waiting::{Pending, What};

/// When to ask again while a step waits or memory is spent, milliseconds.
const RETRY_MS: u32 = 100;

/// A connection's training read.
#[derive(Debug, Default)]
pub struct HistoryState {
    /// Where its steps go; dropped with the connection, which ends the read.
    steps: Option<Sender<Step>>,
    /// A step is not answered yet.
    is_waiting: bool,
}

impl HistoryState {
    /// The step was answered; a failure was the last answer of the read.
    pub fn answered(&mut self, has_failed: bool) {
        self.is_waiting = false;
        if has_failed {
            self.steps = None;
        }
    }
}

/// Takes a step.
///
/// # Errors
/// What the ERROR is to say.
pub fn step<E: Env>(
    core: &mut Core<E>,
    conn: &mut Connection,
    state: &mut HistoryState,
    kind: Kind,
    frame: &Frame<'_>,
    cx: &Cx<'_, E>,
) -> Result<(), Failure> {
    if state.is_waiting {
        let text = "a step of this connection's training read is not answered yet";
        return Err(Failure::passing(ErrorCode::TooManyInFlight, RETRY_MS, text));
    }
    if core.budget.is_spent() {
        core.counters.cut(Cut::BufferMemory);
        let text = "the server's buffer memory is spent: repeat this later";
        return Err(Failure::passing(ErrorCode::Overloaded, RETRY_MS, text));
    }
    let max_frame_bytes = conn.peer_frame_bytes.min(core.limits.frame_bytes);
    let (held_bytes, sent) = match kind {
        Kind::History => {
            let request = HistoryRequest::decode(frame)?;
            if (max_frame_bytes as usize) < PIECE_MAX_BYTES + HistoryReply::BESIDE_BYTES {
                let text = "a training read needs frames of 128 KiB and a little more";
                return Err(Failure::new(ErrorCode::TooLarge, text));
            }
            (0, Sent::Begin(request))
        }
        Kind::HistoryPut => {
            let put = HistoryPut::decode(frame)?;
            (put.bytes.len(), Sent::Put(put))
        }
        kind => {
            decode_history_step(frame, kind)?;
            (PIECE_MAX_BYTES, if kind == Kind::HistoryNext { Sent::Next } else { Sent::End })
        }
    };
    let what = What::History;
    let (conn_id, request_id, received_ns) = (conn.id, frame.request_id, cx.now_ns);
    let pending = Pending { conn: conn_id, request_id, received_ns, held_bytes, what };
    let ticket = core.tickets.insert(pending);
    let destination = core.arrivals.destination(ticket);
    let answer = AnswerTo::new(request_id, max_frame_bytes, destination);
    match hand_over(core, state, sent, answer) {
        Ok(()) => {
            core.charge(held_bytes);
            conn.in_flight += 1;
            state.is_waiting = true;
            Ok(())
        }
        Err(failure) => {
            core.tickets.take(ticket);
            Err(failure)
        }
    }
}

/// A step as it came.
enum Sent<'f> {
    Begin(HistoryRequest<'f>),
    Put(HistoryPut<'f>),
    Next,
    End,
}

fn hand_over<E: Env>(
    core: &Core<E>,
    state: &mut HistoryState,
    sent: Sent<'_>,
    answer: AnswerTo,
) -> Result<(), Failure> {
    let step = match sent {
        Sent::Begin(request) => {
            let (steps, receiver) = channel();
            // A read that this connection has is ended by that.
            state.steps = Some(steps);
            return begin(core, &request, receiver, answer);
        }
        Sent::Put(put) => Step::Put { bytes: put.bytes.to_vec(), last: put.last, answer },
        Sent::Next => Step::Next(answer),
        Sent::End => Step::End(answer),
    };
    let sent = match &state.steps {
        Some(steps) => steps.send(step).map_err(|unsent| unsent.0),
        None => Err(step),
    };
    sent.map_err(|step| {
        let (Step::Put { answer, .. } | Step::Next(answer) | Step::End(answer)) = step;
        // It is answered here.
        answer.forget();
        gone()
    })
}

fn begin<E: Env>(
    core: &Core<E>,
    request: &HistoryRequest<'_>,
    steps: std::sync::mpsc::Receiver<Step>,
    answer: AnswerTo,
) -> Result<(), Failure> {
    let ask = match ask_of(request) {
        Ok(ask) => ask,
        Err(failure) => {
            // It is answered here.
            answer.forget();
            return Err(failure);
        }
    };
    let options = HistoricalOptions {
        time_column: request.time_column.to_owned(),
        as_of_known: request.as_of_known,
        threads: request.threads as usize,
        budget_bytes: usize::try_from(request.budget_bytes).unwrap_or(usize::MAX),
    };
    let begin = Begin { ask, options, steps, answer };
    let busy = "too many training reads begin: repeat this later";
    helper::hand_over(core.shared.histories.get(), begin, busy, |unasked| unasked.answer.forget())
}

/// What is joined, as everybody asks for features by name.
fn ask_of(request: &HistoryRequest<'_>) -> Result<Ask, Failure> {
    let pick = |join: &HistoryJoin<'_>| {
        let view: Name =
            join.view.parse().map_err(|what: String| Failure::new(ErrorCode::Malformed, what))?;
        Ok(Pick {
            features: join.features.iter().map(|&name| name.to_owned()).collect(),
            alias: (!join.alias.is_empty()).then(|| join.alias.to_owned()),
            join_keys: join
                .columns
                .iter()
                .map(|&(key, at)| (key.to_owned(), at.to_owned()))
                .collect(),
            ..Pick::all(view)
        })
    };
    let ask = Ask::picks(request.joins.iter().map(pick).collect::<Result<_, Failure>>()?);
    Ok(if request.full_names { ask.with_full_names() } else { ask })
}
