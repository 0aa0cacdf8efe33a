//! Whether this harness tells the truth: a server with known stalls must show them.

use serde::{Deserialize, Serialize};

use crate::clock::{Clock, RealClock};
use crate::drive::{Driver, Pace, SECOND_NS, Watch, Window};
use crate::error::Error;
use crate::maker::{Maker, Shared};
use crate::null::{NullServer, Stalls};
use crate::presets::preset;
use crate::wire::WireSession;
use crate::workload::Arrivals;

/// Of what was expected, what was found may be off this share.
pub const OFF_MAX: f64 = 0.05;

/// One quantile.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Checked {
    /// Which.
    pub quantile: f64,
    /// What the stalls make it, nanoseconds.
    pub expected_ns: u64,
    /// What was measured.
    pub found_ns: u64,
    /// What times from sending would have said.
    pub from_sending_ns: u64,
}

impl Checked {
    /// How far it is off.
    pub fn off(&self) -> f64 {
        (self.found_ns as f64 / self.expected_ns.max(1) as f64 - 1.0).abs()
    }
}

struct Nobody;

impl Watch for Nobody {
    fn ended(&self, _: u64, _: u64) {}
}

/// Drives a server that does nothing for `stalls.for_ns` of every `stalls.every_ns`, one request in flight.
///
/// # Errors
/// No port.
pub fn check(per_s: f64, seconds: u64, stalls: Stalls) -> Result<Vec<Checked>, Error> {
    let mut workload = preset("point")?;
    workload.drive.in_flight = 1;
    let server = NullServer::start(&workload, Some(stalls))?;
    let shared = Shared::new(workload)?;
    let mut session = WireSession::open(server.address(), &shared, 1, false)?;
    let clock = RealClock::start();
    let start_ns = clock.now_ns() + SECOND_NS / 10;
    let end_ns = start_ns + seconds * SECOND_NS;
    let window = Window { start_ns, measured_ns: start_ns, end_ns };
    let pace = Pace::Open { per_s, arrivals: Arrivals::Steady, phase: 0.0 };
    let driver = Driver { clock: &clock, pace, window, seed: 1, watch: &Nobody };
    let mut maker = Maker::new(&shared, 0, 1);
    let recorded = driver.run(&mut session, &mut maker, 1)?;
    let (latency, service) = (recorded.latency(), recorded.service());
    // A request that takes no time but comes in a stall waits for its end; what takes time is small beside that.
    let one_ns = service.min();
    let expected = expected_ns(per_s, stalls, one_ns);
    let quantiles = [0.99, 0.999];
    Ok(quantiles
        .map(|quantile| Checked {
            quantile,
            expected_ns: at(&expected, quantile),
            found_ns: latency.value_at_quantile(quantile),
            from_sending_ns: service.value_at_quantile(quantile),
        })
        .to_vec())
}

fn at(sorted: &[u64], quantile: f64) -> u64 {
    let place = (sorted.len() as f64 * quantile).ceil() as usize;
    sorted.get(place.saturating_sub(1)).or(sorted.last()).copied().unwrap_or(0)
}

/// Latencies of evenly spread arrivals over many periods, one request at a time, each of which takes `one_ns`.
fn expected_ns(per_s: f64, stalls: Stalls, one_ns: u64) -> Vec<u64> {
    let gap = SECOND_NS as f64 / per_s;
    let mut free = 0_u64;
    let mut all: Vec<u64> = (0..(per_s * 100.0) as u64)
        .map(|request| {
            let due = (request as f64 * gap) as u64;
            let mut start = due.max(free);
            if stalls.is_in_one(start) {
                start = start - start % stalls.every_ns + stalls.for_ns;
            }
            free = start + one_ns;
            free - due
        })
        .collect();
    all.sort_unstable();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_expected_is_what_a_stall_makes() {
        let stalls = Stalls { every_ns: SECOND_NS, for_ns: 100_000_000 };
        let all = expected_ns(1000.0, stalls, 10_000);
        // A tenth of the requests come in a stall; the slowest hundredth of all waits 90 ms and more of its 100.
        assert!((9.0e7..9.2e7).contains(&(at(&all, 0.99) as f64)), "{}", at(&all, 0.99));
        assert!((9.85e7..1.001e8).contains(&(at(&all, 0.999) as f64)), "{}", at(&all, 0.999));
        assert_eq!(at(&all, 0.5), 10_000);
        let none = expected_ns(1000.0, Stalls { every_ns: SECOND_NS, for_ns: 0 }, 10_000);
        assert_eq!(at(&none, 0.999), 10_000);
    }
}
