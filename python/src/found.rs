//! What names mean in the registry of an embedded store.

use std::collections::HashSet;
use std::sync::Arc;

use thermae_features::model::Body;
use thermae_features::registry::Published;
use thermae_formats::{KeyType, ValueType};

use crate::answer::Columns;
use crate::errors::{Fault, Result};
use crate::resolve::{Asked, note_deprecated};

/// What names mean in one version of the registry.
#[derive(Clone)]
pub struct Found {
    /// The version.
    pub version: u64,
    /// The answer's columns.
    pub columns: Arc<Columns>,
    /// What requests call the join keys, and their types.
    pub keys: Arc<Vec<(String, KeyType)>>,
}

/// What names mean now: the types of columns and join keys.
///
/// # Errors
/// A name that is not there, two columns of one name.
pub fn find(asked: &Asked, published: &Published, warnings: &mut Vec<String>) -> Result<Found> {
    let state = &published.state;
    let (picks, home, noted) = asked.picks(state)?;
    warnings.extend(noted);
    let mut columns = Columns { names: Vec::new(), types: Vec::new(), places: Vec::new() };
    let mut keys: Vec<(String, KeyType)> = Vec::new();
    for pick in &picks {
        let found = state.pick(pick, home.as_deref())?;
        note_deprecated(found.object, warnings);
        for name in &found.features {
            let value_type = type_of(&found.object.body, name).ok_or_else(|| {
                Fault::not_found(format!("{} has no feature {name:?}", found.object.id))
            })?;
            columns.places.push((columns.names.len(), 0));
            columns.names.push(pick.column(name, asked.full_names));
            columns.types.push(value_type);
        }
        for key in found.object.as_view().into_iter().flat_map(|view| &view.join_keys) {
            let name = pick.request_key(&key.name);
            if !keys.iter().any(|(known, _)| known == name) {
                keys.push((name.to_owned(), key.key_type));
            }
        }
    }
    let mut seen = HashSet::new();
    if let Some(name) = columns.names.iter().find(|name| !seen.insert(name.as_str())) {
        return Err(Fault::invalid(format!(
            "the answer would have two columns {name:?}: ask for full names, or give a view an alias"
        )));
    }
    Ok(Found { version: state.version(), columns: Arc::new(columns), keys: Arc::new(keys) })
}

fn type_of(body: &Body, feature: &str) -> Option<ValueType> {
    match body {
        Body::View(view) => Some(view.definition.feature(feature)?.value_type.clone()),
        Body::OnDemand(view) => {
            let mut features = view.features.iter();
            Some(features.find(|known| known.name == feature)?.value_type.clone())
        }
        _ => None,
    }
}
