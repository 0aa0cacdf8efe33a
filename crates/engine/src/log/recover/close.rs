//! Closing an epoch after a clean stop.

use std::path::Path;

use thermae_env::Env;
use thermae_formats::manifest::{Manifest, SealedLog};

use super::super::{LogError, manifest_store};

/// Closes the epoch after a clean stop: seals its logs at `ends` ([`super::LogWriter::end`] of every
/// writer, in shard order), so that the next open verifies them to exactly there. `manifest` is that
/// of [`super::Recovered`]; once a [`manifest_store::ManifestStore`] holds it, close by that one.
/// Returns whether it did: not when a log has failed or was not stopped, and then the next open finds
/// the ends as after a crash.
///
/// # Errors
/// The manifest could not be replaced; the directory is as it was.
pub fn close_directory<E: Env>(
    env: &E,
    dir: &Path,
    manifest: &Manifest,
    ends: &[Option<SealedLog>],
) -> Result<bool, LogError> {
    let Some(closed) = closed(manifest, ends) else { return Ok(false) };
    manifest_store::commit(env, dir, &closed)?;
    Ok(true)
}

/// The manifest that seals the present logs at `ends`, from the starts that `manifest` names on;
/// `None` when not all of them have an end.
pub(in super::super) fn closed(
    manifest: &Manifest,
    ends: &[Option<SealedLog>],
) -> Option<Manifest> {
    let ends: Vec<SealedLog> = ends.iter().flatten().copied().collect();
    let is_whole = ends.len() == manifest.current.len()
        && ends.iter().zip(&manifest.current).all(|(end, log)| {
            (end.epoch, end.shard) == (manifest.epoch, log.shard)
                && end.start.batches <= log.start.batches
                && log.start.batches <= end.batches
        });
    if !is_whole {
        return None;
    }
    let mut closed = Manifest { current: Vec::new(), ..manifest.clone() };
    for (end, log) in ends.iter().zip(&manifest.current) {
        seal(&mut closed, SealedLog { start: log.start, ..*end }, false);
    }
    Some(closed)
}

/// Adds `log` to the sealed ones, unless it holds nothing behind its start (but what `has_dropped`
/// tells, which a seal keeps from coming back). Returns whether it did.
pub(super) fn seal(manifest: &mut Manifest, log: SealedLog, has_dropped: bool) -> bool {
    let is_kept = !log.is_empty() || has_dropped;
    if is_kept {
        manifest.sealed.push(log);
    } else if log.start.segment > 0 {
        // What is left of its files before the start has no log any more that explains it.
        manifest.covered_epoch = manifest.covered_epoch.max(log.epoch);
    }
    is_kept
}
