//! Random operations agree with the naive model over TCP, the unix socket and the mapped tables, on one
//! and two shards.

use thermae_client::{Address, Client, Config};
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
        memory_bytes: cores as u64 * (16 << 20),
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
