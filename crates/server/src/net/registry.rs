//! APPLY and DESCRIBE: what is no answer at once goes to the registry's helper.

use thermae_engine::Cx;
use thermae_env::Env;
use thermae_formats::wire::{ErrorCode, Frame};

use super::connection::Connection;
use super::control::{self, DescribeRequest, parse};
use super::core::Core;
use super::failure::Failure;
use super::helper::hand_over;
use super::registry_desk::{Task, TaskRequest};
use super::waiting::{Pending, What};

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
    let desk = core.shared.registry.get().map(|desk| &desk.requests);
    let busy = "too many definitions wait: repeat these later";
    hand_over(desk, request, busy, |unasked| unasked.destination.forget())
        .inspect_err(|_| drop(core.tickets.take(ticket)))?;
    core.charge(held_bytes);
    conn.in_flight += 1;
    Ok(())
}
