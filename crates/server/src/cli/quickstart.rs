//! `thermae quickstart`: a server, real data, answers and latencies, in one command.

use std::path::{Path, PathBuf};
use std::time::Instant;

use thermae_client::{Address, Client, Config};
use thermae_features::definitions;
use thermae_formats::wire::Ack;

use super::args::{ApplyArgs, Global, QuickstartArgs};
use super::connect::{describe, failed, find_view};
use super::exit::{Done, Failure};
use super::ingest::{LoadOptions, load_file};
use super::quickstart_show::{self as show, Loaded};
use super::quickstart_training::train;
use super::{apply, quickstart_read, serve as serve_command};
use crate::ingest::csv::CsvOptions;
use crate::ingest::{MappingOptions, Source};
use crate::serve::options::DEFAULT_LISTEN;
use crate::serve::{self, Running, ServeOptions};

/// The example's definitions, inside the program so that it works from anywhere.
const DEFINITIONS: &str = include_str!("../../../../examples/nycflights13/features.toml");

/// The example's files.
const FILES: [(&str, &[u8]); 5] = [
    ("weather.parquet", include_bytes!("../../../../examples/nycflights13/data/weather.parquet")),
    ("flights.parquet", include_bytes!("../../../../examples/nycflights13/data/flights.parquet")),
    (
        "carrier_daily.parquet",
        include_bytes!("../../../../examples/nycflights13/data/carrier_daily.parquet"),
    ),
    (
        "dest_daily.parquet",
        include_bytes!("../../../../examples/nycflights13/data/dest_daily.parquet"),
    ),
    ("planes.parquet", include_bytes!("../../../../examples/nycflights13/data/planes.parquet")),
];

/// Which file feeds which view.
const LOADS: [(&str, &str); 6] = [
    ("weather_by_origin", "weather.parquet"),
    ("flights_by_tailnum", "flights.parquet"),
    ("route_last_flight", "flights.parquet"),
    ("carrier_daily", "carrier_daily.parquet"),
    ("dest_daily", "dest_daily.parquet"),
    ("planes", "planes.parquet"),
];

/// Enough for the example, little enough for any machine.
const MEMORY_BYTES: u64 = 256 << 20;
/// More cores than this show nothing more here.
const CORES_MAX: usize = 2;
/// A unix socket's path may not be longer.
const SOCKET_PATH_BYTES_MAX: usize = 100;

/// Where the quickstart keeps things.
struct Places {
    /// Removed when the quickstart ends.
    scratch: tempfile::TempDir,
    data: PathBuf,
    /// Where the training data go: beside the data.
    training: PathBuf,
    socket: PathBuf,
}

/// Runs the command.
pub fn run(args: &QuickstartArgs, global: &Global) -> Result<Done, Failure> {
    let places = places(args.data.as_deref())?;
    let began = Instant::now();
    if args.serve {
        let mut shown = Ok(());
        let stopped = serve::run(options(&places, true)?, |running| {
            shown = tour(running, &places, args, global, began);
            if shown.is_err() {
                // The signal that would end the server is ours to give.
                let _ = rustix::process::kill_process(
                    rustix::process::getpid(),
                    rustix::process::Signal::TERM,
                );
            }
        });
        shown?;
        stopped.map_err(serve_command::failed)?;
        return Ok(Done::All);
    }
    let running = serve::start(options(&places, false)?).map_err(serve_command::failed)?;
    let shown = tour(&running, &places, args, global, began);
    let stopped = running.stop().map_err(serve_command::failed);
    shown?;
    stopped?;
    Ok(Done::All)
}

fn places(data: Option<&Path>) -> Result<Places, Failure> {
    let io = |e: std::io::Error| Failure::Failed(format!("cannot make a temporary directory: {e}"));
    let scratch = tempfile::Builder::new().prefix("thermae-").tempdir().map_err(io)?;
    let data = data.map_or_else(|| scratch.path().join("data"), Path::to_path_buf);
    let beside = data.with_extension("sock");
    let socket = match data.parent() {
        Some(_) if beside.as_os_str().len() < SOCKET_PATH_BYTES_MAX => beside,
        _ => scratch.path().join("thermae.sock"),
    };
    let mut training = data.as_os_str().to_owned();
    training.push("-training.parquet");
    Ok(Places { scratch, training: training.into(), data, socket })
}

fn options(places: &Places, keeps_serving: bool) -> Result<ServeOptions, Failure> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from).min(CORES_MAX);
    // A server that stays is where the other commands look for it, unless somebody is there already.
    let usual_is_free = || std::net::TcpListener::bind(DEFAULT_LISTEN).is_ok();
    let listen = if keeps_serving && usual_is_free() { DEFAULT_LISTEN } else { "127.0.0.1:0" };
    let options = ServeOptions {
        data: places.data.clone(),
        listen: Some(listen.to_owned()),
        unix: Some(places.socket.clone()),
        http: keeps_serving.then(|| "127.0.0.1:0".to_owned()),
        cores,
        memory_bytes: MEMORY_BYTES,
        ..ServeOptions::default()
    };
    options.check().map_err(|e| Failure::Usage(e.to_string()))?;
    Ok(options)
}

/// Everything between the server's start and its end.
fn tour(
    running: &Running,
    places: &Places,
    args: &QuickstartArgs,
    global: &Global,
    began: Instant,
) -> Result<(), Failure> {
    let (Some(tcp_address), Some(unix_path)) = (running.tcp_addr(), running.unix_path()) else {
        return Err(Failure::Failed("the embedded server does not listen".to_owned()));
    };
    let quiet = global.json;
    let say = |text: String| {
        if !quiet {
            println!("{text}");
        }
    };
    let connect = |address: Address| {
        let config = Config { client_name: "quickstart".to_owned(), ..Config::default() };
        Client::connect(&address, config).map_err(failed)
    };
    let tcp = connect(Address::Tcp(tcp_address.to_string()))?;
    let unix = connect(Address::Unix(unix_path.to_owned()))?;
    say(show::started(&tcp_address.to_string(), unix_path, &places.data, began.elapsed()));

    let defined = definitions::read("features.toml", DEFINITIONS).map_err(Failure::of)?;
    let applied = apply::parse(&apply::send(&tcp, &defined, &ApplyArgs::default())?)?.applied;
    say(show::applied(&applied));

    let loads = load_all(&tcp, places)?;
    say(show::loaded(&loads));

    let views = describe(&tcp)?;
    let answers = quickstart_read::answers(&tcp, &views)?;
    say(show::answers(&answers));

    let spine = files(places).join("flights.parquet");
    let trained = train(&tcp, &spine, &places.training)?;
    say(trained.text());

    let latencies = quickstart_read::latencies(&tcp, &unix, &views)?;
    say(show::latencies(&latencies));
    if quiet {
        println!("{}", show::json(&applied, &loads, &answers, &trained, &latencies));
    } else {
        print!("{}", show::next(args, &tcp_address.to_string(), &places.data));
    }
    Ok(())
}

/// Where the example's files are written out.
fn files(places: &Places) -> PathBuf {
    places.scratch.path().join("files")
}

/// Writes the files out and loads each into its views.
fn load_all(client: &Client, places: &Places) -> Result<Vec<Loaded>, Failure> {
    let folder = files(places);
    let io = |e: std::io::Error| Failure::Failed(format!("cannot write {}: {e}", folder.display()));
    std::fs::create_dir_all(&folder).map_err(io)?;
    for (name, bytes) in FILES {
        std::fs::write(folder.join(name), bytes).map_err(io)?;
    }
    let options = LoadOptions {
        mapping: MappingOptions::default(),
        rejects: None,
        ack: Ack::Durable,
        again: false,
    };
    let mut loads = Vec::with_capacity(LOADS.len());
    for (view, file) in LOADS {
        let wanted = format!("nyc/{view}").parse().map_err(Failure::Failed)?;
        let described = find_view(client, &wanted)?;
        let source =
            Source::new(&folder.join(file), None, CsvOptions::default()).map_err(Failure::of)?;
        let started = Instant::now();
        let report = load_file(client, &described, &source, &options)?;
        loads.push(Loaded { view, file, report, seconds: started.elapsed().as_secs_f64() });
    }
    Ok(loads)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::ingest::Mapping;
    use crate::ingest::cell::Reader;
    use crate::ingest::rows::RowReader;

    #[test]
    fn every_view_of_the_example_is_fed_by_its_file_without_another_word() {
        let defined = definitions::read("features.toml", DEFINITIONS).unwrap();
        assert_eq!(defined.views().count(), LOADS.len());
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in FILES {
            std::fs::write(folder.path().join(name), bytes).unwrap();
        }
        for (view, file, good, bad) in [
            ("weather_by_origin", "weather.parquet", 26_115, 0),
            ("flights_by_tailnum", "flights.parquet", 169_627, 991),
            ("route_last_flight", "flights.parquet", 170_618, 0),
            ("carrier_daily", "carrier_daily.parquet", 5_432, 0),
            ("dest_daily", "dest_daily.parquet", 31_229, 0),
            ("planes", "planes.parquet", 3_322, 0),
        ] {
            let view = defined.views().find(|v| v.name == view).unwrap();
            let source =
                Source::new(&folder.path().join(file), None, CsvOptions::default()).unwrap();
            let mut reader = source.open().unwrap();
            let mapping =
                Mapping::resolve(view, reader.columns(), &MappingOptions::default()).unwrap();
            reader.select(&mapping.columns());
            let mut rows = RowReader::new(view, reader.columns(), mapping).unwrap();
            let mut counts = (0, 0);
            while let Some(batch) = reader.next_batch().unwrap() {
                rows.read(batch.as_ref(), |row| match row {
                    Ok(_) => counts.0 += 1,
                    Err(rejection) => {
                        assert_eq!(rejection.reason, "join key tailnum is null");
                        counts.1 += 1;
                    }
                });
            }
            assert_eq!(counts, (good, bad), "{}", view.name);
        }
    }
}
