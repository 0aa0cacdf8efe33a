//! APPLY and DESCRIBE: what is no answer at once goes to the registry's helper.

use std::sync::mpsc::TrySendError;

use thermae_engine::Cx;
use thermae_env::Env;
use thermae_formats::wire::{ErrorCode, Frame};

use super::connection::Connection;
use super::control::{self, DescribeRequest, parse};
use super::core::Core;
use super::failure::Failure;
use super::registry_desk::{Task, TaskRequest};
use super::waiting::{Pending, What};

/// When to ask again while as many tasks wait as may, milliseconds.
const RETRY_MS: u32 = 100;

/// Hands an APPLY over.
///
/// # Errors
/// What the ERROR is to say.
pub fn apply<E: Env>(
    core: &mut Core<E>,
    conn: &mut Connection,
    frame: &Frame<'_>,
    cx: &mut Cx<'_, E>,
) -> Result<(), Failure> {
    let request =
        parse(frame).map_err(|failure| Failure { code: ErrorCode::BadSchema, ..failure })?;
    submit(core, conn, frame, Task::Apply(request), cx)
}

/// Answers DESCRIBE, or hands it over.
///
/// # Errors
/// What the ERROR is to say.
pub fn describe<E: Env>(
    core: &mut Core<E>,
    conn: &mut Connection,
    frame: &Frame<'_>,
    cx: &mut Cx<'_, E>,
) -> Result<(), Failure> {
    let mut request: DescribeRequest = parse(frame)?;
    match request.registry.take() {
        Some(asked) => submit(core, conn, frame, Task::Tell(asked), cx),
        None => control::describe(core, conn, frame, &request, cx),
    }
}

fn submit<E: Env>(
    core: &mut Core<E>,
    conn: &mut Connection,
    frame: &Frame<'_>,
    task: Task,
    cx: &mut Cx<'_, E>,
) -> Result<(), Failure> {
    let Some(desk) = core.shared.registry.get() else {
        return Err(Failure::passing(ErrorCode::NotReady, RETRY_MS, "the server is starting"));
    };
    let held_bytes = frame.payload.len();
    let ticket = core.tickets.insert(Pending {
        conn: conn.id,
        request_id: frame.request_id,
        received_ns: cx.now_ns,
        held_bytes,
        what: What::Registry,
    });
    let request = TaskRequest {
        task,
        request_id: frame.request_id,
        max_frame_bytes: conn.peer_frame_bytes.min(core.limits.frame_bytes),
        destination: core.arrivals.destination(ticket),
    };
    let sent = desk.requests.try_send(Some(request)).map_err(|error| {
        let (request, failure) = match error {
            TrySendError::Full(request) => {
                let text = "too many definitions wait: repeat these later";
                (request, Failure::passing(ErrorCode::Overloaded, RETRY_MS, text))
            }
            TrySendError::Disconnected(request) => {
                let text = "the server is stopping";
                (request, Failure::passing(ErrorCode::ShuttingDown, 1_000, text))
            }
        };
        // It is answered here.
        request.into_iter().for_each(|request| request.destination.forget());
        failure
    });
    if let Err(failure) = sent {
        core.tickets.take(ticket);
        return Err(failure);
    }
    core.charge(held_bytes);
    conn.in_flight += 1;
    Ok(())
}
