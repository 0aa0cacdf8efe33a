//! The campaign of `cold::tests::faults`, over the wire: whatever becomes of requests, nothing is lost or doubled.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::server::{Fate, Server};
use crate::cold::tests::faults::{World, end, live};
use crate::testing::Rng;

/// Runs: each makes some hundred requests.
const RUNS: u64 = 12;

const FATES: [Fate; 8] = [
    Fate::Status(500, "InternalError"),
    Fate::Status(503, "SlowDown"),
    Fate::Status(429, "TooManyRequests"),
    Fate::DoneThen(500, "InternalError"),
    Fate::ResetBefore,
    Fate::ResetAfter,
    Fate::Truncated,
    Fate::Short,
];

fn run(seed: u64, failed: &Arc<AtomicU64>) -> u64 {
    let mut rng = Rng::new(seed);
    let server = Server::start();
    let mut world = World::new();
    let mut deaths = 0;
    for step in 0..4 {
        world.write(&mut rng);
        let (draws, one_in) = (Mutex::new(Rng::new(seed * 100 + step)), 2 + rng.below(10));
        let failed = Arc::clone(failed);
        server.set_fates(move |_| {
            let mut draws = draws.lock().unwrap();
            if !draws.one_in(one_in) {
                return Fate::Works;
            }
            failed.fetch_add(1, Ordering::Relaxed);
            FATES[draws.below(FATES.len() as u64) as usize]
        });
        deaths += u64::from(live(&world, server.open("root"), &mut rng).is_err());
        // The bucket has the root's name before every key.
        server.set_fates(|_| Fate::Works);
        world.check(&copy(&server));
    }
    end(&world, &copy(&server), &mut rng);
    deaths
}

/// The objects below the root, as another reader finds them.
fn copy(server: &Server) -> Arc<crate::cold::MemoryObjects> {
    use crate::cold::Objects;
    let objects = crate::cold::MemoryObjects::default();
    for object in server.objects.list("root/", "").unwrap() {
        let bytes = server.objects.get(&object.path).unwrap();
        objects.put_new(object.path.strip_prefix("root/").unwrap(), bytes).unwrap();
    }
    Arc::new(objects)
}

#[test]
fn nothing_is_lost_or_doubled_whatever_becomes_of_requests() {
    let failed = Arc::new(AtomicU64::new(0));
    let deaths: u64 = (0..RUNS).map(|seed| run(seed, &failed)).sum();
    // A campaign that never fails tests nothing.
    let failed = failed.load(Ordering::Relaxed);
    assert!(failed > 10 * RUNS && deaths > 0, "{failed} requests failed, {deaths} lives ended");
}
