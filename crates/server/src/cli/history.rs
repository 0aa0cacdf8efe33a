//! `thermae history`: a training read. A spine goes to the server, its rows come back with features as of
//! each row's time.

use std::time::Instant;

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, Schema};
use serde_json::json;
use thermae_client::{Client, History, HistoryAnswer, HistorySteps, HistoryTally};
use thermae_engine::training::{Batches, Cause, Spine};

use super::args::{Global, HistoryArgs};
use super::connect::{connect, failed, patiently};
use super::exit::{Done, Failure};
use super::history_plan::{Joined, Planned, plan};
use crate::export::BatchFile;
use crate::ingest::coerce::Allow;
use crate::ingest::csv::CsvOptions;
use crate::ingest::{Format, Source};
use crate::progress::{Progress, Unit};
use crate::spine::{SpineFile, SpineUse};
use crate::table::{Table, thousands};

/// Runs the command.
pub fn run(args: &HistoryArgs, global: &Global) -> Result<Done, Failure> {
    let nulls = if args.nulls.is_empty() { vec![String::new()] } else { args.nulls.clone() };
    let csv = CsvOptions { delimiter: args.delimiter, nulls };
    let source = Source::new(&args.spine, args.format, csv).map_err(Failure::of)?;
    if Format::of_name(&args.out).is_none() {
        let path = args.out.display();
        return Err(Failure::Usage(format!(
            "--out {path} does not tell its format: name it .parquet, .csv, .ndjson or .jsonl"
        )));
    }
    let client = connect(global)?;
    super::ingest::exit_on_panic(&source, global.json, "nothing was written");
    let planned = plan(&client, args)?;
    let started = Instant::now();
    let done = join(&client, source, &planned, args)?;
    report(&done, &planned, started.elapsed().as_secs_f64(), args, global);
    Ok(Done::All)
}

/// What a training read came to.
pub struct Report {
    /// Rows of the spine.
    pub rows: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// What the rows found, by feature view: those that were asked for first, in order, and then those that features
    /// are computed from.
    pub tallies: Vec<HistoryTally>,
}

/// Joins features onto a file and writes the answer.
///
/// # Errors
/// The spine, the server or the answer's file.
pub fn join(
    client: &Client,
    source: Source,
    planned: &Planned,
    args: &HistoryArgs,
) -> Result<Report, Failure> {
    let wanted = SpineUse {
        time: args.event_time.clone(),
        keys: planned.keys(),
        fields: planned.fields(),
        allow: Allow { narrow_floats: false, time_unit: args.time_unit },
        keeps_text: Format::of_name(&args.out) == Some(Format::Csv),
    };
    let spine = SpineFile::open(source, &wanted).map_err(Failure::of)?;
    planned.check_names(spine.names())?;
    let query = planned.query(spine.time());
    let history = patiently(|| client.history(&query))?;
    let needed = spine.needed();
    let answer = send(history, &needed)?;
    let answer = wait(answer)?;
    write(answer, &spine, &needed, args)
}

/// Sends what the join needs of the spine.
fn send(history: History, needed: &SpineFile) -> Result<HistoryAnswer, Failure> {
    let bar = Progress::new("sending the spine", needed.rows(), Unit::Rows);
    let mut writer = StreamWriter::try_new(history, &needed.schema()).map_err(arrow)?;
    let mut rows = 0;
    for batch in needed.read().map_err(spine)? {
        let batch = batch.map_err(spine)?;
        writer.write(&batch).map_err(arrow)?;
        rows += batch.num_rows() as u64;
        bar.at(rows);
    }
    writer.into_inner().map_err(arrow)?.join().map_err(failed)
}

/// Waits until the answer begins.
fn wait(mut answer: HistoryAnswer) -> Result<HistoryAnswer, Failure> {
    let mut bar = None;
    answer
        .wait(|piece| {
            let HistorySteps { rows, to_join, joined, .. } = piece.steps();
            if to_join > 0 && rows > 0 {
                let bar =
                    bar.get_or_insert_with(|| Progress::new("joining", Some(rows), Unit::Rows));
                // A row is joined once for each different set of join keys.
                bar.at((u128::from(joined) * u128::from(rows) / u128::from(to_join)) as u64);
            }
        })
        .map_err(failed)?;
    Ok(answer)
}

/// Puts the features behind the spine's own columns.
fn write(
    answer: HistoryAnswer,
    spine: &SpineFile,
    needed: &SpineFile,
    args: &HistoryArgs,
) -> Result<Report, Failure> {
    let mut answer = StreamReader::try_new(answer, None).map_err(arrow)?;
    let sent = needed.names().count();
    let schema = answer.schema();
    let features = schema.fields().iter().skip(sent).cloned();
    let fields: Vec<_> = spine.schema().fields().iter().cloned().chain(features).collect();
    let schema = std::sync::Arc::new(Schema::new(fields));
    let mut file = BatchFile::create(&args.out, &schema).map_err(Failure::of)?;
    let mut own = OwnColumns { batches: spine.read().map_err(self::spine)?, present: None };
    let places = spine.needed_places();
    let bar = Progress::new("writing", spine.rows(), Unit::Rows);
    while let Some(batch) = answer.next().transpose().map_err(arrow)? {
        let mut columns = own.take(batch.num_rows())?;
        let is_same =
            |(place, column): (&usize, &ArrayRef)| columns[*place].as_ref() == column.as_ref();
        if !places.iter().zip(batch.columns()).all(is_same) {
            return Err(changed());
        }
        columns.extend(batch.columns().iter().skip(sent).cloned());
        let batch = RecordBatch::try_new(schema.clone(), columns).map_err(arrow)?;
        file.push(&batch).map_err(Failure::of)?;
        bar.at(file.rows());
    }
    own.end()?;
    let tallies = answer.get_ref().tallies().to_vec();
    let rows = file.rows();
    Ok(Report { rows, bytes: file.finish().map_err(Failure::of)?, tallies })
}

/// The spine's columns as its file has them, by as many rows as the answer has in a batch. The server ends a
/// batch where one that was sent ends.
struct OwnColumns<'s> {
    batches: Batches<'s>,
    present: Option<(RecordBatch, usize)>,
}

impl OwnColumns<'_> {
    fn take(&mut self, rows: usize) -> Result<Vec<ArrayRef>, Failure> {
        loop {
            if let Some((batch, at)) = &mut self.present
                && *at < batch.num_rows()
            {
                if rows > batch.num_rows() - *at {
                    return Err(changed());
                }
                let columns = batch.columns().iter().map(|column| column.slice(*at, rows));
                let columns = columns.collect();
                *at += rows;
                return Ok(columns);
            }
            let batch = self.batches.next().ok_or_else(changed)?.map_err(spine)?;
            self.present = Some((batch, 0));
        }
    }

    /// Checks that no rows are left.
    fn end(mut self) -> Result<(), Failure> {
        let is_whole = self.present.is_none_or(|(batch, at)| at == batch.num_rows());
        match self.batches.next().transpose().map_err(spine)? {
            None if is_whole => Ok(()),
            _ => Err(changed()),
        }
    }
}

fn changed() -> Failure {
    Failure::Failed("the spine's file changed while it was read: run again".to_owned())
}

/// A failure of the spine's file.
fn spine(cause: Cause) -> Failure {
    Failure::of(&*cause)
}

/// A failure of a stream: what the client says, where that is the reason.
fn arrow(error: ArrowError) -> Failure {
    if let ArrowError::IoError(_, io) = &error
        && let Some(inner) = io.get_ref().and_then(|inner| inner.downcast_ref())
    {
        return failed(thermae_client::Error::clone(inner));
    }
    Failure::of(error)
}

fn report(done: &Report, planned: &Planned, seconds: f64, args: &HistoryArgs, global: &Global) {
    let mut tallies = done.tallies.iter();
    let views = planned.joins.iter().map(|join| {
        // What is computed has no rows of its own to find.
        let tally = if join.asked.computed.is_some() { None } else { tallies.next() };
        (join, tally)
    });
    let absent = |tally: &HistoryTally| done.rows - tally.present - tally.outside_max_age;
    if global.json {
        let view = |(join, tally): (&Joined, Option<&HistoryTally>)| {
            let (view, features) = (join.asked.path(), &join.asked.features);
            match tally {
                Some(tally) => json!({"view": view, "version": join.asked.view.version,
                    "as": join.alias, "features": features, "found": tally.present,
                    "expired": tally.outside_max_age, "absent": absent(tally)}),
                None => json!({"view": view, "as": join.alias, "features": features,
                    "computed": true}),
            }
        };
        let (file, views) = (args.out.display().to_string(), views.map(view).collect::<Vec<_>>());
        let summary = json!({"file": file, "rows": done.rows, "bytes": done.bytes,
            "seconds": seconds, "views": views});
        println!("{summary}");
        return;
    }
    let mut table = Table::new(["view", ">found", ">expired", ">absent"]);
    for (join, tally) in views {
        let [found, expired, absent] = match tally {
            Some(tally) => [tally.present, tally.outside_max_age, absent(tally)].map(thousands),
            None => ["computed", "-", "-"].map(str::to_owned),
        };
        table.row([join.shown(), found, expired, absent]);
    }
    print!("{}", table.for_stdout());
    let (rows, bytes, path) = (thousands(done.rows), thousands(done.bytes), args.out.display());
    println!("{rows} rows with their features to {path}: {bytes} bytes in {seconds:.1} s");
}
