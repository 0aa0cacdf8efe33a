//! A server that the system gives too little: descriptors, rights. It says so and ends, and its data are
//! as they were.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::process::{Server, thermae};

/// Limits of open files: too few for any server, in steps up to enough.
const DESCRIPTORS: [u32; 9] = [4, 6, 8, 10, 12, 14, 16, 20, 256];
/// A user without rights.
const NOBODY: u32 = 65_534;
const VIEW: &str = "weather_by_origin";

fn say_skipped(test: &str, needs: &str) {
    let _ = writeln!(std::io::stderr(), "{test} ... SKIPPED: needs {needs}");
}

/// A data directory that knows a view, and what the server says of it.
fn written(directory: &Path) -> Vec<u8> {
    let server = Server::start(&directory.join("data"));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let definitions = root.join("examples/nycflights13/features.toml");
    let applied = server.run(&["apply", definitions.to_str().unwrap()]);
    assert!(applied.status.success(), "{applied:?}");
    let described = server.run(&["describe", VIEW]);
    assert!(described.status.success(), "{described:?}");
    assert_eq!(server.stop(), 0);
    described.stdout
}

/// The directory serves what it did.
fn check(directory: &Path, described: &[u8]) {
    let server = Server::start(&directory.join("data"));
    assert_eq!(server.run(&["describe", VIEW]).stdout, described);
    assert_eq!(server.stop(), 0);
}

fn serve_command(mut command: Command, data: &Path) -> Command {
    command.args(["serve", "--listen", "none", "--cores", "1", "--memory", "64MiB"]);
    command.arg("--unix").arg(data.with_extension("sock")).arg("--data").arg(data);
    command
}

#[test]
fn too_few_descriptors_end_a_start_with_a_reason_and_change_nothing() {
    if Command::new("prlimit").arg("--version").output().is_err() {
        return say_skipped("too few descriptors", "prlimit (apt-get install util-linux)");
    }
    let directory = tempfile::tempdir().unwrap();
    let described = written(directory.path());
    let data = directory.path().join("data");
    let mut refused = 0;
    for limit in DESCRIPTORS {
        let mut command = Command::new("prlimit");
        command.arg(format!("--nofile={limit}:{limit}")).arg(thermae().get_program());
        let mut command = serve_command(command, &data);
        let errors = directory.path().join("errors");
        command.stderr(std::fs::File::create(&errors).unwrap());
        command.stdout(std::process::Stdio::null());
        let mut child = command.spawn().unwrap();
        let socket = data.with_extension("sock");
        let served = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Err(status);
            }
            if std::os::unix::net::UnixStream::connect(&socket).is_ok() {
                break Ok(());
            }
            std::thread::yield_now();
        };
        let said = std::fs::read_to_string(&errors).unwrap();
        match served {
            Ok(()) => {
                child.kill().unwrap();
                child.wait().unwrap();
            }
            Err(status) => {
                assert!(status.code().is_some_and(|code| code > 0), "{limit}: {status}, {said}");
                let is_told = said.contains("os error 24") || limit < 6;
                assert!(is_told && !said.contains("panicked"), "{limit}: {said}");
                refused += 1;
            }
        }
    }
    assert!((2..DESCRIPTORS.len()).contains(&refused), "{refused} were refused");
    check(directory.path(), &described);
}

#[test]
fn a_directory_of_somebody_else_is_refused_with_a_reason() {
    if !rustix::process::geteuid().is_root() {
        return say_skipped("a directory of somebody else", "root, to be another user");
    }
    let directory = tempfile::tempdir().unwrap();
    let described = written(directory.path());
    // The way to it is open, and the program is where anybody can start it; the data are root's.
    let open = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(directory.path(), open).unwrap();
    let program = directory.path().join("thermae");
    std::fs::copy(thermae().get_program(), &program).unwrap();
    let mut command = serve_command(Command::new(&program), &directory.path().join("data"));
    let ended = command.uid(NOBODY).gid(NOBODY).output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(3), "{said}");
    assert!(said.contains("os error 13") && said.contains("data"), "{said}");
    check(directory.path(), &described);
}
