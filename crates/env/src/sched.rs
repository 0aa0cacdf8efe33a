//! What a thread asks of the scheduler: how long its turns on a core are, and whom it lets go first.

use std::cell::Cell;
use std::io;
use std::time::{Duration, Instant};

use libc::sched_attr;

/// The shortest turns on a core that the kernel gives.
pub const SHORTEST_TURNS: Duration = Duration::from_micros(100);
/// How long a thread that gives way has a core at a time.
const WAY_EVERY: Duration = Duration::from_micros(50);
/// Work between two looks at the clock, nanoseconds.
const LOOK_NS: u32 = 10_000;
/// Steps of nice down to the lowest priority, from any other.
const LOWEST_STEPS: i32 = 19;

/// Asks for turns of that length on a core, 0.1 to 100 ms, for the calling thread and not for those that it starts; its
/// share of the core stays what its priority gives it. Whoever asks for shorter turns than the thread that runs is let in
/// when it wakes, instead of after the other's turn of some milliseconds (Linux 6.12 and later,
/// Documentation/scheduler/sched-eevdf.rst; an older one has one length for all and ignores it).
///
/// # Errors
/// A sandbox forbids the call.
pub fn ask_for_turns_of(length: Duration) -> io::Result<()> {
    set(sched_attr {
        sched_runtime: length.as_nanos().try_into().unwrap_or(u64::MAX),
        // Threads that it starts have the usual turns again.
        sched_flags: libc::SCHED_FLAG_RESET_ON_FORK as u64,
        ..usual(niceness()?)
    })
}

/// Puts the calling thread, and those that it starts from now on, behind others: by `steps` of nice, to 19 at most, for
/// each a tenth less of a core that others want too; and it takes no core from whoever runs when it wakes
/// (SCHED_BATCH, sched(7)). An unprivileged thread cannot take the steps back.
///
/// # Errors
/// A sandbox forbids the call.
pub fn lower_priority(steps: i32) -> io::Result<()> {
    let niceness = niceness()?.saturating_add(steps).min(19);
    set(sched_attr {
        sched_policy: libc::SCHED_BATCH as u32,
        // Longer than the turns of whom it lets go first; short, because who gives way loses the rest of its turn.
        sched_runtime: 2 * SHORTEST_TURNS.as_nanos() as u64,
        ..usual(niceness)
    })
}

/// Gives the calling thread, and those that it starts from now on, the lowest priority, for long work that nobody waits
/// for as they wait for a read. Where that is forbidden the work is done at the usual one.
pub fn go_last() {
    let _ = lower_priority(LOWEST_STEPS);
}

/// Lets whoever waits for this core have it, if the calling thread has had it for [`WAY_EVERY`]. For
/// threads of lowered priority, after each small piece of their work, with about how long it takes: the clock is looked
/// at only now and then.
///
/// The scheduler lets a thread in when it wakes only if it has not had more than its share just before; otherwise it looks
/// again at the next tick, up to 4 ms later, or when the thread that runs asks it to.
pub fn give_way(about_ns: u32) {
    thread_local! {
        static TURN: Cell<Turn> = const { Cell::new(Turn { worked_ns: 0, begun: None }) };
    }
    let mut turn = TURN.get();
    if turn.is_over(about_ns, Instant::now) {
        std::thread::yield_now();
        turn.begun = Some(Instant::now());
    }
    TURN.set(turn);
}

/// A thread's time on a core since it gave way last.
#[derive(Clone, Copy)]
struct Turn {
    /// Work since the clock was looked at.
    worked_ns: u32,
    begun: Option<Instant>,
}

impl Turn {
    /// Notes a piece of work; whether it is time to give way.
    fn is_over(&mut self, about_ns: u32, clock: impl FnOnce() -> Instant) -> bool {
        self.worked_ns = self.worked_ns.saturating_add(about_ns);
        if self.worked_ns < LOOK_NS {
            return false;
        }
        self.worked_ns = 0;
        self.begun.is_none_or(|begun| clock() - begun >= WAY_EVERY)
    }
}

/// Of the calling thread: on Linux it is a thread's own, though named after the process.
fn niceness() -> io::Result<i32> {
    Ok(rustix::process::getpriority_process(None)?)
}

/// What a thread has that asks for nothing.
fn usual(niceness: i32) -> sched_attr {
    sched_attr {
        size: size_of::<sched_attr>() as u32,
        sched_policy: libc::SCHED_OTHER as u32,
        sched_flags: 0,
        sched_nice: niceness,
        sched_priority: 0,
        sched_runtime: 0,
        sched_deadline: 0,
        sched_period: 0,
    }
}

fn set(attributes: sched_attr) -> io::Result<()> {
    // SAFETY: the kernel reads `size` bytes of the attributes, which live until it returns; 0 is this thread.
    let answer = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// What the calling thread has.
    fn told() -> sched_attr {
        let mut told = usual(0);
        let size = size_of::<sched_attr>();
        // SAFETY: the kernel writes at most `size` bytes to a struct of that size.
        let answer = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut told, size, 0) };
        assert_eq!(answer, 0);
        told
    }

    #[test]
    fn a_turn_is_over_after_its_time_and_the_clock_is_looked_at_now_and_then() {
        let begun = Instant::now();
        let mut turn = Turn { worked_ns: 0, begun: Some(begun) };
        let looks = Cell::new(0);
        // Pieces of 1 us by their own account, 2 by the clock.
        let overs: Vec<u32> = (1..=100)
            .filter(|piece| {
                turn.is_over(1_000, || {
                    looks.set(looks.get() + 1);
                    begun + Duration::from_micros(2 * u64::from(*piece))
                })
            })
            .collect();
        assert_eq!(looks.get(), 10);
        assert_eq!(overs, [30, 40, 50, 60, 70, 80, 90, 100], "until it begins anew");
        turn.begun = Some(begun + Duration::from_micros(200));
        assert!(!turn.is_over(u32::MAX, || begun + Duration::from_micros(249)));
        assert!(turn.is_over(u32::MAX, || begun + Duration::from_micros(250)));
        give_way(u32::MAX);
    }

    #[test]
    fn a_thread_has_short_turns_and_its_children_have_not() {
        std::thread::spawn(|| {
            let before = told();
            ask_for_turns_of(Duration::from_micros(200)).unwrap();
            let after = told();
            assert_eq!((after.sched_nice, after.sched_policy), (before.sched_nice, 0));
            // An older kernel has no length to tell.
            assert!([0, 200_000].contains(&after.sched_runtime), "{}", after.sched_runtime);
            let child = std::thread::spawn(told).join().unwrap();
            assert_eq!(child.sched_runtime, before.sched_runtime);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_thread_and_its_children_let_others_go_first() {
        std::thread::spawn(|| {
            let before = told();
            lower_priority(3).unwrap();
            for after in [told(), std::thread::spawn(told).join().unwrap()] {
                assert_eq!(after.sched_nice, (before.sched_nice + 3).min(19));
                assert_eq!(after.sched_policy, libc::SCHED_BATCH as u32);
                // A kernel with one length of turn for all says 0, or its own.
                assert!(
                    after.sched_runtime <= 200_000 || after.sched_runtime == before.sched_runtime
                );
            }
            lower_priority(100).unwrap();
            assert_eq!(told().sched_nice, 19);
        })
        .join()
        .unwrap();
    }
}
