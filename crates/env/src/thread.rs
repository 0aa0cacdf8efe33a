//! Threads that own a core, and sockets bound the way a server wants them.

use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use rustix::thread::CpuSet;

/// Cores that this process may use, ascending.
pub fn available_cores() -> io::Result<Vec<usize>> {
    let set = rustix::thread::sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect())
}

/// Keeps the calling thread on one core. `InvalidInput` when the process may not use it.
pub fn pin_thread(core: usize) -> io::Result<()> {
    if core >= CpuSet::MAX_CPU {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut set = CpuSet::new();
    set.set(core);
    Ok(rustix::thread::sched_setaffinity(None, &set)?)
}

/// Listens on a TCP address; port 0 asks for any free one.
pub fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address)
}

/// Listens on a unix socket that only this user may connect to (mode 0600).
///
/// A socket file that a dead server left is replaced; one that still answers is `AddrInUse`, and
/// anything that is not a socket is left alone (`AlreadyExists`).
pub fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        Ok(_) if is_answered(path)? => return Err(io::ErrorKind::AddrInUse.into()),
        Ok(_) => std::fs::remove_file(path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    // Bound under a private name and renamed, so that it never has wider permissions.
    let mut private = path.as_os_str().to_owned();
    private.push(format!(".{}", std::process::id()));
    let private = Path::new(&private);
    let listener = UnixListener::bind(private)?;
    let placed = std::fs::set_permissions(private, std::fs::Permissions::from_mode(0o600))
        .and_then(|()| std::fs::rename(private, path));
    if let Err(error) = placed {
        // The first error is the one to report.
        let _ = std::fs::remove_file(private);
        return Err(error);
    }
    Ok(listener)
}

/// Whether a server lives behind a socket file.
///
/// The kernel tears the ring of a killed process down a moment after the process is gone, and its
/// listener with it: until then a connection is taken, and cut when the listener goes. So a
/// connection that is cut is tried again; one that stands for a second is a server's.
fn is_answered(path: &Path) -> io::Result<bool> {
    let tries = 10;
    for _ in 0..tries {
        let mut stream = match UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(false),
            Err(_) => return Ok(true),
            Ok(stream) => stream,
        };
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        match stream.read(&mut [0]) {
            Ok(0) => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
            Ok(_) | Err(_) => return Ok(true),
        }
    }
    Ok(true)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_stays_on_its_core() {
        std::thread::spawn(|| {
            let core = *available_cores().unwrap().last().unwrap();
            pin_thread(core).unwrap();
            assert_eq!(available_cores().unwrap(), vec![core]);
            assert_eq!(rustix::thread::sched_getcpu(), core);
            assert!(pin_thread(1_000_000).is_err());
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_dead_socket_is_replaced_a_living_one_and_files_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let first = bind_unix(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(bind_unix(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(first);
        let second = bind_unix(&path).unwrap();
        UnixStream::connect(&path).unwrap();
        second.accept().unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        let file = dir.path().join("file");
        std::fs::write(&file, "mine").unwrap();
        assert_eq!(bind_unix(&file).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&file).unwrap(), b"mine");
    }
}
