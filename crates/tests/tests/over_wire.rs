//! Random operations agree with the naive model over TCP, the unix socket and the mapped tables, on one
//! and two shards.

use thermae_client::{
    Address, Client, Config, Mapped, MappedAnswer, MappedPlan, Plan, ReadOptions, ViewFeatures,
    WriteBatch,
};
use thermae_formats::{Feature, FeatureView, JoinKey, KeyType, KeyValue, NO_TIME, Scalar, Value};
use thermae_server::serve::{ServeOptions, start};
use thermae_tests::agreement::agree;
use thermae_tests::model::views;
use thermae_tests::over_map::OverMap;
use thermae_tests::over_wire::OverWire;

fn serve(dir: &std::path::Path, cores: usize) -> thermae_server::serve::Running {
    start(ServeOptions {
        data: dir.join("data"),
        listen: Some("127.0.0.1:0".to_owned()),
        unix: Some(dir.join("socket")),
        http: None,
        cores,
        memory_bytes: cores as u64 * (64 << 20),
        ..ServeOptions::default()
    })
    .unwrap()
}

#[test]
fn fifty_thousand_operations_over_each_socket_on_one_and_two_shards() {
    for cores in [1, 2] {
        for unix in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let running = serve(dir.path(), cores);
            running.handle().apply(&views()).unwrap();
            let address = if unix {
                Address::Unix(running.unix_path().unwrap().to_path_buf())
            } else {
                Address::Tcp(running.tcp_addr().unwrap().to_string())
            };
            let client = Client::connect(&address, Config::default()).unwrap();
            let mut target = OverWire::new(client).unwrap();
            let compared = agree(&mut target, 1, 50_000).unwrap();
            assert!(compared > 10_000, "{compared} reads compared");
            running.stop().unwrap();
        }
    }
}

#[test]
fn fifty_thousand_operations_read_from_the_mapped_tables_on_one_and_two_shards() {
    for cores in [1, 2] {
        let dir = tempfile::tempdir().unwrap();
        let running = serve(dir.path(), cores);
        running.handle().apply(&views()).unwrap();
        let address = Address::Unix(running.unix_path().unwrap().to_path_buf());
        let client = Client::connect(&address, Config::default()).unwrap();
        let mut target = OverMap::new(client).unwrap();
        let compared = agree(&mut target, 1, 50_000).unwrap();
        let (hits, misses) = target.hits_and_misses();
        assert!(compared > 10_000 && hits > misses, "{compared}: {hits} hits, {misses} misses");
        running.stop().unwrap();
    }
}

/// The view as it was first, or with a feature widened and one added.
fn grows(evolved: bool) -> FeatureView {
    let keys = vec![JoinKey::new("id", KeyType::Int64)];
    let name = Feature::new("name", Scalar::String);
    let features = if evolved {
        let added = Feature::new("ratio", Scalar::Float32).with_default(Value::Float32(0.5));
        vec![added, Feature::new("n", Scalar::Int64), name]
    } else {
        vec![Feature::new("n", Scalar::Int32), name]
    };
    FeatureView::new("test", "grows", keys, features)
}

fn write(client: &Client, key: i64, values: &[Value]) {
    let mut batch = WriteBatch::put(&client.view("test", "grows").unwrap());
    batch.push(&[KeyValue::Int(key)], 1, NO_TIME, values).unwrap();
    assert!(client.write(&mut batch).unwrap().all_ok());
}

fn prepare(client: &Client, features: &[&str]) -> Plan {
    let features = features.to_vec();
    let wanted = ViewFeatures { project: "test", view: "grows", version: 0, features };
    client.prepare(&[wanted]).unwrap()
}

/// Reads keys 1 and 2 until both come out of the map at once; a busy machine may miss a heartbeat.
fn read_mapped(mapped: &mut Mapped, plan: &mut MappedPlan, out: &mut MappedAnswer) {
    let mut keys = plan.plan().keys(0).unwrap();
    keys.push_i64(1).unwrap();
    keys.push_i64(2).unwrap();
    let from_the_map = (0..1_000).any(|_| {
        let before = mapped.stats().hits;
        mapped.get_many(plan, 0, &keys, &ReadOptions::default(), out).unwrap();
        mapped.stats().hits == before + 2
    });
    assert!(from_the_map, "{:?}", mapped.stats());
}

#[test]
fn rows_of_every_schema_of_a_view_are_read_from_the_map() {
    let dir = tempfile::tempdir().unwrap();
    let running = serve(dir.path(), 2);
    let address = Address::Unix(running.unix_path().unwrap().to_path_buf());
    let client = Client::connect(&address, Config::default()).unwrap();
    running.handle().apply(&[grows(false)]).unwrap();
    write(&client, 1, &[Value::Int32(-7), Value::String("old".to_owned())]);
    let mut mapped = Mapped::open(&client, "").unwrap();
    let mut compiled_before = mapped.plan(&prepare(&client, &["name"])).unwrap();

    running.handle().apply(&[grows(true)]).unwrap();
    let values = [Value::Float32(2.0), Value::Int64(8), Value::String("new".to_owned())];
    write(&client, 2, &values);
    let mut out = MappedAnswer::new();
    read_mapped(&mut mapped, &mut compiled_before, &mut out);
    let names = out.view().unwrap().column(0).unwrap();
    assert_eq!([names.value(0).unwrap(), names.value(1).unwrap()], [b"old", b"new"]);

    let mut compiled_after = mapped.plan(&prepare(&client, &["n", "ratio"])).unwrap();
    read_mapped(&mut mapped, &mut compiled_after, &mut out);
    let view = out.view().unwrap();
    assert_eq!(view.column(0).unwrap().as_i64().unwrap(), [-7, 8]);
    assert_eq!(view.column(1).unwrap().as_f32().unwrap(), [0.5, 2.0]);
    running.stop().unwrap();
}
