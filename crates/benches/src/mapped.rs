//! Thermae's same-host path: the client reads the hot tables itself, without a system call.

use crate::ours;
use crate::target::Reader;
use anyhow::ensure;
use thermae_client::{Client, Keys, Mapped, MappedAnswer, MappedPlan, ReadOptions};

/// Reads out of the server's maps.
pub struct Maps {
    mapped: Mapped,
    plan: MappedPlan,
    keys: Keys,
    answer: MappedAnswer,
    options: ReadOptions,
}

impl Maps {
    /// Maps the tables over a client on the unix socket.
    ///
    /// # Errors
    /// A refusal.
    pub fn new(client: &Client) -> anyhow::Result<Self> {
        let plan = ours::plan(client)?;
        let keys = plan.keys(0)?;
        let mapped = Mapped::open(client, ours::PROJECT)?;
        let plan = mapped.plan(&plan)?;
        let options = ReadOptions { matrix: true, ..ReadOptions::default() };
        Ok(Self { mapped, plan, keys, answer: MappedAnswer::new(), options })
    }
}

impl Reader for Maps {
    fn read(&mut self, ids: &[u64], rows: &mut Vec<f32>) -> anyhow::Result<()> {
        self.keys.clear();
        ids.iter().for_each(|id| self.keys.push_packed(&id.to_le_bytes(), 1));
        self.mapped.get_many(&mut self.plan, 0, &self.keys, &self.options, &mut self.answer)?;
        ensure!(
            self.mapped.stats().misses == 0,
            "a row was asked of the server: not the mapped path"
        );
        rows.clear();
        rows.extend_from_slice(self.answer.matrix()?);
        Ok(())
    }
}
