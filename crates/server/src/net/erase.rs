//! ERASE_STATUS: checked here, answered by a helper thread. (An ERASE is a write.)

use thermae_engine::Cx;
use thermae_env::Env;
use thermae_formats::ViewId;
use thermae_formats::key::split_key;
use thermae_formats::wire::{EraseStatusRequest, ErrorCode, Frame};

use super::connection::Connection;
use super::core::Core;
use super::erase_desk::EraseQuestion;
use super::failure::Failure;
use super::helper::hand_over;
use super::waiting::{Pending, What};

/// When to ask again while another question waits, milliseconds.
const RETRY_MS: u32 = 100;

/// Checks an ERASE_STATUS and hands it to the helper.
///
/// # Errors
/// What the ERROR is to say.
pub fn status<E: Env>(
    core: &mut Core<E>,
    conn: &mut Connection,
    is_asking: &mut bool,
    frame: &Frame<'_>,
    cx: &mut Cx<'_, E>,
) -> Result<(), Failure> {
    let request = EraseStatusRequest::decode(frame, &core.wire_limits)?;
    if *is_asking {
        let text =
            "a question about erases of this connection is not answered yet: ask one at a time";
        return Err(Failure::passing(ErrorCode::TooManyInFlight, RETRY_MS, text));
    }
    let view = cx.catalogue.view_by_id(ViewId(request.view_id)).ok_or_else(|| {
        let text = format!("no view {} in this store: prepare again", request.view_id);
        Failure::new(ErrorCode::UnknownView, text)
    })?;
    for (at, key) in request.keys.iter().enumerate() {
        let is_whole = matches!(split_key(&view.latest.key_types, key), Ok((_, [])));
        if !is_whole {
            let text = format!("key {at} is none of {}", view.qualified_name());
            return Err(Failure::new(ErrorCode::BadKey, text));
        }
    }
    let held_bytes = frame.payload.len();
    let ticket = core.tickets.insert(Pending {
        conn: conn.id,
        request_id: frame.request_id,
        received_ns: cx.now_ns,
        held_bytes,
        what: What::EraseStatus,
    });
    let question = EraseQuestion {
        view: view.id,
        tokens: request.tokens,
        keys: request.keys.into_iter().map(<[u8]>::to_vec).collect(),
        request_id: frame.request_id,
        max_frame_bytes: conn.peer_frame_bytes.min(core.limits.frame_bytes),
        destination: core.arrivals.destination(ticket),
    };
    let busy = "too many questions about erases wait: repeat this one later";
    hand_over(core.shared.erases.get(), question, busy, |unasked| unasked.destination.forget())
        .inspect_err(|_| drop(core.tickets.take(ticket)))?;
    core.charge(held_bytes);
    conn.in_flight += 1;
    *is_asking = true;
    Ok(())
}
