//! `thermae backup`: take, list, verify, remove.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value as Json, json};
use thermae_client::Client;
use thermae_engine::backup::{self, Place, Removed, Work, open_to_back_up};
use thermae_engine::cold::OpenOptions;
use thermae_env::RealEnv;
use thermae_features::FeatureStore;

use super::args::{BackupArgs, Global};
use super::backup_print;
use super::connect::{connect, failed};
use super::exit::{Done, Failure};
use crate::net::backup_desk::{removed_json, taken_json};
use crate::progress::{Progress, Unit};

/// Bytes a second of a backup that a server takes, unless it is said otherwise.
const SERVER_BYTES_PER_S: u64 = 128 << 20;
/// How often the server is asked how far it has got.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// Runs the command.
pub fn run(args: &BackupArgs, global: &Global) -> Result<Done, Failure> {
    if args.list || args.verify {
        let place = place_at(&args.place, &std::env::temp_dir().join("thermae-backup"))?;
        return if args.list { list(&place, global) } else { verify(&place, args, global) };
    }
    if !args.remove.is_empty() {
        return remove(&Place::new(RealEnv::new(), &args.place), args, global);
    }
    let taken = match &args.data {
        Some(data) => take_of_directory(data, args)?,
        None => take_of_server(args, global)?,
    };
    if global.json {
        println!("{taken}");
    } else {
        print!("{}", backup_print::taken(&taken, &args.place.display().to_string()));
    }
    Ok(Done::All)
}

fn list(place: &Place<RealEnv>, global: &Global) -> Result<Done, Failure> {
    let listed = backup::list(place).map_err(Failure::of)?;
    if global.json {
        println!("{}", backup_print::list_json(&listed));
    } else {
        print!("{}", backup_print::list(&listed));
    }
    let is_damaged = listed.iter().any(|listed| listed.backup.is_err());
    Ok(if is_damaged { Done::Damage } else { Done::All })
}

fn remove(place: &Place<RealEnv>, args: &BackupArgs, global: &Global) -> Result<Done, Failure> {
    let removed = backup::remove(place, &args.remove).map_err(Failure::of)?;
    let told = removed_json(&removed);
    if global.json {
        println!("{told}");
    } else {
        print!("{}", backup_print::removed(&told));
    }
    Ok(Done::All)
}

fn verify(place: &Place<RealEnv>, args: &BackupArgs, global: &Global) -> Result<Done, Failure> {
    let report = with_bar("verifying", 0, |work| backup::verify(place, args.name.as_ref(), work));
    let report = report.map_err(Failure::of)?;
    super::verify::show(&args.place, &report, global)
}

/// The place at a path or address. By which right an object store is asked, the environment says; `scratch` is for
/// what is on its way there.
pub fn place_at(at: &Path, scratch: &Path) -> Result<Place<RealEnv>, Failure> {
    let text = at
        .to_str()
        .ok_or_else(|| Failure::Usage(format!("{} is no name that can be used", at.display())))?;
    Place::at(RealEnv::new(), text, &OpenOptions::default(), scratch).map_err(Failure::of)
}

/// Does the work with a bar for it.
pub fn with_bar<T>(label: &str, bytes_per_s: u64, work: impl FnOnce(&mut Work<'_>) -> T) -> T {
    let mut bar: Option<Progress> = None;
    let mut tell = |done, of| {
        bar.get_or_insert_with(|| Progress::new(label, Some(of), Unit::Bytes)).at(done);
        true
    };
    work(&mut Work { bytes_per_s, tell: &mut tell })
}

fn take_of_directory(data: &Path, args: &BackupArgs) -> Result<Json, Failure> {
    let env = RealEnv::new();
    let engine = open_to_back_up(env, data).map_err(Failure::of)?;
    let place = place_at(&args.place, &backup::scratch_dir(data))?;
    let bytes_per_s = args.rate.map_or(0, |rate| rate.bytes);
    let features = FeatureStore::over(env, data, engine.handle()).map_err(Failure::of)?;
    let taken = features.backup_source().and_then(|source| {
        let taken = with_bar("backing up", bytes_per_s, |w| backup::take(&place, &source, w))?;
        let removed = match args.keep {
            None => Removed::default(),
            Some(count) => backup::keep(&place, count as usize)?,
        };
        Ok(taken_json(&taken, &removed))
    });
    drop(features);
    engine.stop().map_err(Failure::of)?;
    taken.map_err(Failure::of)
}

#[derive(Deserialize)]
struct Status {
    id: u64,
    state: String,
    #[serde(default)]
    done_bytes: u64,
    #[serde(default)]
    of_bytes: u64,
    backup: Option<Json>,
    error: Option<String>,
}

fn take_of_server(args: &BackupArgs, global: &Global) -> Result<Json, Failure> {
    let place = args.place.to_str().ok_or_else(|| {
        Failure::Usage(format!("{} is no name that can be sent", args.place.display()))
    })?;
    let client = connect(global)?;
    let bytes_per_s = args.rate.map_or(SERVER_BYTES_PER_S, |rate| rate.bytes);
    let keep = args.keep.unwrap_or(0);
    let asked = json!({ "place": place, "keep": keep, "bytes_per_s": bytes_per_s });
    let begun = ask(&client, &asked)?;
    let mut bar: Option<Progress> = None;
    loop {
        std::thread::sleep(ASK_EVERY);
        let now = ask(&client, &json!({}))?;
        if now.id > begun.id {
            let what = "another backup has begun meanwhile; --list shows whether this one is there";
            return Err(Failure::Failed(what.to_owned()));
        }
        match (now.state.as_str(), now.backup) {
            // It may not have been taken up yet: then the one before is told.
            _ if now.id < begun.id => {}
            ("running", _) if now.of_bytes > 0 => {
                let of = Some(now.of_bytes);
                bar.get_or_insert_with(|| Progress::new("backing up", of, Unit::Bytes))
                    .at(now.done_bytes);
            }
            ("running", _) => {}
            ("done", Some(taken)) => return Ok(taken),
            (state, _) => {
                let error = now.error.unwrap_or_else(|| format!("its state is {state}"));
                return Err(Failure::Failed(format!("no backup was taken: {error}")));
            }
        }
    }
}

fn ask(client: &Client, request: &Json) -> Result<Status, Failure> {
    let text = client.backup(&request.to_string()).map_err(failed)?;
    serde_json::from_str(&text)
        .map_err(|e| Failure::Failed(format!("the server's answer cannot be read: {e}")))
}
