//! The way in on the same host: the server's hot tables, mapped and read on the driving thread. Writes, and rows
//! that the tables lack, go over the unix socket.

use std::sync::Arc;

use thermae_client::{Address, Client, Keys, Mapped, MappedAnswer, MappedPlan, ReadOptions};

use crate::error::Error;
use crate::maker::{Request, Shared};
use crate::session::{CHECK_EVERY, Done, End, Session, check_row, present};
use crate::values::Rows;
use crate::wire::{WireSession, config, prepare, push_keys};
use crate::workload::{Kind, PROJECT};

/// Requests of one thread through the maps.
pub struct MappedSession {
    mapped: Mapped,
    shared: Arc<Shared>,
    rows: Vec<Rows>,
    plans: Vec<Option<(MappedPlan, Vec<Keys>)>>,
    answer: MappedAnswer,
    done: Vec<Done>,
    wire: WireSession,
    answers: u32,
}

impl MappedSession {
    /// Maps the tables and prepares every read.
    ///
    /// # Errors
    /// No unix socket, or a refusal.
    pub fn open(
        address: &Address,
        shared: &Arc<Shared>,
        connections: usize,
    ) -> Result<Self, Error> {
        let client = Client::connect(address, config(shared.workload.drive.in_flight))?;
        let mapped = Mapped::open(&client, PROJECT)?;
        let mut plans = Vec::new();
        for operation in &shared.workload.operations {
            if matches!(operation.kind, Kind::Write | Kind::Insert) {
                plans.push(None);
                continue;
            }
            let plan = prepare(&client, operation)?;
            let keys = (0..plan.views().len()).map(|view| plan.keys(view));
            let keys: Vec<Keys> = keys.collect::<Result<_, _>>()?;
            plans.push(Some((mapped.plan(&plan)?, keys)));
        }
        let rows = shared.workload.views.iter().map(Rows::new);
        Ok(Self {
            mapped,
            shared: Arc::clone(shared),
            rows: rows.collect(),
            plans,
            answer: MappedAnswer::new(),
            done: Vec::new(),
            wire: WireSession::open(address, shared, connections, true)?,
            answers: 0,
        })
    }

    fn read(&mut self, request: &Request) -> Result<End, Error> {
        self.answers = self.answers.wrapping_add(1);
        let matrix = self.shared.workload.operations[request.operation].matrix;
        let options = ReadOptions { matrix, ..ReadOptions::default() };
        let Some((plan, keys)) = &mut self.plans[request.operation] else {
            return Err(Error::Given("a write was asked to read".to_owned()));
        };
        let (mut rows, mut found) = (0, 0);
        for (part, (view, ids)) in request.parts.iter().enumerate() {
            push_keys(&mut keys[part], &self.rows[*view], ids)?;
            self.mapped.get_many(plan, part, &keys[part], &options, &mut self.answer)?;
            let Some(reply) = self.answer.view() else { continue };
            rows += reply.rows() as u32;
            found += present(&reply);
            if self.answers.is_multiple_of(CHECK_EVERY) {
                let at = (self.answers / CHECK_EVERY) as usize % ids.len().max(1);
                if let Some(row) = ids.get(at) {
                    check_row(&self.rows[*view], *row, at, &reply, matrix)?;
                }
            }
        }
        Ok(End::Answered { rows, found })
    }
}

impl Session for MappedSession {
    fn room(&self) -> usize {
        if self.done.is_empty() { self.wire.room() } else { 0 }
    }

    fn send(&mut self, request: &Request, token: u64) -> Result<(), Error> {
        if request.kind != Kind::Read {
            return self.wire.send(request, token);
        }
        let end = self.read(request)?;
        self.done.push(Done { token, end });
        Ok(())
    }

    fn poll(&mut self, done: &mut Vec<Done>) -> Result<(), Error> {
        done.append(&mut self.done);
        self.wire.poll(done)
    }
}
