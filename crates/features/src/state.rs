//! A registry at one version: immutable, replaced whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thermae_formats::FeatureView;

use crate::error::Error;
use crate::model::{Kind, Lifecycle, Name, Object, ObjectId, Pick};

/// Which version a view's bare name was switched to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Switch {
    /// The version that serves.
    pub version: u32,
    /// The version that served before: what switching back brings.
    pub before: u32,
}

/// Everything that a registry holds, at one version.
#[derive(Clone, Debug, Default)]
pub struct State {
    pub(crate) version: u64,
    pub(crate) objects: BTreeMap<ObjectId, Arc<Object>>,
    pub(crate) switches: BTreeMap<(String, String), Switch>,
}

/// Features of a view that a reader reads, found.
#[derive(Clone, Debug)]
pub struct Found<'a> {
    /// The object: a feature view or an on-demand view.
    pub object: &'a Arc<Object>,
    /// Names of the features.
    pub features: Vec<&'a str>,
}

impl State {
    /// Objects at a version, as a registry told them. What bare names were switched to is not among them.
    pub fn of(version: u64, objects: impl IntoIterator<Item = Object>) -> Self {
        let objects = objects.into_iter().map(|object| (object.id.clone(), Arc::new(object)));
        State { version, objects: objects.collect(), ..State::default() }
    }

    /// Counts the changes: equal versions of one registry are equal.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// All objects, by project, kind, name and version.
    pub fn objects(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.objects.values()
    }

    /// The object with an id.
    pub fn object(&self, id: &ObjectId) -> Option<&Arc<Object>> {
        self.objects.get(id)
    }

    /// All versions of a name, oldest first.
    pub fn versions(
        &self,
        kind: Kind,
        project: &str,
        name: &str,
    ) -> impl DoubleEndedIterator<Item = &Arc<Object>> {
        let id = |version| ObjectId::new(kind, project, name, version);
        self.objects.range(id(0)..=id(u32::MAX)).map(|(_, object)| object)
    }

    /// What a view's bare name was switched to.
    pub fn switch(&self, project: &str, view: &str) -> Option<Switch> {
        self.switches.get(&(project.to_owned(), view.to_owned())).copied()
    }

    /// The object that a bare name means: the version it was switched to, or else the newest that is neither
    /// staged nor retired.
    pub fn serving(&self, kind: Kind, project: &str, name: &str) -> Option<&Arc<Object>> {
        if kind == Kind::View
            && let Some(switch) = self.switch(project, name)
        {
            return self.object(&ObjectId::new(kind, project, name, switch.version));
        }
        let is_serving = |object: &&Arc<Object>| object.about.lifecycle.is_serving();
        self.versions(kind, project, name).rfind(is_serving)
    }

    /// Finds what a name means. `home` is the project that speaks, if one does; without it, a name without a
    /// project must be unique among projects.
    ///
    /// # Errors
    /// There is none, it is staged or retired, or several projects have it.
    pub fn find(
        &self,
        kinds: &[Kind],
        name: &Name,
        home: Option<&str>,
    ) -> Result<&Arc<Object>, Error> {
        let project = match name.project.as_deref().or(home) {
            Some(project) => project.to_owned(),
            None => self.only_project(kinds, name)?,
        };
        let all = || kinds.iter().flat_map(|kind| self.versions(*kind, &project, &name.name));
        let words = kinds.iter().map(|kind| kind.words()).collect::<Vec<_>>().join(" or ");
        let Some(version) = name.version else {
            let serving = kinds.iter().find_map(|kind| self.serving(*kind, &project, &name.name));
            return serving.ok_or_else(|| match all().next_back() {
                None => self.unknown(kinds, &words, name),
                Some(last) if last.about.lifecycle == Lifecycle::Retired => Error::NotFound(
                    format!("{} is retired, and nothing serves in its place", last.id),
                ),
                Some(last) => Error::NotFound(format!(
                    "{} is {}: name a version, as {}@{}, to mean it all the same",
                    last.id,
                    last.about.lifecycle.name(),
                    name.name,
                    last.id.version
                )),
            });
        };
        let found = all().find(|object| object.id.version == version);
        let found = found.ok_or_else(|| self.unknown(kinds, &words, name))?;
        if found.about.lifecycle == Lifecycle::Retired {
            return Err(Error::NotFound(format!("{} is retired: use another version", found.id)));
        }
        Ok(found)
    }

    fn only_project(&self, kinds: &[Kind], name: &Name) -> Result<String, Error> {
        let mut projects: Vec<&str> = self
            .objects
            .keys()
            .filter(|id| id.name == name.name && kinds.contains(&id.kind))
            .map(|id| id.project.as_str())
            .collect();
        projects.dedup();
        match projects.as_slice() {
            [] => Ok(String::new()),
            [one] => Ok((*one).to_owned()),
            several => Err(Error::Invalid(format!(
                "{:?} is in several projects ({}): write PROJECT/{}",
                name.name,
                several.join(", "),
                name.name
            ))),
        }
    }

    fn unknown(&self, kinds: &[Kind], words: &str, name: &Name) -> Error {
        let near: Vec<String> = self
            .objects
            .keys()
            .filter(|id| kinds.contains(&id.kind))
            .map(|id| format!("{}/{}@{}", id.project, id.name, id.version))
            .take(20)
            .collect();
        let there = if near.is_empty() { "there are none".to_owned() } else { near.join(", ") };
        Error::NotFound(format!("no {words} {name}; there are: {there}"))
    }

    /// Finds the features that a pick of `project` picks.
    ///
    /// # Errors
    /// A name that is not there.
    pub fn pick<'a>(&'a self, pick: &'a Pick, project: Option<&str>) -> Result<Found<'a>, Error> {
        let object = self.find(&[Kind::View, Kind::OnDemand], &pick.view, project)?;
        let declared = object.feature_names();
        if pick.features.is_empty() {
            return Ok(Found { object, features: declared });
        }
        let mut features = Vec::with_capacity(pick.features.len());
        for name in &pick.features {
            if !declared.contains(&name.as_str()) {
                return Err(Error::UnknownFeature(format!(
                    "{} has no feature {name:?}; it has {}",
                    object.id,
                    declared.join(", ")
                )));
            }
            features.push(name.as_str());
        }
        Ok(Found { object, features })
    }

    /// All feature views, of every version.
    pub fn views(&self) -> impl Iterator<Item = &FeatureView> {
        self.objects.values().filter_map(|object| object.as_view())
    }
}
