//! What can be typed; the doc comments are the help.

mod backup;
mod bench;
mod erase;
mod registry;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use self::backup::{BackupArgs, RestoreArgs};
pub use self::bench::{BenchArgs, PlanArgs};
pub use self::erase::EraseArgs;
pub use self::registry::{ImpactArgs, LineageArgs, QuarantineArgs, SwitchArgs};
use super::exit::EXIT_CODES;
use super::view_ref::{JoinedViewRef, ViewFeaturesRef, ViewRef};
use crate::ingest::Format;
use crate::ingest::coerce::TimeUnit;
use crate::serve::size::Size;

/// An online feature store: features in, features out in well under a millisecond.
///
/// New here? `thermae quickstart` starts a server, loads real data and reads it, in a few seconds.
#[derive(Debug, Parser)]
#[command(name = "thermae", version, after_help = EXIT_CODES, propagate_version = true)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Args, Clone, Debug)]
pub struct Global {
    /// Print one JSON document instead of text
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub json: bool,
    /// The server: HOST:PORT or unix:/PATH
    #[arg(
        long,
        global = true,
        env = "THERMAE_SERVER",
        default_value = crate::serve::options::DEFAULT_LISTEN,
        value_name = "ADDR",
        help_heading = "Everywhere"
    )]
    pub server: String,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a server and serve until SIGINT or SIGTERM
    Serve(ServeArgs),
    /// Apply the definitions of a file: entities, sources, feature views, services, models
    Apply(ApplyArgs),
    /// Load a Parquet, CSV or NDJSON file into a feature view
    Ingest(IngestArgs),
    /// Load history: rows that become online values only where nothing newer is there
    #[command(after_help = BACKFILL_HELP)]
    Backfill(IngestArgs),
    /// Read features of some entities
    Get(GetArgs),
    /// Delete an entity's row from a feature view
    Delete(DeleteArgs),
    /// Erase entities for good: from every reader, log, table and archive
    Erase(EraseArgs),
    /// Write the history of a feature view to a Parquet, CSV or NDJSON file
    Export(ExportArgs),
    /// Join features onto the rows of a file as they were at each row's time: training data
    History(HistoryArgs),
    /// Show which feature views there are, or one of them in full
    Describe(DescribeArgs),
    /// Make a feature view's bare name mean another version, or go back to the one before
    Switch(SwitchArgs),
    /// Show what comes from what: sources, views, features, services, models
    Lineage(LineageArgs),
    /// Show what a change of a feature reaches, and whom to tell
    Impact(ImpactArgs),
    /// Show rows that failed checks of a feature view and are kept aside, with the reasons
    Quarantine(QuarantineArgs),
    /// Show rows, bytes, rates and latencies of the server, and which views are late or had bad rows
    #[command(visible_alias = "status")]
    Stat(StatArgs),
    /// Check every byte of a data directory that no server has open
    Verify(VerifyArgs),
    /// Take a backup of a store that serves, or of a directory; list, verify and remove backups
    Backup(BackupArgs),
    /// Make a data directory of a backup
    Restore(RestoreArgs),
    /// Measure a store: load a workload, drive it on schedule, report
    Bench(Box<BenchArgs>),
    /// Work out what hardware a load takes, from a calibration measured by bench
    Plan(PlanArgs),
    /// See it work: start a server, load real flights and weather, read features, show latencies
    Quickstart(QuickstartArgs),
}

/// `thermae serve`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  thermae serve --data /var/lib/thermae
  thermae serve --data d --unix /run/thermae.sock --memory 8GiB
  thermae serve --data d --http 127.0.0.1:6566 --grpc 127.0.0.1:6567   # as Feast's feature server; docs/http.md
  thermae serve --config thermae.toml

A configuration file has a key for each flag (data = \"d\", memory = \"8GiB\"); flags go before it.

Exit codes:
  0  stopped by a signal, all acknowledged rows on disk
  2  options, configuration or address
  3  the data directory: open elsewhere, damaged, or too little memory for it
  4  cannot listen
  5  the system refused something
  130  a second signal cut the stop short")]
pub struct ServeArgs {
    /// Where the data are; made if it is not there [default: thermae-data]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Directory, or address such as s3://BUCKET/PREFIX, below which `thermae backup` may have backups written
    /// [default: nowhere]
    #[arg(long, value_name = "DIR")]
    pub backup_dir: Option<PathBuf>,
    /// TCP address of the binary protocol, or `none` [default: 127.0.0.1:7400]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// Unix socket of the binary protocol; same-host mapped reads need one
    #[arg(long, value_name = "PATH")]
    pub unix: Option<PathBuf>,
    /// Address of HTTP: Feast's feature-server routes (/get-online-features, /push and others), /openapi.json,
    /// /metrics, /healthz and /readyz
    #[arg(long, value_name = "ADDR")]
    pub http: Option<String>,
    /// Address of Feast's ServingService by gRPC
    #[arg(long, value_name = "ADDR")]
    pub grpc: Option<String>,
    /// Directory below which the files of sources lie that /materialize may load [default: nowhere]
    #[arg(long, value_name = "DIR")]
    pub source_dir: Option<PathBuf>,
    /// Directory of the archive, or its address (s3://BUCKET/PREFIX, gs://, az://), to which history is copied and views
    /// with warm_for move it; none without this
    #[arg(long, value_name = "DIR")]
    pub archive: Option<PathBuf>,
    /// Cores to use, each with its own shard; 0 uses all
    #[arg(long, value_name = "N")]
    pub cores: Option<usize>,
    /// Memory for the newest rows of all entities: 512MiB, 8GiB [default: 1GiB]
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<Size>,
    /// Read options from a file
    #[arg(long, value_name = "FILE.toml")]
    pub config: Option<PathBuf>,
    /// Allow addresses that other machines can reach, although there are no tokens and no TLS yet
    #[arg(long)]
    pub insecure_development: bool,
}

/// `thermae apply`
#[derive(Args, Debug, Default)]
#[command(after_help = "\
Applying a file again changes nothing. What changes is printed; a change through which old rows could not
be read (a feature removed, a type narrowed, other join keys) is refused: give the view a new version.

Example:
  thermae apply examples/nycflights13/features.toml")]
pub struct ApplyArgs {
    /// The definitions; docs/definitions.md describes them
    #[arg(value_name = "FILE.toml")]
    pub file: PathBuf,
    /// Only print what would change
    #[arg(long)]
    pub dry_run: bool,
    /// Apply only if the registry is at this version still, as --dry-run told it
    #[arg(long, value_name = "N")]
    pub if_version: Option<u64>,
    /// Who applies, for the registry's log
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
}

/// How sure an acknowledgement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AckArg {
    /// Survives power loss.
    Durable,
    /// Survives a killed server; a power loss may take the last 100 ms.
    Logged,
}

/// `thermae ingest`
#[derive(Args, Debug)]
#[command(after_help = "\
Columns are found by name: one for each join key and feature. Types must fit exactly; a row that does not is
rejected and counted with its reason, and the load goes on.

A load may be repeated and resumed: the server knows rows by the file's digest and their row number, so
running the same command again adds what is missing and changes nothing else.

Examples:
  thermae ingest weather_by_origin weather.parquet --event-time time_hour
  thermae ingest users users.csv --event-time updated --map uid=user_id --null NA --rejects bad.ndjson
  thermae ingest planes planes.parquet --at 2013-01-01")]
pub struct IngestArgs {
    /// The feature view: NAME, PROJECT/NAME or PROJECT/NAME@VERSION; each version has rows of its
    /// own, and without one the newest is meant
    #[arg(value_name = "VIEW")]
    pub view: ViewRef,
    /// The file; its format is told by its content and name (.parquet, .csv, .ndjson, .jsonl)
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The column that says when the fact was true [default: the definition's, or `event_time`]
    #[arg(long, value_name = "COL")]
    pub event_time: Option<String>,
    /// The event time of all rows, for a file without one
    #[arg(long, value_name = "TIME", conflicts_with = "event_time")]
    pub at: Option<String>,
    /// The column that says when the fact was learnt
    #[arg(long, value_name = "COL")]
    pub created_time: Option<String>,
    /// Read the join key or feature NAME from the column COL
    #[arg(long = "map", value_name = "COL=NAME", value_parser = parse_pair)]
    pub map: Vec<(String, String)>,
    /// Write rejected rows and reasons here, one JSON object a line
    #[arg(long, value_name = "FILE")]
    pub rejects: Option<PathBuf>,
    /// How sure an acknowledgement is
    #[arg(long, value_enum, default_value = "durable")]
    pub ack: AckArg,
    /// The file's format, where content and name do not tell it
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// CSV: a text that stands for null; may be given again [default: the empty text]
    #[arg(long = "null", value_name = "TEXT")]
    pub nulls: Vec<String>,
    /// CSV: the character between fields (`tab` for a tab)
    #[arg(long, value_name = "CHAR", default_value = ",", value_parser = parse_delimiter)]
    pub delimiter: u8,
    /// The unit of times that are integers
    #[arg(long, value_enum, value_name = "UNIT")]
    pub time_unit: Option<TimeUnit>,
    /// Round a float64 to the nearest float32 where the feature is one
    #[arg(long)]
    pub narrow_floats: bool,
    /// Load as new: rows that an earlier run of this load wrote are written again
    #[arg(long)]
    pub again: bool,
}

/// What `thermae backfill --help` says behind the options of `thermae ingest`.
const BACKFILL_HELP: &str = "\
A row becomes the online value of its entity only if nothing newer, by event time, is there; an older one goes to
history alone, where training reads find it. How many went there is counted by the server (over all writers
meanwhile) and told as late. Options, mapping, rejects and repeating are those of thermae ingest.

Name the column that says when each fact was learnt (--created-time) if there is one: thermae history
--as-of-known leaves rows without out.

Examples:
  thermae backfill weather_by_origin weather_2012.parquet --event-time time_hour
  thermae backfill users users_until_may.csv --event-time updated --created-time loaded --rejects bad.ndjson";

/// `thermae get`
#[derive(Args, Debug)]
#[command(after_help = "\
Statuses: PRESENT; NULL_VALUE (the row is there, this feature of it is null); NOT_FOUND; OUTSIDE_MAX_AGE
(the row is older than the view's ttl allows; its event time is told).

Examples:
  thermae get weather_by_origin:temp,wind_speed --key origin=JFK --key origin=EWR
  thermae get weather_by_origin carrier_daily:late_share --key origin=JFK,carrier=UA
  thermae get route_last_flight --keys routes.csv --json
  thermae get weather_by_origin:temp --key origin=JFK --read-time 2013-12-31T00:00:00Z
  thermae get payment_now:share --key uid=7 --with amount=9.5      # an on-demand view, computed for this request")]
pub struct GetArgs {
    /// VIEW for all its features, or VIEW:f1,f2; feature views and on-demand views
    #[arg(value_name = "VIEW[:f1,f2]", required = true)]
    pub views: Vec<ViewFeaturesRef>,
    /// Join keys of one entity row: origin=JFK, or origin=JFK,dest=LAX; may be given again
    #[arg(long = "key", value_name = "NAME=VALUE", required_unless_present_any = ["keys", "with"])]
    pub key: Vec<String>,
    /// A Parquet, CSV or NDJSON file with a column for each join key
    #[arg(long, value_name = "FILE")]
    pub keys: Option<PathBuf>,
    /// What features of on-demand views are computed of beside stored ones, for every row: amount=9.5; NAME=null for none
    #[arg(long = "with", value_name = "NAME=VALUE")]
    pub with: Vec<String>,
    /// Judge ttl as of this time instead of now; it is not time travel, values are the newest
    #[arg(long, value_name = "TIME")]
    pub read_time: Option<String>,
}

/// `thermae delete`
#[derive(Args, Debug)]
#[command(after_help = "\
A delete is a row like any other, with an event time: a newer row brings the entity back, an older one does not.

Example:
  thermae delete weather_by_origin --key origin=LGA")]
pub struct DeleteArgs {
    /// The feature view: NAME, PROJECT/NAME or PROJECT/NAME@VERSION; each version has rows of its
    /// own, and without one the newest is meant
    #[arg(value_name = "VIEW")]
    pub view: ViewRef,
    /// Join keys of one entity: origin=JFK, or origin=JFK,dest=LAX; may be given again
    #[arg(long = "key", value_name = "NAME=VALUE", required = true)]
    pub key: Vec<String>,
    /// The delete's event time [default: now]
    #[arg(long, value_name = "TIME")]
    pub event_time: Option<String>,
}

/// `thermae export`
#[derive(Args, Debug)]
#[command(after_help = "\
Every version that the view keeps is a row: join keys, features, event_timestamp, created_timestamp, sequence (its
place in the log), is_deleted. The file has its name only when all of it is there. While it is written others may
write: what was there throughout is in it once.

It loads again: thermae ingest VIEW FILE --event-time event_timestamp --created-time created_timestamp
(CSV cannot tell an empty string from null; Parquet keeps every bit.)

Examples:
  thermae export weather_by_origin --out weather.parquet
  thermae export weather_by_origin:temp,wind_speed --key origin=JFK --out jfk.csv
  thermae export carrier_daily --from 2013-06-01 --to 2013-06-30T23:59:59Z --out june.ndjson")]
pub struct ExportArgs {
    /// VIEW for all its features, or VIEW:f1,f2
    #[arg(value_name = "VIEW[:f1,f2]")]
    pub view: ViewFeaturesRef,
    /// The file; its name tells its format (.parquet, .csv, .ndjson, .jsonl)
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Only this entity: origin=JFK, or origin=JFK,dest=LAX; may be given again
    #[arg(long = "key", value_name = "NAME=VALUE")]
    pub key: Vec<String>,
    /// Only event times from here on
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// Only event times up to here, this one included
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
    /// Deletions too, as rows without features
    #[arg(long)]
    pub deletions: bool,
}

/// `thermae history`
#[derive(Args, Debug)]
#[command(after_help = "\
The spine is a file whose rows have join keys, a time, and whatever else you want to keep, such as labels. Each row
comes back with the features as they were at its time: the newest row of its keys that is not newer than that, if
the view's ttl has not passed by then. Rows, their order and their own columns stay as they are.

Features of on-demand views are computed from those, and from the spine's columns that are called as their request
fields are.

An input without a row is null. --as-of-known leaves out what was learnt only after the row's time (by created
time), as training on back-filled data needs.

Columns of a CSV or NDJSON get the narrowest type that their values allow when the answer is Parquet.

Examples:
  thermae history weather_by_origin:temp,visib --spine flights.parquet --event-time time_hour --out train.parquet
  thermae history users:age items:price --spine clicks.csv --map uid=user_id --out train.parquet --as-of-known
  thermae history user_engagement:minutes engagement_now:share_of_usual --spine days.parquet --out train.parquet
  thermae history at=weather_by_origin:temp to=weather_by_origin:temp --map dest=to.origin --full-names \\
      --spine flights.parquet --event-time time_hour --out both_ends.parquet")]
pub struct HistoryArgs {
    /// VIEW for all its features, or VIEW:f1,f2; ALIAS=VIEW:f1,f2 joins a view under another name; on-demand views too
    #[arg(value_name = "[ALIAS=]VIEW[:f1,f2]", required = true)]
    pub views: Vec<JoinedViewRef>,
    /// The file whose rows get features: Parquet, CSV or NDJSON
    #[arg(long, value_name = "FILE")]
    pub spine: PathBuf,
    /// The answer; its name tells its format (.parquet, .csv, .ndjson, .jsonl)
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Only what had been learnt by each row's time
    #[arg(long)]
    pub as_of_known: bool,
    /// Call features VIEW__FEATURE (or ALIAS__FEATURE)
    #[arg(long)]
    pub full_names: bool,
    /// The spine's column with each row's time [default: event_time or event_timestamp]
    #[arg(long, value_name = "COL")]
    pub event_time: Option<String>,
    /// Read the join key KEY of feature views from the spine's column COL; ALIAS.KEY: of this view alone
    #[arg(long = "map", value_name = "COL=KEY", value_parser = parse_pair)]
    pub map: Vec<(String, String)>,
    /// Threads at the server that join, at most [default: its cores]
    #[arg(long, value_name = "N", default_value = "0", hide_default_value = true)]
    pub threads: u32,
    /// Memory at the server for sorting, at most; the rest goes to its disk [default: its choice]
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<Size>,
    /// The spine's format, where content and name do not tell it
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// CSV: a text that stands for null; may be given again [default: the empty text]
    #[arg(long = "null", value_name = "TEXT")]
    pub nulls: Vec<String>,
    /// CSV: the character between fields (`tab` for a tab)
    #[arg(long, value_name = "CHAR", default_value = ",", value_parser = parse_delimiter)]
    pub delimiter: u8,
    /// The unit of times that are integers
    #[arg(long, value_enum, value_name = "UNIT")]
    pub time_unit: Option<TimeUnit>,
}

/// `thermae describe`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  thermae describe
  thermae describe weather_by_origin")]
pub struct DescribeArgs {
    /// Only this feature view, in full
    #[arg(value_name = "VIEW")]
    pub view: Option<ViewRef>,
}

/// `thermae stat`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  thermae stat
  thermae stat --tiers
  thermae stat --json | jq '.engine.views'
  thermae stat --json | jq '.engine.shards[].tiers.movement'")]
pub struct StatArgs {
    /// Show each tier instead: rows, bytes, hit rate, age of its oldest and newest row, what has moved
    #[arg(long)]
    pub tiers: bool,
}

/// `thermae verify`
#[derive(Args, Debug)]
#[command(after_help = "\
Every checksum of every log batch and of every block of every table is computed again, the order of rows,
their counts and filters are checked, and every file is accounted for. Nothing is written.
Exit code 4 if there is damage; each finding names the file and the offset.

Example:
  thermae verify thermae-data")]
pub struct VerifyArgs {
    /// The data directory
    #[arg(value_name = "DIR", default_value = "thermae-data")]
    pub data: PathBuf,
}

/// `thermae quickstart`
#[derive(Args, Debug)]
#[command(after_help = "\
The data are New York's flights and weather of 2013 (nycflights13, CC0), inside the program.

Examples:
  thermae quickstart
  thermae quickstart --data qs --serve     # keeps serving, so that you can try the other commands")]
pub struct QuickstartArgs {
    /// Keep the data here instead of in a temporary directory
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Keep serving until SIGINT or SIGTERM
    #[arg(long)]
    pub serve: bool,
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((column, name)) if !column.is_empty() && !name.is_empty() => {
            Ok((column.to_owned(), name.to_owned()))
        }
        _ => Err("write COL=NAME".to_owned()),
    }
}

fn parse_delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        _ if text == "tab" => Ok(b'\t'),
        [one] if !matches!(*one, b'"' | b'\n' | b'\r') => Ok(*one),
        _ => Err("write one ASCII character other than a quote, or `tab`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_teaches_by_an_example_or_needs_none() {
        // Options of every command reach the subcommands only when the whole is built.
        let mut all = Cli::command();
        all.build();
        for command in all.get_subcommands_mut().filter(|c| c.get_name() != "help") {
            let help = command.render_long_help().to_string();
            assert!(help.contains("Example"), "{}", command.get_name());
            assert!(help.contains("--json"), "{}", command.get_name());
        }
        let help = Cli::command().render_long_help().to_string();
        assert!(help.contains("Exit codes") && help.contains("THERMAE_SERVER"), "{help}");
    }

    #[test]
    fn what_is_typed_wrong_is_a_usage_error() {
        for typed in [
            &["thermae", "get"][..],
            &["thermae", "get", "v"],
            &["thermae", "get", "v:", "--key", "a=1"],
            &["thermae", "get", "a/b/c", "--key", "a=1"],
            &["thermae", "ingest", "v"],
            &["thermae", "ingest", "v", "f", "--map", "a"],
            &["thermae", "ingest", "v", "f", "--delimiter", "ab"],
            &["thermae", "ingest", "v", "f", "--at", "x", "--event-time", "y"],
            &["thermae", "serve", "--memory", "much"],
            &["thermae", "delete", "v"],
            &["thermae", "erase", "v"],
            &["thermae", "erase", "v", "--key", "a=1", "--wait", "--no-wait"],
            &["thermae", "backup", "p", "--remove", "00000001-20260102T030405Z", "--list"],
            &["thermae", "export", "v"],
            &["thermae", "export", "--out", "f.csv"],
            &["thermae", "backup"],
            &["thermae", "backup", "p", "--list", "--verify"],
            &["thermae", "backup", "p", "--keep", "0"],
            &["thermae", "backup", "p", "--name", "00000001-20260101T000000Z"],
            &["thermae", "restore", "p"],
            &["thermae", "restore", "p", "--data", "d", "--with-archive", "r"],
            &["thermae", "restore", "p", "--data", "d", "--name", "newest"],
            &["thermae", "history", "v", "--spine", "s.csv"],
            &["thermae", "history", "v", "--out", "o.csv"],
            &["thermae", "history", "a/b=v", "--spine", "s.csv", "--out", "o.csv"],
            &["thermae", "frobnicate"],
        ] {
            let error = Cli::try_parse_from(typed).expect_err("refused");
            assert_eq!(error.exit_code(), 2, "{typed:?}: {error}");
        }
    }
}
