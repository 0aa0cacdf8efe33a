//! The helper thread that answers how far erases are: it asks the shards, and looks through the backups, which
//! takes reads of the disk. A shard only hands a question over.

use std::sync::mpsc::{Receiver, SyncSender};

use serde_json::{Value as Json, json};
use thermae_engine::backup::{self, Holders};
use thermae_engine::handle::ArchiveState;
use thermae_engine::{Error, Handle};
use thermae_env::{Env, go_last};
use thermae_formats::ViewId;
use thermae_formats::time::format_timestamp_us;
use thermae_formats::wire::{ErrorCode, Kind, Token, encode_json};

use super::backup_desk::BackupRoot;
use super::failure::Failure;
use super::helper::Helper;
use super::scan_arrivals::{Destination, Page};

/// Questions that wait for the helper at most.
const WAITING_MAX: usize = 64;

/// A question that somebody waits for.
pub struct EraseQuestion {
    /// The view.
    pub view: ViewId,
    /// Tokens of the erases.
    pub tokens: Vec<Token>,
    /// Keys to look for in backups.
    pub keys: Vec<Vec<u8>>,
    /// Id of the request.
    pub request_id: u64,
    /// Largest frame that may be sent, in bytes.
    pub max_frame_bytes: u32,
    /// Who waits.
    pub destination: Destination,
}

/// The helper.
pub struct EraseDesk(Helper<EraseQuestion>);

impl EraseDesk {
    /// Starts it over a store whose backups are below `root`.
    ///
    /// # Errors
    /// No thread could be made.
    pub fn start<E: Env>(
        env: E,
        handle: Handle<E>,
        root: Option<BackupRoot>,
    ) -> std::io::Result<Self> {
        let helper = Helper::start("erases", WAITING_MAX, |questions| {
            go_last();
            Answerer { env, handle, root }.run(questions);
        })?;
        Ok(Self(helper))
    }

    /// Where questions go.
    pub fn questions(&self) -> SyncSender<Option<EraseQuestion>> {
        self.0.requests()
    }
}

struct Answerer<E: Env> {
    env: E,
    handle: Handle<E>,
    root: Option<BackupRoot>,
}

impl<E: Env> Answerer<E> {
    fn run(&self, questions: &Receiver<Option<EraseQuestion>>) {
        while let Ok(Some(question)) = questions.recv() {
            let page = self.answer(&question);
            question.destination.put(page);
        }
    }

    fn answer(&self, question: &EraseQuestion) -> Page {
        let mut told = self.progress(question)?;
        self.backups(question, &mut told)?;
        let (mut frame, text) = (Vec::new(), told.to_string());
        let (id, max) = (question.request_id, question.max_frame_bytes);
        encode_json(&mut frame, Kind::Json, id, &text, max)?;
        Ok(frame)
    }

    /// How far the erases are.
    fn progress(&self, question: &EraseQuestion) -> Result<Json, Failure> {
        let tokens: Vec<(u16, u64)> =
            question.tokens.iter().map(|token| (token.partition, token.sequence)).collect();
        let shards = self.handle.submit_erases(&tokens, false)?.wait()?;
        let stats = self.handle.stats();
        let sum = |of: fn(&thermae_engine::message::EraseWork) -> u64| -> u64 {
            shards.iter().map(|shard| of(&shard.work)).sum()
        };
        let archive = match self.handle.archive_state() {
            ArchiveState::None => "none",
            ArchiveState::Open => "open",
            ArchiveState::Closed => "closed",
        };
        let mut waiting = shards.iter().filter(|shard| shard.pending > 0);
        let worker = waiting.find_map(|shard| stats.shards.get(shard.shard)?.tiers.trouble.clone());
        let trouble = worker.or_else(|| stats.archive.and_then(|archive| archive.trouble));
        Ok(json!({
            "asked": tokens.len(),
            "pending": shards.iter().map(|shard| shard.pending).sum::<u64>(),
            "rows": sum(|work| work.rows),
            "tables": sum(|work| work.tables),
            "tables_left": sum(|work| work.tables_left),
            "segments": sum(|work| work.segments),
            "archive": archive,
            "archive_rows": sum(|work| work.archive.rows),
            "archive_files": sum(|work| work.archive.files),
            "trouble": trouble,
        }))
    }

    /// Which backups hold any of the keys.
    fn backups(&self, question: &EraseQuestion, told: &mut Json) -> Result<(), Failure> {
        let (mut backups, mut unfinished, mut unread) = (Vec::new(), Vec::new(), Vec::new());
        let root = self.root.as_ref().filter(|_| !question.keys.is_empty());
        let places = root.map(|root| root.places(&self.env)).transpose().map_err(internal)?;
        for (name, place) in places.into_iter().flatten() {
            let held = match backup::holders(&place, &self.handle, question.view, &question.keys) {
                Ok(held) => held,
                Err(error) => {
                    unread.push(format!("{name}: {error}"));
                    continue;
                }
            };
            let Holders { backups: holders, unread: why_not, has_unfinished } = held;
            backups.extend(holders.iter().map(|holder| {
                json!({
                    "place": name,
                    "backup": holder.name.to_string(),
                    "taken": format_timestamp_us(holder.taken_us),
                    "keys": holder.keys,
                })
            }));
            unread.extend(why_not.iter().map(|(of, error)| format!("{name} {of}: {error}")));
            unfinished.extend(has_unfinished.then(|| name.clone()));
        }
        told["backups"] = backups.into();
        told["unfinished"] = unfinished.into();
        told["unread"] = unread.into();
        Ok(())
    }
}

fn internal(error: Error) -> Failure {
    Failure::new(ErrorCode::Internal, format!("the backups cannot be looked through: {error}"))
}
