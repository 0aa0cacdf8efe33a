//! READ: keys in, columns or a matrix out, in one pass over the hot tables and without an
//! allocation per key.

use thermae_engine::reads::{Key, Reads};
use thermae_engine::{Cx, FetchBatch, Fetched};
use thermae_env::Env;
use thermae_formats::NO_TIME;
use thermae_formats::key::split_key;
use thermae_formats::wire::{
    ErrorCode, Frame, HEADER_BYTES, Kind, MAX_VIEWS_PER_PLAN, ReadRequest, ReplyBuilder, Token,
    ViewShape,
};

use super::connection::Connection;
use super::core::Core;
use super::counters::Cut;
use super::failure::Failure;
use super::fill::{Below, Fill};
use super::histogram::add;
use super::plans::{Plan, Plans};
use super::waiting::{BelowRead, Parked, Pending, What};
use crate::serve::limits::ns;

/// Answers a READ, or parks it until what it must see is there.
///
/// # Errors
/// What the ERROR is to say.
pub fn read<E: Env>(
    core: &mut Core<E>,
    conn: &mut Connection,
    plans: &mut Plans,
    frame: &Frame<'_>,
    cx: &mut Cx<'_, E>,
) -> Result<(), Failure> {
    let request = ReadRequest::decode(frame, &core.wire_limits)?;
    if unmet(&request, cx.reads)?.is_some() {
        return park(core, conn, frame, &request, cx.now_ns);
    }
    let deadline_us = u64::from(request.head.deadline_us);
    if deadline_us > 0 && core.env.monotonic_ns() > cx.now_ns + deadline_us * 1_000 {
        core.counters.cut(Cut::RequestDeadline);
        let text = "the deadline passed before the request was reached: the server is behind";
        return Err(Failure::new(ErrorCode::DeadlineExceeded, text));
    }
    answer(core, conn, plans, frame, &request, &mut Below::default(), cx)?;
    core.counters.read_latency.record(core.env.monotonic_ns().saturating_sub(cx.now_ns));
    Ok(())
}

/// The first token that readers do not see yet.
fn unmet(request: &ReadRequest<'_>, reads: &Reads) -> Result<Option<Token>, Failure> {
    for token in request.tokens() {
        if token.partition >= reads.partitions() {
            let (found, most) = (token.partition, reads.partitions());
            let text = format!("min_offset names partition {found}; this store has {most}");
            return Err(Failure::new(ErrorCode::Malformed, text));
        }
        if reads.applied(token.partition) < token.sequence {
            return Ok(Some(token));
        }
    }
    Ok(None)
}

fn park<E: Env>(
    core: &mut Core<E>,
    conn: &mut Connection,
    frame: &Frame<'_>,
    request: &ReadRequest<'_>,
    now_ns: u64,
) -> Result<(), Failure> {
    if core.budget.is_spent() {
        core.counters.cut(Cut::BufferMemory);
        let text = "too many reads wait for their min_offset; repeat this one later";
        return Err(Failure::passing(ErrorCode::Overloaded, 100, text));
    }
    let wait_ns = match request.head.deadline_us {
        0 => ns(core.limits.read_wait_ms),
        us => (u64::from(us) * 1_000).min(ns(core.limits.read_wait_max_ms)),
    };
    let parked = Parked {
        conn: conn.id,
        frame: frame.bytes.to_vec(),
        received_ns: now_ns,
        deadline_ns: now_ns + wait_ns,
    };
    core.charge(parked.frame.capacity());
    core.parked.push(parked);
    conn.in_flight += 1;
    Ok(())
}

/// Looks at a parked read again: `None` while it must go on waiting.
pub fn retry<E: Env>(
    core: &mut Core<E>,
    conn: &mut Connection,
    plans: &mut Plans,
    parked: &Parked,
    cx: &mut Cx<'_, E>,
) -> Option<Result<(), Failure>> {
    let frame = whole_frame(&parked.frame);
    let request = match ReadRequest::decode(&frame, &core.wire_limits) {
        Ok(request) => request,
        Err(error) => return Some(Err(error.into())),
    };
    match unmet(&request, cx.reads) {
        Err(failure) => Some(Err(failure)),
        Ok(None) => {
            let below = &mut Below::default();
            let answered = answer(core, conn, plans, &frame, &request, below, cx);
            core.counters.read_latency.record(cx.now_ns.saturating_sub(parked.received_ns));
            Some(answered)
        }
        Ok(Some(_)) if cx.is_stopping() => {
            Some(Err(Failure::new(ErrorCode::ShuttingDown, "the server is stopping")))
        }
        Ok(Some(token)) if cx.now_ns >= parked.deadline_ns => {
            core.counters.cut(Cut::RequestDeadline);
            let text = format!(
                "partition {} has applied sequence {} and the read asked for {}",
                token.partition,
                cx.reads.applied(token.partition),
                token.sequence
            );
            Some(Err(Failure::passing(ErrorCode::Behind, 1, text)))
        }
        Ok(Some(_)) => None,
    }
}

/// The request id of a kept frame.
pub fn request_id(frame: &[u8]) -> u64 {
    let id = frame.get(8..16).and_then(|id| id.first_chunk::<8>());
    id.map_or(0, |id| u64::from_le_bytes(*id))
}

/// A READ that was checked when it came.
fn whole_frame(bytes: &[u8]) -> Frame<'_> {
    Frame {
        kind_code: Kind::Read as u8,
        request_id: request_id(bytes),
        bytes,
        payload: bytes.get(HEADER_BYTES..).unwrap_or_default(),
    }
}

/// Answers a read whose missing rows have been fetched.
///
/// # Errors
/// What the ERROR is to say.
pub fn fetched<E: Env>(
    core: &mut Core<E>,
    conn: &mut Connection,
    plans: &mut Plans,
    mut read: BelowRead,
    keys: Vec<Fetched>,
    cx: &mut Cx<'_, E>,
) -> Result<(), Failure> {
    read.below.add(keys);
    let frame = whole_frame(&read.frame);
    let request = ReadRequest::decode(&frame, &core.wire_limits)?;
    let deadline_ns = u64::from(request.head.deadline_us) * 1_000;
    let received_ns = read.below.since_ns.unwrap_or(cx.now_ns);
    if deadline_ns > 0 && cx.now_ns > received_ns + deadline_ns {
        core.counters.cut(Cut::RequestDeadline);
        let text = "the deadline passed while rows were read from disk";
        return Err(Failure::new(ErrorCode::DeadlineExceeded, text));
    }
    answer(core, conn, plans, &frame, &request, &mut read.below, cx)?;
    core.counters.read_latency.record(cx.now_ns.saturating_sub(received_ns));
    Ok(())
}

/// Answers a read, or, where rows may lie below the hot tables, asks for them: the answer comes when
/// they have.
fn answer<E: Env>(
    core: &mut Core<E>,
    conn: &mut Connection,
    plans: &mut Plans,
    frame: &Frame<'_>,
    request: &ReadRequest<'_>,
    below: &mut Below,
    cx: &mut Cx<'_, E>,
) -> Result<(), Failure> {
    let plan =
        plans.get(request.head.plan_id, cx.catalogue, core.shared.serving()?, &core.counters)?;
    check_shape(plan, request)?;
    let mut keys = core.take_keys();
    let mut builder = std::mem::take(&mut core.builder);
    let built = split(plan, request, cx.reads, &mut keys).and_then(|()| {
        begin(core, conn, plan, frame.request_id, request, &mut builder, cx)?;
        let read_time = read_time(request, cx);
        let mut fill = Fill { reads: cx.reads, below_hot: cx.below, read_time, below };
        fill.views(plan, request, &keys, &mut core.row_buf, &mut builder)
    });
    let missing = built.map(|()| below.missing(plan, request, &keys));
    let finished = match &missing {
        Ok(None) => Some(builder.finish()),
        _ => None,
    };
    core.give_keys(keys);
    let left = builder.abandon();
    core.builder = builder;
    core.give_spare(left);
    if let Some(batch) = missing? {
        return ask_below(core, conn, frame, below, batch, cx);
    }
    let Some(finished) = finished else { return Ok(()) };
    let finished = finished?;
    let share = finished.len() as u64 / plan.views.len().max(1) as u64;
    for view in &plan.views {
        add(&view.counters.bytes_out, share);
    }
    let spare = conn.push(finished);
    core.give_spare(spare);
    Ok(())
}

fn read_time<E: Env>(request: &ReadRequest<'_>, cx: &Cx<'_, E>) -> i64 {
    match request.head.read_time {
        NO_TIME => cx.now_us,
        time => time,
    }
}

fn begin<E: Env>(
    core: &mut Core<E>,
    conn: &Connection,
    plan: &Plan,
    request_id: u64,
    request: &ReadRequest<'_>,
    builder: &mut ReplyBuilder,
    cx: &Cx<'_, E>,
) -> Result<(), Failure> {
    let buffer = core.take_spare();
    let mut counts = [0_u32; MAX_VIEWS_PER_PLAN];
    for (count, packed) in counts.iter_mut().zip(request.views()) {
        *count = packed.count;
    }
    let shapes =
        plan.views.iter().zip(counts).map(|(view, rows)| ViewShape { rows, columns: &view.shapes });
    let (flags, max) = (request.head.flags, conn.peer_frame_bytes);
    Ok(builder.begin(buffer, request_id, flags, read_time(request, cx), max, shapes)?)
}

/// Keeps a read until the rows that it lacks are there.
fn ask_below<E: Env>(
    core: &mut Core<E>,
    conn: &mut Connection,
    frame: &Frame<'_>,
    below: &mut Below,
    batch: FetchBatch,
    cx: &mut Cx<'_, E>,
) -> Result<(), Failure> {
    if core.budget.is_spent() {
        core.counters.cut(Cut::BufferMemory);
        let text = "too many reads wait for rows from disk; repeat this one later";
        return Err(Failure::passing(ErrorCode::Overloaded, 100, text));
    }
    let received_ns = *below.since_ns.get_or_insert(cx.now_ns);
    let below = std::mem::take(below);
    let read = BelowRead { frame: frame.bytes.to_vec(), below };
    let held_bytes = read.frame.capacity();
    core.charge(held_bytes);
    conn.in_flight += 1;
    let ticket = core.tickets.insert(Pending {
        conn: conn.id,
        request_id: frame.request_id,
        received_ns,
        held_bytes,
        what: What::Read(read),
    });
    cx.fetch(ticket, batch);
    Ok(())
}

fn check_shape(plan: &Plan, request: &ReadRequest<'_>) -> Result<(), Failure> {
    if request.view_count() != plan.views.len() {
        let (found, wanted) = (request.view_count(), plan.views.len());
        let text = format!("the read carries keys of {found} views, its plan has {wanted}");
        return Err(Failure::new(ErrorCode::Malformed, text));
    }
    if request.head.flags.matrix {
        for view in &plan.views {
            let checked = view.projection.check_matrix();
            checked.map_err(|error| Failure::new(ErrorCode::NotNumeric, error.to_string()))?;
        }
    }
    Ok(())
}

/// Splits the packed keys of every view and hashes them.
fn split<'k>(
    plan: &Plan,
    request: &ReadRequest<'k>,
    reads: &Reads,
    keys: &mut Vec<Key<'k>>,
) -> Result<(), Failure> {
    keys.reserve(request.key_count as usize);
    for (view, packed) in plan.views.iter().zip(request.views()) {
        let key_types = &view.view.latest.key_types;
        let mut rest = packed.bytes;
        for index in 0..packed.count {
            let (bytes, after) = split_key(key_types, rest).map_err(|error| {
                let name = view.view.qualified_name();
                Failure::new(ErrorCode::BadKey, format!("key {index} of {name}: {error}"))
            })?;
            rest = after;
            keys.push(Key { entity_hash: reads.hash(bytes), bytes });
        }
        if !rest.is_empty() {
            let name = view.view.qualified_name();
            let text = format!("{} bytes are left after the keys of {name}", rest.len());
            return Err(Failure::new(ErrorCode::BadKey, text));
        }
    }
    Ok(())
}
