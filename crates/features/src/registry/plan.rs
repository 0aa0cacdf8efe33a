//! What definitions would change: a pure function of a state and of them.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use thermae_formats::FeatureView;

use super::check::check;
use super::compat::{self, Difference};
use crate::definitions::Definitions;
use crate::error::{Error, Refusal};
use crate::lineage::{Lineage, Node};
use crate::model::{About, Body, Kind, Lifecycle, Object, ObjectId, quarantine_of};
use crate::rules;
use crate::state::State;

/// Most objects of a registry.
pub const MAX_OBJECTS: usize = 100_000;

/// What becomes of one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeAction {
    /// It is new.
    Created,
    /// It changes.
    Updated,
    /// It is so already.
    Unchanged,
}

/// What definitions do to one object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The object, as in `feature view nyc/weather@1`.
    pub object: String,
    /// Its kind.
    pub kind: Kind,
    /// What becomes of it.
    pub action: ChangeAction,
    /// One line a difference.
    pub lines: Vec<String>,
    /// Services and models that read what changes.
    pub affects: Vec<String>,
    #[serde(skip)]
    pub(super) id: ObjectId,
}

/// What definitions would change.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The version that it changes.
    pub base: u64,
    /// Every object of the definitions, in their order, and behind them the quarantines of their views.
    pub changes: Vec<Change>,
    pub(super) next: State,
}

impl Plan {
    /// Whether anything changes at all.
    pub fn is_empty(&self) -> bool {
        self.changes.iter().all(|change| change.action == ChangeAction::Unchanged)
    }

    /// The version afterwards.
    pub fn version(&self) -> u64 {
        self.next.version
    }

    /// The objects that are new or change, as they will be.
    pub fn changed(&self) -> impl Iterator<Item = &Arc<Object>> {
        let is_changed = |change: &&Change| change.action != ChangeAction::Unchanged;
        let changes = self.changes.iter().filter(is_changed);
        changes.filter_map(|change| self.next.objects.get(&change.id))
    }

    /// The feature views among them.
    pub fn changed_views(&self) -> Vec<FeatureView> {
        self.changed().filter_map(|object| object.as_view().cloned()).collect()
    }
}

impl fmt::Display for Plan {
    /// What a person wants to see before it is done.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut unchanged = 0;
        for change in &self.changes {
            let sign = match change.action {
                ChangeAction::Created => '+',
                ChangeAction::Updated => '~',
                ChangeAction::Unchanged => {
                    unchanged += 1;
                    continue;
                }
            };
            writeln!(f, "{sign} {}", change.object)?;
            for line in &change.lines {
                writeln!(f, "    {line}")?;
            }
            if !change.affects.is_empty() {
                writeln!(f, "    read by {}", change.affects.join(", "))?;
            }
        }
        if self.is_empty() {
            return writeln!(f, "nothing changes; the registry stays at version {}", self.base);
        }
        if unchanged > 0 {
            writeln!(f, "  {unchanged} more stay as they are")?;
        }
        writeln!(f, "registry version {} -> {}", self.base, self.next.version)
    }
}

/// Decides what definitions change; all are accepted or none.
///
/// # Errors
/// [`Error::Refused`] with every object that cannot be as it is defined, and why.
pub fn plan(state: &State, definitions: &Definitions) -> Result<Plan, Error> {
    let mut next = state.clone();
    let mut refusals = Vec::new();
    let quarantines: Vec<Object> = definitions.objects.iter().filter_map(quarantine).collect();
    let mut changes = Vec::with_capacity(definitions.objects.len() + quarantines.len());
    let mut seen = BTreeSet::new();
    for object in definitions.objects.iter().chain(&quarantines) {
        if let Err(error) = object.validate().and_then(|()| rules::check(object)) {
            refusals.push(Refusal::wrong(&object.id, error));
            continue;
        }
        if !seen.insert(&object.id) {
            refusals.push(Refusal::wrong(&object.id, "it is defined twice".to_owned()));
            continue;
        }
        let (action, lines) = match state.objects.get(&object.id) {
            None => (ChangeAction::Created, compat::summary(object)),
            Some(old) => match compat::difference(old, object) {
                Ok(Difference::None) => (ChangeAction::Unchanged, Vec::new()),
                Ok(Difference::Compatible(lines)) => (ChangeAction::Updated, lines),
                Err(reason) => {
                    refusals.push(Refusal::incompatible(&object.id, reason));
                    continue;
                }
            },
        };
        if action != ChangeAction::Unchanged {
            next.objects.insert(object.id.clone(), Arc::new(object.clone()));
        }
        let (text, kind) = (object.id.to_string(), object.id.kind);
        let (affects, id) = (Vec::new(), object.id.clone());
        changes.push(Change { object: text, kind, action, lines, affects, id });
    }
    if next.objects.len() > MAX_OBJECTS {
        let count = next.objects.len();
        let reason = format!("there would be {count} objects, the limit is {MAX_OBJECTS}");
        refusals.push(Refusal::wrong(&definitions.project, reason));
    }
    if refusals.is_empty() {
        refusals = check(&next);
    }
    if !refusals.is_empty() {
        return Err(Error::Refused(refusals));
    }
    if changes.iter().any(|change| change.action != ChangeAction::Unchanged) {
        next.version += 1;
        note_readers(&next, &mut changes);
    }
    Ok(Plan { base: state.version, changes, next })
}

/// The view that keeps rows of another that fail its checks, if some are to be kept.
fn quarantine(object: &Object) -> Option<Object> {
    let Body::View(view) = &object.body else { return None };
    let about = About { lifecycle: Lifecycle::Active, ..object.about.clone() };
    let is_kept = view.rules.has_quarantine();
    is_kept.then(|| Object::of_view(quarantine_of(&view.definition, &view.rules), None, about))
}

/// Says of each view that changes who reads it.
fn note_readers(next: &State, changes: &mut [Change]) {
    let is_update = |change: &Change| change.action == ChangeAction::Updated;
    if !changes.iter().any(is_update) {
        return;
    }
    let lineage = Lineage::of(next);
    for change in changes.iter_mut().filter(|change| is_update(change)) {
        let below = lineage.downstream(&Node::Object(change.id.clone()));
        change.affects = below
            .into_iter()
            .filter_map(|node| match node {
                Node::Object(id) if matches!(id.kind, Kind::Service | Kind::Model) => {
                    Some(id.to_string())
                }
                _ => None,
            })
            .collect();
    }
}
