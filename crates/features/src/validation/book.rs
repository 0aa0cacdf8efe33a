//! The rules of all views, as of one version of the registry, and what they have counted.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use thermae_engine::{Catalogue, Schema, WriteBatch, WriteKind};
use thermae_formats::ViewId;

use super::quarantine::Rate;
use super::window::{Recent, Window};
use crate::model::{Body, Object, OnFailure, quarantine_name};
use crate::rules::{Compiled, Test};
use crate::state::State;

/// By view: its rules. Views without any are not here.
#[derive(Debug, Default)]
pub struct Book {
    views: HashMap<ViewId, Arc<ViewRules>>,
}

/// The rules of one view.
#[derive(Debug)]
pub(super) struct ViewRules {
    object: Arc<Object>,
    /// What rows are written by now.
    pub schema: Arc<Schema>,
    /// What rows of its quarantine are written by, if it has one.
    pub quarantine: Option<Arc<Schema>>,
    /// None where they no longer fit the view, which the registry rules out: nothing is written then.
    pub compiled: Result<Compiled, String>,
    pub counts: Arc<Counts>,
    /// By number of the rule.
    pub checks: Vec<Arc<CheckCounts>>,
}

/// What was counted of a view since the store was opened.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub refused: AtomicU64,
    pub quarantined: AtomicU64,
    pub warned: AtomicU64,
    pub rate: Rate,
}

/// What was counted of a check since the store was opened.
#[derive(Debug, Default)]
pub(super) struct CheckCounts {
    pub failed: AtomicU64,
    pub window: Window,
}

/// Rows that failed checks of a view, since the store was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ViewFigures {
    /// Rows that were not written.
    pub refused: u64,
    /// Rows that went into quarantine.
    pub quarantined: u64,
    /// Rows that were written all the same.
    pub warned: u64,
    /// Its checks, by number; computed features stand behind them, for rows that do not fit those.
    pub checks: Vec<CheckFigures>,
}

/// Rows that failed one check, since the store was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CheckFigures {
    /// What it tests.
    pub check: String,
    /// What becomes of rows that fail.
    pub on_failure: &'static str,
    /// How many have.
    pub failed: u64,
    /// Of a null rate: the last rows that it looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recent: Option<Recent>,
}

impl Book {
    /// The rules of a registry's version. What `before` has of views that are as they were is taken over, and of
    /// checks that are called the same what they have counted.
    pub fn new(state: &State, catalogue: &Catalogue, before: &Book) -> Self {
        let mut views = HashMap::new();
        for object in state.objects() {
            let Body::View(view) = &object.body else { continue };
            if view.rules.computed.is_empty() && view.rules.checks.is_empty() {
                continue;
            }
            let id = &object.id;
            let Some(known) = catalogue.view_at(&id.project, &id.name, id.version) else {
                continue;
            };
            let quarantine = view
                .rules
                .has_quarantine()
                .then(|| catalogue.view_at(&id.project, &quarantine_name(&id.name), id.version));
            let quarantine = quarantine.flatten().map(|view| Arc::clone(&view.latest));
            let same = before.views.get(&known.id).filter(|rules| {
                Arc::ptr_eq(&rules.object, object)
                    && Arc::ptr_eq(&rules.schema, &known.latest)
                    && rules.quarantine.as_ref().map(|schema| schema.id)
                        == quarantine.as_ref().map(|schema| schema.id)
            });
            let rules = same.cloned().unwrap_or_else(|| {
                let (object, schema) = (Arc::clone(object), Arc::clone(&known.latest));
                let compiled = Compiled::new(&view.rules, &schema.definition);
                let before = before.views.get(&known.id).map(Arc::as_ref);
                Arc::new(ViewRules::new(object, schema, quarantine, compiled, before))
            });
            views.insert(known.id, rules);
        }
        Book { views }
    }

    /// Judges the rows of a batch: fills in what is computed, makes rows of the quarantine of those that go there,
    /// and marks what is not to be written.
    pub fn admit(
        &self,
        batch: &mut WriteBatch,
        catalogue: &Catalogue,
        now_us: impl FnOnce() -> i64,
    ) {
        if self.views.is_empty() {
            return;
        }
        let mut by_view: BTreeMap<ViewId, Vec<u32>> = BTreeMap::new();
        for (index, row) in (0..).zip(&batch.rows) {
            let is_put = matches!(row.kind, WriteKind::Put | WriteKind::Partial { .. });
            if is_put && self.views.contains_key(&row.view_id) {
                by_view.entry(row.view_id).or_default().push(index);
            }
        }
        if by_view.is_empty() {
            return;
        }
        let (now_us, mut verdicts) = (now_us(), Vec::new());
        for (view, rows) in by_view {
            if let Some(rules) = self.rules(view) {
                rules.admit(batch, &rows, catalogue, now_us, &mut verdicts);
            }
        }
        verdicts.sort_unstable_by_key(|(row, _)| *row);
        batch.mark(verdicts);
    }

    fn rules(&self, view: ViewId) -> Option<&ViewRules> {
        self.views.get(&view).map(Arc::as_ref)
    }

    /// What rule `number` of a view is called.
    pub fn rule_name(&self, view: ViewId, number: u16) -> Option<&str> {
        match &self.rules(view)?.compiled {
            Ok(compiled) => compiled.rules().nth(usize::from(number)).map(|(name, _)| name),
            Err(why) => Some(why),
        }
    }

    /// What the rules of a view are called, by number, and which of its features are computed.
    pub fn rule_names(&self, view: ViewId) -> (Vec<String>, Vec<String>) {
        let Some(rules) = self.rules(view) else { return Default::default() };
        let named = rules.compiled.as_ref().into_iter().flat_map(Compiled::rules);
        let names = named.map(|(name, _)| name.to_owned()).collect();
        let computed = rules.object.rules().into_iter().flat_map(|rules| rules.computed.keys());
        (names, computed.cloned().collect())
    }

    /// What was counted of a view, if it has rules.
    pub fn figures(&self, view: ViewId) -> Option<ViewFigures> {
        let rules = self.rules(view)?;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let named = rules.compiled.as_ref().into_iter().flat_map(Compiled::rules);
        let tests = rules.compiled.as_ref().into_iter().flat_map(|compiled| &compiled.checks);
        let rates: Vec<bool> = tests.map(|c| matches!(c.test, Test::NullRate(_))).collect();
        let checks =
            named.zip(&rules.checks).enumerate().map(|(at, ((name, on_failure), counts))| {
                let is_rate = rates.get(at).copied().unwrap_or(false);
                CheckFigures {
                    check: name.to_owned(),
                    on_failure: on_failure.name(),
                    failed: read(&counts.failed),
                    recent: is_rate.then(|| counts.window.recent()),
                }
            });
        let counts = &rules.counts;
        Some(ViewFigures {
            refused: read(&counts.refused),
            quarantined: read(&counts.quarantined),
            warned: read(&counts.warned),
            checks: checks.collect(),
        })
    }
}

impl ViewRules {
    fn new(
        object: Arc<Object>,
        schema: Arc<Schema>,
        quarantine: Option<Arc<Schema>>,
        compiled: Result<Compiled, String>,
        before: Option<&ViewRules>,
    ) -> Self {
        let counted = |(name, _): (&str, OnFailure)| {
            let before = before?;
            let at = before.compiled.as_ref().ok()?.rules().position(|(known, _)| known == name)?;
            before.checks.get(at).cloned()
        };
        let rules = compiled.as_ref().into_iter().flat_map(Compiled::rules);
        let checks = rules.map(|rule| counted(rule).unwrap_or_default()).collect();
        let counts = before.map(|before| Arc::clone(&before.counts)).unwrap_or_default();
        ViewRules { object, schema, quarantine, compiled, counts, checks }
    }
}
