//! kill -9 on the real binary, with acknowledgements recorded outside of it.
//!
//! One producer writes rows whose value is the number of the write; the newest write of an entity
//! is the greatest number. After each kill the server is started again and every entity must hold a
//! number between the newest acknowledged and the newest sent, and what survived must be a prefix of
//! what each shard was sent.

use std::collections::HashMap;
use std::path::Path;

use thermae_client::{
    CellStatus, Client, PendingWrite, ReadOptions, RowOutcome, ViewFeatures, WriteBatch,
};
use thermae_formats::hash::{entity_hash, partition_of, shard_of};
use thermae_formats::{Feature, FeatureView, JoinKey, KeyType, KeyValue, NO_TIME, Scalar, Value};

use crate::model::Rng;
use crate::server_process::Server;

/// Entities written to.
const ENTITIES: u64 = 500;
/// Batches under way at a time.
const PIPELINE: usize = 4;
/// Event times count up from here, microseconds UTC.
const BASE_US: i64 = 1_700_000_000_000_000;

/// What a loop of kills saw.
#[derive(Clone, Copy, Debug, Default)]
pub struct KillReport {
    /// Kills.
    pub cycles: u64,
    /// Rows acknowledged as durable, all of them found again.
    pub acknowledged: u64,
    /// Rows sent whose outcome the kill left open.
    pub in_doubt: u64,
    /// Entities found with a row newer than the newest acknowledged one.
    pub survived_in_doubt: u64,
}

/// One row on its way or gone: (entity, number), in the order sent.
type Row = (u64, u64);

struct Sent {
    rows: Vec<Row>,
    answer: PendingWrite,
}

/// What the test process knows of one run of the server.
#[derive(Default)]
struct Run {
    /// Rows in the order sent.
    sent: Vec<Row>,
    /// Newest acknowledged number of each entity, of this run and all before.
    acknowledged: HashMap<u64, u64>,
    cores: usize,
}

/// Kills `binary` over `dir` again and again; `tell` hears of each cycle that held.
pub fn kill_cycles(
    binary: &Path,
    dir: &Path,
    cycles: u64,
    mut tell: impl FnMut(u64),
) -> Result<KillReport, String> {
    let mut rng = Rng::new(cycles);
    let mut report = KillReport::default();
    let mut run = Run::default();
    let mut number = 0;
    for cycle in 0..=cycles {
        let cores = 1 + cycle as usize % 2;
        let mut server = Server::start(binary, dir, cores)?;
        let client = server.connect()?;
        if cycle == 0 {
            let view = view().to_json().map_err(text)?;
            let view = String::from_utf8_lossy(&view);
            client.apply(&format!("{{\"views\":[{view}]}}")).map_err(text)?;
        } else {
            judge(&client, &mut run, &mut report).map_err(|e| format!("cycle {cycle}: {e}"))?;
            report.cycles = cycle;
            tell(cycle);
        }
        if cycle < cycles {
            run.cores = cores;
            write_until_killed(&client, &mut server, &mut rng, &mut number, &mut run, &mut report)?;
        }
    }
    Ok(report)
}

fn write_until_killed(
    client: &Client,
    server: &mut Server,
    rng: &mut Rng,
    number: &mut u64,
    run: &mut Run,
    report: &mut KillReport,
) -> Result<(), String> {
    let handle = client.view("test", "kill").map_err(text)?;
    let mut under_way = std::collections::VecDeque::new();
    let batches = 1 + rng.below(60);
    for _ in 0..batches {
        let mut batch = WriteBatch::put(&handle);
        let mut rows = Vec::new();
        for _ in 0..1 + rng.below(40) {
            *number += 1;
            let entity = rng.below(ENTITIES);
            let key = [KeyValue::Int(entity as i64)];
            let values = [Value::Int64(*number as i64), Value::Int64(entity as i64)];
            batch.push(&key, BASE_US + *number as i64, NO_TIME, &values).map_err(text)?;
            rows.push((entity, *number));
        }
        run.sent.extend(&rows);
        let answer = client.send_write(&mut batch).map_err(text)?;
        under_way.push_back(Sent { rows, answer });
        if under_way.len() >= PIPELINE
            && let Some(sent) = under_way.pop_front()
        {
            note(sent, run, report);
        }
    }
    server.kill()?;
    // Answers that came before the kill count; the rest is in doubt.
    for sent in under_way {
        note(sent, run, report);
    }
    Ok(())
}

fn note(sent: Sent, run: &mut Run, report: &mut KillReport) {
    let rows = sent.rows.len() as u64;
    let Ok(written) = sent.answer.wait() else {
        report.in_doubt += rows;
        return;
    };
    for ((entity, number), outcome) in sent.rows.iter().zip(&written.outcomes) {
        if matches!(outcome, RowOutcome::Ok { .. }) {
            let known = run.acknowledged.entry(*entity).or_default();
            *known = (*known).max(*number);
            report.acknowledged += 1;
        } else {
            report.in_doubt += 1;
        }
    }
}

/// Every acknowledged row is there, and what survived is a prefix of what each shard was sent.
fn judge(client: &Client, run: &mut Run, report: &mut KillReport) -> Result<(), String> {
    let found = read_all(client)?;
    for (entity, least) in &run.acknowledged {
        let number = found.get(entity).copied().unwrap_or(0);
        if number < *least {
            return Err(format!(
                "entity {entity}: write {least} was acknowledged, {number} is there"
            ));
        }
    }
    let server = client.server().map_err(text)?;
    let shard = |entity: u64| {
        let hash = entity_hash(&(entity as i64).to_le_bytes(), server.hash_seed);
        shard_of(partition_of(hash, server.partitions), run.cores as u16)
    };
    let mut first_lost = vec![None; run.cores];
    for &(entity, number) in &run.sent {
        let lost = &mut first_lost[usize::from(shard(entity))];
        let there = found.get(&entity).copied().unwrap_or(0);
        if there < number {
            lost.get_or_insert(number);
        } else if there == number && lost.is_some() {
            return Err(format!(
                "write {number} is there, {lost:?} of the same shard, before it, is not"
            ));
        }
    }
    report.survived_in_doubt += found
        .iter()
        .filter(|(entity, number)| run.acknowledged.get(entity).is_none_or(|known| known < *number))
        .count() as u64;
    // What is there now was recovered: it must be there from now on.
    run.acknowledged = found;
    run.sent.clear();
    Ok(())
}

/// The number that each entity holds.
fn read_all(client: &Client) -> Result<HashMap<u64, u64>, String> {
    let features = vec!["number", "owner"];
    let wanted = ViewFeatures { project: "test", view: "kill", version: 0, features };
    let plan = client.prepare(&[wanted]).map_err(text)?;
    let mut keys = plan.keys(0).map_err(text)?;
    for entity in 0..ENTITIES {
        keys.push_i64(entity as i64).map_err(text)?;
    }
    let answer = client.read(&plan, &[&keys], &ReadOptions::default()).map_err(text)?;
    let mut found = HashMap::new();
    for entity in 0..ENTITIES {
        let row = entity as usize;
        match answer.status(0, row, 0) {
            CellStatus::NotFound => {}
            CellStatus::Present => {
                let number = answer.value(0, row, 0).map_err(text)?;
                let owner = answer.value(0, row, 1).map_err(text)?;
                let (Value::Int64(number), Value::Int64(owner)) = (&number, &owner) else {
                    return Err(format!("entity {entity}: {number:?} {owner:?}"));
                };
                if *owner as u64 != entity {
                    return Err(format!("entity {entity} got the row of entity {owner}"));
                }
                found.insert(entity, *number as u64);
            }
            other => return Err(format!("entity {entity}: {other:?}")),
        }
    }
    Ok(found)
}

fn view() -> FeatureView {
    let features =
        vec![Feature::new("number", Scalar::Int64), Feature::new("owner", Scalar::Int64)];
    FeatureView::new("test", "kill", vec![JoinKey::new("entity", KeyType::Int64)], features)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
