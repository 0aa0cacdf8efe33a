//! Start, many clients, stop in order, start again.

use std::net::TcpStream;

use thermae_formats::wire::{ErrorCode, Kind, RowOutcome, WriteReply};
use thermae_server::serve::{self, Limits, ServeError, ServeOptions};

use crate::peer::{
    Peer, Put, Read1, Server, Stream, answer, check, options, put_frame, row, statuses, weather,
    weather_server,
};

#[test]
fn addresses_that_others_reach_are_refused_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    for (listen, http) in [("0.0.0.0:0", "127.0.0.1:0"), ("127.0.0.1:0", "0.0.0.0:0")] {
        let options = ServeOptions {
            listen: Some(listen.to_owned()),
            http: Some(http.to_owned()),
            ..options(directory.path(), 1)
        };
        let Err(error) = serve::start(options) else { panic!("it listens on {listen}, {http}") };
        assert!(error.to_string().contains("--insecure-development"), "{error}");
        assert_eq!(error.exit_code(), 2);
        assert!(!directory.path().join("data").exists(), "nothing is touched");
    }
}

#[test]
fn one_directory_serves_one_server_and_an_address_in_use_is_named() {
    let server = Server::start(1);
    let directory = server.directory.path();
    let Err(locked) = serve::start(ServeOptions { unix: None, ..options(directory, 1) }) else {
        panic!("two servers on one directory");
    };
    assert_eq!(locked.exit_code(), 3, "{locked}");
    let other = tempfile::tempdir().unwrap();
    let listen = Some(server.address().to_string());
    let Err(used) = serve::start(ServeOptions { listen, ..options(other.path(), 1) }) else {
        panic!("two servers on one port");
    };
    assert!(matches!(used, ServeError::Listen { .. }), "{used}");
    assert!(used.to_string().contains(&server.address().to_string()), "{used}");
}

#[test]
fn a_stop_answers_what_is_under_way_and_the_rows_are_there_after_it_under_any_core_count() {
    let directory = tempfile::tempdir().unwrap();
    for (rows_written, cores) in [1, 2, 1].into_iter().enumerate() {
        let running = serve::start(options(directory.path(), cores)).unwrap();
        let mut peer =
            Peer::new(Stream::Tcp(TcpStream::connect(running.tcp_addr().unwrap()).unwrap()));
        peer.hello();
        peer.apply(&weather(0)).unwrap();
        let plan = peer.prepare(&[("weather", &[])]).unwrap();
        let names: Vec<String> = (0..rows_written).map(|index| format!("k{index}")).collect();
        let keys: Vec<&str> = names.iter().map(String::as_str).collect();
        let found = statuses(&peer.read(&Read1::new(&plan, &keys)).unwrap());
        assert_eq!(found, vec![1; rows_written], "with {cores} cores");

        let name = format!("k{rows_written}");
        let put = Put { key: &name, event_time: 5, values: row(1.0, None, "") };
        let request = put_frame(peer.id(), &plan, &[put]);
        let (_, ping) = peer.ping_frame();
        peer.send(&[request, ping].concat());
        // The PONG shows that the server has taken the write; its disk is still at work.
        assert_eq!(check(&peer.frame()).kind().unwrap(), Kind::Pong);
        let address = running.tcp_addr().unwrap();
        let stopped = running.stop().unwrap();
        let written = answer(peer.frame()).unwrap();
        let outcome = WriteReply::decode(&check(&written)).unwrap().outcomes().next().unwrap();
        let RowOutcome::Ok { token, .. } = outcome else { panic!("{outcome:?}") };
        assert!(stopped.horizon[usize::from(token.partition)].1 >= token.sequence);
        assert!(peer.try_frame().is_none(), "the connection is closed in order");
        assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
        assert!(!directory.path().join("socket").exists(), "the socket file is gone");
    }
}

#[test]
fn a_waiting_read_is_told_when_the_server_stops() {
    let (server, mut peer, plan) = weather_server(1, 0);
    let ahead = [thermae_formats::wire::Token { partition: 0, sequence: 1 << 40 }];
    let read = Read1 { tokens: &ahead, deadline_us: 60_000_000, ..Read1::new(&plan, &["JFK"]) };
    let (_, request) = peer.read_frame(&read);
    let (_, ping) = peer.ping_frame();
    peer.send(&[request, ping].concat());
    assert_eq!(check(&peer.frame()).kind().unwrap(), Kind::Pong);
    server.running.stop().unwrap();
    assert_eq!(answer(peer.frame()).unwrap_err().code, ErrorCode::ShuttingDown);
    assert!(peer.try_frame().is_none());
}

#[test]
fn connections_past_the_limit_are_told_so() {
    let limits = Limits { connections: 3, ..Limits::default() };
    let server = Server::start_with(1, limits);
    let mut first: Vec<Peer> = (0..3).map(|_| server.tcp()).collect();
    let mut refused = server.silent();
    let failed = answer(refused.frame()).unwrap_err();
    assert_eq!(failed.code, ErrorCode::Overloaded);
    assert!(failed.text.contains('3'), "{failed:?}");
    assert!(refused.try_frame().is_none());
    for peer in &mut first {
        let (id, ping) = peer.ping_frame();
        peer.send(&ping);
        assert_eq!(check(&peer.frame()).request_id, id);
    }
}

#[test]
fn http_tells_health_and_what_happened() {
    let (server, mut peer, plan) = weather_server(2, 500);
    peer.put(&plan, &[Put { key: "JFK", event_time: 1_000, values: row(1.0, None, "") }]);
    let read = Read1 { read_time: 1_000, ..Read1::new(&plan, &["JFK", "none"]) };
    peer.read(&read).unwrap();
    peer.read(&Read1 { read_time: 1_501, ..read }).unwrap();
    assert!(server.http("/healthz").starts_with("HTTP/1.1 200"));
    assert!(server.http("/readyz").starts_with("HTTP/1.1 200"));
    let metrics = server.http("/metrics");
    for line in [
        "thermae_ready 1\n",
        "thermae_view_keys_read_total{view=\"demo/weather@1\",result=\"hit\"} 1\n",
        "thermae_view_keys_read_total{view=\"demo/weather@1\",result=\"miss\"} 2\n",
        "thermae_view_keys_read_total{view=\"demo/weather@1\",result=\"expired\"} 1\n",
        "thermae_view_rows_written_total{view=\"demo/weather@1\"} 1\n",
        "thermae_read_seconds_count 2\n",
        "thermae_write_seconds_count 1\n",
        "thermae_hot_budget_bytes{shard=\"1\"}",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}
