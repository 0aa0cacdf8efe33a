//! `thermae bench --calibrate`, `--ladder` and `--check`.

use thermae_load::calibrate::{Calibration, Effort, calibrate};
use thermae_load::drive::SECOND_NS;
use thermae_load::honesty::{OFF_MAX, check};
use thermae_load::ladder::{Ladder, LadderOptions, ladder};
use thermae_load::null::Stalls;
use thermae_load::report::{bytes, headroom, ladder_page, nanoseconds, number};
use thermae_load::target::Way;
use thermae_load::workload::Drive;

use super::{Shown, failed, print_json, write};
use crate::cli::args::BenchArgs;
use crate::cli::args::Global;
use crate::cli::exit::{Done, Failure};
use crate::table::Table;

/// Rows of the ladder unless the command line says otherwise.
const LADDER_ROWS: u64 = 1_000_000;

/// Requests a second of the check.
const CHECK_RATE: f64 = 1000.0;

/// Writes a document where it is wanted, and prints it or `text`.
fn finish<T: serde::Serialize>(
    made: &T,
    text: &str,
    args: &BenchArgs,
    global: &Global,
) -> Result<Done, Failure> {
    if let Some(path) = &args.out {
        let json = serde_json::to_string_pretty(made).map_err(Failure::of)?;
        write(path, &(json + "\n"))?;
    }
    if global.json {
        print_json(made)?;
    } else {
        print!("{text}");
    }
    Ok(Done::All)
}

/// Measures the constants of this machine.
pub fn run_calibrate(
    args: &BenchArgs,
    way: &Way,
    drive: &Drive,
    global: &Global,
) -> Result<Done, Failure> {
    let usual = Effort::default();
    let effort = Effort {
        seconds: args.seconds.unwrap_or(usual.seconds),
        entities: args.entities.unwrap_or(usual.entities).max(10_000),
    };
    let mut shown = Shown::default();
    let made = calibrate(way, drive, effort, &mut |tick| shown.show(&tick)).map_err(failed)?;
    drop(shown);
    finish(&made, &calibration_text(&made), args, global)
}

fn calibration_text(made: &Calibration) -> String {
    let mut table =
        Table::new(["measured", ">requests/s", ">us of a core", ">fitted", ">off", ">headroom"]);
    for one in &made.measured {
        let off = (one.fitted_us / one.core_us - 1.0) * 100.0;
        table.row([
            one.what.clone(),
            number(one.per_s),
            number(one.core_us),
            number(one.fitted_us),
            format!("{off:+.0}%"),
            format!("{:.2}x", one.headroom),
        ]);
    }
    let mut text = table.for_stdout();
    let mut costs = Table::new(["what a part costs", ">us of a core"]);
    for (name, cost) in thermae_load::shape::Shape::NAMES.iter().zip(&made.costs_us) {
        costs.row([(*name).to_owned(), format!("{cost:.5}")]);
    }
    text.push('\n');
    text.push_str(&costs.for_stdout());
    text.push_str(&format!(
        "\nindex {:.1} bytes a row; {} beside the hot table; tables {:.2} bytes a byte\n",
        made.index_bytes_per_row,
        bytes(made.base_bytes),
        made.table_bytes_per_byte
    ));
    for at in &made.at_load {
        let times = at.p99_over_service;
        text.push_str(&format!(
            "at {:.0}% of the peak p99 is {times:.1} times the service time\n",
            at.share * 100.0
        ));
    }
    let bound = made.client_bound();
    if !bound.is_empty() {
        text.push_str(&format!("note: the client was the limit of: {}\n", bound.join(", ")));
    }
    text
}

/// Measures the ladder.
pub fn run_ladder(args: &BenchArgs, global: &Global) -> Result<Done, Failure> {
    // Below the directory that is named, so that its disk is measured; nothing of it stays.
    let folder = match &args.embedded {
        Some(folder) => std::fs::create_dir_all(folder).and_then(|()| tempfile::tempdir_in(folder)),
        None => tempfile::tempdir(),
    };
    let folder = folder.map_err(Failure::of)?;
    let options = LadderOptions {
        folder: folder.path(),
        server: reachable(global).then_some(global.server.as_str()),
        rows: args.entities.unwrap_or(LADDER_ROWS),
        seconds: args.seconds.unwrap_or(2.0),
    };
    let mut shown = Shown::default();
    let made = ladder(&options, &mut |tick| shown.show(&tick)).map_err(failed)?;
    drop(shown);
    if let Some(path) = &args.html {
        write(path, &ladder_page(&made))?;
    }
    finish(&made, &ladder_text(&made), args, global)
}

fn reachable(global: &Global) -> bool {
    crate::cli::connect::connect(global).is_ok()
}

#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
fn ladder_text(made: &Ladder) -> String {
    let mut table = Table::new([
        ">keys",
        "rung",
        ">p50",
        ">p99",
        ">keys/s",
        ">a key more",
        ">share lost",
        "for what",
    ]);
    for rung in &made.rungs {
        let keys = f64::from(rung.keys);
        table.row([
            rung.keys.to_string(),
            rung.name.clone(),
            nanoseconds(rung.p50_ns as f64),
            nanoseconds(rung.p99_ns as f64),
            number(rung.keys_per_s),
            rung.more_ns
                .filter(|more| *more > 0)
                .map_or("-".to_owned(), |more| nanoseconds(more as f64 / keys)),
            rung.lost_text(),
            rung.why.clone(),
        ]);
    }
    let mut text = table.for_stdout();
    let mut scaling = Table::new([
        ">threads reading the store",
        ">rows/s",
        ">of as many times one",
        ">headroom",
        "",
    ]);
    for one in &made.scaling {
        scaling.row([
            one.threads.to_string(),
            number(one.rows_per_s),
            format!("{:.0}%", one.efficiency * 100.0),
            headroom(one.headroom),
            one.judgement().to_owned(),
        ]);
    }
    text.push('\n');
    text.push_str(&scaling.for_stdout());
    if let Some(stream) = made.stream_bytes_per_s {
        let stream = bytes(stream);
        text.push_str(&format!(
            "the disk takes {stream}/s in durable writes of 1 MiB, four on their way\n"
        ));
    }
    for absent in &made.absent {
        text.push_str(&format!("absent: {absent}\n"));
    }
    text
}

/// Checks this harness against a server with known stalls.
pub fn run_check(args: &BenchArgs, global: &Global) -> Result<Done, Failure> {
    let stalls = Stalls { every_ns: SECOND_NS, for_ns: SECOND_NS / 10 };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    let seconds = args.seconds.unwrap_or(20.0).clamp(2.0, 600.0) as u64;
    let made = check(CHECK_RATE, seconds, stalls).map_err(failed)?;
    let mut table = Table::new(["quantile", ">expected", ">found", ">off", ">from sending"]);
    let mut is_honest = true;
    for one in &made {
        is_honest &= one.off() <= OFF_MAX;
        #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
        let ns = |ns: u64| nanoseconds(ns as f64);
        table.row([
            format!("p{}", one.quantile * 100.0),
            ns(one.expected_ns),
            ns(one.found_ns),
            format!("{:.1}%", one.off() * 100.0),
            ns(one.from_sending_ns),
        ]);
    }
    let text = format!(
        "{number} requests/s at a server that stalls 100 ms of every second, {seconds} s\n\n{table}\n{verdict}\n",
        number = number(CHECK_RATE),
        table = table.for_stdout(),
        verdict = if is_honest {
            "the stalls show, within 5%"
        } else {
            "the stalls do not show as they must"
        },
    );
    finish(&made, &text, args, global)?;
    match is_honest {
        true => Ok(Done::All),
        false => Err(Failure::Failed(
            "the harness does not tell the truth on this machine now".to_owned(),
        )),
    }
}
