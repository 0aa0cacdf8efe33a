//! COMPUTE: handed to helper threads, which answer it by the feature store. (A READ is answered by its shard.)

use thermae_engine::Cx;
use thermae_env::Env;
use thermae_formats::wire::{ErrorCode, Frame};

use super::compute_desk::Computation;
use super::connection::Connection;
use super::core::Core;
use super::counters::Cut;
use super::failure::Failure;
use super::helper::hand_over;
use super::waiting::{Pending, What};

/// When to ask again while many computations wait, milliseconds.
const RETRY_MS: u32 = 10;

/// Hands a COMPUTE over.
///
/// # Errors
/// What the ERROR is to say.
pub fn compute<E: Env>(
    core: &mut Core<E>,
    conn: &mut Connection,
    frame: &Frame<'_>,
    cx: &mut Cx<'_, E>,
) -> Result<(), Failure> {
    let busy = "too many computed features are being read; repeat this one later";
    if core.budget.is_spent() {
        core.counters.cut(Cut::BufferMemory);
        return Err(Failure::passing(ErrorCode::Overloaded, RETRY_MS, busy));
    }
    let held_bytes = frame.bytes.len();
    let ticket = core.tickets.insert(Pending {
        conn: conn.id,
        request_id: frame.request_id,
        received_ns: cx.now_ns,
        held_bytes,
        what: What::Computed,
    });
    let computation = Computation {
        frame: frame.bytes.to_vec(),
        request_id: frame.request_id,
        received_ns: cx.now_ns,
        max_frame_bytes: conn.peer_frame_bytes.min(core.limits.frame_bytes),
        destination: core.arrivals.destination(ticket),
    };
    hand_over(core.shared.computations.get(), computation, busy, |unasked| {
        unasked.destination.forget();
    })
    .inspect_err(|_| drop(core.tickets.take(ticket)))?;
    core.charge(held_bytes);
    conn.in_flight += 1;
    Ok(())
}
