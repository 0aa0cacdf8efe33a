//! Which tables may hold what was erased, until each was rewritten.
//!
//! A table written under rules that know an erase does not hold it. So the suspects of an erase are the
//! tables that there are when the worker's rules come to know it; a merge under way by older rules
//! over one of them is given up.

use std::collections::BTreeSet;
use std::sync::Arc;

use thermae_env::Env;

use super::Worker;
use crate::compact::run::Merging;
use crate::erase::{PendingErase, PendingErases};
use crate::rules::Rules;
use crate::tree::{Commit, Outputs, Run, Tree};

/// The suspects, and the round that is over.
#[derive(Debug)]
pub(super) struct Erasing {
    suspects: BTreeSet<u64>,
    finished_round: u64,
}

impl Erasing {
    /// Every table that may hold what the rules say was erased: who wrote it, and when, is not known.
    pub fn begin<E: Env>(rules: &Rules, tree: &Tree<E>) -> Self {
        let erases: Vec<_> = rules.erases.iter().collect();
        let suspects = tree.runs().filter(|run| may_hold_any(run, &erases));
        let suspects = suspects.map(|run| run.table_ref.file_id).collect();
        Self { suspects, finished_round: rules.erases.round }
    }

    /// Numbers of the tables to rewrite.
    pub fn suspects(&self) -> Vec<u64> {
        self.suspects.iter().copied().collect()
    }

    /// How many there are.
    pub fn suspect_count(&self) -> u64 {
        self.suspects.len() as u64
    }

    /// What is in no tree any more is no suspect.
    pub fn follow<E: Env>(&mut self, tree: &Tree<E>) {
        self.suspects.retain(|id| tree.runs().any(|run| run.table_ref.file_id == *id));
    }

    /// The round of the rules when it is over: no suspect is left, and what was replaced is removed. Once.
    pub fn take_finished(&mut self, rules: &Rules, is_cleared: bool) -> Option<u64> {
        let round = rules.erases.round;
        let is_over = round > self.finished_round && self.suspects.is_empty() && is_cleared;
        is_over.then(|| {
            self.finished_round = round;
            round
        })
    }
}

impl<E: Env, C: Commit> Worker<E, C> {
    /// Goes by the rules of a flush that was committed with `fresh` tables, which know them already.
    pub(super) fn follow_rules(&mut self, rules: Arc<Rules>, fresh: &Outputs<E>) {
        let before = std::mem::replace(&mut self.rules, rules);
        let erases: Vec<_> = new_erases(&self.rules.erases, &before.erases);
        if erases.is_empty() {
            return;
        }
        let is_fresh =
            |run: &Run<E>| fresh.runs().any(|made| made.table_ref.file_id == run.table_ref.file_id);
        let suspects = self.tree.runs().filter(|run| !is_fresh(run) && may_hold_any(run, &erases));
        let suspects: BTreeSet<u64> = suspects.map(|run| run.table_ref.file_id).collect();
        let is_given_up =
            |merging: &mut Merging<E>| merging.inputs().any(|input| suspects.contains(&input));
        for given_up in self.merges.extract_if(.., is_given_up) {
            self.garbage.extend(given_up.made);
        }
        self.erasing.suspects.extend(suspects);
        self.must_plan = true;
    }
}

fn new_erases<'a>(now: &'a PendingErases, before: &'a PendingErases) -> Vec<&'a PendingErase> {
    now.not_in(before).collect()
}

fn may_hold_any<E: Env>(run: &Run<E>, erases: &[&PendingErase]) -> bool {
    erases.iter().any(|erase| run.table.may_hold(erase.view, erase.entity_hash))
}

#[cfg(test)]
mod tests {
    use thermae_env::SimEnv;

    use super::*;

    #[test]
    fn a_round_ends_once_and_not_before_every_suspect_and_every_old_file_is_gone() {
        let of_round = |round| {
            let mut erases = PendingErases::default();
            erases.round = round;
            Rules { erases: Arc::new(erases), ..Rules::default() }
        };
        let tree = Tree::<SimEnv>::default();
        let mut erasing = Erasing::begin(&of_round(0), &tree);
        assert_eq!(erasing.take_finished(&of_round(0), true), None, "none has begun");
        erasing.suspects.insert(7);
        assert_eq!(erasing.take_finished(&of_round(1), true), None);
        erasing.follow(&tree);
        assert_eq!(erasing.suspect_count(), 0, "the tree does not have it any more");
        assert_eq!(erasing.take_finished(&of_round(1), false), None);
        assert_eq!(erasing.take_finished(&of_round(1), true), Some(1));
        assert_eq!(erasing.take_finished(&of_round(1), true), None);
        assert_eq!(erasing.take_finished(&of_round(2), true), Some(2));
    }
}
