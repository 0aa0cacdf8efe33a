//! A real server as a child process, for tests that kill it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use thermae_client::{Address, Client, Config};

/// Longest wait for a server to come up.
const START_SECONDS_MAX: u64 = 30;

/// A server process of ours.
pub struct Server {
    child: Child,
    socket: PathBuf,
}

impl Server {
    /// Starts `binary` over `dir/data`, listening on `dir/kill.sock`.
    pub fn start(binary: &Path, dir: &Path, cores: usize) -> Result<Server, String> {
        Self::start_over(binary, &dir.join("data"), dir.join("kill.sock"), cores, Stdio::inherit())
    }

    /// Starts `binary` over the directory `data`, listening on `socket`, its messages sent to `log`.
    pub fn start_over(
        binary: &Path,
        data: &Path,
        socket: PathBuf,
        cores: usize,
        log: Stdio,
    ) -> Result<Server, String> {
        let child = Command::new(binary)
            .args(["serve", "--listen", "none", "--memory", "128MiB", "--data"])
            .arg(data)
            .arg("--unix")
            .arg(&socket)
            .args(["--cores", &cores.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|e| format!("{}: {e}", binary.display()))?;
        Ok(Server { child, socket })
    }

    /// Connects as soon as the server listens.
    pub fn connect(&mut self) -> Result<Client, String> {
        let address = Address::Unix(self.socket.clone());
        let config = Config { retry_in_doubt: false, ..Config::default() };
        let deadline = Instant::now() + Duration::from_secs(START_SECONDS_MAX);
        loop {
            match Client::connect(&address, config.clone()) {
                Ok(client) => return Ok(client),
                Err(error) if Instant::now() > deadline => return Err(error.to_string()),
                Err(_) => std::thread::yield_now(),
            }
            if let Some(status) = self.child.try_wait().map_err(|e| e.to_string())? {
                return Err(format!("the server ended with {status} instead of starting"));
            }
        }
    }

    /// Where it listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// SIGTERM, and waits for the process to stop in order.
    pub fn stop(&mut self) -> Result<(), String> {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM)
            .map_err(|e| e.to_string())?;
        let status = self.child.wait().map_err(|e| e.to_string())?;
        if status.success() { Ok(()) } else { Err(format!("the server ended with {status}")) }
    }

    /// SIGKILL, and waits for the process to be gone.
    pub fn kill(&mut self) -> Result<(), String> {
        self.child.kill().map_err(|e| e.to_string())?;
        self.child.wait().map_err(|e| e.to_string()).map(|_| ())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ours alone, by its id; an error means that it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
