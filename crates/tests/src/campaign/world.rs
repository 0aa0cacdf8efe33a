//! A simulated machine with a store on it, and the history that judges it.

use std::path::Path;

use thermae_engine::handle::WriteTicket;
use thermae_engine::options::HotMemory;
use thermae_engine::reads::{Lookup, RowBuf};
use thermae_engine::runtime::Stepped;
use thermae_engine::{Ack, Error, Handle, Key, NoService, Options, Shard, WriteBatch};
use thermae_env::{Env, SimEnv};
use thermae_formats::{SchemaId, Value, encode_key};

use super::history::{Expected, PartitionHistory};
use crate::model::{Operation, VIEWS, encode, entity_key, views};

/// Partitions of the simulated store.
pub const PARTITIONS: u16 = 4;
/// The one producer of a campaign.
const PRODUCER: u64 = 7;
/// Idleness after which a horizon batch has long followed the last row.
const REST_NS: u64 = 200_000_000;
/// Turns after which a store that should be done is called hung.
const TURNS_MAX: usize = 200_000;

/// A batch on its way: the ticket, and for each row where it went and what must come back.
struct Sent {
    ticket: Option<WriteTicket>,
    rows: Vec<(u16, Expected)>,
}

/// The store and its shards.
pub struct World {
    /// The machine.
    pub env: SimEnv,
    shards: Vec<Shard<SimEnv, NoService>>,
    handle: Handle<SimEnv>,
    _lock: <SimEnv as Env>::Lock,
    sent: Vec<Sent>,
    /// One history a partition.
    pub histories: Vec<PartitionHistory>,
    /// (partition, sequence) in log order, by shard, since the store was opened.
    log_order: Vec<Vec<(u16, u64)>>,
    next_producer_sequence: u64,
}

impl World {
    /// Opens the store of a machine; the history comes from before the crash, if there was one.
    pub fn open(
        env: SimEnv,
        cores: usize,
        histories: Vec<PartitionHistory>,
    ) -> Result<World, Error> {
        let options = Options {
            cores,
            memory_bytes: cores as u64 * (4 << 20),
            partitions: PARTITIONS,
            segment_bytes: 64 << 10,
            spin_us: 0,
            hot_memory: HotMemory::Heap,
            ..Options::default()
        };
        let opened = thermae_engine::open(env.clone(), Path::new("/data"), options)?;
        let Stepped { shards, handle, lock } = opened.into_shards(|_| NoService)?;
        let next = histories.iter().flat_map(|h| &h.accepted).map(|w| w.producer_sequence).max();
        Ok(World {
            env,
            shards,
            handle,
            _lock: lock,
            sent: Vec::new(),
            histories,
            log_order: vec![Vec::new(); cores],
            next_producer_sequence: next.unwrap_or(0) + 1,
        })
    }

    /// A fresh history for a fresh directory.
    pub fn no_history() -> Vec<PartitionHistory> {
        vec![PartitionHistory::default(); usize::from(PARTITIONS)]
    }

    /// Turns every shard once. False when the machine has stopped.
    pub fn turn(&mut self) -> bool {
        for shard in &mut self.shards {
            if shard.turn().is_err() {
                return false;
            }
        }
        !self.env.is_frozen()
    }

    /// Defines the views; false when the machine stopped first.
    pub fn define(&mut self) -> Result<bool, String> {
        let waiter = self.handle.submit_apply(&views()).map_err(|e| e.to_string())?;
        for _ in 0..TURNS_MAX {
            if !self.turn() {
                return Ok(false);
            }
            match waiter.poll().pop() {
                Some(Ok(_)) => return Ok(true),
                // The log failed under it.
                Some(Err(Error::InDoubt(_) | Error::ReadOnly(_))) => return Ok(false),
                Some(Err(error)) => return Err(error.to_string()),
                None => {}
            }
        }
        Err("the definitions were never answered".to_owned())
    }

    /// Sends operations as one batch, in the order given; `first_sequence` repeats an earlier one.
    pub fn send(&mut self, operations: &[Operation], repeat: Option<&[u64]>, ack: Ack) {
        let catalogue = self.handle.catalogue();
        let mut batch = WriteBatch::new(ack, PRODUCER);
        let mut rows = Vec::new();
        for (at, operation) in operations.iter().enumerate() {
            let producer_sequence = match repeat {
                Some(sequences) => sequences[at],
                None => {
                    self.next_producer_sequence += 1;
                    self.next_producer_sequence - 1
                }
            };
            let (view, _) = operation.target();
            let Ok(view_def) = catalogue.resolve(VIEWS[view]) else { return };
            let row = encode(&mut batch, &view_def.latest, operation, producer_sequence);
            let reads = self.handle.reads();
            let partition = reads.partition(reads.hash(batch.key(&row)));
            let history = &mut self.histories[usize::from(partition)];
            let expected = history.record(operation, producer_sequence);
            if let Expected::Sequence(sequence) = expected {
                self.log_order[reads.shard(partition)].push((partition, sequence));
            }
            rows.push((partition, expected));
            batch.rows.push(row);
        }
        if let Ok(ticket) = self.handle.submit(batch) {
            self.sent.push(Sent { ticket: Some(ticket), rows });
        }
    }

    /// Checks the answers that have come in. Acknowledgements count as durable only when asked so.
    pub fn collect(&mut self) -> Result<(), String> {
        for sent in &mut self.sent {
            let Some(ticket) = sent.ticket.take() else { continue };
            match ticket.poll() {
                Err(ticket) => sent.ticket = Some(ticket),
                Ok(outcomes) => {
                    for ((partition, expected), outcome) in sent.rows.iter().zip(outcomes) {
                        self.histories[usize::from(*partition)].answered(*expected, outcome)?;
                    }
                }
            }
        }
        self.sent.retain(|sent| sent.ticket.is_some());
        Ok(())
    }

    /// Turns until everything is answered; false when the machine stopped first.
    pub fn settle(&mut self) -> Result<bool, String> {
        for _ in 0..TURNS_MAX {
            self.collect()?;
            if self.sent.is_empty() {
                return Ok(true);
            }
            if !self.turn() {
                self.collect()?;
                return Ok(false);
            }
        }
        Err(format!("{} batches were never answered", self.sent.len()))
    }

    /// Answers everything and idles until the log has stated that all of it is durable. False when
    /// the machine stopped first.
    pub fn rest(&mut self) -> Result<bool, String> {
        if self.env.is_frozen() || !self.settle()? {
            return Ok(false);
        }
        let until_ns = self.env.monotonic_ns() + REST_NS;
        while self.env.monotonic_ns() < until_ns {
            if !self.turn() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What must be judged after a crash: histories, and what was logged in which order.
    pub fn into_past(self) -> (Vec<PartitionHistory>, Vec<Vec<(u16, u64)>>) {
        (self.histories, self.log_order)
    }

    /// Compares the recovered store with the history of before the crash: every acknowledged write
    /// is there, a prefix a shard, no hole, every row right. Returns the writes that were lost.
    pub fn judge(
        &mut self,
        log_order: &[Vec<(u16, u64)>],
    ) -> Result<Vec<(Operation, u64)>, String> {
        let survivors: Vec<u64> =
            (0..PARTITIONS).map(|partition| self.handle.reads().applied(partition)).collect();
        for (shard, order) in log_order.iter().enumerate() {
            let survived = |(partition, sequence): &(u16, u64)| {
                *sequence <= survivors[usize::from(*partition)]
            };
            // A refused row was never in the log; the rows of others behind it may be.
            let logged: Vec<_> = order.iter().filter(|row| !self.was_refused(row)).collect();
            let first_lost = logged.iter().position(|row| !survived(row)).unwrap_or(logged.len());
            if let Some(hole) = logged[first_lost..].iter().find(|row| survived(row)) {
                return Err(format!("shard {shard}: {hole:?} survived a row logged before it"));
            }
        }
        let mut lost = Vec::new();
        for (partition, history) in self.histories.iter_mut().enumerate() {
            let cut = history.cut(survivors[partition]);
            let cut = cut.map_err(|e| format!("partition {partition}: {e}"))?;
            lost.extend(cut.into_iter().map(|write| (write.operation, write.producer_sequence)));
        }
        lost.sort_by_key(|(_, sequence)| *sequence);
        self.check_rows()?;
        Ok(lost)
    }

    fn was_refused(&self, (partition, sequence): &(u16, u64)) -> bool {
        let accepted = &self.histories[usize::from(*partition)].accepted;
        accepted.get(*sequence as usize - 1).is_some_and(|write| write.refused)
    }

    /// Compares every row of the store with the model.
    pub fn check_rows(&self) -> Result<(), String> {
        let catalogue = self.handle.catalogue();
        let reads = self.handle.reads();
        for (view, name) in VIEWS.iter().enumerate() {
            let Ok(definition) = catalogue.resolve(name) else { continue };
            for entity in 0..super::run::ENTITIES {
                let mut key = Vec::new();
                let keys = &definition.latest.definition.join_keys;
                encode_key(keys, &[entity_key(view, entity)], &mut key)
                    .map_err(|e| e.to_string())?;
                let hash = reads.hash(&key);
                let model = self.histories[usize::from(reads.partition(hash))].model();
                let want = model.row(view, entity);
                let keys = [Key { entity_hash: hash, bytes: &key }];
                let mut result = Ok(());
                reads.multi_get(definition, &keys, &mut RowBuf::default(), |_, found| {
                    result = compare(&catalogue, found, want);
                });
                result.map_err(|e| format!("view {view} entity {entity}: {e}"))?;
            }
        }
        Ok(())
    }

    /// The digest of every partition.
    pub fn digests(&mut self) -> Result<Vec<(u16, u64)>, String> {
        let waiters = self.handle.submit_digests().map_err(|e| e.to_string())?;
        let mut all = Vec::new();
        for _ in 0..TURNS_MAX {
            if !self.turn() {
                return Err("stopped".to_owned());
            }
            all.extend(waiters.iter().flat_map(|waiter| waiter.poll()).flatten());
            if all.len() == usize::from(PARTITIONS) {
                all.sort_unstable();
                return Ok(all);
            }
        }
        Err("the digests were never answered".to_owned())
    }
}

fn compare(
    catalogue: &thermae_engine::Catalogue,
    found: &Lookup<'_>,
    want: Option<&crate::model::ModelRow>,
) -> Result<(), String> {
    let row = match (found, want) {
        (Lookup::Absent, None) => return Ok(()),
        (Lookup::Found(row), Some(_)) => row,
        (Lookup::Found(row), None) => {
            return Err(format!("a row of sequence {} that nobody wrote", row.sequence()));
        }
        (Lookup::Absent, Some(want)) => return Err(format!("missing: {want:?}")),
        (Lookup::Corrupt(_) | Lookup::Busy, _) => return Err("unreadable".to_owned()),
    };
    let Some(want) = want else { return Ok(()) };
    let order = (row.event_time(), row.created_time(), row.sequence());
    if order != want.order || row.expire_at() != want.expire_at {
        return Err(format!("{order:?}, must be {:?}", want.order));
    }
    let Some(values) = &want.values else {
        return if row.is_tombstone() { Ok(()) } else { Err("must be a tombstone".to_owned()) };
    };
    let schema = catalogue.schema(SchemaId(row.schema_id())).ok_or("unknown schema")?;
    let got = schema.layout.decode(row.value(), row.is_dense()).map_err(|e| e.to_string())?;
    let same =
        got.len() == values.len() && got.iter().zip(values).all(|(a, b)| Value::same_bits(a, b));
    if same { Ok(()) } else { Err(format!("{got:?}, must be {values:?}")) }
}
