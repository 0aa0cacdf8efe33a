//! Mapped reads: the server's hot tables, read in this process.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use thermae_client::{Client, Keys, Mapped, MappedAnswer, MappedPlan, Plan, ReadOptions};

use crate::errors::Result;

/// Plans that one reader remembers.
const PLANS_MAX: usize = 1_024;

/// Readers that threads take in turn: each needs one for itself, and all of them share the maps.
pub struct MappedReaders {
    free: Mutex<Vec<Reader>>,
    first: Mapped,
}

struct Reader {
    mapped: Mapped,
    /// By a plan's views and features.
    plans: HashMap<String, MappedPlan>,
}

impl MappedReaders {
    /// Maps the hot tables of a project; "" is the whole store.
    ///
    /// # Errors
    /// As [`Mapped::open`].
    pub fn open(client: &Client, project: &str) -> Result<Self> {
        let first = Mapped::open(client, project)?;
        Ok(Self { free: Mutex::new(Vec::new()), first })
    }

    /// Reads every view of a plan; `name` is the plan's.
    ///
    /// # Errors
    /// As [`Mapped::get_many`].
    pub fn read(
        &self,
        name: &str,
        plan: &Plan,
        keys: &[Keys],
        options: &ReadOptions,
    ) -> Result<Vec<MappedAnswer>> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut reader =
            free.unwrap_or_else(|| Reader { mapped: self.first.clone(), plans: HashMap::new() });
        let answers = reader.read(name, plan, keys, options);
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(reader);
        answers
    }
}

impl Reader {
    fn read(
        &mut self,
        name: &str,
        plan: &Plan,
        keys: &[Keys],
        options: &ReadOptions,
    ) -> Result<Vec<MappedAnswer>> {
        if !self.plans.contains_key(name) {
            if self.plans.len() >= PLANS_MAX {
                self.plans.clear();
            }
            self.plans.insert(name.to_owned(), self.mapped.plan(plan)?);
        }
        let mut answers = Vec::with_capacity(keys.len());
        if let Some(plan) = self.plans.get_mut(name) {
            for (view, keys) in keys.iter().enumerate() {
                let mut answer = MappedAnswer::new();
                self.mapped.get_many(plan, view, keys, options, &mut answer)?;
                answers.push(answer);
            }
        }
        Ok(answers)
    }
}
