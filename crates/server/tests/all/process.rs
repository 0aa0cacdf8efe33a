//! The `thermae` program in a process of its own, as a user runs it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value as Json;

/// The program, told of no server.
pub fn thermae() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_thermae"));
    command.env_remove("THERMAE_SERVER");
    command
}

/// A server on free ports, killed when the test ends.
pub struct Server {
    child: Child,
    pub address: String,
    pub http: String,
}

impl Server {
    pub fn start(data: &Path) -> Self {
        Self::start_with(data, &["--cores", "1"])
    }

    /// Starts one with these options too.
    pub fn start_with(data: &Path, options: &[&str]) -> Self {
        Self::start_by(thermae(), data, &[&["--memory", "128MiB"], options].concat())
    }

    /// Starts one by a command that runs the program.
    pub fn start_by(mut program: Command, data: &Path, options: &[&str]) -> Self {
        let mut child = program
            .args(["serve", "--json", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"])
            .arg("--data")
            .arg(data)
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        // One that refuses says so in the same place.
        let ready: Json = serde_json::from_str(&line).unwrap_or_default();
        let place = |name: &str| match ready[name].as_str() {
            Some(place) => place.to_owned(),
            None => panic!("the server did not start, and said {:?}", line.trim()),
        };
        Self { address: place("tcp"), http: place("http"), child }
    }

    /// Runs a command against this server; its exit code and output.
    pub fn run(&self, arguments: &[&str]) -> Output {
        thermae().env("THERMAE_SERVER", &self.address).args(arguments).output().unwrap()
    }

    /// The same: its exit code and all that it said.
    pub fn told(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.run(arguments);
        let said = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(said).unwrap())
    }

    /// Asks it to stop, and gives its exit code.
    pub fn stop(mut self) -> i32 {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap().code().unwrap_or(-1)
    }

    /// Memory of the process that is in RAM now, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
    }

    /// The sum of one metric over the shards; `name` with its labels, but without `shard`.
    pub fn metric(&self, name: &str) -> u64 {
        let mut stream = TcpStream::connect(&self.http).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let value = |line: &str| -> Option<u64> {
            let (labelled, value) = line.rsplit_once(' ')?;
            let bare = labelled.split_once("{shard=").map_or(labelled, |(bare, _)| bare);
            (bare == name).then(|| value.parse().unwrap())
        };
        answer.lines().filter_map(value).sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[should_panic(expected = "--memory")]
fn a_server_that_refuses_to_start_is_heard() {
    let folder = tempfile::tempdir().unwrap();
    Server::start_by(thermae(), &folder.path().join("data"), &["--memory", "1MiB"]);
}
