//! The helper thread that applies definitions and answers what the registry is asked: it writes and syncs the
//! registry's file, which no shard waits for.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thermae_engine::Action;
use thermae_env::Env;
use thermae_features::lineage::{Lineage, Node};
use thermae_features::model::{About, Kind as ObjectKind, Name, Object, ObjectId};
use thermae_features::registry::ApplyOptions;
use thermae_features::store::Ask;
use thermae_features::{Change, ChangeAction, Definitions, Error, FeatureStore, State};
use thermae_formats::wire::{ErrorCode, Kind, encode_json};
use thermae_formats::{FeatureView, ViewId};

use super::failure::Failure;
use super::helper::Helper;
use super::scan_arrivals::Destination;

/// Requests that wait for the helper at most.
const WAITING_MAX: usize = 64;
/// How often it keeps how fresh views are, when it is asked nothing.
const NOTE_EVERY: Duration = Duration::from_secs(10);

/// APPLY: definitions, or a switch of a view.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApplyRequest {
    /// Objects of any kind.
    #[serde(default)]
    objects: Vec<Object>,
    /// Feature views alone: what else the registry knows of them stays.
    #[serde(default)]
    views: Vec<FeatureView>,
    /// Only say what would change.
    #[serde(default)]
    dry_run: bool,
    /// Only if the registry is at this version still.
    #[serde(default)]
    if_version: Option<u64>,
    /// Who, for the registry's log.
    #[serde(default)]
    by: String,
    /// A view's bare name is to mean this version.
    #[serde(default)]
    switch: Option<Name>,
    /// A view's bare name is to mean again what it meant before.
    #[serde(default)]
    switch_back: Option<Name>,
}

/// DESCRIBE of something that is no feature view.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistryRequest {
    /// What feeds this, and what it feeds; everything with an empty text.
    #[serde(default)]
    lineage: Option<String>,
    /// What a change of this reaches.
    #[serde(default)]
    impact: Option<String>,
    /// Objects of this kind; `all` for every kind.
    #[serde(default)]
    objects: Option<String>,
    /// So many of the newest changes.
    #[serde(default)]
    log: Option<usize>,
    /// How feature views do: freshness, and rows that failed checks.
    #[serde(default)]
    health: bool,
    /// What a request for features needs, and what it gets.
    #[serde(default)]
    wanted: Option<Value>,
}

/// What the helper is asked.
#[derive(Debug)]
pub enum Task {
    /// To change something.
    Apply(Box<ApplyRequest>),
    /// To tell something.
    Tell(RegistryRequest),
}

/// A task that somebody waits for.
pub struct TaskRequest {
    /// What to do.
    pub task: Task,
    /// Id of the request.
    pub request_id: u64,
    /// Largest frame that may be sent, in bytes.
    pub max_frame_bytes: u32,
    /// Who waits.
    pub destination: Destination,
}

/// What shards ask of the registry themselves.
pub trait Serving: Send + Sync {
    /// Its version.
    fn version(&self) -> u64;
    /// The version that a view's bare name means.
    fn serving(&self, project: &str, view: &str) -> Option<u32>;
    /// What a check of a view is called.
    fn rule_name(&self, view: ViewId, number: u16) -> Option<String>;
    /// What all of them are called, by number, and which of the view's features are computed.
    fn rule_names(&self, view: ViewId) -> (Vec<String>, Vec<String>);
}

impl<E: Env> Serving for FeatureStore<E> {
    fn version(&self) -> u64 {
        self.registry().version()
    }

    fn serving(&self, project: &str, view: &str) -> Option<u32> {
        let published = self.registry().published();
        let object = published.state.serving(ObjectKind::View, project, view);
        object.map(|object| object.id.version)
    }

    fn rule_name(&self, view: ViewId, number: u16) -> Option<String> {
        FeatureStore::rule_name(self, view, number)
    }

    fn rule_names(&self, view: ViewId) -> (Vec<String>, Vec<String>) {
        FeatureStore::rule_names(self, view)
    }
}

/// Where shards hand tasks over, and what they look up.
pub struct RegistryDesk {
    /// Where tasks go.
    pub requests: SyncSender<Option<TaskRequest>>,
    /// What bare names mean.
    pub serving: Arc<dyn Serving>,
}

/// The helper.
pub struct RegistryHelper<E: Env> {
    helper: Helper<TaskRequest>,
    features: Arc<FeatureStore<E>>,
}

impl<E: Env> RegistryHelper<E> {
    /// Starts it over a feature store.
    ///
    /// # Errors
    /// No thread could be made.
    pub fn start(features: FeatureStore<E>) -> std::io::Result<Self> {
        let features = Arc::new(features);
        let own = Arc::clone(&features);
        let helper = Helper::start("registry", WAITING_MAX, move |requests| run(&own, requests))?;
        Ok(Self { helper, features })
    }

    /// The feature store, for others who read and write by name.
    pub fn features(&self) -> Arc<FeatureStore<E>> {
        Arc::clone(&self.features)
    }

    /// What shards are given.
    pub fn desk(&self) -> RegistryDesk {
        let serving: Arc<dyn Serving> = Arc::clone(&self.features) as Arc<dyn Serving>;
        RegistryDesk { requests: self.helper.requests(), serving }
    }
}

fn run<E: Env>(features: &FeatureStore<E>, requests: &Receiver<Option<TaskRequest>>) {
    loop {
        let request = match requests.recv_timeout(NOTE_EVERY) {
            Ok(Some(request)) => request,
            Ok(None) | Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                // What cannot be kept now is kept the next time.
                let _ = features.note_freshness();
                continue;
            }
        };
        let TaskRequest { task, request_id, max_frame_bytes, destination } = request;
        let told = match task {
            Task::Apply(request) => apply(features, *request),
            Task::Tell(request) => tell(features, &request),
        };
        destination.put(told.map_err(failure).and_then(|told| {
            let mut frame = Vec::new();
            encode_json(&mut frame, Kind::Json, request_id, &told.to_string(), max_frame_bytes)?;
            Ok(frame)
        }));
    }
    let _ = features.note_freshness();
}

fn apply<E: Env>(features: &FeatureStore<E>, request: ApplyRequest) -> Result<Value, Error> {
    let ApplyRequest { objects, views, dry_run, if_version, by, switch, switch_back } = request;
    let options = ApplyOptions { if_version, by };
    let defines = !objects.is_empty() || !views.is_empty();
    let version = match (switch, switch_back) {
        (None, None) => return define(features, objects, views, dry_run, &options),
        (Some(_), _) | (_, Some(_)) if defines || dry_run => {
            let what = "a switch stands alone in its request, and is no dry run";
            return Err(Error::Invalid(what.to_owned()));
        }
        (Some(view), None) => features.registry().switch(&view, &options)?,
        (None, Some(view)) => features.registry().switch_back(&view, &options)?,
        (Some(_), Some(_)) => {
            return Err(Error::Invalid("switch or switch_back, not both".to_owned()));
        }
    };
    Ok(json!({ "version": version, "applied": [], "changes": [] }))
}

fn define<E: Env>(
    features: &FeatureStore<E>,
    mut objects: Vec<Object>,
    views: Vec<FeatureView>,
    dry_run: bool,
    options: &ApplyOptions,
) -> Result<Value, Error> {
    let published = features.registry().published();
    objects.extend(views.into_iter().map(|view| {
        let id = ObjectId::new(ObjectKind::View, &view.project, &view.name, view.version);
        let known = published.state.object(&id);
        let about = known.map_or_else(About::default, |known| known.about.clone());
        let rules = known.and_then(|known| known.rules().cloned()).unwrap_or_default();
        Object::of_view(view, known.and_then(|known| known.source().cloned()), about)
            .with_rules(rules)
    }));
    let project = objects.first().map(|object| object.id.project.clone()).unwrap_or_default();
    let definitions = Definitions { project, objects };
    let (base, version, changes) = if dry_run {
        let plan = features.plan(&definitions)?;
        (plan.base, plan.version(), plan.changes)
    } else {
        let applied = features.apply(&definitions, options)?;
        (applied.base, applied.version, applied.changes)
    };
    let defined: Vec<FeatureView> = definitions.views().cloned().collect();
    // The engine's ids: as they are, or as they would be.
    let (_, ids) = features.handle().catalogue().plan(&defined)?;
    let views = changes.iter().filter(|change| change.kind == ObjectKind::View);
    let applied: Vec<Value> = views
        .zip(&ids)
        .map(|(change, ids)| {
            json!({
                "view": ids.view,
                "action": change.action,
                "changes": match (&change.action, &ids.action) {
                    (ChangeAction::Updated, Action::Updated(lines)) if dry_run => lines.clone(),
                    (ChangeAction::Updated, _) => change.lines.clone(),
                    _ => Vec::new(),
                },
                "view_id": ids.view_id,
                "schema_id": ids.schema_id,
            })
        })
        .collect();
    let told = Told { base, version, applied, changes };
    serde_json::to_value(told).map_err(|e| Error::Invalid(e.to_string()))
}

#[derive(Serialize)]
struct Told {
    base: u64,
    version: u64,
    applied: Vec<Value>,
    changes: Vec<Change>,
}

fn tell<E: Env>(features: &FeatureStore<E>, request: &RegistryRequest) -> Result<Value, Error> {
    let published = features.registry().published();
    let state = &published.state;
    let mut told = json!({ "version": state.version() });
    if request.lineage.is_some() || request.impact.is_some() {
        tell_lineage(state, request, &mut told)?;
    }
    if let Some(kind) = &request.objects {
        let is_wanted = |object: &&Arc<Object>| kind == "all" || object.id.kind.word() == kind;
        let objects: Vec<&Object> = state.objects().filter(is_wanted).map(Arc::as_ref).collect();
        told["objects"] =
            serde_json::to_value(objects).map_err(|e| Error::Invalid(e.to_string()))?;
    }
    if request.health {
        told["health"] =
            serde_json::to_value(features.health()).map_err(|e| Error::Invalid(e.to_string()))?;
        told["counted_since"] = features.opened_us().into();
    }
    if let Some(asked) = &request.wanted {
        let wanted = features.wanted(&Ask::of_json(&asked.to_string())?)?;
        told["wanted"] = serde_json::to_value(wanted).map_err(|e| Error::Invalid(e.to_string()))?;
    }
    if let Some(most) = request.log {
        let log = features.registry().log(most).into_iter();
        told["log"] = log
            .map(|(version, entry)| {
                json!({ "version": version, "at_us": entry.at_us, "by": entry.by, "lines": entry.lines })
            })
            .collect();
    }
    Ok(told)
}

fn tell_lineage(state: &State, request: &RegistryRequest, told: &mut Value) -> Result<(), Error> {
    let lineage = Lineage::of(state);
    let keys = |nodes: &[Node]| nodes.iter().map(Node::key).collect::<Vec<_>>();
    if let Some(text) = &request.lineage {
        if text.is_empty() {
            let edges: Vec<_> = lineage.edges().map(|(from, to)| [from.key(), to.key()]).collect();
            told["lineage"] = json!({ "edges": edges });
        } else {
            let node = lineage.find(state, text)?;
            let (up, down) = (lineage.upstream(&node), lineage.downstream(&node));
            told["lineage"] =
                json!({ "of": node.key(), "upstream": keys(&up), "downstream": keys(&down) });
        }
    }
    if let Some(text) = &request.impact {
        let node = lineage.find(state, text)?;
        let impact = lineage.impact(state, &node);
        let ids = |ids: &[ObjectId]| {
            ids.iter().map(|id| Node::Object(id.clone()).key()).collect::<Vec<_>>()
        };
        told["impact"] = json!({
            "of": node.key(),
            "features": keys(&impact.features),
            "services": ids(&impact.services),
            "models": ids(&impact.models),
            "owners": impact.owners,
        });
    }
    Ok(())
}

/// Why a task was not done.
pub fn failure(error: Error) -> Failure {
    let code = match &error {
        Error::Invalid(_) | Error::Definitions(_) => ErrorCode::BadSchema,
        Error::NotFound(_) => ErrorCode::UnknownView,
        Error::UnknownFeature(_) => ErrorCode::UnknownFeature,
        Error::Refused(refusals) if refusals.iter().any(|one| one.is_incompatible) => {
            ErrorCode::IncompatibleSchema
        }
        Error::Refused(_) => ErrorCode::BadSchema,
        Error::Conflict { .. } => ErrorCode::StaleSchema,
        Error::Database { .. } | Error::InDoubt(_) | Error::Training(_) => ErrorCode::Internal,
        Error::Engine(_) => {
            let Error::Engine(error) = error else { return Failure::new(ErrorCode::Internal, "") };
            return error.into();
        }
    };
    Failure::new(code, error.to_string())
}
