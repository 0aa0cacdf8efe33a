//! Plans, and the keys read through them.

use std::sync::Arc;

use thermae_formats::wire::{ColumnShape, PackedKeys, PlanColumn, PlanReply, PlanView};
use thermae_formats::{JoinKey, KeyType, KeyValue, NO_TIME, encode_key};

use crate::error::Error;

/// A view and the features asked of it, owned, so that it can be prepared on every connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub project: String,
    pub view: String,
    pub version: u32,
    pub features: Vec<String>,
}

/// Features of some views, compiled by the server. Cheap to clone; outlives reconnecting.
#[derive(Debug, Clone)]
pub struct Plan {
    pub(crate) inner: Arc<PlanInner>,
}

#[derive(Debug)]
pub(crate) struct PlanInner {
    /// Position among the client's plans.
    pub index: usize,
    pub wanted: Vec<Wanted>,
    pub views: Vec<PlanView>,
    pub shapes: Vec<Vec<ColumnShape>>,
    pub join_keys: Vec<Arc<[JoinKey]>>,
}

impl Plan {
    pub(crate) fn new(index: usize, wanted: Vec<Wanted>, reply: PlanReply) -> Self {
        let shapes = reply.views.iter().map(|view| {
            view.columns.iter().map(|column| ColumnShape::of(&column.value_type)).collect()
        });
        let join_keys = reply.views.iter().map(join_keys);
        let (shapes, join_keys) = (shapes.collect(), join_keys.collect());
        let inner = PlanInner { index, wanted, shapes, join_keys, views: reply.views };
        Self { inner: Arc::new(inner) }
    }

    /// The views, in the order asked: identities, join keys, columns.
    pub fn views(&self) -> &[PlanView] {
        &self.inner.views
    }

    /// The columns of one view, in the order asked; none beyond the last view.
    pub fn columns(&self, view: usize) -> &[PlanColumn] {
        self.inner.views.get(view).map_or(&[], |view| &view.columns)
    }

    /// An empty list of keys of one view.
    ///
    /// # Errors
    /// [`Error::Usage`] for a view that the plan does not have.
    pub fn keys(&self, view: usize) -> Result<Keys, Error> {
        match self.inner.join_keys.get(view) {
            Some(join_keys) => Ok(Keys::new(Arc::clone(join_keys))),
            None => Err(Error::Usage(format!("this plan has no view {view}"))),
        }
    }

    /// Whether another preparation of the same names gave the same columns.
    pub(crate) fn same_columns(&self, reply: &PlanReply) -> bool {
        let mine = self.inner.views.iter();
        self.inner.views.len() == reply.views.len()
            && mine.zip(&reply.views).all(|(mine, now)| {
                mine.view_id == now.view_id
                    && mine.join_keys == now.join_keys
                    && mine.columns == now.columns
            })
    }
}

pub(crate) fn join_keys(view: &PlanView) -> Arc<[JoinKey]> {
    view.join_keys
        .iter()
        .map(|key| JoinKey { name: key.name.clone(), key_type: key.key_type })
        .collect()
}

/// Keys of one view, packed as they travel. Reuse it: `clear` keeps its memory.
#[derive(Debug, Clone)]
pub struct Keys {
    join_keys: Arc<[JoinKey]>,
    bytes: Vec<u8>,
    count: u32,
}

impl Keys {
    pub(crate) fn new(join_keys: Arc<[JoinKey]>) -> Self {
        Self { join_keys, bytes: Vec::new(), count: 0 }
    }

    /// The join keys, in order.
    pub fn join_keys(&self) -> &[JoinKey] {
        &self.join_keys
    }

    /// Adds a key: one value for each join key.
    ///
    /// # Errors
    /// A value that cannot be coerced to its join key's type, naming it.
    pub fn push(&mut self, values: &[KeyValue]) -> Result<(), Error> {
        encode_key(&self.join_keys, values, &mut self.bytes)?;
        self.count += 1;
        Ok(())
    }

    /// Adds a key of a view whose one join key is an int64 or int32.
    ///
    /// # Errors
    /// Other join keys, or a value outside int32.
    pub fn push_i64(&mut self, value: i64) -> Result<(), Error> {
        if let [JoinKey { key_type: KeyType::Int64, .. }] = *self.join_keys {
            self.bytes.extend_from_slice(&value.to_le_bytes());
            self.count += 1;
            return Ok(());
        }
        self.push(&[KeyValue::Int(value)])
    }

    /// Adds a key of a view whose one join key is a string.
    ///
    /// # Errors
    /// Other join keys, or a text that is too long.
    pub fn push_str(&mut self, value: &str) -> Result<(), Error> {
        self.push(&[KeyValue::String(value.to_owned())])
    }

    /// Adds keys that are encoded already, `count` of them, one after the other. The server checks
    /// them.
    pub fn push_packed(&mut self, bytes: &[u8], count: u32) {
        self.bytes.extend_from_slice(bytes);
        self.count += count;
    }

    /// Forgets the keys and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.count = 0;
    }

    /// How many keys.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The keys as they travel.
    pub fn packed(&self) -> PackedKeys<'_> {
        PackedKeys { count: self.count, bytes: &self.bytes }
    }
}

/// What a read asks beside its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadOptions {
    /// One float32 block for each view instead of columns. Default off.
    pub matrix: bool,
    /// Event times beside the statuses. Default off.
    pub event_times: bool,
    /// The time by which TTL is judged, microseconds UTC. Default `NO_TIME`: the server's now.
    pub read_time: i64,
    /// Time given to the server, microseconds; 0 = no deadline. Default 0.
    pub deadline_us: u32,
    /// Writes that the answer must have seen ([`crate::Written::tokens`]). Default none.
    pub min_offset: Vec<thermae_formats::wire::Token>,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            matrix: false,
            event_times: false,
            read_time: NO_TIME,
            deadline_us: 0,
            min_offset: Vec::new(),
        }
    }
}
