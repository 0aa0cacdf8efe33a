//! How far a backup has got, and how fast it may go on.

use std::time::Duration;

use thermae_env::{Env, give_way};

use crate::error::Error;

/// How often whoever asked may end work that rests, however slow it is to be.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// What a piece of the work takes, nanoseconds, about.
const PIECE_NS: u32 = 100_000;

/// What whoever asked for a backup says about the work.
pub struct Work<'a> {
    /// Bytes copied and read a second at most; 0: as many as there are.
    pub bytes_per_s: u64,
    /// Told the bytes done and the bytes in all, now and then; false ends the work.
    pub tell: &'a mut dyn FnMut(u64, u64) -> bool,
}

/// A piece of work under way.
pub(super) struct Meter<'a, 'b, E: Env> {
    env: &'a E,
    work: &'a mut Work<'b>,
    began_ns: u64,
    done: u64,
    of: u64,
}

impl<'a, 'b, E: Env> Meter<'a, 'b, E> {
    /// Work over `of` bytes begins.
    pub(super) fn begin(env: &'a E, work: &'a mut Work<'b>, of: u64) -> Self {
        Self { began_ns: env.monotonic_ns(), env, work, done: 0, of }
    }

    /// Notes bytes that are done, and waits until others may be.
    ///
    /// # Errors
    /// The work is to end.
    pub(super) fn advance(&mut self, bytes: u64) -> Result<(), Error> {
        self.done += bytes;
        give_way(PIECE_NS);
        loop {
            if !(self.work.tell)(self.done, self.of.max(self.done)) {
                return Err(Error::Invalid("stopped before its end".to_owned()));
            }
            let elapsed_ns = self.env.monotonic_ns().saturating_sub(self.began_ns);
            let pause_ns = pause_ns(self.done, elapsed_ns, self.work.bytes_per_s);
            if pause_ns == 0 {
                return Ok(());
            }
            std::thread::park_timeout(Duration::from_nanos(pause_ns).min(TELL_EVERY));
        }
    }
}

/// How long to rest after `done` bytes in `elapsed_ns`, for `bytes_per_s` at most (0: no rest).
fn pause_ns(done: u64, elapsed_ns: u64, bytes_per_s: u64) -> u64 {
    let due_ns = (u128::from(done) * 1_000_000_000).checked_div(u128::from(bytes_per_s));
    let due_ns = u64::try_from(due_ns.unwrap_or(0)).unwrap_or(u64::MAX);
    due_ns.saturating_sub(elapsed_ns)
}

#[cfg(test)]
mod tests {
    use super::pause_ns;

    #[test]
    fn work_rests_as_long_as_it_is_ahead() {
        assert_eq!(pause_ns(100, 0, 0), 0);
        assert_eq!(pause_ns(64 << 20, 250_000_000, 64 << 20), 750_000_000);
        assert_eq!(pause_ns(64 << 20, 2_000_000_000, 64 << 20), 0);
        assert_eq!(pause_ns(u64::MAX, 0, 1), u64::MAX);
    }
}
