//! Reaching the server, and finding the views that were named.

use std::time::Duration;

use serde::Deserialize;
use thermae_client::{Address, Client, Config, Error, ErrorCategory};
use thermae_features::model::quarantine_name;
use thermae_formats::FeatureView;

use super::args::Global;
use super::exit::Failure;
use super::view_ref::ViewRef;

/// Times that something is asked for again while the server is overloaded.
const RETRIES_MAX: u32 = 30;
/// The shortest pause before that, milliseconds.
const PAUSE_LEAST_MS: u32 = 100;
/// How long an answer may take that the server reads disks for.
const LONG: Duration = Duration::from_secs(3600);

/// Connects to the server of `--server` or `THERMAE_SERVER`.
///
/// # Errors
/// [`Failure::Usage`] for no address, [`Failure::Unreachable`] if nothing answers there.
pub fn connect(global: &Global) -> Result<Client, Failure> {
    connect_by(global, Config::default())
}

/// The same for requests whose answers take long.
///
/// # Errors
/// As [`connect`].
pub fn connect_for_long(global: &Global) -> Result<Client, Failure> {
    connect_by(global, Config { request_timeout: LONG, ..Config::default() })
}

fn connect_by(global: &Global, config: Config) -> Result<Client, Failure> {
    let address: Address = global
        .server
        .parse()
        .map_err(|e| Failure::Usage(format!("--server {}: {e}", global.server)))?;
    let config = Config { client_name: "thermae-cli".to_owned(), ..config };
    Client::connect(&address, config).map_err(|e| {
        let Failure::Failed(reason) = Failure::of(e) else { return Failure::Failed(String::new()) };
        Failure::Unreachable(format!(
            "no server at {address}: {reason}. Start one with `thermae serve`, or name another with --server or \
             THERMAE_SERVER"
        ))
    })
}

/// A client's error as a failure of the command.
pub fn failed(error: Error) -> Failure {
    Failure::of(error)
}

/// Asks again while the server has too much to do, as often and as soon as it says.
///
/// # Errors
/// Any other failure, or that one after many times.
pub fn patiently<T>(mut ask: impl FnMut() -> Result<T, Error>) -> Result<T, Failure> {
    let mut retries = 0;
    loop {
        match ask() {
            Err(error @ Error::Server { retry_after_ms, .. })
                if retries < RETRIES_MAX && error.category() == Some(ErrorCategory::RetryLater) =>
            {
                retries += 1;
                let pause_ms = retry_after_ms.max(PAUSE_LEAST_MS);
                std::thread::sleep(Duration::from_millis(pause_ms.into()));
            }
            answer => return answer.map_err(failed),
        }
    }
}

/// A view as the server describes it.
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

#[derive(Deserialize)]
struct DescribeReply {
    views: Vec<Described>,
}

/// All views, of one project or name if given.
///
/// # Errors
/// [`Failure`] of the request.
pub fn describe(
    client: &Client,
    project: Option<&str>,
    name: Option<&str>,
) -> Result<Vec<Described>, Failure> {
    let text = client.describe(project, name).map_err(failed)?;
    let reply: DescribeReply = serde_json::from_str(&text)
        .map_err(|e| Failure::Failed(format!("the server's description cannot be read: {e}")))?;
    Ok(reply.views)
}

/// The view of `views` that keeps the quarantine of `of`, if it has one.
pub fn quarantine_of<'a>(views: &'a [Described], of: &FeatureView) -> Option<&'a FeatureView> {
    let name = quarantine_name(&of.name);
    let is_it = |other: &&FeatureView| {
        (&other.project, &other.name, other.version) == (&of.project, &name, of.version)
    };
    views.iter().map(|view| &view.definition).find(is_it)
}

/// The one view that is meant.
///
/// # Errors
/// [`Failure::Failed`] if there is none, or if two projects have it.
pub fn find_view(client: &Client, wanted: &ViewRef) -> Result<Described, Failure> {
    choose(describe(client, None, None)?, wanted)
}

/// The one view of `views` that is meant; without a version, the one that serves.
///
/// # Errors
/// As [`find_view`].
pub fn choose(views: Vec<Described>, wanted: &ViewRef) -> Result<Described, Failure> {
    let names: Vec<String> = views
        .iter()
        .map(|v| format!("{}/{}", v.definition.project, v.definition.name))
        .take(30)
        .collect();
    let mut found: Vec<Described> = views
        .into_iter()
        .filter(|v| {
            v.definition.name == wanted.name
                && wanted.project.as_ref().is_none_or(|p| *p == v.definition.project)
                && wanted.version.is_none_or(|version| version == v.definition.version)
        })
        .collect();
    found.sort_by_key(|v| (v.serving, v.definition.version));
    let mut projects: Vec<String> = found.iter().map(|v| v.definition.project.clone()).collect();
    projects.sort_unstable();
    projects.dedup();
    if projects.len() > 1 {
        return Err(Failure::Failed(format!(
            "the feature view {} is in several projects ({}): write PROJECT/{}",
            wanted.name,
            projects.join(", "),
            wanted.name
        )));
    }
    found.pop().ok_or_else(|| {
        let there = if names.is_empty() {
            "There are none yet: define some with `thermae apply FILE.toml`".to_owned()
        } else {
            format!("There are: {}", names.join(", "))
        };
        Failure::Failed(format!("there is no feature view {wanted}. {there}"))
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

    fn chosen(wanted: &str) -> Result<(String, u32), String> {
        let views =
            vec![view("a", "v", 2), view("a", "v", 1), view("a", "w", 1), view("b", "w", 1)];
        choose(views, &wanted.parse().unwrap())
            .map(|d| (d.definition.project, d.definition.version))
            .map_err(|e| e.to_string())
    }

    #[test]
    fn the_newest_version_is_meant_unless_one_is_named() {
        assert_eq!(chosen("v"), Ok(("a".to_owned(), 2)));
        assert_eq!(chosen("v@1"), Ok(("a".to_owned(), 1)));
        assert_eq!(chosen("b/w"), Ok(("b".to_owned(), 1)));
    }

    #[test]
    fn the_version_that_serves_is_meant_whatever_is_newer() {
        let mut views = vec![view("a", "v", 1), view("a", "v", 2)];
        views[0].serving = true;
        let chosen = choose(views, &"v".parse().unwrap()).unwrap();
        assert_eq!(chosen.definition.version, 1);
    }

    #[test]
    fn what_is_ambiguous_or_missing_is_said() {
        assert!(chosen("w").unwrap_err().contains("several projects (a, b)"));
        let error = chosen("x").unwrap_err();
        assert!(error.contains("no feature view x") && error.contains("a/w"), "{error}");
        assert!(chosen("v@3").is_err());
    }
}
