//! What an open takes over from the tables: checkpoints, trees, and the files that nothing names.

use std::collections::HashMap;
use std::sync::Arc;

use thermae_env::Env;
use thermae_formats::hash::shard_of;
use thermae_formats::manifest::Manifest;
use thermae_tiering::compact::plan::CompactionPolicy;
use thermae_tiering::divide::divide;
use thermae_tiering::files::WarmFiles;
use thermae_tiering::table::Table;
use thermae_tiering::tree::{Run, Tree};
use thermae_tiering::worker::Worker;

use super::Rebuild;
use super::collect::Collected;
use crate::checkpoint;
use crate::error::Error;
use crate::flush;
use crate::log::first_file_id;

impl<E: Env> Rebuild<E> {
    /// Takes over what checkpoints and tables hold.
    pub(super) fn load(&mut self, about: &Manifest) -> Result<(), Error> {
        self.env
            .create_dir_all(&self.warm_dir)
            .map_err(|e| Error::io(format!("creating {}", self.warm_dir.display()), e))?;
        self.load_checkpoints(about)?;
        let next_file_id = first_file_id(&self.env, &self.dir, about).map_err(Error::from_log)?;
        let mut trees = self.open_trees(about)?;
        let files = WarmFiles {
            env: self.env.clone(),
            dir: self.warm_dir.clone(),
            store_id: self.store_id,
            hash_seed: self.hash_seed,
            buffers: self.plan.buffers(),
        };
        let rules = self.states.iter().map(|state| flush::rules(state, &self.catalogue));
        let rules: Vec<_> = rules.collect();
        let is_divided = !trees.is_empty() && trees.len() != self.states.len();
        let collected = if is_divided {
            // Partitions have changed hands: each shard gets tables and a checkpoint of its own.
            self.must_checkpoint.fill(true);
            let none = Manifest { tables: Vec::new(), trees: Vec::new(), ..about.clone() };
            let collected = Collected::new(none, self.states.len(), next_file_id);
            trees = divide(&files, &collected, &trees, &rules).map_err(Error::from_warm)?;
            collected
        } else {
            Collected::new(about.clone(), self.states.len(), next_file_id)
        };
        trees.resize_with(self.states.len(), Tree::default);
        for ((tree, state), rules) in trees.into_iter().zip(&mut self.states).zip(rules) {
            state.set_complete(tree.latest.is_empty());
            let (policy, commit) = (CompactionPolicy::default(), collected.clone());
            let shard = state.shard() as u16;
            self.workers.push(Worker::new(files.clone(), commit, shard, policy, rules, tree));
        }
        self.collected = Some(collected);
        Ok(())
    }

    fn load_checkpoints(&mut self, about: &Manifest) -> Result<(), Error> {
        let mut generation = 0;
        for tree in about.trees.iter().filter(|tree| tree.checkpoint != 0) {
            let found = checkpoint::read(&self.env, &self.warm_dir, &about.store_id, tree)?;
            if found.generation > generation {
                generation = found.generation;
                self.catalogue = checkpoint::catalogue(&found)?;
            }
            for partition in &found.partitions {
                let shard = shard_of(partition.number, self.options.cores as u16);
                if let Some(state) = self.states.get_mut(usize::from(shard)) {
                    state.restore(partition);
                }
            }
        }
        Ok(())
    }

    /// Opens the tables of every tree of the manifest.
    fn open_trees(&self, about: &Manifest) -> Result<Vec<Tree<E>>, Error> {
        let mut runs = HashMap::new();
        for table_ref in &about.tables {
            let table = Table::open(&self.env, &self.warm_dir, &about.store_id, table_ref)
                .map_err(Error::from_warm)?;
            runs.insert(table_ref.file_id, Run { table_ref: *table_ref, table: Arc::new(table) });
        }
        let open = |ids: &[u64]| ids.iter().filter_map(|id| runs.get(id).cloned()).collect();
        let trees = about.trees.iter();
        Ok(trees
            .map(|tree| Tree { latest: open(&tree.latest), history: open(&tree.history) })
            .collect())
    }
}
