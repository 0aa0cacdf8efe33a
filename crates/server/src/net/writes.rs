//! PUT, PUT_PARTIAL, DELETE and ERASE: rows are checked here, decided by the engine, answered when it
//! says so.

use std::sync::Arc;

use thermae_engine::{Ack, Cx, Level, Outcome, Refusal, RowWrite, Schema, WriteBatch, WriteKind};
use thermae_env::Env;
use thermae_formats::catalogue::{SchemaId, ViewId};
use thermae_formats::key::split_key;
use thermae_formats::row::RowLayout;
use thermae_formats::wire::{
    Ack as WireAck, ErrorCode, Frame, Kind, NotApplied, RowOutcome, Token, WriteRequest, WriteRow,
    encode_write_reply,
};

use super::connection::Connection;
use super::core::Core;
use super::counters::Cut;
use super::failure::Failure;
use super::histogram::add;
use super::waiting::{Pending, What};

/// The layout of the features that a connection's partial writes name: they rarely change.
#[derive(Debug)]
pub struct PartialLayout {
    schema_id: u16,
    features: Arc<[u16]>,
    layout: RowLayout,
}

/// Checks a write and hands it to the engine.
///
/// # Errors
/// What the ERROR is to say; nothing was written then.
pub fn write<E: Env>(
    core: &mut Core<E>,
    conn: &mut Connection,
    partial: &mut Option<PartialLayout>,
    frame: &Frame<'_>,
    cx: &mut Cx<'_, E>,
) -> Result<(), Failure> {
    let request = WriteRequest::decode(frame, &core.wire_limits)?;
    let view = cx.catalogue.view_by_id(ViewId(request.head.view_id)).ok_or_else(|| {
        let text = format!("no view {} in this store: prepare again", request.head.view_id);
        Failure::new(ErrorCode::UnknownView, text)
    })?;
    let schema = cx.catalogue.schema(SchemaId(request.head.schema_id));
    let schema = schema.filter(|schema| schema.view_id == view.id).ok_or_else(|| {
        let (id, name) = (request.head.schema_id, view.qualified_name());
        let text = format!("schema {id} is not one of {name}: prepare again");
        Failure::new(ErrorCode::StaleSchema, text)
    })?;
    if request.kind == Kind::PutPartial {
        prepare_partial(partial, schema, &request)?;
    }
    let (kind, layout) = match (&partial, request.kind) {
        (Some(partial), Kind::PutPartial) => {
            (WriteKind::Partial { features: Arc::clone(&partial.features) }, &partial.layout)
        }
        (_, Kind::Delete) => (WriteKind::Delete, &schema.layout),
        (_, Kind::Erase) => (WriteKind::Erase, &schema.layout),
        _ => (WriteKind::Put, &schema.layout),
    };
    let is_refused = core.budget.is_spent();
    let mut checked = check(&request, schema, layout, &kind, frame.payload.len(), is_refused);
    if is_refused {
        core.counters.cut(Cut::BufferMemory);
        checked.message = "the server's buffer memory is spent; repeat this later".to_owned();
    }
    let counters = core.counters.view(&view.qualified_name());
    add(&counters.rows_written, request.row_count() as u64);
    add(&counters.bytes_in, checked.batch.bytes.len() as u64);
    let held_bytes = checked.batch.bytes.capacity()
        + checked.batch.rows.capacity() * std::mem::size_of::<RowWrite>();
    core.charge(held_bytes);
    conn.in_flight += 1;
    let ticket = core.tickets.insert(Pending {
        conn: conn.id,
        request_id: frame.request_id,
        received_ns: cx.now_ns,
        held_bytes,
        what: What::Write {
            rows: request.row_count(),
            view: view.id,
            refused: checked.refused,
            message: checked.message,
            counters,
        },
    });
    cx.write(ticket, checked.batch);
    Ok(())
}

/// Makes sure that `partial` is the layout of the features that the request names.
fn prepare_partial(
    partial: &mut Option<PartialLayout>,
    schema: &Schema,
    request: &WriteRequest<'_>,
) -> Result<(), Failure> {
    let is_same = partial.as_ref().is_some_and(|held| {
        held.schema_id == schema.id.0 && held.features.iter().copied().eq(request.features())
    });
    if is_same {
        return Ok(());
    }
    let features: Arc<[u16]> = request.features().collect();
    let mut chosen = Vec::with_capacity(features.len());
    for position in features.iter() {
        let feature = schema.definition.features.get(usize::from(*position));
        chosen.push(feature.cloned().ok_or_else(|| {
            let count = schema.definition.features.len();
            let text = format!("feature position {position} is beyond the schema's {count}");
            Failure::new(ErrorCode::UnknownFeature, text)
        })?);
    }
    if chosen.is_empty() {
        let text = "a partial write names no feature: name at least one, or put whole rows";
        return Err(Failure::new(ErrorCode::Malformed, text));
    }
    let layout = RowLayout::new(&chosen)
        .map_err(|error| Failure::new(ErrorCode::Malformed, error.to_string()))?;
    *partial = Some(PartialLayout { schema_id: schema.id.0, features, layout });
    Ok(())
}

/// A batch, and what was refused out of it.
struct Checked {
    batch: WriteBatch,
    refused: Vec<(u32, NotApplied)>,
    message: String,
}

/// Checks every row. Of a batch that is refused for want of memory, only the keys are kept.
fn check(
    request: &WriteRequest<'_>,
    schema: &Schema,
    layout: &RowLayout,
    kind: &WriteKind,
    payload_bytes: usize,
    is_refused: bool,
) -> Checked {
    let ack = match request.head.ack {
        WireAck::Logged => Ack::Logged,
        WireAck::Durable => Ack::Durable,
        WireAck::Replicated => Ack::Replicated,
    };
    let mut batch = WriteBatch::new(ack, request.head.producer_id);
    batch.is_refused = is_refused;
    batch.rows.reserve_exact(request.row_count());
    batch.bytes.reserve(if is_refused { 0 } else { payload_bytes });
    let (mut refused, mut message) = (Vec::new(), String::new());
    for (index, row) in request.rows().enumerate() {
        match row_bytes(&row, schema, layout, kind) {
            Ok(value) => {
                let key = batch.store(row.key);
                let value = batch.store(if is_refused { &[] } else { value });
                batch.rows.push(RowWrite {
                    kind: kind.clone(),
                    view_id: schema.view_id,
                    schema_id: schema.id,
                    dense: row.dense,
                    event_time: row.event_time,
                    created_time: row.created_time,
                    expire_at: row.expire_at,
                    producer_sequence: row.producer_sequence,
                    key,
                    value,
                });
            }
            Err((reason, text)) => {
                if message.is_empty() {
                    message = format!("row {index}: {text}");
                }
                refused.push((index as u32, reason));
            }
        }
    }
    Checked { batch, refused, message }
}

/// The exact value bytes of a row whose key and value are sound.
fn row_bytes<'a>(
    row: &WriteRow<'a>,
    schema: &Schema,
    layout: &RowLayout,
    kind: &WriteKind,
) -> Result<&'a [u8], (NotApplied, String)> {
    match split_key(&schema.key_types, row.key) {
        Ok((_, [])) => {}
        Ok((_, rest)) => {
            let text = format!("{} bytes are left after its key", rest.len());
            return Err((NotApplied::BadKey, text));
        }
        Err(error) => return Err((NotApplied::BadKey, error.to_string())),
    }
    if matches!(kind, WriteKind::Delete | WriteKind::Erase) {
        return Ok(&[]);
    }
    match layout.validate(row.value, row.dense) {
        Ok(bytes) => Ok(row.value.get(..bytes).unwrap_or(row.value)),
        Err(error) => Err((NotApplied::BadValue, error.to_string())),
    }
}

/// Appends the answer to a write whose outcomes came. Returns what it was, for the books.
pub fn written<E: Env>(
    core: &mut Core<E>,
    conn: &mut Connection,
    pending: Pending,
    outcomes: &[Outcome],
    now_ns: u64,
) {
    let What::Write { rows, view, refused, mut message, .. } = pending.what else { return };
    let mut level = WireAck::Durable;
    let mut all = Vec::with_capacity(rows);
    let (mut decided, mut refused) = (outcomes.iter(), refused.into_iter().peekable());
    let mut first_not_ok = refused.peek().map(|(index, _)| *index as usize);
    for index in 0..rows {
        if let Some((_, reason)) = refused.next_if(|(at, _)| *at as usize == index) {
            all.push(RowOutcome::NotApplied(reason));
            continue;
        }
        // The engine decides every row; one that it forgot would be in doubt.
        let outcome = decided.next().copied().unwrap_or(Outcome::InDoubt);
        if let Some(text) = why(&outcome)
            && first_not_ok.is_none_or(|first| index < first)
        {
            first_not_ok = Some(index);
            message = format!("row {index}: {text}");
            if let Some(rule) = failed_rule(core, view, &outcome) {
                message = format!("{message}: {rule}");
            }
        }
        if let Outcome::Ok { level: Level::Logged, .. } = outcome {
            level = WireAck::Logged;
        }
        all.push(on_wire(outcome));
    }
    let max = conn.peer_frame_bytes;
    let sent = encode_write_reply(&mut conn.out, pending.request_id, level, &all, &message, max);
    if let Err(error) = sent {
        let failure = Failure::from(error);
        conn.error(pending.request_id, failure.code, 0, &failure.text);
    }
    core.counters.write_latency.record(now_ns.saturating_sub(pending.received_ns));
}

/// What the check is called that a row fails.
fn failed_rule<E: Env>(core: &Core<E>, view: ViewId, outcome: &Outcome) -> Option<String> {
    let Outcome::NotApplied(Refusal::FailsCheck { check } | Refusal::Quarantined { check }) =
        outcome
    else {
        return None;
    };
    core.shared.serving().ok()?.rule_name(view, *check)
}

fn why(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Ok { .. } => None,
        Outcome::NotApplied(refusal) => Some(refusal.to_string()),
        Outcome::InDoubt => Some(
            "it cannot be told whether it was written; repeating it with the same producer id and \
             sequence is safe"
                .to_owned(),
        ),
    }
}

fn on_wire(outcome: Outcome) -> RowOutcome {
    match outcome {
        Outcome::Ok { partition, sequence, duplicate, .. } => {
            RowOutcome::Ok { token: Token { partition, sequence }, duplicate }
        }
        Outcome::InDoubt => RowOutcome::InDoubt,
        Outcome::NotApplied(Refusal::Overloaded { retry_ms }) => {
            RowOutcome::Overloaded { retry_after_ms: retry_ms }
        }
        Outcome::NotApplied(Refusal::FailsCheck { check }) => {
            RowOutcome::FailsCheck { check: check.into() }
        }
        Outcome::NotApplied(Refusal::Quarantined { check }) => {
            RowOutcome::Quarantined { check: check.into() }
        }
        Outcome::NotApplied(refusal) => RowOutcome::NotApplied(match refusal {
            Refusal::Late => NotApplied::Late,
            Refusal::FutureEventTime => NotApplied::FutureEventTime,
            Refusal::DiskFull => NotApplied::DiskFull,
            Refusal::ReadOnly => NotApplied::ReadOnly,
            // Answered above, but the last; the compiler cannot tell.
            Refusal::Overloaded { .. }
            | Refusal::FailsCheck { .. }
            | Refusal::Quarantined { .. }
            | Refusal::BlockedBehind => NotApplied::BlockedBehind,
            Refusal::UnknownSchema => NotApplied::UnknownSchema,
            Refusal::RowTooLarge => NotApplied::RowTooLarge,
            Refusal::CorruptBase => NotApplied::CorruptBase,
            Refusal::ArchiveUnavailable => NotApplied::ArchiveUnavailable,
            Refusal::TooManyProducers => NotApplied::TooManyProducers,
            Refusal::Unsupported => NotApplied::Unsupported,
        }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic)]
    use super::*;

    #[test]
    fn each_refusal_has_the_code_of_its_name() {
        let refusals = [
            Refusal::Late,
            Refusal::FutureEventTime,
            Refusal::DiskFull,
            Refusal::ReadOnly,
            Refusal::BlockedBehind,
            Refusal::UnknownSchema,
            Refusal::RowTooLarge,
            Refusal::Unsupported,
            Refusal::TooManyProducers,
            Refusal::CorruptBase,
            Refusal::ArchiveUnavailable,
        ];
        for refusal in refusals {
            let outcome = on_wire(Outcome::NotApplied(refusal));
            let RowOutcome::NotApplied(reason) = outcome else { panic!("{outcome:?}") };
            assert_eq!(reason.to_string(), format!("{refusal:?}"));
        }
        let overloaded = on_wire(Outcome::NotApplied(Refusal::Overloaded { retry_ms: 70 }));
        assert_eq!(overloaded, RowOutcome::Overloaded { retry_after_ms: 70 });
    }
}
