//! SCAN: checked here, read by a helper thread, answered when it says so. A shard thread never waits for
//! the disk.

use thermae_engine::scan::Position;
use thermae_engine::{Cx, ScanOptions};
use thermae_env::Env;
use thermae_formats::wire::{ErrorCode, Frame, ScanPlace, ScanRequest};
use thermae_formats::{JoinKey, KeyValue, decode_key};

use super::connection::Connection;
use super::core::Core;
use super::counters::Cut;
use super::failure::Failure;
use super::helper::hand_over;
use super::plans::Plans;
use super::scan_pages::{PageRequest, Subject};
use super::waiting::{Pending, What};

/// Most bytes of the rows of one page.
const PAGE_MAX_BYTES: u32 = 1 << 20;
/// Bytes of a frame beside its rows: header, counts, the place with its key.
const BESIDE_BYTES: u32 = 2048;
/// When to ask again while as many pages wait as may, milliseconds.
const RETRY_MS: u32 = 100;
/// What is said then.
const BUSY: &str = "too many scans wait: repeat this one later";

/// Checks a SCAN and hands it to the helper.
///
/// # Errors
/// What the ERROR is to say.
pub fn scan<E: Env>(
    core: &mut Core<E>,
    conn: &mut Connection,
    plans: &mut Plans,
    is_scanning: &mut bool,
    frame: &Frame<'_>,
    cx: &mut Cx<'_, E>,
) -> Result<(), Failure> {
    let request = ScanRequest::decode(frame)?;
    if *is_scanning {
        let text = "a scan of this connection is not answered yet: ask for one page at a time";
        return Err(Failure::passing(ErrorCode::TooManyInFlight, RETRY_MS, text));
    }
    if core.budget.is_spent() {
        core.counters.cut(Cut::BufferMemory);
        return Err(Failure::passing(ErrorCode::Overloaded, RETRY_MS, BUSY));
    }
    let plan = plans.get(request.plan_id, cx.catalogue, core.shared.serving()?, &core.counters)?;
    let [planned] = &plan.views[..] else {
        let text = format!("a scan is of a plan of one view, this one has {}", plan.views.len());
        return Err(Failure::new(ErrorCode::Malformed, text));
    };
    let join_keys = &planned.view.latest.definition.join_keys;
    let key = request.key.map(|key| decode(join_keys, key)).transpose()?;
    let after = position(join_keys, request.place)?;
    let subject = Subject {
        view: planned.view.id,
        features: planned.features().to_vec(),
        types: planned.types().flatten().cloned().collect(),
        options: ScanOptions {
            key,
            hashes: request.hashes.clone(),
            from_us: *request.event_times.start(),
            to_us: *request.event_times.end(),
            tombstones: request.tombstones,
        },
    };
    let max_frame_bytes = conn.peer_frame_bytes.min(core.limits.frame_bytes);
    let most_bytes = PAGE_MAX_BYTES.min(max_frame_bytes.saturating_sub(BESIDE_BYTES));
    let page_bytes = request.page_bytes.min(most_bytes) as usize;
    let ticket = core.tickets.insert(Pending {
        conn: conn.id,
        request_id: frame.request_id,
        received_ns: cx.now_ns,
        held_bytes: page_bytes,
        what: What::Scan,
    });
    let asked = PageRequest {
        subject,
        after,
        page_bytes,
        request_id: frame.request_id,
        max_frame_bytes,
        destination: core.arrivals.destination(ticket),
    };
    hand_over(core.shared.pages.get(), asked, BUSY, |unasked| unasked.destination.forget())
        .inspect_err(|_| drop(core.tickets.take(ticket)))?;
    core.charge(page_bytes);
    conn.in_flight += 1;
    *is_scanning = true;
    Ok(())
}

fn decode(join_keys: &[JoinKey], key: &[u8]) -> Result<Vec<KeyValue>, Failure> {
    decode_key(join_keys, key).map_err(|error| Failure::new(ErrorCode::BadKey, error.to_string()))
}

/// The place to go on from.
fn position(join_keys: &[JoinKey], place: &[u8]) -> Result<Option<Position>, Failure> {
    if place.is_empty() {
        return Ok(None);
    }
    let place = ScanPlace::parse(place)?;
    decode_key(join_keys, place.key).map_err(|error| {
        Failure::new(ErrorCode::Malformed, format!("the place is none of this view: {error}"))
    })?;
    Ok(Some(Position { key: place.key.to_vec(), order: place.order }))
}
