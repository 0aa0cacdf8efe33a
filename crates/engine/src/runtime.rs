//! Opens a directory and runs its shards, one pinned thread each.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;

use arc_swap::{ArcSwap, ArcSwapOption};
use thermae_env::{Env, Ring, SHORTEST_TURNS, ask_for_turns_of, available_cores, pin_thread};
use thermae_formats::manifest::SealedLog;

use crate::anchor::Anchor;
#[cfg(feature = "cold")]
use crate::archive::{ArchiveReader, ArchiveThreads, Archiver};
#[cfg(feature = "cold")]
use crate::archived::{Asks, Way};
use crate::below::BelowHot;
use crate::catalogue::Catalogue;
use crate::error::Error;
use crate::handle::Handle;
use crate::log::{LogOptions, ManifestStore, RecoveryReport, open_directory_with};
use crate::message::{Mailbox, Message};
use crate::options::Options;
use crate::outside::{Shared, WakerOf};
use crate::owner::{Owner, Parts};
use crate::reads::Reads;
use crate::replay::{Rebuild, Rebuilt};
use crate::scratch::Scratch;
use crate::service::Service;
use crate::shard::Shard;
use crate::stats::ShardStats;
use crate::table_readers::TableReaders;

/// A directory after recovery, before its shards run.
pub struct Opened<E: Env> {
    env: E,
    options: Options,
    manifests: Arc<ManifestStore<E>>,
    owners: Vec<Owner<E>>,
    scratch: Scratch<E>,
    catalogue: Arc<Catalogue>,
    reads: Reads,
    below: Arc<BelowHot<E>>,
    /// Threads that may read tables by themselves at a time.
    readers: usize,
    report: RecoveryReport,
    lock: E::Lock,
    #[cfg_attr(not(feature = "cold"), allow(dead_code))]
    dir: PathBuf,
    /// What the directory knows of its archive.
    anchor: Option<Anchor>,
    #[cfg(feature = "cold")]
    archive_asks: Arc<Asks>,
}

/// Recovers `dir`, creating it when there is none: replays its logs into fresh hot tables and
/// begins a new epoch.
///
/// # Errors
/// Damage, a foreign or newer directory, another process in it, or too small a memory budget.
pub fn open<E: Env>(env: E, dir: &Path, options: Options) -> Result<Opened<E>, Error> {
    let options = options.checked()?;
    let log_options = LogOptions {
        partitions: options.partitions,
        segment_bytes: options.segment_bytes,
        ..LogOptions::default()
    };
    let mut rebuild = Rebuild::new(env.clone(), dir, &options);
    let recovered =
        open_directory_with(&env, dir, options.cores as u16, &log_options, &mut rebuild)
            .map_err(|error| rebuild.take_error().unwrap_or_else(|| Error::from_log(error)))?;
    let anchor = Anchor::read(&env, dir)?;
    let Rebuilt { states, trees, catalogue, reads, plan } = rebuild.finish()?;
    let manifests = ManifestStore::new(env.clone(), dir, recovered.manifest);
    let manifests = Arc::new(manifests.map_err(Error::from_log)?);
    let strays = manifests.remove_unnamed().map_err(Error::from_log)?;
    let Options { memory_bytes, training_bytes, training_threads, .. } = options;
    let scratch = Scratch::open(env.clone(), dir, memory_bytes, training_bytes, training_threads)?;
    #[cfg(feature = "cold")]
    let archive_asks: Arc<Asks> = Arc::default();
    #[cfg(feature = "cold")]
    let way = options.archive.as_ref().map(|archive| Way {
        asks: Arc::clone(&archive_asks),
        deadline_ns: u64::try_from(archive.read_deadline_us).unwrap_or(0) * 1_000,
    });
    let has_archive = options.opens_archive() || anchor.is_some();
    let below = Arc::new(BelowHot::new(reads.clone()));
    let owners = states
        .into_iter()
        .zip(recovered.writers)
        .zip(trees)
        .map(|((state, log), tree)| {
            let (env, manifests) = (env.clone(), Arc::clone(&manifests));
            let strays = strays.clone();
            let parts = Parts {
                env,
                state,
                log,
                tree,
                manifests,
                strays,
                plan,
                has_archive,
                below: Arc::clone(&below),
                #[cfg(feature = "cold")]
                archive: way.clone(),
            };
            Owner::new(parts, &options)
        })
        .collect();
    Ok(Opened {
        env,
        options,
        manifests,
        owners,
        scratch,
        catalogue: Arc::new(catalogue),
        readers: plan.readers() * reads.shards(),
        reads,
        below,
        report: recovered.report,
        lock: recovered.lock,
        dir: dir.to_owned(),
        anchor,
        #[cfg(feature = "cold")]
        archive_asks,
    })
}

/// Shards that their holder turns.
pub struct Stepped<E: Env, S: Service<E>> {
    /// One a core, to be turned by turns.
    pub shards: Vec<Shard<E, S>>,
    /// The way in.
    pub handle: Handle<E>,
    /// Keep it: others are kept out of the directory while it lives.
    pub lock: E::Lock,
    /// To be stepped by its holder, where the store has an archive.
    #[cfg(feature = "cold")]
    pub archiver: Option<Archiver<E>>,
    /// The same, for reads of what lies in the archive alone.
    #[cfg(feature = "cold")]
    pub archive_reader: Option<ArchiveReader<E>>,
}

impl<E: Env> Opened<E> {
    /// What recovery found.
    pub fn report(&self) -> &RecoveryReport {
        &self.report
    }

    fn share(&self, wakers: Vec<WakerOf<E>>) -> Arc<Shared<E>> {
        let published_ns = self.env.monotonic_ns();
        let stats = self.owners.iter().enumerate().map(|(shard, owner)| {
            ArcSwap::from_pointee(ShardStats {
                shard,
                published_ns,
                tiers: owner.tiers(),
                ..owner.state.stats()
            })
        });
        Arc::new(Shared {
            mailboxes: wakers.into_iter().map(Mailbox::new).collect(),
            catalogue: ArcSwap::new(Arc::clone(&self.catalogue)),
            gate: ArcSwapOption::empty(),
            reads: self.reads.clone(),
            below: Arc::clone(&self.below),
            readers: TableReaders::new(self.env.clone(), self.readers),
            rooms: self.owners.iter().map(Owner::room).collect(),
            manifests: Arc::clone(&self.manifests),
            snapshots: Arc::default(),
            scratch: self.scratch.clone(),
            has_archive: self.options.opens_archive() || self.anchor.is_some(),
            is_archive_open: self.options.opens_archive(),
            erase_waits: AtomicBool::new(false),
            needs_archive: ArcSwap::from_pointee(
                self.anchor.as_ref().map(|anchor| anchor.views.clone()).unwrap_or_default(),
            ),
            #[cfg(feature = "cold")]
            shelf: crate::cold::Shelf::default(),
            #[cfg(feature = "cold")]
            archive_asks: Arc::clone(&self.archive_asks),
            stats: stats.collect(),
            stopping: AtomicBool::new(false),
        })
    }

    #[cfg(feature = "cold")]
    fn archiver(&self, shared: &Arc<Shared<E>>) -> Option<Archiver<E>> {
        let options = self.options.archive.clone()?;
        let (env, dir, anchor) = (self.env.clone(), self.dir.clone(), self.anchor.clone());
        let manifest = self.manifests.current();
        let (id, hash_seed, partitions) =
            (manifest.store_id, manifest.hash_seed, manifest.partitions);
        let store = thermae_tiering::cold::Store { id, hash_seed, partitions };
        Some(Archiver::new(env, dir, Arc::clone(shared), store, options, anchor))
    }

    /// Makes the shards for a caller that turns them itself: the simulator.
    ///
    /// # Errors
    /// A ring could not be made.
    pub fn into_shards<S: Service<E>>(
        self,
        mut make_service: impl FnMut(usize) -> S,
    ) -> Result<Stepped<E, S>, Error> {
        let mut rings = Vec::new();
        for shard in 0..self.owners.len() {
            rings
                .push(self.env.ring().map_err(|e| Error::io(format!("ring of shard {shard}"), e))?);
        }
        let shared = self.share(rings.iter().map(Ring::waker).collect());
        #[cfg(feature = "cold")]
        let archiver = self.archiver(&shared);
        #[cfg(feature = "cold")]
        let archive_reader =
            archiver.is_some().then(|| ArchiveReader::new(self.env.clone(), Arc::clone(&shared)));
        let mut shards = Vec::new();
        for (number, (owner, ring)) in self.owners.into_iter().zip(rings).enumerate() {
            let (service, env) = (make_service(number), self.env.clone());
            let shared = Arc::clone(&shared);
            shards.push(Shard::new(number, env, ring, service, owner, shared, &self.options)?);
        }
        Ok(Stepped {
            shards,
            handle: Handle::new(shared),
            lock: self.lock,
            #[cfg(feature = "cold")]
            archiver,
            #[cfg(feature = "cold")]
            archive_reader,
        })
    }

    /// Starts one thread a shard.
    ///
    /// # Errors
    /// A thread or its ring could not be made; those already started are stopped.
    pub fn run<S, M>(self, make_service: M) -> Result<Engine<E>, Error>
    where
        S: Service<E> + 'static,
        M: Fn(usize) -> S + Send + Sync + 'static,
    {
        let make_service = Arc::new(make_service);
        let (waker_tx, waker_rx) = mpsc::channel();
        let mut threads = Vec::new();
        let mut seats = Vec::new();
        let shared = {
            for number in 0..self.owners.len() {
                let (seat_tx, seat_rx) = mpsc::channel::<Seat<E>>();
                seats.push(seat_tx);
                let (env, options) = (self.env.clone(), self.options.clone());
                let (waker_tx, make) = (waker_tx.clone(), Arc::clone(&make_service));
                let thread = std::thread::Builder::new()
                    .name(format!("shard-{number}"))
                    .spawn(move || {
                        shard_thread(number, env, &options, &waker_tx, &seat_rx, |n| make(n))
                    })
                    .map_err(|e| Error::io("starting a shard thread", e))?;
                threads.push(thread);
            }
            drop(waker_tx);
            let mut wakers = Vec::new();
            for _ in 0..threads.len() {
                let made = waker_rx.recv().map_err(|_| Error::Stopped)?;
                wakers.push(made?);
            }
            wakers.sort_by_key(|(number, _)| *number);
            self.share(wakers.into_iter().map(|(_, waker)| waker).collect())
        };
        #[cfg(feature = "cold")]
        let archiver = self.archiver(&shared);
        for (owner, seat) in self.owners.into_iter().zip(seats) {
            // A thread that is gone already reports itself when it is joined.
            let _ = seat.send((owner, Arc::clone(&shared)));
        }
        #[cfg(feature = "cold")]
        let archive = archiver
            .map(|archiver| ArchiveThreads::start(archiver, &self.env, &shared))
            .transpose()
            .map_err(|e| Error::io("starting the archive's threads", e))?;
        Ok(Engine {
            #[cfg(feature = "cold")]
            archive,
            handle: Handle::new(shared),
            threads,
            manifests: self.manifests,
            report: self.report,
            _lock: self.lock,
        })
    }
}

/// What a shard thread needs and cannot make itself.
type Seat<E> = (Owner<E>, Arc<Shared<E>>);
/// A shard's waker, or why there is none.
type WakerMade<E> = Result<(usize, WakerOf<E>), Error>;

fn shard_thread<E: Env, S: Service<E>>(
    number: usize,
    env: E,
    options: &Options,
    waker_tx: &mpsc::Sender<WakerMade<E>>,
    seat_rx: &mpsc::Receiver<Seat<E>>,
    make_service: impl FnOnce(usize) -> S,
) -> Result<Option<SealedLog>, Error> {
    // It lets others in often, and is let in at once when somebody asks it. With the usual turns it works, too.
    let _ = ask_for_turns_of(SHORTEST_TURNS);
    let pinned = if options.pin { pin_shard(number) } else { Ok(()) };
    let ring = pinned
        .and_then(|()| env.ring().map_err(|e| Error::io(format!("ring of shard {number}"), e)));
    let ring = match ring {
        Ok(ring) => ring,
        Err(error) => {
            // Told to the starter, who waits to hear from every shard.
            let _ = waker_tx.send(Err(error));
            return Ok(None);
        }
    };
    if waker_tx.send(Ok((number, ring.waker()))).is_err() {
        return Ok(None);
    }
    let Ok((owner, shared)) = seat_rx.recv() else { return Ok(None) };
    let service = make_service(number);
    let mut shard = Shard::new(number, env, ring, service, owner, shared, options)?;
    while shard.turn()? {}
    Ok(shard.log_end())
}

/// Keeps the calling thread on its core among those that this process may use; shards share cores
/// when there are fewer.
fn pin_shard(number: usize) -> Result<(), Error> {
    let cannot = |e| Error::io(format!("pinning shard {number}"), e);
    let cores = available_cores().map_err(cannot)?;
    let core = cores.get(number % cores.len().max(1)).copied().unwrap_or(number);
    pin_thread(core).map_err(cannot)
}

/// A running store.
pub struct Engine<E: Env> {
    #[cfg(feature = "cold")]
    archive: Option<ArchiveThreads>,
    handle: Handle<E>,
    threads: Vec<JoinHandle<Result<Option<SealedLog>, Error>>>,
    manifests: Arc<ManifestStore<E>>,
    report: RecoveryReport,
    _lock: E::Lock,
}

impl<E: Env> Engine<E> {
    /// Opens `dir` and starts its shards with a service each.
    ///
    /// # Errors
    /// As [`open`] and [`Opened::run`].
    pub fn start<S, M>(
        env: E,
        dir: impl Into<PathBuf>,
        options: Options,
        make_service: M,
    ) -> Result<Engine<E>, Error>
    where
        S: Service<E> + 'static,
        M: Fn(usize) -> S + Send + Sync + 'static,
    {
        open(env, &dir.into(), options)?.run(make_service)
    }

    /// The way in from any thread.
    pub fn handle(&self) -> Handle<E> {
        self.handle.clone()
    }

    /// What recovery found when the directory was opened.
    pub fn report(&self) -> &RecoveryReport {
        &self.report
    }

    /// Stops in order: services answer what they have, the log is synced, threads end.
    ///
    /// # Errors
    /// The first error that a shard ended with.
    pub fn stop(mut self) -> Result<(), Error> {
        self.stop_threads()
    }

    fn stop_threads(&mut self) -> Result<(), Error> {
        #[cfg(feature = "cold")]
        self.archive.iter_mut().for_each(ArchiveThreads::stop_archiving);
        let shared = self.handle.shared();
        shared.stopping.store(true, Ordering::Release);
        for mailbox in &shared.mailboxes {
            let mut message = Message::Stop;
            while let Err(back) = mailbox.post(message) {
                message = back;
                std::thread::yield_now();
            }
        }
        let ended: Vec<_> = self
            .threads
            .drain(..)
            .map(|thread| thread.join().unwrap_or(Err(Error::Stopped)))
            .collect();
        let ends: Vec<Option<SealedLog>> = ended.into_iter().collect::<Result<_, _>>()?;
        // Where it cannot be done the next open finds the ends as after a crash.
        self.manifests.close(&ends).map_err(Error::from_log)?;
        Ok(())
    }
}

impl<E: Env> Drop for Engine<E> {
    fn drop(&mut self) {
        if !self.threads.is_empty() {
            // An error has nowhere to go from here; `stop` reports it.
            let _ = self.stop_threads();
        }
    }
}
