//! BACKUP: handed to the helper, or answered with how far that has got.

use serde::Deserialize;
use thermae_env::Env;
use thermae_formats::wire::{ErrorCode, Frame};

use super::backup_desk::Unbegun;
use super::connection::Connection;
use super::control::{answer_json, internal, parse};
use super::core::Core;
use super::failure::Failure;

/// When to ask again while a backup is taken, milliseconds.
const RETRY_MS: u32 = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    place: Option<String>,
    #[serde(default)]
    keep: usize,
    #[serde(default)]
    bytes_per_s: u64,
}

/// Answers BACKUP.
///
/// # Errors
/// What the ERROR is to say.
pub fn backup<E: Env>(
    core: &Core<E>,
    conn: &mut Connection,
    frame: &Frame<'_>,
) -> Result<(), Failure> {
    let request: Request = parse(frame)?;
    let Some(desk) = core.shared.backups.get() else {
        return Err(Failure::passing(ErrorCode::NotReady, RETRY_MS, "the server is starting"));
    };
    if let Some(place) = request.place {
        let id = desk.begin(&place, request.keep, request.bytes_per_s).map_err(refusal)?;
        let begun = serde_json::json!({ "id": id, "state": "running", "place": place,
            "done_bytes": 0, "of_bytes": 0 });
        return answer_json(conn, frame.request_id, &begun);
    }
    let status = serde_json::to_value(&*desk.status()).map_err(internal)?;
    answer_json(conn, frame.request_id, &status)
}

fn refusal(unbegun: Unbegun) -> Failure {
    match unbegun {
        Unbegun::NoRoot => Failure::new(
            ErrorCode::Unsupported,
            "this server writes no backups: start it with --backup-dir DIR",
        ),
        Unbegun::Place(what) => Failure::new(ErrorCode::Malformed, what),
        Unbegun::Busy => {
            let text = "a backup is being taken: repeat this one when it has ended";
            Failure::passing(ErrorCode::Overloaded, RETRY_MS, text)
        }
        Unbegun::Stopping => {
            Failure::passing(ErrorCode::ShuttingDown, RETRY_MS, "the server is stopping")
        }
    }
}
