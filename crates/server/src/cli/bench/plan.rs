//! `thermae plan`: what hardware a load takes.

use std::path::Path;

use thermae_load::Error;
use thermae_load::calibrate::Calibration;
use thermae_load::capacity::{
    Answer, Cost, Description, EXAMPLE, Prices, RowBytes, Source, Spread, answer,
};
use thermae_load::report::{bytes, number};

use super::{failed, print_json, read, reserved, verify};
use crate::cli::args::Global;
use crate::cli::args::PlanArgs;
use crate::cli::exit::{Done, Failure};
use crate::table::Table;

/// Runs the command.
pub fn run(args: &PlanArgs, global: &Global) -> Result<Done, Failure> {
    if args.example {
        print!("{EXAMPLE}");
        return Ok(Done::All);
    }
    let mut descriptions = Vec::new();
    for file in &args.files {
        let told = |error| in_file(file, error);
        descriptions.push(Description::from_toml(&read(file)?).map_err(told)?);
    }
    let calibration = match &args.calibration {
        Some(file) => {
            let told = |error| in_file(file, error);
            Some(Calibration::from_json(&read(file)?).map_err(told)?)
        }
        None => None,
    };
    if args.verify {
        return verify::run(&descriptions, calibration, args.seconds, global);
    }
    let ([description], Some(calibration)) = (&mut descriptions[..], calibration) else {
        let what = "a plan is of one description and needs --calibration FILE.json, which `thermae bench --calibrate --out \
                    FILE.json` writes; --verify takes several descriptions";
        return Err(Failure::Usage(what.to_owned()));
    };
    if let Some(prices) = &args.prices {
        let told = |error| in_file(prices, error);
        description.prices = Some(Prices::from_toml(&read(prices)?).map_err(told)?);
    }
    description.check_prices().map_err(failed)?;
    let answer = answer(description, &calibration, reserved);
    if global.json {
        print_json(&answer)?;
    } else {
        print!("{}", text(&answer));
    }
    Ok(Done::All)
}

/// What is wrong, and in which file.
fn in_file(file: &Path, error: Error) -> Failure {
    match error {
        Error::Given(text) => Failure::Usage(format!("{}: {text}", file.display())),
        other => failed(other),
    }
}

fn spread(of: Spread) -> [String; 3] {
    [number(of.best), number(of.average), number(of.worst)]
}

fn text(answer: &Answer) -> String {
    let (now, then) = (&answer.now, &answer.then);
    let mut parts = vec![format!(
        "{}: {} requests/s, {} keys read/s, {} rows written/s, {} rows; planned for {:.2} times that\n",
        answer.name,
        number(now.requests_per_s),
        number(now.keys_per_s),
        number(now.rows_per_s),
        number(now.rows),
        answer.times,
    )];
    parts.push(format!(
        "{:.0} machines, bought for {}; --memory {} each; {}\n\
         A core that is busy all the time makes {} requests/s of this mix; cores are loaded to {:.0}% so that p99 keeps its\n\
         promise, as the longest request takes {} us of one.\n",
        answer.nodes,
        answer.bottleneck,
        bytes(answer.memory_option_bytes),
        answer.cost.as_ref().map_or("no prices were given".to_owned(), cost),
        number(now.per_core_per_s),
        then.load_share * 100.0,
        number(then.service_us),
    ));
    parts.push(needs_table(answer));
    parts.push(rows_table(&answer.rows));
    let mut breaks =
        Table::new(["what runs out, in this order", ">at times today's load", ">in years"]);
    for one in &answer.breaks {
        let years = one.in_years.map_or("-".to_owned(), |years| format!("{years:.1}"));
        breaks.row([one.name.to_owned(), format!("{:.2}", one.at_times), years]);
    }
    parts.push(breaks.for_stdout());
    let mut constants = Table::new(["constant", ">value", "unit", "source"]);
    for one in &answer.constants {
        let source = match &one.source {
            Source::Measured(on) => format!("measured: {on}"),
            Source::Given(text) => format!("given: {text}"),
        };
        constants.row([one.name.clone(), format!("{:.4}", one.value), one.unit.to_owned(), source]);
    }
    parts.push(constants.for_stdout());
    parts.push(answer.notes.iter().map(|note| format!("note: {note}\n")).collect());
    parts.join("\n")
}

fn cost(cost: &Cost) -> String {
    format!(
        "{} {}/month ({} machines, {} archive, {} its requests)",
        number(cost.month),
        cost.currency,
        number(cost.nodes),
        number(cost.object_bytes),
        number(cost.object_requests),
    )
}

fn needs_table(answer: &Answer) -> String {
    let then = &answer.then;
    let mut needs = Table::new([
        "resource",
        "unit",
        ">best",
        ">average",
        ">worst",
        ">a machine has",
        ">machines",
    ]);
    for resource in &answer.resources {
        let [best, average, worst] = spread(resource.need);
        let (has, nodes) = (number(resource.per_node), format!("{:.2}", resource.nodes));
        needs.row([resource.name, resource.unit, &best, &average, &worst, &has, &nodes]);
    }
    let gib = 1.0 / f64::from(1 << 30);
    let tiers = [
        ("  hot tables", "GiB", then.hot_bytes.times(gib)),
        ("  filters and indices", "GiB", then.filter_bytes.times(gib)),
        ("  archive", "GiB", then.cold_bytes.times(gib)),
        ("  objects written", "a month", Spread::even(then.object_writes)),
        ("  objects read", "a month", Spread::even(then.object_reads)),
    ];
    for (name, unit, need) in tiers {
        let [best, average, worst] = spread(need);
        needs.row([name, unit, &best, &average, &worst, "", ""]);
    }
    needs.for_stdout()
}

/// What one row takes where.
fn rows_table(rows: &[RowBytes]) -> String {
    let mut table = Table::new([
        "bytes of a row: best, average, worst",
        ">key and value",
        ">hot table",
        ">filters",
        ">tables",
        ">a superseded version",
        ">archive",
    ]);
    for row in rows {
        let [hot, filters, disk, version, archived] =
            [row.hot, row.filters, row.disk, row.version, row.archived]
                .map(|of| spread(of).join(", "));
        table.row([&row.view, &number(row.payload), &hot, &filters, &disk, &version, &archived]);
    }
    table.for_stdout()
}
