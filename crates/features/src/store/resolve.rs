//! From names to what is read, once for each registry version and request.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use thermae_engine::View;
use thermae_engine::store::Plan;
use thermae_formats::ValueType;

use super::ask::What;
use super::computed::Computed;
use crate::error::Error;
use crate::model::{Body, Kind, Lifecycle, Object, Pick, RequestField};
use crate::on_demand;
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
    /// Names of the features, in order: those that were asked for, and those that something is computed from.
    pub features: Vec<String>,
}

/// Where a column of the answer comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A feature of a join, by their places.
    Stored { join: usize, feature: usize },
    /// A feature of an on-demand view, by their places.
    Computed { view: usize, feature: usize },
}

/// A request, found in one version of the registry.
pub(super) struct Resolved {
    /// That version.
    pub published: Arc<Published>,
    /// The views that are read.
    pub joins: Vec<Joined>,
    /// The on-demand views that are computed.
    pub computed: Vec<Computed>,
    /// What the request must bring for them, each once.
    pub request: Vec<RequestField>,
    /// The columns of the answer, in order: what each is called and where it comes from.
    pub columns: Vec<(String, Origin)>,
    /// Their types.
    pub types: Vec<ValueType>,
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
    let mut resolver = Resolver {
        published,
        joins: Vec::new(),
        computed: Vec::new(),
        request: Vec::new(),
        warnings,
    };
    let mut columns: Vec<Vec<(String, Origin, ValueType)>> = vec![Vec::new(); picks.len()];
    // What is stored first, so that what is computed from it shares its reads.
    for is_computed in [false, true] {
        for (pick, columns) in picks.iter().zip(&mut columns) {
            let object = state.find(&[Kind::View, Kind::OnDemand], &pick.view, home)?;
            if (object.id.kind == Kind::OnDemand) == is_computed {
                *columns = resolver.pick(pick, home, full_names)?;
            }
        }
    }
    let columns = columns.into_iter().flatten();
    let (columns, types): (Vec<_>, _) =
        columns.map(|(name, origin, value_type)| ((name, origin), value_type)).unzip();
    check_names(&columns, full_names)?;
    let Resolver { joins, computed, request, warnings, .. } = resolver;
    let joins = joins.into_iter().map(Join::compile).collect::<Result<_, _>>()?;
    let published = Arc::clone(published);
    Ok(Resolved { published, joins, computed, request, columns, types, warnings })
}

fn check_names(columns: &[(String, Origin)], full_names: bool) -> Result<(), Error> {
    let mut names = HashSet::new();
    let Some((twice, _)) = columns.iter().find(|(name, _)| !names.insert(name)) else {
        return Ok(());
    };
    let what = match full_names {
        true => "give a view an alias, or a feature another name",
        false => "ask for full names, or give a feature another name",
    };
    Err(Error::Invalid(format!("the answer would have two columns {twice:?}: {what}")))
}

/// A view of which features are being gathered.
struct Join {
    view: Arc<View>,
    keys: Vec<String>,
    features: Vec<String>,
}

impl Join {
    fn compile(self) -> Result<Joined, Error> {
        let Join { view, keys, features } = self;
        let names: Vec<&str> = features.iter().map(String::as_str).collect();
        Ok(Joined { plan: Plan::compile(&view, &names)?, view, keys, features })
    }
}

struct Resolver<'a> {
    published: &'a Published,
    joins: Vec<Join>,
    computed: Vec<Computed>,
    request: Vec<RequestField>,
    warnings: Vec<String>,
}

impl Resolver<'_> {
    /// The columns that a pick gives.
    fn pick(
        &mut self,
        pick: &Pick,
        home: Option<&str>,
        full_names: bool,
    ) -> Result<Vec<(String, Origin, ValueType)>, Error> {
        let found = self.published.state.pick(pick, home)?;
        note_deprecated(found.object, &mut self.warnings);
        let column = |name: &str| pick.column(name, full_names);
        if let Body::OnDemand(declared) = &found.object.body {
            if let Some(name) = pick.join_keys.keys().next() {
                return Err(Error::Invalid(format!(
                    "{} has no join key {name:?}: it is computed, and what its keys are called in a request is said \
                     by its inputs",
                    found.object.id
                )));
            }
            let view = self.on_demand(found.object)?;
            let place = |name: &&str| {
                let feature = declared.features.iter().position(|known| known.name == **name)?;
                let value_type = declared.features.get(feature)?.value_type.clone();
                Some((column(name), Origin::Computed { view, feature }, value_type))
            };
            return Ok(found.features.iter().filter_map(place).collect());
        }
        let (view, keys) = self.view(pick, found.object)?;
        let join = self.joins.len();
        let features: Vec<String> = found.features.iter().map(|name| (*name).to_owned()).collect();
        let definition = &view.latest.definition;
        let stored = |(feature, name): (usize, &String)| {
            let value_type = definition.feature(name)?.value_type.clone();
            Some((column(name), Origin::Stored { join, feature }, value_type))
        };
        let columns = features.iter().enumerate().filter_map(stored).collect();
        self.joins.push(Join { view, keys, features });
        Ok(columns)
    }

    /// The stored view that a pick is of, and what the request calls its join keys.
    fn view(&self, pick: &Pick, object: &Object) -> Result<(Arc<View>, Vec<String>), Error> {
        let stored = object.as_view().ok_or_else(|| {
            Error::Invalid(format!("{} is computed itself: name what is stored", object.id))
        })?;
        let known = self.published.catalogue.view_at(&stored.project, &stored.name, stored.version);
        let known =
            known.ok_or_else(|| Error::NotFound(format!("{} is not stored yet", object.id)))?;
        let unknown = |name: &&String| !stored.join_keys.iter().any(|key| key.name == **name);
        if let Some(name) = pick.join_keys.keys().find(unknown) {
            return Err(Error::Invalid(format!("{} has no join key {name:?}", object.id)));
        }
        let keys = stored.join_keys.iter().map(|key| pick.request_key(&key.name).to_owned());
        Ok((Arc::clone(known), keys.collect()))
    }

    /// The place of an on-demand view among those that are computed.
    fn on_demand(&mut self, object: &Arc<Object>) -> Result<usize, Error> {
        if let Some(at) = self.computed.iter().position(|known| known.id == object.id) {
            return Ok(at);
        }
        let Body::OnDemand(view) = &object.body else {
            return Err(Error::Invalid(format!("{} is not computed", object.id)));
        };
        let project = object.id.project.as_str();
        let published = self.published;
        let compiled = on_demand::compile(&published.state, view, project)
            .map_err(|e| Error::Invalid(format!("{}: {e}", object.id)))?;
        let mut inputs = Vec::with_capacity(compiled.inputs.len());
        for input in &compiled.inputs {
            let Some(pick) = view.inputs.get(input.pick) else { continue };
            let stored = published.state.pick(pick, Some(project))?.object;
            let (stored, keys) = self.view(pick, stored)?;
            inputs.push(self.stored(stored, keys, &input.feature));
        }
        let request = view.request.iter().map(|field| self.request_field(field, object));
        let request = request.collect::<Result<Vec<_>, _>>()?;
        self.computed.push(Computed {
            id: object.id.clone(),
            inputs,
            request,
            expressions: compiled.expressions,
        });
        Ok(self.computed.len() - 1)
    }

    /// Where a stored feature is read: by a join that there is, or a new one.
    fn stored(&mut self, view: Arc<View>, keys: Vec<String>, name: &str) -> (usize, usize) {
        let same = |join: &Join| join.view.id == view.id && join.keys == keys;
        let at = self.joins.iter().position(same).unwrap_or(self.joins.len());
        if at == self.joins.len() {
            self.joins.push(Join { view, keys, features: Vec::new() });
        }
        let Some(join) = self.joins.get_mut(at) else { return (at, 0) };
        let place = join.features.iter().position(|known| known == name);
        let place = place.unwrap_or_else(|| {
            join.features.push(name.to_owned());
            join.features.len() - 1
        });
        (at, place)
    }

    fn request_field(&mut self, field: &RequestField, object: &Object) -> Result<usize, Error> {
        match self.request.iter().position(|known| known.name == field.name) {
            None => self.request.push(field.clone()),
            Some(at) => match self.request.get(at) {
                Some(known) if known.value_type != field.value_type => {
                    return Err(Error::Invalid(format!(
                        "{} takes the request field {:?} as {}, and another on-demand view of this request as {}: \
                         ask for them apart",
                        object.id, field.name, field.value_type, known.value_type
                    )));
                }
                _ => return Ok(at),
            },
        }
        Ok(self.request.len() - 1)
    }
}

fn note_deprecated(object: &Object, warnings: &mut Vec<String>) {
    if object.about.lifecycle == Lifecycle::Deprecated {
        warnings.push(format!("{} is deprecated", object.id));
    }
}
