//! READ: keys in, columns or a matrix out, in one pass over the hot tables and without an
//! allocation per key.

use thermae_engine::Cx;
use thermae_engine::reads::{Key, Lookup, Reads, RowBuf, Visibility, visibility};
use thermae_env::Env;
use thermae_formats::NO_TIME;
use thermae_formats::catalogue::SchemaId;
use thermae_formats::key::split_key;
use thermae_formats::wire::{
    ErrorCode, Frame, HEADER_BYTES, Kind, MAX_VIEWS_PER_PLAN, ReadRequest, ReplyBuilder, RowStatus,
    StoredRow, Token, ViewShape, WireError,
};

use super::connection::Connection;
use super::core::Core;
use super::counters::Cut;
use super::failure::Failure;
use super::histogram::add;
use super::plans::{Plan, PlanView, Plans};
use super::waiting::Parked;
use crate::serve::limits::ns;

/// How often a row that its owner is rewriting is looked at again before the request gives up.
const BUSY_TRIES: usize = 256;

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
    answer(core, conn, plans, frame.request_id, &request, cx)?;
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
    let frame = Frame {
        kind_code: Kind::Read as u8,
        request_id: request_id(parked),
        bytes: &parked.frame,
        payload: parked.frame.get(HEADER_BYTES..).unwrap_or_default(),
    };
    let request = match ReadRequest::decode(&frame, &core.wire_limits) {
        Ok(request) => request,
        Err(error) => return Some(Err(error.into())),
    };
    match unmet(&request, cx.reads) {
        Err(failure) => Some(Err(failure)),
        Ok(None) => {
            let answered = answer(core, conn, plans, frame.request_id, &request, cx);
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

/// The request id of a parked read.
pub fn request_id(parked: &Parked) -> u64 {
    let id = parked.frame.get(8..16).and_then(|id| id.first_chunk::<8>());
    id.map_or(0, |id| u64::from_le_bytes(*id))
}

fn answer<E: Env>(
    core: &mut Core<E>,
    conn: &mut Connection,
    plans: &mut Plans,
    request_id: u64,
    request: &ReadRequest<'_>,
    cx: &mut Cx<'_, E>,
) -> Result<(), Failure> {
    let plan = plans.get(request.head.plan_id, cx.catalogue, &core.counters)?;
    check_shape(plan, request)?;
    let mut keys = core.take_keys();
    let mut builder = std::mem::take(&mut core.builder);
    let max = conn.peer_frame_bytes;
    let built = split(plan, request, cx.reads, &mut keys).and_then(|()| {
        let buffer = core.take_spare();
        let read_time = match request.head.read_time {
            NO_TIME => cx.now_us,
            time => time,
        };
        let flags = request.head.flags;
        let mut counts = [0_u32; MAX_VIEWS_PER_PLAN];
        for (count, packed) in counts.iter_mut().zip(request.views()) {
            *count = packed.count;
        }
        let shapes = plan
            .views
            .iter()
            .zip(counts)
            .map(|(view, rows)| ViewShape { rows, columns: &view.shapes });
        builder.begin(buffer, request_id, flags, read_time, max, shapes)?;
        let fill = Fill { reads: cx.reads, read_time };
        fill.views(plan, request, &keys, &mut core.row_buf, &mut builder)
    });
    let finished = built.and_then(|()| Ok(builder.finish()?));
    core.give_keys(keys);
    let left = builder.abandon();
    core.builder = builder;
    core.give_spare(left);
    let frame = finished?;
    let share = frame.len() as u64 / plan.views.len().max(1) as u64;
    for view in &plan.views {
        add(&view.counters.bytes_out, share);
    }
    let spare = conn.push(frame);
    core.give_spare(spare);
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

/// What became of the keys of one view.
#[derive(Default)]
struct Tally {
    hits: u64,
    misses: u64,
    expired: u64,
    corrupt: u64,
}

struct Fill<'a> {
    reads: &'a Reads,
    read_time: i64,
}

impl Fill<'_> {
    fn views(
        &self,
        plan: &Plan,
        request: &ReadRequest<'_>,
        keys: &[Key<'_>],
        buf: &mut RowBuf,
        builder: &mut ReplyBuilder,
    ) -> Result<(), Failure> {
        let mut rest = keys;
        for (at, (view, packed)) in plan.views.iter().zip(request.views()).enumerate() {
            let (these, after) = rest.split_at(packed.count as usize);
            rest = after;
            self.view(view, at, these, buf, builder)?;
        }
        Ok(())
    }

    fn view(
        &self,
        view: &PlanView,
        at: usize,
        keys: &[Key<'_>],
        buf: &mut RowBuf,
        builder: &mut ReplyBuilder,
    ) -> Result<(), Failure> {
        let mut tally = Tally::default();
        let mut failed: Result<(), WireError> = Ok(());
        let mut busy: Vec<usize> = Vec::new();
        self.reads.multi_get(&view.view, keys, buf, |row, found| {
            if matches!(found, Lookup::Busy) {
                busy.push(row);
            } else if let Err(error) = self.row(view, at, row, found, builder, &mut tally) {
                failed = Err(error);
            }
        });
        for row in busy {
            self.busy_row(view, at, row, keys, buf, builder, &mut tally)?;
        }
        let counters = &view.counters;
        add(&counters.hits, tally.hits);
        if tally.misses + tally.expired + tally.corrupt > 0 {
            add(&counters.misses, tally.misses);
            add(&counters.expired, tally.expired);
            add(&counters.corrupt, tally.corrupt);
        }
        Ok(failed?)
    }

    /// Looks again at a row that was being rewritten.
    #[allow(clippy::too_many_arguments)]
    fn busy_row(
        &self,
        view: &PlanView,
        at: usize,
        row: usize,
        keys: &[Key<'_>],
        buf: &mut RowBuf,
        builder: &mut ReplyBuilder,
        tally: &mut Tally,
    ) -> Result<(), Failure> {
        for _ in 0..BUSY_TRIES {
            let mut outcome = None;
            self.reads.multi_get(&view.view, &keys[row..=row], buf, |_, found| {
                if !matches!(found, Lookup::Busy) {
                    outcome = Some(self.row(view, at, row, found, builder, tally));
                }
            });
            if let Some(outcome) = outcome {
                return Ok(outcome?);
            }
            std::hint::spin_loop();
        }
        let text = "a row was being rewritten each time it was looked at; repeat the read";
        Err(Failure::passing(ErrorCode::Overloaded, 1, text))
    }

    #[inline]
    fn row(
        &self,
        view: &PlanView,
        at: usize,
        row: usize,
        found: &Lookup<'_>,
        builder: &mut ReplyBuilder,
        tally: &mut Tally,
    ) -> Result<(), WireError> {
        match found {
            Lookup::Found(hot) => {
                let ttl_us = view.view.latest.definition.ttl_us;
                match visibility(hot, ttl_us, self.read_time) {
                    Visibility::Present => {
                        let stored = StoredRow {
                            schema_id: SchemaId(hot.schema_id()),
                            value: hot.value(),
                            dense: hot.is_dense(),
                            event_time: hot.event_time(),
                        };
                        match builder.set_stored(at, row, &view.projection, &stored)? {
                            RowStatus::Present => tally.hits += 1,
                            _ => tally.corrupt += 1,
                        }
                    }
                    Visibility::NotFound => tally.misses += 1,
                    Visibility::OutsideMaxAge => {
                        builder.set_status(at, row, RowStatus::OutsideMaxAge);
                        builder.set_event_time(at, row, hot.event_time());
                        tally.expired += 1;
                    }
                }
            }
            Lookup::Absent | Lookup::Busy => tally.misses += 1,
            Lookup::Corrupt(_) => {
                builder.set_status(at, row, RowStatus::Error);
                tally.corrupt += 1;
            }
        }
        Ok(())
    }
}
