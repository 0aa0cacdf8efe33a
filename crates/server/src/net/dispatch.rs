//! One frame to whoever answers its kind.

use thermae_engine::Cx;
use thermae_env::Env;
use thermae_formats::wire::{ErrorCode, Frame, Kind};

use super::connection::{Connection, Phase};
use super::core::Core;
use super::counters::Cut;
use super::failure::Failure;
use super::histogram::add;
use super::history::HistoryState;
use super::plans::Plans;
use super::writes::PartialLayout;
use super::{backup, compute, control, erase, history, reads, registry, scan, writes};

/// What a connection keeps between requests, beside its bytes.
#[derive(Debug, Default)]
pub struct State {
    /// Its prepared plans.
    pub plans: Plans,
    /// The layout of its last partial write.
    pub partial: Option<PartialLayout>,
    /// A page of a scan is being read.
    pub is_scanning: bool,
    /// Its training read.
    pub history: HistoryState,
    /// A question about erases is being answered.
    pub is_asking_erases: bool,
}

/// Handles one request.
#[inline]
pub fn frame<E: Env>(
    core: &mut Core<E>,
    conn: &mut Connection,
    state: &mut State,
    frame: &Frame<'_>,
    cx: &mut Cx<'_, E>,
) {
    add(&core.counters.requests, 1);
    if let Err(failure) = route(core, conn, state, frame, cx) {
        refuse(core, conn, frame.request_id, &failure, cx.now_ns);
    }
}

/// Appends an ERROR; ends the connection if it was not opened yet.
pub fn refuse<E: Env>(
    core: &mut Core<E>,
    conn: &mut Connection,
    request_id: u64,
    failure: &Failure,
    now_ns: u64,
) {
    add(&core.counters.errors, 1);
    match failure.code {
        ErrorCode::TooMany => core.counters.cut(Cut::Counts),
        ErrorCode::Malformed => core.counters.cut(Cut::Malformed),
        _ => {}
    }
    if conn.phase == Phase::Greeting {
        conn.end(request_id, failure.code, &failure.text, now_ns);
    } else {
        conn.error(request_id, failure.code, failure.retry_after_ms, &failure.text);
    }
}

fn route<E: Env>(
    core: &mut Core<E>,
    conn: &mut Connection,
    state: &mut State,
    frame: &Frame<'_>,
    cx: &mut Cx<'_, E>,
) -> Result<(), Failure> {
    let kind = frame.kind()?;
    if conn.phase == Phase::Greeting && kind != Kind::Hello {
        let text = "HELLO comes first on a connection, and its answer before anything else";
        return Err(Failure::new(ErrorCode::UnknownKind, text));
    }
    if cx.is_stopping() && !matches!(kind, Kind::Read | Kind::Ping) {
        let text = "the server is stopping: connect again";
        return Err(Failure::passing(ErrorCode::ShuttingDown, 1_000, text));
    }
    match kind {
        Kind::Read => reads::read(core, conn, &mut state.plans, frame, cx),
        Kind::Put | Kind::PutPartial | Kind::Delete | Kind::Erase => {
            writes::write(core, conn, &mut state.partial, frame, cx)
        }
        Kind::Hello if conn.phase == Phase::Greeting => control::hello(core, conn, frame, cx),
        Kind::Prepare => control::prepare(core, conn, &mut state.plans, frame, cx),
        Kind::Scan => scan::scan(core, conn, &mut state.plans, &mut state.is_scanning, frame, cx),
        Kind::History | Kind::HistoryPut | Kind::HistoryNext | Kind::HistoryEnd => {
            history::step(core, conn, &mut state.history, kind, frame, cx)
        }
        Kind::Compute => compute::compute(core, conn, frame, cx),
        Kind::Describe => registry::describe(core, conn, frame, cx),
        Kind::Apply => registry::apply(core, conn, frame, cx),
        Kind::Stats => control::stats(core, conn, frame, cx),
        Kind::Backup => backup::backup(core, conn, frame),
        Kind::EraseStatus => erase::status(core, conn, &mut state.is_asking_erases, frame, cx),
        Kind::Map => control::map(conn, frame, cx),
        Kind::Ping => {
            control::ping(conn, frame, cx);
            Ok(())
        }
        _ => {
            let text = format!("{} is not a request here", kind.name());
            Err(Failure::new(ErrorCode::UnknownKind, text))
        }
    }
}
