//! Trees divided anew: when a directory is opened with another number of shards, partitions change
//! hands, and every shard gets tables with the rows of its own partitions and no others.

use std::sync::Arc;

use thermae_env::Env;
use thermae_formats::table::{TableKind, TableRef};

use crate::WarmError;
use crate::compact::plan::Compaction;
use crate::compact::run::Merging;
use crate::files::WarmFiles;
use crate::flush::Progress;
use crate::rules::Rules;
use crate::tree::{Commit, Outputs, Run, Tree, TreeEdit};

/// Writes the rows of the `old` trees to new ones, one for each of `rules`, which say whose partitions
/// are whose, and commits them. Takes as long as reading each old table once for every new shard.
///
/// # Errors
/// A table cannot be read or written. What was written is named by nothing then.
pub fn divide<E: Env, C: Commit>(
    files: &WarmFiles<E>,
    commit: &C,
    old: &[Tree<E>],
    rules: &[Arc<Rules>],
) -> Result<Vec<Tree<E>>, WarmError> {
    let mut trees = Vec::new();
    for rules in rules {
        let mut new = Tree::default();
        for tree in old {
            for (kind, runs) in
                [(TableKind::Latest, &tree.latest), (TableKind::History, &tree.history)]
            {
                let outputs = rewrite(files, commit, kind, runs, rules)?;
                // Old trees hold different keys: their order among each other does not matter.
                new.latest.extend(outputs.latest);
                new.history.extend(outputs.history);
            }
        }
        let _ = commit.commit(&edit(rules.shard, &new))?;
        trees.push(new);
    }
    Ok(trees)
}

fn rewrite<E: Env, C: Commit>(
    files: &WarmFiles<E>,
    commit: &C,
    kind: TableKind,
    runs: &[Run<E>],
    rules: &Arc<Rules>,
) -> Result<Outputs<E>, WarmError> {
    if runs.is_empty() {
        return Ok(Outputs::default());
    }
    let inputs: Vec<TableRef> = runs.iter().map(|run| run.table_ref).collect();
    let tables: Vec<_> = runs.iter().map(|run| Arc::clone(&run.table)).collect();
    let compaction = Compaction { kind, inputs, is_last_run: true };
    let nothing_departs = Arc::default();
    let rules = Arc::clone(rules);
    let mut merging = Merging::new(compaction, &tables, rules, nothing_departs, &files.buffers)?;
    while let Progress::Worked(_) = merging.step(files, commit)? {}
    Ok(merging.outputs)
}

fn edit<E: Env, L>(shard: u16, tree: &Tree<E>) -> TreeEdit<L> {
    let ids = |runs: &[Run<E>]| runs.iter().map(|run| run.table_ref.file_id).collect();
    TreeEdit {
        shard,
        add: tree.latest.iter().chain(&tree.history).map(|run| run.table_ref).collect(),
        remove: Vec::new(),
        latest: ids(&tree.latest),
        history: ids(&tree.history),
        checkpoint: None,
        log_start: None,
    }
}
