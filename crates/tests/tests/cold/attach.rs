//! A directory and its archive belong together: whatever else is found in its place is named, and nothing is lost
//! or begun for the second time.

use std::path::Path;
use std::sync::Arc;

use thermae_engine::background::Background;
use thermae_engine::cold::{ArchiveFigures, ArchiveOptions};
use thermae_engine::options::HotMemory;
use thermae_engine::runtime::{Stepped, open};
use thermae_engine::{
    Ack, Error, NoService, Options, Outcome, RowWrite, Scan, ScanOptions, Snapshot, WriteBatch,
    WriteKind,
};
use thermae_env::SimEnv;
use thermae_formats::{
    Feature, FeatureView, JoinKey, KeyType, KeyValue, Scalar, Value, encode_key,
};
use thermae_tiering::cold::plan::ArchivePolicy;
use thermae_tiering::cold::{MemoryObjects, Objects};

const TURNS: usize = 20_000;
pub const KEYS: i64 = 20;
/// Versions of each.
pub const VERSIONS: i64 = 30;

/// A store of one shard, turned by the test.
pub struct Small {
    pub stepped: Stepped<SimEnv, NoService>,
    pub is_archiving: bool,
}

fn join_keys() -> Vec<JoinKey> {
    vec![JoinKey::new("id", KeyType::Int64)]
}

impl Small {
    pub fn open(env: &SimEnv, objects: Option<&Arc<MemoryObjects>>) -> Small {
        let mut small = Self::open_idle(env, objects);
        small.is_archiving = true;
        small
    }

    /// The same, with an archiver that does nothing yet.
    pub fn open_idle(env: &SimEnv, objects: Option<&Arc<MemoryObjects>>) -> Small {
        Self::open_at(env, "/data", objects)
    }

    /// The same of a directory.
    pub fn open_at(env: &SimEnv, data: &str, objects: Option<&Arc<MemoryObjects>>) -> Small {
        let archive = objects.map(|objects| {
            let policy = ArchivePolicy { lag_us: 0, ..ArchivePolicy::default() };
            let objects = Arc::clone(objects) as Arc<dyn Objects>;
            ArchiveOptions { policy, round_us: 1_000, ..ArchiveOptions::new(objects) }
        });
        let options = Options {
            memory_bytes: 8 << 20,
            spin_us: 0,
            background: Background::Inline,
            flush_bytes: 16 << 10,
            hot_memory: HotMemory::Heap,
            archive,
            ..Options::default()
        };
        let opened = open(env.clone(), Path::new(data), options).unwrap();
        let stepped = opened.into_shards(|_| NoService).unwrap();
        let mut small = Small { stepped, is_archiving: false };
        small.define("notes");
        small
    }

    /// Defines a view of notes, whose rows may leave at once.
    pub fn define(&mut self, name: &str) {
        let note = Feature::new("note", Scalar::String);
        let mut view = FeatureView::new("test", name, join_keys(), vec![note]);
        view.tiers.warm_for_us = 1;
        let waiter = self.stepped.handle.submit_apply(&[view]).unwrap();
        self.turn_until(|_| waiter.poll().pop().map(|applied| applied.unwrap()));
    }

    pub fn turn(&mut self) {
        assert!(self.stepped.shards[0].turn().unwrap());
        if let Some(archiver) = self.stepped.archiver.as_mut().filter(|_| self.is_archiving) {
            archiver.step();
        }
    }

    pub fn turn_until<T>(&mut self, mut is_reached: impl FnMut(&Self) -> Option<T>) -> T {
        for _ in 0..TURNS {
            if let Some(reached) = is_reached(self) {
                return reached;
            }
            self.turn();
        }
        panic!("never reached: {:?}", self.stepped.handle.stats());
    }

    pub fn put(&mut self, event_time: i64) {
        self.put_in("notes", event_time, |id| format!("{id} at {event_time}"));
    }

    /// Writes a version of each key of a view, with what it notes.
    pub fn put_in(&mut self, view: &str, event_time: i64, note: impl Fn(i64) -> String) {
        let catalogue = self.stepped.handle.catalogue();
        let schema = &catalogue.resolve(view).unwrap().latest;
        let mut batch = WriteBatch::new(Ack::Durable, 0);
        for id in 0..KEYS {
            let (mut key, mut value) = (Vec::new(), Vec::new());
            encode_key(&join_keys(), &[KeyValue::Int(id)], &mut key).unwrap();
            let text = Value::String(note(id));
            let dense = schema.layout.encode(&[text], &mut value).unwrap();
            let (key, value) = (batch.store(&key), batch.store(&value));
            batch.rows.push(RowWrite {
                kind: WriteKind::Put,
                dense,
                value,
                ..RowWrite::delete(schema, event_time, key)
            });
        }
        let mut ticket = Some(self.stepped.handle.submit(batch).unwrap());
        let outcomes = self.turn_until(|_| {
            let answer = ticket.take()?.poll();
            answer.map_err(|waiting| ticket = Some(waiting)).ok()
        });
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Ok { .. })));
    }

    /// Writes all versions, and has those that are superseded leave the tables.
    pub fn fill(&mut self) {
        self.fill_on(0);
    }

    /// Goes on from so many versions with as many again.
    pub fn fill_on(&mut self, from: i64) {
        (from..from + VERSIONS).for_each(|event_time| self.put(event_time));
        self.turn_until(|small| {
            let stats = small.stepped.handle.stats();
            let archive = stats.archive.unwrap();
            let tiers = &stats.shards[0].tiers;
            (archive.rows == (KEYS * (from + VERSIONS)) as u64 && tiers.history.rows == 0)
                .then_some(())
        });
    }

    pub fn snapshot(&mut self) -> Result<Snapshot<SimEnv>, Error> {
        let mut ticket = Some(self.stepped.handle.submit_snapshot()?);
        Ok(self.turn_until(|_| {
            let answer = ticket.take()?.poll().unwrap();
            answer.map_err(|waiting| ticket = Some(waiting)).ok()
        }))
    }

    /// Versions that a scan of everything shows.
    pub fn rows(&mut self) -> Result<usize, Error> {
        Self::shown(&self.snapshot()?)
    }

    fn shown(snapshot: &Snapshot<SimEnv>) -> Result<usize, Error> {
        let scan = Scan::open(snapshot, "notes", &[], &ScanOptions::default())?;
        let rows = scan.collect::<Result<Vec<_>, _>>()?;
        let told = |row: &thermae_engine::ScannedRow| {
            let KeyValue::Int(id) = row.key[0] else { panic!("{row:?}") };
            Value::String(format!("{id} at {}", row.event_time))
        };
        assert!(rows.iter().all(|row| row.values.as_deref() == Some(&[told(row)])));
        Ok(rows.len())
    }

    pub fn figures(&self) -> ArchiveFigures {
        self.stepped.handle.stats().archive.unwrap_or_default()
    }

    pub fn trouble(&self) -> Option<String> {
        self.stepped.handle.stats().archive?.trouble
    }
}

/// A machine whose store has let its superseded rows go to the archive.
pub fn filled() -> (SimEnv, Arc<MemoryObjects>) {
    let (env, objects) = (SimEnv::new(3), Arc::new(MemoryObjects::default()));
    let mut small = Small::open(&env, Some(&objects));
    small.fill();
    assert_eq!(small.rows().unwrap(), (KEYS * VERSIONS) as usize);
    drop(small);
    (env.kill(), objects)
}

pub fn paths(objects: &MemoryObjects) -> Vec<String> {
    objects.list("", "").unwrap().into_iter().map(|object| object.path).collect()
}

#[test]
fn history_is_whole_again_with_the_archive_and_refused_without_it() {
    let (env, objects) = filled();
    let mut without = Small::open(&env, None);
    let refused = without.rows().unwrap_err();
    assert!(matches!(&refused, Error::Archive(_)), "{refused}");
    drop(without);
    let mut with = Small::open_idle(&env.kill(), Some(&objects));
    let early = with.rows().unwrap_err().to_string();
    assert!(early.contains("being opened"), "{early}");
    with.is_archiving = true;
    with.turn_until(|small| small.stepped.handle.is_archive_attached().then_some(()));
    assert_eq!(with.rows().unwrap(), (KEYS * VERSIONS) as usize);
}

#[test]
fn a_snapshot_shows_nothing_that_came_and_was_archived_after_the_shards_were_asked() {
    let objects = Arc::new(MemoryObjects::default());
    let mut small = Small::open(&SimEnv::new(5), Some(&objects));
    small.fill();
    let ticket = small.stepped.handle.submit_snapshot().unwrap();
    (0..10).for_each(|_| small.turn());
    // The shard has answered, and nobody has looked yet.
    small.fill_on(VERSIONS);
    let snapshot = ticket.poll().unwrap().ok().unwrap();
    assert_eq!(Small::shown(&snapshot).unwrap(), (KEYS * VERSIONS) as usize);
    assert_eq!(small.rows().unwrap(), 2 * (KEYS * VERSIONS) as usize);
}

#[test]
fn another_root_is_named_and_no_second_archive_is_begun() {
    let (env, objects) = filled();
    let empty = Arc::new(MemoryObjects::default());
    let mut small = Small::open(&env, Some(&empty));
    let trouble = small.turn_until(Small::trouble);
    assert!(trouble.contains("has an archive already"), "{trouble}");
    let refused = small.rows().unwrap_err().to_string();
    assert!(refused.contains("has an archive already"), "{refused}");
    assert_eq!(paths(&empty), [""; 0]);
    drop(small);
    // Of another store, and the same store's under another name.
    let other_env = SimEnv::new(4);
    let other = Arc::new(MemoryObjects::default());
    let mut small = Small::open(&other_env, Some(&other));
    small.fill();
    drop(small);
    let env = env.kill();
    let small = &mut Small::open(&env, Some(&other));
    let trouble = small.turn_until(Small::trouble);
    assert!(trouble.contains("is that of store"), "{trouble}");
    let marker = objects.get("thermae.archive").unwrap();
    let text = String::from_utf8(marker.to_vec()).unwrap();
    let id = text.lines().nth(2).unwrap();
    let renamed = text.replace(id, &format!("id {:032x}", 5));
    let twin = Arc::new(MemoryObjects::default());
    twin.put_new("thermae.archive", renamed.into_bytes().into()).unwrap();
    let small = &mut Small::open(&env.kill(), Some(&twin));
    let trouble = small.turn_until(Small::trouble);
    assert!(trouble.contains("another archive of this store"), "{trouble}");
}

#[test]
fn an_archive_that_is_older_than_the_directory_is_not_gone_on_with() {
    let (env, objects) = filled();
    let commits = |path: &&String| path.contains("_delta_log");
    let last = paths(&objects).iter().filter(commits).max().cloned().unwrap();
    let commit = objects.get(&last).unwrap();
    objects.delete(&last).unwrap();
    let before = paths(&objects);
    let mut small = Small::open(&env, Some(&objects));
    let trouble = small.turn_until(Small::trouble);
    assert!(trouble.contains("this directory has seen"), "{trouble}");
    assert!(small.rows().is_err());
    assert_eq!(paths(&objects), before);
    // Restored, it goes on by itself.
    objects.put_new(&last, commit).unwrap();
    small.turn_until(|small| small.stepped.handle.is_archive_attached().then_some(()));
    assert_eq!(small.rows().unwrap(), (KEYS * VERSIONS) as usize);
}

#[test]
fn a_directory_that_is_older_than_the_archive_is_not_gone_on_with() {
    let (_, objects) = filled();
    // The same machine with nothing written: the store has the same id.
    let mut small = Small::open(&SimEnv::new(3), Some(&objects));
    let trouble = small.turn_until(Small::trouble);
    assert!(trouble.contains("does not know of"), "{trouble}");
    small.put(0);
    assert_eq!(small.rows().unwrap(), KEYS as usize, "nothing has left");
}
