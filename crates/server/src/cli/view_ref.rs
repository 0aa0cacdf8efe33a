//! How a feature view, and features of it, are named on the command line.

use std::fmt;
use std::str::FromStr;

/// `NAME`, `PROJECT/NAME`, either with `@VERSION`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewRef {
    /// The project, if it was said.
    pub project: Option<String>,
    /// The view.
    pub name: String,
    /// The version; `None` is the newest.
    pub version: Option<u32>,
}

impl FromStr for ViewRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} names no feature view: write NAME, PROJECT/NAME or PROJECT/NAME@VERSION"
            )
        };
        let (path, version) = match text.split_once('@') {
            Some((path, version)) => (path, Some(version.parse::<u32>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let (project, name) = match path.split_once('/') {
            Some((project, name)) => (Some(project.to_owned()), name),
            None => (None, path),
        };
        let is_name = |n: &str| !n.is_empty() && n.chars().all(|c| c.is_alphanumeric() || c == '_');
        if !is_name(name) || project.as_deref().is_some_and(|p| !is_name(p)) || version == Some(0) {
            return Err(wrong());
        }
        Ok(Self { project, name: name.to_owned(), version })
    }
}

impl fmt::Display for ViewRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(project) = &self.project {
            write!(f, "{project}/")?;
        }
        f.write_str(&self.name)?;
        self.version.map_or(Ok(()), |version| write!(f, "@{version}"))
    }
}

/// A view and some of its features, `VIEW:f1,f2`; none named means all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewFeaturesRef {
    /// The view.
    pub view: ViewRef,
    /// Features in the order asked; empty = all.
    pub features: Vec<String>,
}

impl fmt::Display for ViewFeaturesRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view.fmt(f)?;
        if self.features.is_empty() { Ok(()) } else { write!(f, ":{}", self.features.join(",")) }
    }
}

impl FromStr for ViewFeaturesRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((view, features)) = text.split_once(':') else {
            return Ok(Self { view: text.parse()?, features: Vec::new() });
        };
        let features: Vec<String> = features.split(',').map(|f| f.trim().to_owned()).collect();
        if features.iter().any(String::is_empty) {
            return Err(format!(
                "{text:?} has an empty feature name: write VIEW:f1,f2, or VIEW for all"
            ));
        }
        Ok(Self { view: view.parse()?, features })
    }
}

/// A view to be joined, `ALIAS=VIEW:f1,f2`; without an alias it goes by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedViewRef {
    /// What it is called.
    pub alias: Option<String>,
    /// The view and its features.
    pub asked: ViewFeaturesRef,
}

impl FromStr for JoinedViewRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((alias, asked)) = text.split_once('=') else {
            return Ok(Self { alias: None, asked: text.parse()? });
        };
        if alias.is_empty() || !alias.chars().all(|c| c.is_alphanumeric() || c == '_') {
            return Err(format!("{alias:?} is no name for a view: use letters, digits and _"));
        }
        Ok(Self { alias: Some(alias.to_owned()), asked: asked.parse()? })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for text in ["weather", "nyc/weather", "nyc/weather@2", "weather@7"] {
            assert_eq!(text.parse::<ViewRef>().unwrap().to_string(), text);
        }
        let asked: ViewFeaturesRef = "nyc/weather@2:temp, dewp".parse().unwrap();
        assert_eq!(asked.features, ["temp", "dewp"]);
        assert_eq!(asked.view.version, Some(2));
        let joined: JoinedViewRef = "dest=nyc/weather@2:temp, dewp".parse().unwrap();
        assert_eq!(joined, JoinedViewRef { alias: Some("dest".to_owned()), asked });
    }

    #[test]
    fn what_names_nothing_is_refused() {
        for text in ["", "a/b/c", "a@x", "a@0", "/a", "a/", "a b"] {
            assert!(text.parse::<ViewRef>().is_err(), "{text:?}");
        }
        for text in ["=v", "a b=v", "a=", "a=v:"] {
            assert!(text.parse::<JoinedViewRef>().is_err(), "{text:?}");
        }
        assert!("v:".parse::<ViewFeaturesRef>().is_err());
        assert!("v:a,,b".parse::<ViewFeaturesRef>().is_err());
    }
}
