//! Rows to be written, and what became of them.

use std::ops::Range;
use std::sync::Arc;

use thermae_formats::wire::{
    Ack, PlanView, RowOutcome, Token, WireError, WriteEncoder, WriteHead, WriteReply, WriteRow,
};
use thermae_formats::{Feature, JoinKey, KeyValue, NO_TIME, RowLayout, Value, encode_key};

use crate::error::Error;
use crate::plan::join_keys;

/// A view as a writer needs it: join keys, all features, and how rows are laid out.
#[derive(Debug, Clone)]
pub struct ViewHandle {
    view: Arc<PlanView>,
    join_keys: Arc<[JoinKey]>,
    layout: Arc<RowLayout>,
}

impl ViewHandle {
    pub(crate) fn new(view: PlanView) -> Result<Self, Error> {
        let every = (0..view.columns.len()).collect::<Vec<_>>();
        let layout = Arc::new(layout(&view, &every)?);
        Ok(Self { join_keys: join_keys(&view), view: Arc::new(view), layout })
    }

    /// Identities, join keys, and all features in declared order.
    pub fn view(&self) -> &PlanView {
        &self.view
    }

    pub(crate) fn encode_key(&self, key: &[KeyValue]) -> Result<Vec<u8>, Error> {
        let mut encoded = Vec::new();
        encode_key(&self.join_keys, key, &mut encoded)?;
        Ok(encoded)
    }
}

fn layout(view: &PlanView, columns: &[usize]) -> Result<RowLayout, Error> {
    let features = columns.iter().filter_map(|column| view.columns.get(*column));
    let features: Vec<Feature> = features
        .map(|column| Feature {
            name: column.name.clone(),
            value_type: column.value_type.clone(),
            default: None,
            description: String::new(),
            tags: Default::default(),
        })
        .collect();
    Ok(RowLayout::new(&features)?)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Put,
    Partial,
    Delete,
    Erase,
}

#[derive(Debug)]
struct Row {
    event_time: i64,
    created_time: i64,
    expire_at: i64,
    sequence: u64,
    dense: bool,
    key: Range<usize>,
    value: Range<usize>,
}

/// Rows of one view, to be written in one request. Once sent it keeps its producer sequences, so
/// that sending it again changes nothing; `clear` makes it a new one.
#[derive(Debug)]
pub struct WriteBatch {
    handle: ViewHandle,
    what: What,
    features: Vec<u16>,
    layout: Arc<RowLayout>,
    ack: Ack,
    /// (producer id, sequence of the first row), once known.
    producer: Option<(u64, u64)>,
    explicit: bool,
    next_sequence: u64,
    rows: Vec<Row>,
    bytes: Vec<u8>,
}

impl WriteBatch {
    fn new(handle: &ViewHandle, what: What, features: Vec<u16>, layout: Arc<RowLayout>) -> Self {
        Self {
            handle: handle.clone(),
            what,
            features,
            layout,
            ack: Ack::Durable,
            producer: None,
            explicit: false,
            next_sequence: 0,
            rows: Vec::new(),
            bytes: Vec::new(),
        }
    }

    /// Full rows.
    pub fn put(handle: &ViewHandle) -> Self {
        Self::new(handle, What::Put, Vec::new(), Arc::clone(&handle.layout))
    }

    /// Tombstones.
    pub fn delete(handle: &ViewHandle) -> Self {
        Self::new(handle, What::Delete, Vec::new(), Arc::clone(&handle.layout))
    }

    /// Entities to erase: everything of them in this view that came before. No repeat is recognised, and none does
    /// harm, so that those that were overloaded are sent again in any order.
    pub fn erase(handle: &ViewHandle) -> Self {
        let mut batch = Self::new(handle, What::Erase, Vec::new(), Arc::clone(&handle.layout));
        batch.producer = Some((0, 0));
        batch
    }

    /// Some features of rows, named in any order; values are then given in the order named.
    ///
    /// # Errors
    /// [`Error::Usage`] for a name that the view does not have, or one named twice or out of the
    /// declared order.
    pub fn partial(handle: &ViewHandle, features: &[&str]) -> Result<Self, Error> {
        let mut positions: Vec<usize> = Vec::with_capacity(features.len());
        for name in features {
            let found = handle.view.columns.iter().position(|column| column.name == *name);
            let Some(position) = found else {
                return Err(Error::Usage(format!("the view has no feature {name:?}")));
            };
            if positions.last().is_some_and(|last| *last >= position) {
                let why = "features of a partial write come once each, in declared order";
                return Err(Error::Usage(format!("{why}: {name:?}")));
            }
            positions.push(position);
        }
        let layout = Arc::new(layout(&handle.view, &positions)?);
        // A plan has at most 4,096 columns.
        let features = positions.iter().map(|position| *position as u16).collect();
        Ok(Self::new(handle, What::Partial, features, layout))
    }

    /// What the acknowledgement is to mean; durable unless set.
    pub fn ack(&mut self, ack: Ack) -> &mut Self {
        self.ack = ack;
        self
    }

    /// Numbers the rows as this producer's, from `first_sequence` (at least 1) on, in place of the
    /// client's own producer: a load that may be repeated derives both from its source.
    pub fn producer(&mut self, producer_id: u64, first_sequence: u64) -> &mut Self {
        self.producer = Some((producer_id, first_sequence));
        self.next_sequence = first_sequence;
        self
    }

    /// The sequence of the next row pushed, rising, gaps allowed; needs `producer` first.
    ///
    /// # Errors
    /// [`Error::Usage`] without a producer, or below a sequence used already.
    pub fn sequence(&mut self, sequence: u64) -> Result<&mut Self, Error> {
        if self.producer.is_none() || sequence < self.next_sequence {
            let why = "an explicit sequence needs a producer, and rises";
            return Err(Error::Usage(why.to_owned()));
        }
        self.explicit |= sequence != self.next_sequence;
        self.next_sequence = sequence;
        Ok(self)
    }

    /// Adds a row. `created_time` may be `NO_TIME`.
    ///
    /// # Errors
    /// A key or values that do not fit the view; the batch is as before.
    pub fn push(
        &mut self,
        key: &[KeyValue],
        event_time: i64,
        created_time: i64,
        values: &[Value],
    ) -> Result<(), Error> {
        self.push_expiring(key, event_time, created_time, NO_TIME, values)
    }

    /// Adds a row that ends by itself at `expire_at`, microseconds UTC.
    ///
    /// # Errors
    /// As [`WriteBatch::push`].
    pub fn push_expiring(
        &mut self,
        key: &[KeyValue],
        event_time: i64,
        created_time: i64,
        expire_at: i64,
        values: &[Value],
    ) -> Result<(), Error> {
        if matches!(self.what, What::Delete | What::Erase) {
            let why = "a delete takes keys, no values: use push_key; an erase: push_erased";
            return Err(Error::Usage(why.to_owned()));
        }
        let start = self.bytes.len();
        encode_key(&self.handle.join_keys, key, &mut self.bytes)?;
        let middle = self.bytes.len();
        let dense = match self.layout.encode(values, &mut self.bytes) {
            Ok(dense) => dense,
            Err(error) => {
                self.bytes.truncate(start);
                return Err(error.into());
            }
        };
        self.add(start, middle, dense, [event_time, created_time, expire_at]);
        Ok(())
    }

    /// Adds a tombstone.
    ///
    /// # Errors
    /// A key that does not fit, or a batch that is no delete.
    pub fn push_key(&mut self, key: &[KeyValue], event_time: i64) -> Result<(), Error> {
        if self.what != What::Delete {
            return Err(Error::Usage("only a delete takes keys without values".to_owned()));
        }
        let start = self.bytes.len();
        encode_key(&self.handle.join_keys, key, &mut self.bytes)?;
        self.add(start, self.bytes.len(), false, [event_time, NO_TIME, NO_TIME]);
        Ok(())
    }

    /// Adds an entity to erase.
    ///
    /// # Errors
    /// A key that does not fit, or a batch that is no erase.
    pub fn push_erased(&mut self, key: &[KeyValue]) -> Result<(), Error> {
        if self.what != What::Erase {
            return Err(Error::Usage("only an erase takes keys without a time".to_owned()));
        }
        let start = self.bytes.len();
        encode_key(&self.handle.join_keys, key, &mut self.bytes)?;
        self.add(start, self.bytes.len(), false, [NO_TIME; 3]);
        Ok(())
    }

    /// Adds a row whose key and value are encoded already. The server checks them.
    /// `times` are event time, created time, expiry; the latter two may be `NO_TIME`.
    pub fn push_encoded(&mut self, key: &[u8], value: &[u8], dense: bool, times: [i64; 3]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        let middle = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.add(start, middle, dense, times);
    }

    fn add(&mut self, start: usize, middle: usize, dense: bool, times: [i64; 3]) {
        let [event_time, created_time, expire_at] = times;
        let sequence = self.next_sequence;
        self.next_sequence = self.next_sequence.saturating_add(1);
        let (key, value) = (start..middle, middle..self.bytes.len());
        self.rows.push(Row { event_time, created_time, expire_at, sequence, dense, key, value });
    }

    /// Forgets rows and producer sequences, keeps the memory.
    pub fn clear(&mut self) {
        self.rows.clear();
        self.bytes.clear();
        self.producer = (self.what == What::Erase).then_some((0, 0));
        self.explicit = false;
        self.next_sequence = 0;
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Largest size of the request that carries it, in bytes.
    pub fn len_bytes(&self) -> usize {
        64 + 2 * self.features.len() + 40 * self.rows.len() + self.bytes.len()
    }

    /// The producer id and the sequence of the first row, once known.
    pub fn producer_sequence(&self) -> Option<(u64, u64)> {
        self.producer
    }

    /// Gives the rows sequences of the client's own producer unless they have some, and returns the
    /// last sequence of that producer now.
    pub(crate) fn number(&mut self, producer_id: u64, last_sequence: u64) -> u64 {
        if self.producer.is_some() {
            return last_sequence;
        }
        self.producer = Some((producer_id, last_sequence + 1));
        last_sequence + self.rows.len() as u64
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>, id: u64, max: u32) -> Result<(), WireError> {
        let (producer_id, first_sequence) = self.producer.unwrap_or((0, 0));
        let head = WriteHead {
            view_id: self.handle.view.view_id,
            schema_id: self.handle.view.schema_id,
            ack: self.ack,
            explicit_sequences: self.explicit,
            producer_id,
            first_sequence,
        };
        let mut encoder = match self.what {
            What::Put => WriteEncoder::put(out, id, &head),
            What::Delete => WriteEncoder::delete(out, id, &head),
            What::Erase => WriteEncoder::erase(out, id, &head),
            What::Partial => WriteEncoder::put_partial(out, id, &head, &self.features)?,
        };
        for row in &self.rows {
            encoder.push(&WriteRow {
                event_time: row.event_time,
                created_time: row.created_time,
                expire_at: row.expire_at,
                producer_sequence: row.sequence,
                key: &self.bytes[row.key.clone()],
                dense: row.dense,
                value: &self.bytes[row.value.clone()],
            })?;
        }
        encoder.finish(max)
    }
}

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The lowest level that any row that is OK reached.
    pub level: Ack,
    /// One outcome for each row, in order.
    pub outcomes: Vec<RowOutcome>,
    /// For people: why the first row that is not OK is not.
    pub message: String,
}

impl Written {
    pub(crate) fn from_reply(reply: &WriteReply<'_>) -> Self {
        Self {
            level: reply.level,
            outcomes: reply.outcomes().collect(),
            message: reply.message.to_owned(),
        }
    }

    /// All rows in doubt: their answer was lost.
    pub(crate) fn in_doubt(rows: usize) -> Self {
        Self {
            level: Ack::Logged,
            outcomes: vec![RowOutcome::InDoubt; rows],
            message: "the answer was lost: repeating the same batch is safe".to_owned(),
        }
    }

    /// Whether every row is OK.
    pub fn all_ok(&self) -> bool {
        self.outcomes.iter().all(|outcome| matches!(outcome, RowOutcome::Ok { .. }))
    }

    /// The last write of each partition touched, for `ReadOptions::min_offset`.
    pub fn tokens(&self) -> Vec<Token> {
        let mut tokens: Vec<Token> = self
            .outcomes
            .iter()
            .filter_map(|outcome| match outcome {
                RowOutcome::Ok { token, .. } => Some(*token),
                _ => None,
            })
            .collect();
        tokens.sort_unstable_by_key(|token| (token.partition, std::cmp::Reverse(token.sequence)));
        tokens.dedup_by_key(|token| token.partition);
        tokens
    }
}
