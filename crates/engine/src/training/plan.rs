//! A request made ready: which columns of the spine are read as what, and which columns answer.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_schema::{Fields, Schema, SchemaRef};
use thermae_formats::wire::MAX_JOINS;
use thermae_formats::{FeatureView, JoinKey, Projection, ViewId};
use thermae_tiering::asof::Terms;

use crate::catalogue::{Catalogue, View};
use crate::error::Error;

use super::TrainingError;
use super::column::field;
use super::key::is_key;
use super::request::{Request, ViewJoin};
use super::time::is_time;

/// A request that fits its spine and the catalogue.
pub(super) struct Plan {
    /// Columns of the answer: the spine's, then those of the views.
    pub schema: SchemaRef,
    pub spine: Fields,
    pub time_at: usize,
    pub time_column: String,
    pub key_sets: Vec<KeySet>,
    pub views: Vec<PlanView>,
}

/// Columns of the spine that are one entity's join keys. Views that are asked for by the same ones share it, so
/// that their rows are sorted once.
pub(super) struct KeySet {
    /// Called after the spine's columns, which is what errors name.
    pub join_keys: Vec<JoinKey>,
    /// The column of each.
    pub columns: Vec<usize>,
    /// The views that are joined by it, by their place in [`Plan::views`].
    pub views: Vec<usize>,
}

/// A view to be joined.
pub(super) struct PlanView {
    pub id: ViewId,
    /// `project/name@version`.
    pub name: String,
    pub terms: Terms,
    pub projection: Projection,
    /// Its first column among those of the views.
    pub first_column: usize,
}

impl Plan {
    /// Resolves every name and checks every type.
    pub fn new(
        request: &Request,
        catalogue: &Catalogue,
        spine: &Schema,
    ) -> Result<Self, TrainingError> {
        if request.joins.len() > MAX_JOINS {
            let found = request.joins.len();
            let text = format!("a training read joins {MAX_JOINS} views at most, not {found}");
            return Err(Error::Invalid(text).into());
        }
        let time_column = request.time_column.clone();
        let time_at = column(spine, &time_column, || "the time".to_owned())?;
        let found = spine.field(time_at).data_type();
        if !is_time(found) {
            let (column, found) = (time_column, found.to_string());
            let what = "a time: cast it to a timestamp".to_owned();
            return Err(TrainingError::ColumnType { column, found, what });
        }
        let (mut key_sets, mut views) = (Vec::new(), Vec::new());
        let mut fields = spine.fields().to_vec();
        for join in &request.joins {
            let view = catalogue.resolve(&join.view)?;
            let first_column = fields.len() - spine.fields().len();
            let planned = PlanView::new(request, join, view, first_column)?;
            if !join.names.is_empty() && join.names.len() != planned.projection.len() {
                let (found, wanted) = (join.names.len(), planned.projection.len());
                let text =
                    format!("{found} names are given for {wanted} features of {}", join.view);
                return Err(Error::Invalid(text).into());
            }
            let names = planned.projection.names().enumerate();
            let prefix = join.alias.as_deref().unwrap_or(&view.latest.definition.name);
            fields.extend(names.filter_map(|(at, name)| {
                let value_type = planned.projection.value_type(at)?;
                let full = || request.full_names.then(|| format!("{prefix}__{name}"));
                let given = join.names.get(at).cloned().or_else(full);
                Some(Arc::new(field(given.as_deref().unwrap_or(name), value_type)))
            }));
            add_keys(&mut key_sets, views.len(), join, &view.latest.definition, spine)?;
            views.push(planned);
        }
        let mut names = HashSet::new();
        if let Some(twice) = fields.iter().find(|field| !names.insert(field.name())) {
            return Err(TrainingError::NameTwice { name: twice.name().clone() });
        }
        let schema = Arc::new(Schema::new(fields));
        Ok(Self { schema, spine: spine.fields().clone(), time_at, time_column, key_sets, views })
    }

    /// The answer's name of a view's column.
    pub fn column_name(&self, column: usize) -> &str {
        let field = self.schema.fields().get(self.spine.len() + column);
        field.map_or("", |field| field.name())
    }
}

impl PlanView {
    fn new(
        request: &Request,
        join: &ViewJoin,
        view: &View,
        first_column: usize,
    ) -> Result<Self, TrainingError> {
        let definition = &view.latest.definition;
        let features: Vec<&str> = if join.features.is_empty() {
            definition.features.iter().map(|feature| feature.name.as_str()).collect()
        } else {
            join.features.iter().map(String::as_str).collect()
        };
        let versions: Vec<_> =
            view.schemas.iter().map(|schema| (schema.id, &schema.definition)).collect();
        let projection = Projection::compile(&versions, &features)?;
        let terms = Terms { ttl_us: definition.ttl_us, as_of_known: request.as_of_known };
        Ok(Self { id: view.id, name: view.qualified_name(), terms, projection, first_column })
    }
}

/// Notes that a view is joined by its join keys' columns: in a set that there is, or a new one.
fn add_keys(
    key_sets: &mut Vec<KeySet>,
    view_at: usize,
    join: &ViewJoin,
    definition: &FeatureView,
    spine: &Schema,
) -> Result<(), TrainingError> {
    let is_known = |name: &String| definition.join_keys.iter().any(|key| key.name == *name);
    if let Some(unknown) = join.columns.keys().find(|name| !is_known(name)) {
        let keys: Vec<&str> = definition.join_keys.iter().map(|key| key.name.as_str()).collect();
        let (view, keys) = (&join.view, keys.join(", "));
        let text = format!("view {view:?} has no join key {unknown:?}; it has: {keys}");
        return Err(Error::Invalid(text).into());
    }
    let (mut join_keys, mut columns) = (Vec::new(), Vec::new());
    for key in &definition.join_keys {
        let name = join.columns.get(&key.name).unwrap_or(&key.name);
        let what = || format!("join key {:?} of view {:?}", key.name, join.view);
        let at = column(spine, name, what)?;
        let found = spine.field(at).data_type();
        if !is_key(found, key.key_type) {
            let (column, found) = (name.clone(), found.to_string());
            let what = format!("{}, which is {}", what(), key.key_type);
            return Err(TrainingError::ColumnType { column, found, what });
        }
        join_keys.push(JoinKey::new(name, key.key_type));
        columns.push(at);
    }
    match key_sets.iter_mut().find(|set| set.join_keys == join_keys) {
        Some(set) => set.views.push(view_at),
        None => key_sets.push(KeySet { join_keys, columns, views: vec![view_at] }),
    }
    Ok(())
}

fn column(
    spine: &Schema,
    name: &str,
    what: impl FnOnce() -> String,
) -> Result<usize, TrainingError> {
    spine.index_of(name).map_err(|_| TrainingError::MissingColumn {
        what: what(),
        column: name.to_owned(),
        there: spine.fields().iter().map(|f| f.name().as_str()).collect::<Vec<_>>().join(", "),
    })
}
