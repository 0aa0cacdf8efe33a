//! SIGTERM and SIGINT: the first asks for a graceful stop, the second for an end at once.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};

/// The exit code when a second signal cuts a graceful stop short.
pub const EXIT_CUT_SHORT: i32 = 130;

/// The process's stop signals, caught from [`Signals::catch`] on.
///
/// The handler writes one byte to a socket pair, which is all that a signal handler may safely
/// do; whoever waits reads it.
#[derive(Debug)]
pub struct Signals {
    wakeups: UnixStream,
}

impl Signals {
    /// Catches SIGTERM and SIGINT from now on.
    ///
    /// # Errors
    /// The system's reason why a handler cannot be installed.
    pub fn catch() -> io::Result<Self> {
        let (wakeups, handler_end) = UnixStream::pair()?;
        let seen = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            // Order matters: the conditional exit must look at the flag before it is set.
            signal_hook::flag::register_conditional_shutdown(
                signal,
                EXIT_CUT_SHORT,
                Arc::clone(&seen),
            )?;
            signal_hook::flag::register(signal, Arc::clone(&seen))?;
            signal_hook::low_level::pipe::register(signal, handler_end.try_clone()?)?;
        }
        Ok(Self { wakeups })
    }

    /// Blocks until the first signal comes.
    ///
    /// # Errors
    /// The system's reason why it cannot wait.
    pub fn wait(&mut self) -> io::Result<()> {
        let mut byte = [0_u8; 1];
        loop {
            match self.wakeups.read(&mut byte) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
