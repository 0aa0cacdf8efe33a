//! The loop over a simulated clock and a simulated server: what it reports is what happened.
#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;

use crate::clock::Clock;
use crate::drive::{Driver, Pace, Recorded, SECOND_NS, Watch, Window};
use crate::error::Error;
use crate::maker::{Maker, Request, Shared};
use crate::null::Stalls;
use crate::presets::preset;
use crate::session::{Done, End, Session};
use crate::workload::Arrivals;

/// Time that moves when nothing else can be done.
#[derive(Clone, Default)]
struct SimClock {
    now_ns: Rc<Cell<u64>>,
    /// When the next answer comes.
    answer_ns: Rc<Cell<u64>>,
}

impl Clock for SimClock {
    fn now_ns(&self) -> u64 {
        self.now_ns.get()
    }

    fn idle(&self, due_ns: u64, is_waiting: bool) {
        let answer_ns = if is_waiting { self.answer_ns.get() } else { u64::MAX };
        let next_ns = due_ns.min(answer_ns).max(self.now_ns.get() + 1);
        self.now_ns.set(next_ns.min(self.now_ns.get() + SECOND_NS));
    }
}

/// One server, first come first served, that stalls.
struct SimServer {
    clock: SimClock,
    service_ns: u64,
    stalls: Stalls,
    free_ns: u64,
    window: usize,
    flights: VecDeque<(u64, u64)>,
    lose: Option<u64>,
}

/// When work of `service_ns` ends that may begin at `at_ns`: not a nanosecond of it is done in a stall.
fn ends_ns(at_ns: u64, service_ns: u64, stalls: Stalls) -> u64 {
    let (mut now, mut left) = (at_ns, service_ns);
    loop {
        let place = now % stalls.every_ns;
        if place < stalls.for_ns {
            now += stalls.for_ns - place;
            continue;
        }
        let work = left.min(stalls.every_ns - place);
        (now, left) = (now + work, left - work);
        if left == 0 {
            return now;
        }
    }
}

impl Session for SimServer {
    fn room(&self) -> usize {
        self.window - self.flights.len()
    }

    fn send(&mut self, _: &Request, token: u64) -> Result<(), Error> {
        let start = self.free_ns.max(self.clock.now_ns());
        self.free_ns = ends_ns(start, self.service_ns, self.stalls);
        let end = if self.lose == Some(token) { u64::MAX } else { self.free_ns };
        self.flights.push_back((token, end));
        self.clock
            .answer_ns
            .set(self.flights.iter().map(|(_, end)| *end).min().unwrap_or(u64::MAX));
        Ok(())
    }

    fn poll(&mut self, done: &mut Vec<Done>) -> Result<(), Error> {
        let now = self.clock.now_ns();
        self.flights.retain(|(token, end)| {
            if *end <= now {
                done.push(Done { token: *token, end: End::Answered { rows: 1, found: 1 } });
            }
            *end > now
        });
        self.clock
            .answer_ns
            .set(self.flights.iter().map(|(_, end)| *end).min().unwrap_or(u64::MAX));
        Ok(())
    }
}

struct Nobody;

impl Watch for Nobody {
    fn ended(&self, _: u64, _: u64) {}
}

const STALLS: Stalls = Stalls { every_ns: SECOND_NS, for_ns: 100_000_000 };
const NONE: Stalls = Stalls { every_ns: SECOND_NS, for_ns: 0 };
const SERVICE_NS: u64 = 100_000;

fn run(pace: Pace, window: usize, stalls: Stalls, seconds: u64, lose: Option<u64>) -> Recorded {
    let clock = SimClock::default();
    let shared = Shared::new(preset("point").unwrap()).unwrap();
    let mut maker = Maker::new(&shared, 0, 1);
    let mut server = SimServer {
        clock: clock.clone(),
        service_ns: SERVICE_NS,
        stalls,
        free_ns: 0,
        window,
        flights: VecDeque::new(),
        lose,
    };
    let end_ns = seconds * SECOND_NS;
    let window = Window { start_ns: 0, measured_ns: 0, end_ns };
    let driver = Driver { clock: &clock, pace, window, seed: 1, watch: &Nobody };
    driver.run(&mut server, &mut maker, 1).unwrap()
}

fn open(per_s: f64) -> Pace {
    Pace::Open { per_s, arrivals: Arrivals::Steady, phase: 0.0 }
}

/// The latencies that a schedule must have at such a server, computed without the loop, sorted.
fn truth(per_s: f64, seconds: u64) -> Vec<u64> {
    let (period, mut free) = (SECOND_NS as f64 / per_s, 0);
    let mut all = Vec::new();
    for at in 0.. {
        let due = (at as f64 * period) as u64;
        if due >= seconds * SECOND_NS {
            break;
        }
        free = ends_ns(due.max(free), SERVICE_NS, STALLS);
        all.push(free - due);
    }
    all.sort_unstable();
    all
}

fn close(found: u64, expected: u64, what: &str) {
    let off = (found as f64 / expected as f64 - 1.0).abs();
    assert!(off < 0.05, "{what}: {found} ns, not {expected} ns");
}

#[test]
fn stalls_of_the_server_show_in_the_tail_whatever_the_window() {
    const SECONDS: u64 = 20;
    for per_s in [500.0, 1000.0, 5000.0] {
        let truth = truth(per_s, SECONDS);
        let at = |quantile: f64| {
            truth[((truth.len() as f64 * quantile).ceil() as usize - 1).min(truth.len() - 1)]
        };
        // With one request at a time the client cannot even send while the server stalls.
        for window in [1, 16, 100_000] {
            let recorded = run(open(per_s), window, STALLS, SECONDS, None);
            let latency = recorded.latency();
            assert_eq!(latency.len(), truth.len() as u64, "every request that was due counts");
            for quantile in [0.5, 0.9, 0.99, 0.999] {
                let what = format!("{per_s}/s, window {window}, p{quantile}");
                close(latency.value_at_quantile(quantile), at(quantile), &what);
            }
            assert_eq!((recorded.unfinished, recorded.failed), (0, 0));
        }
    }
}

#[test]
fn times_from_sending_would_have_hidden_them() {
    let recorded = run(open(1000.0), 1, STALLS, 20, None);
    let (latency, service) = (recorded.latency(), recorded.service());
    assert!(latency.value_at_quantile(0.99) > 80_000_000);
    assert!(service.value_at_quantile(0.99) < 1_000_000, "{}", service.value_at_quantile(0.99));
}

#[test]
fn a_closed_loop_reaches_the_servers_rate() {
    let recorded = run(Pace::Closed, 16, NONE, 5, None);
    let per_s = recorded.answered as f64 / 5.0;
    assert!((9_900.0..=10_001.0).contains(&per_s), "{per_s}");
    assert_eq!(recorded.seconds.len(), 5);
    assert!(recorded.seconds.iter().all(|second| (9_900..=10_001).contains(&second.requests)));
}

#[test]
fn what_is_never_answered_or_never_sent_is_not_left_out() {
    // Twice the server's rate: the queue grows by a second a second.
    let recorded = run(open(20_000.0), 8, NONE, 30, None);
    assert_eq!(recorded.latency().len(), 600_000);
    assert!(recorded.unfinished > 100_000, "{}", recorded.unfinished);
    assert!(recorded.latency().value_at_quantile(0.99) > 4 * SECOND_NS);
    let recorded = run(open(100.0), 8, NONE, 2, Some(0));
    assert_eq!((recorded.unfinished, recorded.latency().len()), (1, 200));
    assert!(recorded.latency().max() > 10 * SECOND_NS, "it waited until the drain ended");
}

#[test]
fn arrivals_of_many_users_come_as_often_and_are_uneven() {
    let pace = Pace::Open { per_s: 1000.0, arrivals: Arrivals::Poisson, phase: 0.0 };
    let recorded = run(pace, 1000, NONE, 20, None);
    let count = recorded.latency().len();
    assert!((19_400..20_600).contains(&count), "{count}");
    let steady = run(open(1000.0), 1000, NONE, 20, None);
    assert!(steady.latency().max() <= SERVICE_NS * 101 / 100);
    assert!(recorded.latency().max() > SERVICE_NS * 2, "some had to queue");
}

#[test]
fn warming_up_does_not_count() {
    let clock = SimClock::default();
    let shared = Shared::new(preset("point").unwrap()).unwrap();
    let mut maker = Maker::new(&shared, 0, 1);
    let (flights, free_ns) = (VecDeque::new(), 0);
    let mut server = SimServer {
        clock: clock.clone(),
        service_ns: 1000,
        stalls: NONE,
        free_ns,
        window: 4,
        flights,
        lose: None,
    };
    let window = Window { start_ns: 0, measured_ns: SECOND_NS, end_ns: 3 * SECOND_NS };
    let driver = Driver { clock: &clock, pace: open(100.0), window, seed: 1, watch: &Nobody };
    let recorded = driver.run(&mut server, &mut maker, 1).unwrap();
    assert_eq!((recorded.latency().len(), recorded.answered), (200, 200));
}
