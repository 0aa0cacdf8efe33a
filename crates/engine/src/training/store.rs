//! Training reads of a whole store: the one place where what a training read sees is put together.

use std::ops::RangeInclusive;

use thermae_env::Env;
use thermae_formats::ViewId;
use thermae_tiering::history::{HistoryParts, HistoryRange};
use thermae_tiering::merge::{Entry, PartedSource, SeekSource, Source};

use crate::error::Error;
use crate::handle::Handle;
use crate::snapshot::Snapshot;
use crate::store::Store;

use super::{Answer, Histories, Means, Progress, Request, Spine, TrainingError, read};

/// Bytes that are read at once from a table: a thread has one open at a time.
const SCAN_BYTES: usize = 512 << 10;

/// Versions of one view in all tiers that the store has, under one snapshot.
pub struct StoreHistory<E: Env> {
    parts: HistoryParts<E>,
}

impl<E: Env> Histories for Snapshot<E> {
    type Error = Error;
    type Source = StoreHistory<E>;

    fn open(
        &self,
        view: ViewId,
        entity_hashes: RangeInclusive<u64>,
    ) -> Result<StoreHistory<E>, Error> {
        let all = HistoryRange::all(view, SCAN_BYTES);
        let range = HistoryRange { hashes: entity_hashes, through_cache: true, ..all };
        Ok(StoreHistory { parts: self.parts_of(&range)? })
    }

    fn hash_seed(&self) -> u64 {
        Snapshot::hash_seed(self)
    }
}

impl<E: Env> Source for StoreHistory<E> {
    type Error = Error;

    fn peek(&self) -> Option<Entry<'_>> {
        self.parts.peek()
    }

    fn advance(&mut self) -> Result<(), Error> {
        self.parts.advance().map_err(Error::from_warm)
    }
}

impl<E: Env> SeekSource for StoreHistory<E> {
    fn seek(&mut self, entity_hash: u64, key: &[u8]) -> Result<(), Error> {
        self.parts.seek(entity_hash, key).map_err(Error::from_warm)
    }

    fn hashes(&self) -> &[u64] {
        self.parts.hashes()
    }

    fn event_time(&self, row: usize) -> Option<i64> {
        self.parts.event_time(row)
    }

    fn leave_out(&mut self, rows: usize) -> Result<(), Error> {
        self.parts.leave_out(rows).map_err(Error::from_warm)
    }
}

impl<E: Env> PartedSource for StoreHistory<E> {
    fn next_part(&mut self) -> Result<bool, Error> {
        self.parts.next_part().map_err(Error::from_warm)
    }

    fn event_times(&self) -> RangeInclusive<i64> {
        self.parts.event_times()
    }
}

impl<E: Env> Handle<E> {
    /// What a training read may use by the options of the store: each call is for one read.
    pub fn training_means(&self) -> Means<E> {
        let scratch = &self.shared().scratch;
        let (budget_bytes, threads) = (scratch.budget_bytes, scratch.threads);
        Means { spill: scratch.spill(), budget_bytes, threads }
    }

    /// Joins the features of a request onto a spine, as they were at each row's time. It sees every write that
    /// was acknowledged before the call, and none that comes later. The join is done when this returns, by
    /// threads of low priority; no shard works for it, but for handing over what it holds.
    ///
    /// # Errors
    /// See [`TrainingError`]; or there are too many snapshots.
    pub fn history<'s>(
        &self,
        request: &Request,
        spine: &'s dyn Spine,
        means: &Means<E>,
        progress: &'s Progress,
    ) -> Result<Answer<'s, E>, TrainingError> {
        let snapshot = self.snapshot()?;
        read(request, snapshot.catalogue(), &snapshot, spine, means, progress)
    }
}

impl<E: Env> Store<E> {
    /// Joins the features of a request onto a spine, as they were at each row's time, with the means that the
    /// store's options allow. `progress` tells how far it is, and ends it early.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::sync::Arc;
    /// use arrow_array::cast::AsArray;
    /// use arrow_array::types::Float32Type;
    /// use arrow_array::{Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
    /// use thermae_engine::store::{Row, Store};
    /// use thermae_engine::training::{MemorySpine, Progress, Request, ViewJoin};
    /// use thermae_formats::{Feature, FeatureView, JoinKey, KeyType, KeyValue, Scalar, Value};
    ///
    /// # let folder = tempfile::tempdir()?;
    /// let store = Store::open(folder.path())?;
    /// let keys = vec![JoinKey::new("user", KeyType::Int64)];
    /// store.apply(&[FeatureView::new("shop", "users", keys, vec![Feature::new("score", Scalar::Float32)])])?;
    /// let row = |time_us, score| Row::new([KeyValue::Int(7)], time_us, [Value::Float32(score)]);
    /// store.put("shop/users", &[row(1_000, 0.5), row(2_000, 0.75)])?;
    ///
    /// // The spine: whose features are wanted, and as of when.
    /// let users = Int64Array::from(vec![7, 7, 7]);
    /// let times = TimestampMicrosecondArray::from(vec![999, 1_999, 2_000]);
    /// let batch = RecordBatch::try_from_iter([
    ///     ("user", Arc::new(users) as _),
    ///     ("event_timestamp", Arc::new(times) as _),
    /// ])?;
    /// let spine = MemorySpine::new(batch.schema(), vec![batch])?;
    /// let request = Request {
    ///     time_column: "event_timestamp".into(),
    ///     joins: vec![ViewJoin::new("shop/users").with_features(&["score"])],
    ///     ..Request::default()
    /// };
    /// let progress = Progress::new();
    /// let mut answer = store.history(&request, &spine, &progress)?;
    /// let batch = answer.next_batch()?.expect("three rows");
    /// let scores = batch.column(2).as_primitive::<Float32Type>();
    /// assert!(scores.is_null(0)); // nothing was known of the user a microsecond earlier
    /// assert_eq!((scores.value(1), scores.value(2)), (0.5, 0.75));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Handle::history`].
    pub fn history<'s>(
        &self,
        request: &Request,
        spine: &'s dyn Spine,
        progress: &'s Progress,
    ) -> Result<Answer<'s, E>, TrainingError> {
        self.handle().history(request, spine, &self.handle().training_means(), progress)
    }
}
