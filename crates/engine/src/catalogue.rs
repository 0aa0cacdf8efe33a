//! The schema catalogue: an immutable snapshot, replaced whole when definitions change.
//!
//! A view is named by (project, name, version). Compatible changes add schemas to it; rows of
//! every schema stay readable through the latest. Incompatible ones need a new version, which is
//! another view served side by side.

use std::collections::BTreeMap;
use std::sync::Arc;

use thermae_formats::catalogue::{CatalogueEntry, SchemaId, ViewId};
use thermae_formats::row::RowLayout;
use thermae_formats::schema_change::differences;
use thermae_formats::{Change, FeatureView, KeyType};

use crate::error::Error;

/// Schemas a store can hold: the row header has 16 bits for them.
pub const SCHEMAS_MAX: usize = u16::MAX as usize;

/// One schema of a view, compiled.
#[derive(Debug)]
pub struct Schema {
    /// Store-wide id, as rows carry it.
    pub id: SchemaId,
    /// The view it belongs to.
    pub view_id: ViewId,
    /// Features, keys and policy.
    pub definition: FeatureView,
    /// Where each feature lies in a row.
    pub layout: RowLayout,
    /// Types of the join keys, in order.
    pub key_types: Vec<KeyType>,
}

impl Schema {
    fn compile(entry: &CatalogueEntry) -> Result<Schema, Error> {
        let definition = entry.view.clone();
        let layout = RowLayout::new(&definition.features)
            .map_err(|e| Error::Invalid(format!("{}: {e}", qualified(&definition))))?;
        let key_types = definition.join_keys.iter().map(|key| key.key_type).collect();
        Ok(Schema { id: entry.schema_id, view_id: entry.view_id, definition, layout, key_types })
    }
}

/// A feature view with every schema it has had, oldest first.
#[derive(Debug)]
pub struct View {
    /// Store-wide id.
    pub id: ViewId,
    /// The schema that new rows are written by, with the present policy.
    pub latest: Arc<Schema>,
    /// All schemas, oldest first; the last is `latest`.
    pub schemas: Vec<Arc<Schema>>,
    schema_ids: Vec<u16>,
}

impl View {
    /// Ids of every schema whose rows belong to this view.
    pub fn schema_ids(&self) -> &[u16] {
        &self.schema_ids
    }

    /// `project/name@version`.
    pub fn qualified_name(&self) -> String {
        qualified(&self.latest.definition)
    }

    fn with(mut schemas: Vec<Arc<Schema>>, schema: Arc<Schema>) -> View {
        match schemas.iter_mut().find(|known| known.id == schema.id) {
            Some(known) => *known = Arc::clone(&schema),
            None => schemas.push(Arc::clone(&schema)),
        }
        let latest = schemas.last().cloned().unwrap_or(schema);
        let schema_ids = schemas.iter().map(|schema| schema.id.0).collect();
        View { id: latest.view_id, latest, schemas, schema_ids }
    }
}

/// What applying one definition did.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Applied {
    /// `project/name@version`.
    pub view: String,
    /// Created, updated or unchanged.
    pub action: Action,
    /// The view's id.
    pub view_id: u32,
    /// The schema that rows are written by from now on.
    pub schema_id: u16,
}

/// The change that a definition made.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The view is new.
    Created,
    /// It changed; one line a difference.
    Updated(Vec<String>),
    /// It was so already.
    Unchanged,
}

/// Every view and schema of a store at one time.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    by_name: BTreeMap<(String, String, u32), ViewId>,
    views: Vec<Arc<View>>,
    schemas: Vec<Arc<Schema>>,
    generation: u64,
    limits_hot: bool,
}

impl Catalogue {
    /// Whether any view limits how long its rows stay hot.
    pub fn limits_hot(&self) -> bool {
        self.limits_hot
    }

    /// The view of the highest version under a name.
    pub fn view(&self, project: &str, name: &str) -> Option<&Arc<View>> {
        let low = (project.to_owned(), name.to_owned(), 0);
        let high = (project.to_owned(), name.to_owned(), u32::MAX);
        let (_, id) = self.by_name.range(low..=high).next_back()?;
        self.view_by_id(*id)
    }

    /// The view of one version of a name.
    pub fn view_at(&self, project: &str, name: &str, version: u32) -> Option<&Arc<View>> {
        let id = self.by_name.get(&(project.to_owned(), name.to_owned(), version))?;
        self.view_by_id(*id)
    }

    /// Resolves `name`, `project/name` or either with `@version`. A bare name must be unique
    /// among projects.
    ///
    /// # Errors
    /// `NotFound` names what there is; `Invalid` tells that a bare name is ambiguous.
    pub fn resolve(&self, text: &str) -> Result<&Arc<View>, Error> {
        let (path, version) = match text.split_once('@') {
            Some((path, version)) => {
                let version = version.parse::<u32>().map_err(|_| {
                    Error::Invalid(format!("{text:?}: {version:?} is not a version number"))
                })?;
                (path, Some(version))
            }
            None => (text, None),
        };
        let (project, name) = match path.split_once('/') {
            Some((project, name)) => (Some(project), name),
            None => (None, path),
        };
        if let Some(project) = project {
            let found = match version {
                Some(version) => self.view_at(project, name, version),
                None => self.view(project, name),
            };
            return found.ok_or_else(|| self.unknown(text));
        }
        let mut found: Vec<_> = self
            .by_name
            .iter()
            .filter(|((_, n, v), _)| n == name && version.is_none_or(|w| w == *v))
            .collect();
        if let (Some(((first, ..), _)), Some(((last, ..), _))) = (found.first(), found.last())
            && first != last
        {
            return Err(Error::Invalid(format!(
                "view {name:?} exists in projects {first:?} and {last:?}: write project/{name}"
            )));
        }
        found.pop().and_then(|(_, id)| self.view_by_id(*id)).ok_or_else(|| self.unknown(text))
    }

    fn unknown(&self, text: &str) -> Error {
        let known: Vec<String> = self.views.iter().map(|view| view.qualified_name()).collect();
        let known = if known.is_empty() {
            "there are none yet: apply a definition first".to_owned()
        } else {
            format!("there are {}", known.join(", "))
        };
        Error::NotFound(format!("no feature view {text:?}; {known}"))
    }

    /// The view with an id.
    pub fn view_by_id(&self, id: ViewId) -> Option<&Arc<View>> {
        self.views.get(id.0 as usize)
    }

    /// The schema with an id.
    pub fn schema(&self, id: SchemaId) -> Option<&Arc<Schema>> {
        self.schemas.get(usize::from(id.0))
    }

    /// The view that rows of a schema belong to.
    pub fn view_of_schema(&self, id: SchemaId) -> Option<&Arc<View>> {
        self.schema(id).and_then(|schema| self.view_by_id(schema.view_id))
    }

    /// All views, by id.
    pub fn views(&self) -> impl Iterator<Item = &Arc<View>> {
        self.views.iter()
    }

    /// All schemas, by id.
    pub fn schemas(&self) -> impl Iterator<Item = &Arc<Schema>> {
        self.schemas.iter()
    }

    /// The same, counted as after `generation` entries.
    pub fn at_generation(self, generation: u64) -> Catalogue {
        Catalogue { generation, ..self }
    }

    /// Counts the entries applied: two snapshots of one store with equal generations are equal.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Decides what a set of definitions changes; all are accepted or none.
    ///
    /// # Errors
    /// The first definition that is invalid or incompatible.
    pub fn plan(
        &self,
        definitions: &[FeatureView],
    ) -> Result<(Vec<CatalogueEntry>, Vec<Applied>), Error> {
        let mut next = self.clone();
        let mut entries = Vec::new();
        let mut applied = Vec::new();
        for definition in definitions {
            let (entry, action) = next.plan_one(definition)?;
            applied.push(Applied {
                view: qualified(definition),
                view_id: entry.view_id.0,
                schema_id: entry.schema_id.0,
                action: action.clone(),
            });
            if action != Action::Unchanged {
                next.add(&entry)?;
                entries.push(entry);
            }
        }
        Ok((entries, applied))
    }

    fn plan_one(&self, definition: &FeatureView) -> Result<(CatalogueEntry, Action), Error> {
        let view = qualified(definition);
        definition.validate().map_err(|e| Error::Invalid(format!("feature view {view}: {e}")))?;
        let name = (definition.project.clone(), definition.name.clone(), definition.version);
        let fresh = || -> Result<SchemaId, Error> {
            if self.schemas.len() >= SCHEMAS_MAX {
                return Err(Error::Invalid(format!("a store holds at most {SCHEMAS_MAX} schemas")));
            }
            Ok(SchemaId(self.schemas.len() as u16))
        };
        let entry =
            |schema_id, view_id| CatalogueEntry { schema_id, view_id, view: definition.clone() };
        let Some(current) = self.by_name.get(&name).and_then(|id| self.view_by_id(*id)) else {
            let view_id = ViewId(self.views.len() as u32);
            return Ok((entry(fresh()?, view_id), Action::Created));
        };
        let old = &current.latest.definition;
        let change = definition
            .change_from(old)
            .map_err(|source| Error::Incompatible { view: view.clone(), source })?;
        Ok(match change {
            Change::None => (entry(current.latest.id, current.id), Action::Unchanged),
            Change::Policy => (
                entry(current.latest.id, current.id),
                Action::Updated(differences(old, definition)),
            ),
            Change::Compatible => {
                (entry(fresh()?, current.id), Action::Updated(differences(old, definition)))
            }
        })
    }

    /// Adds one entry, as planned or as read back from the log.
    ///
    /// # Errors
    /// `Invalid` when the entry does not follow from this catalogue; nothing is added then.
    pub fn add(&mut self, entry: &CatalogueEntry) -> Result<(), Error> {
        let schema = Arc::new(Schema::compile(entry)?);
        let (schema_at, view_at) = (usize::from(entry.schema_id.0), entry.view_id.0 as usize);
        if schema_at > self.schemas.len() || view_at > self.views.len() {
            return Err(Error::Invalid(format!(
                "catalogue entry for schema {schema_at} of view {view_at} skips ids"
            )));
        }
        match self.schemas.get_mut(schema_at) {
            Some(known) if known.view_id == entry.view_id => *known = Arc::clone(&schema),
            Some(_) => {
                return Err(Error::Invalid(format!("schema {schema_at} belongs to another view")));
            }
            None => self.schemas.push(Arc::clone(&schema)),
        }
        let before = self.views.get(view_at).map(|view| view.schemas.clone()).unwrap_or_default();
        let view = Arc::new(View::with(before, schema));
        match self.views.get_mut(view_at) {
            Some(known) => *known = view,
            None => self.views.push(view),
        }
        let view = &entry.view;
        let name = (view.project.clone(), view.name.clone(), view.version);
        self.by_name.insert(name, entry.view_id);
        self.generation += 1;
        let has_limit = |view: &Arc<View>| view.latest.definition.tiers.hot_for_us > 0;
        self.limits_hot = self.views.iter().any(has_limit);
        Ok(())
    }
}

fn qualified(view: &FeatureView) -> String {
    format!("{}/{}@{}", view.project, view.name, view.version)
}
