//! Who has to wake a thread: one atomic word between the thread and those who call it.
//!
//! A caller leaves what it has to say, then rings. The thread looks for what was left, then announces
//! sleep. Both change the one word, so one of the two comes first: either the caller finds the thread
//! asleep and wakes it, or the thread finds that it was called and stays awake. A call that is found,
//! either way, has brought everything along that was left before it.

#[cfg(all(test, loom))]
use loom::sync::atomic::AtomicU8;
#[cfg(not(all(test, loom)))]
use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering;

/// The thread runs and nobody called.
const AWAKE: u8 = 0;
/// Somebody called since the thread last looked.
const CALLED: u8 = 1;
/// The thread sleeps, or is about to: whoever calls must wake it.
const ASLEEP: u8 = 2;

/// The word. How a thread sleeps and is woken is its owner's affair; a wake-up must not be lost that
/// comes between [`Doorbell::fall_asleep`] and the sleep.
#[derive(Debug)]
pub(crate) struct Doorbell(AtomicU8);

impl Doorbell {
    pub(crate) fn new() -> Self {
        Self(AtomicU8::new(AWAKE))
    }

    /// Calls the thread; true: it sleeps, wake it.
    #[must_use]
    pub(crate) fn ring(&self) -> bool {
        self.0.swap(CALLED, Ordering::SeqCst) == ASLEEP
    }

    /// Announces sleep; false: somebody called, do not sleep.
    #[must_use]
    pub(crate) fn fall_asleep(&self) -> bool {
        self.0.compare_exchange(AWAKE, ASLEEP, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Ends sleep and takes the call, if there was one.
    pub(crate) fn take_call(&self) -> bool {
        // Looking first keeps a spinning thread from writing a line that callers share.
        self.0.load(Ordering::Relaxed) != AWAKE && self.0.swap(AWAKE, Ordering::SeqCst) == CALLED
    }
}

/// Under a model checker (`cargo xtask loom`), in every order of the threads: a wake-up that is lost
/// shows as a thread that sleeps for good, which the checker reports.
#[cfg(all(test, loom))]
mod models {
    use super::*;
    use loom::sync::atomic::AtomicUsize;
    use loom::thread;
    use std::sync::Arc;

    /// The callers leave a letter each; the thread goes on until it has them all.
    fn check_callers(callers: usize) {
        let runs = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = Arc::clone(&runs);
        loom::model(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            let bell = Arc::new(Doorbell::new());
            // Relaxed: that the thread sees the letters is up to the bell.
            let letters = Arc::new(AtomicUsize::new(0));
            let sleeper = thread::current();
            for _ in 0..callers {
                let (bell, letters) = (Arc::clone(&bell), Arc::clone(&letters));
                let sleeper = sleeper.clone();
                thread::spawn(move || {
                    letters.fetch_add(1, Ordering::Relaxed);
                    if bell.ring() {
                        sleeper.unpark();
                    }
                });
            }
            // As a shard turns: look for letters, then let the ring sleep.
            while letters.load(Ordering::Relaxed) < callers {
                if !bell.take_call() && bell.fall_asleep() {
                    thread::park();
                }
                bell.take_call();
            }
        });
        println!("{} executions", runs.load(Ordering::Relaxed));
    }

    #[test]
    fn one_caller_is_heard() {
        check_callers(1);
    }

    #[test]
    fn two_callers_are_heard() {
        check_callers(2);
    }
}
