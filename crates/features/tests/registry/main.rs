//! The registry and the feature store over a real directory, and over a simulated machine that crashes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod applying;
mod backups;
mod computing;
mod crashes;
mod damage;
mod expressions;
mod lineage;
mod loading;
mod reading;
mod switching;
mod validating;

use std::path::Path;

use thermae_engine::store::Row;
use thermae_engine::{Options, Outcome};
use thermae_env::RealEnv;
use thermae_features::FeatureStore;
use thermae_features::store::PushOptions;
use thermae_formats::{KeyValue, Value};

/// 2023-11-14.
const T: i64 = 1_700_000_000_000_000;
const HOUR: i64 = 3_600_000_000;

const SHOP: &str = r#"format = 1
project = "shop"
owner = "ann"

[entities.user]
join_keys = [{ name = "uid", type = "int64" }]

[sources.events]
file = "events.parquet"
upstream = ["kafka:clicks"]

[views.activity]
entities = ["user"]
ttl = "1d"
source = "events"
features = [{ name = "clicks", type = "int64" }, { name = "score", type = "float32" }]

[views.weather]
ttl = "0"
features = [{ name = "temp", type = "float64" }]

[services.rank]
features = ["activity:score,clicks", "weather"]

[models.ranker]
services = ["rank"]
owner = "bob"
"#;

/// Small, so that tests beside each other fit.
fn open(dir: &Path) -> FeatureStore<RealEnv> {
    let options = Options { memory_bytes: 16 << 20, cores: 1, ..Options::default() };
    FeatureStore::open_with(dir, options).unwrap()
}

fn shop(dir: &Path) -> FeatureStore<RealEnv> {
    let store = open(dir);
    store.apply_toml(SHOP).unwrap();
    store
}

fn activity(user: i64, at: i64, clicks: i64, score: f32) -> Row {
    Row::new([KeyValue::Int(user)], at, [Value::Int64(clicks), Value::Float32(score)])
}

fn put(store: &FeatureStore<RealEnv>, view: &str, rows: &[Row]) {
    let outcomes = store.push(view, rows, &PushOptions::default()).unwrap();
    assert!(outcomes.iter().all(|one| matches!(one, Outcome::Ok { .. })), "{outcomes:?}");
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Dice(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, count: u64) -> u64 {
        self.next() % count
    }
}
