//! `thermae erase`: acknowledged first, then waited for until no byte is left, then looked for in backups.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use thermae_client::{Client, ViewHandle, WriteBatch};
use thermae_formats::KeyValue;
use thermae_formats::wire::{RowOutcome, Token};

use super::args::{EraseArgs, Global};
use super::connect::{
    choose, connect, connect_for_long, describe, failed, patiently, quarantine_of,
};
use super::erase_status::{InBackup, Status};
use super::exit::{Done, Failure};
use super::{erase_print, keys};
use crate::progress::{Progress, Unit};

/// Entities of one request.
const BATCH: usize = 1_000;
/// Tokens that are asked about at once: no server states fewer rows in a write.
const TOKENS: usize = 1_000;
/// The shortest pause before an entity is sent again that there was no room for.
const PAUSE_LEAST: Duration = Duration::from_millis(100);
/// How long no entity is taken before the command gives up.
const PATIENCE: Duration = Duration::from_secs(600);
/// How often the server is asked how far it is: at first, and later.
const ASK_EVERY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Runs the command.
pub fn run(args: &EraseArgs, global: &Global) -> Result<Done, Failure> {
    let client = connect(global)?;
    let views = describe(&client)?;
    let view = choose(views.clone(), &args.view)?.definition;
    let mut rows = keys::from_arguments(&args.key, &view.join_keys)?;
    if let Some(path) = &args.keys {
        rows.extend(keys::from_file(path, &view.join_keys)?);
    }
    let names = || view.join_keys.iter().map(|key| &key.name);
    let entities: Vec<Vec<KeyValue>> = rows.iter().map(|row| keys::of_view(row, names())).collect();
    let handle = client.view_version(&view.project, &view.name, view.version).map_err(failed)?;
    let mut tokens = acknowledge(&client, &handle, &entities)?;
    // What failed checks of the view is forgotten with it. The tokens of both are of one store.
    if let Some(beside) = quarantine_of(&views, &view) {
        let beside = client.view_version(&beside.project, &beside.name, beside.version);
        tokens.extend(acknowledge(&client, &beside.map_err(failed)?, &entities)?);
    }
    let name = format!("{}/{}@{}", view.project, view.name, view.version);
    let status = match args.no_wait {
        true => None,
        false => {
            let mut status = complete(&client, &handle, &tokens)?;
            look_in_backups(&connect_for_long(global)?, &handle, &entities, &mut status)?;
            Some(status)
        }
    };
    if global.json {
        println!("{}", erase_print::json(&name, entities.len(), status.as_ref()));
    } else {
        print!("{}", erase_print::text(&name, entities.len(), status.as_ref()));
    }
    let is_left = |status: &Status| {
        !(status.backups.is_empty() && status.unfinished.is_empty() && status.unread.is_empty())
    };
    Ok(if status.as_ref().is_some_and(is_left) { Done::Partly } else { Done::All })
}

/// Has all entities erased; their tokens. A shard has a number of erases under way at most: those beyond it are
/// sent again when some are done.
fn acknowledge(
    client: &Client,
    handle: &ViewHandle,
    entities: &[Vec<KeyValue>],
) -> Result<Vec<Token>, Failure> {
    let bar = Progress::new("erasing", Some(entities.len() as u64), Unit::Entities);
    let mut waiting: Vec<&Vec<KeyValue>> = entities.iter().rev().collect();
    let mut tokens = Vec::with_capacity(entities.len());
    let mut taken = Instant::now();
    while !waiting.is_empty() {
        let now = waiting.split_off(waiting.len().saturating_sub(BATCH));
        let mut batch = WriteBatch::erase(handle);
        now.iter().try_for_each(|key| batch.push_erased(key)).map_err(failed)?;
        let written = patiently(|| client.write(&mut batch))?;
        let (before, mut pause) = (tokens.len(), Duration::ZERO);
        for (key, outcome) in now.into_iter().zip(&written.outcomes) {
            match outcome {
                RowOutcome::Ok { token, .. } => tokens.push(*token),
                RowOutcome::Overloaded { retry_after_ms } => {
                    pause = pause.max(Duration::from_millis((*retry_after_ms).into()));
                    waiting.push(key);
                }
                // Erasing again does no harm.
                RowOutcome::InDoubt => waiting.push(key),
                RowOutcome::NotApplied(_)
                | RowOutcome::FailsCheck { .. }
                | RowOutcome::Quarantined { .. } => {
                    return Err(stopped(&tokens, entities, &written.message));
                }
            }
        }
        bar.at(tokens.len() as u64);
        if tokens.len() > before {
            taken = Instant::now();
        } else if taken.elapsed() > PATIENCE {
            return Err(stopped(&tokens, entities, &written.message));
        } else {
            std::thread::sleep(pause.max(PAUSE_LEAST));
        }
    }
    Ok(tokens)
}

fn stopped(tokens: &[Token], entities: &[Vec<KeyValue>], why: &str) -> Failure {
    let (done, all) = (tokens.len(), entities.len());
    Failure::Failed(format!(
        "{done} of {all} entities are erased for every reader, the others are not ({why}); repeat the command, which \
         does those no harm"
    ))
}

/// Waits until no byte is left.
fn complete(client: &Client, handle: &ViewHandle, tokens: &[Token]) -> Result<Status, Failure> {
    let bar = Progress::new("removing every byte", Some(tokens.len() as u64), Unit::Entities);
    let (mut all, mut done) = (Status::default(), 0);
    for tokens in tokens.chunks(TOKENS) {
        let mut pause = ASK_EVERY.0;
        loop {
            let status = ask(client, handle, tokens, &[])?;
            done += tokens.len() as u64 - status.pending;
            bar.at(done);
            if status.pending == 0 {
                all.take(status);
                break;
            }
            if status.archive == "closed" {
                let why = "the server was started without the archive of this store, which still holds them: start \
                           it with --archive DIR, and it goes on";
                return Err(incomplete(why));
            }
            if let Some(trouble) = &status.trouble {
                bar.say(&format!("removing every byte: {trouble}"));
            }
            done -= tokens.len() as u64 - status.pending;
            std::thread::sleep(pause);
            pause = (2 * pause).min(ASK_EVERY.1);
        }
    }
    Ok(all)
}

fn incomplete(why: &str) -> Failure {
    Failure::Failed(format!("erased for every reader, and not from every file: {why}"))
}

/// Which backups hold any of the entities.
fn look_in_backups(
    client: &Client,
    handle: &ViewHandle,
    entities: &[Vec<KeyValue>],
    status: &mut Status,
) -> Result<(), Failure> {
    let mut held: BTreeMap<(String, String), InBackup> = BTreeMap::new();
    for entities in entities.chunks(BATCH) {
        let told = ask(client, handle, &[], entities)?;
        (status.unfinished, status.unread) = (told.unfinished, told.unread);
        for backup in told.backups {
            let place = (backup.place.clone(), backup.backup.clone());
            let known = held.entry(place).or_insert(InBackup { keys: 0, ..backup.clone() });
            known.keys += backup.keys;
        }
    }
    status.backups = held.into_values().collect();
    Ok(())
}

fn ask(
    client: &Client,
    handle: &ViewHandle,
    tokens: &[Token],
    entities: &[Vec<KeyValue>],
) -> Result<Status, Failure> {
    let told = patiently(|| client.erase_status(handle, tokens, entities))?;
    serde_json::from_str(&told)
        .map_err(|e| Failure::Failed(format!("the server's answer cannot be read: {e}")))
}
