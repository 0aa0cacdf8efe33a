//! Reads newest rows of the archive for the shards that ask. What waits for the object store is this thread.

use std::sync::Arc;

use thermae_env::Env;
use thermae_tiering::cold::{ColdError, find_version};

use super::archiver::Step;
use crate::archived::Ask;
use crate::fetch::{Fetched, OwnedVersion};
use crate::message::Message;
use crate::outside::Shared;

/// How often it looks whether the archive was found, or a shard has room for the answer, nanoseconds.
const LOOK_NS: u64 = 2_000_000;
/// Times that a call is made before the object store counts as not answering.
const TRIES: usize = 3;
/// The longest rest, nanoseconds: it is woken by whoever asks.
const REST_NS: u64 = 1_000_000_000;

/// Answers the asks of all shards, one at a time.
pub struct ArchiveReader<E: Env> {
    env: E,
    shared: Arc<Shared<E>>,
    /// One that waits until the archive is found.
    waiting: Option<Ask>,
    /// An answer that its shard has no room for.
    unposted: Option<(usize, Message<E>)>,
}

impl<E: Env> ArchiveReader<E> {
    /// With nothing asked.
    pub(crate) fn new(env: E, shared: Arc<Shared<E>>) -> Self {
        Self { env, shared, waiting: None, unposted: None }
    }

    /// Answers one ask, waiting for the object store as long as that takes.
    pub fn step(&mut self) -> Step {
        let now_ns = self.env.monotonic_ns();
        if let Some((shard, message)) = self.unposted.take() {
            self.post(shard, message);
            if self.unposted.is_some() {
                return Step::Wait { until_ns: now_ns + LOOK_NS };
            }
        }
        let Some(ask) = self.waiting.take().or_else(|| self.shared.archive_asks.take()) else {
            return Step::Wait { until_ns: now_ns.saturating_add(REST_NS) };
        };
        // Nobody waits for it any more.
        if ask.deadline_ns <= now_ns {
            return Step::Worked;
        }
        let Some(found) = self.find(&ask) else {
            self.waiting = Some(ask);
            return Step::Wait { until_ns: now_ns + LOOK_NS };
        };
        self.post(ask.shard, Message::Archived { token: ask.token, found });
        Step::Worked
    }

    fn post(&mut self, shard: usize, message: Message<E>) {
        let Some(mailbox) = self.shared.mailboxes.get(shard) else { return };
        self.unposted = mailbox.post(message).err().map(|message| (shard, message));
    }

    /// The row; `None` while the archive is being opened.
    fn find(&self, ask: &Ask) -> Option<Fetched> {
        let mut failed = None;
        for _ in 0..TRIES {
            match self.look(ask) {
                Ok(found) => return found,
                Err(error) => failed = Some(error),
            }
        }
        let error = failed?;
        let why = Arc::from(format!("the archive: {error}"));
        Some(match error.is_damage() {
            true => Fetched::Failed(why),
            false => Fetched::Unavailable(why),
        })
    }

    fn look(&self, ask: &Ask) -> Result<Option<Fetched>, ColdError> {
        loop {
            let tables = self.shared.shelf.tables();
            let Some(attached) = &tables.attached else {
                let why = tables.why_not.as_deref();
                return Ok(why.map(|why| Fetched::Unavailable(Arc::from(why))));
            };
            let view = match attached.view(ask.view) {
                Ok(Some(view)) => view,
                Ok(None) => return Ok(None),
                Err(why) => return Ok(Some(Fetched::Failed(Arc::from(why)))),
            };
            let (time, hash) = (ask.order.0, ask.entity_hash);
            let mut found = Ok(Fetched::Absent);
            for (_, opener) in view.files_between((time, time), (hash, hash)) {
                let row = opener.open().and_then(|file| {
                    find_version(&attached.objects, &file, hash, &ask.key, ask.order, |row| {
                        Fetched::Row(OwnedVersion::new(row))
                    })
                });
                match row {
                    Ok(None) => {}
                    Ok(Some(row)) => return Ok(Some(row)),
                    Err(error) => found = Err(error),
                }
            }
            // A merge may have put another file in the place of one of these.
            let is_present = Arc::ptr_eq(&tables, &self.shared.shelf.tables());
            if is_present {
                return found.map(Some);
            }
        }
    }
}
