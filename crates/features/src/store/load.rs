//! Loading a view from a source: a window of event time, or what is new since the last time.

use thermae_engine::store::Row;
use thermae_engine::{Ack, Outcome, Refusal, Schema, WriteBatch};
use thermae_env::Env;
use xxhash_rust::xxh3::xxh3_64;

use super::FeatureStore;
use crate::error::Error;

/// Rows written together, at most.
const BATCH_ROWS_MAX: usize = 1_000;

/// A row of a source.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceRow {
    /// Its place in the order of arrival, from 1 and rising; gaps are fine. A late row, whose event time is
    /// older, has a higher one.
    pub sequence: u64,
    /// The row: keys and values in the view's declared order.
    pub row: Row,
}

/// Where rows come from, in the order of their arrival. Reading it again brings the same rows under the same
/// sequences, and behind them what has come since.
pub trait RowSource {
    /// Names it: equal names are one source, whose sequences go on.
    fn name(&self) -> &str;
    /// Some rows behind a sequence, in rising order; none when there are none yet.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn read(&mut self, after: u64) -> Result<Vec<SourceRow>, Box<dyn std::error::Error>>;
}

/// What a load did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Rows that the source gave.
    pub rows: u64,
    /// Rows that were newly written.
    pub written: u64,
    /// Rows that an earlier run of this load had written.
    pub duplicate: u64,
    /// Rows outside the window of event time.
    pub outside: u64,
    /// Sequence and reason of rows that can never be written.
    pub refused: Vec<(u64, Refusal)>,
    /// The last sequence that is done with.
    pub reached: u64,
}

impl<E: Env> FeatureStore<E> {
    /// Loads the rows of a source whose event time lies in a window, both ends included, microseconds UTC. A
    /// run that was cut short goes on when it is repeated; one that is complete changes nothing then.
    ///
    /// # Errors
    /// The view is not there, the source cannot be read, a row does not fit the view (those before it are
    /// written), or the store takes no writes now.
    pub fn materialize(
        &self,
        view: &str,
        source: &mut dyn RowSource,
        from_us: i64,
        to_us: i64,
    ) -> Result<LoadReport, Error> {
        // Another window is another producer: its rows may lie before those that this one has written.
        let producer = |view: &str, name: &str| {
            xxh3_64(format!("window\0{view}\0{name}\0{from_us}\0{to_us}").as_bytes())
        };
        let wanted = |row: &Row| (from_us..=to_us).contains(&row.event_time);
        self.load(view, source, 0, producer, wanted, |_, _| Ok(()))
    }

    /// Loads what a source has received since the last time. The mark is the order of arrival, not the event
    /// time: a late row is not missed. It is kept with the registry, a batch at a time; where it is lost, rows
    /// come again under the same numbers, and change nothing.
    ///
    /// # Errors
    /// As [`FeatureStore::materialize`].
    pub fn materialize_incremental(
        &self,
        view: &str,
        source: &mut dyn RowSource,
    ) -> Result<LoadReport, Error> {
        let schema = self.schema(view)?;
        let key = watermark_key(&schema, source.name());
        let after = self.registry.watermark(&key);
        let producer =
            |view: &str, name: &str| xxh3_64(format!("arrival\0{view}\0{name}").as_bytes());
        let keep = |key: &str, at| self.registry.set_watermark(key, at);
        self.load(view, source, after, producer, |_| true, keep)
    }

    /// How far [`FeatureStore::materialize_incremental`] has come with a source.
    ///
    /// # Errors
    /// The view is not there.
    pub fn load_watermark(&self, view: &str, source: &str) -> Result<u64, Error> {
        Ok(self.registry.watermark(&watermark_key(&*self.schema(view)?, source)))
    }

    fn load(
        &self,
        view: &str,
        source: &mut dyn RowSource,
        after: u64,
        producer: impl FnOnce(&str, &str) -> u64,
        wanted: impl Fn(&Row) -> bool,
        mut reached: impl FnMut(&str, u64) -> Result<(), Error>,
    ) -> Result<LoadReport, Error> {
        // One version for all of it, whatever the name means meanwhile.
        let schema = self.schema(view)?;
        let key = watermark_key(&schema, source.name());
        let producer_id = producer(&qualified(&schema), source.name()).max(1);
        let mut report = LoadReport { reached: after, ..LoadReport::default() };
        loop {
            let rows = source.read(report.reached).map_err(|e| {
                let what = format!("source {:?} cannot be read: {e}", source.name());
                Error::Invalid(what)
            })?;
            if rows.is_empty() {
                return Ok(report);
            }
            for rows in rows.chunks(BATCH_ROWS_MAX) {
                let last = check_order(source.name(), rows, report.reached)?;
                let mut batch = WriteBatch::new(Ack::Durable, producer_id);
                let mut sequences = Vec::with_capacity(rows.len());
                for row in rows {
                    report.rows += 1;
                    if !wanted(&row.row) {
                        report.outside += 1;
                        continue;
                    }
                    batch.push(&schema, &row.row, row.sequence).map_err(|e| {
                        let (name, at) = (source.name(), row.sequence);
                        Error::Invalid(format!("row {at} of source {name:?}: {e}"))
                    })?;
                    sequences.push(row.sequence);
                }
                report.settle(&sequences, self.handle.write(batch)?)?;
                report.reached = last;
                reached(&key, last)?;
            }
        }
    }
}

impl LoadReport {
    fn settle(&mut self, sequences: &[u64], outcomes: Vec<Outcome>) -> Result<(), Error> {
        for (sequence, outcome) in sequences.iter().zip(outcomes) {
            let why = match outcome {
                Outcome::Ok { duplicate: false, .. } => {
                    self.written += 1;
                    continue;
                }
                Outcome::Ok { duplicate: true, .. } => {
                    self.duplicate += 1;
                    continue;
                }
                Outcome::NotApplied(refusal) if !refusal.is_passing() => {
                    self.refused.push((*sequence, refusal));
                    continue;
                }
                Outcome::NotApplied(refusal) => refusal.to_string(),
                Outcome::InDoubt => "it is in doubt whether it was written".to_owned(),
            };
            let what =
                format!("row {sequence}: {why}; repeat the load, it goes on where it stopped");
            return Err(thermae_engine::Error::ReadOnly(what).into());
        }
        Ok(())
    }
}

fn check_order(source: &str, rows: &[SourceRow], after: u64) -> Result<u64, Error> {
    let mut last = after;
    for row in rows {
        if row.sequence <= last {
            let at = row.sequence;
            let what = format!("source {source:?} gave row {at} after row {last}: they must rise");
            return Err(Error::Invalid(what));
        }
        last = row.sequence;
    }
    Ok(last)
}

fn qualified(schema: &Schema) -> String {
    let view = &schema.definition;
    format!("{}/{}@{}", view.project, view.name, view.version)
}

fn watermark_key(schema: &Schema, source: &str) -> String {
    format!("{} {source}", qualified(schema))
}
