//! Look-ups in a shard's tables on disk, one block read each, through the shard's ring.
//!
//! A look-up asks the filter of each table, newest first; the first that may have the row is read. All
//! look-ups of a turn are submitted together, and none is waited for: a completion goes on with the
//! next table or ends the look-up.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use thermae_env::{AlignedBuf, Env, Event, Ring};
use thermae_formats::catalogue::ViewId;
use thermae_tiering::table::{Extent, Scratch, Table};
use thermae_tiering::tree::Tree;
use thermae_tiering::worker::Damage;

use crate::fetch::{Fetched, OwnedVersion};
use crate::message::Origin;
use crate::row_hash_map::RowHashMap;
use crate::tiers::{TreeFigures, WarmReadStats};

/// Ring tokens with this value under [`TOKEN_MASK`] belong to look-ups.
const TOKEN_SPACE: u64 = 0x57 << 56;
const TOKEN_MASK: u64 = 0xFF << 56;
/// Buffers kept for reuse, and the largest that is kept, in bytes: most blocks are one page.
const SPARES: usize = 128;
const SPARE_BYTES_MAX: usize = 8 << 10;

/// Whose look-up it is.
#[derive(Clone, Debug)]
pub enum Asker {
    /// A write, which must be judged against the row.
    Write {
        /// It is to be merged onto the row.
        needs_value: bool,
    },
    /// Somebody's read: the key of that index in the batch of that origin.
    Read(Origin<Fetched>, u32),
}

/// The row that is looked for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Its view.
    pub view: ViewId,
    /// Hash of its key.
    pub entity_hash: u64,
    /// Hash of the row.
    pub row_hash: u64,
    /// Its encoded entity key.
    pub key: Box<[u8]>,
}

/// A look-up that has come to its end.
#[derive(Debug)]
pub struct Finished {
    /// Whose it was.
    pub asker: Asker,
    /// What was looked for.
    pub wanted: Wanted,
    /// What the tables said.
    pub found: Fetched,
    /// The tables have changed meanwhile: a newer version may lie in a newer table.
    pub is_outdated: bool,
}

struct LookUp<E: Env> {
    asker: Asker,
    wanted: Wanted,
    tree: Arc<Tree<E>>,
    /// The table that is being read, and where in it.
    at: usize,
    extent: Extent,
    /// A block was read for it.
    has_read: bool,
}

/// The look-ups under way in one shard.
pub struct LookUps<E: Env> {
    tree: Arc<Tree<E>>,
    /// How often the tables have changed.
    changes: u64,
    figures: TreeFigures,
    under_way: HashMap<u64, LookUp<E>>,
    next_token: u64,
    /// Rows that a write waits for, by row hash.
    for_writes: RowHashMap<u32>,
    spares: Vec<AlignedBuf>,
    scratch: Scratch,
    stats: WarmReadStats,
    /// What is known to be damaged of the present tables: one place each.
    damaged: Vec<Damage>,
    /// Tables that were replaced, with the bytes of their files: as long as somebody reads them, those
    /// stay on the disk.
    replaced: Vec<(Weak<Table<E::File>>, u64)>,
}

impl<E: Env> LookUps<E> {
    /// Nothing under way over `tree`.
    pub fn new(tree: Arc<Tree<E>>) -> Self {
        LookUps {
            figures: TreeFigures::of(&tree),
            tree,
            changes: 0,
            under_way: HashMap::new(),
            next_token: 0,
            for_writes: RowHashMap::default(),
            spares: Vec::new(),
            scratch: Scratch::default(),
            stats: WarmReadStats::default(),
            damaged: Vec::new(),
            replaced: Vec::new(),
        }
    }

    /// What the present tables come to.
    pub fn figures(&self) -> &TreeFigures {
        &self.figures
    }

    /// The present tables.
    pub fn tree(&self) -> &Arc<Tree<E>> {
        &self.tree
    }

    /// Goes on over other tables; look-ups under way end over those they began with.
    pub fn set_tree(&mut self, tree: Arc<Tree<E>>) {
        self.figures = TreeFigures::of(&tree);
        let is_there = |id| tree.runs().any(|run| run.table_ref.file_id == id);
        self.damaged.retain(|damage| is_there(damage.file_id));
        let gone = self.tree.gone_in(&tree);
        let gone = gone.map(|run| (Arc::downgrade(&run.table), run.table_ref.bytes));
        self.replaced.retain(|(table, _)| table.strong_count() > 0);
        self.replaced.extend(gone);
        self.tree = tree;
        self.changes += 1;
    }

    /// How often the tables have changed.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Remembers that a table is damaged, if it is the first that is known of it.
    pub fn note_damage(&mut self, damage: Damage) {
        if self.damaged.iter().all(|known| known.file_id != damage.file_id) {
            self.damaged.push(damage);
        }
    }

    /// The first damage that was met in each table that is damaged.
    pub fn damaged(&self) -> &[Damage] {
        &self.damaged
    }

    /// Bytes on the disk of tables that were replaced and are still read.
    pub fn held_bytes(&self) -> u64 {
        let is_held = |replaced: &&(Weak<_>, u64)| replaced.0.strong_count() > 0;
        self.replaced.iter().filter(is_held).map(|(_, bytes)| bytes).sum()
    }

    /// Figures so far.
    pub fn stats(&self) -> WarmReadStats {
        self.stats
    }

    /// How many are under way.
    pub fn len(&self) -> usize {
        self.under_way.len()
    }

    /// Whether a write waits for a row of this hash.
    pub fn is_fetching(&self, row_hash: u64) -> bool {
        self.for_writes.contains_key(&row_hash)
    }

    /// Whether any table may have a row.
    pub fn may_hold(&self, view: ViewId, entity_hash: u64) -> bool {
        self.tree.latest.iter().any(|run| run.table.may_hold(view, entity_hash))
    }

    /// Which of some rows no table has: a bit for each of the first 64.
    pub fn lacks(&self, rows: impl Iterator<Item = (ViewId, u64)> + Clone) -> u64 {
        let filters = self.tree.latest.iter().map(|run| run.table.filter());
        filters.fold(u64::MAX, |lacked, filter| lacked & filter.lacks(rows.clone()))
    }

    /// Begins a look-up; it is over at once when no table may have the row.
    pub fn start(&mut self, asker: Asker, wanted: Wanted, ring: &mut E::Ring) -> Option<Finished> {
        if matches!(asker, Asker::Write { .. }) {
            *self.for_writes.entry(wanted.row_hash).or_default() += 1;
        }
        let tree = Arc::clone(&self.tree);
        let extent = Extent { offset_bytes: 0, bytes: 0 };
        let look_up = LookUp { asker, wanted, tree, at: 0, extent, has_read: false };
        self.go_on(look_up, ring)
    }

    /// Takes a read of the ring if it is a look-up's: the event back if it is not, the end of the
    /// look-up if it has come to one.
    // The Err is the caller's own event, moved through, not an error to keep small.
    #[allow(clippy::result_large_err)]
    pub fn on_event(
        &mut self,
        event: Event,
        ring: &mut E::Ring,
    ) -> Result<Option<Finished>, Event> {
        let Event::Read { token, buf, result } = event else { return Err(event) };
        if token & TOKEN_MASK != TOKEN_SPACE {
            return Err(Event::Read { token, buf, result });
        }
        let Some(mut look_up) = self.under_way.remove(&(token & !TOKEN_MASK)) else {
            return Ok(None);
        };
        let found = self.search(&look_up, &buf, result);
        if self.spares.len() < SPARES && buf.capacity() <= SPARE_BYTES_MAX {
            self.spares.push(buf);
        }
        match found {
            Some(found) => Ok(Some(self.finish(look_up, found))),
            None => {
                look_up.at += 1;
                Ok(self.go_on(look_up, ring))
            }
        }
    }

    /// What the block says; `None` when this table has no such row.
    fn search(
        &mut self,
        look_up: &LookUp<E>,
        block: &[u8],
        result: std::io::Result<usize>,
    ) -> Option<Fetched> {
        let table = &look_up.tree.latest.get(look_up.at)?.table;
        let found = match result {
            Ok(bytes) => {
                let block = block.get(..bytes).unwrap_or_default();
                table.search(look_up.extent, block, &look_up.wanted.key, &mut self.scratch)
            }
            Err(error) => Err(table.read_failed(error)),
        };
        match found {
            Ok(found) => found.map(|version| Fetched::Row(OwnedVersion::new(&version))),
            Err(error) => {
                // Of a table that was replaced meanwhile there is nothing to say any more.
                let damage = Damage::of(&error, &*self.tree);
                damage.into_iter().for_each(|damage| self.note_damage(damage));
                Some(Fetched::Failed(error.to_string().into()))
            }
        }
    }

    /// Reads the next table that may have the row.
    fn go_on(&mut self, mut look_up: LookUp<E>, ring: &mut E::Ring) -> Option<Finished> {
        let Wanted { view, entity_hash, .. } = look_up.wanted;
        let Some((at, extent)) = look_up.tree.next_run(look_up.at, view, entity_hash) else {
            return Some(self.finish(look_up, Fetched::Absent));
        };
        (look_up.at, look_up.extent) = (at, extent);
        let mut buf = self.spares.pop().unwrap_or_default();
        buf.resize(extent.bytes as usize, 0);
        let token = self.next_token;
        self.next_token = (token + 1) & !TOKEN_MASK;
        self.stats.reads += 1;
        look_up.has_read = true;
        if let Some(run) = look_up.tree.latest.get(at) {
            ring.read(TOKEN_SPACE | token, run.table.file(), extent.offset_bytes, buf);
        }
        self.under_way.insert(token, look_up);
        None
    }

    /// Counts a look-up that has ended; one over tables that have changed is begun again, and counted then.
    fn count(&mut self, asker: &Asker, found: &Fetched, has_read: bool) {
        let stats = &mut self.stats;
        let count = match (asker, found) {
            (_, Fetched::Failed(_) | Fetched::Unavailable(_)) => &mut stats.failed,
            (Asker::Write { .. }, _) => &mut stats.for_writes,
            (Asker::Read(..), Fetched::Row(_)) => &mut stats.hits,
            (Asker::Read(..), Fetched::Absent) if has_read => &mut stats.misses_read,
            (Asker::Read(..), Fetched::Absent) => &mut stats.misses_filtered,
        };
        *count += 1;
    }

    fn finish(&mut self, look_up: LookUp<E>, found: Fetched) -> Finished {
        let LookUp { asker, wanted, tree, has_read, .. } = look_up;
        let is_outdated = !Arc::ptr_eq(&tree, &self.tree);
        if matches!(asker, Asker::Write { .. })
            && let Some(waiting) = self.for_writes.get_mut(&wanted.row_hash)
        {
            *waiting -= 1;
            if *waiting == 0 {
                self.for_writes.remove(&wanted.row_hash);
            }
        }
        if !is_outdated || matches!(found, Fetched::Failed(_)) {
            self.count(&asker, &found, has_read);
        }
        Finished { asker, wanted, found, is_outdated }
    }
}
