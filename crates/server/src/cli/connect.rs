//! Reaching the server, and finding the views that were named.

use std::time::Duration;

use thermae_client::{Address, Client, Config, Described, Error, ErrorCategory};
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

/// All feature views.
///
/// # Errors
/// [`Failure`] of the request.
pub fn describe(client: &Client) -> Result<Vec<Described>, Failure> {
    client.views(None).map_err(failed)
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
    choose(describe(client)?, wanted)
}

/// The one view of `views` that is meant; without a version, the one that serves.
///
/// # Errors
/// As [`find_view`].
pub fn choose(views: Vec<Described>, wanted: &ViewRef) -> Result<Described, Failure> {
    thermae_client::choose(views, wanted.project.as_deref(), &wanted.name, wanted.version)
        .map_err(Failure::Failed)
}
