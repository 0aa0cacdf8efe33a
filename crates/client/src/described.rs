//! Feature views as the server describes them, and which of them a name means.

use serde::Deserialize;
use thermae_formats::{FeatureView, Value};

use crate::client::Client;
use crate::error::Error;

/// A feature view as the server describes it.
#[derive(Clone, Debug, Deserialize)]
pub struct Described {
    /// Its identity.
    pub view_id: u32,
    /// Its newest schema.
    pub schema_id: u16,
    /// Its newest definition.
    pub definition: FeatureView,
    /// Whether its bare name means it.
    #[serde(default)]
    pub serving: bool,
    /// What its checks are called, by number.
    #[serde(default)]
    pub checks: Vec<String>,
    /// Its features that are computed when rows are written.
    #[serde(default)]
    pub computed: Vec<String>,
}

impl Described {
    /// The view as a writer of whole rows fills it: what the server computes may be left out.
    pub fn writable(&self) -> FeatureView {
        let mut view = self.definition.clone();
        for feature in &mut view.features {
            if self.computed.contains(&feature.name) {
                feature.default = Some(Value::Null);
            }
        }
        view
    }
}

#[derive(Deserialize)]
struct DescribeReply {
    views: Vec<Described>,
}

impl Client {
    /// All feature views, of one project if it is given.
    ///
    /// # Errors
    /// The server's refusal, a lost connection.
    pub fn views(&self, project: Option<&str>) -> Result<Vec<Described>, Error> {
        let text = self.describe(project, None)?;
        let reply: DescribeReply = serde_json::from_str(&text).map_err(|error| {
            Error::Usage(format!("the server's description cannot be read: {error}"))
        })?;
        Ok(reply.views)
    }
}

/// The one of `views` that a name means: without a version the one that serves.
///
/// # Errors
/// There is none, or two projects have it: a sentence for people, which says what there is.
pub fn choose(
    views: Vec<Described>,
    project: Option<&str>,
    name: &str,
    version: Option<u32>,
) -> Result<Described, String> {
    let there = views.iter().map(|v| format!("{}/{}", v.definition.project, v.definition.name));
    let there: Vec<String> = there.take(30).collect();
    let is_meant = |view: &Described| {
        let definition = &view.definition;
        definition.name == name
            && project.is_none_or(|project| project == definition.project)
            && version.is_none_or(|version| version == definition.version)
    };
    let mut found: Vec<Described> = views.into_iter().filter(is_meant).collect();
    found.sort_by_key(|v| (v.serving, v.definition.version));
    let mut projects: Vec<&str> = found.iter().map(|v| v.definition.project.as_str()).collect();
    projects.sort_unstable();
    projects.dedup();
    if projects.len() > 1 {
        return Err(format!(
            "the feature view {name} is in several projects ({}): write PROJECT/{name}",
            projects.join(", ")
        ));
    }
    found.pop().ok_or_else(|| {
        let project = project.map(|project| format!("{project}/")).unwrap_or_default();
        let version = version.map(|version| format!("@{version}")).unwrap_or_default();
        let there = match there.is_empty() {
            true => "There are none yet: define some with `thermae apply FILE.toml`".to_owned(),
            false => format!("There are: {}", there.join(", ")),
        };
        format!("there is no feature view {project}{name}{version}. {there}")
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use thermae_formats::{Feature, Scalar};

    use super::*;

    fn view(project: &str, name: &str, version: u32) -> Described {
        let feature = Feature::new("f", Scalar::Bool);
        let definition =
            FeatureView { version, ..FeatureView::new(project, name, Vec::new(), vec![feature]) };
        let (checks, computed) = (Vec::new(), Vec::new());
        Described { view_id: version, schema_id: 1, definition, serving: false, checks, computed }
    }

    fn chosen(
        project: Option<&str>,
        name: &str,
        version: Option<u32>,
    ) -> Result<(String, u32), String> {
        let views =
            vec![view("a", "v", 2), view("a", "v", 1), view("a", "w", 1), view("b", "w", 1)];
        let chosen = choose(views, project, name, version)?;
        Ok((chosen.definition.project, chosen.definition.version))
    }

    #[test]
    fn the_newest_version_is_meant_unless_one_is_named() {
        assert_eq!(chosen(None, "v", None), Ok(("a".to_owned(), 2)));
        assert_eq!(chosen(None, "v", Some(1)), Ok(("a".to_owned(), 1)));
        assert_eq!(chosen(Some("b"), "w", None), Ok(("b".to_owned(), 1)));
    }

    #[test]
    fn the_version_that_serves_is_meant_whatever_is_newer() {
        let mut views = vec![view("a", "v", 1), view("a", "v", 2)];
        views[0].serving = true;
        assert_eq!(choose(views, None, "v", None).unwrap().definition.version, 1);
    }

    #[test]
    fn what_is_ambiguous_or_missing_is_said() {
        assert!(chosen(None, "w", None).unwrap_err().contains("several projects (a, b)"));
        let error = chosen(None, "x", None).unwrap_err();
        assert!(error.contains("no feature view x") && error.contains("a/w"), "{error}");
        assert!(chosen(Some("a"), "v", Some(3)).unwrap_err().contains("a/v@3"));
    }
}
