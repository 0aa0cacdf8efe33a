//! `thermae plan --verify`: the plan's requests driven at a server of this machine, beside what the plan says.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use thermae_load::calibrate::{Calibration, Effort, PASSES, Passes};
use thermae_load::capacity::Description;
use thermae_load::report::{bytes, number};
use thermae_load::target::Way;
use thermae_load::verify::{Driven, OFF_MAX, Sample, Verified};
use thermae_load::workload::Drive;

use super::{Shown, failed, print_json, reserved};
use crate::cli::args::Global;
use crate::cli::exit::{Done, Failure};
use crate::cli::serve as serve_command;
use crate::serve::{self, Running, ServeOptions};
use crate::table::Table;

/// Memory of the server that is calibrated, where no calibration was given.
const CALIBRATED_BYTES: u64 = 2 << 30;

/// A server of one shard in an empty directory, and this thread kept off its core.
struct Apart {
    running: Option<Running>,
    way: Way,
    before: Option<CpuSet>,
    _folder: tempfile::TempDir,
}

impl Apart {
    fn start(memory_bytes: u64) -> Result<Self, Failure> {
        let folder = tempfile::tempdir().map_err(Failure::of)?;
        let options = ServeOptions {
            data: folder.path().join("data"),
            listen: Some("127.0.0.1:0".to_owned()),
            cores: 1,
            memory_bytes,
            ..ServeOptions::default()
        };
        options.check().map_err(|error| Failure::Usage(error.to_string()))?;
        let running = serve::start(options).map_err(serve_command::failed)?;
        let Some(address) = running.tcp_addr() else {
            return Err(Failure::Failed("the server does not listen".to_owned()));
        };
        let (way, before) = (Way::Wire { server: address.to_string() }, leave_first_core());
        Ok(Self { running: Some(running), way, before, _folder: folder })
    }

    fn stop(mut self) -> Result<(), Failure> {
        match self.running.take().map(Running::stop) {
            Some(Err(error)) => Err(serve_command::failed(error)),
            _ => Ok(()),
        }
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        // The next server is to have the first core again; where this fails, it shares one, and is slower.
        let _ = self.before.as_ref().map(|cores| sched_setaffinity(None, cores));
    }
}

/// Keeps this thread, and those that it starts, off the core that the one shard is pinned to; what it had before.
fn leave_first_core() -> Option<CpuSet> {
    let before = sched_getaffinity(None).ok()?;
    let mut rest = before;
    let first = (0..CpuSet::MAX_CPU).find(|core| before.is_set(*core))?;
    rest.unset(first);
    // A machine of one core has none to leave it for.
    (rest.count() > 0 && sched_setaffinity(None, &rest).is_ok()).then_some(before)
}

/// Measures every description and tells how far its plan is off. Where the calibration is to be made first, its passes
/// and the descriptions take turns: plan and measurement are of the same minutes.
pub fn run(
    descriptions: &[Description],
    given: Option<Calibration>,
    seconds: f64,
    global: &Global,
) -> Result<Done, Failure> {
    let seconds = seconds / PASSES as f64;
    let drive = Drive { seconds, warm_up_s: seconds / 4.0, ..Drive::default() };
    drive.check().map_err(Failure::Usage)?;
    let mut shown = Shown::default();
    let usual = Effort::default();
    let effort = Effort { seconds: seconds.min(usual.seconds), ..usual };
    let mut passes = Passes::new(&drive, effort).map_err(failed)?;
    let mut calibration = given.clone();
    let mut driven: Vec<Option<Driven>> = vec![None; descriptions.len()];
    for _ in 0..PASSES {
        if given.is_none() {
            calibration = Some(pass(&mut passes, &mut shown)?);
        }
        let Some(calibration) = &calibration else { continue };
        for (description, best) in descriptions.iter().zip(&mut driven) {
            let sample = Sample::of(description, calibration, reserved);
            let server = Apart::start(sample.memory_bytes)?;
            let made = sample.drive(server.way.clone(), &drive, &mut |tick| shown.show(&tick));
            server.stop()?;
            let made = made.map_err(failed)?;
            *best = Some(match *best {
                Some(best) if best.per_s >= made.per_s => best,
                _ => made,
            });
        }
    }
    drop(shown);
    let Some(calibration) = calibration else {
        return Err(Failure::Failed("nothing was measured".to_owned()));
    };
    let beside = |(description, driven): (&Description, Option<Driven>)| {
        Some(Sample::of(description, &calibration, reserved).beside(&driven?))
    };
    let all: Vec<Verified> = descriptions.iter().zip(driven).filter_map(beside).collect();
    report(&all, &calibration, global)
}

/// A pass of a calibration, at a server of its own, and what all until now came to.
fn pass(passes: &mut Passes, shown: &mut Shown) -> Result<Calibration, Failure> {
    let server = Apart::start(CALIBRATED_BYTES)?;
    let told = &mut |tick| shown.show(&tick);
    let made = passes.measure(&server.way, told).and_then(|()| passes.finish(&server.way, told));
    server.stop()?;
    made.map_err(failed)
}

fn report(all: &[Verified], calibration: &Calibration, global: &Global) -> Result<Done, Failure> {
    if global.json {
        print_json(&all)?;
    } else {
        print!("{}", text(all, calibration));
    }
    match all.iter().all(Verified::holds) {
        true => Ok(Done::All),
        false => Err(Failure::Failed(format!(
            "a plan is off by more than {:.0}% on this machine now; was it busy? Calibrate again, and give the plan room \
             for as much as it is off",
            OFF_MAX * 100.0
        ))),
    }
}

fn text(all: &[Verified], calibration: &Calibration) -> String {
    let mut table = Table::new([
        "plan",
        ">rows",
        ">requests/s a core: planned",
        ">measured",
        ">off",
        ">headroom",
        ">hot tables: planned",
        ">measured",
        ">off",
        ">--memory as planned",
        ">rows in hot tables",
        "",
    ]);
    for one in all {
        let is = if one.holds() { "" } else { "off" };
        let bound = if one.is_client_bound { "client-bound: a core makes more" } else { "" };
        table.row([
            one.name.clone(),
            number(one.rows),
            number(one.planned_per_s),
            number(one.measured_per_s),
            percent(one.rate_off()),
            format!("{:.2}x", one.headroom),
            bytes(one.planned_hot_bytes),
            bytes(one.measured_hot_bytes),
            percent(one.memory_off()),
            bytes(one.memory_option_bytes as f64),
            format!("{:.1}%", one.hot_share * 100.0),
            [is, bound].join(" ").trim().to_owned(),
        ]);
    }
    let mut text = table.for_stdout();
    let misfit = calibration.worst_fit * 100.0;
    text.push_str(&format!(
        "\nthe calibration's own measurements are off its costs by up to {misfit:.0}%\n"
    ));
    for one in all.iter().filter(|one| one.share < 1.0) {
        text.push_str(&format!(
            "note: {} was driven with {} of its rows: with all of them fewer lie in caches, and a core makes less\n",
            one.name,
            number(one.rows)
        ));
    }
    text
}

fn percent(share: f64) -> String {
    format!("{:+.0}%", share * 100.0)
}
