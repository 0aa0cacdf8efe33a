//! Figures of a registry: how long an apply takes, and whether a large one slows a served request.
//!
//! `cargo run --release -p thermae-features --example registry [VIEWS]`

use std::error::Error;
use std::io::Write;

use thermae_engine::store::Row;
use thermae_engine::{Options, Store};
use thermae_env::{Env, RealEnv};
use thermae_features::definitions::read;
use thermae_features::registry::ApplyOptions;
use thermae_features::store::{Ask, EntityRows, FeatureStore, PushOptions};
use thermae_formats::{KeyValue, Value};

/// Features of a view.
const FEATURES: usize = 10;
/// Entities that a request asks for.
const ENTITIES: i64 = 100;
const ROUNDS: usize = 5;
const REQUESTS: usize = 2_000;

/// Views of ten features each, as many services, and one that reads three views.
fn definitions(views: usize, ttl: &str) -> String {
    let mut text = "format = 1\nproject = \"p\"\nowner = \"o\"\n[entities.user]\njoin_keys = [{ name = \"uid\", type = \"int64\" }]\n".to_owned();
    for view in 0..views {
        let features: Vec<String> = (0..FEATURES)
            .map(|at| {
                format!("  {{ name = \"f{at}\", type = \"float32\", description = \"a feature\" }}")
            })
            .collect();
        let features = features.join(",\n");
        text += &format!(
            "[views.v{view}]\nentities = [\"user\"]\nttl = \"{ttl}\"\nfeatures = [\n{features}\n]\n"
        );
        text += &format!("[services.s{view}]\nfeatures = [\"v{view}:f0,f1,f2,f3,f4\"]\n");
    }
    text + "[services.three]\nfeatures = [\"a=v0\", \"b=v1\", \"c=v2\"]\n"
}

struct Served {
    store: FeatureStore,
    _dir: tempfile::TempDir,
}

impl Served {
    fn open() -> Result<Self, Box<dyn Error>> {
        let dir = tempfile::tempdir_in(".")?;
        let options = Options { memory_bytes: 64 << 20, ..Options::default() };
        Ok(Served { store: FeatureStore::open_with(dir.path(), options)?, _dir: dir })
    }

    fn fill(&self) -> Result<(), Box<dyn Error>> {
        for view in ["v0", "v1", "v2"] {
            let row = |user| {
                Row::new([KeyValue::Int(user)], 1_000_000, vec![Value::Float32(0.5); FEATURES])
            };
            let rows: Vec<Row> = (0..ENTITIES).map(row).collect();
            self.store.push(view, &rows, &PushOptions::default())?;
        }
        Ok(())
    }

    /// The median of a request, nanoseconds.
    fn request_ns(&self) -> Result<u64, Box<dyn Error>> {
        let users = EntityRows::new().with("uid", (0..ENTITIES).map(KeyValue::Int).collect());
        let ask = Ask::service("p/three").with_full_names().at(2_000_000);
        let mut took = Vec::with_capacity(REQUESTS);
        for _ in 0..REQUESTS {
            let began = RealEnv.monotonic_ns();
            let answer = self.store.get_online_features(&ask, &users)?;
            took.push(RealEnv.monotonic_ns() - began);
            assert_eq!((answer.columns.len(), answer.columns[0].values.len()), (30, 100));
        }
        took.sort_unstable();
        Ok(took[REQUESTS / 2])
    }
}

fn ms(began: u64) -> f64 {
    (RealEnv.monotonic_ns() - began) as f64 / 1e6
}

fn main() -> Result<(), Box<dyn Error>> {
    let views = std::env::args().nth(1).map_or(Ok(1_000), |text| text.parse())?;
    let mut out = std::io::stdout().lock();
    let (large, small) = (Served::open()?, Served::open()?);
    let text = definitions(views, "1000d");
    let features = views * FEATURES;
    let began = RealEnv.monotonic_ns();
    let defined = read("large", &text)?;
    writeln!(out, "{features} features in {views} views, {} services:", views + 1)?;
    writeln!(out, "  reading {} KB of TOML: {:.0} ms", text.len() / 1024, ms(began))?;
    let began = RealEnv.monotonic_ns();
    large.store.plan(&defined)?;
    writeln!(out, "  dry run: {:.0} ms", ms(began))?;
    let began = RealEnv.monotonic_ns();
    large.store.apply(&defined, &ApplyOptions::default())?;
    writeln!(out, "  apply of all: {:.0} ms", ms(began))?;
    let began = RealEnv.monotonic_ns();
    large.store.apply(&defined, &ApplyOptions::default())?;
    writeln!(out, "  apply of all again (nothing changes): {:.0} ms", ms(began))?;
    let one = read("one", &definitions(3, "999d"))?;
    let began = RealEnv.monotonic_ns();
    large.store.apply(&one, &ApplyOptions::default())?;
    writeln!(out, "  apply of a change of 3 views: {:.0} ms", ms(began))?;
    let began = RealEnv.monotonic_ns();
    let all = definitions(views, "998d");
    large.store.apply(&read("all", &all)?, &ApplyOptions::default())?;
    writeln!(out, "  reading and apply of a change of every view: {:.0} ms", ms(began))?;
    let began = RealEnv.monotonic_ns();
    let (published, lineage) = large.store.lineage();
    let impact = lineage.impact(&published.state, &lineage.find(&published.state, "v0:f0")?);
    writeln!(
        out,
        "  impact of a feature: {:.0} ms, {} services",
        ms(began),
        impact.services.len()
    )?;

    small.store.apply(&read("small", &definitions(3, "998d"))?, &ApplyOptions::default())?;
    serve(&mut out, &large, &small)?;
    reopen(&mut out, large)
}

/// The same request in both registries, by turns.
fn serve(out: &mut impl Write, large: &Served, small: &Served) -> Result<(), Box<dyn Error>> {
    large.fill()?;
    small.fill()?;
    let (mut in_large, mut in_small) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        in_small.push(small.request_ns()?);
        in_large.push(large.request_ns()?);
    }
    in_small.sort_unstable();
    in_large.sort_unstable();
    let (in_small, in_large) = (in_small[ROUNDS / 2], in_large[ROUNDS / 2]);
    writeln!(
        out,
        "  a service of 3 views, {ENTITIES} entities, p50: {:.1} us in this registry, {:.1} us in one of 3 views: {:.2}",
        in_large as f64 / 1e3,
        in_small as f64 / 1e3,
        in_large as f64 / in_small as f64
    )?;
    Ok(())
}

fn reopen(out: &mut impl Write, large: Served) -> Result<(), Box<dyn Error>> {
    let dir = large._dir;
    large.store.close()?;
    let options = Options { memory_bytes: 64 << 20, ..Options::default() };
    let began = RealEnv.monotonic_ns();
    let store = Store::open_with(dir.path(), options)?;
    let engine = ms(began);
    let began = RealEnv.monotonic_ns();
    let registry = thermae_features::Registry::open(RealEnv, dir.path(), store.handle().clone())?;
    writeln!(
        out,
        "  open: engine {engine:.0} ms, registry {:.0} ms, version {}",
        ms(began),
        registry.version()
    )?;
    Ok(())
}
