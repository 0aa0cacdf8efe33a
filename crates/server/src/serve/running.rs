//! A server's life: bind, recover, serve, stop in order.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use thermae_engine::cold::{ArchiveOptions, LocalObjects, OpenOptions, is_url, open_url};
use thermae_engine::log::RecoveryReport;
use thermae_engine::{Engine, Handle, Options};
use thermae_env::{Env, RealEnv};
use thermae_features::FeatureStore;

use super::ServeError;
use super::listeners::{Listeners, allow_connections};
use super::options::ServeOptions;
use super::signals::Signals;
use crate::http::{EngineFamily, Features, GrpcServer, Health, HttpServer, Source, Stage};
use crate::net::backup_desk::{BackupRoot, Backups};
use crate::net::compute_desk::ComputeDesk;
use crate::net::core::Shared;
use crate::net::erase_desk::EraseDesk;
use crate::net::front::Front;
use crate::net::history_reads::HistoryReads;
use crate::net::registry_desk::RegistryHelper;
use crate::net::scan_pages::ScanPages;

/// A server that serves. Dropping it stops it; [`Running::stop`] also says how that went.
pub struct Running {
    backups: Backups,
    // Before the engine: what it is at needs that.
    registry: RegistryHelper<RealEnv>,
    // Before those below: their threads end when the connections are gone.
    engine: Engine<RealEnv>,
    pages: ScanPages,
    histories: HistoryReads,
    erases: EraseDesk,
    computations: ComputeDesk,
    http: Option<HttpServer>,
    grpc: Option<GrpcServer>,
    health: Arc<Health>,
    tcp: Option<SocketAddr>,
    unix: Option<UnixPath>,
    shared: Arc<Shared>,
}

/// What a server had reached when it stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// For each partition, the last sequence number that is in the log and was served.
    pub horizon: Vec<(u16, u64)>,
    /// Requests answered.
    pub requests: u64,
}

impl Stopped {
    /// Rows acknowledged over the life of the store: the sum of the horizon.
    pub fn rows_logged(&self) -> u64 {
        self.horizon.iter().map(|(_, sequence)| sequence).sum()
    }
}

/// Removes the socket file when the server ends.
struct UnixPath(PathBuf);

impl Drop for UnixPath {
    fn drop(&mut self) {
        // Somebody may have removed it already; that is as good.
        drop(std::fs::remove_file(&self.0));
    }
}

/// Starts a server: checks the options, binds, recovers the data directory, serves. Returns when
/// it is ready.
///
/// # Errors
/// A [`ServeError`] that names the option, address or directory; nothing is left running.
pub fn start(mut options: ServeOptions) -> Result<Running, ServeError> {
    options.check()?;
    if options.cores == 0 {
        options.cores = std::thread::available_parallelism().map_or(1, usize::from);
        options.check()?;
    }
    options.limits = options.limits.within(options.memory_bytes, options.cores);
    options.check()?;
    let listeners = Listeners::bind(&options)?;
    let unix = listeners.unix.as_ref().map(|(_, path)| UnixPath(path.clone()));
    options.limits.connections = allow_connections(options.limits.connections);
    let env = RealEnv;
    let shared = Arc::new(Shared::new(options.limits, options.cores, env.now_us()));
    let health = Arc::new(Health::default());
    let handle_place: Arc<Mutex<Option<Handle<RealEnv>>>> = Arc::default();
    let features = Arc::new(Features::new(options.limits, options.source_dir.clone()));
    let cannot = |address: SocketAddr| {
        move |source| ServeError::Listen { what: address.to_string(), source }
    };
    let http = start_http(listeners.http, &shared, &handle_place, &health, &features);
    let http = http.map_err(|(address, source)| cannot(address)(source))?;
    let grpc = listeners.grpc.map(|address| {
        let (health, features) = (Arc::clone(&health), Arc::clone(&features));
        GrpcServer::start(address, health, features).map_err(cannot(address))
    });
    let grpc = grpc.transpose()?;
    let engine = start_engine(env, &options, &listeners, &shared)?;
    *handle_place.lock().unwrap_or_else(PoisonError::into_inner) = Some(engine.handle());
    let pages = ScanPages::start(env, engine.handle())
        .map_err(|source| ServeError::system("starting the thread of scans", source))?;
    // Nobody else sets it.
    let _ = shared.pages.set(pages.requests());
    let registry = start_registry(env, &options.data, engine.handle())?;
    let _ = shared.registry.set(registry.desk());
    let histories = HistoryReads::start(registry.features(), options.limits)
        .map_err(|source| ServeError::system("starting the thread of training reads", source))?;
    let _ = shared.histories.set(histories.begins());
    features.open(registry.features());
    let root = backup_root(&options);
    let backups = start_backups(env, registry.features(), root.clone())?;
    let _ = shared.backups.set(backups.desk());
    let erases = EraseDesk::start(env, engine.handle(), root)
        .map_err(|source| ServeError::system("starting the thread of erases", source))?;
    let _ = shared.erases.set(erases.questions());
    let computations =
        ComputeDesk::start(env, registry.features(), options.limits).map_err(|source| {
            ServeError::system("starting the threads of computed features", source)
        })?;
    let _ = shared.computations.set(computations.computations());
    health.set(Stage::Ready);
    let tcp = listeners.tcp.as_ref().map(|(_, address)| *address);
    Ok(Running {
        backups,
        engine,
        pages,
        histories,
        erases,
        computations,
        registry,
        http,
        grpc,
        health,
        tcp,
        unix,
        shared,
    })
}

/// The listener for features, metrics and health, if there is to be one; the address that it cannot have.
fn start_http(
    address: Option<SocketAddr>,
    shared: &Arc<Shared>,
    handle_place: &Arc<Mutex<Option<Handle<RealEnv>>>>,
    health: &Arc<Health>,
    features: &Arc<Features>,
) -> Result<Option<HttpServer>, (SocketAddr, std::io::Error)> {
    let Some(address) = address else { return Ok(None) };
    let source = Source {
        counters: shared.counters.clone(),
        limits: shared.limits,
        engine: engine_source(handle_place, features),
        failure: failure_source(handle_place),
    };
    HttpServer::start(address, Arc::clone(health), source, Arc::clone(features))
        .map(Some)
        .map_err(|source| (address, source))
}

fn start_registry(
    env: RealEnv,
    data: &Path,
    handle: Handle<RealEnv>,
) -> Result<RegistryHelper<RealEnv>, ServeError> {
    let features = FeatureStore::over(env, data, handle).map_err(|source| {
        ServeError::Registry { data: data.display().to_string(), source: Box::new(source) }
    })?;
    RegistryHelper::start(features)
        .map_err(|source| ServeError::system("starting the thread of the registry", source))
}

fn start_backups(
    env: RealEnv,
    features: Arc<FeatureStore<RealEnv>>,
    root: Option<BackupRoot>,
) -> Result<Backups, ServeError> {
    Backups::start(env, features, root)
        .map_err(|source| ServeError::system("starting the thread of backups", source))
}

fn backup_root(options: &ServeOptions) -> Option<BackupRoot> {
    let at = options.backup_dir.clone()?;
    Some(BackupRoot::new(at, &options.data, &options.object_store))
}

fn start_engine(
    env: RealEnv,
    options: &ServeOptions,
    listeners: &Listeners,
    shared: &Arc<Shared>,
) -> Result<Engine<RealEnv>, ServeError> {
    let archive = options.archive.as_deref();
    let archive = archive.map(|root| archive_at(&env, root, &options.object_store)).transpose()?;
    let kept = |archive: ArchiveOptions| {
        let archive = archive.within(options.memory_bytes).lagging(options.archive_lag_us);
        archive.keeping(options.archive_grace_us)
    };
    let archive = archive.map(kept);
    let archive_bytes = archive.as_ref().map_or(0, ArchiveOptions::memory_bytes);
    let engine_options = Options {
        cores: options.cores,
        memory_bytes: options.memory_bytes,
        reserved_bytes: options.limits.memory_bytes(options.cores) + archive_bytes,
        spin_us: options.spin_us,
        pin: options.pin,
        archive,
        ..Options::default()
    };
    let seats = Mutex::new(listeners.for_shards(options.cores)?);
    let (shared, front_env) = (Arc::clone(shared), env);
    Engine::start(env, options.data.clone(), engine_options, move |shard| {
        let mut seats = seats.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = seats.get_mut(shard).map(std::mem::take).unwrap_or_default();
        Front::new(front_env, Arc::clone(&shared), shard, mine)
    })
    .map_err(|source| ServeError::Engine {
        data: options.data.display().to_string(),
        source: Box::new(source),
    })
}

/// The archive in a directory, which is made if it is missing, or in an object store: whether it is this store's is
/// seen later, and writes and hot reads do not wait for that.
fn archive_at(
    env: &RealEnv,
    root: &Path,
    object_store: &OpenOptions,
) -> Result<ArchiveOptions, ServeError> {
    let failed = |source| ServeError::system("opening the archive's directory", source);
    if let Some(url) = root.to_str().filter(|root| is_url(root)) {
        let objects = open_url(url, object_store).map_err(|source| {
            let what = url.to_owned();
            ServeError::ObjectStore { what, reason: source.to_string() }
        })?;
        return Ok(ArchiveOptions::new(objects));
    }
    env.create_dir_all(root).map_err(failed)?;
    let objects = LocalObjects::new(root).map_err(|e| failed(std::io::Error::other(e)))?;
    Ok(ArchiveOptions::new(Arc::new(objects)))
}

/// Reads the numbers of engine and feature views for `/metrics`, once they are there.
fn engine_source(
    place: &Arc<Mutex<Option<Handle<RealEnv>>>>,
    features: &Arc<Features>,
) -> Arc<dyn Fn() -> Vec<EngineFamily> + Send + Sync> {
    let (place, features) = (Arc::clone(place), Arc::clone(features));
    Arc::new(move || {
        let handle = place.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(handle) = handle else { return Vec::new() };
        let mut families = super::figures::families(&handle.stats());
        if let Some(store) = features.opened() {
            families.extend(super::quality_figures::families(&store.health(), RealEnv.now_us()));
        }
        families
    })
}

/// Tells which shard has failed, once there are shards.
fn failure_source(
    place: &Arc<Mutex<Option<Handle<RealEnv>>>>,
) -> Arc<dyn Fn() -> Option<String> + Send + Sync> {
    let place = Arc::clone(place);
    Arc::new(move || {
        let handle = place.lock().unwrap_or_else(PoisonError::into_inner).clone();
        handle?.stats().failure(RealEnv.monotonic_ns())
    })
}

impl Running {
    /// Where the binary protocol listens on TCP.
    pub fn tcp_addr(&self) -> Option<SocketAddr> {
        self.tcp
    }

    /// Path of the unix socket.
    pub fn unix_path(&self) -> Option<&Path> {
        self.unix.as_ref().map(|path| path.0.as_path())
    }

    /// Where HTTP is served.
    pub fn http_addr(&self) -> Option<SocketAddr> {
        self.http.as_ref().map(HttpServer::address)
    }

    /// Where gRPC is served.
    pub fn grpc_addr(&self) -> Option<SocketAddr> {
        self.grpc.as_ref().map(GrpcServer::address)
    }

    /// Connections that this process may serve: the limit, or what its descriptors allow.
    pub fn connections_max(&self) -> u32 {
        self.shared.limits.connections
    }

    /// The store, for embedders and tests.
    pub fn handle(&self) -> Handle<RealEnv> {
        self.engine.handle()
    }

    /// What recovery found when the directory was opened.
    pub fn recovery(&self) -> &RecoveryReport {
        self.engine.report()
    }

    /// Stops: no new connection or request, what is under way is answered within its deadline,
    /// the log gets its last horizon, the threads end.
    ///
    /// # Errors
    /// The first error that a shard ended with.
    pub fn stop(self) -> Result<Stopped, ServeError> {
        self.health.set(Stage::Stopping);
        self.backups.stop();
        let handle = self.engine.handle();
        let system = |error: thermae_engine::Error| ServeError::Engine {
            data: "while stopping".to_owned(),
            source: Box::new(error),
        };
        drop(self.registry);
        let stopped = self.engine.stop().map_err(system);
        drop(self.pages);
        drop(self.backups);
        drop(self.histories);
        drop(self.erases);
        drop(self.computations);
        let reads = handle.reads();
        let horizon = (0..reads.partitions()).map(|one| (one, reads.applied(one))).collect();
        let requests = self.shared.counters.sum(|shard| &shard.requests);
        stopped.map(|()| Stopped { horizon, requests })
    }
}

/// Serves until SIGTERM or SIGINT, then stops in order. `ready` is called once it serves.
///
/// # Errors
/// As [`start`] and [`Running::stop`].
pub fn run(options: ServeOptions, ready: impl FnOnce(&Running)) -> Result<Stopped, ServeError> {
    // Caught before anything is started, so that a signal during recovery is not lost.
    let mut signals =
        Signals::catch().map_err(|source| ServeError::system("catching signals", source))?;
    let running = start(options)?;
    ready(&running);
    signals.wait().map_err(|source| ServeError::system("waiting for a signal", source))?;
    running.stop()
}
