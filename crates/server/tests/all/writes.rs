//! What a write answers: outcomes row by row, out of order, partial, refused.

use thermae_formats::row::RowLayout;
use thermae_formats::value::Value;
use thermae_formats::wire::{
    Ack, ErrorCode, Kind, NotApplied, ReadReply, RowOutcome, WriteEncoder, WriteHead,
};

use crate::peer::{
    MAX, Peer, Put, Read1, answer, check, key, put_frame, row, statuses, weather, weather_server,
    write_head, write_row,
};

#[test]
fn answers_come_out_of_order_when_a_write_waits_for_the_disk() {
    let (_server, mut peer, plan) = weather_server(1, 0);
    let id = peer.id();
    let put =
        put_frame(id, &plan, &[Put { key: "JFK", event_time: 1, values: row(1.0, None, "") }]);
    let (ping_id, ping) = peer.ping_frame();
    peer.send(&[put, ping].concat());
    assert_eq!(check(&peer.frame()).request_id, ping_id);
    let written = answer(peer.frame()).unwrap();
    assert_eq!(check(&written).request_id, id);
    assert_eq!(check(&written).kind().unwrap(), Kind::Written);
}

#[test]
fn rows_are_refused_one_by_one_and_the_first_reason_is_told() {
    let (_server, mut peer, plan) = weather_server(2, 0);
    let layout = RowLayout::new(&weather(0).features).unwrap();
    let mut value = Vec::new();
    let dense = layout.encode(&row(1.0, Some(1), "x"), &mut value).unwrap();
    let far = i64::MAX / 4;
    let mut out = Vec::new();
    let mut encoder = WriteEncoder::put(&mut out, peer.id(), &write_head(&plan));
    let long = [key("JFK"), vec![0]].concat();
    let (jfk, lga) = (key("JFK"), key("LGA"));
    let rows: [(&[u8], &[u8], i64); 5] = [
        (&jfk, &value, 1),
        (&long, &value, 1),
        (&jfk, &value[..3], 1),
        (&lga, &value, 1),
        (&lga, &value, far),
    ];
    for (key, value, event_time) in rows {
        encoder.push(&write_row(event_time, key, dense, value)).unwrap();
    }
    encoder.finish(MAX).unwrap();
    let (outcomes, message) = peer.write(&out).unwrap();
    assert!(matches!(outcomes[0], RowOutcome::Ok { .. }), "{outcomes:?}");
    assert_eq!(outcomes[1], RowOutcome::NotApplied(NotApplied::BadKey));
    assert_eq!(outcomes[2], RowOutcome::NotApplied(NotApplied::BadValue));
    assert!(matches!(outcomes[3], RowOutcome::Ok { .. }), "{outcomes:?}");
    assert_eq!(outcomes[4], RowOutcome::NotApplied(NotApplied::FutureEventTime));
    assert!(message.starts_with("row 1: "), "{message}");
    let read = Read1::new(&plan, &["JFK", "LGA"]);
    assert_eq!(statuses(&peer.read(&read).unwrap()), [1, 1]);
}

fn partial(peer: &mut Peer, head: &WriteHead, event_time: i64, gusts: i32) -> RowOutcome {
    let layout = RowLayout::new(&weather(0).features[1..2]).unwrap();
    let mut value = Vec::new();
    let dense = layout.encode(&[Value::Int32(gusts)], &mut value).unwrap();
    let mut out = Vec::new();
    let mut encoder = WriteEncoder::put_partial(&mut out, peer.id(), head, &[1]).unwrap();
    encoder.push(&write_row(event_time, &key("JFK"), dense, &value)).unwrap();
    encoder.finish(MAX).unwrap();
    peer.write(&out).unwrap().0[0]
}

#[test]
fn a_partial_write_keeps_the_other_features_and_a_late_one_is_refused() {
    let (_server, mut peer, plan) = weather_server(1, 0);
    peer.put(&plan, &[Put { key: "JFK", event_time: 10, values: row(1.5, Some(1), "fog") }]);
    let head = write_head(&plan);
    assert!(matches!(partial(&mut peer, &head, 20, 9), RowOutcome::Ok { .. }));
    let late = partial(&mut peer, &head, 19, 8);
    assert_eq!(late, RowOutcome::NotApplied(NotApplied::Late));
    let reply = peer.read(&Read1::new(&plan, &["JFK"])).unwrap();
    let frame = check(&reply);
    let view = ReadReply::decode(&frame).unwrap().view(0).unwrap();
    assert_eq!(view.event_time(0), Some(20));
    assert_eq!(view.column(0).unwrap().as_f32().unwrap(), [1.5]);
    assert_eq!(view.column(1).unwrap().as_i32().unwrap(), [9]);
    assert_eq!(view.column(2).unwrap().value(0), Some(&b"fog"[..]));
}

#[test]
fn a_repeat_under_the_same_producer_sequence_is_told_and_changes_nothing() {
    let (_server, mut peer, plan) = weather_server(2, 0);
    let layout = RowLayout::new(&weather(0).features).unwrap();
    let once = |peer: &mut Peer, ack| {
        let mut value = Vec::new();
        let dense = layout.encode(&row(1.0, None, ""), &mut value).unwrap();
        let head = WriteHead { ack, producer_id: 5, first_sequence: 1, ..write_head(&plan) };
        let mut out = Vec::new();
        let mut encoder = WriteEncoder::put(&mut out, peer.id(), &head);
        encoder.push(&write_row(1, &key("JFK"), dense, &value)).unwrap();
        encoder.finish(MAX).unwrap();
        peer.write(&out).unwrap().0[0]
    };
    let first = once(&mut peer, Ack::Durable);
    assert!(matches!(first, RowOutcome::Ok { duplicate: false, .. }), "{first:?}");
    let again = once(&mut peer, Ack::Logged);
    assert!(matches!(again, RowOutcome::Ok { duplicate: true, .. }), "{again:?}");
    let unsupported = once(&mut peer, Ack::Replicated);
    assert_eq!(unsupported, RowOutcome::NotApplied(NotApplied::Unsupported));
}

#[test]
fn unknown_views_schemas_and_features_are_typed_errors() {
    let (_server, mut peer, plan) = weather_server(1, 0);
    let head = write_head(&plan);
    let mut try_head = |head: &WriteHead, features: Option<&[u16]>| {
        let mut out = Vec::new();
        let id = peer.id();
        let encoder = match features {
            None => WriteEncoder::put(&mut out, id, head),
            Some(features) => WriteEncoder::put_partial(&mut out, id, head, features).unwrap(),
        };
        encoder.finish(MAX).unwrap();
        peer.write(&out).map_err(|failed| failed.code)
    };
    assert_eq!(try_head(&WriteHead { view_id: 9, ..head }, None), Err(ErrorCode::UnknownView));
    assert_eq!(try_head(&WriteHead { schema_id: 9, ..head }, None), Err(ErrorCode::StaleSchema));
    assert_eq!(try_head(&head, Some(&[7])), Err(ErrorCode::UnknownFeature));
    assert_eq!(try_head(&head, Some(&[])), Err(ErrorCode::Malformed));
    assert_eq!(try_head(&head, None), Ok((vec![], String::new())), "no row is no error");
}

#[test]
fn many_writes_in_flight_are_all_answered_once() {
    let (_server, mut peer, plan) = weather_server(2, 0);
    let mut requests = Vec::new();
    let mut ids = std::collections::BTreeSet::new();
    // Three times the in-flight limit: the server reads on as it answers.
    for index in 0..3_072 {
        let name = format!("k{}", index % 50);
        let id = peer.id();
        let values = row(index as f32, None, "");
        let put = Put { key: &name, event_time: index, values };
        requests.extend_from_slice(&put_frame(id, &plan, &[put]));
        ids.insert(id);
    }
    peer.send(&requests);
    while !ids.is_empty() {
        let frame = answer(peer.frame()).unwrap();
        assert!(ids.remove(&check(&frame).request_id), "answered twice");
    }
    let reply = peer.read(&Read1::new(&plan, &["k49"])).unwrap();
    let frame = check(&reply);
    let view = ReadReply::decode(&frame).unwrap().view(0).unwrap();
    assert_eq!(view.column(0).unwrap().as_f32().unwrap(), [3_049.0]);
}
