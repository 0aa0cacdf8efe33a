//! How feature views do: how fresh they are, against what was promised, and how many rows failed checks.

use serde::Serialize;
use thermae_env::Env;
use thermae_formats::ViewId;

use super::FeatureStore;
use crate::error::Error;
use crate::model::{Body, Lifecycle};
use crate::registry::Published;
use crate::validation::ViewFigures;

/// How one feature view does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ViewHealth {
    /// Its project.
    pub project: String,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// The newest event time of its rows, microseconds UTC, if one is known.
    pub newest_event_time: Option<i64>,
    /// How old it may be, microseconds; 0 is without limit.
    pub fresh_within_us: i64,
    /// By how much it is older than it may be, microseconds; none if it is not. A view with a limit of which no row is
    /// known is late, by nothing that can be told.
    pub late_by_us: Option<i64>,
    /// Rows that failed its checks since [`FeatureStore::opened_us`], if it has any.
    pub checks: Option<ViewFigures>,
}

impl<E: Env> FeatureStore<E> {
    /// How each feature view does that is not retired: its freshness is that of rows written and, after the store was
    /// opened, of those that [`FeatureStore::note_freshness`] kept and those in memory.
    pub fn health(&self) -> Vec<ViewHealth> {
        let (published, now_us) = (self.registry.published(), self.env.now_us());
        let newest = self.newest(&published);
        let objects = published.state.objects();
        let views = objects.filter(|object| object.about.lifecycle != Lifecycle::Retired);
        let health = views.filter_map(|object| {
            let Body::View(view) = &object.body else { return None };
            let id = &object.id;
            let known = published.catalogue.view_at(&id.project, &id.name, id.version)?;
            let newest = newest.get(known.id.0 as usize).copied().flatten();
            let fresh_within_us = view.rules.fresh_within_us;
            let due = now_us.saturating_sub(fresh_within_us);
            let late_by_us = match newest {
                _ if fresh_within_us == 0 => None,
                None => Some(0),
                Some(newest) => (newest < due).then(|| due.saturating_sub(newest)),
            };
            Some(ViewHealth {
                project: id.project.clone(),
                name: id.name.clone(),
                version: id.version,
                newest_event_time: newest,
                fresh_within_us,
                late_by_us,
                checks: published.rules.figures(known.id),
            })
        });
        health.collect()
    }

    /// Keeps the newest event times of views that have a limit of freshness, so that they are known when the store is
    /// opened again. What did not change is not written.
    ///
    /// # Errors
    /// The registry's database cannot be written.
    pub fn note_freshness(&self) -> Result<(), Error> {
        let published = self.registry.published();
        let newest = self.newest(&published);
        let mut marks = Vec::new();
        for (key, view) in limited(&published) {
            if let Some(Some(newest)) = newest.get(view.0 as usize)
                && let Ok(newest) = u64::try_from(*newest)
                && self.registry.watermark(&key) < newest
            {
                marks.push((key, newest));
            }
        }
        self.registry.set_watermarks(&marks)
    }

    /// What a check that refused a row of a view is called, by its number in the refusal.
    pub fn rule_name(&self, view: ViewId, number: u16) -> Option<String> {
        self.registry.published().rules.rule_name(view, number).map(str::to_owned)
    }

    /// What the rules of a view are called, by number, and which of its features are computed.
    pub fn rule_names(&self, view: ViewId) -> (Vec<String>, Vec<String>) {
        self.registry.published().rules.rule_names(view)
    }

    /// By view id, the newest event time that is known.
    fn newest(&self, published: &Published) -> Vec<Option<i64>> {
        let stats = self.handle.stats();
        let mut newest: Vec<Option<i64>> =
            stats.views.iter().map(|view| view.newest_event_time).collect();
        for (key, view) in limited(published) {
            let kept = match self.registry.watermark(&key) {
                0 => None,
                kept => i64::try_from(kept).ok(),
            };
            if let Some(newest) = newest.get_mut(view.0 as usize) {
                *newest = (*newest).max(kept);
            }
        }
        newest
    }
}

/// Views with a limit of freshness, and the names of their marks in the registry. Those of loads begin with a
/// project and a slash.
fn limited(published: &Published) -> impl Iterator<Item = (String, ViewId)> {
    published.state.objects().filter_map(|object| {
        let Body::View(view) = &object.body else { return None };
        let id = &object.id;
        let known = published.catalogue.view_at(&id.project, &id.name, id.version)?;
        let key = format!("fresh {}/{}@{}", id.project, id.name, id.version);
        (view.rules.fresh_within_us > 0).then_some((key, known.id))
    })
}
