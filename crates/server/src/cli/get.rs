//! `thermae get`: features of some entities, over the binary protocol.

use std::collections::BTreeMap;

use thermae_client::{Answer, Client, ComputedAnswer, Described, Plan, ReadOptions};
use thermae_formats::time::parse_timestamp_us;
use thermae_formats::wire::{CellStatus, RowStatus, ViewFeatures};
use thermae_formats::{NO_TIME, Value};

use super::answers::{Answers, Asked, Cell};
use super::args::{GetArgs, Global};
use super::connect::{choose, connect, describe, failed};
use super::exit::{Done, Failure};
use super::get_computed;
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
    let asked = find(&client, &args.views)?;
    let with = get_computed::brought(&args.with, &asked)?;
    let needed = keys::needed(asked.iter().map(|a| &a.view))?;
    let mut rows = keys::from_arguments(&args.key, &needed)?;
    if let Some(path) = &args.keys {
        rows.extend(keys::from_file(path, &needed)?);
    }
    match needed.first() {
        Some(key) if rows.is_empty() && args.keys.is_none() => {
            return Err(Failure::Usage(format!("of whom? Add --key {}=VALUE", key.name)));
        }
        None if rows.is_empty() => rows.push(EntityRow::new()),
        _ => {}
    }
    let answers = read(&client, &asked, rows, &with, read_time)?;
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

/// Finds the views that were named, on-demand views among them: those that the server has under no name of a feature
/// view.
///
/// # Errors
/// A name that the server has nothing of, a feature that its view has not.
pub fn find(client: &Client, named: &[ViewFeaturesRef]) -> Result<Vec<Asked>, Failure> {
    let views = describe(client)?;
    let mut asked = Vec::with_capacity(named.len());
    for one in named {
        let is_it = |view: &Described| {
            let (known, named) = (&view.definition, &one.view);
            known.name == named.name && named.project.as_ref().is_none_or(|p| *p == known.project)
        };
        if views.iter().any(is_it) {
            asked.extend(resolve(views.clone(), std::slice::from_ref(one))?);
        } else {
            asked.push(get_computed::find(client, one)?);
        }
    }
    Ok(asked)
}

/// Finds the feature views and features that were named.
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
        out.push(Asked { view, features, computed: None });
    }
    Ok(out)
}

/// Prepares a plan for what is asked of feature views.
pub fn prepare(client: &Client, asked: &[Asked]) -> Result<Plan, Failure> {
    let views: Vec<ViewFeatures<'_>> = stored(asked)
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
    with: &BTreeMap<String, Value>,
    read_time: i64,
) -> Result<Answers, Failure> {
    let plan = match stored(asked).next() {
        Some(_) => Some(prepare(client, asked)?),
        None => None,
    };
    let mut options = ReadOptions { event_times: true, read_time, ..ReadOptions::default() };
    let limit =
        client.server().map_err(failed)?.limits.max_batch_keys as usize / asked.len().max(1);
    let mut answers = Answers { read_time, rows: Vec::with_capacity(rows.len()) };
    for chunk in rows.chunks(limit.clamp(1, ROWS_MAX)) {
        let mut parts = Vec::with_capacity(asked.len());
        if let Some(plan) = &plan {
            let answer = read_chunk(client, plan, asked, chunk, &options)?;
            // The first answer's time judges the others too.
            options.read_time = answer.read_time();
            parts.push(Part::Stored(answer));
        }
        for computed in asked.iter().filter_map(|one| one.computed.as_ref()) {
            let answer = get_computed::read(client, computed, chunk, with, &options)?;
            options.read_time = answer.read_time();
            parts.push(Part::Computed(answer));
        }
        answers.read_time = options.read_time;
        for (at, row) in chunk.iter().enumerate() {
            answers.rows.push((row.clone(), row_cells(&parts, asked, at)?));
        }
    }
    Ok(answers)
}

/// What one request answered.
enum Part {
    /// All feature views that were asked for.
    Stored(Answer),
    /// One on-demand view.
    Computed(ComputedAnswer),
}

fn stored(asked: &[Asked]) -> impl Iterator<Item = &Asked> {
    asked.iter().filter(|one| one.computed.is_none())
}

/// The cells of one row, of all that was asked for, in its order.
fn row_cells(parts: &[Part], asked: &[Asked], row: usize) -> Result<Vec<Cell>, Failure> {
    let missing = || Failure::Failed("the server's answer lacks a view".to_owned());
    let mut computed = parts.iter().filter_map(|part| match part {
        Part::Computed(answer) => Some(answer),
        Part::Stored(_) => None,
    });
    let mut view = 0;
    let mut out = Vec::new();
    for one in asked {
        if one.computed.is_some() {
            out.extend(get_computed::cells(computed.next().ok_or_else(missing)?, row)?);
            continue;
        }
        let Some(Part::Stored(answer)) = parts.first() else { return Err(missing()) };
        out.extend(cells(answer, view, one.features.len(), row)?);
        view += 1;
    }
    Ok(out)
}

fn read_chunk(
    client: &Client,
    plan: &Plan,
    asked: &[Asked],
    rows: &[EntityRow],
    options: &ReadOptions,
) -> Result<Answer, Failure> {
    let mut packed = Vec::with_capacity(asked.len());
    for (index, one) in stored(asked).enumerate() {
        let mut keys = plan.keys(index).map_err(failed)?;
        for row in rows {
            let values = keys::of_view(row, one.view.join_keys.iter().map(|k| &k.name));
            keys.push(&values).map_err(failed)?;
        }
        packed.push(keys);
    }
    client.read(plan, &packed.iter().collect::<Vec<_>>(), options).map_err(failed)
}

/// The cells of one row of a view of an answer.
fn cells(answer: &Answer, index: usize, columns: usize, row: usize) -> Result<Vec<Cell>, Failure> {
    let missing = || Failure::Failed("the server's answer lacks a view".to_owned());
    let view = answer.view(index).ok_or_else(missing)?;
    let status = view.status(row);
    let has_row = matches!(status, RowStatus::Present | RowStatus::OutsideMaxAge);
    let event_time = if has_row { view.event_time(row).unwrap_or(NO_TIME) } else { NO_TIME };
    let cell = |column| {
        let value = answer.value(index, row, column).map_err(failed)?;
        Ok(Cell { status: view.cell(row, column), value, event_time })
    };
    (0..columns).map(cell).collect()
}
