//! The manifest while a directory is opened: edits are collected, and become durable together with the
//! new epoch.

use std::cell::RefCell;
use std::rc::Rc;

use thermae_formats::manifest::Manifest;
use thermae_tiering::WarmError;
use thermae_tiering::tree::{Commit, TreeEdit, Unnamed};

use crate::manifests::apply;

/// A share in a manifest that is being made.
#[derive(Clone)]
pub struct Collected {
    manifest: Rc<RefCell<Manifest>>,
    shards: usize,
}

impl Collected {
    /// Begins with `manifest`, for a store of `shards`; file ids from `next_file_id` on are free.
    pub fn new(manifest: Manifest, shards: usize, next_file_id: u64) -> Self {
        let manifest = Rc::new(RefCell::new(Manifest { next_file_id, ..manifest }));
        Collected { manifest, shards }
    }

    /// What has come of it.
    pub fn manifest(&self) -> Manifest {
        self.manifest.borrow().clone()
    }
}

impl Commit for Collected {
    /// Logs are the business of the open.
    type LogStart = ();

    fn next_file_id(&self) -> u64 {
        let mut manifest = self.manifest.borrow_mut();
        manifest.next_file_id += 1;
        manifest.next_file_id - 1
    }

    fn commit(&self, edit: &TreeEdit<()>) -> Result<Unnamed, WarmError> {
        apply(&mut self.manifest.borrow_mut(), edit, self.shards);
        // The durable manifest still names what this one does not: it goes after the new epoch has
        // begun.
        Ok(Unnamed::default())
    }
}
