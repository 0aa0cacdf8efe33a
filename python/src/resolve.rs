//! From names to a plan of the client: services, aliases, renamed keys and columns.

use std::collections::HashSet;
use std::sync::Arc;

use serde::Deserialize;
use thermae_client::{Client, ComputedPlan, ComputedQuery, Plan, ViewFeatures};
use thermae_features::State;
use thermae_features::model::{Body, Kind, Lifecycle, Name, Object, Pick};

use crate::answer::Columns;
use crate::errors::{Fault, Result};

/// What is asked for, as the caller wrote it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Features of views, or those of a service.
    pub what: What,
    /// Columns are called `view__feature`.
    pub full_names: bool,
}

/// Features of views, or those of a service.
#[derive(Clone, Debug)]
pub enum What {
    /// `[ALIAS=]VIEW[@VERSION][:f1,f2]` each.
    Features(Vec<Pick>),
    /// `NAME`, `PROJECT/NAME`, either with `@VERSION`.
    Service(Name),
}

impl Asked {
    /// From texts: a service's name, or else features. `project` is meant where none is named.
    ///
    /// # Errors
    /// A text that names nothing.
    pub fn of(
        features: Option<&[String]>,
        service: Option<&str>,
        full_names: bool,
        project: Option<&str>,
    ) -> Result<Self> {
        let home = |mut name: Name| {
            name.project = name.project.or_else(|| project.map(str::to_owned));
            name
        };
        let what = match (features, service) {
            (None, Some(service)) => What::Service(home(service.parse().map_err(Fault::invalid)?)),
            (Some(features), None) if !features.is_empty() => {
                let picks = features.iter().map(|text| {
                    let pick = pick(text)?;
                    Ok(Pick { view: home(pick.view.clone()), ..pick })
                });
                What::Features(joined(picks.collect::<Result<Vec<_>>>()?))
            }
            _ => {
                return Err(Fault::invalid(
                    "ask for features or for a service, and for one of them",
                ));
            }
        };
        Ok(Asked { what, full_names })
    }

    /// The picks, their project where they name none, and what the reader should know.
    ///
    /// # Errors
    /// A service that is not there.
    pub fn picks(&self, state: &State) -> Result<(Vec<Pick>, Option<String>, Vec<String>)> {
        let name = match &self.what {
            What::Features(picks) => return Ok((picks.clone(), None, Vec::new())),
            What::Service(name) => name,
        };
        let object = state.find(&[Kind::Service], name, None)?;
        let mut warnings = Vec::new();
        note_deprecated(object, &mut warnings);
        match &object.body {
            Body::Service(service) => {
                Ok((service.features.clone(), Some(object.id.project.clone()), warnings))
            }
            _ => Err(Fault::not_found(format!("{} is no service", object.id))),
        }
    }
}

/// A pick by its short form, or by the long one of definitions as JSON.
fn pick(text: &str) -> Result<Pick> {
    if !text.starts_with('{') {
        return text.parse().map_err(Fault::invalid);
    }
    serde_json::from_str(text).map_err(|error| Fault::invalid(format!("{text}: {error}")))
}

/// Picks of one view that follow each other as one: `["v:a", "v:b"]` is `["v:a,b"]`, read at once.
fn joined(picks: Vec<Pick>) -> Vec<Pick> {
    let mut joined: Vec<Pick> = Vec::with_capacity(picks.len());
    for pick in picks {
        match joined.last_mut() {
            Some(last)
                if last.view == pick.view
                    && last.alias == pick.alias
                    && last.join_keys == pick.join_keys
                    && last.rename == pick.rename
                    && !last.features.is_empty()
                    && !pick.features.is_empty()
                    && !pick.features.iter().any(|name| last.features.contains(name)) =>
            {
                last.features.extend(pick.features);
            }
            _ => joined.push(pick),
        }
    }
    joined
}

/// Notes what is deprecated.
pub fn note_deprecated(object: &Object, warnings: &mut Vec<String>) {
    if object.about.lifecycle == Lifecycle::Deprecated {
        warnings.push(format!("{} is deprecated", object.id));
    }
}

/// What was asked for, and how requests and answers call it.
#[derive(Debug)]
pub struct Resolved {
    /// How it is read.
    pub way: Way,
    /// The answer's columns.
    pub columns: Arc<Columns>,
    /// What the reader should know.
    pub warnings: Vec<String>,
}

/// How features are read.
#[derive(Debug)]
pub enum Way {
    /// All of them are stored: through a plan.
    Stored(Stored),
    /// Some are computed: by name.
    Computed(ComputedPlan),
}

/// A plan of stored features.
#[derive(Debug)]
pub struct Stored {
    /// Compiled by the server.
    pub plan: Plan,
    /// Of each view, what requests call its join keys.
    pub keys: Vec<Vec<String>>,
    /// Names the plan among those of its store.
    pub name: String,
}

impl Resolved {
    /// What requests call the join keys, each once.
    pub fn join_keys(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        match &self.way {
            Way::Computed(plan) => {
                names.extend(plan.join_keys().iter().map(|key| key.name.clone()))
            }
            Way::Stored(stored) => {
                for name in stored.keys.iter().flatten() {
                    if !names.contains(name) {
                        names.push(name.clone());
                    }
                }
            }
        }
        names
    }
}

#[derive(Deserialize)]
struct Told {
    version: u64,
    objects: Vec<Object>,
}

/// What the server's registry holds.
///
/// # Errors
/// The server's refusal, or an answer that cannot be read.
pub fn state(client: &Client) -> Result<State> {
    let json = client.registry(r#"{"objects":"all"}"#)?;
    let told: Told = serde_json::from_str(&json)
        .map_err(|error| Fault::store(format!("the registry's answer cannot be read: {error}")))?;
    Ok(State::of(told.version, told.objects))
}

/// Finds what was asked for, and has the server compile it.
///
/// # Errors
/// A name that is not there, two columns of one name, the server's refusal.
pub fn resolve(client: &Client, asked: &Asked) -> Result<Resolved> {
    let state = state(client)?;
    let (mut picks, home, mut warnings) = asked.picks(&state)?;
    let mut is_computed = false;
    for pick in &mut picks {
        let object = state.find(&[Kind::View, Kind::OnDemand], &pick.view, home.as_deref())?;
        note_deprecated(object, &mut warnings);
        is_computed |= object.as_view().is_none();
        pick.view.project = Some(object.id.project.clone());
    }
    if is_computed {
        return computed(client, &picks, asked.full_names, warnings);
    }
    let wanted: Vec<ViewFeatures<'_>> = picks.iter().map(view_features).collect();
    let plan = client.prepare(&wanted)?;
    let keys = keys(&plan, &picks)?;
    let columns = Arc::new(columns(&plan, &picks, asked.full_names)?);
    let name = picks.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    Ok(Resolved { way: Way::Stored(Stored { plan, keys, name }), columns, warnings })
}

fn computed(
    client: &Client,
    picks: &[Pick],
    full_names: bool,
    warnings: Vec<String>,
) -> Result<Resolved> {
    let long = |pick: &Pick| serde_json::to_string(pick).map_err(|e| Fault::store(e.to_string()));
    let features = picks.iter().map(long).collect::<Result<_>>()?;
    let query = ComputedQuery { features, service: None, full_names };
    let plan = client.prepare_computed(&query)?;
    let columns = plan.columns().iter();
    let columns = columns.map(|column| (column.name.clone(), column.value_type.clone()));
    let columns = Arc::new(Columns::apart(columns));
    Ok(Resolved { way: Way::Computed(plan), columns, warnings })
}

fn view_features(pick: &Pick) -> ViewFeatures<'_> {
    ViewFeatures {
        project: pick.view.project.as_deref().unwrap_or_default(),
        view: &pick.view.name,
        // A bare name is the server's to understand: a view may be switched.
        version: pick.view.version.unwrap_or(0),
        features: pick.features.iter().map(String::as_str).collect(),
    }
}

fn keys(plan: &Plan, picks: &[Pick]) -> Result<Vec<Vec<String>>> {
    let views = plan.views().iter().zip(picks);
    views
        .map(|(view, pick)| {
            let unknown = |name: &&String| !view.join_keys.iter().any(|key| key.name == **name);
            if let Some(name) = pick.join_keys.keys().find(unknown) {
                return Err(Fault::invalid(format!("{} has no join key {name:?}", pick.view)));
            }
            Ok(view.join_keys.iter().map(|key| pick.request_key(&key.name).to_owned()).collect())
        })
        .collect()
}

fn columns(plan: &Plan, picks: &[Pick], full_names: bool) -> Result<Columns> {
    let mut columns = Columns { names: Vec::new(), types: Vec::new(), places: Vec::new() };
    let mut seen = HashSet::new();
    for (view, pick) in picks.iter().enumerate() {
        for (place, column) in plan.columns(view).iter().enumerate() {
            let name = pick.column(&column.name, full_names);
            if !seen.insert(name.clone()) {
                return Err(Fault::invalid(format!(
                    "the answer would have two columns {name:?}: ask for full names, or give a view an alias"
                )));
            }
            columns.names.push(name);
            columns.types.push(column.value_type.clone());
            columns.places.push((view, place));
        }
    }
    Ok(columns)
}
