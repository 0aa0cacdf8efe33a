//! The registry over a simulated machine that loses power, and over a disk that fails.

use std::path::Path;
use std::sync::{Arc, Mutex};

use thermae_engine::backup::Source;
use thermae_engine::options::HotMemory;
use thermae_engine::runtime::Stepped;
use thermae_engine::{Catalogue, Handle, NoService, Options, Shard, background::Background};
use thermae_env::{Env, SimEnv, SimOp};
use thermae_features::definitions::read;
use thermae_features::model::{Name, Object};
use thermae_features::registry::{ApplyOptions, Registry, ViewStore};
use thermae_features::{Definitions, Error, State};
use thermae_formats::FeatureView;

pub const DIR: &str = "/data";

/// A small generator of our own, so that a seed is a run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// A catalogue that outlives the machine, as an engine's log does, and that refuses now and then, having
/// defined the views or not.
struct MemoryViews {
    catalogue: Arc<Mutex<Catalogue>>,
    dice: Mutex<Dice>,
    fails: bool,
}

impl ViewStore for MemoryViews {
    fn catalogue(&self) -> Arc<Catalogue> {
        Arc::new(self.catalogue.lock().unwrap().clone())
    }

    fn define(&self, views: &[FeatureView]) -> Result<(), thermae_engine::Error> {
        let failed = || Err(thermae_engine::Error::InDoubt("the log failed".to_owned()));
        let face = if self.fails { self.dice.lock().unwrap().below(8) } else { 7 };
        if face == 0 {
            return failed();
        }
        let mut catalogue = self.catalogue.lock().unwrap();
        let (entries, _) = catalogue.plan(views)?;
        entries.iter().try_for_each(|entry| catalogue.add(entry))?;
        if face == 1 { failed() } else { Ok(()) }
    }
}

/// The `n`th change of a run: two views that grow, and a service that reads them. Every third has no view.
pub fn definitions(n: u64) -> Definitions {
    let grown = n / 3;
    let view = |name: &str| {
        let features: Vec<String> =
            (0..=grown).map(|at| format!("{{ name = \"f{at}\", type = \"int64\" }}")).collect();
        format!("[views.{name}]\nttl = \"0\"\nfeatures = [{}]\n", features.join(", "))
    };
    let mut text = "format = 1\nproject = \"p\"\n".to_owned();
    if n.is_multiple_of(3) {
        text += &view("one");
        text += &view("two");
    }
    text += &format!("[services.s{n}]\nfeatures = [\"one:f{grown}\", \"t=two:f{grown}\"]\n");
    read("run", &text).unwrap()
}

/// What the registry must hold: as it was acknowledged last, or with the change in doubt as a whole.
struct Expected {
    sure: Vec<Object>,
    version: u64,
    doubtful: Option<Vec<Object>>,
}

pub fn objects(state: &State) -> Vec<Object> {
    state.objects().map(|object| Object::clone(object)).collect()
}

impl Expected {
    fn new() -> Self {
        Expected { sure: Vec::new(), version: 0, doubtful: None }
    }

    fn with(&self, definitions: &Definitions) -> Vec<Object> {
        let mut all: Vec<Object> = self.sure.clone();
        for object in &definitions.objects {
            match all.iter_mut().find(|known| known.id == object.id) {
                Some(known) => *known = object.clone(),
                None => all.push(object.clone()),
            }
        }
        all.sort_by(|one, two| one.id.cmp(&two.id));
        all
    }

    /// Judges what is there, and takes it as sure.
    fn check(&mut self, state: &State, catalogue: &Catalogue) -> bool {
        let found = objects(state);
        let was_in_doubt = self.doubtful.take();
        let came = was_in_doubt.as_ref().is_some_and(|doubtful| *doubtful == found);
        if came {
            self.version += 1;
        }
        assert!(came || found == self.sure, "neither the one nor the other: {found:?}");
        assert_eq!(state.version(), self.version);
        for view in state.views() {
            let stored = catalogue.view_at(&view.project, &view.name, view.version).unwrap();
            assert_eq!(stored.latest.definition, *view, "rows are laid out by another definition");
        }
        self.sure = found;
        came
    }

    fn acknowledged(&mut self, definitions: &Definitions) {
        self.sure = self.with(definitions);
        self.version += 1;
    }
}

#[derive(Default, Debug)]
struct Tally {
    acknowledged: u64,
    doubtful: u64,
    completed: u64,
    undone: u64,
}

/// Some lives of one machine; each ends by a power cut or a kill at any disk operation.
fn lives(seed: u64, tally: &mut Tally) {
    let mut dice = Dice(seed);
    let mut env = SimEnv::new(seed);
    env.create_dir_all(Path::new(DIR)).unwrap();
    let catalogue = Arc::new(Mutex::new(Catalogue::default()));
    let (mut expected, mut n) = (Expected::new(), 0);
    for life in 0..6 {
        let fails = dice.below(2) == 0;
        let views = MemoryViews {
            catalogue: Arc::clone(&catalogue),
            dice: Mutex::new(Dice(seed ^ life)),
            fails,
        };
        env.crash_after(20 + dice.below(260));
        if fails {
            env.fail_randomly(SimOp::Sync, 30_000);
            env.fail_randomly(SimOp::Write, 3_000);
        }
        if let Ok(registry) = Registry::open(env.clone(), Path::new(DIR), views) {
            let was_doubtful = expected.doubtful.is_some();
            let came = expected.check(&registry.published().state, &catalogue.lock().unwrap());
            tally.completed += u64::from(was_doubtful && came);
            tally.undone += u64::from(was_doubtful && !came);
            n += u64::from(came);
            for _ in 0..40 {
                let change = definitions(n);
                match registry.apply(&change, &ApplyOptions::default()) {
                    Ok(_) => {
                        // One that was in doubt came true before this, or never will.
                        if expected.doubtful.take().is_some() {
                            tally.completed += 1;
                        }
                        expected.acknowledged(&change);
                        tally.acknowledged += 1;
                        n += 1;
                    }
                    Err(Error::InDoubt(_) | Error::Database { .. } | Error::Engine(_)) => {
                        expected.doubtful = Some(expected.with(&change));
                        tally.doubtful += 1;
                    }
                    Err(other) => panic!("seed {seed}, life {life}: {other}"),
                }
                if env.is_frozen() {
                    break;
                }
            }
        }
        env = if dice.below(3) == 0 { env.kill() } else { env.crash() };
    }
    let views =
        MemoryViews { catalogue: Arc::clone(&catalogue), dice: Mutex::new(Dice(0)), fails: false };
    let registry =
        Registry::open(env, Path::new(DIR), views).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
    expected.check(&registry.published().state, &catalogue.lock().unwrap());
}

#[test]
fn an_apply_is_whole_or_not_at_all_whatever_fails_whenever() {
    let mut tally = Tally::default();
    for seed in 0..150 {
        lives(seed, &mut tally);
    }
    // Each kind of end was met.
    assert!(tally.acknowledged > 1_000 && tally.doubtful > 200, "{tally:?}");
    assert!(tally.completed > 30 && tally.undone > 30, "{tally:?}");
}

/// A real engine, turned by whoever waits for it.
pub struct SteppedViews {
    env: SimEnv,
    handle: Handle<SimEnv>,
    shards: Mutex<Vec<Shard<SimEnv, NoService>>>,
    _lock: <SimEnv as Env>::Lock,
}

impl SteppedViews {
    pub fn open(env: &SimEnv, dir: &Path) -> Result<Self, thermae_engine::Error> {
        let options = Options {
            cores: 1,
            memory_bytes: 4 << 20,
            partitions: 4,
            segment_bytes: 64 << 10,
            spin_us: 0,
            background: Background::Inline,
            flush_bytes: 16 << 10,
            hot_memory: HotMemory::Heap,
            ..Options::default()
        };
        let opened = thermae_engine::open(env.clone(), dir, options)?;
        let Stepped { shards, handle, lock, .. } = opened.into_shards(|_| NoService)?;
        Ok(SteppedViews { env: env.clone(), handle, shards: Mutex::new(shards), _lock: lock })
    }
}

impl SteppedViews {
    /// What a backup is made of.
    pub fn source(&self) -> Result<Source<SimEnv>, thermae_engine::Error> {
        let taken_us = self.env.now_us();
        let mut ticket = Some(self.handle.submit_backup()?);
        let snapshot = self.turn_until(|| match ticket.take()?.poll() {
            Ok(Ok(snapshot)) => Some(Ok(snapshot)),
            Ok(Err(waiting)) => {
                ticket = Some(waiting);
                None
            }
            Err(error) => Some(Err(error)),
        })??;
        Source::new(&self.handle, snapshot, taken_us)
    }

    /// Turns the shards until `done` gives something.
    fn turn_until<T>(
        &self,
        mut done: impl FnMut() -> Option<T>,
    ) -> Result<T, thermae_engine::Error> {
        let mut shards = self.shards.lock().unwrap();
        for _ in 0..100_000 {
            for shard in shards.iter_mut() {
                if shard.turn().is_err() {
                    return Err(thermae_engine::Error::Stopped);
                }
            }
            if let Some(answer) = done() {
                return Ok(answer);
            }
            if self.env.is_frozen() {
                return Err(thermae_engine::Error::Stopped);
            }
        }
        panic!("the shards never answered");
    }
}

impl ViewStore for SteppedViews {
    fn catalogue(&self) -> Arc<Catalogue> {
        self.handle.catalogue()
    }

    fn define(&self, views: &[FeatureView]) -> Result<(), thermae_engine::Error> {
        let waiter = self.handle.submit_apply(views)?;
        self.turn_until(|| waiter.poll().pop())?.map(|_| ())
    }
}

#[test]
fn registry_and_engine_agree_after_every_power_cut() {
    let mut tally = Tally::default();
    for seed in 0..40 {
        let mut dice = Dice(seed);
        let mut env = SimEnv::new(seed);
        let (mut expected, mut n) = (Expected::new(), 0);
        for _ in 0..4 {
            env.crash_after(60 + dice.below(500));
            let opened = SteppedViews::open(&env, Path::new(DIR)).map_err(Error::from);
            let registry =
                opened.and_then(|views| Registry::open(env.clone(), Path::new(DIR), views));
            if let Ok(registry) = registry {
                let was_doubtful = expected.doubtful.is_some();
                let published = registry.published();
                let came = expected.check(&published.state, &published.catalogue);
                tally.completed += u64::from(was_doubtful && came);
                tally.undone += u64::from(was_doubtful && !came);
                n += u64::from(came);
                while !env.is_frozen() && n < 60 {
                    let change = definitions(n);
                    match registry.apply(&change, &ApplyOptions::default()) {
                        Ok(_) => {
                            expected.acknowledged(&change);
                            tally.acknowledged += 1;
                            n += 1;
                        }
                        Err(_) => {
                            expected.doubtful = Some(expected.with(&change));
                            tally.doubtful += 1;
                            break;
                        }
                    }
                }
            }
            env = env.crash();
        }
        let views = SteppedViews::open(&env, Path::new(DIR)).unwrap();
        let registry = Registry::open(env.clone(), Path::new(DIR), views).unwrap();
        let published = registry.published();
        expected.check(&published.state, &published.catalogue);
    }
    assert!(tally.acknowledged > 300 && tally.doubtful > 60, "{tally:?}");
    assert!(tally.completed > 5 && tally.undone > 5, "{tally:?}");
}

#[test]
fn a_switch_survives_a_power_cut_whole() {
    for seed in 0..60 {
        let mut dice = Dice(seed);
        let env = SimEnv::new(seed);
        env.create_dir_all(Path::new(DIR)).unwrap();
        let catalogue = Arc::new(Mutex::new(Catalogue::default()));
        let open = |env: &SimEnv| {
            let catalogue = Arc::clone(&catalogue);
            let views = MemoryViews { catalogue, dice: Mutex::new(Dice(0)), fails: false };
            Registry::open(env.clone(), Path::new(DIR), views).unwrap()
        };
        let view = |version: u32, lifecycle: &str| {
            let text = format!(
                "format = 1\nproject = \"p\"\n[views.v]\nversion = {version}\nlifecycle = \"{lifecycle}\"\nttl = \
                 \"0\"\nfeatures = [{{ name = \"f\", type = \"bool\" }}]\n"
            );
            read("v", &text).unwrap()
        };
        let registry = open(&env);
        registry.apply(&view(1, "active"), &ApplyOptions::default()).unwrap();
        registry.apply(&view(2, "staged"), &ApplyOptions::default()).unwrap();
        env.crash_after(dice.below(12));
        let to: Name = "v@2".parse().unwrap();
        let switched = registry.switch(&to, &ApplyOptions::default());
        drop(registry);
        let registry = open(&env.crash());
        let state = &registry.published().state;
        let is_switched = state.switch("p", "v").is_some();
        assert!(is_switched || switched.is_err(), "seed {seed}: an acknowledged switch is lost");
        let staged = state.find(&[thermae_features::model::Kind::View], &to, None).unwrap();
        let is_active = staged.about.lifecycle.is_serving();
        assert_eq!(is_switched, is_active, "seed {seed}: half a switch");
        assert_eq!(state.version(), if is_switched { 3 } else { 2 }, "seed {seed}");
    }
}
