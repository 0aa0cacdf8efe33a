//! What a read answers: values, statuses, order, TTL, tokens, deadlines.

use thermae_formats::wire::{
    CellStatus, ErrorCode, Kind, ReadFlags, ReadReply, RowOutcome, Token, WriteEncoder,
};

use crate::peer::{
    MAX, Peer, Put, Read1, Server, answer, check, key, packed, row, statuses, weather,
    weather_server, write_head, write_row,
};

const NOT_FOUND: u8 = 0;
const PRESENT: u8 = 1;
const OUTSIDE_MAX_AGE: u8 = 2;

fn put_and_get(peer: &mut Peer) {
    let plan = peer.prepare(&[("weather", &["note", "temp", "gusts"])]).unwrap();
    let whole = peer.prepare(&[("weather", &[])]).unwrap();
    let rows = [
        Put { key: "JFK", event_time: 1_000, values: row(-0.0, Some(7), "fog\0") },
        Put { key: "LGA", event_time: 2_000, values: row(f32::NAN, None, "") },
    ];
    let outcomes = peer.put(&whole, &rows);
    assert!(outcomes.iter().all(|one| matches!(one, RowOutcome::Ok { duplicate: false, .. })));

    let reply = peer.read(&Read1::new(&plan, &["LGA", "none", "JFK", "LGA"])).unwrap();
    let frame = check(&reply);
    let reply = ReadReply::decode(&frame).unwrap();
    let view = reply.view(0).unwrap();
    assert_eq!(view.statuses(), [PRESENT, NOT_FOUND, PRESENT, PRESENT]);
    assert_eq!(view.event_times().unwrap(), [2_000, 0, 1_000, 2_000]);
    let note = view.column(0).unwrap();
    assert_eq!(note.value(0), Some(&b""[..]));
    assert_eq!(note.value(1), None);
    assert_eq!(note.value(2), Some(&b"fog\0"[..]));
    let temp: Vec<u32> =
        view.column(1).unwrap().as_f32().unwrap().iter().map(|one| one.to_bits()).collect();
    assert_eq!(temp[0], f32::NAN.to_bits());
    assert_eq!(temp[2], (-0.0_f32).to_bits());
    assert_eq!(view.cell(0, 2), CellStatus::NullValue);
    assert_eq!(view.cell(1, 2), CellStatus::NotFound);
    assert_eq!(view.column(2).unwrap().as_i32().unwrap()[2], 7);
}

#[test]
fn what_is_put_is_read_over_tcp_and_unix_with_one_and_two_shards() {
    for cores in [1, 2] {
        let server = Server::start(cores);
        let mut tcp = server.tcp();
        tcp.apply(&weather(0)).unwrap();
        put_and_get(&mut tcp);
        put_and_get(&mut server.unix());
    }
}

#[test]
fn a_matrix_has_nan_for_null_and_refuses_texts() {
    let (_server, mut peer, whole) = weather_server(1, 0);
    peer.put(&whole, &[Put { key: "JFK", event_time: 1, values: row(1.5, None, "x") }]);
    let plan = peer.prepare(&[("weather", &["gusts", "temp"])]).unwrap();
    let flags = ReadFlags { matrix: true, event_times: false };
    let read = Read1 { flags, ..Read1::new(&plan, &["none", "JFK"]) };
    let reply = peer.read(&read).unwrap();
    let frame = check(&reply);
    let reply = ReadReply::decode(&frame).unwrap();
    let cells = reply.view(0).unwrap().matrix().unwrap();
    assert!(cells[..3].iter().all(|cell| cell.is_nan()));
    assert_eq!(cells[3], 1.5);
    let texts = Read1 { flags, ..Read1::new(&whole, &["JFK"]) };
    assert_eq!(peer.read(&texts).unwrap_err().code, ErrorCode::NotNumeric);
}

#[test]
fn ttl_ends_to_the_microsecond_by_read_time_and_a_new_policy_acts_at_once() {
    let (_server, mut peer, plan) = weather_server(1, 500);
    peer.put(&plan, &[Put { key: "JFK", event_time: 10_000, values: row(1.0, None, "") }]);
    let mut at = |read_time| {
        let reply = peer.read(&Read1 { read_time, ..Read1::new(&plan, &["JFK"]) }).unwrap();
        let frame = check(&reply);
        let reply = ReadReply::decode(&frame).unwrap();
        let view = reply.view(0).unwrap();
        (view.status(0) as u8, view.event_time(0), view.cell(0, 0))
    };
    assert_eq!(at(10_500), (PRESENT, Some(10_000), CellStatus::Present));
    assert_eq!(at(10_501), (OUTSIDE_MAX_AGE, Some(10_000), CellStatus::OutsideMaxAge));
    assert_eq!(at(0), (PRESENT, Some(10_000), CellStatus::Present));
    peer.apply(&weather(501)).unwrap();
    let read = Read1 { read_time: 10_501, ..Read1::new(&plan, &["JFK"]) };
    assert_eq!(statuses(&peer.read(&read).unwrap()), [PRESENT], "the same plan, the new policy");
    peer.apply(&weather(100)).unwrap();
    assert_eq!(statuses(&peer.read(&read).unwrap()), [OUTSIDE_MAX_AGE]);
}

#[test]
fn a_deleted_row_is_not_found() {
    let (_server, mut peer, plan) = weather_server(1, 0);
    peer.put(&plan, &[Put { key: "JFK", event_time: 10, values: row(1.0, None, "") }]);
    let id = peer.id();
    let mut out = Vec::new();
    let mut encoder = WriteEncoder::delete(&mut out, id, &write_head(&plan));
    encoder.push(&write_row(11, &key("JFK"), false, b"")).unwrap();
    encoder.finish(MAX).unwrap();
    assert!(matches!(peer.write(&out).unwrap().0[0], RowOutcome::Ok { .. }));
    assert_eq!(statuses(&peer.read(&Read1::new(&plan, &["JFK"])).unwrap()), [NOT_FOUND]);
}

#[test]
fn one_request_holds_several_views() {
    let (_server, mut peer, plan) = weather_server(2, 0);
    peer.put(&plan, &[Put { key: "JFK", event_time: 10, values: row(1.0, None, "") }]);
    let both = peer.prepare(&[("weather", &["temp"]), ("weather", &["note", "note"])]).unwrap();
    let keys = vec![packed(&["JFK", "x"]), packed(&["y", "JFK", "z"])];
    let reply = peer.read(&Read1 { keys, ..Read1::new(&both, &[]) }).unwrap();
    let frame = check(&reply);
    let reply = ReadReply::decode(&frame).unwrap();
    assert_eq!(reply.view(0).unwrap().statuses(), [PRESENT, NOT_FOUND]);
    assert_eq!(reply.view(1).unwrap().statuses(), [NOT_FOUND, PRESENT, NOT_FOUND]);
}

#[test]
fn min_offset_is_read_your_writes_and_a_future_one_waits_until_its_deadline() {
    let (_server, mut peer, plan) = weather_server(2, 0);
    let outcomes =
        peer.put(&plan, &[Put { key: "JFK", event_time: 10, values: row(1.0, None, "") }]);
    let RowOutcome::Ok { token, .. } = outcomes[0] else { panic!("{outcomes:?}") };
    let reached = Read1 { tokens: &[token], ..Read1::new(&plan, &["JFK"]) };
    assert_eq!(statuses(&peer.read(&reached).unwrap()), [PRESENT]);

    let ahead = [Token { sequence: token.sequence + 1, ..token }];
    let late = Read1 { tokens: &ahead, deadline_us: 1_000, ..Read1::new(&plan, &["JFK"]) };
    let failed = peer.read(&late).unwrap_err();
    assert_eq!(failed.code, ErrorCode::Behind);
    assert!(failed.text.contains(&format!("partition {}", token.partition)), "{failed:?}");

    // A read that waits for the next write is answered by that write, and does not hold up others.
    let waiting = Read1 { tokens: &ahead, deadline_us: 15_000_000, ..Read1::new(&plan, &["JFK"]) };
    let (read_id, request) = peer.read_frame(&waiting);
    let (ping_id, ping) = peer.ping_frame();
    peer.send(&[request, ping].concat());
    assert_eq!(check(&peer.frame()).request_id, ping_id);
    let mut other = _server.tcp();
    let plan = other.prepare(&[("weather", &[])]).unwrap();
    other.put(&plan, &[Put { key: "JFK", event_time: 11, values: row(2.0, None, "") }]);
    let reply = answer(peer.frame()).unwrap();
    let frame = check(&reply);
    assert_eq!(frame.request_id, read_id);
    let reply = ReadReply::decode(&frame).unwrap();
    assert_eq!(reply.view(0).unwrap().event_time(0), Some(11));

    let beyond = [Token { partition: 60_000, sequence: 0 }];
    let wrong = Read1 { tokens: &beyond, ..Read1::new(&plan, &["JFK"]) };
    assert_eq!(peer.read(&wrong).unwrap_err().code, ErrorCode::Malformed);
}

#[test]
fn a_request_behind_a_long_one_is_refused_when_its_deadline_passed() {
    let (_server, mut peer, plan) = weather_server(1, 0);
    let names: Vec<String> = (0..2_000).map(|index| format!("k{index}")).collect();
    let keys: Vec<&str> = names.iter().map(String::as_str).collect();
    // One write, one receive: both requests are there before either is begun.
    let (_, long) = peer.read_frame(&Read1::new(&plan, &keys));
    let (_, short) = peer.read_frame(&Read1 { deadline_us: 1, ..Read1::new(&plan, &["JFK"]) });
    peer.send(&[long, short].concat());
    assert_eq!(statuses(&answer(peer.frame()).unwrap()).len(), 2_000);
    assert_eq!(answer(peer.frame()).unwrap_err().code, ErrorCode::DeadlineExceeded);
}

#[test]
fn bad_keys_plans_and_counts_are_typed_errors_and_the_connection_goes_on() {
    let (_server, mut peer, plan) = weather_server(1, 0);
    let cases = [
        (Read1 { plan: 99, ..Read1::new(&plan, &["JFK"]) }, ErrorCode::UnknownPlan),
        (Read1 { keys: vec![(2, key("JFK"))], ..Read1::new(&plan, &[]) }, ErrorCode::BadKey),
        (Read1 { keys: vec![(0, key("JFK"))], ..Read1::new(&plan, &[]) }, ErrorCode::BadKey),
        (
            Read1 { keys: vec![packed(&[]), packed(&[])], ..Read1::new(&plan, &[]) },
            ErrorCode::Malformed,
        ),
        (Read1 { keys: vec![(1 << 20, vec![])], ..Read1::new(&plan, &[]) }, ErrorCode::TooMany),
    ];
    for (read, code) in cases {
        assert_eq!(peer.read(&read).unwrap_err().code, code);
    }
    assert_eq!(statuses(&peer.read(&Read1::new(&plan, &["JFK"])).unwrap()), [NOT_FOUND]);
}

#[test]
fn a_widened_column_makes_its_plans_stale_and_others_go_on() {
    let (_server, mut peer, whole) = weather_server(2, 0);
    peer.put(&whole, &[Put { key: "JFK", event_time: 1, values: row(1.5, Some(7), "x") }]);
    let temp = peer.prepare(&[("weather", &["temp"])]).unwrap();
    let gusts = peer.prepare(&[("weather", &["gusts"])]).unwrap();
    let definition = String::from_utf8(weather(0).to_json().unwrap()).unwrap();
    let wider = definition.replace("int32", "int64");
    peer.json(Kind::Apply, &format!(r#"{{"views": [{wider}]}}"#)).unwrap();
    assert_eq!(statuses(&peer.read(&Read1::new(&temp, &["JFK"])).unwrap()), [PRESENT]);
    let stale = peer.read(&Read1::new(&gusts, &["JFK"])).unwrap_err();
    assert_eq!(stale.code, ErrorCode::StaleSchema);
    assert_eq!(peer.read(&Read1::new(&gusts, &["JFK"])).unwrap_err().code, ErrorCode::UnknownPlan);
    let again = peer.prepare(&[("weather", &["gusts"])]).unwrap();
    assert_ne!(again.plan_id, gusts.plan_id);
    let reply = peer.read(&Read1::new(&again, &["JFK"])).unwrap();
    let frame = check(&reply);
    let view = ReadReply::decode(&frame).unwrap().view(0).unwrap();
    assert_eq!(view.column(0).unwrap().as_i64().unwrap(), [7], "an old row, widened");
}
