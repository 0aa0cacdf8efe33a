//! What checks and expressions cost: nanoseconds a row.
//!
//! `cargo run --release -p thermae-features --example gate [ROUNDS]`

use std::error::Error;
use std::io::Write;

use thermae_engine::store::Row;
use thermae_engine::{Ack, Options, WriteBatch};
use thermae_env::{Env, RealEnv};
use thermae_features::FeatureStore;
use thermae_features::expression::{Column, Expression};
use thermae_formats::{KeyValue, Scalar, Value};

const ROWS: usize = 1_000;

/// A view of eight features, with what is asked of its rows.
fn definitions(checks: &str, computed: &str) -> String {
    format!(
        "format = 1\nproject = \"p\"\n[entities.user]\njoin_keys = [{{ name = \"uid\", type = \"int64\" }}]\n\
         [views.v]\nentities = [\"user\"]\nttl = \"0\"\nchecks = [{checks}]\nfeatures = [\
         {{ name = \"a\", type = \"int64\" }}, {{ name = \"b\", type = \"int64\" }}, {{ name = \"c\", type = \"float32\" }}, \
         {{ name = \"d\", type = \"float64\" }}, {{ name = \"e\", type = \"string\" }}, {{ name = \"f\", type = \"string\" }}, \
         {{ name = \"g\", type = \"timestamp\" }}, {{ name = \"h\", type = \"float64\"{computed} }}]\n"
    )
}

const CHECKS: &str = "{ feature = \"a\", min = 0 }, { feature = \"c\", min = 0, max = 1, max_null_rate = 0.1 }, \
                      { feature = \"e\", set = [\"de\", \"en\", \"fr\"] }, { feature = \"f\", regex = \"[a-z]+-[0-9]+\" }";

fn main() -> Result<(), Box<dyn Error>> {
    let rounds: u32 = std::env::args().nth(1).map_or(Ok(20), |text| text.parse())?;
    let mut out = std::io::stdout().lock();
    for (name, checks, computed) in [
        ("no rules", "", ""),
        ("five checks", CHECKS, ""),
        ("one computed feature", "", ", expression = \"a / b * d\""),
        ("both", CHECKS, ", expression = \"a / b * d\""),
    ] {
        let nanoseconds = gate(&definitions(checks, computed), rounds)?;
        writeln!(out, "gate, {name}: {nanoseconds:.0} ns a row of eight features")?;
    }
    let columns = [Column::new("a", Scalar::Float64), Column::new("b", Scalar::Float64)];
    let expression =
        Expression::compile("a / (b + 1.0) * 100.0", &columns, &Scalar::Float64.into())?;
    let (a, b) = (Value::Float64(3.0), Value::Float64(4.0));
    let began_ns = RealEnv.monotonic_ns();
    for _ in 0..rounds * ROWS as u32 {
        std::hint::black_box(expression.evaluate(&[&a, &b], 0));
    }
    let each = (RealEnv.monotonic_ns() - began_ns) as f64 / f64::from(rounds * ROWS as u32);
    writeln!(out, "a / (b + 1.0) * 100.0: {each:.0} ns")?;
    Ok(())
}

/// What the gate takes for a row, once it is warm: the best of some rounds.
fn gate(definitions: &str, rounds: u32) -> Result<f64, Box<dyn Error>> {
    let data = tempfile::tempdir()?;
    let options = Options { memory_bytes: 64 << 20, cores: 1, ..Options::default() };
    let store = FeatureStore::open_with(data.path(), options)?;
    store.apply_toml(definitions)?;
    let catalogue = store.handle().catalogue();
    let schema = &catalogue.resolve("p/v")?.latest;
    let mut whole = WriteBatch::new(Ack::Durable, 0);
    for row in 0..ROWS as i64 {
        let values = [
            Value::Int64(row),
            Value::Int64(row + 1),
            Value::Float32(0.5),
            Value::Float64(2.5),
            Value::from("de"),
            Value::from("ab-123"),
            Value::Timestamp(row),
            Value::Null,
        ];
        whole.push(schema, &Row::new([KeyValue::Int(row)], 1, values), 0)?;
    }
    let published = store.registry().published();
    let mut best = f64::MAX;
    for _ in 0..rounds {
        let mut batch = whole.clone();
        let began_ns = RealEnv.monotonic_ns();
        published.rules.admit(&mut batch, &catalogue, || 2);
        best = best.min((RealEnv.monotonic_ns() - began_ns) as f64 / ROWS as f64);
    }
    Ok(best)
}
