//! The way in without a wire: the embedded store, read on the driving thread into the same columnar answers that
//! the server sends.

use std::sync::Arc;

use thermae_engine::catalogue::View;
use thermae_engine::handle::{Found, WriteTicket};
use thermae_engine::reads::{Key, RowBuf};
use thermae_engine::store::Store;
use thermae_engine::write::{Ack, Outcome, Refusal, RowWrite, WriteBatch, WriteKind};
use thermae_formats::projection::Projection;
use thermae_formats::visibility::{Visibility, visibility};
use thermae_formats::wire::{
    ColumnShape, Frame, HEADER_BYTES, Kind as FrameKind, ReadFlags, ReadReply, ReplyBuilder,
    RowStatus, StoredRow, ViewShape,
};
use thermae_formats::{NO_TIME, Value, encode_key};

use crate::clock::wall_us;
use crate::error::Error;
use crate::maker::{Request, Shared};
use crate::session::{CHECK_EVERY, Done, End, Session, check_row, present};
use crate::values::Rows;
use crate::wire::feature_names;
use crate::workload::{Kind, PROJECT};

/// Largest answer in memory, in bytes.
const MAX_BYTES: u32 = 256 << 20;

/// Requests of one thread into an embedded store.
pub struct EmbeddedSession {
    store: Arc<Store>,
    shared: Arc<Shared>,
    rows: Vec<Rows>,
    views: Vec<Arc<View>>,
    /// For each operation, for each part.
    plans: Vec<Vec<(Projection, Vec<ColumnShape>)>>,
    done: Vec<Done>,
    writes: Vec<(u64, u32, Option<WriteTicket>)>,
    in_flight_max: usize,
    scratch: Scratch,
    answers: u32,
}

#[derive(Default)]
struct Scratch {
    builder: ReplyBuilder,
    spare: Vec<u8>,
    row: RowBuf,
    packed: Vec<u8>,
    ends: Vec<usize>,
    values: Vec<Value>,
    encoded: Vec<u8>,
}

impl EmbeddedSession {
    /// Compiles every read.
    ///
    /// # Errors
    /// A view that is not there as the workload has it.
    pub fn open(store: &Arc<Store>, shared: &Arc<Shared>) -> Result<Self, Error> {
        let workload = &shared.workload;
        let catalogue = store.handle().catalogue();
        let resolve = |name: &str| catalogue.resolve(&format!("{PROJECT}/{name}")).map(Arc::clone);
        let views = workload.views.iter().map(|view| resolve(&view.name));
        let views: Vec<Arc<View>> = views.collect::<Result<_, _>>()?;
        let mut plans = Vec::new();
        for (at, operation) in workload.operations.iter().enumerate() {
            let parts = shared.views_of(at).iter().zip(&operation.of);
            let parts = parts.map(|(view, part)| compile(&views[*view], part.features));
            plans.push(parts.collect::<Result<_, _>>()?);
        }
        let rows = workload.views.iter().map(Rows::new);
        Ok(Self {
            store: Arc::clone(store),
            shared: Arc::clone(shared),
            rows: rows.collect(),
            views,
            plans,
            done: Vec::new(),
            writes: Vec::new(),
            in_flight_max: workload.drive.in_flight,
            scratch: Scratch::default(),
            answers: 0,
        })
    }

    fn read(&mut self, request: &Request) -> Result<End, Error> {
        let Self { store, rows, views, plans, scratch, .. } = self;
        let operation = &self.shared.workload.operations[request.operation];
        let matrix = operation.matrix;
        let flags = ReadFlags { matrix, event_times: false };
        let read_time = wall_us();
        let plan = &plans[request.operation];
        let shapes = request.parts.iter().zip(plan);
        let shapes =
            shapes.map(|((_, ids), (_, columns))| ViewShape { rows: ids.len() as u32, columns });
        let spare = std::mem::take(&mut scratch.spare);
        let made = scratch.builder.begin(spare, 0, flags, read_time, MAX_BYTES, shapes);
        made.map_err(|error| Error::Given(format!("an answer is too large: {error}")))?;
        for (part, (view, ids)) in request.parts.iter().enumerate() {
            pack(&rows[*view], &views[*view], ids, &mut scratch.packed, &mut scratch.ends)?;
            let reads = store.handle().reads();
            let mut start = 0;
            let keys: Vec<Key<'_>> = scratch
                .ends
                .iter()
                .map(|&end| {
                    let bytes = &scratch.packed[start..end];
                    start = end;
                    Key { entity_hash: reads.hash(bytes), bytes }
                })
                .collect();
            let ttl_us = views[*view].latest.definition.ttl_us;
            let (builder, projection) = (&mut scratch.builder, &plan[part].0);
            store.handle().read(&views[*view], &keys, &mut scratch.row, |at, found| {
                let Found::Row(row) = found else { return };
                let judged = visibility(
                    row.is_tombstone(),
                    row.expire_at,
                    row.event_time,
                    ttl_us,
                    read_time,
                );
                if judged != Visibility::Present {
                    return;
                }
                let stored = StoredRow {
                    schema_id: row.schema_id,
                    value: row.value,
                    dense: row.is_dense(),
                    event_time: row.event_time,
                };
                if builder.set_stored(part, at, projection, &stored).is_err() {
                    builder.set_status(part, at, RowStatus::Error);
                }
            })?;
        }
        self.judge(request, matrix)
    }

    fn judge(&mut self, request: &Request, is_matrix: bool) -> Result<End, Error> {
        self.answers = self.answers.wrapping_add(1);
        let frame = self.scratch.builder.finish_unsent();
        let bytes =
            frame.map_err(|error| Error::Given(format!("an answer is too large: {error}")))?;
        let payload = bytes.get(HEADER_BYTES..).unwrap_or_default();
        let kind_code = FrameKind::Columns as u8;
        let frame = Frame { kind_code, request_id: 0, bytes: &bytes, payload };
        let reply = ReadReply::again(&frame).map_err(|error| Error::Wrong(error.to_string()))?;
        let (mut rows, mut found) = (0, 0);
        for (part, (view, ids)) in request.parts.iter().enumerate() {
            let Some(answer) = reply.view(part) else { continue };
            rows += answer.rows() as u32;
            found += present(&answer);
            if self.answers.is_multiple_of(CHECK_EVERY) {
                let at = (self.answers / CHECK_EVERY) as usize % ids.len().max(1);
                if let Some(row) = ids.get(at) {
                    check_row(&self.rows[*view], *row, at, &answer, is_matrix)?;
                }
            }
        }
        self.scratch.spare = bytes;
        Ok(End::Answered { rows, found })
    }

    fn write(&mut self, view: usize, ids: &[u64]) -> Result<WriteTicket, Error> {
        let ack = if self.shared.workload.drive.logged { Ack::Logged } else { Ack::Durable };
        let Scratch { values, encoded, .. } = &mut self.scratch;
        let batch = write_batch(&self.views[view], &self.rows[view], ids, ack, values, encoded)?;
        Ok(self.store.handle().submit(batch)?)
    }
}

/// Rows as the engine takes them, with the present time, by nobody in particular.
///
/// # Errors
/// Values that do not fit the view that is there.
pub fn write_batch(
    view: &View,
    made: &Rows,
    ids: &[u64],
    ack: Ack,
    values: &mut Vec<Value>,
    encoded: &mut Vec<u8>,
) -> Result<WriteBatch, Error> {
    let (mut batch, now) = (WriteBatch::new(ack, 0), wall_us());
    let wrong = |error: String| Error::Given(format!("{}: {error}", view.qualified_name()));
    for id in ids {
        encoded.clear();
        encode_key(&view.latest.definition.join_keys, &[made.key(*id)], encoded)
            .map_err(|error| wrong(error.to_string()))?;
        let key = batch.store(encoded);
        made.fill(*id, values);
        encoded.clear();
        let dense = view.latest.layout.encode(values, encoded);
        let dense = dense.map_err(|error| wrong(error.to_string()))?;
        let value = batch.store(encoded);
        let row = RowWrite::delete(&view.latest, now, key);
        batch.rows.push(RowWrite {
            kind: WriteKind::Put,
            dense,
            value,
            created_time: NO_TIME,
            ..row
        });
    }
    Ok(batch)
}

/// How a write into the store ended.
pub fn judge_outcomes(outcomes: &[Outcome]) -> End {
    let rows = outcomes.len() as u32;
    let mut found = 0;
    for outcome in outcomes {
        match outcome {
            Outcome::Ok { .. } => found += 1,
            Outcome::NotApplied(Refusal::Overloaded { .. }) => return End::Refused,
            other => return End::Failed(format!("a row was not written: {other:?}")),
        }
    }
    End::Answered { rows, found }
}

fn compile(view: &View, features: usize) -> Result<(Projection, Vec<ColumnShape>), Error> {
    let definition = &view.latest.definition;
    let count = if features == 0 { definition.features.len() } else { features };
    let names = feature_names(count);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let schemas: Vec<_> =
        view.schemas.iter().map(|schema| (schema.id, &schema.definition)).collect();
    let projection = Projection::compile(&schemas, &names)
        .map_err(|error| Error::Given(format!("{}: {error}", view.qualified_name())))?;
    let shapes = definition.features.iter().take(count);
    let shapes = shapes.map(|feature| ColumnShape::of(&feature.value_type)).collect();
    Ok((projection, shapes))
}

fn pack(
    made: &Rows,
    view: &View,
    ids: &[u64],
    packed: &mut Vec<u8>,
    ends: &mut Vec<usize>,
) -> Result<(), Error> {
    packed.clear();
    ends.clear();
    for id in ids {
        if made.is_number() {
            packed.extend_from_slice(&id.to_le_bytes());
        } else {
            encode_key(&view.latest.definition.join_keys, &[made.key(*id)], packed)
                .map_err(|error| Error::Given(error.to_string()))?;
        }
        ends.push(packed.len());
    }
    Ok(())
}

impl Session for EmbeddedSession {
    fn room(&self) -> usize {
        if self.done.is_empty() { self.in_flight_max.saturating_sub(self.writes.len()) } else { 0 }
    }

    fn send(&mut self, request: &Request, token: u64) -> Result<(), Error> {
        if matches!(request.kind, Kind::Read | Kind::Modify) {
            let end = self.read(request)?;
            if request.kind == Kind::Read {
                self.done.push(Done { token, end });
                return Ok(());
            }
        }
        let (view, ids) = &request.parts[0];
        let ticket = self.write(*view, ids)?;
        self.writes.push((token, ids.len() as u32, Some(ticket)));
        Ok(())
    }

    fn poll(&mut self, done: &mut Vec<Done>) -> Result<(), Error> {
        done.append(&mut self.done);
        self.writes.retain_mut(|(token, _, ticket)| match ticket.take().map(WriteTicket::poll) {
            Some(Err(waiting)) => {
                *ticket = Some(waiting);
                true
            }
            Some(Ok(outcomes)) => {
                done.push(Done { token: *token, end: judge_outcomes(&outcomes) });
                false
            }
            None => false,
        });
        Ok(())
    }
}
