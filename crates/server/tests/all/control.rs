//! Definitions, descriptions, figures, maps.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use thermae_formats::wire::{ErrorCode, Kind, MapReply, MapRequest};

use crate::peer::{MAX, Peer, Put, Read1, Stream, check, row, weather, weather_server};

#[test]
fn definitions_are_applied_once_described_and_refused_when_incompatible() {
    let (_server, mut peer, _) = weather_server(2, 0);
    let again = peer.apply(&weather(0)).unwrap();
    assert_eq!(again["applied"][0]["action"], "unchanged");
    assert_eq!(again["applied"][0]["view"], "demo/weather@1");
    let changed = peer.apply(&weather(7)).unwrap();
    assert_eq!(changed["applied"][0]["action"], "updated");
    assert!(changed["applied"][0]["changes"][0].as_str().unwrap().contains("ttl"));

    let definition = String::from_utf8(weather(7).to_json().unwrap()).unwrap();
    let narrower = definition.replace("int32", "string");
    let refused = peer.json(Kind::Apply, &format!(r#"{{"views": [{narrower}]}}"#)).unwrap_err();
    assert_eq!(refused.code, ErrorCode::IncompatibleSchema, "{refused:?}");
    assert!(refused.text.contains("gusts"), "{refused:?}");

    let other = definition.replace("\"weather\"", "\"other\"");
    let dry = format!(r#"{{"views": [{other}], "dry_run": true}}"#);
    assert_eq!(peer.json(Kind::Apply, &dry).unwrap()["applied"][0]["action"], "created");
    let all = peer.json(Kind::Describe, "{}").unwrap();
    assert_eq!(all["views"].as_array().unwrap().len(), 1, "a dry run changes nothing");
    assert_eq!(all["views"][0]["definition"]["ttl_us"], 7);
    let one = peer.json(Kind::Describe, r#"{"view": "weather"}"#).unwrap();
    assert_eq!(one, all);
    let none = peer.json(Kind::Describe, r#"{"project": "demo", "view": "wether"}"#).unwrap_err();
    assert_eq!(none.code, ErrorCode::UnknownView);
    assert!(none.text.contains("demo/weather@1"), "it says what there is: {none:?}");
    let bad = peer.json(Kind::Apply, r#"{"views": [{"project": "x"}]}"#).unwrap_err();
    assert_eq!(bad.code, ErrorCode::BadSchema);
}

#[test]
fn plans_are_limited_reused_and_say_what_is_unknown() {
    let (_server, mut peer, plan) = weather_server(1, 0);
    assert_eq!(peer.prepare(&[("weather", &[])]).unwrap(), plan);
    assert_eq!(plan.views[0].columns.len(), 3);
    let unknown = peer.prepare(&[("weather", &["tmp"])]).unwrap_err();
    assert_eq!(unknown.code, ErrorCode::UnknownFeature);
    assert!(unknown.text.contains("tmp"), "{unknown:?}");
    assert_eq!(peer.prepare(&[("whether", &[])]).unwrap_err().code, ErrorCode::UnknownView);
    assert_eq!(peer.prepare(&[]).unwrap_err().code, ErrorCode::Malformed);
    let many = vec!["temp"; 4_096];
    assert_eq!(
        peer.prepare(&[("weather", &many), ("weather", &[])]).unwrap_err().code,
        ErrorCode::TooMany
    );
    let mut refused = None;
    for length in 1..=300 {
        let features = vec!["temp"; length];
        if let Err(failed) = peer.prepare(&[("weather", &features)]) {
            refused = Some((length, failed.code));
            break;
        }
    }
    assert_eq!(refused, Some((256, ErrorCode::TooMany)), "255 beside the first one");
}

#[test]
fn stats_say_rows_latencies_and_hits() {
    let (_server, mut peer, plan) = weather_server(2, 0);
    peer.put(&plan, &[Put { key: "JFK", event_time: 1, values: row(1.0, None, "") }]);
    for _ in 0..10 {
        peer.read(&Read1::new(&plan, &["JFK"])).unwrap();
    }
    let stats = peer.json(Kind::Stats, "{}").unwrap();
    assert_eq!(stats["engine"]["shards"].as_array().unwrap().len(), 2);
    assert_eq!(stats["server"]["views"]["demo/weather@1"]["hits"], 10);
    assert_eq!(stats["server"]["reads"]["count"], 10);
    assert_eq!(stats["server"]["writes"]["count"], 1);
    assert!(stats["server"]["reads"]["p50_ns"].as_u64().unwrap() > 0);
}

#[test]
fn the_maps_are_handed_over_on_the_unix_socket_alone() {
    let (server, mut tcp, _) = weather_server(2, 0);
    let request = |peer: &mut Peer, project: &str| {
        let mut out = Vec::new();
        MapRequest { project }.encode(&mut out, peer.id(), MAX).unwrap();
        out
    };
    let asked = request(&mut tcp, "");
    assert_eq!(tcp.ask(&asked).unwrap_err().code, ErrorCode::Unsupported);
    let mut unix = server.unix();
    let asked = request(&mut unix, "nowhere");
    assert_eq!(unix.ask(&asked).unwrap_err().code, ErrorCode::UnknownView);

    // A PING before and after: answers stay in order around the descriptors.
    let asked = [unix.ping_frame().1, request(&mut unix, "demo"), unix.ping_frame().1].concat();
    unix.send(&asked);
    let Stream::Unix(stream) = &unix.stream else { panic!("unix") };
    let (mut bytes, mut descriptors) = (Vec::new(), Vec::new());
    let mut kinds = Vec::new();
    while kinds.len() < 3 {
        let mut chunk = [0_u8; 4096];
        let mut space = [MaybeUninit::uninit(); 256];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC;
        let received =
            recvmsg(stream, &mut [IoSliceMut::new(&mut chunk)], &mut ancillary, flags).unwrap();
        assert!(received.bytes > 0);
        bytes.extend_from_slice(&chunk[..received.bytes]);
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                descriptors.extend(fds);
            }
        }
        while let Some((frame, rest)) = thermae_formats::wire::split_frame(&bytes, MAX).unwrap() {
            kinds.push((frame.kind().unwrap(), frame.bytes.to_vec()));
            bytes = rest.to_vec();
        }
    }
    assert_eq!(kinds[0].0, Kind::Pong);
    assert_eq!(kinds[1].0, Kind::Mapped);
    assert_eq!(kinds[2].0, Kind::Pong);
    let reply = MapReply::decode(&check(&kinds[1].1)).unwrap();
    assert_eq!((reply.shards.len(), descriptors.len()), (2, 2));
    assert_eq!(reply.partition_map.len(), 64);
    for (shard, descriptor) in reply.shards.iter().zip(&descriptors) {
        let bytes = rustix::fs::fstat(descriptor).unwrap().st_size;
        assert_eq!(bytes as u64, shard.map_bytes);
    }
}
