//! The simulated file system: names (volatile until their directory is synced) and inodes.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use super::content::Content;
use super::inode::Inode;
use super::rng::Rng;
use crate::DirEntry;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Dir,
    File(u64),
}

/// A visible change of names.
#[derive(Clone, Debug)]
enum Naming {
    Link { path: PathBuf, node: Node },
    Unlink { path: PathBuf },
    Rename { from: PathBuf, to: PathBuf, node: Node },
}

#[derive(Clone, Debug)]
struct PendingNaming {
    naming: Naming,
    /// Directories that must still be synced.
    unsynced: BTreeSet<PathBuf>,
}

/// Names and files.
#[derive(Debug, Default)]
pub(super) struct Disk {
    inodes: BTreeMap<u64, Inode>,
    names: BTreeMap<PathBuf, Node>,
    durable_names: BTreeMap<PathBuf, Node>,
    pending: Vec<PendingNaming>,
    next_inode: u64,
}

impl Disk {
    pub(super) fn inode(&mut self, id: u64) -> io::Result<&mut Inode> {
        self.inodes.get_mut(&id).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn exists(&self, path: &Path) -> bool {
        is_root(path) || self.names.contains_key(path)
    }

    pub(super) fn lookup(&self, path: &Path) -> io::Result<u64> {
        match self.names.get(path) {
            Some(Node::File(id)) => Ok(*id),
            Some(Node::Dir) => Err(io::ErrorKind::IsADirectory.into()),
            None if is_root(path) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn require_dir(&self, path: &Path) -> io::Result<()> {
        match self.names.get(path) {
            Some(Node::Dir) => Ok(()),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None if is_root(path) => Ok(()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Creates directories, durable at once (the call syncs the parents).
    pub(super) fn create_dir_all(&mut self, path: &Path) -> io::Result<()> {
        let mut dirs: Vec<&Path> = path.ancestors().filter(|p| !is_root(p)).collect();
        dirs.reverse();
        for dir in dirs {
            match self.names.get(dir) {
                Some(Node::Dir) => {}
                Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
                None => {
                    self.names.insert(dir.into(), Node::Dir);
                    self.durable_names.insert(dir.into(), Node::Dir);
                }
            }
        }
        Ok(())
    }

    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.require_dir(path)?;
        let entries = self.names.iter().filter(|(name, _)| name.parent() == Some(path));
        Ok(entries
            .map(|(name, node)| DirEntry {
                name: name.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                len_bytes: match node {
                    Node::File(id) => self.inodes.get(id).map_or(0, Inode::len),
                    Node::Dir => 0,
                },
                is_dir: *node == Node::Dir,
            })
            .collect())
    }

    pub(super) fn create(&mut self, path: &Path) -> io::Result<u64> {
        if self.exists(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.require_dir(parent_of(path))?;
        let id = self.next_inode;
        self.next_inode += 1;
        self.inodes.insert(id, Inode::default());
        let node = Node::File(id);
        self.names.insert(path.into(), node);
        self.remember(Naming::Link { path: path.into(), node }, &[path]);
        Ok(id)
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let node = Node::File(self.lookup(from)?);
        self.require_dir(parent_of(to))?;
        if self.names.get(to) == Some(&Node::Dir) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        self.names.remove(from);
        self.names.insert(to.into(), node);
        self.remember(Naming::Rename { from: from.into(), to: to.into(), node }, &[from, to]);
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.lookup(path)?;
        self.names.remove(path);
        self.remember(Naming::Unlink { path: path.into() }, &[path]);
        Ok(())
    }

    pub(super) fn check_dir(&self, path: &Path) -> io::Result<()> {
        self.require_dir(path)
    }

    /// Makes the names in `dir` durable.
    pub(super) fn sync_dir(&mut self, dir: &Path) {
        for pending in &mut self.pending {
            pending.unsynced.remove(dir);
        }
        for done in self.pending.extract_if(.., |p| p.unsynced.is_empty()) {
            apply(&mut self.durable_names, &done.naming);
        }
    }

    /// Bytes held by files that have a name or are open.
    pub(super) fn used_bytes(&self) -> u64 {
        let named: BTreeSet<u64> = self.names.values().filter_map(file_id).collect();
        let is_held = |(id, inode): &(&u64, &Inode)| named.contains(id) || inode.is_open();
        self.inodes.iter().filter(is_held).map(|(_, inode)| inode.len()).sum()
    }

    /// Sets a file's content, durable, creating it if needed: for planting damage.
    pub(super) fn plant(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.require_dir(parent_of(path))?;
        let id = match self.lookup(path) {
            Ok(id) => id,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                self.next_inode += 1;
                self.next_inode - 1
            }
            Err(e) => return Err(e),
        };
        self.inodes.insert(id, Inode::settled(Content::from_bytes(bytes)));
        self.names.insert(path.into(), Node::File(id));
        self.durable_names.insert(path.into(), Node::File(id));
        Ok(())
    }

    /// The disk after the power came back.
    pub(super) fn after_power_cut(&self, rng: &mut Rng) -> Self {
        let mut names = self.durable_names.clone();
        // A journal keeps a prefix; a file system without one keeps any subset.
        let journal = rng.coin();
        let prefix = rng.below(self.pending.len() as u64 + 1) as usize;
        for (i, pending) in self.pending.iter().enumerate() {
            if if journal { i < prefix } else { rng.coin() } {
                apply(&mut names, &pending.naming);
            }
        }
        let ids: BTreeSet<u64> = names.values().filter_map(file_id).collect();
        let inodes = ids
            .into_iter()
            .filter_map(|id| self.inodes.get(&id).map(|inode| (id, inode)))
            .map(|(id, inode)| (id, Inode::settled(inode.after_power_cut(rng))))
            .collect();
        let durable_names = names.clone();
        Self { inodes, names, durable_names, pending: Vec::new(), next_inode: self.next_inode }
    }

    /// The disk after the process died: everything written is there, what was pending still is.
    pub(super) fn after_kill(&self) -> Self {
        Self {
            inodes: self.inodes.iter().map(|(id, inode)| (*id, inode.closed())).collect(),
            names: self.names.clone(),
            durable_names: self.durable_names.clone(),
            pending: self.pending.clone(),
            next_inode: self.next_inode,
        }
    }

    fn remember(&mut self, naming: Naming, paths: &[&Path]) {
        let unsynced = paths.iter().map(|p| parent_of(p).to_path_buf()).collect();
        self.pending.push(PendingNaming { naming, unsynced });
    }
}

fn apply(names: &mut BTreeMap<PathBuf, Node>, naming: &Naming) {
    match naming {
        Naming::Link { path, node } => {
            names.insert(path.clone(), *node);
        }
        Naming::Unlink { path } => {
            names.remove(path);
        }
        Naming::Rename { from, to, node } => {
            names.remove(from);
            names.insert(to.clone(), *node);
        }
    }
}

const fn file_id(node: &Node) -> Option<u64> {
    match node {
        Node::File(id) => Some(*id),
        Node::Dir => None,
    }
}

fn is_root(path: &Path) -> bool {
    path == Path::new("/") || path == Path::new("")
}

fn parent_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}
