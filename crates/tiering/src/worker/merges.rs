//! The worker's merges: planned, carried on, committed.

use std::sync::Arc;

use thermae_env::Env;
use thermae_formats::table::TableRef;

use super::{Step, Worker};
use crate::WarmError;
use crate::compact::plan::{Plan, TreeState, plan};
use crate::compact::run::Merging;
use crate::flush::Progress;
use crate::table::Table;
use crate::tree::{Commit, Outputs, Run};

/// How long to wait before looking at a full disk again.
const PAUSE_NS: u64 = 1_000_000_000;

impl<E: Env, C: Commit> Worker<E, C> {
    pub(super) fn step_plan(&mut self, now_ns: u64) -> Step<E> {
        let free_bytes = match self.files.env.free_bytes(&self.files.dir) {
            Ok(free_bytes) => free_bytes,
            Err(error) => {
                self.merge_rest.fail(now_ns);
                return self.failed(WarmError::io("free space of", &self.files.dir, 0, error));
            }
        };
        let refs = |runs: &[Run<E>]| runs.iter().map(|run| run.table_ref).collect::<Vec<_>>();
        let state = TreeState {
            latest: &refs(&self.tree.latest),
            history: &refs(&self.tree.history),
            in_work: &self.merges.iter().flat_map(Merging::inputs).collect::<Vec<_>>(),
            damaged: &self.quarantine.damaged().collect::<Vec<_>>(),
            suspects: &self.erasing.suspects(),
            merges: self.merges.len(),
            expired_before: self.rules.expired_before(),
            departing: &self.departures.rewrite.iter().copied().collect::<Vec<_>>(),
            free_bytes,
        };
        let plan = plan(&state, &self.policy);
        self.stats.is_merge_paused = matches!(plan, Plan::Paused(_));
        match plan {
            Plan::Nothing => {
                self.must_plan = false;
                if self.merges.is_empty() {
                    // What failed before is not wanted any more.
                    self.merge_rest.succeed();
                }
            }
            Plan::Drop { file_ids } => return self.drop_tables(&file_ids, now_ns),
            Plan::Paused(pause) => {
                // Those at work have their room already, and give some back.
                self.must_plan = self.merges.is_empty();
                if self.must_plan {
                    self.merge_rest.pause(now_ns, PAUSE_NS);
                }
                return Step::Paused(pause);
            }
            Plan::Merge(compaction) => {
                self.must_plan = false;
                let tables = self.tables(&compaction.inputs);
                let (rules, departures) = (Arc::clone(&self.rules), Arc::clone(&self.departures));
                let buffers = &self.files.buffers;
                match Merging::new(compaction, &tables, rules, departures, buffers) {
                    Ok(merging) => self.merges.push(merging),
                    Err(error) => return self.merge_failed(error, now_ns),
                }
            }
        }
        Step::Worked { bytes: 0 }
    }

    fn tables(&self, refs: &[TableRef]) -> Vec<Arc<Table<E::File>>> {
        let find =
            |table: &TableRef| self.tree.runs().find(|run| run.table_ref.file_id == table.file_id);
        refs.iter().filter_map(find).map(|run| Arc::clone(&run.table)).collect()
    }

    fn drop_tables(&mut self, file_ids: &[u64], now_ns: u64) -> Step<E> {
        let outputs = Outputs::default();
        let tree = self.tree.with(file_ids, &outputs);
        let edit = tree.edit(self.shard, file_ids, &outputs);
        if let Err(error) = self.commit(&edit, tree) {
            return self.merge_failed(error, now_ns);
        }
        self.merge_rest.succeed();
        self.stats.dropped_tables += file_ids.len() as u64;
        Step::Compacted { tree: self.tree.clone() }
    }

    pub(super) fn step_merge(&mut self, mut merging: Merging<E>, now_ns: u64) -> Step<E> {
        match merging.step(&self.files, &self.commit) {
            Ok(Progress::Worked(bytes)) => {
                self.merges.push(merging);
                self.shares.merged(bytes);
                return Step::Worked { bytes };
            }
            Ok(Progress::Ready) => {}
            Err(error) => {
                self.garbage.extend(merging.made);
                return self.merge_failed(error, now_ns);
            }
        }
        let inputs: Vec<u64> = merging.inputs().collect();
        let tree = self.tree.with(&inputs, &merging.outputs);
        let edit = tree.edit(self.shard, &inputs, &merging.outputs);
        let suspects = self.erasing.suspects();
        if let Err(error) = self.commit(&edit, tree) {
            self.merges.push(merging);
            self.merge_rest.fail(now_ns);
            return self.failed(error);
        }
        self.merge_rest.succeed();
        self.stats.merges += 1;
        self.stats.compacted_bytes += merging.outputs.bytes();
        self.stats.erased_rows += merging.erased_rows;
        let rewritten = inputs.iter().filter(|input| suspects.contains(input)).count();
        self.stats.rewritten_tables += rewritten as u64;
        Step::Compacted { tree: self.tree.clone() }
    }

    fn merge_failed(&mut self, error: WarmError, now_ns: u64) -> Step<E> {
        self.must_plan = true;
        if let Some(damage) = self.quarantine.judge(&error, &self.tree) {
            return self.damaged(damage);
        }
        self.merge_rest.fail(now_ns);
        self.failed(error)
    }
}
