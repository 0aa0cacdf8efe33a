//! `thermae ingest`: a file into a feature view.

use std::time::Instant;

use serde_json::json;
use thermae_client::{Client, Described};
use thermae_formats::wire::Ack;

use super::args::{AckArg, Global, IngestArgs};
use super::connect::{connect, failed, find_view};
use super::exit::{Done, Failure};
use crate::ingest::cell::Reader;
use crate::ingest::coerce::Allow;
use crate::ingest::csv::CsvOptions;
use crate::ingest::load::{Report, load, producer_id};
use crate::ingest::rejects::Rejects;
use crate::ingest::writer::ClientWriter;
use crate::ingest::{Mapping, MappingOptions, Source};
use crate::progress::{Progress, Unit};
use crate::table::{Table, thousands};

/// How a file is loaded.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Which columns feed what.
    pub mapping: MappingOptions,
    /// Where rejected rows go.
    pub rejects: Option<std::path::PathBuf>,
    /// How sure an acknowledgement is.
    pub ack: Ack,
    /// Take no row for a repeat of an earlier load.
    pub again: bool,
}

/// What a command says beside the load itself.
#[derive(Default)]
pub struct Said {
    /// A field of the JSON document.
    pub field: Option<(&'static str, serde_json::Value)>,
    /// Lines of text.
    pub text: String,
}

/// Runs the command.
pub fn run(args: &IngestArgs, global: &Global) -> Result<Done, Failure> {
    load_and_say(&connect(global)?, args, global, |_| Ok(Said::default()))
}

/// Loads what the arguments say, and says what came of it, with what `beside` adds.
///
/// # Errors
/// [`Failure`] when the file or the server ends the load; rejected rows do not.
pub fn load_and_say(
    client: &Client,
    args: &IngestArgs,
    global: &Global,
    beside: impl FnOnce(&Report) -> Result<Said, Failure>,
) -> Result<Done, Failure> {
    let nulls = if args.nulls.is_empty() { vec![String::new()] } else { args.nulls.clone() };
    let source =
        Source::new(&args.file, args.format, CsvOptions { delimiter: args.delimiter, nulls })
            .map_err(Failure::of)?;
    let options = LoadOptions {
        mapping: MappingOptions {
            event_time: args.event_time.clone(),
            at: args.at.clone(),
            created_time: args.created_time.clone(),
            map: args.map.clone(),
            allow: Allow { narrow_floats: args.narrow_floats, time_unit: args.time_unit },
        },
        rejects: args.rejects.clone(),
        ack: match args.ack {
            AckArg::Durable => Ack::Durable,
            AckArg::Logged => Ack::Logged,
        },
        again: args.again,
    };
    let so_far =
        "rows loaded until then are safe, and with a sound file the same command loads the rest";
    exit_on_panic(&source, global.json, so_far);
    let view = find_view(client, &args.view)?;
    let started = Instant::now();
    let report = load_file(client, &view, &source, &options)?;
    let seconds = started.elapsed().as_secs_f64();
    let said = beside(&report)?;
    let name = format!("{}/{}", view.definition.project, view.definition.name);
    if global.json {
        let mut document = to_json(&name, &report, seconds, args);
        if let (Some(fields), Some((field, value))) = (document.as_object_mut(), said.field) {
            fields.insert(field.to_owned(), value);
        }
        println!("{document}");
    } else {
        print!("{}{}", to_text(&name, &report, seconds, args), said.text);
    }
    Ok(if report.rejected == 0 { Done::All } else { Done::Partly })
}

/// Ends the process with a message, should a reader panic: the Parquet reader does on some damaged files (found
/// by flipping bytes). `so_far` says what has become of the work.
pub fn exit_on_panic(source: &Source, as_json: bool, so_far: &'static str) {
    let path = source.path.display().to_string();
    std::panic::set_hook(Box::new(move |panic| {
        let text =
            format!("the reader failed on {path}, which is probably damaged ({panic}): {so_far}");
        if as_json {
            println!("{}", json!({"error": text, "exit_code": 1}));
        } else {
            eprintln!("error: {text}");
        }
        std::process::exit(1);
    }));
}

/// Loads a file into a view.
///
/// # Errors
/// [`Failure`] when the file or the server ends the load; rejected rows do not.
pub fn load_file(
    client: &Client,
    described: &Described,
    source: &Source,
    options: &LoadOptions,
) -> Result<Report, Failure> {
    let view = &described.writable();
    let mut reader = source.open().map_err(Failure::of)?;
    let mapping =
        Mapping::resolve(view, reader.columns(), &options.mapping).map_err(Failure::of)?;
    reader.select(&mapping.columns());
    let digest = {
        let bar = Progress::new("hashing", Some(source.length_bytes), Unit::Bytes);
        source.digest(|done| bar.at(done)).map_err(Failure::of)?
    };
    let mut fingerprint = mapping.fingerprint(view);
    if options.again {
        fingerprint.push_str(&format!("\nagain {}", super::delete::now_us()));
    }
    let handle = client.view_version(&view.project, &view.name, view.version).map_err(failed)?;
    if handle.view().schema_id != described.schema_id {
        return Err(Failure::Failed(format!(
            "the definition of {} was changed meanwhile, and nothing is loaded yet: run again",
            view.name
        )));
    }
    let (checks, producer) = (described.checks.clone(), producer_id(digest, &fingerprint));
    let mut writer = ClientWriter::new(client.clone(), handle, options.ack, producer, checks);
    let rejects = Rejects::new(options.rejects.as_deref()).map_err(Failure::of)?;
    let bar = Progress::new(&view.name, reader.rows_total(), Unit::Rows);
    load(&mut reader, view, mapping, &mut writer, rejects, &mut |rows| bar.at(rows))
        .map_err(Failure::of)
}

fn to_json(name: &str, report: &Report, seconds: f64, args: &IngestArgs) -> serde_json::Value {
    json!({
        "view": name,
        "file": args.file.display().to_string(),
        "rows": report.rows,
        "accepted": report.accepted,
        "duplicate": report.duplicate,
        "rejected": report.rejected,
        "retried": report.retried,
        "reasons": report.reasons,
        "rejects_file": args.rejects.as_ref().map(|path| path.display().to_string()),
        "seconds": seconds,
    })
}

fn to_text(name: &str, report: &Report, seconds: f64, args: &IngestArgs) -> String {
    let mut out = summary(name, report, seconds);
    if report.duplicate > 0 {
        out.push_str(
            "duplicate: an earlier run of this load settled them; what it refused is not refused again, nor written. \
             --again has every row judged anew\n",
        );
    }
    if report.rejected > 0 {
        let mut table = Table::new([">rejected", "reason", "for example"]);
        for reason in &report.reasons {
            table.row([thousands(reason.rows), reason.reason.clone(), reason.example.clone()]);
        }
        out.push_str(&table.for_stdout());
        match &args.rejects {
            Some(path) => out.push_str(&format!("the rejected rows are in {}\n", path.display())),
            None => out.push_str("add --rejects FILE to keep the rejected rows\n"),
        }
    }
    out
}

/// One line: how many rows became what, and how fast.
pub fn summary(name: &str, report: &Report, seconds: f64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    #[expect(clippy::cast_possible_truncation, reason = "a rate for people")]
    #[expect(clippy::cast_sign_loss, reason = "neither is negative")]
    let rate = (report.rows as f64 / seconds.max(1e-6)) as u64;
    format!(
        "{name}: {} rows in {seconds:.1} s ({} rows/s): {} accepted, {} duplicate, {} rejected\n",
        thousands(report.rows),
        thousands(rate),
        thousands(report.accepted),
        thousands(report.duplicate),
        thousands(report.rejected),
    )
}
