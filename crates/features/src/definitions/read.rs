//! From a file to objects, each error with its line.

use std::ops::Range;
use std::path::{Path, PathBuf};

use thermae_formats::FeatureView;
use toml::Spanned;

use super::file::{self, File};
use crate::model::{About, Body, Entity, Kind, Model, Object, ObjectId, OnDemandView, Service};

/// Larger files are not definitions, whatever they are.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// What a file defines.
#[derive(Clone, Debug, PartialEq)]
pub struct Definitions {
    /// The project of all of it.
    pub project: String,
    /// The objects: entities, sources, views, on-demand views, services, models, each by name.
    pub objects: Vec<Object>,
}

impl Definitions {
    /// Feature views alone.
    pub fn of_views(project: impl Into<String>, views: Vec<FeatureView>) -> Self {
        let object = |view| Object::of_view(view, None, About::default());
        Self { project: project.into(), objects: views.into_iter().map(object).collect() }
    }

    /// The feature views among the objects.
    pub fn views(&self) -> impl Iterator<Item = &FeatureView> {
        self.objects.iter().filter_map(Object::as_view)
    }
}

/// Why a file defines nothing.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionError {
    /// The system would not read it.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// It is not the TOML that is expected.
    #[error("{file}: {text}")]
    Syntax {
        /// The file.
        file: String,
        /// What is wrong, with line, column and the line itself.
        text: String,
    },
    /// It is, but what it says cannot be.
    #[error("{file}, line {line}: {problem}")]
    Wrong {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
}

/// Reads a definitions file from disk.
///
/// # Errors
/// A [`DefinitionError`] naming the file and, where there is one, the line.
pub fn read_file(path: &Path) -> Result<Definitions, DefinitionError> {
    let io = |source| DefinitionError::Io { path: path.to_owned(), source };
    if std::fs::metadata(path).map_err(io)?.len() > MAX_FILE_BYTES {
        return Err(io(std::io::Error::other(
            "it is larger than 16 MiB; is it a definitions file?",
        )));
    }
    read(&path.display().to_string(), &std::fs::read_to_string(path).map_err(io)?)
}

/// Reads definitions from text; `file` is named in errors.
///
/// # Errors
/// A [`DefinitionError`] naming the line.
pub fn read(file: &str, text: &str) -> Result<Definitions, DefinitionError> {
    let parsed: File = toml::from_str(text).map_err(|e| DefinitionError::Syntax {
        file: file.to_owned(),
        text: e.to_string().trim_end().to_owned(),
    })?;
    let reader = Reader { file, text, parsed: &parsed };
    if *parsed.format.get_ref() != file::FORMAT {
        let problem = format!(
            "format {} is not known; this version reads format {}",
            parsed.format.get_ref(),
            file::FORMAT
        );
        return Err(reader.wrong(parsed.format.span(), problem));
    }
    let objects = reader.objects()?;
    if objects.iter().all(|object| object.id.kind == Kind::Entity) {
        let problem = "it defines no views and nothing that needs them: add [views.NAME]";
        return Err(reader.wrong(parsed.project.span(), problem.to_owned()));
    }
    Ok(Definitions { project: parsed.project.into_inner(), objects })
}

pub(super) struct Reader<'a> {
    file: &'a str,
    text: &'a str,
    pub(super) parsed: &'a File,
}

impl Reader<'_> {
    pub(super) fn wrong(&self, span: Range<usize>, problem: String) -> DefinitionError {
        let before = self.text.get(..span.start).unwrap_or_default();
        let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
        DefinitionError::Wrong { file: self.file.to_owned(), line, problem }
    }

    fn objects(&self) -> Result<Vec<Object>, DefinitionError> {
        let (file, mut objects) = (self.parsed, Vec::new());
        for (name, table) in &file.entities {
            let body = Body::Entity(Entity { join_keys: table.join_keys.clone() });
            objects.push(self.object(Kind::Entity, name, None, table.about(file), body)?);
        }
        for (name, table) in &file.sources {
            let body = Body::Source(table.object());
            objects.push(self.object(Kind::Source, name, None, table.about(file), body)?);
        }
        for (name, table) in &file.views {
            objects.push(self.view(name, table)?);
        }
        for (name, table) in &file.on_demand {
            let file::OnDemand { inputs, request, features, .. } = table;
            let (inputs, request) = (inputs.clone(), request.clone());
            let view = OnDemandView { inputs, request, features: features.clone() };
            let (version, about) = (table.version, table.about(file));
            objects.push(self.object(
                Kind::OnDemand,
                name,
                version,
                about,
                Body::OnDemand(view),
            )?);
        }
        for (name, table) in &file.services {
            let body = Body::Service(Service { features: table.features.clone() });
            let (version, about) = (table.version, table.about(file));
            objects.push(self.object(Kind::Service, name, version, about, body)?);
        }
        for (name, table) in &file.models {
            let file::Model { services, features, .. } = table;
            let model = Model { services: services.clone(), features: features.clone() };
            let (version, about) = (table.version, table.about(file));
            objects.push(self.object(Kind::Model, name, version, about, Body::Model(model))?);
        }
        Ok(objects)
    }

    /// An object of what its table says; errors stand at its name.
    fn object(
        &self,
        kind: Kind,
        key: &Spanned<String>,
        version: Option<u32>,
        about: About,
        body: Body,
    ) -> Result<Object, DefinitionError> {
        let (name, version) = self.name(key, version)?;
        let id = ObjectId::new(kind, self.parsed.project.get_ref(), name, version);
        let object = Object { id, about, body };
        object.validate().map_err(|e| self.wrong(key.span(), format!("{}: {e}", object.id)))?;
        Ok(object)
    }

    /// Name and version of a table called `NAME` or `NAME@VERSION`, where several versions stand in one file.
    pub(super) fn name<'k>(
        &self,
        key: &'k Spanned<String>,
        said: Option<u32>,
    ) -> Result<(&'k str, u32), DefinitionError> {
        let Some((name, version)) = key.get_ref().split_once('@') else {
            return Ok((key.get_ref(), said.unwrap_or(1)));
        };
        match version.parse::<u32>() {
            Ok(version) if said.is_none_or(|said| said == version) => Ok((name, version)),
            _ => {
                let problem = format!("{:?} is not NAME@VERSION with its version", key.get_ref());
                Err(self.wrong(key.span(), problem))
            }
        }
    }
}
