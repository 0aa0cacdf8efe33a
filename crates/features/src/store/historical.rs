//! Training reads: features as they were at each row's time.

use thermae_engine::training::{self, Means, Progress, Request, Spine, ViewJoin};
use thermae_env::Env;

use super::FeatureStore;
use super::ask::Ask;
use super::historical_rows::{HistoricalRows, hidden_name};
use super::resolve::Resolved;
use crate::error::Error;

/// How a training read is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoricalOptions {
    /// The spine's column that holds each row's time.
    pub time_column: String,
    /// Only what had been learnt by each row's time.
    pub as_of_known: bool,
    /// Helper threads; 0, or more than the store's own options: those.
    pub threads: usize,
    /// Memory for sorting, in bytes; 0, or more than the store's own options: those.
    pub budget_bytes: usize,
}

impl Default for HistoricalOptions {
    fn default() -> Self {
        HistoricalOptions {
            time_column: "event_timestamp".to_owned(),
            as_of_known: false,
            threads: 0,
            budget_bytes: 0,
        }
    }
}

impl HistoricalOptions {
    /// What this read may use of what the store allows.
    fn within<E: Env>(&self, means: Means<E>) -> Means<E> {
        let lower = |of: usize, wanted| if wanted == 0 { of } else { of.min(wanted) };
        let (threads, budget_bytes) =
            (lower(means.threads, self.threads), lower(means.budget_bytes, self.budget_bytes));
        Means { threads, budget_bytes, ..means }
    }
}

/// The spine with its features, to be read batch by batch.
pub struct HistoricalAnswer<'s, E: Env> {
    /// The version of the registry that it was made under.
    pub registry_version: u64,
    /// The rows.
    pub rows: HistoricalRows<'s, E>,
    /// What the reader should know.
    pub warnings: Vec<String>,
}

impl<E: Env> FeatureStore<E> {
    /// Joins features onto a spine as they were at each row's time, under one snapshot of the store and one
    /// version of the registry. What on-demand features take of the request are columns of the spine.
    ///
    /// # Errors
    /// A name that is not there, a column that the spine lacks or has of another type, or anything that a
    /// training read fails by.
    pub fn get_historical_features<'s>(
        &self,
        ask: &Ask,
        options: &HistoricalOptions,
        spine: &'s dyn Spine,
        progress: &'s Progress,
    ) -> Result<HistoricalAnswer<'s, E>, Error> {
        // Before the registry: so every row of it is of a schema that the version knows.
        let snapshot = self.handle.snapshot()?;
        let published = self.registry.published();
        let resolved = self.cache.resolve(&published, &ask.what, ask.full_names)?;
        let request = Request {
            time_column: options.time_column.clone(),
            joins: joins(&resolved),
            as_of_known: options.as_of_known,
            full_names: ask.full_names,
        };
        let means = options.within(self.handle.training_means());
        let catalogue = &published.catalogue;
        let answer = training::read(&request, catalogue, &snapshot, spine, &means, progress)?;
        let warnings = resolved.warnings.clone();
        let rows = HistoricalRows::new(answer, resolved, &spine.schema(), &options.time_column)?;
        Ok(HistoricalAnswer { registry_version: published.state.version(), rows, warnings })
    }
}

/// The joins of a request. Where something is computed of them, their columns have names that nobody else has, and
/// `HistoricalRows` makes the answer of them.
fn joins(resolved: &Resolved) -> Vec<ViewJoin> {
    let is_computed = !resolved.computed.is_empty();
    let mut shown = resolved.columns.iter().map(|(name, _)| name.clone());
    let joins = resolved.joins.iter().enumerate().map(|(join, joined)| {
        let keys = joined.view.latest.definition.join_keys.iter().zip(&joined.keys);
        let renamed = keys.filter(|(key, column)| key.name != **column);
        let names = match is_computed {
            true => (0..joined.features.len()).map(|at| hidden_name(join, at)).collect(),
            // Without anything computed the columns are those of the joins, in their order.
            false => shown.by_ref().take(joined.features.len()).collect(),
        };
        ViewJoin {
            view: joined.view.qualified_name(),
            features: joined.features.clone(),
            names,
            alias: None,
            columns: renamed.map(|(key, column)| (key.name.clone(), column.clone())).collect(),
        }
    });
    joins.collect()
}
