//! From names to what is read, once for each registry version and request.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use thermae_engine::View;
use thermae_engine::store::Plan;

use super::ask::What;
use crate::error::Error;
use crate::model::{Body, Kind, Lifecycle, Object, Pick};
use crate::registry::Published;

/// Requests that are remembered of one version.
const CACHED_MAX: usize = 1_024;

/// Features of one view, found.
pub(super) struct Joined {
    /// The view.
    pub view: Arc<View>,
    /// Compiled for reading.
    pub plan: Plan,
    /// What the request calls the view's join keys, in their order.
    pub keys: Vec<String>,
    /// Names of the features, in order.
    pub features: Vec<String>,
    /// What the answer calls them.
    pub columns: Vec<String>,
}

/// A request, found in one version of the registry.
pub(super) struct Resolved {
    /// That version.
    pub published: Arc<Published>,
    /// The views, in the order of the answer.
    pub joins: Vec<Joined>,
    /// What the reader should know: what it reads is deprecated.
    pub warnings: Vec<String>,
}

/// What was found for the present version.
#[derive(Default)]
pub(super) struct Cache {
    found: RwLock<Found>,
}

type Found = (u64, HashMap<(What, bool), Arc<Resolved>>);

impl Cache {
    /// What a request means in a version of the registry.
    ///
    /// # Errors
    /// A name that is not there, or two columns of one name.
    pub fn resolve(
        &self,
        published: &Arc<Published>,
        what: &What,
        full_names: bool,
    ) -> Result<Arc<Resolved>, Error> {
        let key = (what.clone(), full_names);
        {
            let found = self.found.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(resolved) = found.1.get(&key)
                && Arc::ptr_eq(&resolved.published, published)
            {
                return Ok(Arc::clone(resolved));
            }
        }
        let resolved = Arc::new(resolve(published, what, full_names)?);
        let mut found = self.found.write().unwrap_or_else(PoisonError::into_inner);
        let version = published.state.version();
        if found.0 != version || found.1.len() >= CACHED_MAX {
            *found = (version, HashMap::new());
        }
        found.1.insert(key, Arc::clone(&resolved));
        Ok(resolved)
    }
}

fn resolve(published: &Arc<Published>, what: &What, full_names: bool) -> Result<Resolved, Error> {
    let state = &published.state;
    let mut warnings = Vec::new();
    let (picks, home) = match what {
        What::Wrong(reason) => return Err(Error::Invalid(reason.clone())),
        What::Picks(picks) => (picks.as_slice(), None),
        What::Service(name) => {
            let object = state.find(&[Kind::Service], name, None)?;
            note_deprecated(object, &mut warnings);
            let Body::Service(service) = &object.body else {
                return Err(Error::NotFound(format!("{} is no service", object.id)));
            };
            (service.features.as_slice(), Some(object.id.project.as_str()))
        }
    };
    if picks.is_empty() {
        return Err(Error::Invalid("no features are asked for".to_owned()));
    }
    let mut joins = Vec::with_capacity(picks.len());
    let mut names = HashSet::new();
    for pick in picks {
        let joined = join(published, pick, home, full_names, &mut warnings)?;
        for column in &joined.columns {
            if !names.insert(column.clone()) {
                let what = match full_names {
                    true => "give a view an alias, or a feature another name",
                    false => "ask for full names, or give a feature another name",
                };
                return Err(Error::Invalid(format!(
                    "the answer would have two columns {column:?}: {what}"
                )));
            }
        }
        joins.push(joined);
    }
    Ok(Resolved { published: Arc::clone(published), joins, warnings })
}

fn join(
    published: &Published,
    pick: &Pick,
    home: Option<&str>,
    full_names: bool,
    warnings: &mut Vec<String>,
) -> Result<Joined, Error> {
    let found = published.state.pick(pick, home)?;
    let object = found.object;
    note_deprecated(object, warnings);
    let view = object.as_view().ok_or_else(|| {
        Error::Invalid(format!("{} is declared, and not computed yet", object.id))
    })?;
    let known = published.catalogue.view_at(&view.project, &view.name, view.version);
    let known = known.ok_or_else(|| Error::NotFound(format!("{} is not stored yet", object.id)))?;
    let unknown = |name: &&String| !view.join_keys.iter().any(|key| key.name == **name);
    if let Some(name) = pick.join_keys.keys().find(unknown) {
        return Err(Error::Invalid(format!("{} has no join key {name:?}", object.id)));
    }
    let keys = view.join_keys.iter().map(|key| pick.request_key(&key.name).to_owned()).collect();
    let columns = found.features.iter().map(|name| pick.column(name, full_names)).collect();
    Ok(Joined {
        plan: Plan::compile(known, &found.features)?,
        view: Arc::clone(known),
        keys,
        features: found.features.into_iter().map(str::to_owned).collect(),
        columns,
    })
}

fn note_deprecated(object: &Object, warnings: &mut Vec<String>) {
    if object.about.lifecycle == Lifecycle::Deprecated {
        warnings.push(format!("{} is deprecated", object.id));
    }
}
