//! A manifest for tests: a text, written whole, renamed into place.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use thermae_env::{Env, File, OpenHow, SimEnv};
use thermae_formats::table::{TableKind, TableRef};

use crate::WarmError;
use crate::tree::{Commit, TreeEdit, Unnamed};

/// What the manifest says.
#[derive(Clone, Default)]
pub struct Manifest {
    pub next_file_id: u64,
    pub tables: BTreeMap<u64, TableRef>,
    pub latest: Vec<u64>,
    pub history: Vec<u64>,
    pub checkpoint: Option<(u64, u64)>,
    pub log_start: u64,
}

#[derive(Clone)]
pub struct SimCommit {
    pub env: SimEnv,
    pub dir: PathBuf,
    pub state: Arc<Mutex<Manifest>>,
}

const NAME: &str = "MANIFEST";

impl Commit for SimCommit {
    type LogStart = u64;

    fn next_file_id(&self) -> u64 {
        let mut state = self.state.lock().unwrap();
        state.next_file_id += 1;
        state.next_file_id
    }

    fn commit(&self, edit: &TreeEdit<u64>) -> Result<Unnamed, WarmError> {
        let mut state = self.state.lock().unwrap();
        let mut next = state.clone();
        next.tables.extend(edit.add.iter().map(|table| (table.file_id, *table)));
        next.tables.retain(|id, _| !edit.remove.contains(id));
        (next.latest, next.history) = (edit.latest.clone(), edit.history.clone());
        let mut named = next.latest.iter().chain(&next.history);
        assert!(named.all(|id| next.tables.contains_key(id)));
        let mut gone = Unnamed { tables: edit.remove.clone(), checkpoints: Vec::new() };
        if edit.checkpoint.is_some() {
            gone.checkpoints.extend(next.checkpoint.map(|(id, _)| id));
            next.checkpoint = edit.checkpoint;
        }
        next.log_start = edit.log_start.unwrap_or(next.log_start);
        let path = self.dir.join(NAME);
        self.write(&next.text(), &path)
            .map_err(|source| WarmError::io("commit", &path, 0, source))?;
        *state = next;
        Ok(gone)
    }
}

impl SimCommit {
    fn write(&self, text: &str, path: &Path) -> io::Result<()> {
        let part = self.dir.join("MANIFEST.new");
        match self.env.remove(&part) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = self.env.open(&part, OpenHow::CREATE)?;
        file.write_all_at(text.as_bytes(), 0)?;
        file.sync_data()?;
        self.env.rename(&part, path)?;
        self.env.sync_dir(&self.dir)
    }

    /// The manifest of a directory, an empty one where there is none yet.
    pub fn open(env: &SimEnv, dir: &Path) -> Result<Self, String> {
        let state = match env.open(&dir.join(NAME), OpenHow::READ) {
            Ok(file) => {
                let mut text = vec![0; file.len_bytes().unwrap() as usize];
                file.read_at(&mut text, 0).map_err(|error| error.to_string())?;
                Manifest::parse(&text).ok_or("the manifest is cut")?
            }
            Err(_) => Manifest::default(),
        };
        Ok(Self { env: env.clone(), dir: dir.into(), state: Arc::new(Mutex::new(state)) })
    }
}

impl Manifest {
    fn text(&self) -> String {
        let ids = |ids: &[u64]| ids.iter().map(|id| format!(" {id}")).collect::<String>();
        let (id, sum) = self.checkpoint.unwrap_or_default();
        let mut text = format!("{} {} {id} {sum}\n", self.next_file_id, self.log_start);
        text += &format!("latest{}\nhistory{}\n", ids(&self.latest), ids(&self.history));
        for t in self.tables.values() {
            let (kind, times) = (t.kind as u8, (t.min_event_time, t.max_event_time));
            text += &format!("{} {kind} {} {} {}", t.file_id, t.bytes, t.rows, t.tombstones);
            text += &format!(" {} {} {}\n", times.0, times.1, t.checksum);
        }
        text + "end\n"
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?.strip_suffix("end\n")?;
        let mut lines = text.lines();
        let mut numbers = |skip: usize| -> Option<Vec<u64>> {
            let words = lines.next()?.split(' ').skip(skip);
            words.map(|word| word.parse::<i128>().ok().map(|n| n as u64)).collect()
        };
        let first = numbers(0)?;
        let (latest, history) = (numbers(1)?, numbers(1)?);
        let mut tables = BTreeMap::new();
        while let Some(n) = numbers(0) {
            let kind = if n[1] == 1 { TableKind::Latest } else { TableKind::History };
            let table = TableRef {
                file_id: n[0],
                kind,
                bytes: n[2],
                rows: n[3],
                tombstones: n[4],
                min_event_time: n[5] as i64,
                max_event_time: n[6] as i64,
                checksum: n[7],
            };
            tables.insert(table.file_id, table);
        }
        let checkpoint = (first[2] > 0).then_some((first[2], first[3]));
        let (next_file_id, log_start) = (first[0], first[1]);
        Some(Self { next_file_id, tables, latest, history, checkpoint, log_start })
    }
}
