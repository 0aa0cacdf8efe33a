//! Whether a bucket does what the archive and backups ask of one, and how long its calls take.
//!
//! `cargo run -p thermae-tiering --features s3 --example objects -- s3://BUCKET/PREFIX`; where it is and by which right
//! it is asked, the environment says (`AWS_ENDPOINT`, `AWS_ACCESS_KEY_ID`, ...). The prefix is to be empty.
//! `cargo xtask objects` runs it against SeaweedFS.

use std::error::Error;
use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use rustix::time::{ClockId, clock_gettime};
use thermae_tiering::cold::{ObjectError, Objects, OpenOptions, PutNew, open_url};

type AnyError = Box<dyn Error>;

/// Objects of the listing: more than a page of S3 has.
const MANY: usize = 1_100;
const LARGE_PIECES: usize = 40;
const PIECE_BYTES: usize = 1 << 20;

fn main() -> Result<(), AnyError> {
    let url = std::env::args().nth(1).ok_or("say which bucket: s3://BUCKET/PREFIX")?;
    let objects = open_url(&url, &OpenOptions::default())?;
    timed("a first object, and that it stays", || conditions(&*objects))?;
    timed("four threads for one name", || race(&objects))?;
    timed("40 MiB in parts, and ranges of it", || large(&*objects))?;
    timed("1,100 objects written, listed and removed", || many(&objects))?;
    Ok(())
}

fn timed(what: &str, work: impl FnOnce() -> Result<(), AnyError>) -> Result<(), AnyError> {
    let now = || {
        let now = clock_gettime(ClockId::Monotonic);
        now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
    };
    let began = now();
    work().map_err(|error| format!("{what}: {error}"))?;
    writeln!(std::io::stdout(), "{what}: {:.2} s", now() - began)?;
    Ok(())
}

fn ensure(is_so: bool, what: &str) -> Result<(), AnyError> {
    if is_so { Ok(()) } else { Err(what.into()) }
}

fn conditions(objects: &dyn Objects) -> Result<(), AnyError> {
    let (one, other) = (Bytes::from_static(b"one"), Bytes::from_static(b"other"));
    ensure(objects.put_new("c/a b=1", one.clone())? == PutNew::Created, "it was there before")?;
    ensure(objects.put_new("c/a b=1", other.clone())? == PutNew::Exists, "it was written over")?;
    ensure(objects.get("c/a b=1")? == one, "it is not what was written")?;
    ensure(objects.length("c/a b=1")? == 3, "its length is another")?;
    objects.replace("c/a b=1", other.clone())?;
    ensure(objects.get("c/a b=1")? == other, "it was not replaced")?;
    ensure(objects.get("c/none") == Err(ObjectError::NotFound), "what is not there was found")?;
    objects.delete("c/a b=1")?;
    objects.delete("c/a b=1")?;
    ensure(objects.list("c/", "")?.is_empty(), "it was not removed")
}

fn race(objects: &Arc<dyn Objects>) -> Result<(), AnyError> {
    for round in 0..20 {
        let path = format!("race/{round}");
        let put = |thread: u8| objects.put_new(&path, Bytes::from(vec![thread; 100]));
        let created: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|thread| scope.spawn(move || put(thread))).collect();
            threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
        });
        let won = created.iter().filter(|put| matches!(put, Ok(PutNew::Created))).count();
        ensure(won == 1, &format!("{won} of four created {path}: {created:?}"))?;
    }
    Ok(())
}

fn large(objects: &dyn Objects) -> Result<(), AnyError> {
    let mut given = 0;
    objects.put_pieces("large", &mut || {
        given += 1;
        Ok((given <= LARGE_PIECES).then(|| Bytes::from(vec![given as u8; PIECE_BYTES])))
    })?;
    ensure(objects.length("large")? == (LARGE_PIECES * PIECE_BYTES) as u64, "its length")?;
    for piece in 0..LARGE_PIECES as u64 {
        let from = piece * PIECE_BYTES as u64;
        let read = objects.get_range("large", from..from + PIECE_BYTES as u64)?;
        let is_it = read.iter().all(|byte| u64::from(*byte) == piece + 1);
        ensure(read.len() == PIECE_BYTES && is_it, "a range is not what was written")?;
    }
    Ok(())
}

fn many(objects: &Arc<dyn Objects>) -> Result<(), AnyError> {
    let path = |at: usize| format!("many/event_date=2013-01-01/{at:05}");
    let each = |call: &(dyn Fn(usize) -> Result<(), ObjectError> + Sync)| {
        std::thread::scope(|scope| {
            let stripe = |first| move || (first..MANY).step_by(4).try_for_each(call);
            let threads: Vec<_> = (0..4).map(|first| scope.spawn(stripe(first))).collect();
            threads.into_iter().filter_map(|thread| thread.join().ok()).collect::<Result<(), _>>()
        })
    };
    each(&|at| objects.put_new(&path(at), path(at).into()).map(|_| ()))?;
    let listed = objects.list("many/", "")?;
    let paths: Vec<String> = listed.into_iter().map(|object| object.path).collect();
    ensure(paths == (0..MANY).map(path).collect::<Vec<_>>(), "the listing is not whole")?;
    ensure(objects.list("many/", &path(1_000))?.len() == 99, "nor from a place on")?;
    each(&|at| objects.delete(&path(at)))?;
    ensure(objects.list("many/", "")?.is_empty(), "something is left")
}
