//! The same log on a real disk and a real ring.

use thermae_env::{Env, RealEnv, Ring, Wait};

use super::*;

/// Removes the directory at the end of a test.
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Appends `from..to`, durably, and waits until they are.
fn write<E: Env>(env: &E, recovered: &mut Recovered<E>, numbers: std::ops::Range<u64>, stop: bool) {
    let mut ring = env.ring().unwrap();
    let writer = &mut recovered.writers[0];
    let turn = |writer: &mut LogWriter<E>, ring: &mut E::Ring| {
        let mut events = Vec::new();
        let until = env.monotonic_ns() + 1_000_000;
        ring.turn(Wait::Until { monotonic_ns: until }, &mut events).unwrap();
        for event in events {
            writer.on_event(LogEvent::from_event(event).unwrap(), ring);
        }
        writer.tick(env.monotonic_ns(), ring);
        assert_eq!(writer.progress().failed, None);
    };
    for number in numbers {
        while let Err(error) = with_record(0, number, |record| writer.append(record)) {
            assert!(error.is_backpressure(), "{error}");
            writer.submit(&mut ring, number % 3 > 0);
            turn(writer, &mut ring);
        }
    }
    writer.submit(&mut ring, true);
    let last = writer.last_batch();
    while writer.progress().durable < last {
        turn(writer, &mut ring);
    }
    if stop {
        writer.stop(&mut ring);
        while !writer.is_stopped() {
            turn(writer, &mut ring);
        }
    }
}

#[test]
fn the_log_works_on_a_real_disk() {
    let env = RealEnv::new();
    let name = format!("thermae-log-{}-{:x}", std::process::id(), env.random_u64());
    let dir = Directory(std::env::temp_dir().join(name));
    for round in 0..4_u64 {
        let mut replayed = Vec::new();
        let mut recovered = open_directory(&env, &dir.0, 1, &options(), &mut |record| {
            replayed.push(seen(record).number);
            Ok(())
        })
        .unwrap();
        assert_eq!(replayed, (0..round * 100).collect::<Vec<_>>());
        write(&env, &mut recovered, round * 100..round * 100 + 100, round % 2 == 1);
        assert!(recovered.writers[0].stats().segments > 2);
        if round == 1 {
            let ends = [recovered.writers[0].end()];
            assert!(close_directory(&env, &dir.0, &recovered.manifest, &ends).unwrap());
        }
    }
    let report = verify_directory(&env, &dir.0, &mut |_, _| ()).unwrap();
    assert!(report.is_sound() && report.records == 400, "{report:?}");
}
