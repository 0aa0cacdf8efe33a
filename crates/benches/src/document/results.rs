//! Results of those benchmarks that have a form of their own, as parts of the document.

use super::part::{Figure, Part, Role};
use crate::compare::{NULL, OURS};
use anyhow::{Context, bail};
use serde_json::Value;

/// A result as a part: it has the form already, or that of `wire`, `warm-peers` or `training`.
///
/// # Errors
/// It is of none of them, or lacks something; what, is told.
pub fn part(name: &str, text: &str) -> anyhow::Result<Part> {
    let result: Value = serde_json::from_str(text)?;
    if result.get("figures").is_some() || result.get("command").is_none() {
        return Ok(serde_json::from_value(result)?);
    }
    let (setting, figures) = match name {
        "wire" => (wire_setting(&result), wire(&result)?),
        "warm-peers" => (warm_setting(&result)?, warm(&result)?),
        "training" => (training_setting(&result)?, training(&result)?),
        _ => bail!("a result of another form"),
    };
    let versions = match result.get("versions") {
        Some(versions) => serde_json::from_value(versions.clone())?,
        None => versions_of_lines(&result)?,
    };
    let command = text_of(&result, "command")?.to_owned();
    let machine = serde_json::from_value(result["machine"].clone()).context("machine")?;
    let absent = serde_json::from_value(result["absent"].clone()).context("absent")?;
    Ok(Part { command, machine, versions, absent, setting, figures })
}

fn list<'a>(value: &'a Value, name: &str) -> anyhow::Result<&'a [Value]> {
    value[name].as_array().map(Vec::as_slice).with_context(|| format!("no list {name}"))
}

fn text_of<'a>(value: &'a Value, name: &str) -> anyhow::Result<&'a str> {
    value[name].as_str().with_context(|| format!("no text {name}"))
}

fn number(value: &Value, pointer: &str) -> anyhow::Result<f64> {
    value.pointer(pointer).and_then(Value::as_f64).with_context(|| format!("no number {pointer}"))
}

/// One number of each round.
fn rounds(line: &Value, pointer: &str, times: f64) -> anyhow::Result<Vec<f64>> {
    list(line, "rounds")?.iter().map(|round| Ok(number(round, pointer)? * times)).collect()
}

/// The figure of that name, added if it is new.
fn figure(figures: &mut Vec<Figure>, new: Figure) -> &mut Figure {
    let is_it = |figure: &Figure| (&figure.group, &figure.at) == (&new.group, &new.at);
    let at = figures.iter().position(is_it).unwrap_or_else(|| {
        figures.push(new);
        figures.len() - 1
    });
    &mut figures[at]
}

fn wire_setting(result: &Value) -> String {
    format!(
        "{} rows of ten float32 under an int64 key; {} interleaved rounds of {} s a figure. Servers on core 0, the \
         same client program on core 1; every row of the warm-up and one of each answer compared. The peers hold a \
         row as one blob; settings and reasons are in `crates/benches/peers/`.",
        result["rows"], result["rounds"], result["seconds"]
    )
}

fn wire(result: &Value) -> anyhow::Result<Vec<Figure>> {
    let mut found = Vec::new();
    for (what, pointer) in [("p50", "/p50_ns"), ("p99", "/p99_ns")] {
        for line in list(result, "latency")? {
            let (target, waiting) = (text_of(line, "target")?, text_of(line, "waiting")?);
            let (group, role) = match (waiting, target) {
                ("in process" | "same host", _) if what == "p99" => continue,
                ("in process" | "same host", _) => ("No socket: p50".to_owned(), Role::Beside),
                (_, "loopback floor") => {
                    (format!("One request at a time, {waiting} client: {what}"), Role::Beside)
                }
                _ => (format!("One request at a time, {waiting} client: {what}"), role(target)),
            };
            let new = Figure::new(&group, format!("{} keys", line["keys"]), "us", false);
            figure(&mut found, new).add(target, role, rounds(line, pointer, 1e-3)?);
        }
    }
    for line in list(result, "rates")? {
        let what = match text_of(line, "what")? {
            "read" => "Reads in flight over one connection",
            _ => "Durable writes in flight over one connection",
        };
        let at = format!("{} rows x {} in flight", line["keys"], line["window"]);
        let rounds = list(line, "rounds")?.iter().filter_map(Value::as_f64).collect();
        let target = text_of(line, "target")?;
        figure(&mut found, Figure::new(what, at, "rows/s", true)).add(target, role(target), rounds);
    }
    for line in list(result, "bytes")? {
        let target = text_of(line, "target")?;
        let new = Figure::new("Memory", "a row of 8 + 40 bytes", "bytes", false);
        figure(&mut found, new).add(target, role(target), vec![number(line, "/per_row")?]);
    }
    Ok(found)
}

fn role(target: &str) -> Role {
    match target {
        NULL => Role::Beside,
        _ if target.eq_ignore_ascii_case(OURS) => Role::Ours,
        _ => Role::Peer,
    }
}

fn warm_setting(result: &Value) -> anyhow::Result<String> {
    let [memory_mib, rows] =
        [number(result, "/memory_bytes")? / 1048576.0, number(result, "/rows")?];
    Ok(format!(
        "{rows} rows, {memory_mib} MiB for each engine, {} threads that ask; {} interleaved rounds of {} s a figure. Every row \
         was read back and compared. Settings of each engine, goals and more figures: [warm-peers.md](benchmarks/warm-peers.md).",
        result["threads"], result["rounds"], result["seconds"]
    ))
}

fn warm(result: &Value) -> anyhow::Result<Vec<Figure>> {
    let mut found = Vec::new();
    for line in list(result, "loads")? {
        let engine = label(text_of(line, "engine")?);
        let each = |of: &dyn Fn(&Value) -> anyhow::Result<f64>| -> anyhow::Result<Vec<f64>> {
            list(line, "rounds")?.iter().map(of).collect()
        };
        let seconds = |round: &Value| -> anyhow::Result<f64> {
            Ok(number(round, "/acknowledged_s")? + number(round, "/settled_s")?)
        };
        let rate = each(&|round| Ok(number(round, "/rows")? / seconds(round)?))?;
        let bytes =
            each(&|round| Ok(number(round, "/table_bytes")? / number(round, "/table_rows")?))?;
        let new = Figure::new("Durable load", "until tables rest", "rows/s", true);
        figure(&mut found, new).add(engine, role(engine), rate);
        let new = Figure::new("Tables on disk", "a row", "bytes", false);
        figure(&mut found, new).add(engine, role(engine), bytes);
    }
    for line in list(result, "reads")? {
        let keys = match text_of(line, "what")? {
            "Hit" => "keys that are there",
            "Miss" => "keys that are not there",
            _ => "skewed keys (zipf 0.99)",
        };
        let engine = label(text_of(line, "engine")?);
        let engine = match line["is_dropped"].as_bool() {
            Some(true) => format!("{engine}, pages dropped"),
            _ => engine.to_owned(),
        };
        let at = format!("{} keys", line["keys"]);
        let (rate, cpu) = (format!("Look-ups, {keys}"), format!("Processor time, {keys}"));
        let new = Figure::new(&rate, &at, "look-ups/s", true);
        figure(&mut found, new).add(&engine, role(&engine), rounds(line, "/look_ups_per_s", 1.0)?);
        let new = Figure::new(&cpu, &at, "us a look-up", false);
        figure(&mut found, new).add(&engine, role(&engine), rounds(line, "/cpu_us", 1.0)?);
    }
    Ok(found)
}

fn label(engine: &str) -> &str {
    match engine {
        "Fjall" => "fjall",
        "RocksdbFast" => "RocksDB (fast)",
        "RocksdbSmall" => "RocksDB (small)",
        other => other,
    }
}

fn training_setting(result: &Value) -> anyhow::Result<String> {
    Ok(format!(
        "A point-in-time join: {} rows of history onto {} rows of a spine, {} threads each, in a process of its own; {} \
         interleaved rounds. All answers were compared row by row: they are equal. The peers read Parquet, ours its tables: \
         [training.md](benchmarks/training.md).",
        number(result, "/history")?,
        number(result, "/spine")?,
        result["threads"],
        result["rounds"]
    ))
}

fn training(result: &Value) -> anyhow::Result<Vec<Figure>> {
    let mut found = Vec::new();
    for line in list(result, "lines")? {
        let name = text_of(line, "name")?;
        let role = if name == "thermae (archive)" { Role::Beside } else { role(name) };
        let numbers = |of: &str, times: f64| -> anyhow::Result<Vec<f64>> {
            let all = list(line, of)?.iter().filter_map(Value::as_f64);
            Ok(all.map(|number| number * times).collect())
        };
        let new = Figure::new("Time", "until the last row", "s", false);
        figure(&mut found, new).add(name, role, numbers("seconds", 1.0)?);
        let new = Figure::new("Peak memory", "of the process", "MiB", false);
        figure(&mut found, new).add(name, role, numbers("peak_bytes", 1.0 / 1048576.0)?);
    }
    Ok(found)
}

fn versions_of_lines(result: &Value) -> anyhow::Result<std::collections::BTreeMap<String, String>> {
    let version = |line: &Value| -> anyhow::Result<(String, String)> {
        Ok((text_of(line, "name")?.to_owned(), text_of(line, "version")?.to_owned()))
    };
    list(result, "lines")?.iter().map(version).collect()
}
