//! Sending rows in file order, several batches in flight, refused ones again until they are in.
//!
//! Order matters: the server keeps, for each producer, the highest sequence it has applied, and takes
//! a row at or below it for a repeat. So while any row is to be retried nothing new is sent, and
//! retries go in row order; the server refuses rows behind a refused one (`BlockedBehind`).

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::{Map, Value as Json};
use thermae_formats::FeatureView;
use thermae_formats::wire::{NotApplied, RowOutcome};
use xxhash_rust::xxh3::xxh3_64;

use super::cell::Reader;
use super::error::IngestError;
use super::mapping::Mapping;
use super::rejects::{Reason, Rejects};
use super::rows::{Rejection, Row, RowReader};

/// Rows sent together, at most.
const BATCH_ROWS_MAX: usize = 1000;
/// Values sent together, in bytes, at most (a single row may be larger).
const BATCH_BYTES_MAX: usize = 1 << 20;
/// Batches sent and not yet answered, at most.
const IN_FLIGHT_MAX: usize = 4;
/// Rounds of retrying in which nothing got in, before giving up.
const ROUNDS_MAX: u32 = 40;
/// Pauses between such rounds: doubled from the first up to the last.
const PAUSE_FIRST: Duration = Duration::from_millis(5);
const PAUSE_LAST: Duration = Duration::from_secs(1);
/// A server that asks for a longer pause is asked again all the same.
const PAUSE_HINT_MAX: Duration = Duration::from_secs(10);

/// Where rows go; batches are applied in the order of [`Writer::send`].
pub trait Writer {
    /// A sent batch.
    type Pending;
    /// Sends rows; their producer sequences are their numbers.
    ///
    /// # Errors
    /// When the connection is of no more use.
    fn send(&mut self, rows: &[Row]) -> Result<Self::Pending, IngestError>;
    /// What became of each row of a sent batch.
    ///
    /// # Errors
    /// When the connection is of no more use.
    fn wait(&mut self, pending: Self::Pending) -> Result<Vec<RowOutcome>, IngestError>;
    /// What check `check` of the view is called, if that is known.
    fn check_name(&self, check: u32) -> Option<String> {
        let _ = check;
        None
    }
    /// Lets time pass before a retry.
    fn pause(&mut self, duration: Duration);
}

/// What a load did.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// Rows in the file.
    pub rows: u64,
    /// Rows newly applied.
    pub accepted: u64,
    /// Rows that an earlier run of this load had settled: applied, or refused then. Which of both the server does not
    /// remember.
    pub duplicate: u64,
    /// Rows that cannot be applied.
    pub rejected: u64,
    /// Why not, most frequent first.
    pub reasons: Vec<Reason>,
    /// Rows sent again because the server was overloaded or an answer was lost.
    pub retried: u64,
}

/// The producer id of a load: equal for the same bytes, view and mapping, so that a repetition changes
/// nothing; never 0, which stands for no producer.
pub fn producer_id(digest: u64, fingerprint: &str) -> u64 {
    let mut bytes = digest.to_le_bytes().to_vec();
    bytes.extend_from_slice(fingerprint.as_bytes());
    xxh3_64(&bytes).max(1)
}

/// Loads all rows of a reader. `progress` is told the rows settled so far.
///
/// # Errors
/// [`IngestError`] when the file cannot be read on or the server takes no more; rows settled until
/// then stay applied, and the same load begun again goes on after them.
pub fn load<W: Writer>(
    reader: &mut impl Reader,
    view: &FeatureView,
    mapping: Mapping,
    writer: &mut W,
    rejects: Rejects,
    progress: &mut dyn FnMut(u64),
) -> Result<Report, IngestError> {
    let mut rows = RowReader::new(view, reader.columns(), mapping)?;
    let mut loader = Loader {
        view,
        writer,
        rejects,
        report: Report::default(),
        in_flight: VecDeque::new(),
        retries: Vec::new(),
        retry_after: Duration::ZERO,
    };
    while let Some(batch) = reader.next_batch()? {
        let mut good: Vec<Row> = Vec::with_capacity(BATCH_ROWS_MAX);
        let mut good_bytes = 0;
        let mut failure = None;
        rows.read(batch.as_ref(), |row| {
            if failure.is_some() {
                return;
            }
            loader.report.rows += 1;
            let step = match row {
                Err(rejection) => loader.reject(&rejection),
                Ok(row) => {
                    good_bytes += row.size_bytes();
                    good.push(row);
                    if good.len() < BATCH_ROWS_MAX && good_bytes < BATCH_BYTES_MAX {
                        return;
                    }
                    good_bytes = 0;
                    loader.send(std::mem::take(&mut good))
                }
            };
            failure = step.err();
        });
        if let Some(error) = failure {
            return Err(error);
        }
        if !good.is_empty() {
            loader.send(good)?;
        }
        progress(loader.settled());
    }
    loader.drain()?;
    progress(loader.settled());
    loader.finish()
}

struct Loader<'a, W: Writer> {
    view: &'a FeatureView,
    writer: &'a mut W,
    rejects: Rejects,
    report: Report,
    in_flight: VecDeque<(Vec<Row>, W::Pending)>,
    /// Rows to send again, in the order of their answers.
    retries: Vec<Row>,
    /// The longest time that the server asked to wait before they are sent.
    retry_after: Duration,
}

impl<W: Writer> Loader<'_, W> {
    fn settled(&self) -> u64 {
        self.report.accepted + self.report.duplicate + self.rejects.rows()
    }

    fn reject(&mut self, rejection: &Rejection) -> Result<(), IngestError> {
        self.rejects.add(rejection)
    }

    fn send(&mut self, rows: Vec<Row>) -> Result<(), IngestError> {
        while self.in_flight.len() >= IN_FLIGHT_MAX {
            self.settle_oldest()?;
        }
        if !self.retries.is_empty() {
            self.drain()?;
        }
        let pending = self.writer.send(&rows)?;
        self.in_flight.push_back((rows, pending));
        Ok(())
    }

    /// Takes the oldest answer.
    fn settle_oldest(&mut self) -> Result<(), IngestError> {
        let Some((rows, pending)) = self.in_flight.pop_front() else { return Ok(()) };
        let outcomes = self.writer.wait(pending)?;
        if outcomes.len() != rows.len() {
            let (sent, answered) = (rows.len(), outcomes.len());
            return Err(IngestError::Server(format!("{sent} rows were sent, {answered} answered")));
        }
        for (row, outcome) in rows.into_iter().zip(outcomes) {
            self.settle(row, outcome)?;
        }
        Ok(())
    }

    fn settle(&mut self, row: Row, outcome: RowOutcome) -> Result<(), IngestError> {
        match outcome {
            RowOutcome::Ok { duplicate: false, .. } => self.report.accepted += 1,
            RowOutcome::Ok { duplicate: true, .. } => self.report.duplicate += 1,
            RowOutcome::InDoubt | RowOutcome::NotApplied(NotApplied::BlockedBehind) => {
                self.retries.push(row);
            }
            RowOutcome::Overloaded { retry_after_ms } => {
                let hint = Duration::from_millis(u64::from(retry_after_ms));
                self.retry_after = self.retry_after.max(hint.min(PAUSE_HINT_MAX));
                self.retries.push(row);
            }
            RowOutcome::FailsCheck { check } => {
                let name = self.check_name(check);
                self.refuse(&row, format!("it fails {name}"), name)?;
            }
            RowOutcome::Quarantined { check } => {
                let name = self.check_name(check);
                let reason = format!("it fails {name}, and is in the view's quarantine");
                self.refuse(&row, reason, name)?;
            }
            RowOutcome::NotApplied(reason) => match permanent(reason) {
                Some((reason, detail)) => {
                    self.refuse(&row, reason.to_owned(), detail.to_owned())?
                }
                None => return Err(self.stopped(&row, reason)),
            },
        }
        Ok(())
    }

    fn check_name(&self, check: u32) -> String {
        let name = self.writer.check_name(check);
        name.unwrap_or_else(|| format!("check {check} of the view"))
    }

    fn refuse(&mut self, row: &Row, reason: String, detail: String) -> Result<(), IngestError> {
        let row_shown = shown(self.view, row);
        self.reject(&Rejection { number: row.number, reason, detail, row: row_shown })
    }

    fn stopped(&self, row: &Row, reason: NotApplied) -> IngestError {
        let why = match reason {
            NotApplied::MemoryFull => {
                "its memory budget is full (start it with a larger --memory)".to_owned()
            }
            NotApplied::DiskFull => "its disk is full".to_owned(),
            NotApplied::ReadOnly => "a shard takes no writes after a disk failure".to_owned(),
            NotApplied::TooManyProducers => {
                "it has seen too many producers, and a load is one each".to_owned()
            }
            NotApplied::UnknownSchema => "the view's definition has changed".to_owned(),
            other => other.to_string(),
        };
        IngestError::Server(format!(
            "the server took {} rows and refused row {}: {why}. Nothing that was taken is lost; when the cause is \
             gone, run the same command again: it goes on where it stopped",
            self.report.accepted + self.report.duplicate,
            row.number,
        ))
    }

    /// Takes all answers, and sends what is to be retried until nothing is.
    fn drain(&mut self) -> Result<(), IngestError> {
        let mut rounds = 0;
        let mut pause = PAUSE_FIRST;
        loop {
            while !self.in_flight.is_empty() {
                self.settle_oldest()?;
            }
            if self.retries.is_empty() {
                return Ok(());
            }
            let mut rows = std::mem::take(&mut self.retries);
            rows.sort_by_key(|row| row.number);
            let waiting = rows.len();
            self.report.retried += waiting as u64;
            self.writer.pause(pause.max(std::mem::take(&mut self.retry_after)));
            while !rows.is_empty() {
                let rest = rows.split_off(rows.len().min(BATCH_ROWS_MAX));
                let pending = self.writer.send(&rows)?;
                self.in_flight.push_back((rows, pending));
                self.settle_oldest()?;
                rows = rest;
            }
            if self.retries.len() < waiting {
                (rounds, pause) = (0, PAUSE_FIRST);
            } else {
                rounds += 1;
                pause = (pause * 2).min(PAUSE_LAST);
            }
            if rounds == ROUNDS_MAX {
                return Err(IngestError::Server(format!(
                    "the server is overloaded: it took {} rows, then none for a while. Run the same command again \
                     later: it goes on where it stopped",
                    self.report.accepted + self.report.duplicate
                )));
            }
        }
    }

    fn finish(self) -> Result<Report, IngestError> {
        let mut report = self.report;
        report.rejected = self.rejects.rows();
        report.reasons = self.rejects.finish()?;
        Ok(report)
    }
}

/// Refusals of the row itself: (reason, detail). The others are about the server.
fn permanent(reason: NotApplied) -> Option<(&'static str, &'static str)> {
    Some(match reason {
        NotApplied::FutureEventTime => (
            "the event time lies in the future",
            "the event time lies further in the future than the server allows",
        ),
        NotApplied::RowTooLarge => {
            ("the row is too large", "key and values exceed the largest row of the server")
        }
        NotApplied::Late => ("late", "the row is older than the newest one of its entity"),
        NotApplied::BadKey => ("the entity key is unfit", "the server could not decode the key"),
        NotApplied::BadValue => ("the row is unfit", "the server could not decode the values"),
        _ => return None,
    })
}

fn shown(view: &FeatureView, row: &Row) -> Map<String, Json> {
    let keys = view.join_keys.iter().zip(&row.keys);
    let values = view.features.iter().zip(&row.values);
    let mut out: Map<String, Json> =
        keys.map(|(key, value)| (key.name.clone(), Json::from(value.to_string()))).collect();
    out.extend(values.map(|(feature, value)| (feature.name.clone(), value.to_json())));
    out.insert(
        "event_time".to_owned(),
        Json::from(thermae_formats::time::format_timestamp_us(row.event_time)),
    );
    out
}
