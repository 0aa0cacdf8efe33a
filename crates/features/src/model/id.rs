//! Names of objects.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What kinds of objects there are, in the order in which data flow through them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// What features are about.
    Entity,
    /// Where rows come from.
    Source,
    /// Stored features.
    View,
    /// Features that are computed when they are read.
    OnDemand,
    /// Features that are read together.
    Service,
    /// Who reads them.
    Model,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 6] =
        [Kind::Entity, Kind::Source, Kind::View, Kind::OnDemand, Kind::Service, Kind::Model];

    /// One word, as in `service:nyc/delays`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Entity => "entity",
            Self::Source => "source",
            Self::View => "view",
            Self::OnDemand => "on_demand",
            Self::Service => "service",
            Self::Model => "model",
        }
    }

    /// As sentences call it.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Entity => "entity",
            Self::Source => "source",
            Self::View => "feature view",
            Self::OnDemand => "on-demand view",
            Self::Service => "feature service",
            Self::Model => "model",
        }
    }

    /// Whether versions of it live side by side. Others change in place.
    pub const fn has_versions(self) -> bool {
        matches!(self, Self::View | Self::OnDemand | Self::Service | Self::Model)
    }
}

/// What names one object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    /// The project.
    pub project: String,
    /// What it is.
    pub kind: Kind,
    /// Its name, unique in the project among its kind.
    pub name: String,
    /// Its version, from 1; always 1 for kinds without versions.
    pub version: u32,
}

impl ObjectId {
    /// An id.
    pub fn new(
        kind: Kind,
        project: impl Into<String>,
        name: impl Into<String>,
        version: u32,
    ) -> Self {
        ObjectId { project: project.into(), kind, name: name.into(), version }
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind.words(), self.project, self.name)?;
        if self.kind.has_versions() { write!(f, "@{}", self.version) } else { Ok(()) }
    }
}

/// How an object is referred to: `NAME`, `PROJECT/NAME`, either with `@VERSION`. Without a project it is one
/// of the project that speaks; without a version, the one that serves.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name {
    /// The project, if it is said.
    pub project: Option<String>,
    /// The name.
    pub name: String,
    /// The version, if it is said.
    pub version: Option<u32>,
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (path, version) = match text.split_once('@') {
            None => (text, None),
            Some((path, version)) => {
                let number = version.strip_prefix('v').unwrap_or(version).parse::<u32>();
                let number = number.ok().filter(|number| *number > 0).ok_or_else(|| {
                    format!("{text:?}: {version:?} is no version: write a number from 1")
                })?;
                (path, Some(number))
            }
        };
        let (project, name) = match path.split_once('/') {
            Some((project, name)) => (Some(project), name),
            None => (None, path),
        };
        let check = |what, name: &str| {
            thermae_formats::schema::check_name(what, name).map_err(|e| e.to_string())
        };
        project.map_or(Ok(()), |project| check("project", project))?;
        check("object", name)?;
        Ok(Name { project: project.map(str::to_owned), name: name.to_owned(), version })
    }
}

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> String {
        name.to_string()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(project) = &self.project {
            write!(f, "{project}/")?;
        }
        f.write_str(&self.name)?;
        self.version.map_or(Ok(()), |version| write!(f, "@{version}"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_name_reads_as_it_is_written() {
        for text in ["v", "p/v", "v@2", "p/v@17"] {
            assert_eq!(text.parse::<Name>().unwrap().to_string(), text);
        }
        assert_eq!("p/v@v2".parse::<Name>().unwrap().version, Some(2));
        for text in ["", "/v", "p/", "v@", "v@0", "v@-1", "v@x", "a/b/c", "v v", "v@1@2", "v:f"] {
            assert!(text.parse::<Name>().is_err(), "{text:?}");
        }
    }
}
