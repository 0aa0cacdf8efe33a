//! Power cuts, kills and nested crashes at every step, in many seeds.

use super::*;

/// What a crash may not change.
struct Promise {
    sent: Vec<u64>,
    /// How many of them were durable, written.
    durable: usize,
    written: usize,
}

/// A little run of random writes that ends with the machine. Returns what was promised until then.
fn write_until_the_crash(env: &SimEnv, seed: u64, operations: u64) -> Promise {
    env.crash_after(operations);
    let mut promise = Promise { sent: Vec::new(), durable: 0, written: 0 };
    let (opened, _) = open(env, 1, &options());
    let Ok(recovered) = opened else {
        assert!(env.is_frozen(), "only the crash fails an open: {:?}", opened.err());
        return promise;
    };
    // What comes after the new manifest is best effort, so the machine may have stopped unnoticed.
    let Ok(ring) = env.ring() else { return promise };
    let mut rig =
        Rig { env: env.clone(), ring, recovered, replayed: Vec::new(), sent: vec![Vec::new()] };
    let mut number = 0;
    for step in 0..400_u64 {
        let dice = (seed * 31 + step * 17 + step * step) % 11;
        if rig.append(0, number).is_ok() {
            number += 1;
        }
        if dice < 4 {
            rig.submit(0, dice.is_multiple_of(2));
        }
        if dice == 5 {
            env.advance_us(20_000);
        }
        let is_alive = dice.is_multiple_of(3) || rig.turn(None);
        let progress = rig.writer(0).progress();
        let count = |mark| rig.sent[0].iter().filter(|(_, batch)| *batch <= mark).count();
        (promise.durable, promise.written) = (count(progress.durable), count(progress.written));
        if !is_alive || env.is_frozen() {
            break;
        }
    }
    promise.sent = rig.sent[0].iter().map(|(number, _)| *number).collect();
    // The machine may stop without the program's noticing: what it had been told counts.
    promise
}

/// Crashes the machine, opens it again with crashes during recovery, and gives what came back.
fn reopen(env: SimEnv, seed: u64, is_power_cut: bool) -> Result<Vec<u64>, String> {
    let stop = |env: &SimEnv| if is_power_cut { env.crash() } else { env.kill() };
    let mut env = stop(&env);
    let mut seen: Option<Vec<u64>> = None;
    for nested in 0..4 {
        if nested < 3 {
            env.crash_after((seed + nested * 7) % 23);
        }
        let (opened, replayed) = open(&env, 1, &options());
        match opened {
            Ok(_) => {
                let replayed = numbers(&replayed);
                if seen.as_ref().is_some_and(|first| *first != replayed) {
                    return Err(format!("recover(crash(recover(x))): {seen:?}, then {replayed:?}"));
                }
                seen = Some(replayed);
            }
            Err(error) if !env.is_frozen() => return Err(format!("open {nested}: {error}")),
            Err(_) => {}
        }
        env = stop(&env);
    }
    seen.ok_or_else(|| "the last open has no crash".to_owned())
}

fn campaign(seeds: std::ops::Range<u64>, is_power_cut: bool, lies: bool) -> Vec<String> {
    let mut broken = Vec::new();
    for seed in seeds {
        let env = SimEnv::new(seed);
        drop(open(&env, 1, &options()));
        env.lie_sync(lies);
        let promise = write_until_the_crash(&env, seed, 5 + (seed * 13) % 300);
        let seen = match reopen(env, seed, is_power_cut) {
            Ok(seen) => seen,
            Err(what) => {
                broken.push(format!("seed {seed}: {what}"));
                continue;
            }
        };
        let kept = if is_power_cut { promise.durable } else { promise.written };
        if seen.len() < kept {
            broken.push(format!("seed {seed}: {} of {kept} acknowledged are there", seen.len()));
        } else if promise.sent.get(..seen.len()) != Some(&seen[..]) {
            broken.push(format!("seed {seed}: {seen:?} is no prefix of what was sent"));
        }
    }
    broken
}

#[test]
fn a_power_cut_loses_no_durable_record_and_leaves_no_hole() {
    let broken = campaign(0..400, true, false);
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn a_kill_loses_no_written_record_and_leaves_no_hole() {
    let broken = campaign(1000..1300, false, false);
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn the_campaign_sees_a_disk_that_lies_about_syncs() {
    // Either acknowledged records are missing, or recovery refuses a log that lost its middle.
    let caught = campaign(0..100, true, true).len();
    assert!(caught > 10, "in {caught} of 100 seeds");
}

#[test]
fn a_crash_at_every_step_of_creation_and_of_an_open_leaves_a_directory_that_opens() {
    for is_used in [false, true] {
        for operations in 0..60 {
            let env = SimEnv::new(operations);
            if is_used {
                let mut rig = Rig::open(&env, 2);
                rig.put(0..60, true);
                let last = rig.sent[0].last().unwrap().1;
                rig.run(|progress| progress.durable >= last);
            }
            let expected = if is_used { 60 } else { 0 };
            let env = env.kill();
            env.crash_after(operations);
            let (opened, _) = open(&env, 3, &options());
            let was_cut = env.is_frozen();
            assert!(was_cut || opened.is_ok());
            drop(opened);
            let env = env.crash();
            assert_eq!(Rig::open(&env, 1).replayed.len(), expected, "after {operations}");
            if !was_cut {
                break;
            }
        }
    }
}

#[test]
fn what_an_open_has_shown_does_not_vanish_at_the_next_power_cut() {
    for seed in 0..40 {
        let env = SimEnv::new(seed);
        let mut rig = Rig::open(&env, 1);
        // More than half a segment, or the trimmed copy would be durable anyway.
        rig.put(0..26, false);
        let last = rig.sent[0].last().unwrap().1;
        rig.run(|progress| progress.written >= last);
        assert_eq!(rig.writer(0).progress().durable, 0, "nothing was synced");
        let env = env.kill();
        let (opened, shown) = open(&env, 1, &options());
        assert!(opened.is_ok() && numbers(&shown) == (0..26).collect::<Vec<_>>());
        let env = env.crash();
        assert_eq!(open(&env, 1, &options()).1, shown, "seed {seed}");
    }
}
