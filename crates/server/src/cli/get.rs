//! `thermae get`: features of some entities, over the binary protocol.

use thermae_client::{Answer, Client, Plan, ReadOptions};
use thermae_formats::NO_TIME;
use thermae_formats::time::parse_timestamp_us;
use thermae_formats::wire::{CellStatus, RowStatus, ViewFeatures};

use super::answers::{Answers, Asked, Cell};
use super::args::{GetArgs, Global};
use super::connect::{Described, choose, connect, describe, failed};
use super::exit::{Done, Failure};
use super::get_print;
use super::keys::{self, EntityRow};
use super::view_ref::ViewFeaturesRef;

/// Rows asked for in one request, at most; a server may allow fewer.
const ROWS_MAX: usize = 1000;

/// Runs the command.
pub fn run(args: &GetArgs, global: &Global) -> Result<Done, Failure> {
    let read_time = match &args.read_time {
        Some(text) => {
            parse_timestamp_us(text).map_err(|e| Failure::Usage(format!("--read-time: {e}")))?
        }
        None => NO_TIME,
    };
    let client = connect(global)?;
    let asked = resolve(describe(&client, None, None)?, &args.views)?;
    let needed = keys::needed(asked.iter().map(|a| &a.view))?;
    let mut rows = keys::from_arguments(&args.key, &needed)?;
    if let Some(path) = &args.keys {
        rows.extend(keys::from_file(path, &needed)?);
    }
    let answers = read(&client, &asked, rows, read_time)?;
    if global.json {
        println!("{}", get_print::json(&asked, &answers));
    } else {
        print!("{}", get_print::text(&asked, &answers));
    }
    let missing = answers
        .rows
        .iter()
        .flat_map(|(_, cells)| cells)
        .any(|cell| cell.status == CellStatus::NotFound);
    Ok(if missing { Done::Partly } else { Done::All })
}

/// Finds the views and features that were named.
pub fn resolve(views: Vec<Described>, asked: &[ViewFeaturesRef]) -> Result<Vec<Asked>, Failure> {
    let mut out = Vec::with_capacity(asked.len());
    for one in asked {
        let view = choose(views.clone(), &one.view)?.definition;
        for name in &one.features {
            if view.feature(name).is_none() {
                let there: Vec<&str> = view.features.iter().map(|f| f.name.as_str()).collect();
                return Err(Failure::Failed(format!(
                    "{} has no feature {name:?}; it has: {}",
                    view.name,
                    there.join(", ")
                )));
            }
        }
        let features = if one.features.is_empty() {
            view.features.iter().map(|f| f.name.clone()).collect()
        } else {
            one.features.clone()
        };
        out.push(Asked { view, features });
    }
    Ok(out)
}

/// Prepares a plan for what is asked.
pub fn prepare(client: &Client, asked: &[Asked]) -> Result<Plan, Failure> {
    let views: Vec<ViewFeatures<'_>> = asked
        .iter()
        .map(|a| ViewFeatures {
            project: &a.view.project,
            view: &a.view.name,
            version: a.view.version,
            features: a.features.iter().map(String::as_str).collect(),
        })
        .collect();
    client.prepare(&views).map_err(failed)
}

/// Reads the rows, in as many requests as that takes; all are judged by one time.
pub fn read(
    client: &Client,
    asked: &[Asked],
    rows: Vec<EntityRow>,
    read_time: i64,
) -> Result<Answers, Failure> {
    let plan = prepare(client, asked)?;
    let mut options = ReadOptions { event_times: true, read_time, ..ReadOptions::default() };
    let limit =
        client.server().map_err(failed)?.limits.max_batch_keys as usize / asked.len().max(1);
    let mut answers = Answers { read_time, rows: Vec::with_capacity(rows.len()) };
    for chunk in rows.chunks(limit.clamp(1, ROWS_MAX)) {
        let answer = read_chunk(client, &plan, asked, chunk, &options)?;
        // The first answer's time judges the others too.
        options.read_time = answer.read_time();
        answers.read_time = answer.read_time();
        for (at, row) in chunk.iter().enumerate() {
            answers.rows.push((row.clone(), cells(&answer, asked, at)?));
        }
    }
    Ok(answers)
}

fn read_chunk(
    client: &Client,
    plan: &Plan,
    asked: &[Asked],
    rows: &[EntityRow],
    options: &ReadOptions,
) -> Result<Answer, Failure> {
    let mut packed = Vec::with_capacity(asked.len());
    for (index, one) in asked.iter().enumerate() {
        let mut keys = plan.keys(index).map_err(failed)?;
        for row in rows {
            let values = keys::of_view(row, one.view.join_keys.iter().map(|k| &k.name));
            keys.push(&values).map_err(failed)?;
        }
        packed.push(keys);
    }
    client.read(plan, &packed.iter().collect::<Vec<_>>(), options).map_err(failed)
}

/// The cells of one row of an answer.
fn cells(answer: &Answer, asked: &[Asked], row: usize) -> Result<Vec<Cell>, Failure> {
    let mut out = Vec::new();
    for (index, one) in asked.iter().enumerate() {
        let missing = || Failure::Failed("the server's answer lacks a view".to_owned());
        let view = answer.view(index).ok_or_else(missing)?;
        let status = view.status(row);
        let has_row = matches!(status, RowStatus::Present | RowStatus::OutsideMaxAge);
        let event_time = if has_row { view.event_time(row).unwrap_or(NO_TIME) } else { NO_TIME };
        for column in 0..one.features.len() {
            let value = answer.value(index, row, column).map_err(failed)?;
            out.push(Cell { status: view.cell(row, column), value, event_time });
        }
    }
    Ok(out)
}
